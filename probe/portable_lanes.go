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
	// about says where a target is, its target_id and how often it is asked. The port of ICMP is 0.
	about func(*T) (at netip.AddrPort, id string, interval time.Duration)
	// leaves says where its probes leave from, and what the log calls it.
	leaves func(*T) (from socketKey, where string)
	handle func(*T) prefix.Handle
	// fly makes a probe, and records it after it has called wait.
	fly func(context.Context, *turn[T])

	// Guarded by the mutex of the pacer.
	targets map[netip.AddrPort]*lane[T]
	list    []*lane[T]
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
	kept := make(map[netip.AddrPort]*lane[T], len(targets))
	l.list = make([]*lane[T], len(targets))
	members := map[time.Duration][]uint32{}
	l.origins.begin()
	used := map[socketKey]bool{}
	for i := range targets {
		at, id, interval := l.about(&targets[i])
		t := l.targets[at]
		if t == nil {
			t = &lane[T]{}
		}
		t.settings, t.at, t.id = targets[i], at, id
		from, where := l.leaves(&targets[i])
		t.origin, used[from] = l.origins.of(from, l.now()), true
		t.origin.use(where)
		kept[at], l.list[i] = t, t
		members[interval] = append(members[interval], uint32(i))
	}
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

// skip traces a probe that is left out. The caller holds l.mu.
func (l *lanes[T]) skip(i uint32) {
	t := l.list[i]
	l.trace(t, Packet{Sequence: t.sequence + 1, Event: "skipped", Err: errStale})
}

// launch starts one probe. The caller holds l.mu.
func (l *lanes[T]) launch(ctx context.Context, flights *sync.WaitGroup, i uint32) {
	t := l.list[i]
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
	l.o.Recorder.Unmeasured(l.handle(&t.settings), gone.obstacle)
	l.trace(t, Packet{Sequence: t.sequence, Event: "send_error", Err: gone})
}

// refused counts a probe that could not be sent.
func (t *turn[T]) refused(err error) {
	l := t.lanes
	l.mu.Lock()
	gone := l.origins.suspect(t.lane.origin, l.now())
	if gone != nil {
		l.absent(t.lane, gone)
	}
	l.mu.Unlock()
	if gone == nil {
		target := t.lane.at.String()
		if t.lane.at.Port() == 0 {
			target = t.lane.at.Addr().String()
		}
		l.countRefused(target, err)
		t.packet(Packet{Event: "send_error", Err: err})
	}
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
