package probe

import (
	"net/netip"
	"time"

	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"

	"prefix_exporter/packet"
	"prefix_exporter/prefix"
)

// witness hears the answers to our SYNs that the kernel no longer waits for. Linux ends an attempt at the
// first ICMP error that quotes its SYN (tcp_v4_err; RFC 5461 section 4.1), and answers the SYN/ACK behind it with
// a reset. But a network that duplicates packets and refuses one copy sends both, and a SYN/ACK is an answer. It
// acknowledges the sequence number that the error quoted, so who did not see the SYN cannot forge it. A
// witness is a raw socket of one family.
type witness struct {
	fd     int // -1: there is none, since nobody needs it or for want of CAP_NET_RAW
	v6     bool
	wanted bool
	in     inBatch
	heard  []testimony // in this tick
}

// testimony is an answer to a SYN: a SYN/ACK, or a reset.
type testimony struct {
	from     netip.AddrPort
	to       uint16 // our port
	sequence uint32 // of the SYN
	reset    bool
	stamp    int64 // by the kernel; 0: none
}

// witnessBuffer holds the answers of a second to 2,000 SYNs, at about 1 KiB each as the kernel counts.
const witnessBuffer = 2 << 20

// maxHeard is how many batches are kept of one tick: far more than there are attempts in one.
const maxHeard = 64

// fit opens the socket if it is wanted and can be had, and closes it if it is not.
func (w *witness) fit() {
	switch {
	case w.wanted && w.fd < 0:
		w.open()
	case !w.wanted:
		w.close()
	}
}

func (w *witness) open() {
	family := unix.AF_INET
	if w.v6 {
		family = unix.AF_INET6
	}
	fd, err := unix.Socket(family, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, unix.IPPROTO_TCP)
	if err != nil {
		return
	}
	if err := attach(fd, w.filter()); err != nil {
		_ = unix.Close(fd)
		return
	}
	if unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, witnessBuffer) != nil {
		_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF, witnessBuffer)
	}
	const stamps = unix.SOF_TIMESTAMPING_RX_SOFTWARE | unix.SOF_TIMESTAMPING_SOFTWARE
	_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_TIMESTAMPING, stamps)
	w.in.grow(maxHeader + maxHeader) // of IP and of TCP
	w.fd = fd
}

func (w *witness) close() {
	if w.fd >= 0 {
		_ = unix.Close(w.fd)
		w.fd = -1
	}
}

// The flags of a segment that answers a SYN (RFC 9293 section 3.1), which are its byte 13.
const (
	segmentFlags = 13
	flagReset    = 0x04
	synAck       = 0x12
	resetAck     = 0x14
)

// filter lets in what can answer a SYN. A raw socket of IPv4 sees the IP header, too.
func (w *witness) filter() []bpf.Instruction {
	load := []bpf.Instruction{bpf.LoadMemShift{Off: 0}, bpf.LoadIndirect{Off: segmentFlags, Size: 1}}
	if w.v6 {
		load = []bpf.Instruction{bpf.LoadAbsolute{Off: segmentFlags, Size: 1}}
	}
	return append(load,
		bpf.ALUOpConstant{Op: bpf.ALUOpAnd, Val: synAck | resetAck},
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: synAck, SkipTrue: 2},
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: resetAck, SkipTrue: 1},
		bpf.RetConstant{Val: 0},
		bpf.RetConstant{Val: accept},
	)
}

// read hears what has arrived. It comes before what the kernel has decided is read: what answers behind an
// error is then heard in the tick in which the error is read, or later.
func (w *witness) read() {
	w.heard = w.heard[:0]
	if w.fd < 0 {
		return
	}
	for range maxHeard {
		n, errno := w.in.receive(w.fd, 0)
		if errno != 0 {
			if errno == unix.EAGAIN {
				return
			}
			continue
		}
		for i := range n {
			data := w.in.message(i)
			if !w.v6 {
				data, _ = packet.SkipIPv4(data)
			}
			// Its checksum is not looked at: on its way within one machine it has none yet.
			src, dst, sequence, err := packet.Acknowledged(data)
			if err != nil {
				continue
			}
			w.heard = append(w.heard, testimony{
				from: netip.AddrPortFrom(w.in.from(i), src), to: dst, sequence: sequence,
				reset: data[segmentFlags]&flagReset != 0, stamp: w.in.report(i).stamp,
			})
		}
	}
}

// witnessOf returns the witness of an endpoint's family.
func (c *connector) witnessOf(e *endpoint) *witness {
	if e.target.Addr.Is4() {
		return &c.witnesses[0]
	}
	return &c.witnesses[1]
}

// fitWitnesses opens and closes sockets as the targets need them.
func (c *connector) fitWitnesses() {
	for i := range c.witnesses {
		c.witnesses[i].wanted = false
	}
	for _, e := range c.endpoints {
		if e.used && c.epoll >= 0 {
			c.witnessOf(e).wanted = true
		}
	}
	for i := range c.witnesses {
		c.witnesses[i].fit()
	}
}

// listen lets the witnesses hear what has arrived.
func (c *connector) listen() {
	for i := range c.witnesses {
		c.witnesses[i].read()
	}
}

// testify gives what the witnesses have heard to the attempts that the kernel has given up.
func (c *connector) testify() {
	if c.waiting == 0 {
		return
	}
	for i := range c.witnesses {
		for k := range c.witnesses[i].heard {
			c.testimony(&c.witnesses[i].heard[k])
		}
	}
}

// testimony takes one answer. Most are those that the kernel has taken, too.
func (c *connector) testimony(t *testimony) {
	e := c.byKey[t.from]
	if e == nil {
		return
	}
	for i := range e.attempts {
		a := &e.attempts[i]
		if !a.open || a.fd >= 0 || a.port != t.to || a.sequence != t.sequence || a.received != 0 {
			continue
		}
		if a.received = c.clock.translate(t.stamp, a.begun, c.clock.monotonic()); a.received == 0 {
			a.received = c.clock.now
		}
		a.reset = t.reset
		c.conclude(e)
		return
	}
}

// conclude records what has been heard of an endpoint's attempts, in their order.
func (c *connector) conclude(e *endpoint) {
	for _, serial := range [2]uint32{e.serial - 1, e.serial} {
		a := e.attempt(serial)
		switch {
		case a == nil:
			continue
		case a.received == 0:
			return // it is open, and so its successor waits
		}
		c.metrics.received.Inc()
		rtt := time.Duration(a.received - a.begun)
		switch {
		case int64(rtt) > a.timeout:
			c.metrics.late.Inc()
			c.silent(e, a)
		case a.reset:
			c.lost(e, a, prefix.Cause{Outcome: prefix.Refused})
		default:
			c.metrics.unstamped.Inc() // nobody stamps a SYN: the clock was read before it
			c.answered(e, a, rtt, rtt)
		}
	}
}
