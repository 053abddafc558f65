package web

import (
	"net/http"
	"net/netip"
	"slices"
	"time"

	"prefix_exporter/frame"
	"prefix_exporter/prefix"
)

// The spans of a history.
const (
	spanMinute = "minute" // 60 seconds, each of its own
	spanHour   = "hour"   // 60 minutes
)

type historyJSON struct {
	Prefix netip.Prefix `json:"prefix"`
	Probe  string       `json:"probe"`
	Port   uint16       `json:"port"`
	From   int64        `json:"from_unix"`
	Step   int          `json:"step_seconds"`
	IPs    []netip.Addr `json:"ips"`
	RTT    []figures    `json:"rtt_seconds"`
	Loss   []figures    `json:"loss_ratio"`
	Error  [][]string   `json:"error"`
}

// history answers with the last minute or hour of all addresses of a prefix under one probe.
func (a *api) history(r *http.Request) (any, error) {
	p, err := parsePrefix(r.PathValue("prefix"))
	if err != nil {
		return nil, err
	}
	probe, err := probeOf(r)
	if err != nil {
		return nil, err
	}
	span, err := oneOf(r, "span", spanHour, spanMinute)
	if err != nil {
		return nil, err
	}
	list, err := a.known(p)
	if err != nil {
		return nil, err
	}
	i := slices.IndexFunc(list, func(s *prefix.Series) bool { return s.Probe() == probe })
	if i < 0 {
		return nil, missing("prefix %q: has no address with probe %s, port %d", p, probe.Kind, probe.Port)
	}
	h := historyJSON{
		Prefix: p, Probe: probe.Kind.String(), Port: probe.Port,
		IPs: []netip.Addr{}, RTT: []figures{}, Loss: []figures{}, Error: [][]string{},
	}
	if span == spanMinute {
		h.seconds(list[i], time.Now().Unix())
	} else {
		h.minutes(list[i], a.Frames)
	}
	return h, nil
}

// row adds the history of one address.
func (h *historyJSON) row(addr netip.Addr, rtt, loss figures, causes []string) {
	h.IPs = append(h.IPs, addr)
	h.RTT = append(h.RTT, rtt)
	h.Loss = append(h.Loss, loss)
	h.Error = append(h.Error, causes)
}

// each calls row with the configured addresses of a series and their places, by address.
func each(s *prefix.Series, row func(addr netip.Addr, place int)) {
	var snap prefix.Snapshot
	s.Snapshot(&snap)
	var places []int
	for i := range snap.Addrs {
		if snap.Slots[i].Configured {
			places = append(places, i)
		}
	}
	slices.SortFunc(places, func(a, b int) int { return snap.Addrs[a].Compare(snap.Addrs[b]) })
	for _, i := range places {
		row(snap.Addrs[i], i)
	}
}

func (h *historyJSON) seconds(s *prefix.Series, newest int64) {
	h.From, h.Step = newest-prefix.RingSeconds+1, 1
	var samples []prefix.Sample
	each(s, func(addr netip.Addr, place int) {
		samples = s.Seconds(samples[:0], place, newest)
		s := newSeconds(samples, newest)
		loss := make(figures, len(samples))
		for i, v := range samples {
			if _, lost := v.Lost(); lost {
				loss[i] = ratio(1, 1)
			} else if v != prefix.NoSample {
				loss[i] = ratio(0, 1)
			}
		}
		h.row(addr, s.RTT, loss, s.Error)
	})
}

func (h *historyJSON) minutes(s *prefix.Series, from *frame.Recorder) {
	all, places, newest := from.Minutes(nil, s)
	h.From, h.Step = (newest-frame.HistoryMinutes+1)*60, 60
	each(s, func(addr netip.Addr, place int) {
		m := newMinutes(make([]frame.Minute, frame.HistoryMinutes), newest)
		if place < places {
			m = newMinutes(all[place*frame.HistoryMinutes:][:frame.HistoryMinutes], newest)
		}
		h.row(addr, m.RTT, m.Loss, m.Error)
	})
}
