package e2e

import (
	"context"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-kit/log"
	registry "github.com/prometheus/client_golang/prometheus"

	"prefix_exporter/event"
	"prefix_exporter/frame"
	"prefix_exporter/prefix"
	"prefix_exporter/web"
)

// played is a live page behind which nobody probes: each second the test says of each address what a prober
// would, so that it can be what takes many machines to bring about. All the rest is as in the program.
type played struct {
	t      *testing.T
	table  *prefix.Table
	events *event.Log

	mu    sync.Mutex
	fates map[netip.Prefix]fate
}

// fate records what became of one probe that was sent now. place is that of the address.
type fate func(table *prefix.Table, h prefix.Handle, now time.Time, place int)

// answers is a fate: the address answers.
func answers(rtt time.Duration) fate {
	return func(table *prefix.Table, h prefix.Handle, now time.Time, place int) {
		table.Record(h, now, prefix.Answered, rtt+time.Duration(place)*time.Microsecond)
	}
}

// lost is a fate: the probe is lost, and nobody says so.
func lost(o prefix.Outcome) fate {
	return func(table *prefix.Table, h prefix.Handle, now time.Time, _ int) { table.Record(h, now, o, 0) }
}

// rejected is a fate: a router says that there is no way, by an ICMP destination unreachable of this code.
func rejected(by string, code uint8) fate {
	why := prefix.Cause{Outcome: prefix.Unreachable, By: netip.MustParseAddr(by), Type: 3, Code: code}
	return func(table *prefix.Table, h prefix.Handle, now time.Time, _ int) { table.Reject(h, now, why) }
}

// unmeasured is a fate: the probe could not be sent.
func unmeasured(obstacle string) fate {
	return func(table *prefix.Table, h prefix.Handle, _ time.Time, _ int) { table.Unmeasured(h, obstacle) }
}

// from makes a fate of two: that of the places from one on, and that of those before it.
func from(first int, then, before fate) fate {
	return func(table *prefix.Table, h prefix.Handle, now time.Time, place int) {
		if place >= first {
			then(table, h, now, place)
		} else {
			before(table, h, now, place)
		}
	}
}

// wellProber is a prober without a trouble.
type wellProber struct{}

func (wellProber) Ready() bool                                            { return true }
func (wellProber) Troubles() []web.Trouble                                { return nil }
func (wellProber) Reload(context.Context) error                           { return nil }
func (wellProber) Trace(context.Context, netip.Addr, time.Duration) error { return web.ErrNoTarget }

// play serves the page at the address of the exporter until the test ends. memory is what an earlier run knew.
func play(t *testing.T, blocks []prefix.Block, memory string) *played {
	t.Helper()
	p := &played{t: t, events: event.New(event.Options{Registerer: registry.NewRegistry()}), fates: map[netip.Prefix]fate{}}
	p.table = prefix.NewTable(func(c prefix.Change) {
		detail := c.Cause.Outcome.String()
		if c.To == prefix.Unknown {
			detail = c.Obstacle
		}
		p.events.Publish(event.Event{
			Time: c.At.UTC(), Type: c.To.String(), Prefix: c.Prefix, IP: c.Addr, TargetID: prefix.TargetID(c.Addr), Probe: c.Probe.Kind.String(),
			Port: c.Probe.Port, From: c.From.String(), To: c.To.String(), Detail: detail, Cause: c.Cause.Detail(), By: c.Cause.By,
		})
	})
	if memory != "" {
		if err := p.table.Restore(strings.NewReader(memory)); err != nil {
			t.Fatal(err)
		}
	}
	p.table.Apply(blocks)
	frames := frame.New(frame.Options{Table: p.table})
	h, err := web.New(web.Options{
		Metrics: http.NotFoundHandler(), Table: p.table, Frames: frames, Events: p.events, Prober: wellProber{}, Version: "played", Logger: log.NewNopLogger(),
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	server := &http.Server{Handler: h, ReadHeaderTimeout: patience, BaseContext: func(net.Listener) context.Context { return ctx }}
	listener, err := net.Listen("tcp", exporterAddress)
	if err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	all.Go(func() { _ = frames.Run(ctx) })
	all.Go(func() { _ = p.table.Run(ctx) })
	all.Go(func() { p.run(ctx) })
	all.Go(func() { _ = server.Serve(listener) })
	t.Cleanup(func() {
		cancel()
		p.events.Close()
		_ = server.Close()
		all.Wait()
	})
	return p
}

// fare sets what becomes of probes to a prefix from now on. Without it nothing is recorded.
func (p *played) fare(block string, f fate) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.fates[netip.MustParsePrefix(block)] = f
}

// leaveOut says that an address is not to be probed.
func (p *played) leaveOut(addr string) {
	h, ok := p.table.Handle(netip.MustParseAddr(addr), prefix.Probe{})
	if !ok {
		p.t.Fatalf("no slot for %s", addr)
	}
	p.table.LeaveOut(h)
}

func (p *played) run(ctx context.Context) {
	ticker := time.NewTicker(time.Second)
	defer ticker.Stop()
	for {
		p.second(time.Now())
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
	}
}

// second plays one.
func (p *played) second(now time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	var snap prefix.Snapshot
	for _, s := range p.table.Series() {
		f := p.fates[s.Prefix()]
		if f == nil {
			continue
		}
		s.Snapshot(&snap)
		for place, addr := range snap.Addrs {
			if h, ok := p.table.Handle(addr, s.Probe()); ok && snap.Slots[place].Configured && !snap.Slots[place].LeftOut {
				f(p.table, h, now, place)
			}
		}
	}
}

// played24 is a /24 whose addresses are all pinged once a second.
func played24(block, name string) prefix.Block {
	b := prefix.Block{Prefix: netip.MustParsePrefix(block), Name: name, NominalRTT: 10 * time.Millisecond}
	addr := b.Prefix.Addr()
	for range prefix.BlockSize {
		b.Targets = append(b.Targets, prefix.Target{Addr: addr, Probes: []prefix.TargetProbe{{DownAfter: 3, UpAfter: 1, Interval: time.Second}}})
		addr = addr.Next()
	}
	return b
}
