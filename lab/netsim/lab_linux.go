package netsim

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// Options of a lab that are not part of the scenario.
type Options struct {
	// Spin is how long before a reply is due the loop stops sleeping and watches the clock, to hit the
	// moment to a few microseconds; 50 to 100 µs is enough. It costs up to a core. 0: sleep.
	Spin time.Duration
	// QueueLength of the TUN device towards the lab, packets; 0: 20000, two seconds of 10,240 a second.
	QueueLength int
	// NoPriority leaves the loop at the priority of the process, instead of asking for SCHED_FIFO.
	NoPriority bool
}

// defaultQueue is above what comes in while the lab is kept from running for a second.
const defaultQueue = 20000

// Lab is a running simulated internet. Its methods are for any goroutine.
type Lab struct {
	tun      *tun
	tap      *tap
	wake     int // eventfd that interrupts the sleep of the loop
	spin     time.Duration
	start    time.Time // with its monotonic part
	monoBase int64     // CLOCK_MONOTONIC at start, ns
	priority error
	done     chan struct{}
	detach   func() bool

	mu       sync.Mutex
	engine   *engine
	scenario Scenario
	drained  uint64
	offset   int64 // CLOCK_REALTIME minus CLOCK_MONOTONIC, ns
	paused   bool
	closing  bool
	closed   bool
	waiters  []chan struct{} // of Quiesce
	failure  error
}

// Start builds the simulated internet of a scenario in the network namespace of the process, which must
// be one that Main or Reexec made. It answers until Close, or the end of ctx, after which it still has to be
// closed.
func Start(ctx context.Context, s Scenario, o Options) (*Lab, error) {
	if err := s.Validate(); err != nil {
		return nil, fmt.Errorf("scenario: %w", err)
	}
	if err := insideNamespace(); err != nil {
		return nil, fmt.Errorf("start lab: %w", err)
	}
	t, err := openTUN()
	if err != nil {
		return nil, fmt.Errorf("start lab: %w", err)
	}
	queue := o.QueueLength
	if queue == 0 {
		queue = defaultQueue
	}
	tap, err := t.up(&s, queue)
	if err != nil {
		t.close()
		return nil, fmt.Errorf("start lab: %s: %w", t.name, err)
	}
	wake, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	if err != nil {
		tap.close()
		t.close()
		return nil, fmt.Errorf("start lab: eventfd: %w", err)
	}
	l := &Lab{tun: t, tap: tap, wake: wake, spin: o.Spin, scenario: s, done: make(chan struct{})}
	l.setStart()
	l.engine = newEngine(&s, l.now())
	ready := make(chan error)
	go l.run(!o.NoPriority, ready)
	l.priority = <-ready
	l.detach = context.AfterFunc(ctx, func() { l.stop() })
	return l, nil
}

// setStart pairs the clocks, as closely as three tries can.
func (l *Lab) setStart() {
	best := time.Duration(1 << 62)
	for range 3 {
		var ts unix.Timespec
		before := time.Now()
		if unix.ClockGettime(unix.CLOCK_MONOTONIC, &ts) != nil {
			return
		}
		if took := time.Since(before); took < best {
			best = took
			l.start, l.monoBase = before, ts.Nano()-int64(took)/2
		}
	}
}

// now reads both clocks, one just behind the other; again, if the thread was interrupted between them.
// l.mu is held.
func (l *Lab) now() moment {
	const (
		apart = 1000 // ns
		tries = 3    // then the wall clock was set
	)
	m := l.moment(time.Now())
	for range tries {
		if d := m.wall - m.mono - l.offset; d >= -apart && d <= apart {
			return m
		}
		m = l.moment(time.Now())
	}
	l.offset = m.wall - m.mono
	return m
}

func (l *Lab) moment(t time.Time) moment {
	return moment{t.UnixNano(), l.monoBase + int64(t.Sub(l.start))}
}

// Close ends the lab and removes its device, addresses and routes. Replies that are not due yet are
// never written. The truth stays. More calls do nothing.
func (l *Lab) Close() error {
	l.detach()
	l.stop()
	<-l.done
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return nil
	}
	l.closed = true
	l.engine.stats.Dropped = l.tun.dropped()
	unix.Close(l.wake)
	l.tap.close()
	return errors.Join(l.failure, l.tun.close())
}

func (l *Lab) stop() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.closing = true
	l.interrupt()
}

// interrupt ends the sleep of the loop; l.mu is held.
func (l *Lab) interrupt() {
	if !l.closed {
		_, _ = unix.Write(l.wake, []byte{1, 0, 0, 0, 0, 0, 0, 0})
	}
}

// Name is the name of the TUN device.
func (l *Lab) Name() string { return l.tun.name }

// Started is when the lab began, from which the rules of its scenario count.
func (l *Lab) Started() time.Time { return l.start }

// Sources are the addresses of the local end, at most one per family.
func (l *Lab) Sources() []netip.Addr { return l.scenario.sources() }

// Priority is nil when the loop runs under SCHED_FIFO, else why not. It affects accuracy only.
func (l *Lab) Priority() error { return l.priority }

// Pause stops reading, so that the queue of the TUN device fills and overflows; scheduled replies still leave.
func (l *Lab) Pause() { l.setPaused(true) }

// Resume reads again, beginning with what the queue has kept; those packets count as read now.
func (l *Lab) Resume() { l.setPaused(false) }

func (l *Lab) setPaused(p bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.paused = p
	l.interrupt()
}

// Inject hands a raw IP packet to the kernel as if it had come from the network: a forged reply, an ICMP
// error, anything. The truth does not have it.
func (l *Lab) Inject(packet []byte) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return errors.New("inject: the lab is closed")
	}
	if len(packet) == 0 {
		return errors.New("inject: the packet is empty")
	}
	if err := l.tun.write(packet); err != 0 {
		return fmt.Errorf("inject: %w", err)
	}
	l.engine.stats.Injected++
	return nil
}

// SetRule adds rules behind all others, so that they win over those of equal prefixes. From and Until
// count from the returned moment: requests read before it met the old rules, all others meet the new.
func (l *Lab) SetRule(rules ...Rule) (time.Time, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := time.Now()
	s := l.scenario
	s.Rules = append(slices.Clip(s.Rules), rules...)
	if err := s.Validate(); err != nil {
		return now, fmt.Errorf("set rule: %w", err)
	}
	l.scenario = s
	mono := l.moment(now).mono
	l.engine.setRules(append(slices.Clip(l.engine.rules.rules), timed(rules, mono)...), mono)
	return now, nil
}

// SetRoute adds routes behind all others, so that they win over those of equal prefixes. From and Until
// count from the returned moment: requests read before it took the old ways, all others take the new.
// Routers that the lab did not know at its start send errors, but cannot be asked themselves.
func (l *Lab) SetRoute(routes ...Route) (time.Time, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := time.Now()
	s := l.scenario
	s.Routes = append(slices.Clip(s.Routes), routes...)
	if err := s.Validate(); err != nil {
		return now, fmt.Errorf("set route: %w", err)
	}
	l.scenario = s
	mono := l.moment(now).mono
	l.engine.setRoutes(append(slices.Clip(l.engine.routes.routes), timedRoutes(routes, mono)...), mono)
	return now, nil
}

// Apply replaces all rules and routes by those of another scenario; From and Until count from the returned moment.
// The prefixes, the local end and the rest stay as they are.
func (l *Lab) Apply(s Scenario) (time.Time, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := time.Now()
	next := l.scenario
	next.Rules, next.Routes = s.Rules, s.Routes
	if err := next.Validate(); err != nil {
		return now, fmt.Errorf("apply scenario: %w", err)
	}
	l.scenario = next
	mono := l.moment(now).mono
	l.engine.setRules(timed(s.Rules, mono), mono)
	l.engine.setRoutes(timedRoutes(s.Routes, mono), mono)
	return now, nil
}

// Quiesce waits until every packet that had been sent to the lab before the call has been read, and every
// scheduled reply has been written. It returns the error of ctx when that ends first. A paused lab never
// comes to rest.
func (l *Lab) Quiesce(ctx context.Context) error {
	rest := make(chan struct{})
	l.mu.Lock()
	before := l.engine.stats.Packets
	l.waiters = append(l.waiters, rest)
	l.interrupt()
	l.mu.Unlock()
	select {
	case <-rest:
		return nil
	case <-l.done:
		return errors.New("wait for quiescence: the lab is closed")
	case <-ctx.Done():
		now := l.Stats()
		return fmt.Errorf("wait for quiescence: %w: %d packets were read meanwhile, %d replies are waiting", ctx.Err(), now.Packets-before, now.Pending)
	}
}
