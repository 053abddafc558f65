package probe

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/go-kit/log/level"
	"golang.org/x/sys/unix"
)

// connector is the engine for many ports: one thread that wakes every tick, takes what
// has been decided since from one epoll, begins the connections that are due, and closes
// them. No connection wakes it, and no memory is allocated for one.
type connector struct {
	o       Options
	metrics *tcpMetrics
	report  *reporter
	clock   *clock
	// linear is after how many retransmissions of a SYN the kernel begins to double
	// its patience (ip-sysctl, tcp_syn_linear_timeouts).
	linear  uint32
	changed chan struct{} // Apply wakes who waits for targets

	mu        sync.Mutex // guards all below: held by the loop while it works, not while it sleeps
	origins   *origins
	carriers  carriers
	epoll     int // -1: not running
	endpoints []*endpoint
	free      []uint32
	byKey     map[netip.AddrPort]*endpoint // for Apply; not used per connection
	groups    []*group
	queues    []*deadlines

	open  int // attempts in flight
	limit int // how many there may be

	witnesses [2]witness // of IPv4 and IPv6
	waiting   int        // attempts that the kernel has ended, and whose answers may still be heard

	events [eventBatch]unix.EpollEvent
	info   tcpInfo
	errors inBatch // of the error queue

	polled int64 // when the epoll was found empty last
	judged int64 // when shares were judged last
	tally  tally
	reach  reach[*endpoint]
}

// connectTick is how often the loop wakes. RTTs are the kernel's, whatever it is. A connection
// costs the same at 2, 4 and 10 ms; what wakes less often disturbs the echo requests less, and
// costs less when there are few connections. A connection stands so long at most before it is closed.
const connectTick = 10 * time.Millisecond

// eventBatch is how many connections one epoll_wait(2) tells of. There are rarely more in a tick.
const eventBatch = 256

var _ TCPEngine = (*connector)(nil)

// newTCPAuto takes the batch engine: Linux has it.
func newTCPAuto(o Options) (TCPEngine, error) { return newTCPBatch(o) }

func newTCPBatch(o Options) (TCPEngine, error) {
	m, err := newTCPMetrics(o.Registerer)
	if err != nil {
		return nil, err
	}
	m.stampedBy("kernel")
	report := o.tcpReporter(m)
	c := &connector{
		o: o, metrics: m, report: report, clock: newClock(readClocks()), linear: linearTimeouts(),
		origins: newOrigins(report, true), carriers: newCarriers(),
		changed: make(chan struct{}, 1), epoll: -1, byKey: map[netip.AddrPort]*endpoint{},
	}
	c.reach = c.newReach()
	c.errors.grow(inDataLen)
	c.witnesses = [2]witness{{fd: -1}, {fd: -1, v6: true}}
	c.fitLimit()
	return c, nil
}

// linearTimeouts reads the sysctl; kernels before 6.5 do not have it and double at once.
func linearTimeouts() uint32 {
	data, err := os.ReadFile("/proc/sys/net/ipv4/tcp_syn_linear_timeouts")
	if err != nil {
		return 0
	}
	n, _ := strconv.ParseUint(strings.TrimSpace(string(data)), 10, 32)
	return uint32(n)
}

// Run implements TCPEngine.
func (c *connector) Run(ctx context.Context) error {
	runtime.LockOSThread() // and not unlocked: the thread ends with its niceness
	prefer()
	defer c.report.lines.start()()
	if err := c.start(); err != nil {
		return err
	}
	defer c.end()
	pace(ctx, c.clock, connectTick, func() int64 {
		c.idle(ctx)
		return c.tick()
	})
	return nil
}

// idle waits while there is nothing to connect to.
func (c *connector) idle(ctx context.Context) {
	c.mu.Lock()
	empty := len(c.byKey) == 0
	c.mu.Unlock()
	if !empty {
		return
	}
	select {
	case <-c.changed:
	case <-ctx.Done():
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.clock.update()
	c.polled = c.clock.now // nothing has been missed
}

func (c *connector) start() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	fd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return fmt.Errorf("epoll: %w", err)
	}
	c.epoll = fd
	c.fitWitnesses()
	c.clock.update()
	c.polled, c.judged = c.clock.now, c.clock.now
	c.carriers.start()
	if len(c.byKey) == 0 {
		return nil
	}
	c.report.lines.log(level.Key(), level.InfoValue(), "msg", "Connecting", "ports", len(c.byKey), "connections_limit", c.limit,
		"hears_answers_after_icmp_errors", c.witnesses[0].fd >= 0 || c.witnesses[1].fd >= 0)
	return nil
}

// end closes what is in flight, of which nothing is recorded.
func (c *connector) end() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, e := range c.endpoints {
		c.abandon(e)
	}
	c.origins.close()
	c.carriers.close()
	_ = unix.Close(c.epoll)
	c.epoll = -1
	c.fitWitnesses()
}

// tick does all that is to be done now. What has been decided is read before anything is
// judged lost, so that a pause of ours is never a loss of theirs. It returns the time.
func (c *connector) tick() (now int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.clock.update() // the engine for echo requests tells of steps
	now = c.clock.now
	if pause := now - c.polled; pause > int64(stallAfter) {
		c.metrics.stalls.Inc()
		c.report.trouble(ReasonStalled, fmt.Sprintf("the probing loop did not run for %v", time.Duration(pause).Round(time.Millisecond)))
	}
	c.listen()
	c.poll()
	c.testify()
	c.follow(now)
	c.carriers.step(now)
	c.expire(now)
	for _, g := range c.groups {
		c.connectDue(g)
	}
	if c.reach.active() {
		c.reach.step(now)
	}
	c.metrics.open.Set(float64(c.open))
	if now-c.judged >= int64(healthEvery) {
		c.fitLimit()
		c.report.judge(&c.tally, c.reach.offline, now)
		c.judged = now
	}
	return now
}

const (
	// reserve is how many descriptors are left to the rest of the program: those who
	// scrape it and look at its page, files, and the sockets of echo requests.
	reserve = 512
	// unlimited stands for a limit that no number of targets comes near.
	unlimited = 1 << 30
)

// fitLimit fits the number of attempts in flight to the descriptors that the system
// grants. The Go runtime has raised the soft limit to the hard one before (package os);
// the limit of a running process can be changed from outside (prlimit(1)).
func (c *connector) fitLimit() {
	var r unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &r); err != nil {
		return
	}
	granted := int(min(r.Cur, unlimited))
	c.limit = max(granted-reserve, granted/2)
	c.metrics.limit.Set(float64(c.limit))
}

// Apply implements TCPEngine.
func (c *connector) Apply(_ context.Context, targets []TCPTarget) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.clock.update()
	defer c.forget()
	if err := c.tryPaths(targets); err != nil {
		return err
	}
	c.replace(targets)
	c.metrics.open.Set(float64(c.open))
	select {
	case c.changed <- struct{}{}:
	default: // it is awake
	}
	return nil
}

// replace fits endpoints, groups and queues to the new targets.
func (c *connector) replace(targets []TCPTarget) {
	c.reach.flush(c.clock.now)
	wanted := make(map[netip.AddrPort]bool, len(targets))
	for i := range targets {
		wanted[targets[i].key()] = true
	}
	for key, e := range c.byKey {
		if !wanted[key] {
			c.remove(e)
		}
	}
	for _, d := range c.queues {
		d.targets = 0
	}
	for i := range targets {
		c.put(&targets[i])
	}
	c.fitWitnesses()
	members := map[time.Duration][]uint32{}
	for _, e := range c.endpoints {
		if e.used {
			members[e.target.Interval] = append(members[e.target.Interval], e.index)
		}
	}
	c.groups = regroup(c.groups, members, func(i uint32, interval time.Duration) time.Duration {
		t := &c.endpoints[i].target
		return portPhase(t.Addr, t.Port, interval)
	}, c.clock.now, -c.clock.offset)
	c.chart()
}

func (t *TCPTarget) key() netip.AddrPort { return netip.AddrPortFrom(t.Addr, t.Port) }

func (c *connector) remove(e *endpoint) {
	delete(c.byKey, e.target.key())
	c.abandon(e)
	e.used = false
	e.target = TCPTarget{}
	e.traced, e.way, e.aside = 0, wayNever, 0
	c.free = append(c.free, e.index)
}

// put makes an endpoint for a new target, or gives a known one its new settings. An
// attempt in flight goes on as it began.
func (c *connector) put(t *TCPTarget) {
	e := c.byKey[t.key()]
	if e == nil {
		if n := len(c.free); n > 0 {
			e = c.endpoints[c.free[n-1]]
			c.free = c.free[:n-1]
		} else {
			e = &endpoint{index: uint32(len(c.endpoints))}
			c.endpoints = append(c.endpoints, e)
		}
		e.used = true
		c.byKey[t.key()] = e
	}
	if e.target.Handle != t.Handle {
		e.aside = 0 // the new place of its results must learn that it is left out
	}
	e.target, e.carrier = *t, carrier{}
	e.origin = c.origins.of(t.from(), c.clock.now)
	e.address()
	e.queue = c.queue(t.Timeout)
	e.queue.targets++
}

// queue returns the queue of a timeout.
func (c *connector) queue(timeout time.Duration) *deadlines {
	for _, d := range c.queues {
		if d.timeout == int64(timeout) {
			return d
		}
	}
	d := &deadlines{timeout: int64(timeout)}
	c.queues = append(c.queues, d)
	return d
}

// Trace implements TCPEngine.
func (c *connector) Trace(_ context.Context, addr netip.Addr, d time.Duration) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	until := int64(0)
	if d > 0 {
		until = c.clock.monotonic() + int64(d)
	}
	found := false
	for _, e := range c.endpoints {
		if e.used && e.target.Addr == addr {
			found = true
			e.traced = until
		}
	}
	if !found {
		return fmt.Errorf("%w: %s", ErrNoTarget, addr)
	}
	return nil
}

// trace hands out what happened to an attempt at a traced address, until its time is over.
func (c *connector) trace(e *endpoint, p Packet) {
	if c.clock.now > e.traced {
		e.traced = 0
		return
	}
	p.Addr, p.Port, p.ID = e.target.Addr, e.target.Port, e.target.ID
	c.report.trace(p)
}
