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
	Probe string `json:"probe"`
	Port  uint16 `json:"port"`
	standingJSON
	LastAnswer *time.Time  `json:"last_answer"`
	Numbers    numbersJSON `json:"numbers"`
	Seconds    secondsJSON `json:"seconds"`
	Minutes    minutesJSON `json:"minutes"`
}

type secondsJSON struct {
	From  int64    `json:"from_unix"`
	RTT   figures  `json:"rtt_seconds"`
	Error []string `json:"error"`
}

type minutesJSON struct {
	From int64   `json:"from_unix"`
	RTT  figures `json:"rtt_seconds"`
	Min  figures `json:"min_seconds"`
	Max  figures `json:"max_seconds"`
	Loss figures `json:"loss_ratio"`
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
	var snap prefix.Snapshot
	for _, s := range a.Table.Series() {
		place, ok := a.place(s, addr)
		if !ok {
			continue
		}
		s.Snapshot(&snap)
		if place >= len(snap.Slots) || !snap.Slots[place].Configured {
			continue
		}
		one.Prefix, one.Place = s.Prefix(), place
		for _, t := range snap.Info.Targets {
			if t.Addr == addr {
				one.Name = t.Name
			}
		}
		one.Probes = append(one.Probes, a.probe(s, &snap.Slots[place], place, now))
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

// probe describes one probe of the address at place, whose state is in slot.
func (a *api) probe(s *prefix.Series, slot *prefix.Slot, place int, now int64) probeJSON {
	numbers := a.Frames.NumbersAt(s, place)
	p := probeJSON{
		Probe: s.Probe().Kind.String(), Port: s.Probe().Port, standingJSON: newStanding(slot),
		Numbers: newNumbers(&numbers).of(slot),
		Seconds: newSeconds(s.Seconds(nil, place, now), now),
	}
	if !slot.LastAnswer.IsZero() {
		at := slot.LastAnswer.UTC()
		p.LastAnswer = &at
	}
	p.Minutes = newMinutes(a.Frames.MinutesAt(s, place))
	return p
}

func newSeconds(samples []prefix.Sample, newest int64) secondsJSON {
	n := len(samples)
	j := secondsJSON{From: newest - int64(n) + 1, RTT: make(figures, n), Error: make([]string, n)}
	for i, v := range samples {
		j.RTT[i] = seconds(v.RTT())
		o, _ := v.Lost()
		j.Error[i] = reason(o)
	}
	return j
}

func newMinutes(minutes []frame.Minute, newest int64) minutesJSON {
	n := len(minutes)
	j := minutesJSON{
		From: (newest - int64(n) + 1) * 60,
		RTT:  make(figures, n), Min: make(figures, n), Max: make(figures, n), Loss: make(figures, n), Error: make([]string, n),
	}
	for i, m := range minutes {
		j.RTT[i] = positive(m.Mean)
		j.Min[i] = positive(m.Min)
		j.Max[i] = positive(m.Max)
		j.Loss[i] = ratio(m.Lost, m.Answered+m.Lost)
		j.Error[i] = reason(m.Cause)
	}
	return j
}
