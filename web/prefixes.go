package web

import (
	"cmp"
	"net/http"
	"net/netip"
	"slices"
	"time"

	"prefix_exporter/frame"
	"prefix_exporter/prefix"
)

type summaryJSON struct {
	Time      time.Time     `json:"time"`
	Version   string        `json:"version"`
	Telemetry string        `json:"telemetry_path"`
	Ready     bool          `json:"ready"`
	Troubles  []troubleJSON `json:"troubles"`
	Prefixes  int           `json:"prefixes"`
	Addresses int           `json:"addresses"`
	Probes    []totalJSON   `json:"probes"`
}

// totalJSON is a tally of everything, and its last 60 seconds.
type totalJSON struct {
	tallyJSON
	Seconds totalSecondsJSON `json:"seconds"`
}

type totalSecondsJSON struct {
	From     int64   `json:"from_unix"`
	Mean     figures `json:"mean_seconds"`
	Answered []int   `json:"answered"`
	Lost     []int   `json:"lost"`
}

func (a *api) totalSeconds(p prefix.Probe) (j totalSecondsJSON) {
	all, from := a.Frames.Seconds(p)
	j.From = from
	for _, s := range all {
		j.Mean = append(j.Mean, positive(s.Sum/time.Duration(max(s.Answered, 1))))
		j.Answered = append(j.Answered, s.Answered)
		j.Lost = append(j.Lost, s.Lost)
	}
	return j
}

type troubleJSON struct {
	Reason string    `json:"reason"`
	Detail string    `json:"detail"`
	Last   time.Time `json:"last"`
}

// summary answers with all of it in a few numbers.
func (a *api) summary(*http.Request) (any, error) {
	s := summaryJSON{Time: time.Now().UTC(), Version: a.Version, Telemetry: a.TelemetryPath, Ready: a.Prober.Ready(), Troubles: []troubleJSON{}}
	for _, t := range a.Prober.Troubles() {
		s.Troubles = append(s.Troubles, troubleJSON{t.Reason, t.Detail, t.Last.UTC()})
	}
	for _, info := range a.Table.Infos() {
		s.Prefixes++
		s.Addresses += len(info.Targets)
	}
	var sums []*tally
	r := reader{api: a}
	for _, series := range a.Table.Series() {
		one := r.tally(series)
		i := slices.IndexFunc(sums, func(t *tally) bool { return t.probe == one.probe })
		if i < 0 {
			sums = append(sums, &one)
		} else {
			sums[i].add(&one)
		}
	}
	slices.SortFunc(sums, func(a, b *tally) int {
		return cmp.Or(cmp.Compare(a.probe.Kind, b.probe.Kind), cmp.Compare(a.probe.Port, b.probe.Port))
	})
	s.Probes = make([]totalJSON, len(sums))
	for i, t := range sums {
		s.Probes[i] = totalJSON{t.json(), a.totalSeconds(t.probe)}
	}
	return s, nil
}

type prefixesJSON struct {
	Time     time.Time    `json:"time"`
	Prefixes []prefixJSON `json:"prefixes"`
}

type prefixJSON struct {
	Prefix  netip.Prefix      `json:"prefix"`
	Name    string            `json:"name"`
	Router  string            `json:"router"`
	Tenants []string          `json:"tenants"`
	Labels  map[string]string `json:"labels"`
	Nominal figure            `json:"nominal_rtt_seconds"`
	Probes  []tallyJSON       `json:"probes"`
}

func (a *api) newPrefix(info *prefix.Block) prefixJSON {
	p := prefixJSON{
		Prefix: info.Prefix, Name: info.Name, Router: info.Router,
		Tenants: append([]string{}, info.Tenants...), Labels: map[string]string{},
		Nominal: positive(a.Table.NominalRTT(info.Prefix)),
	}
	for _, l := range info.Labels {
		p.Labels[l.Name] = l.Value
	}
	return p
}

// prefixes answers with all prefixes, sorted.
func (a *api) prefixes(*http.Request) (any, error) {
	all := prefixesJSON{Time: time.Now().UTC(), Prefixes: []prefixJSON{}}
	r := reader{api: a}
	for _, series := range a.Table.Series() { // sorted by prefix
		one := r.tally(series)
		last := len(all.Prefixes) - 1
		if last < 0 || all.Prefixes[last].Prefix != series.Prefix() {
			all.Prefixes = append(all.Prefixes, a.newPrefix(r.snap.Info))
			last++
		}
		all.Prefixes[last].Probes = append(all.Prefixes[last].Probes, one.json())
	}
	return all, nil
}

type onePrefixJSON struct {
	prefixJSON
	IPs    []ipOfPrefixJSON `json:"ips"`
	Routes []routeJSON      `json:"routes"`
}

type ipOfPrefixJSON struct {
	IP     netip.Addr      `json:"ip"`
	Name   string          `json:"name"`
	Place  int             `json:"place"`
	Probes []ipOfProbeJSON `json:"probes"`
}

type ipOfProbeJSON struct {
	Probe string `json:"probe"`
	Port  uint16 `json:"port"`
	standingJSON
	Numbers numbersJSON `json:"numbers"`
}

// prefix answers with one prefix and its addresses, sorted.
func (a *api) prefix(request *http.Request) (any, error) {
	p, err := parsePrefix(request.PathValue("prefix"))
	if err != nil {
		return nil, err
	}
	list, err := a.known(p)
	if err != nil {
		return nil, err
	}
	one := onePrefixJSON{Routes: a.routesOf(p)}
	byAddr := map[netip.Addr]*ipOfPrefixJSON{}
	r := reader{api: a}
	for i, series := range list {
		sum := r.tally(series)
		if i == 0 {
			one.prefixJSON = a.newPrefix(r.snap.Info)
		}
		one.Probes = append(one.Probes, sum.json())
		r.addresses(series, byAddr)
	}
	one.IPs = make([]ipOfPrefixJSON, 0, len(byAddr))
	for _, ip := range byAddr {
		one.IPs = append(one.IPs, *ip)
	}
	slices.SortFunc(one.IPs, func(a, b ipOfPrefixJSON) int { return a.IP.Compare(b.IP) })
	return one, nil
}

// routesOf returns the routes of a prefix with their changes.
func (a *api) routesOf(p netip.Prefix) []routeJSON {
	if a.Routes == nil {
		return []routeJSON{}
	}
	return newRoutes(a.Routes.Prefix(p), true)
}

// addresses adds the probe of the series that has been read to each of its addresses.
func (r *reader) addresses(s *prefix.Series, byAddr map[netip.Addr]*ipOfPrefixJSON) {
	numbers := r.Frames.Numbers(nil, s)
	// Places that a reload has just added have none yet.
	numbers = append(numbers, make([]frame.Numbers, max(0, len(r.snap.Slots)-len(numbers)))...)
	names := make(map[netip.Addr]string, len(r.snap.Info.Targets))
	for _, t := range r.snap.Info.Targets {
		names[t.Addr] = t.Name
	}
	for i, addr := range r.snap.Addrs {
		if !r.snap.Slots[i].Configured {
			continue
		}
		ip := byAddr[addr]
		if ip == nil {
			ip = &ipOfPrefixJSON{IP: addr, Name: names[addr], Place: i}
			byAddr[addr] = ip
		}
		slot := &r.snap.Slots[i]
		ip.Probes = append(ip.Probes, ipOfProbeJSON{
			r.snap.Probe.Kind.String(), r.snap.Probe.Port, newStanding(slot), newNumbers(&numbers[i]).of(slot),
		})
	}
}
