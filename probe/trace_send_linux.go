package probe

import (
	"net/netip"

	"golang.org/x/sys/unix"

	"prefix_exporter/packet"
)

// ask sends the probes of a round up to a TTL, and gives them their time: not more than there is until
// the next round.
func (t *tracer) ask(r *trail, upTo int) {
	s := r.socket
	from := r.asked
	r.stranded = refusedHere
	if err := t.findSource(r); err != nil {
		for i, end := from, false; i < upTo && !end; i++ {
			end = t.unsendable(r, i, err, false) != refusedHere
		}
	} else {
		s.out.n = 0
		for i := from; i < upTo; i++ {
			t.write(r, i)
		}
		t.flush(r, from)
	}
	r.serial += uint32(upTo - from)
	r.asked = upTo
	if r.stranded != refusedHere {
		t.strand(r, from, upTo)
	}
	r.deadline = min(t.clock.monotonic()+int64(r.target.Timeout)+stampSlack, r.next)
}

// findSource finds the source address of the round, where the checksum covers it.
func (t *tracer) findSource(r *trail) (err error) {
	if gone := r.socket.origin.gone; gone != nil {
		return gone
	}
	if t.carriers.lacks(&r.carrier, r.socket.key.socketKey, r.socket.origin.index, r.dst, t.clock.now) {
		return errCarrier
	}
	if r.asked > 0 {
		return nil
	}
	r.source = netip.Addr{}
	if r.socket.protocol != packet.ProtocolICMP {
		r.source, err = r.socket.sourceTo(r.dst)
	}
	return err
}

// write writes the probe of TTL i+1 into the batch of its socket.
func (t *tracer) write(r *trail, i int) {
	s := r.socket
	out := &s.out
	n := out.n
	out.n++
	a := &r.asks[i]
	tag := r.tag(i + 1)
	length := packet.TraceLen
	if s.protocol == packet.ProtocolTCP {
		length = packet.SYNLen
	}
	var pseudo uint32
	if s.protocol != packet.ProtocolICMP {
		pseudo = packet.Pseudo(r.source, r.dst, s.protocol, length)
	}
	b := out.packets[n][:length]
	switch s.protocol {
	case packet.ProtocolTCP:
		a.own = t.key.Sequence(tag)
		packet.PutSYN(b, s.port, r.target.Port, a.own, pseudo)
	case packet.ProtocolUDP:
		// Never 0 or 0xffff, which stand for each other and for no checksum (RFC 768).
		sum := uint16(1 + (uint32(r.checksum)+tag.Serial)%0xfffe)
		a.own = uint32(length)<<16 | uint32(sum)
		t.key.PutTraceDatagram(b, s.port, r.target.Port, sum, tag, pseudo)
	default:
		a.own = uint32(r.checksum)<<16 | uint32(tag.Sequence())
		t.key.PutTraceEcho(b, s.requestType(), s.identifier, r.checksum, tag, pseudo)
	}
	out.iovs[n].SetLen(length)
	h := &out.msgs[n].Msghdr
	h.Namelen = putSockaddr(&out.names[n], r.dst, s.index)
	s.putTTL(n, r.stampID(i), uint32(i+1), r.source)
}

// stampID is the number of a transmit stamp: of the route and of the TTL.
func (r *trail) stampID(i int) uint32 { return r.index*MaxHops + uint32(i) }

// putTTL writes the control messages of message n. A source that the checksum covers is bound to the
// packet: the kernel sends from it, or, if it has gone meanwhile, not at all.
func (s *traceSocket) putTTL(n int, stampID, ttl uint32, source netip.Addr) {
	c := s.out.control[n][:0]
	if s.transmit == transmitByID {
		c = appendControl(c, unix.SOL_SOCKET, scmTSOptID, stampID)
	}
	if s.key.v6 {
		c = appendControl(c, unix.IPPROTO_IPV6, unix.IPV6_HOPLIMIT, ttl)
	} else {
		c = appendControl(c, unix.IPPROTO_IP, unix.IP_TTL, ttl)
	}
	if source.IsValid() {
		c = appendSource(c, source)
	}
	h := &s.out.msgs[n].Msghdr
	h.Control = &s.out.control[n][0]
	h.SetControllen(len(c))
}

// flush sends the batch of a socket: the probes of r, of which the first is that of TTL from+1. A
// packet that the kernel refuses is left out; the tail behind it is sent again, unless there is no way at all.
func (t *tracer) flush(r *trail, from int) {
	s := r.socket
	var o offers
	for first := 0; first < s.out.n; {
		before := t.clock.monotonic()
		n, errno := s.send(first)
		switch {
		case errno == 0:
			s.proven = true
			if o.uncounted > 0 {
				t.metrics.pending.Add(o.pending())
			}
			t.launched(r, from+first, n, before)
			first += n
		case errno == unix.EINTR:
		case errno == unix.EINVAL && s.transmit == transmitByID && !s.proven && t.origins.suspect(s.origin, t.clock.now) == nil && hasWay(r.look):
			// A kernel before 6.13 does not know the control message.
			s.lowerTransmit()
			t.mode = max(t.mode, s.transmit)
			for i := first; i < s.out.n; i++ {
				s.putTTL(i, 0, uint32(from+i+1), r.source)
			}
			t.describe([]*traceSocket{s})
		default:
			again, end := t.rejected(r, from+first, errno, &o)
			switch {
			case end:
				first = s.out.n
			case !again:
				first++
			}
		}
	}
	s.out.n = 0
}

// launched puts n probes on their way, the first of which is that of TTL i+1.
func (t *tracer) launched(r *trail, i, n int, before int64) {
	after := t.clock.monotonic()
	for k := range n {
		a := &r.asks[i+k]
		a.state, a.drops, a.handed = askOut, r.socket.drops, before
		if r.socket.transmit == transmitNone { // interpolated over the system call
			a.transmit = before + (after-before)*int64(k)/int64(n)
		}
		if r.traced != 0 {
			t.trace(r, Packet{TTL: uint8(i + k + 1), Sequence: uint16(r.first + uint32(i+k)), Event: "sent", Sent: t.clock.at(a.handed)})
		}
	}
	t.metrics.sent.Add(float64(n))
	t.tally.sent += n
}
