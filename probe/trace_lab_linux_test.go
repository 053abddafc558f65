package probe

import (
	"context"
	"math"
	"net/netip"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-kit/log"
	"github.com/google/go-cmp/cmp"

	"prefix_exporter/lab/netsim"
	"prefix_exporter/route"
)

// tracing is one round as it was recorded.
type tracing struct {
	key route.Key
	dst netip.Addr
	route.Round
}

// traceBench is a TraceEngine on the bench, with every round written down.
type traceBench struct {
	*bench
	tracer *tracer
	table  *route.Table // nil: none
	list   []TraceTarget

	mu     sync.Mutex
	rounds []tracing
	said   []Packet
	come   chan struct{} // a round has
}

// newTraceBench makes an engine that is not running yet.
func newTraceBench(t testing.TB, mend func(*TraceOptions)) *traceBench {
	t.Helper()
	netsim.RequireLab(t)
	b := &traceBench{bench: bareBench(t), come: make(chan struct{}, 1)}
	o := TraceOptions{
		Record: b.record, Logger: log.NewLogfmtLogger(log.NewSyncWriter(os.Stderr)),
		Registerer: b.registry, Health: b.health, Trace: b.note,
	}
	if mend != nil {
		mend(&o)
	}
	engine, err := NewTrace(o)
	if err != nil {
		t.Fatal(err)
	}
	b.tracer = engine.(*tracer)
	return b
}

func (b *traceBench) record(k route.Key, dst netip.Addr, r route.Round) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.rounds = append(b.rounds, tracing{k, dst, r})
	if b.table != nil {
		b.table.Record(k, dst, r)
	}
	select {
	case b.come <- struct{}{}:
	default:
	}
}

func (b *traceBench) note(p Packet) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.said = append(b.said, p)
}

// traceTarget returns the usual target of an address: a round every 150 ms.
func traceTarget(protocol, addr string) TraceTarget {
	a := netip.MustParseAddr(addr)
	bits := 24
	if a.Is6() {
		bits = 120
	}
	p, _ := a.Prefix(bits)
	t := TraceTarget{
		Key: route.Key{Prefix: p, Addr: a}, Protocol: protocol,
		Interval: 150 * time.Millisecond, Timeout: 120 * time.Millisecond, MaxHops: 12,
	}
	switch protocol {
	case TraceTCP:
		t.Port = 80
	case TraceUDP:
		t.Port = 33434
	}
	return t
}

func (b *traceBench) apply(list ...TraceTarget) {
	b.t.Helper()
	if err := b.tracer.Apply(b.t.Context(), list); err != nil {
		b.t.Fatal(err)
	}
	for i := range list {
		if a := list[i].Key.Addr; a.IsValid() {
			if err := b.tracer.Trace(b.t.Context(), a, time.Hour); err != nil {
				b.t.Fatal(err)
			}
		}
	}
	b.list = list
}

// run starts the engine; it ends with the test, or by calling b.stop.
func (b *traceBench) run() {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- b.tracer.Run(ctx) }()
	b.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			b.t.Error(err)
		}
	})
	b.t.Cleanup(b.stop)
}

// wait returns n rounds that were recorded from the first-th on, as soon as they are there.
func (b *traceBench) wait(first, n int) []tracing {
	b.t.Helper()
	timeout := time.After(patience)
	for {
		b.mu.Lock()
		rounds := b.rounds[:len(b.rounds):len(b.rounds)]
		b.mu.Unlock()
		if len(rounds) >= first+n {
			return rounds[first : first+n]
		}
		select {
		case <-b.come:
		case <-timeout:
			b.t.Fatalf("%d rounds, want %d", len(rounds), first+n)
		}
	}
}

// sees waits until each of some destinations has shown its way in n rounds, from the first-th on, and holds all rounds
// against it. One that differs must be excused: see mayShow.
func (b *traceBench) sees(l *netsim.Lab, first, n int, ways map[string][]string) {
	b.t.Helper()
	shown, wrong := map[string]int{}, 0
	enough := func() bool {
		for ; first < b.count() && wrong < 10; first++ {
			r := b.wait(first, 1)[0]
			dst, got := r.dst.String(), line(r)
			want, known := ways[dst]
			switch {
			case !known:
			case slices.Equal(want, got):
				shown[dst]++
			case !b.mayShow(l, first, want):
				wrong++
				b.t.Errorf("%s (-want +got)\n%s", dst, cmp.Diff(want, got))
			}
		}
		for dst := range ways {
			if shown[dst] < n {
				return wrong >= 10
			}
		}
		return true
	}
	if !within(patience, enough) {
		b.t.Fatalf("%v have shown their way in so many of %d rounds: %v, want %d", ways, b.count(), shown, n)
	}
	b.want(map[string]float64{"discarded_probes_total " + discardFlood: 0, "discarded_probes_total " + discardKernelDrop: 0})
}

// mayShow says whether a round may differ from a way. A hop may be unknown, where the machine has taken the processor
// away for longer than the timeout of a probe; or silent, where the lab has answered too late for that reason (or
// where there is no lab, and nobody knows). Then the destination may be seen behind its place. A router that is not on the way
// may never be seen, nor a silence that there was not.
func (b *traceBench) mayShow(l *netsim.Lab, round int, want []string) bool {
	r := b.wait(round, 1)[0]
	got := line(r)
	if len(got) < len(want) {
		return false
	}
	for i, hop := range got {
		own := want[min(i, len(want)-1)]
		switch {
		case hop == "?", hop == "*" && i < len(want) && own == "*":
		case hop == "*":
			if l != nil && b.answeredInTime(l, round, i+1) {
				return false
			}
		case hop != own, i >= len(want) && !strings.HasSuffix(own, "!"):
			return false
		}
	}
	return true
}

// falseSilence returns the TTLs that are silent in a round, though the lab has answered them in time.
func (b *traceBench) falseSilence(l *netsim.Lab, round int) (ttls []int) {
	for i, a := range b.wait(round, 1)[0].Answers {
		if a.Kind == route.Silent && b.answeredInTime(l, round, i+1) {
			ttls = append(ttls, i+1)
		}
	}
	return ttls
}

// answeredInTime says whether the lab has surely answered a probe of a round in the time that each probe is given at least.
func (b *traceBench) answeredInTime(l *netsim.Lab, round, ttl int) bool {
	p := b.probe(l.Truth(netsim.ICMP, netsim.TCP, netsim.UDP), round, ttl)
	if p == nil {
		return false
	}
	timeout := time.Duration(0)
	for _, t := range b.list {
		if t.Key == b.rounds[round].key {
			timeout = t.Timeout
		}
	}
	_, longest := p.Bounds()
	return longest > 0 && longest < time.Duration(patient*float64(timeout))-margin
}

// probe finds a probe of a round in the lab's record: between its begin and that of the next one of the route.
func (b *traceBench) probe(truth []netsim.Packet, round, ttl int) *netsim.Packet {
	b.mu.Lock()
	defer b.mu.Unlock()
	r := &b.rounds[round]
	const clocks = time.Millisecond // two readers of one clock
	from, to := r.Started.Add(-clocks).UnixNano(), int64(math.MaxInt64)
	for i := range b.rounds[round+1:] {
		if next := &b.rounds[round+1+i]; next.key == r.key {
			to = next.Started.Add(-clocks).UnixNano()
			break
		}
	}
	for i := range truth {
		if p := &truth[i]; p.Dst == r.dst && int(p.TTL) == ttl && p.Arrived >= from && p.Arrived < to {
			return p
		}
	}
	return nil
}

// torn says whether a round does not know all, and silent whether an answer is missing: both happen on a busy machine.
func torn(r tracing) bool {
	return slices.ContainsFunc(r.Answers, func(a route.Answer) bool { return a.Kind == route.Unasked })
}

func silent(r tracing) bool {
	return slices.ContainsFunc(r.Answers, func(a route.Answer) bool { return a.Kind == route.Silent })
}

// nextWhole waits for a round in which all is known and nothing is silent, from the first-th on, and returns its number.
func (b *traceBench) nextWhole(first int) int {
	b.t.Helper()
	found := within(patience, func() bool {
		for ; first < b.count(); first++ {
			if r := b.wait(first, 1)[0]; !torn(r) && !silent(r) {
				return true
			}
		}
		return false
	})
	if !found {
		b.t.Fatalf("none of the last of %d rounds is whole", b.count())
	}
	return first
}

// whole returns n such rounds.
func (b *traceBench) whole(first, n int) (whole []tracing) {
	b.t.Helper()
	for ; len(whole) < n; first++ {
		first = b.nextWhole(first)
		whole = append(whole, b.wait(first, 1)[0])
	}
	return whole
}

// count returns how many rounds have been recorded.
func (b *traceBench) count() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.rounds)
}

// line is a round as a test writes it: of each TTL who answered, and how.
func line(r tracing) (list []string) {
	for _, a := range r.Answers {
		s := map[route.Kind]string{
			route.Silent: "*", route.Unasked: "?", route.Exceeded: "", route.Arrived: "!", route.Unreachable: "X",
		}[a.Kind]
		if a.From.IsValid() {
			s = a.From.String() + s
		}
		for _, l := range a.Labels {
			s += "/" + labelString(l)
		}
		list = append(list, s)
	}
	return list
}
