package probe

import (
	"cmp"
	"context"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"runtime"
	"slices"
	"sync"
	"time"
	"unsafe"

	"github.com/go-kit/log/level"
	"golang.org/x/sys/unix"

	"prefix_exporter/packet"
)

const (
	// tick is how often the loop wakes. Each wake-up costs some 10 µs, so longer is
	// cheaper; three ticks must fit into little more than 10 ms, so that no 10 ms of
	// the second carry more than 1.5 times their share (group.begin).
	tick = 4 * time.Millisecond
	// drainEvery is how many packets are sent before replies are read in between:
	// a quarter of what the receive buffer holds, stamps included.
	drainEvery = 4096
)

// batch is the engine for many targets: one thread that wakes every tick, sends what
// is due in few system calls, and reads what has come in few more. Nothing wakes it in
// between, and no memory is allocated per packet.
type batch struct {
	o       Options
	metrics *metrics
	report  *reporter
	key     *packet.Key
	clock   *clock

	mu       sync.Mutex // guards all below: held by the loop while it works, not while it sleeps
	origins  *origins
	carriers carriers
	sockets  map[socketKey]*socket
	list     []*socket // those that are open
	mode     transmitMode
	slots    []*slot // by number; a number is given again only when its target is gone
	free     []uint32
	byAddr   map[netip.Addr]*slot
	groups   []*group
	queues   map[time.Duration]*deadlines
	replied  []reply  // answered, to be recorded when their transmit stamps are read
	held     []expiry // whose deadline has passed, but which left too late for that: see expire

	drained    int64 // when the sockets were found empty last
	behind     int64 // since when there has been more to read than could be; 0: there is not
	blind      bool  // there has been more to read than could be for too long
	read       int64 // when the batch that is being looked at was read
	sinceDrain int   // packets sent since
	ticked     int64 // when the last tick began
	judged     int64 // when shares were judged last
	tally      tally
	reach      reach[*slot]
}

// reply is an answered probe that is not recorded yet.
type reply struct {
	slot   *slot
	flight *flight
	serial uint32
}

var _ Engine = (*batch)(nil)

// newAuto takes the batch engine: Linux has it.
func newAuto(o Options) (Engine, error) { return newBatch(o) }

func newBatch(o Options) (Engine, error) {
	b, err := newBatchEngine(o, readClocks())
	if err != nil {
		return nil, err
	}
	return b, nil
}

func newBatchEngine(o Options, clocks func() (time.Time, int64)) (*batch, error) {
	m, err := newMetrics(o.Registerer)
	if err != nil {
		return nil, err
	}
	report := o.reporter(&m.common)
	b := &batch{
		o: o, metrics: m, report: report, key: packet.NewKey(), clock: newClock(clocks),
		origins: newOrigins(report, false), carriers: newCarriers(),
		sockets: map[socketKey]*socket{},
		byAddr:  map[netip.Addr]*slot{},
		queues:  map[time.Duration]*deadlines{},
	}
	b.reach = b.newReach()
	return b, nil
}

// Run implements Engine.
func (b *batch) Run(ctx context.Context) error {
	// The loop sleeps in the kernel, most of the time: a thread of its own spares the
	// scheduler from handing its work around.
	runtime.LockOSThread() // and not unlocked: the thread ends with its niceness
	prefer()
	defer b.closeSockets()
	defer b.report.lines.start()()

	b.mu.Lock()
	b.clock.update()
	for _, g := range b.groups {
		g.seek(b.clock.now) // what was due between Apply and now is nobody's delay
	}
	b.drained, b.judged, b.ticked = b.clock.now, b.clock.now, b.clock.now
	b.carriers.start()
	b.mu.Unlock()
	pace(ctx, b.clock, tick, b.tick)
	return nil
}

// pace calls step at every interval, until the context ends. step returns when it began:
// the interval counts from there, not from when it should have begun, or the step after a
// late one would follow too soon.
func pace(ctx context.Context, c *clock, interval time.Duration, step func() (began int64)) {
	next := c.monotonic() + int64(interval)
	for ctx.Err() == nil {
		if wait := next - c.monotonic(); wait > 0 {
			sleep(wait)
			continue // a signal may have ended the sleep
		}
		next = step() + int64(interval)
	}
}

// niceness of the loop's thread, where CAP_SYS_NICE allows it (setpriority(2)): it
// takes a tenth of a processor in short pieces, and should not wait behind whatever else is busy.
const niceness = -10

// prefer asks for niceness. Without it probes leave later on a busy machine: the lag is
// measured, and RTTs are the kernel's.
func prefer() { _ = unix.Setpriority(unix.PRIO_PROCESS, unix.Gettid(), niceness) }

// sleep sleeps in the kernel for so many nanoseconds, more than none, or until a signal.
//
// It keeps the runtime's place (the P) while it sleeps, where there is more than one: the
// loop then runs the moment it wakes, whatever scrapes are doing, and the runtime's monitor
// does not take the place away and give it back 250 times a second, which costs 2 % of a
// core. To stop the world the runtime sends a signal, which ends the sleep.
func sleep(ns int64) {
	ts := unix.NsecToTimespec(ns)
	if runtime.GOMAXPROCS(0) > 1 {
		_, _, _ = unix.RawSyscall(unix.SYS_NANOSLEEP, uintptr(unsafe.Pointer(&ts)), 0, 0)
		return
	}
	_ = unix.Nanosleep(&ts, nil)
}

// tick does all that is to be done now. What has arrived is read before anything is
// judged lost, so that a pause of ours is never a loss of theirs. It returns when it began.
func (b *batch) tick() (began int64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if step := b.clock.update(); step != 0 {
		b.metrics.clockSteps.Inc()
		b.report.trouble(ReasonClockStep, fmt.Sprintf("the wall clock was set by %v", step))
	}
	now := b.clock.now
	if pause := now - b.ticked; pause > int64(stallAfter) {
		b.metrics.stalls.Inc()
		b.report.trouble(ReasonStalled, fmt.Sprintf("the probing loop did not run for %v", time.Duration(pause).Round(time.Millisecond)))
	}
	b.ticked = now
	empty := b.drain(now)
	b.follow(now)
	b.carriers.step(now)
	switch {
	case empty:
		b.behind = 0
	case b.behind == 0:
		b.behind = now // after a pause it is now that there is too much, not since the pause began
	}
	if b.blind = !empty && now-b.behind > int64(stallAfter); b.blind {
		b.report.trouble(ReasonFlood, "more packets arrive than can be read")
		b.settle(now)
	}
	if empty || b.blind {
		b.expire(now)
	}
	for _, g := range b.groups {
		b.sendDue(g)
	}
	b.flushAll()
	if b.reach.active() {
		b.reach.step(now)
	}
	if now-b.judged >= int64(healthEvery) {
		b.countAllDrops()
		b.report.judge(&b.tally, b.reach.offline, now)
		b.judged = now
	}
	return now
}

// Apply implements Engine.
func (b *batch) Apply(_ context.Context, targets []Target) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.clock.update()
	opened, err := b.open(targets)
	defer b.origins.keep(func(key socketKey) bool { return b.sockets[key] != nil })
	if err != nil {
		return err
	}
	b.replace(targets)
	for key, s := range b.sockets {
		if s.targets == 0 {
			s.close()
			delete(b.sockets, key)
		}
	}
	b.enlist()
	b.describe(opened)
	b.introduce(targets)
	return nil
}

// open opens the sockets that the targets need and that are not there yet. Where something of their origin
// is absent, it makes closed ones. On an error it closes what it opened.
func (b *batch) open(targets []Target) (opened []*socket, err error) {
	for i := range targets {
		key := keyOf(&targets[i])
		if b.sockets[key] != nil {
			continue
		}
		s, err := b.openAt(key)
		if err != nil {
			err = fmt.Errorf("target %s: %w", targets[i].Addr, err)
			for _, s := range opened {
				s.close()
				delete(b.sockets, s.key)
			}
			return nil, err
		}
		b.sockets[key] = s
		opened = append(opened, s)
	}
	return opened, nil
}

// replace fits slots, groups and queues to the new targets.
func (b *batch) replace(targets []Target) {
	b.reach.flush(b.clock.now)
	wanted := make(map[netip.Addr]bool, len(targets))
	for i := range targets {
		wanted[targets[i].Addr] = true
	}
	for addr, s := range b.byAddr {
		if !wanted[addr] {
			b.remove(s)
		}
	}
	for _, s := range b.sockets {
		s.targets = 0
	}
	for _, d := range b.queues {
		d.targets = 0
	}
	b.reserve(targets)
	for i := range targets {
		b.put(&targets[i])
	}
	b.regroup()
}

// reserve makes slots for the new targets, side by side in memory in the order in which they
// are due: the loop, and the replies, come by in that order, and what comes next is in the cache.
func (b *batch) reserve(targets []Target) {
	type entry struct {
		phase  time.Duration
		target *Target
	}
	var fresh []entry
	for i := range targets {
		if t := &targets[i]; b.byAddr[t.Addr] == nil {
			fresh = append(fresh, entry{phase(t.Addr, t.Interval), t})
		}
	}
	slices.SortFunc(fresh, func(a, b entry) int {
		return cmp.Or(cmp.Compare(a.target.Interval, b.target.Interval), cmp.Compare(a.phase, b.phase))
	})
	slab := make([]slot, max(0, len(fresh)-len(b.free)))
	for _, e := range fresh {
		var s *slot
		if n := len(b.free); n > 0 {
			s = b.slots[b.free[n-1]]
			b.free = b.free[:n-1]
		} else {
			s, slab = &slab[0], slab[1:]
			// A serial that nobody can guess makes a forged ICMP error with a short quote
			// as hard as it can be (RFC 5927 section 4).
			s.index, s.serial = uint32(len(b.slots)), rand.Uint32()
			b.slots = append(b.slots, s)
		}
		s.used, s.answered = true, 0
		b.byAddr[e.target.Addr] = s
	}
}

func (b *batch) remove(s *slot) {
	delete(b.byAddr, s.target.Addr)
	s.used = false
	s.flights = [2]flight{}
	s.target = Target{}
	s.traced, s.way, s.aside, s.deniedBy = 0, wayNever, 0, 0
	b.free = append(b.free, s.index)
}

// put gives a slot its settings. A probe in flight goes on; a target that moves to another
// socket leaves it behind unanswered.
func (b *batch) put(t *Target) {
	s := b.byAddr[t.Addr]
	if s.target.Handle != t.Handle {
		s.aside = 0 // the new place of its results must learn that it is left out
	}
	s.target, s.carrier = *t, carrier{}
	socket := b.sockets[keyOf(t)]
	if s.socket != socket {
		s.flights = [2]flight{}
		s.socket = socket
	}
	s.socket.targets++
	s.socket.grow(t.Size)
	if s.queue = b.queues[t.Timeout]; s.queue == nil {
		s.queue = &deadlines{timeout: int64(t.Timeout)}
		b.queues[t.Timeout] = s.queue
	}
	s.queue.targets++
}

// regroup sorts the slots into groups by interval.
func (b *batch) regroup() {
	members := map[time.Duration][]uint32{}
	for _, s := range b.slots {
		if s.used {
			members[s.target.Interval] = append(members[s.target.Interval], s.index)
		}
	}
	b.groups = regroup(b.groups, members, func(i uint32, interval time.Duration) time.Duration {
		return phase(b.slots[i].target.Addr, interval)
	}, b.clock.now, -b.clock.offset)
	b.chart()
}

// describe logs how the new sockets work and sets the gauges that tell it.
func (b *batch) describe(opened []*socket) {
	for _, s := range opened {
		if s.fd < 0 {
			continue
		}
		b.report.lines.log(level.Key(), level.InfoValue(), "msg", "Opened ICMP socket", "ipv6", s.key.v6, "kind", s.kind(),
			"source", s.key.source, "interface", s.key.device, "receive_buffer", s.granted,
			"transmit_timestamps", s.transmitSource(), "receive_timestamps", s.receiveSource())
		if s.granted < receiveBuffer {
			b.report.lines.log(level.Key(), level.WarnValue(), "msg", "The receive buffer is smaller than asked for; a burst of replies may overflow it: raise net.core.rmem_max or give CAP_NET_ADMIN",
				"receive_buffer", s.granted, "wanted", receiveBuffer)
		}
	}
	b.gauges()
}

func (b *batch) gauges() {
	m := b.metrics
	kinds := map[string]float64{"dgram": 0, "raw": 0}
	used := map[[2]string]float64{
		{"transmit", "kernel"}: 0, {"transmit", "user"}: 0, {"receive", "kernel"}: 0, {"receive", "user"}: 0,
	}
	smallest := 0
	for _, s := range b.list {
		kinds[s.kind()]++
		used[[2]string{"transmit", s.transmitSource()}] = 1
		used[[2]string{"receive", s.receiveSource()}] = 1
		if smallest == 0 || s.granted < smallest {
			smallest = s.granted
		}
	}
	for kind, n := range kinds {
		m.sockets.WithLabelValues(kind).Set(n)
	}
	for k, v := range used {
		m.timestamping.WithLabelValues(k[0], k[1]).Set(v)
	}
	m.receiveBuffer.Set(float64(smallest))
}

func (s *socket) transmitSource() string {
	if s.transmit == transmitNone {
		return "user"
	}
	return "kernel"
}

func (s *socket) receiveSource() string {
	if s.receive {
		return "kernel"
	}
	return "user"
}

// Trace implements Engine.
func (b *batch) Trace(_ context.Context, addr netip.Addr, d time.Duration) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	s := b.byAddr[addr]
	if s == nil {
		return fmt.Errorf("%w: %s", ErrNoTarget, addr)
	}
	s.traced = 0
	if d > 0 {
		s.traced = b.clock.monotonic() + int64(d)
	}
	return nil
}

func (b *batch) closeSockets() {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, s := range b.list {
		s.close()
	}
	b.origins.close()
	b.carriers.close()
	b.list = nil
	b.sockets = map[socketKey]*socket{}
}
