package probe

import (
	"errors"
	"fmt"
	"net/netip"

	"golang.org/x/sys/unix"

	"prefix_exporter/prefix"
)

// attempt is one connection on its way. Times are nanoseconds on the engine's monotonic clock.
type attempt struct {
	serial  uint32
	open    bool
	fd      int   // -1: the kernel has ended it, and its answer may still be heard
	begun   int64 // when connect(2) was called
	timeout int64

	refused  bool // by an ICMP error
	why      prefix.Cause
	port     uint16 // its own, and the sequence number of its SYN, as the error quoted them
	sequence uint32
	received int64 // when its answer was heard; 0: it was not
	reset    bool  // that was a reset
}

// endpoint is one target as the connector sees it. Its attempts have serial numbers; the
// one in flight is at place serial&1, so that an attempt may begin in the moment in
// which the deadline of the one before it is only just coming up.
type endpoint struct {
	target   TCPTarget
	origin   *origin
	index    uint32 // its place in the engine's table, and its number in the epoll
	used     bool
	serial   uint32 // of the newest attempt
	attempts [2]attempt
	to, from unix.Sockaddr // made once, so that nothing is per attempt; from may be nil
	queue    *deadlines
	traced   int64 // log every attempt until this moment
	way      way   // of reach
	carrier  carrier
	aside    int64 // a broadcast address, not to be asked before this moment; 0: none
}

// attempt returns the attempt with this serial number, if it is in flight.
func (e *endpoint) attempt(serial uint32) *attempt {
	if a := &e.attempts[serial&1]; a.open && a.serial == serial {
		return a
	}
	return nil
}

// sockaddr returns an address and a port for a socket that is bound to an interface; index 0: to none.
func sockaddr(addr netip.Addr, port uint16, index int) unix.Sockaddr {
	if addr.Is4() {
		return &unix.SockaddrInet4{Addr: addr.As4(), Port: int(port)}
	}
	return &unix.SockaddrInet6{Addr: addr.As16(), Port: int(port), ZoneId: zone(addr, index)}
}

// errLimit is what the system would say a little later, when nobody could scrape any more.
var errLimit = fmt.Errorf("as many connections in flight as the limit of open files leaves room for: %w", unix.EMFILE)

// errBusy says that the last two attempts have not ended.
var errBusy = errors.New("the attempts before are still in flight")

// connectDue begins the connections that are due in a group, at most its quota, and skips
// those that are too late.
func (c *connector) connectDue(g *group) {
	g.begin(c.clock.now, int64(connectTick))
	for {
		i, due, late, ok := g.take()
		if !ok {
			return
		}
		switch e := c.endpoints[i]; {
		case e.aside > c.clock.now:
		case e.origin.gone != nil:
			c.absent(e, e.origin.gone)
		case late:
			c.skip(e, due, errStale)
		case e.attempts[(e.serial+1)&1].open:
			c.skip(e, due, errBusy)
		case c.unplugged(e):
			c.noWay(e)
		default:
			c.connect(e, due)
		}
	}
}

func (c *connector) skip(e *endpoint, due int64, because error) {
	c.metrics.skipped.Inc()
	c.tally.skipped++
	c.o.Recorder.Unmeasured(e.target.Handle, string(ReasonSkipped))
	if e.traced != 0 {
		c.trace(e, Packet{Sequence: uint16(e.serial + 1), Event: "skipped", Sent: c.clock.at(due), Err: because})
	}
}

// connect begins one connection.
func (c *connector) connect(e *endpoint, due int64) {
	if c.open >= c.limit {
		c.refused(e, errLimit)
		return
	}
	fd, err := e.socket()
	if err != nil {
		c.refused(e, err)
		return
	}
	begun := c.clock.monotonic()
	if err = unix.Connect(fd, e.to); err != nil && !errors.Is(err, unix.EINPROGRESS) {
		_ = unix.Close(fd)
		c.rejected(e, err)
		return
	}
	// Only now: a socket that is not connecting yet would be reported as hung up.
	if err = unix.EpollCtl(c.epoll, unix.EPOLL_CTL_ADD, fd,
		&unix.EpollEvent{Events: unix.EPOLLOUT, Fd: int32(e.index), Pad: int32(e.serial + 1)}); err != nil {
		_ = unix.Close(fd)
		c.refused(e, err)
		return
	}
	e.serial++
	e.attempts[e.serial&1] = attempt{serial: e.serial, open: true, fd: fd, begun: begun, timeout: e.queue.timeout}
	e.queue.push(expiry{deadline: begun + e.queue.timeout, slot: e.index, serial: e.serial})
	c.open++
	c.metrics.sent.Inc()
	c.metrics.lag.Observe(float64(begun-due) / 1e9)
	c.tally.sent++
	if e.way != wayOpen {
		c.reached(e)
	}
	if e.traced != 0 {
		c.trace(e, Packet{Sequence: uint16(e.serial), Event: "sent", Sent: c.clock.at(begun)})
	}
}

// socket opens a socket for one attempt.
func (e *endpoint) socket() (fd int, err error) {
	t := &e.target
	family, level, recverr := unix.AF_INET, unix.IPPROTO_IP, unix.IP_RECVERR
	if !t.Addr.Is4() {
		family, level, recverr = unix.AF_INET6, unix.IPPROTO_IPV6, unix.IPV6_RECVERR
	}
	fd, err = unix.Socket(family, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return 0, err
	}
	// What an ICMP error said: without it a port unreachable cannot be told from a reset,
	// and a time exceeded not from a host unreachable.
	err = unix.SetsockoptInt(fd, level, recverr, 1)
	if err == nil && t.Interface != "" {
		if err = unix.BindToDevice(fd, t.Interface); err != nil {
			err = fmt.Errorf("interface %q: %w", t.Interface, err)
		}
	}
	if err == nil && e.from != nil {
		// The local port is left to connect(2), which needs one that is free for this
		// destination only, not one that is free altogether (ip(7)).
		_ = unix.SetsockoptInt(fd, unix.IPPROTO_IP, unix.IP_BIND_ADDRESS_NO_PORT, 1)
		if err = unix.Bind(fd, e.from); err != nil {
			err = fmt.Errorf("source %q: %w", t.Source, err)
		}
	}
	if err != nil {
		_ = unix.Close(fd)
		return 0, err
	}
	return fd, nil
}

// tryPaths opens a socket for each source and interface of the targets that is there, to see
// that they may be used.
func (c *connector) tryPaths(targets []TCPTarget) error {
	tried := map[socketKey]bool{}
	for i := range targets {
		key := targets[i].from()
		if tried[key] {
			continue
		}
		tried[key] = true
		e := &endpoint{target: targets[i], origin: c.origins.of(key, c.clock.now)}
		if e.origin.gone != nil {
			continue
		}
		e.address()
		fd, err := e.socket()
		switch {
		case err == nil:
			_ = unix.Close(fd)
		case absenceOf(key, err) != nil:
			c.origins.lack(e.origin, err)
		default:
			return fmt.Errorf("tcp socket: %w", err)
		}
	}
	return nil
}

// abandon closes what is in flight of an endpoint and forgets it.
func (c *connector) abandon(e *endpoint) {
	for i := range e.attempts {
		if a := &e.attempts[i]; a.open {
			c.close(a)
		}
	}
}

// close ends an attempt.
func (c *connector) close(a *attempt) {
	if a.fd < 0 {
		c.waiting--
	} else {
		c.release(a)
	}
	a.open = false
}

// release closes the socket of an attempt, which takes it out of the epoll, too.
func (c *connector) release(a *attempt) {
	_ = unix.Close(a.fd)
	a.fd = -1
	c.open--
}
