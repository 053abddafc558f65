package collector

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/common/expfmt"

	"prefix_exporter/prefix"
	"prefix_exporter/route"
)

// routesOf makes a table with a route per prefix.
func routesOf(prefixes ...string) *route.Table {
	table := route.NewTable(nil)
	var specs []route.Spec
	for _, p := range prefixes {
		specs = append(specs, route.Spec{Key: routeKey(p), Protocol: "icmp"})
	}
	table.Apply(specs)
	return table
}

func routeKey(p string) route.Key { return route.Key{Prefix: netip.MustParsePrefix(p)} }

// trace records one round, asked n times, a minute apart: the addresses by TTL that answer after so
// many milliseconds, * for silence; one with an exclamation mark says that dst is unreachable.
func trace(table *route.Table, k route.Key, dst, path string, n int) {
	var answers []route.Answer
	for i, word := range strings.Fields(path) {
		a := route.Answer{Kind: route.Exceeded, RTT: time.Duration(i+1) * time.Millisecond}
		word, blocks := strings.CutSuffix(word, "!")
		switch {
		case word == "*":
			a = route.Answer{}
		case blocks:
			a.Kind = route.Unreachable
		case word == dst:
			a.Kind = route.Arrived
		}
		if a.Kind != route.Silent {
			a.From = addr(word)
		}
		answers = append(answers, a)
	}
	for i := range n {
		table.Record(k, addr(dst), route.Round{Started: epoch.Add(time.Duration(i) * time.Minute), Answers: answers})
	}
}

// smallRoutes has every kind of route once.
func smallRoutes() *route.Table {
	table := routesOf("192.0.2.0/24", "198.51.100.0/24", "203.0.113.0/24", "203.0.113.128/25", "2001:db8::/64", "2001:db8:1::/64")
	k := routeKey("192.0.2.0/24")
	trace(table, k, "192.0.2.1", "10.0.0.1 * 10.0.0.3 192.0.2.1", 5)
	trace(table, k, "192.0.2.1", "10.0.0.1 * 10.0.0.4 10.0.0.5 192.0.2.1", 2)
	trace(table, k, "192.0.2.1", "10.0.0.1 * 10.0.0.4 * 192.0.2.1", 2) // the router limits its answers
	trace(table, routeKey("198.51.100.0/24"), "198.51.100.7", "10.0.0.1 * 10.0.0.6 *", 3)
	trace(table, routeKey("203.0.113.0/24"), "203.0.113.9", "10.0.0.1 10.0.0.7 10.0.0.8 10.0.0.7 10.0.0.8", 3)
	trace(table, routeKey("203.0.113.128/25"), "203.0.113.129", "10.0.0.1 10.0.0.9!", 3)
	trace(table, routeKey("2001:db8::/64"), "2001:db8::1", "fe80::1 2001:db8::1", 1)
	return table // and one that has not been asked yet
}

func TestRoutersThatLeaveThePathLeaveTheScrapeAtOnce(t *testing.T) {
	routes := routesOf("192.0.2.0/24")
	c := New(prefix.NewTable(nil), routes)
	k := routeKey("192.0.2.0/24")
	shown := func() (list []string) {
		for line := range strings.Lines(string(scraped(t, c, expfmt.FmtText))) {
			if strings.HasPrefix(line, "prefix_route_hop") {
				list = append(list, strings.TrimSpace(line))
			}
		}
		return list
	}
	if got := shown(); got != nil {
		t.Errorf("before the first round: %q", got)
	}
	trace(routes, k, "192.0.2.1", "10.0.0.1 10.0.0.2 192.0.2.1", 1)
	trace(routes, k, "192.0.2.1", "10.0.0.1 10.0.0.3 * 192.0.2.1", 2)
	want := []string{
		`prefix_route_hop_loss_ratio{ip="192.0.2.1",prefix="192.0.2.0/24",router="10.0.0.1",ttl="1"} 0`,
		`prefix_route_hop_loss_ratio{ip="192.0.2.1",prefix="192.0.2.0/24",router="10.0.0.3",ttl="2"} 0`,
		`prefix_route_hop_loss_ratio{ip="192.0.2.1",prefix="192.0.2.0/24",router="192.0.2.1",ttl="4"} 0`,
		`prefix_route_hop_rtt_seconds{ip="192.0.2.1",prefix="192.0.2.0/24",router="10.0.0.1",ttl="1"} 0.001`,
		`prefix_route_hop_rtt_seconds{ip="192.0.2.1",prefix="192.0.2.0/24",router="10.0.0.3",ttl="2"} 0.002`,
		`prefix_route_hop_rtt_seconds{ip="192.0.2.1",prefix="192.0.2.0/24",router="192.0.2.1",ttl="4"} 0.004`,
		`prefix_route_hops{ip="192.0.2.1",prefix="192.0.2.0/24"} 4`,
	}
	if diff := cmp.Diff(want, slices.Sorted(slices.Values(shown()))); diff != "" {
		t.Errorf("after a change that shows two hops instead of one (-want +got):\n%s", diff)
	}
	routes.Apply(nil)
	if got := shown(); got != nil {
		t.Errorf("after a reload without it: %q", got)
	}
}

func TestTwoRoutesToOneAddressAreShownOnce(t *testing.T) {
	k := routeKey("192.0.2.0/24")
	same := route.Key{Prefix: k.Prefix, Addr: addr("192.0.2.1")}
	routes := route.NewTable(nil)
	routes.Apply([]route.Spec{{Key: k, Protocol: "icmp"}, {Key: same, Protocol: "icmp"}})
	trace(routes, k, "192.0.2.1", "10.0.0.1 192.0.2.1", 1)
	trace(routes, same, "192.0.2.1", "10.0.0.1 192.0.2.1", 1)
	scraped(t, New(prefix.NewTable(nil), routes), expfmt.FmtText) // fails if a series is there twice
}

// TestRoutesAreShownAsTheTableHasThem compares scrapes of random routes with what the
// table says, number by number.
func TestRoutesAreShownAsTheTableHasThem(t *testing.T) {
	for seed := range uint64(50) {
		r := rand.New(rand.NewPCG(seed, 9))
		table := routesOf("192.0.2.0/24", "198.51.100.0/24", "203.0.113.0/24")
		for range r.IntN(200) {
			k := routeKey([]string{"192.0.2.0/24", "198.51.100.0/24", "203.0.113.0/24"}[r.IntN(3)])
			dst := k.Prefix.Addr().Next()
			var path []string
			for ttl := range 3 + r.IntN(4) {
				path = append(path, []string{"*", fmt.Sprintf("10.0.%d.%d", ttl, r.IntN(10)/9)}[min(1, r.IntN(5))])
			}
			trace(table, k, dst.String(), strings.Join(append(path, dst.String()), " "), 1+r.IntN(3))
		}
		got := map[string]float64{}
		for _, f := range gathered(t, routes{table, newDescs()}) {
			for _, m := range f.Metric {
				got[f.GetName()+labelKey(m)] = m.GetGauge().GetValue() + m.GetCounter().GetValue()
			}
		}
		if diff := cmp.Diff(wanted(table), got); diff != "" {
			t.Fatalf("seed %d (-want +got):\n%s", seed, diff)
		}
	}
}

func wanted(table *route.Table) map[string]float64 {
	want := map[string]float64{}
	for _, one := range table.Routes() {
		if one.Rounds == 0 {
			continue
		}
		path := fmt.Sprintf(`{ip="%s", prefix="%s"`, one.Dst, one.Prefix)
		want[RouteChanges+path+"}"] = float64(one.ChangesTotal)
		if one.Path.Status == route.Reached {
			want[RouteHops+path+"}"] = float64(len(one.Path.Hops))
		}
		last := float64(0)
		router := ""
		for _, h := range one.Hops {
			if h.Last > 0 {
				last, router = float64(h.TTL), h.Router.String()
			}
		}
		want[RouteLastHop+path+fmt.Sprintf(`, router="%s", status="%s"}`, router, one.Path.Status)] = last
		for _, h := range one.Hops {
			hop := path + fmt.Sprintf(`, router="%s", ttl="%d"}`, h.Router, h.TTL)
			if h.Answered > 0 {
				want[RouteHopLoss+hop] = h.Loss
			}
			if h.Last > 0 {
				want[RouteHopRTT+hop] = float64(h.Last) / 1e9
			}
		}
	}
	return want
}

// TestEveryScrapeShowsOnePath scrapes while a path changes back and forth: its hops are
// always those of one and the same path.
func TestEveryScrapeShowsOnePath(t *testing.T) {
	table := routesOf("192.0.2.0/24")
	k := routeKey("192.0.2.0/24")
	const short, long = "10.0.0.1 10.0.0.2 192.0.2.1", "10.0.0.1 10.0.0.3 10.0.0.4 10.0.0.5 192.0.2.1"
	trace(table, k, "192.0.2.1", short, 1)
	registry := prometheus.NewRegistry()
	h := New(prefix.NewTable(nil), table).Handler(registry, registry, Options{})
	stop := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
				trace(table, k, "192.0.2.1", long, 2)
				trace(table, k, "192.0.2.1", short, 2)
			}
		}
	})
	seen := map[string]int{}
	for range 100 {
		_, body := get(t, h, string(expfmt.FmtProtoDelim), "")
		var hops, path string
		for _, f := range read(t, expfmt.FmtProtoDelim, body) {
			switch f.GetName() {
			case RouteHops:
				hops = strconv.Itoa(int(f.Metric[0].Gauge.GetValue()))
			case RouteHopLoss:
				routers := make([]string, len(f.Metric))
				for _, m := range f.Metric {
					ttl, _ := strconv.Atoi(label(m, "ttl"))
					routers[ttl-1] = label(m, "router")
				}
				path = strings.Join(routers, " ")
			}
		}
		seen[hops+": "+path]++
	}
	close(stop)
	wg.Wait()
	delete(seen, "3: "+short)
	delete(seen, "5: "+long)
	if len(seen) > 0 {
		t.Errorf("also seen: %v", seen)
	}
}

// BenchmarkRoutes gathers 256 routes of 12 hops each.
func BenchmarkRoutes(b *testing.B) {
	var prefixes, path []string
	for i := range 256 {
		prefixes = append(prefixes, fmt.Sprintf("198.18.%d.0/24", i))
	}
	for ttl := range 11 {
		path = append(path, fmt.Sprintf("10.0.0.%d", ttl))
	}
	table := routesOf(prefixes...)
	for _, p := range prefixes {
		dst := strings.TrimSuffix(p, "0/24") + "1"
		trace(table, routeKey(p), dst, strings.Join(append(path, dst), " "), 3)
	}
	registry := prometheus.NewRegistry()
	registry.MustRegister(routes{table, newDescs()})
	b.ReportAllocs()
	for b.Loop() {
		if _, err := registry.Gather(); err != nil {
			b.Fatal(err)
		}
	}
}
