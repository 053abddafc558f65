package probe

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"prefix_exporter/lab/netsim"
	"prefix_exporter/route"
)

func labelString(l route.Label) string {
	s := fmt.Sprintf("%d,%d,%d", l.Value, l.Class, l.TTL)
	if l.Bottom {
		s += ",S"
	}
	return s
}

// oddRoutes have everything that a way can have.
const oddRoutes = `
prefixes: [192.0.2.0/24, '2001:db8::/120']
rules:
  - {delay: 4ms}
  - {prefix: 192.0.2.200/29, silent: true}
routes:
  - prefix: 192.0.2.0/24
    hops: [{router: 10.0.0.1, delay: 1ms}, '*', {router: 10.0.0.3, delay: 2ms, mpls: [16000, 17]}, {router: 10.0.0.4, delay: 3ms, quote: 8}]
  - {prefix: 192.0.2.66, hops: [10.0.0.1, {router: 10.0.0.3, unreachable: prohibited}]}
  - {prefix: 192.0.2.67, hops: [10.0.0.1, 10.0.0.5, 10.0.0.6], loop: 2}
  - {prefix: 192.0.2.68, hops: [10.0.0.1, {router: 10.0.0.7, rate_limit: 1/s}]}
  - {prefix: 192.0.2.69, hops: [{router: 10.0.0.8, quote: 8, mpls: 99}, 10.0.0.9]}
  - {prefix: '2001:db8::/120', hops: ['2001:db8:1::1', {router: '2001:db8:1::2', mpls: 16000, delay: 1ms}, {router: '2001:db8:1::3', quote: 8}]}
  - {prefix: '2001:db8::66', hops: ['2001:db8:1::1', {router: '2001:db8:1::3', unreachable: prohibited}]}
`

// oddWays are what a traceroute must show of them; nil: what differs from round to round.
var oddWays = map[string][]string{
	"192.0.2.7":    {"10.0.0.1", "*", "10.0.0.3/16000,0,1/17,0,1,S", "10.0.0.4", "192.0.2.7!"},
	"192.0.2.66":   {"10.0.0.1", "10.0.0.3", "10.0.0.3X", "10.0.0.3X", "10.0.0.3X", "10.0.0.3X"},
	"192.0.2.67":   {"10.0.0.1", "10.0.0.5", "10.0.0.6", "10.0.0.5", "10.0.0.6", "10.0.0.5"},
	"192.0.2.69":   {"10.0.0.8/99,0,1,S", "10.0.0.9", "192.0.2.69!"},
	"192.0.2.201":  {"10.0.0.1", "*", "10.0.0.3/16000,0,1/17,0,1,S", "10.0.0.4", "*", "*"},
	"2001:db8::7":  {"2001:db8:1::1", "2001:db8:1::2/16000,0,1,S", "2001:db8:1::3", "2001:db8::7!"},
	"2001:db8::66": {"2001:db8:1::1", "2001:db8:1::3", "2001:db8:1::3X", "2001:db8:1::3X", "2001:db8:1::3X", "2001:db8:1::3X"},
}

func TestEveryOddityOfAWayIsSeen(t *testing.T) {
	for _, c := range []struct {
		name, protocol string
		raw            bool
		mode           transmitMode
	}{
		{"ICMP on a datagram socket", TraceICMP, false, transmitByID},
		{"ICMP on a raw socket", TraceICMP, true, transmitByID},
		{"TCP", TraceTCP, false, transmitByID},
		{"UDP", TraceUDP, false, transmitByID},
		{"ICMP on a kernel before 6.13", TraceICMP, false, transmitByLoop},
		{"TCP on a kernel before 6.13", TraceTCP, false, transmitByLoop},
		{"UDP on a kernel before 6.13", TraceUDP, false, transmitByLoop},
		{"ICMP without transmit stamps", TraceICMP, false, transmitNone},
	} {
		t.Run(c.name, func(t *testing.T) {
			if c.raw {
				closePingGroups(t)
			}
			l := lab(t, oddRoutes)
			b := newTraceBench(t, nil)
			b.tracer.mode = c.mode
			var list []TraceTarget
			for a := range oddWays {
				target := traceTarget(c.protocol, a)
				target.MaxHops = 6
				list = append(list, target)
			}
			b.apply(list...)
			b.run()
			b.sees(l, 0, 6, oddWays)
			b.stop()
			if c.mode != transmitNone { // exactness is promised where the kernel stamps
				b.compare(l)
			}
			b.want(map[string]float64{"malformed_packets_total": 0, "duplicate_replies_total": 0})
			// An answer that comes too late may be one to a round that is over.
			for _, name := range []string{"late_replies_total", "unmatched_replies_total", "unstamped_replies_total", "kernel_drops_total"} {
				if got := b.value(name); got != 0 {
					b.control.Pace(t, "%s is %v, want 0", name, got)
				}
			}
			b.discarded()
			b.unhealthy()
		})
	}
}

// discarded checks that a place is unasked where the loop was away for too long to know what became of
// the probe, and nowhere else.
func (b *traceBench) discarded() {
	b.t.Helper()
	unasked := 0
	for _, r := range b.rounds {
		for _, a := range r.Answers {
			if a.Kind == route.Unasked {
				unasked++
			}
		}
	}
	if got := b.value("discarded_probes_total"); got != float64(unasked) {
		b.t.Errorf("%v probes were discarded, %d places are unasked", got, unasked)
	}
}

// compare checks every RTT that was recorded against how long the lab held the probe.
func (b *traceBench) compare(l *netsim.Lab) {
	b.t.Helper()
	type name struct {
		dst netip.Addr
		ttl uint8
	}
	sent := map[name][]netsim.Packet{}
	for _, p := range l.Truth(netsim.ICMP, netsim.TCP, netsim.UDP) {
		k := name{p.Dst, p.TTL}
		sent[k] = append(sent[k], p)
	}
	var over []time.Duration
	wrong, unstamped := 0, b.value("unstamped_replies_total")
	for n, r := range b.rounds {
		for i, a := range r.Answers {
			if a.Kind == route.Silent || a.Kind == route.Unasked {
				continue
			}
			p := b.probe(sent[name{r.dst, uint8(i + 1)}], n, i+1)
			if p == nil {
				b.t.Errorf("%s TTL %d: answered, but the lab has seen no probe", r.dst, i+1)
				continue
			}
			over = append(over, a.RTT-p.Hold())
			x := p.Outside(a.RTT)
			if x > 0 && unstamped > 0 {
				unstamped-- // by the engine's own clock, and it says so: the kernel begins to stamp a moment after it is asked to
				continue
			}
			if x != 0 {
				if wrong++; wrong <= 10 {
					b.t.Errorf("%s TTL %d: RTT %v, %v outside of what it may be; held for %v", r.dst, i+1, a.RTT, x, p.Hold())
				}
			}
		}
	}
	if wrong > 10 {
		b.t.Errorf("… and %d more", wrong-10)
	}
	slices.Sort(over)
	b.t.Logf("beyond what the lab held %d probes: min %v, median %v, 99 %% %v, max %v", len(over), over[0], over[len(over)/2], over[len(over)*99/100], over[len(over)-1])
	if over[len(over)/2] > time.Millisecond {
		b.control.Pace(b.t, "RTTs are not what the lab held")
	}
}

// balanced has four ways of the same length; a balancer hashes what the lab says in docs/lab.md.
const balanced = `
prefixes: [192.0.2.0/24, '2001:db8::/120']
routes:
  - prefix: 192.0.2.0/24
    paths:
      - hops: [10.0.0.1, 10.0.1.1, 10.0.1.2, 10.0.0.4]
      - hops: [10.0.0.1, 10.0.2.1, 10.0.2.2, 10.0.0.4]
      - hops: [10.0.0.1, 10.0.3.1, 10.0.3.2, 10.0.0.4]
      - hops: [10.0.0.1, 10.0.4.1, 10.0.4.2, 10.0.0.4]
  - prefix: '2001:db8::/120'
    paths:
      - hops: ['2001:db8:1::1', '2001:db8:1::11']
      - hops: ['2001:db8:1::1', '2001:db8:1::12']
      - hops: ['2001:db8:1::1', '2001:db8:1::13']
      - hops: ['2001:db8:1::1', '2001:db8:1::14']
`

// TestABalancerFakesNoChange has 16 routes cross a balancer forty times, and then takes another way.
func TestABalancerFakesNoChange(t *testing.T) {
	for _, protocol := range []string{TraceICMP, TraceTCP, TraceUDP} {
		t.Run(protocol, func(t *testing.T) {
			l := lab(t, balanced)
			b := newTraceBench(t, nil)
			var changes atomic.Int64
			told := map[netip.Addr]int{} // the round in which the newest change was; Record holds b.mu
			b.table = route.NewTable(func(c route.Change) {
				changes.Add(1)
				told[c.Dst] = len(b.rounds) - 1
			})
			var list []TraceTarget
			for i := range 16 {
				a := fmt.Sprintf("192.0.2.%d", i+1)
				if i%2 == 1 {
					a = fmt.Sprintf("2001:db8::%x", i+1)
				}
				target := traceTarget(protocol, a)
				target.Interval, target.Timeout = 60*time.Millisecond, 55*time.Millisecond
				list = append(list, target)
			}
			b.table.Apply(specsOf(list))
			b.apply(list...)
			b.run()
			first, ways := map[netip.Addr][]string{}, map[string]bool{}
			for _, r := range b.whole(0, 40*len(list)) {
				got := line(r)
				if first[r.dst] == nil {
					first[r.dst] = got
					ways[got[1]] = true
				}
				if diff := cmp.Diff(first[r.dst], got); diff != "" {
					t.Fatalf("%s (-first +now)\n%s", r.dst, diff)
				}
			}
			if len(ways) < 3 {
				t.Errorf("the routes take the ways %v only: the test shows nothing", ways)
			}
			if n := changes.Load(); n != 0 {
				t.Errorf("%d changes were told before there was one", n)
			}
			at := b.change(l)
			b.stop()
			b.changed(at, told)
			b.unhealthy()
		})
	}
}

func specsOf(list []TraceTarget) (specs []route.Spec) {
	for i := range list {
		specs = append(specs, route.Spec{Key: list[i].Key, Protocol: list[i].Protocol, Port: list[i].Port})
	}
	return specs
}

// changed checks that the table knows of one change of each IPv4 route, to the way of which change
// is told in its second round, and of none of the others. told is in which round it was. Where one of the first
// two rounds after the change does not show all of the way, it is told later, or in parts.
func (b *traceBench) changed(at time.Time, told map[netip.Addr]int) {
	b.t.Helper()
	strict := 0
	for _, r := range b.table.Routes() {
		if r.Dst.Is6() {
			if len(r.Changes) > 0 {
				b.t.Errorf("%s: changes %+v, want none", r.Dst, r.Changes)
			}
			continue
		}
		var after []int // the rounds since
		for n, x := range b.rounds {
			if x.dst == r.Dst && !x.Started.Before(at) {
				after = append(after, n)
			}
		}
		if len(after) < 2 || slices.ContainsFunc(after, func(n int) bool { return torn(b.rounds[n]) || silent(b.rounds[n]) }) {
			continue
		}
		strict++
		if len(r.Changes) != 1 || r.Path.Status != route.Reached {
			b.t.Errorf("%s: %d changes, status %v, want 1", r.Dst, len(r.Changes), r.Path.Status)
			continue
		}
		if c := r.Changes[0]; !c.At.Equal(b.rounds[after[0]].Started) || c.TTL != 2 || len(c.New.Hops) != 9 || len(c.Old.Hops) != 5 {
			b.t.Errorf("%s: %+v", r.Dst, c)
		}
		if told[r.Dst] != after[1] {
			b.t.Errorf("%s: shown in round %d, again in %d, told in %d", r.Dst, after[0], after[1], told[r.Dst])
		}
	}
	if strict == 0 {
		b.control.Pace(b.t, "no route was whole in all rounds since the change")
	}
}

// change gives the ways another hop, and expects it in every round that begins afterwards.
func (b *traceBench) change(l *netsim.Lab) (at time.Time) {
	b.t.Helper()
	hop := func(a string) netsim.Hop { return netsim.Hop{Router: netip.MustParseAddr(a)} }
	at, err := l.SetRoute(netsim.Route{
		Prefixes: []netip.Prefix{netip.MustParsePrefix("192.0.2.0/25")},
		Paths:    []netsim.Path{{Hops: []netsim.Hop{hop("10.0.0.1"), hop("10.9.9.1"), hop("10.9.9.2"), hop("10.9.9.3"), hop("10.9.9.4"), hop("10.9.9.5"), hop("10.9.9.6"), hop("10.0.0.4")}}},
	})
	if err != nil {
		b.t.Fatal(err)
	}
	for n, seen := b.count(), 0; seen < 60; n++ {
		n = b.nextWhole(n)
		r := b.wait(n, 1)[0]
		if r.dst.Is6() || r.Started.Before(at) {
			continue
		}
		seen++
		want := []string{"10.0.0.1", "10.9.9.1", "10.9.9.2", "10.9.9.3", "10.9.9.4", "10.9.9.5", "10.9.9.6", "10.0.0.4", r.dst.String() + "!"}
		if diff := cmp.Diff(want, line(r)); diff != "" {
			b.t.Fatalf("%s, %v after the change (-want +got)\n%s", r.dst, r.Started.Sub(at), diff)
		}
	}
	waitFor(b.t, func() bool { // each has told its own
		return !slices.ContainsFunc(b.table.Routes(), func(r route.Route) bool { return r.Dst.Is4() && len(r.Changes) == 0 })
	})
	return at
}

// TestTheDestinationIsSpared counts what arrives there: no more than spareHops beside the one that must.
func TestTheDestinationIsSpared(t *testing.T) {
	l := lab(t, balanced)
	b := newTraceBench(t, nil)
	b.apply(traceTarget(TraceICMP, "192.0.2.7"))
	b.run()
	b.whole(0, 8)
	b.stop()
	truth := l.Truth()
	spared := 0 // rounds behind one that the destination has answered
	for n := 1; n < len(b.rounds); n++ {
		if torn(b.rounds[n-1]) || silent(b.rounds[n-1]) {
			continue
		}
		spared++
		asked := 0
		for ttl := 5; ttl <= 12; ttl++ {
			if p := b.probe(truth, n, ttl); p != nil && p.Hop == 0 {
				asked++
			}
		}
		if asked > 1+spareHops {
			t.Errorf("%d echo requests arrived in round %d, want at most %d", asked, n, 1+spareHops)
		}
	}
	if spared < 7 {
		t.Errorf("only %d rounds show something of it", spared)
	}
}

// TestADestinationIsChosenAtEachRound moves a route to another address.
func TestADestinationIsChosenAtEachRound(t *testing.T) {
	lab(t, balanced)
	var asked []netip.Addr
	choices := []string{"", "192.0.2.1", "192.0.2.1", "192.0.2.2", "", "192.0.2.3"}
	b := newTraceBench(t, func(o *TraceOptions) {
		o.Destination = func(p netip.Prefix, current netip.Addr) netip.Addr {
			asked = append(asked, current)
			if p.String() != "192.0.2.0/24" || len(asked) > len(choices) || choices[len(asked)-1] == "" {
				return netip.Addr{}
			}
			return netip.MustParseAddr(choices[len(asked)-1])
		}
	})
	target := traceTarget(TraceICMP, "192.0.2.1")
	target.Key.Addr = netip.Addr{}
	b.apply(target)
	b.run()
	var got []string
	for _, r := range b.wait(0, 4) {
		if r.key != target.Key {
			t.Errorf("key %v", r.key)
		}
		got = append(got, r.dst.String())
	}
	b.stop()
	if diff := cmp.Diff([]string{"192.0.2.1", "192.0.2.1", "192.0.2.2", "192.0.2.3"}, got); diff != "" {
		t.Errorf("destinations (-want +got)\n%s", diff)
	}
	var currents []string
	for _, a := range asked[:len(choices)] {
		currents = append(currents, a.String())
	}
	if diff := cmp.Diff([]string{"invalid IP", "invalid IP", "192.0.2.1", "192.0.2.1", "192.0.2.2", "invalid IP"}, currents); diff != "" {
		t.Errorf("current destinations (-want +got)\n%s", diff)
	}
}

// TestAReloadKeepsWhatIsUnchanged applies the same routes again and again, and others beside them.
func TestAReloadKeepsWhatIsUnchanged(t *testing.T) {
	l := lab(t, balanced)
	b := newTraceBench(t, nil)
	stays, other := traceTarget(TraceICMP, "192.0.2.7"), traceTarget(TraceTCP, "192.0.2.8")
	b.apply(stays)
	b.run()
	first := b.whole(0, 1)[0]
	for i := range 100 {
		list := []TraceTarget{stays}
		if i%2 == 0 {
			list = append(list, other)
		}
		if err := b.tracer.Apply(t.Context(), list); err != nil {
			t.Fatal(err)
		}
		time.Sleep(5 * time.Millisecond)
	}
	b.sees(l, 0, 6, map[string][]string{first.dst.String(): line(first)})
	if err := b.tracer.Apply(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	if err := b.tracer.Apply(t.Context(), nil); err != nil { // the first one might have been taken back
		t.Fatal(err)
	}
	if n := len(b.tracer.sockets); n != 0 {
		t.Errorf("%d sockets are left", n)
	}
	if err := l.Quiesce(t.Context()); err != nil {
		t.Fatal(err)
	}
	asked := len(l.Truth(netsim.ICMP, netsim.TCP))
	time.Sleep(250 * time.Millisecond)
	if n := len(l.Truth(netsim.ICMP, netsim.TCP)) - asked; n > 0 {
		t.Errorf("%d probes of routes that are gone", n)
	}
	if err := b.tracer.Trace(t.Context(), stays.Key.Addr, time.Second); !errors.Is(err, ErrNoTarget) {
		t.Errorf("error %v", err)
	}
}

// TestRoutesAreSpreadOverTheInterval holds the phases against a uniform distribution.
func TestRoutesAreSpreadOverTheInterval(t *testing.T) {
	for name, key := range map[string]func(i int) route.Key{
		"IPv4": func(i int) route.Key {
			return route.Key{Prefix: netip.PrefixFrom(netip.AddrFrom4([4]byte{192, 0, byte(i), 0}), 24)}
		},
		"addresses of one prefix": func(i int) route.Key {
			return route.Key{Prefix: netip.MustParsePrefix("192.0.2.0/24"), Addr: netip.AddrFrom4([4]byte{192, 0, 2, byte(i)})}
		},
		"IPv6": func(i int) route.Key {
			return route.Key{Prefix: netip.PrefixFrom(netip.AddrFrom16([16]byte{0x20, 1, 0xd, 0xb8, 14: byte(i)}), 120)}
		},
	} {
		var quarters [16]int
		for i := range 256 {
			quarters[routePhase(key(i), time.Minute)*16/time.Minute]++
		}
		if slices.Min(quarters[:]) < 12 || slices.Max(quarters[:]) > 20 {
			t.Errorf("%s: rounds in each sixteenth of the interval: %v, want about 16", name, quarters)
		}
	}
}

// BenchmarkTraceRound is a round of ten TTLs, from the first probe to the record of it.
func BenchmarkTraceRound(b *testing.B) {
	for _, protocol := range []string{TraceICMP, TraceTCP, TraceUDP} {
		b.Run(protocol, func(b *testing.B) {
			l := lab(b, `
prefixes: [192.0.2.0/24]
routes: [{prefix: 192.0.2.0/24, hops: [10.0.0.1, 10.0.0.2, 10.0.0.3, 10.0.0.4, 10.0.0.5, 10.0.0.6, 10.0.0.7, 10.0.0.8, 10.0.0.9]}]
`)
			bench := newTraceBench(b, nil)
			done := 0
			t := bench.tracer
			t.o.Record = func(_ route.Key, _ netip.Addr, r route.Round) {
				if len(r.Answers) == 10 {
					done++
				}
			}
			target := traceTarget(protocol, "192.0.2.7")
			target.Interval, target.Timeout = 1000*time.Hour, time.Second
			if err := t.Apply(b.Context(), []TraceTarget{target}); err != nil {
				b.Fatal(err)
			}
			b.Cleanup(t.closeSockets)
			t.start()
			rounds := 0
			b.ReportAllocs()
			for b.Loop() {
				t.mu.Lock()
				t.clock.update()
				t.begin(t.trails[0], t.clock.now)
				t.mu.Unlock()
				for len(t.open) > 0 {
					t.step()
				}
				rounds++
				if rounds%1000 == 0 {
					l.Drain()
				}
			}
			if done != rounds {
				b.Errorf("%d of %d rounds are whole", done, rounds)
			}
		})
	}
}
