package probe

import (
	"errors"
	"fmt"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"prefix_exporter/prefix"
)

// tcpInfo is the room for TCP_INFO (tcp(7)); here, so that nothing escapes per call.
type tcpInfo struct {
	unix.TCPInfo
	length uint32
}

// read asks the kernel what it knows of a connection.
func (i *tcpInfo) read(fd int) bool {
	i.length = uint32(unsafe.Sizeof(i.TCPInfo))
	_, _, errno := unix.Syscall6(unix.SYS_GETSOCKOPT, uintptr(fd), unix.IPPROTO_TCP, unix.TCP_INFO,
		uintptr(unsafe.Pointer(&i.TCPInfo)), uintptr(unsafe.Pointer(&i.length)), 0)
	return errno == 0
}

// hasRTOTime says whether the kernel fills tcpi_total_rto_time: since 6.7.
func (i *tcpInfo) hasRTOTime() bool {
	return uintptr(i.length) >= unsafe.Offsetof(i.Total_rto_time)+unsafe.Sizeof(i.Total_rto_time)
}

// The states of a connection (linux/include/net/tcp_states.h).
const stateSynSent = 2

// poll takes all that has been decided. Whatever is decided leaves the epoll, but for what
// waits for the attempt before it: one more round than all in flight fill sees them all.
func (c *connector) poll() {
	for range c.open/eventBatch + 1 {
		n, err := unix.EpollWait(c.epoll, c.events[:], 0)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			c.report.trouble(ReasonSocket, fmt.Sprintf("epoll: %v", err))
			return
		}
		for i := range n {
			c.event(&c.events[i])
		}
		if n < eventBatch {
			break
		}
	}
	c.polled = c.clock.now
}

// event takes one connection that stands or has failed.
func (c *connector) event(ev *unix.EpollEvent) {
	e := c.endpoints[ev.Fd]
	serial := uint32(ev.Pad)
	a := e.attempt(serial)
	if a == nil {
		return // closed, but a child that is being started still holds a copy (epoll(7))
	}
	if e.attempt(serial-1) != nil {
		return // results are recorded in the order of the attempts: this one comes again
	}
	// In this order: an ICMP error is told before the connection has ended by it (tcp_v4_err of Linux), and
	// what ends between the two questions must not look like an answer.
	seen := c.clock.monotonic()
	known := c.info.read(a.fd)
	if ev.Events&(unix.EPOLLERR|unix.EPOLLHUP) != 0 {
		if n, err := unix.GetsockoptInt(a.fd, unix.SOL_SOCKET, unix.SO_ERROR); err == nil && n != 0 {
			c.failed(e, a, unix.Errno(n))
			return
		}
	}
	if !known || c.info.State == stateSynSent {
		return // nothing is decided yet: it comes again
	}
	c.established(e, a, seen)
}

// established takes a connection that stands, which c.info, read at seen, is about. An answer after the
// timeout is late, and its attempt lost.
func (c *connector) established(e *endpoint, a *attempt, seen int64) {
	rtt, took := c.measure(a, seen)
	c.metrics.received.Inc()
	if int64(took) > a.timeout {
		c.metrics.late.Inc()
		c.lost(e, a, prefix.Timeout, Packet{})
		return
	}
	if !e.target.OrderlyClose {
		// A reset instead of a FIN (socket(7)): no TIME_WAIT is left on either side.
		_ = unix.SetsockoptLinger(a.fd, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1})
	}
	c.close(a)
	sent := c.clock.at(a.begun)
	c.o.Recorder.Record(e.target.Handle, sent, prefix.Answered, rtt)
	if e.traced != 0 {
		c.trace(e, Packet{Sequence: uint16(a.serial), Event: "answered", Sent: sent, Received: sent.Add(took), RTT: rtt})
	}
}

// measure returns the RTT of a handshake and how long all of it took, from c.info. A
// SYN that was answered at once is measured by the kernel to the microsecond. One that had
// to be sent again is measured by its timestamp option (RFC 7323 section 4), in
// milliseconds. A peer without that option leaves open which SYN it answered, so that the
// kernel does not measure (Karn's algorithm, RFC 6298 section 3): then it is the
// last one, by the kernel's own count of the time since it, or else by our clock.
func (c *connector) measure(a *attempt, seen int64) (rtt, took time.Duration) {
	i := &c.info
	rtt = time.Duration(i.Rtt) * time.Microsecond
	if i.Total_retrans == 0 && i.Rtt != 0 {
		return rtt, rtt
	}
	// The handshake ended when something was received last: nothing has been since.
	took = time.Duration(seen-a.begun) - time.Duration(i.Last_data_recv)*time.Millisecond
	if i.Total_retrans > 0 {
		c.metrics.retransmitted.Inc()
	}
	if i.Rtt != 0 {
		return rtt, took
	}
	c.metrics.unstamped.Inc()
	if i.Total_retrans == 1 && i.Total_rto == 1 && i.hasRTOTime() {
		return time.Duration(max(i.Total_rto_time, 1)) * time.Millisecond, took // at least 1, as by timestamps
	}
	return max(took-lastSYN(i.Total_retrans, c.linear), 0), took
}

// initialRTO is how long the kernel waits for the answer to the first SYN (RFC 6298 section 2.1).
const initialRTO = time.Second

// lastSYN returns how long after the first SYN the n-th retransmission leaves. The first
// linear ones follow each other evenly, the others at intervals that double.
func lastSYN(n, linear uint32) (after time.Duration) {
	wait := initialRTO
	for i := range n {
		after += wait
		if i >= linear {
			wait *= 2
		}
	}
	return after
}

// failed takes a connection that came to nothing.
func (c *connector) failed(e *endpoint, a *attempt, errno unix.Errno) {
	c.metrics.received.Inc()
	if r, ok := c.icmpError(a.fd, errno); ok {
		o, final := outcomeOfError(!e.target.Addr.Is4(), r.icmpType)
		if !final {
			o = prefix.Unreachable // an error all the same, and the kernel has given up
		}
		p := Packet{From: r.offender}
		if e.traced != 0 {
			p.Err = fmt.Errorf("ICMP type %d code %d", r.icmpType, r.icmpCode)
		}
		c.lost(e, a, o, p)
		return
	}
	switch errno {
	case unix.ECONNREFUSED:
		c.lost(e, a, prefix.Refused, Packet{})
	case unix.ECONNRESET, unix.EPIPE: // EPIPE: a FIN came before the reset
		c.lost(e, a, prefix.Reset, Packet{})
	case unix.ETIMEDOUT: // net.ipv4.tcp_syn_retries has been made small
		c.lost(e, a, prefix.Timeout, Packet{})
	case unix.EHOSTUNREACH, unix.ENETUNREACH, unix.EHOSTDOWN, unix.ENONET:
		c.lost(e, a, prefix.Unreachable, Packet{})
	default: // nobody's answer: the connection was aborted here (ss -K, say)
		c.close(a)
		c.refused(e, errno)
	}
}

// icmpError returns the ICMP error that ended a connection, if one did.
func (c *connector) icmpError(fd int, errno unix.Errno) (r report, ok bool) {
	if errno == unix.ECONNRESET || errno == unix.EPIPE {
		return r, false
	}
	n, failed := c.errors.receive(fd, unix.MSG_ERRQUEUE)
	if failed != 0 {
		return r, false
	}
	for i := range n {
		r = c.errors.report(i)
		if r.origin == unix.SO_EE_ORIGIN_ICMP || r.origin == unix.SO_EE_ORIGIN_ICMP6 {
			return r, true
		}
	}
	return r, false
}

// expire judges the attempts whose deadline has passed.
func (c *connector) expire(now int64) {
	kept := c.queues[:0]
	for _, d := range c.queues {
		for x, ok := d.pop(now); ok; x, ok = d.pop(now) {
			e := c.endpoints[x.slot]
			if a := e.attempt(x.serial); a != nil {
				c.expireOne(e, a)
			}
		}
		if d.n > 0 || d.targets > 0 {
			kept = append(kept, d)
		}
	}
	c.queues = kept
}

// expireOne judges an attempt that nothing came back of. If the kernel has sent its SYN
// again, and that did not get out of this machine, it is nobody's loss; of an
// attempt that ends before, within a second, the kernel does not tell.
func (c *connector) expireOne(e *endpoint, a *attempt) {
	if c.info.read(a.fd) && c.info.State == stateSynSent && c.info.Total_retrans > 0 && c.info.Retrans == 0 {
		c.close(a)
		c.refused(e, errUnsent)
		return
	}
	c.lost(e, a, prefix.Timeout, Packet{})
}

// lost records an attempt that came to nothing; p says more about it.
func (c *connector) lost(e *endpoint, a *attempt, o prefix.Outcome, p Packet) {
	c.close(a)
	sent := c.clock.at(a.begun)
	c.o.Recorder.Record(e.target.Handle, sent, o, 0)
	if e.traced != 0 {
		p.Sequence, p.Event, p.Sent = uint16(a.serial), o.String(), sent
		c.trace(e, p)
	}
}
