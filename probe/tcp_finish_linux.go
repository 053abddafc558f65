package probe

import (
	"encoding/binary"
	"errors"
	"fmt"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"prefix_exporter/packet"
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
const (
	stateEstablished = 1
	stateSynSent     = 2
	stateClose       = 7
	stateCloseWait   = 8
)

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
			seen = c.clock.monotonic()
			if known = c.info.read(a.fd); !c.stands(known, unix.Errno(n)) {
				c.failed(e, a, unix.Errno(n))
				return
			}
		}
	}
	switch {
	case !known || c.info.State == stateSynSent:
		// nothing is decided yet: it comes again
	case c.info.State == stateClose && a.refused:
		c.ended(e, a) // the error was told before
	default:
		c.established(e, a, seen)
	}
}

// stands says whether a connection, which c.info is about, stands although there was an error: a reset ends
// it, an ICMP error about what we sent behind the SYN does not undo the SYN/ACK (RFC 1122 section 4.2.3.9).
func (c *connector) stands(known bool, errno unix.Errno) bool {
	return known && (c.info.State == stateEstablished || c.info.State == stateCloseWait) &&
		errno != unix.ECONNRESET && errno != unix.EPIPE
}

// established takes a connection that stands, which c.info, read at seen, is about. An answer after the
// timeout is late, and its attempt lost.
func (c *connector) established(e *endpoint, a *attempt, seen int64) {
	rtt, took := c.measure(a, seen)
	c.metrics.received.Inc()
	if int64(took) > a.timeout {
		c.metrics.late.Inc()
		c.silent(e, a)
		return
	}
	if !e.target.OrderlyClose {
		// A reset instead of a FIN (socket(7)): no TIME_WAIT is left on either side.
		_ = unix.SetsockoptLinger(a.fd, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1})
	}
	c.answered(e, a, rtt, took)
}

// answered records an attempt that was answered. took is from its beginning on.
func (c *connector) answered(e *endpoint, a *attempt, rtt, took time.Duration) {
	c.close(a)
	sent := c.clock.at(a.begun)
	c.o.Recorder.Record(e.target.Handle, sent, prefix.Answered, rtt)
	if e.traced != 0 {
		c.trace(e, Packet{Sequence: uint16(a.serial), Event: "answered", Sent: sent, Received: sent.Add(took), RTT: rtt})
	}
	c.conclude(e)
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

// failed takes a connection that came to nothing, or an ICMP error about one that goes on.
func (c *connector) failed(e *endpoint, a *attempt, errno unix.Errno) {
	c.metrics.received.Inc()
	if c.icmpError(e, a, errno) {
		return
	}
	switch errno {
	case unix.ECONNREFUSED:
		c.lost(e, a, prefix.Cause{Outcome: prefix.Refused})
	case unix.ECONNRESET, unix.EPIPE: // EPIPE: a FIN came before the reset
		c.lost(e, a, prefix.Cause{Outcome: prefix.Reset})
	case unix.ETIMEDOUT: // net.ipv4.tcp_syn_retries has been made small
		c.silent(e, a)
	case unix.EHOSTUNREACH, unix.ENETUNREACH, unix.EHOSTDOWN, unix.ENONET:
		if a.refused { // an error that was told before, and has now ended it
			c.ended(e, a)
			return
		}
		c.lost(e, a, prefix.Cause{Outcome: prefix.Unreachable}) // nobody knows who says so
	default: // nobody's answer: the connection was aborted here (ss -K, say)
		c.close(a)
		c.refused(e, errno)
		c.conclude(e)
	}
}

// icmpError takes the ICMP error that is behind an error of a connection, if there is one. Linux ends an
// attempt by it, unless the error arrives while the socket is in use; then SYNs go on.
func (c *connector) icmpError(e *endpoint, a *attempt, errno unix.Errno) bool {
	if errno == unix.ECONNRESET || errno == unix.EPIPE {
		return false
	}
	n, failed := c.errors.receive(a.fd, unix.MSG_ERRQUEUE)
	if failed != 0 {
		return false
	}
	for i := range n {
		r := c.errors.report(i)
		if r.origin != unix.SO_EE_ORIGIN_ICMP && r.origin != unix.SO_EE_ORIGIN_ICMP6 {
			continue
		}
		c.note(a, &r, c.errors.message(i), !e.target.Addr.Is4())
		if !c.info.read(a.fd) || c.info.State != stateSynSent {
			c.ended(e, a)
		}
		return true
	}
	return false
}

// note notes what an ICMP error says of an attempt. The first one counts: all quote the sequence number of the SYN.
func (c *connector) note(a *attempt, r *report, quoted []byte, v6 bool) {
	if a.refused {
		return
	}
	o, final := outcomeOfError(v6, r.icmpType)
	if !final {
		o = prefix.Unreachable // an error all the same, and the kernel gives up
	}
	a.refused, a.why = true, prefix.Cause{Outcome: o, By: r.offender, Type: r.icmpType, Code: r.icmpCode}
	if len(quoted) >= packet.HeaderLen { // all that the kernel lets in (RFC 792)
		a.port, a.sequence = binary.BigEndian.Uint16(quoted[0:]), binary.BigEndian.Uint32(quoted[4:])
	}
}

// ended takes an attempt that the kernel has ended by an ICMP error. Where its answer can still be heard, it stays open
// until its deadline.
func (c *connector) ended(e *endpoint, a *attempt) {
	if c.witnessOf(e).fd < 0 {
		c.silent(e, a)
		return
	}
	c.release(a)
	c.waiting++
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

// expireOne judges an attempt that nothing came back of, or nothing but an ICMP error. If the kernel has sent its SYN
// again, and that did not get out of this machine, it is nobody's loss; of an
// attempt that ends before, within a second, the kernel does not tell.
func (c *connector) expireOne(e *endpoint, a *attempt) {
	if !a.refused && c.info.read(a.fd) && c.info.State == stateSynSent && c.info.Total_retrans > 0 && c.info.Retrans == 0 {
		c.close(a)
		c.refused(e, errUnsent)
		c.conclude(e)
		return
	}
	c.silent(e, a)
}

// silent records an attempt that was not answered in time, with the reason that an ICMP error gave.
func (c *connector) silent(e *endpoint, a *attempt) {
	if a.refused {
		c.lost(e, a, a.why)
		return
	}
	c.lost(e, a, prefix.Cause{Outcome: prefix.Timeout})
}

// lost records an attempt that came to nothing.
func (c *connector) lost(e *endpoint, a *attempt, why prefix.Cause) {
	c.close(a)
	sent := c.clock.at(a.begun)
	if why.By.IsValid() {
		c.o.Recorder.Reject(e.target.Handle, sent, why)
	} else {
		c.o.Recorder.Record(e.target.Handle, sent, why.Outcome, 0)
	}
	if e.traced != 0 {
		p := Packet{Sequence: uint16(a.serial), Event: why.Outcome.String(), Sent: sent, From: why.By}
		if why.By.IsValid() {
			p.Err = fmt.Errorf("ICMP type %d code %d", why.Type, why.Code)
		}
		c.trace(e, p)
	}
	c.conclude(e)
}
