package probe

import (
	"context"
	"fmt"
	"net/netip"
	"sync"
	"time"

	"prefix_exporter/prefix"
)

// lanes is what the portable engines share above the pacer: their targets, and the order of their
// probes. T is how a target is asked.
type lanes[T any] struct {
	pacer
	about func(*T) about
	// leaves says where its probes leave from, and what the log calls it.
	leaves func(*T) (from socketKey, where string)
	// fly makes a probe, and records it after it has called wait.
	fly func(context.Context, *turn[T])

	// Guarded by the mutex of the pacer.
	targets map[netip.AddrPort]*lane[T]
	list    []*lane[T]
	reach   reach[*lane[T]]
}

// about is what the portable engines must know of a target, however it is asked.
type about struct {
	at       netip.AddrPort // the port of ICMP is 0
	id       string         // target_id
	interval time.Duration
	handle   prefix.Handle
	source   netip.Addr
	device   string
}

// lane is one target with the end of its newest probe.
type lane[T any] struct {
	settings T
	at       netip.AddrPort
	id       string
	origin   *origin
	sequence uint16
	done     chan struct{} // closed when the newest probe is recorded; nil: there was none
	traced   time.Time
	way      way       // of reach
	aside    time.Time // a broadcast address, not to be asked before this moment; zero: none
}

// turn is one probe on its way.
type turn[T any] struct {
	lanes    *lanes[T]
	lane     *lane[T]
	settings T   // when it was sent
	index    int // of its interface, then
	sequence uint16
	before   <-chan struct{} // the one before it; nil: none
}

// replace replaces the targets. Those that stay keep their sequence and the probe in flight.
func (l *lanes[T]) replace(targets []T) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.reach.flush(l.now())
	kept := make(map[netip.AddrPort]*lane[T], len(targets))
	l.list = make([]*lane[T], len(targets))
	members := map[time.Duration][]uint32{}
	l.origins.begin()
	used := map[socketKey]bool{}
	for i := range targets {
		a := l.about(&targets[i])
		t := l.targets[a.at]
		if t == nil {
			t = &lane[T]{}
		}
		if l.about(&t.settings).handle != a.handle {
			t.aside = time.Time{} // whoever the results go to now must be told that it is left out
		}
		t.settings, t.at, t.id = targets[i], a.at, a.id
		from, where := l.leaves(&targets[i])
		t.origin, used[from] = l.origins.of(from, l.now()), true
		t.origin.use(where)
		kept[a.at], l.list[i] = t, t
		members[a.interval] = append(members[a.interval], uint32(i))
	}
	l.reach.apply(l.list, func(t *lane[T]) netip.Prefix { return blockOf(l.about(&t.settings).handle, t.at.Addr()) })
	l.tally.blocks = len(l.reach.blocks)
	l.targets = kept
	l.origins.keep(func(key socketKey) bool { return used[key] })
	l.origins.end()
	l.regroup(members, func(i uint32, interval time.Duration) time.Duration {
		return portPhase(l.list[i].at.Addr(), l.list[i].at.Port(), interval) // of port 0 that of the address
	})
}

// Run implements Engine and TCPEngine.
func (l *lanes[T]) Run(ctx context.Context) error {
	l.run(ctx, l.launch, l.skip)
	return nil
}

// judgeReach judges the attempts without a way. The caller holds l.mu.
func (l *lanes[T]) judgeReach(now int64) (active, offline bool) {
	if l.reach.active() {
		l.reach.step(now)
	}
	return l.reach.active(), l.reach.offline
}

// skip notes a probe that is left out. The caller holds l.mu.
func (l *lanes[T]) skip(i uint32) {
	t := l.list[i]
	l.o.Recorder.Unmeasured(l.about(&t.settings).handle, string(ReasonSkipped))
	l.trace(t, Packet{Sequence: t.sequence + 1, Event: "skipped", Err: errStale})
}

// launch starts one probe. The caller holds l.mu.
func (l *lanes[T]) launch(ctx context.Context, flights *sync.WaitGroup, i uint32) {
	t := l.list[i]
	if !t.aside.IsZero() && time.Now().Before(t.aside) {
		l.landed()
		return
	}
	t.sequence++
	if gone := t.origin.gone; gone != nil {
		l.absent(t, gone)
		l.landed()
		return
	}
	one := &turn[T]{lanes: l, lane: t, settings: t.settings, index: t.origin.index, sequence: t.sequence, before: t.done}
	done := make(chan struct{})
	t.done = done
	flights.Go(func() {
		defer l.landed()
		defer close(done)
		l.fly(ctx, one)
	})
}

// absent counts a probe that was not sent, because something of its origin is not there. The caller holds l.mu.
func (l *lanes[T]) absent(t *lane[T], gone *absence) {
	l.common.sendErrors.WithLabelValues(errorName(gone)).Inc()
	l.o.Recorder.Unmeasured(l.about(&t.settings).handle, gone.obstacle)
	l.trace(t, Packet{Sequence: t.sequence, Event: "send_error", Err: gone})
}

// wait returns when the probe before this one is recorded.
func (t *turn[T]) wait() {
	if t.before != nil {
		<-t.before
	}
}

// packet traces a packet of the probe.
func (t *turn[T]) packet(p Packet) {
	p.Sequence = t.sequence
	t.lanes.mu.Lock()
	defer t.lanes.mu.Unlock()
	t.lanes.trace(t.lane, p)
}

// trace hands out a packet of a traced address. The caller holds l.mu.
func (l *lanes[T]) trace(t *lane[T], p Packet) {
	if t.traced.IsZero() || time.Now().After(t.traced) {
		return
	}
	p.Addr, p.Port, p.ID = t.at.Addr(), t.at.Port(), t.id
	l.report.trace(p)
}

// Trace implements Engine and TCPEngine.
func (l *lanes[T]) Trace(_ context.Context, addr netip.Addr, d time.Duration) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	found := false
	for _, t := range l.list {
		if t.at.Addr() == addr {
			found = true
			t.traced = time.Now().Add(d)
		}
	}
	if !found {
		return fmt.Errorf("%w: %s", ErrNoTarget, addr)
	}
	return nil
}
