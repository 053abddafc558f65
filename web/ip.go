package web

import (
	"net/http"
	"net/netip"
	"time"

	"prefix_exporter/event"
	"prefix_exporter/frame"
	"prefix_exporter/prefix"
)

// eventsOfIP is how many events of an address are shown with it: those of a bad hour.
const eventsOfIP = 20

type ipJSON struct {
	IP       netip.Addr    `json:"ip"`
	Prefix   netip.Prefix  `json:"prefix"`
	Name     string        `json:"name"`
	TargetID string        `json:"target_id"`
	Place    int           `json:"place"`
	Nominal  figure        `json:"nominal_rtt_seconds"`
	Probes   []probeJSON   `json:"probes"`
	Routes   []routeJSON   `json:"routes"` // of the prefix
	Events   []event.Event `json:"events"`
}

type probeJSON struct {
	Probe      string      `json:"probe"`
	Port       uint16      `json:"port"`
	State      string      `json:"state"`
	LastAnswer *time.Time  `json:"last_answer"`
	Numbers    numbersJSON `json:"numbers"`
	Seconds    secondsJSON `json:"seconds"`
	Minutes    minutesJSON `json:"minutes"`
}

type secondsJSON struct {
	From  int64    `json:"from_unix"`
	RTT   []figure `json:"rtt_seconds"`
	Error []string `json:"error"`
}

type minutesJSON struct {
	From int64    `json:"from_unix"`
	RTT  []figure `json:"rtt_seconds"`
	Min  []figure `json:"min_seconds"`
	Max  []figure `json:"max_seconds"`
	Loss []figure `json:"loss_ratio"`
	// Error is why the newest of those was lost that were.
	Error []string `json:"error"`
}

// ip answers with all that is known of one address.
func (a *api) ip(request *http.Request) (any, error) {
	addr, err := parseIP(request.PathValue("ip"))
	if err != nil {
		return nil, err
	}
	now := time.Now().Unix()
	one := ipJSON{IP: addr, TargetID: prefix.TargetID(addr)}
	r := reader{api: a}
	for _, s := range a.Table.Series() {
		place, ok := a.place(s, addr)
		if !ok {
			continue
		}
		r.read(s)
		if place >= len(r.snap.Slots) || !r.snap.Slots[place].Configured {
			continue
		}
		one.Prefix, one.Place = s.Prefix(), place
		for _, t := range r.snap.Info.Targets {
			if t.Addr == addr {
				one.Name = t.Name
			}
		}
		one.Probes = append(one.Probes, r.probe(s, place, now))
	}
	if len(one.Probes) == 0 {
		return nil, missing("ip %q: is not a target of this exporter", addr)
	}
	one.Routes = a.routesOf(one.Prefix)
	one.Nominal = positive(a.Table.NominalRTT(one.Prefix))
	one.Events = append([]event.Event{}, a.Events.Last(eventsOfIP, func(e *event.Event) bool { return e.IP == addr })...)
	return one, nil
}

// place returns where in a series an address is.
func (a *api) place(s *prefix.Series, addr netip.Addr) (int, bool) {
	if !s.Prefix().Contains(addr) {
		return 0, false
	}
	found, place, ok := a.Table.Find(addr, s.Probe())
	return place, ok && found == s
}

// probe describes one probe of the address at place of the series that has been read.
func (r *reader) probe(s *prefix.Series, place int, now int64) probeJSON {
	slot := &r.snap.Slots[place]
	p := probeJSON{
		Probe: s.Probe().Kind.String(), Port: s.Probe().Port, State: slot.State.String(),
		Numbers: newNumbers(&r.numbers[place]),
		Seconds: newSeconds(s.Seconds(nil, place, now), now),
	}
	if !slot.LastAnswer.IsZero() {
		at := slot.LastAnswer.UTC()
		p.LastAnswer = &at
	}
	minutes, places, newest := r.Frames.Minutes(nil, s)
	if place < places {
		minutes = minutes[place*frame.HistoryMinutes:][:frame.HistoryMinutes]
	} else {
		minutes = make([]frame.Minute, frame.HistoryMinutes)
	}
	p.Minutes = newMinutes(minutes, newest)
	return p
}

func newSeconds(samples []prefix.Sample, newest int64) secondsJSON {
	j := secondsJSON{From: newest - int64(len(samples)) + 1}
	for _, v := range samples {
		j.RTT = append(j.RTT, seconds(v.RTT()))
		o, _ := v.Lost()
		j.Error = append(j.Error, reason(o))
	}
	return j
}

func newMinutes(minutes []frame.Minute, newest int64) minutesJSON {
	j := minutesJSON{From: (newest - int64(len(minutes)) + 1) * 60}
	for _, m := range minutes {
		j.RTT = append(j.RTT, positive(m.Mean))
		j.Min = append(j.Min, positive(m.Min))
		j.Max = append(j.Max, positive(m.Max))
		j.Loss = append(j.Loss, ratio(m.Lost, m.Answered+m.Lost))
		j.Error = append(j.Error, reason(m.Cause))
	}
	return j
}
