package probe

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/go-kit/log/level"

	"prefix_exporter/packet"
	"prefix_exporter/route"
)

const (
	// tracePoll is how often the loop looks for answers while a round is open. RTTs are the
	// kernel's, whatever it is; a round is known so much later at most.
	tracePoll = 50 * time.Millisecond
	// tracePollShare is how often it looks in an interval at least, where that is short.
	tracePollShare = 8
	// traceIdle is how long the loop sleeps when there is nothing to trace. Apply wakes it.
	traceIdle = time.Hour
	// maxFlows is how many removed routes are remembered: less than a megabyte.
	maxFlows = 4096
)

// tracer is the engine for routes: one goroutine that sends all probes of a round by one system
// call, each with a TTL of its own, and looks for answers now and then. Nothing that arrives wakes it.
type tracer struct {
	o       TraceOptions
	metrics *traceMetrics
	report  *reporter
	key     *packet.Key
	clock   *clock
	changed chan struct{} // Apply wakes who sleeps

	mu       sync.Mutex // guards all below: held by the loop while it works, not while it sleeps
	origins  *origins
	carriers carriers
	sockets  map[traceKey]*traceSocket
	list     []*traceSocket // those that are open
	mode     transmitMode
	trails   []*trail // by number
	free     []uint32
	byKey    map[route.Key]*trail
	byAddr   map[netip.Addr][]*trail // by the address that is traced
	flows    map[route.Key]uint16    // the checksums of routes that are gone
	open     []*trail                // those with a round that is not recorded yet
	groups   []*group
	poll     time.Duration
	least    time.Duration // poll, if no socket wants more

	wake    int64 // when the loop should run next
	drained int64 // when the sockets were found empty last
	behind  int64 // since when there has been more to read than could be; 0: there is not
	blind   bool  // there has been more to read than could be for too long
	read    int64 // when the batch that is being looked at was read
	judged  int64 // when shares were judged last
	tally   tally
}

var _ TraceEngine = (*tracer)(nil)

func newTrace(o TraceOptions) (TraceEngine, error) {
	m, err := newTraceMetrics(o.Registerer)
	if err != nil {
		return nil, err
	}
	report := o.reporter(m)
	return &tracer{
		o: o, metrics: m, report: report, origins: newOrigins(report, true), carriers: newCarriers(), key: packet.NewKey(), clock: newClock(readClocks()),
		changed: make(chan struct{}, 1),
		sockets: map[traceKey]*traceSocket{}, byKey: map[route.Key]*trail{}, byAddr: map[netip.Addr][]*trail{},
		flows: map[route.Key]uint16{},
	}, nil
}

// Run implements TraceEngine.
func (t *tracer) Run(ctx context.Context) error {
	defer t.closeSockets()
	defer t.report.lines.start()()

	t.start()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-t.changed:
		case <-timer.C:
		}
		timer.Reset(t.step())
	}
}

func (t *tracer) start() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.clock.update()
	for _, g := range t.groups {
		g.seek(t.clock.now) // what was due between Apply and now is nobody's delay
	}
	t.wake, t.drained, t.judged = t.clock.now, t.clock.now, t.clock.now
	t.carriers.start()
}

// step does all that is to be done now, and returns for how long there is nothing. What has
// arrived is read before anything is judged lost, so that a pause of ours is never a loss of theirs.
func (t *tracer) step() (wait time.Duration) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.clock.update() // the engine for echo requests tells of steps
	now := t.clock.now
	if pause := now - t.wake; pause > int64(stallAfter) {
		t.metrics.stalls.Inc()
		t.report.trouble(ReasonStalled, fmt.Sprintf("the probing loop did not run for %v", time.Duration(pause).Round(time.Millisecond)))
	}
	empty := t.drain()
	switch {
	case empty:
		t.behind, t.drained = 0, now
	case t.behind == 0:
		t.behind = now
	}
	if t.blind = !empty && now-t.behind > int64(stallAfter); t.blind {
		t.report.trouble(ReasonFlood, "more packets arrive than can be read")
	}
	t.follow(now)
	t.carriers.step(now)
	if empty || t.blind {
		t.judgeAll()
	}
	for _, g := range t.groups {
		t.beginDue(g)
	}
	t.beginExtra()
	if now-t.judged >= int64(healthEvery) {
		t.report.judge(&t.tally, false, now)
		t.judged = now
	}
	wait = t.idle()
	t.wake = t.clock.monotonic() + int64(wait)
	return wait
}

// idle returns how long the loop may sleep.
func (t *tracer) idle() time.Duration {
	wait := traceIdle
	if t.behind != 0 {
		return 0
	}
	if len(t.open) > 0 {
		wait = t.poll
	}
	if len(t.origins.watched) > 0 {
		wait = min(wait, lookEvery)
	}
	now := t.clock.monotonic()
	for _, g := range t.groups {
		if _, due, ok := g.peek(); ok {
			wait = min(wait, time.Duration(due-now))
		}
	}
	return max(wait, 0)
}

// beginDue begins the rounds of a group that are due, and skips those that are too late.
func (t *tracer) beginDue(g *group) {
	for {
		i, due, ok := g.peek()
		now := t.clock.monotonic()
		if !ok || due > now {
			return
		}
		g.advance()
		r := t.trails[i]
		if r.open && t.behind == 0 {
			t.judge(r, true) // all that has arrived is read
		}
		switch {
		case r.open: // what has arrived is not read yet: not sending is no trouble on top of that
		case now-due > g.maxLag:
			t.skip(r, due)
		default:
			t.begin(r, due)
		}
	}
}

func (t *tracer) skip(r *trail, due int64) {
	t.metrics.skipped.Inc()
	t.tally.skipped++
	if r.traced != 0 {
		t.trace(r, Packet{Event: "skipped", Sent: t.clock.at(due), Err: errStale})
	}
}

// Apply implements TraceEngine.
func (t *tracer) Apply(_ context.Context, targets []TraceTarget) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.clock.update()
	opened, err := t.openSockets(targets)
	defer t.forgetOrigins()
	if err != nil {
		return err
	}
	t.replace(targets)
	for key, s := range t.sockets {
		switch {
		case s.trails > 0:
			s.spare = false
		case s.spare:
			s.close()
			delete(t.sockets, key)
		default:
			s.spare = true // its port is part of the flows, and the next Apply may take this one back
		}
	}
	t.enlist()
	t.describe(opened)
	select {
	case t.changed <- struct{}{}:
	default: // it is awake
	}
	return nil
}

func (t *TraceTarget) key() traceKey {
	v6 := !t.Key.Prefix.Addr().Is4()
	return traceKey{socketKey{v6: v6, source: t.Source, device: t.Interface}, t.Protocol}
}

// openSockets opens the sockets that the targets need and that are not there yet. Where something of their
// origin is absent, it makes closed ones. On an error it closes what it opened.
func (t *tracer) openSockets(targets []TraceTarget) (opened []*traceSocket, err error) {
	for i := range targets {
		key := targets[i].key()
		if t.sockets[key] != nil {
			continue
		}
		s, err := t.openAt(key)
		if err != nil {
			for _, s := range opened {
				s.close()
				delete(t.sockets, s.key)
			}
			return nil, fmt.Errorf("prefix %s: traceroute by %s: %w", targets[i].Key.Prefix, key.protocol, err)
		}
		t.sockets[key] = s
		opened = append(opened, s)
	}
	return opened, nil
}

// replace fits trails and groups to the new targets.
func (t *tracer) replace(targets []TraceTarget) {
	wanted := make(map[route.Key]bool, len(targets))
	for i := range targets {
		wanted[targets[i].Key] = true
	}
	for key, r := range t.byKey {
		if !wanted[key] {
			t.remove(r)
		}
	}
	for _, s := range t.sockets {
		s.trails = 0
	}
	shortest := tracePollShare * tracePoll
	for i := range targets {
		t.put(&targets[i])
		shortest = min(shortest, targets[i].Interval)
	}
	t.least = shortest / tracePollShare
	members := map[time.Duration][]uint32{}
	for _, r := range t.trails {
		if r.used {
			members[r.target.Interval] = append(members[r.target.Interval], r.index)
		}
	}
	t.groups = regroup(t.groups, members, func(i uint32, interval time.Duration) time.Duration {
		return routePhase(t.trails[i].target.Key, interval)
	}, t.clock.now, -t.clock.offset)
	t.chart()
}

func (t *tracer) remove(r *trail) {
	t.abort(r, discardOvertaken)
	t.moveTo(r, netip.Addr{})
	delete(t.byKey, r.target.Key)
	t.remember(r)
	*r = trail{index: r.index, serial: r.serial}
	t.free = append(t.free, r.index)
}

// put makes a trail for a new target, or gives a known one its new settings. A round in flight
// goes on, unless it went another way.
func (t *tracer) put(target *TraceTarget) {
	s := t.sockets[target.key()]
	s.trails++
	r := t.byKey[target.Key]
	if r == nil {
		if n := len(t.free); n > 0 {
			r = t.trails[t.free[n-1]]
			t.free = t.free[:n-1]
		} else {
			// A serial that nobody can guess: it names the probe where a router quotes 8 bytes only.
			r = &trail{index: uint32(len(t.trails)), serial: rand.Uint32()}
			t.trails = append(t.trails, r)
		}
		r.used = true
		r.checksum = t.checksum(target.Key)
		t.byKey[target.Key] = r
	}
	if r.socket != s || r.target.Port != target.Port || len(r.asks) != target.MaxHops {
		t.abort(r, discardOvertaken)
		r.asks = make([]ask, target.MaxHops)
		r.socket, r.asked, r.reached = s, 0, 0
	}
	r.target = *target
}

// remember keeps what balancers see of a trail that goes: if a reload is taken back, or the route is
// configured again, it is sent the same way as before, and no change is seen.
func (t *tracer) remember(r *trail) {
	if len(t.flows) >= maxFlows {
		for k := range t.flows { // any
			delete(t.flows, k)
			break
		}
	}
	t.flows[r.target.Key] = r.checksum
}

// checksum chooses that of a new trail.
func (t *tracer) checksum(k route.Key) uint16 {
	if sum, ok := t.flows[k]; ok {
		delete(t.flows, k)
		return sum
	}
	return uint16(1 + rand.IntN(0xfffe)) // neither 0 nor 0xffff, which are the same
}

// moveTo notes which address a trail leads to.
func (t *tracer) moveTo(r *trail, dst netip.Addr) {
	if r.dst == dst {
		return
	}
	if r.dst.IsValid() {
		kept := slices.DeleteFunc(t.byAddr[r.dst], func(x *trail) bool { return x == r })
		if t.byAddr[r.dst] = kept; len(kept) == 0 {
			delete(t.byAddr, r.dst)
		}
	}
	r.dst, r.asked, r.reached, r.traced, r.carrier = dst, 0, 0, 0, carrier{}
	if dst.IsValid() {
		t.byAddr[dst] = append(t.byAddr[dst], r)
	}
}

// describe logs how the new sockets work and sets the gauges that tell it.
func (t *tracer) describe(opened []*traceSocket) {
	for _, s := range opened {
		if s.fd < 0 {
			continue
		}
		t.report.lines.log(level.Key(), level.InfoValue(), "msg", "Opened traceroute socket", "protocol", s.key.protocol, "ipv6", s.key.v6,
			"kind", s.kind(), "source", s.key.source, "interface", s.key.device, "receive_buffer", s.granted,
			"transmit_timestamps", s.transmitSource(), "receive_timestamps", s.receiveSource())
	}
	used := map[[2]string]float64{}
	for _, s := range t.list {
		used[[2]string{"transmit", s.transmitSource()}] = 1
		used[[2]string{"receive", s.receiveSource()}] = 1
	}
	for _, direction := range [2]string{"transmit", "receive"} {
		for _, source := range [2]string{"kernel", "user"} {
			t.metrics.timestamping.WithLabelValues(direction, source).Set(used[[2]string{direction, source}])
		}
	}
}

// Trace implements TraceEngine.
func (t *tracer) Trace(_ context.Context, addr netip.Addr, d time.Duration) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	until := int64(0)
	if d > 0 {
		until = t.clock.monotonic() + int64(d)
	}
	found := false
	for _, r := range t.trails {
		if r.used && (r.dst == addr || r.target.Key.Addr == addr) {
			found = true
			t.moveTo(r, addr) // of a configured address: it would be forgotten by the first round
			r.traced = until
		}
	}
	if !found {
		return fmt.Errorf("%w: %s", ErrNoTarget, addr)
	}
	return nil
}

// trace hands out a packet of a traced route, until its time is over.
func (t *tracer) trace(r *trail, p Packet) {
	if t.clock.now > r.traced {
		r.traced = 0
		return
	}
	p.Addr, p.Port, p.ID = r.dst, r.target.Port, r.id
	t.report.trace(p)
}

func (t *tracer) closeSockets() {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, s := range t.list {
		s.close()
	}
	t.origins.close()
	t.carriers.close()
	t.list = nil
	t.sockets = map[traceKey]*traceSocket{}
}
