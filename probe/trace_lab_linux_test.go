package probe

import (
	"context"
	"net/netip"
	"os"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/go-kit/log"
	"github.com/prometheus/client_golang/prometheus"

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
	b := &traceBench{bench: &bench{t: t, registry: prometheus.NewRegistry(), health: NewHealth(time.Now)}, come: make(chan struct{}, 1)}
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
	timeout := time.After(20 * time.Second)
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

// whole returns the rounds in which all is known. Where the machine takes the processor away for longer than
// the timeout of a probe, nobody knows what became of it; but that may not be said of most of them, and not
// because more came than could be read.
func (b *traceBench) whole(rounds []tracing) (whole []tracing) {
	b.t.Helper()
	for _, r := range rounds {
		if !torn(r) {
			whole = append(whole, r)
		}
	}
	b.want(map[string]float64{"discarded_probes_total " + discardFlood: 0, "discarded_probes_total " + discardKernelDrop: 0})
	if len(whole) < (len(rounds)+1)/2 {
		b.t.Fatalf("only %d of %d rounds are whole", len(whole), len(rounds))
	}
	return whole
}

func torn(r tracing) bool {
	return slices.ContainsFunc(r.Answers, func(a route.Answer) bool { return a.Kind == route.Unasked })
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
