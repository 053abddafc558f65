package probe

import (
	"errors"
	"net/netip"

	"golang.org/x/sys/unix"

	"prefix_exporter/packet"
	"prefix_exporter/prefix"
)

// maxDrain bounds how many batches are read from one socket at a time, so that a flood
// cannot keep the loop from sending: 64 batches are 4,096 packets a tick, or a million a second.
const maxDrain = 64

// drain reads all that has arrived, then the transmit stamps and ICMP errors, and only
// then matches: a reply is queued after the stamp of its request, but read before it.
// Where more has arrived than is read at a time (after a pause, or in a flood), it returns
// false: nothing may be judged before the next call has read the rest.
func (b *batch) drain(now int64) (empty bool) {
	empty = true
	for _, s := range b.list {
		replies := b.drainReplies(s, now)
		errors := b.drainErrors(s)
		empty = empty && replies && errors
	}
	b.sinceDrain = 0
	if empty {
		b.settle(now)
		b.drained = now
	}
	return empty
}

// drainReplies reads the receive queue; false if there may be more in it.
func (b *batch) drainReplies(s *socket, now int64) (empty bool) {
	for range maxDrain {
		n, errno := s.in.receive(s.fd, 0)
		if errno != 0 {
			if errno == unix.EAGAIN {
				return true
			}
			continue // an earlier packet's ICMP error, told once; or a signal
		}
		b.read = b.clock.monotonic()
		b.metrics.received.Add(float64(n))
		for i := range n {
			b.packet(s, i, now)
		}
		// A short batch is not the end: an ICMP error that arrives meanwhile cuts it off.
	}
	return false
}

// packet takes one packet from the receive queue.
func (b *batch) packet(s *socket, i int, now int64) {
	data := s.in.message(i)
	from := s.in.from(i)
	if s.raw && !s.key.v6 {
		data, _ = packet.SkipIPv4(data)
		// The kernel hands packets to raw sockets before it looks at their checksum.
		if data == nil || s.in.cut(i) || !packet.ChecksumGood(data) {
			b.metrics.malformed.Inc()
			return
		}
	}
	if s.raw && len(data) > 0 && data[0] != s.replyType() {
		b.rawError(s, data, from)
		return
	}
	e, err := b.key.ParseEcho(data, s.replyType())
	switch {
	case errors.Is(err, packet.ErrCookie):
		b.metrics.unmatchedCookie.Inc()
		return
	case err != nil:
		b.metrics.malformed.Inc()
		return
	}
	b.reply(s, i, e, len(data), from, now)
}

// reply takes an authentic echo reply, of which length bytes of ICMP message were read.
// A reply has all the data of its request (RFC 1122 section 3.2.2.6), or is not believed.
func (b *batch) reply(s *socket, i int, e packet.Echo, length int, from netip.Addr, now int64) {
	sl := b.slot(e.Tag.Target)
	switch {
	case sl == nil:
		b.metrics.unmatchedTarget.Inc()
		return
	case from != sl.target.Addr:
		b.metrics.unmatchedSource.Inc()
		b.traceReply(sl, e, "unmatched", now, from)
		return
	case e.Sequence != e.Tag.Sequence():
		b.metrics.unmatchedSequence.Inc()
		return
	}
	size, since := sl.target.Size, b.drained
	if f := sl.flight(e.Tag.Serial); f != nil {
		size = f.size
		if b.clock.steady() { // it may have waited for us in a queue before the socket's
			since = min(since, f.handed)
		}
	}
	if s.in.cut(i) || length != packet.HeaderLen+size {
		b.metrics.malformed.Inc()
		return
	}
	received := now
	if s.receive {
		if r := s.in.report(i); r.stamp != 0 {
			if received = b.clock.translate(r.stamp, since, b.read); received == 0 {
				received = now
				b.metrics.unstamped.Inc()
			}
		}
	}
	switch sl.reply(e.Tag.Serial, received) {
	case replyGood:
		b.replied = append(b.replied, reply{sl, sl.flight(e.Tag.Serial), e.Tag.Serial})
	case replyLate:
		b.metrics.late.Inc()
		b.traceReply(sl, e, "late", received, netip.Addr{})
	case replyDuplicate:
		b.metrics.duplicate.Inc()
		b.traceReply(sl, e, "duplicate", received, netip.Addr{})
	case replyUnsent:
		b.metrics.unmatchedSequence.Inc()
	}
}

func (b *batch) traceReply(s *slot, e packet.Echo, event string, received int64, from netip.Addr) {
	if s.traced != 0 {
		b.trace(s, Packet{Sequence: e.Sequence, Event: event, Received: b.clock.at(received), From: from})
	}
}

// slot returns the target with this number, if there is one.
func (b *batch) slot(index uint32) *slot {
	if uint64(index) >= uint64(len(b.slots)) || !b.slots[index].used {
		return nil
	}
	return b.slots[index]
}

// drainErrors reads the error queue: transmit stamps and, on datagram sockets, ICMP errors.
// False if there may be more in it.
func (b *batch) drainErrors(s *socket) (empty bool) {
	for range maxDrain {
		n, errno := s.err.receive(s.fd, unix.MSG_ERRQUEUE)
		if errno != 0 {
			if errno == unix.EAGAIN {
				return true
			}
			continue
		}
		b.read = b.clock.monotonic()
		for i := range n {
			r := s.err.report(i)
			switch r.origin {
			case unix.SO_EE_ORIGIN_TIMESTAMPING:
				b.stamp(s, i, &r)
			case unix.SO_EE_ORIGIN_ICMP, unix.SO_EE_ORIGIN_ICMP6:
				if s.raw {
					continue // it arrives as a packet too
				}
				b.metrics.received.Inc()
				b.icmpError(s, s.err.message(i), s.err.from(i), prefix.Cause{By: r.offender, Type: r.icmpType, Code: r.icmpCode})
			}
		}
		if n < batchSize {
			return true
		}
	}
	return false
}

// stamp takes one transmit stamp.
func (b *batch) stamp(s *socket, i int, r *report) {
	index := r.data
	if s.transmit == transmitByLoop {
		e, ok := b.looped(s.err.message(i), s.requestType())
		if !ok {
			return
		}
		index = e.Tag.Target
	}
	sl := b.slot(index)
	if sl == nil || sl.socket != s {
		return
	}
	newest := sl.flight(sl.serial)
	if newest == nil {
		newest = &sl.flights[sl.serial&1]
	}
	since := min(newest.handed, b.drained)
	if m := b.clock.translate(r.stamp, since, b.read); m != 0 {
		sl.stamp(m, stampSlack)
	}
}

// linkHeaders are the lengths of what may stand before the IP header of a packet that
// comes back with its stamp: nothing (TUN), Ethernet, Ethernet with a VLAN tag.
var linkHeaders = [...]int{0, 14, 18}

// looped finds our echo request in a packet that came back with its transmit stamp.
func (b *batch) looped(data []byte, requestType byte) (e packet.Echo, ok bool) {
	for _, link := range linkHeaders {
		if len(data) <= link {
			break
		}
		inner, _ := packet.SkipIPv4(data[link:])
		if requestType == packet.EchoRequest6 {
			inner, _ = packet.SkipIPv6(data[link:])
		}
		if inner == nil {
			continue
		}
		if e, err := b.key.ParseEcho(inner, requestType); err == nil {
			return e, true
		}
	}
	return e, false
}

// rawError takes an ICMP error that arrived on a raw socket as a packet.
func (b *batch) rawError(s *socket, data []byte, from netip.Addr) {
	parse := packet.ParseError4
	if s.key.v6 {
		parse = packet.ParseError6
	}
	q, err := parse(data)
	switch {
	case errors.Is(err, packet.ErrType):
		return // about somebody else's packet: a raw socket sees all errors
	case err != nil:
		b.metrics.malformed.Inc()
		return
	}
	if len(q.ICMP) >= packet.HeaderLen && identifierOf(q.ICMP) != s.identifier {
		return
	}
	dst, _ := netip.AddrFromSlice(q.Dst)
	b.icmpError(s, q.ICMP, dst, prefix.Cause{By: from, Type: q.Type, Code: q.Code})
}

func identifierOf(icmp []byte) uint16 { return uint16(icmp[4])<<8 | uint16(icmp[5]) }

// icmpError takes an ICMP error: the ICMP message that it quotes, the destination of that, who
// sent the error, its type and code. What turns out to be the reason for no loss is counted as
// unmatched: here, or when a better error or the reply comes.
func (b *batch) icmpError(s *socket, quoted []byte, dst netip.Addr, why prefix.Cause) {
	o, reason := outcomeOfError(s.key.v6, why.Type)
	why.Outcome = o
	sl, f, how := b.quoted(s, quoted, dst)
	if f == nil || !reason {
		b.metrics.unmatchedError.Inc()
		return
	}
	before := f.refused
	if !sl.refuse(f, why, how, b.read) || before != noError {
		b.metrics.unmatchedError.Inc()
	}
}

// quoted finds the probe that an ICMP error quotes, and says how sure that is: by its tag where enough
// is quoted, by destination and sequence where a router quotes just the 8 bytes of RFC 792.
func (b *batch) quoted(s *socket, quoted []byte, dst netip.Addr) (*slot, *flight, evidence) {
	if len(quoted) < packet.HeaderLen {
		return nil, nil, noError
	}
	e, err := b.key.ParseEcho(quoted, s.requestType())
	switch {
	case err == nil:
		sl := b.slot(e.Tag.Target)
		if sl == nil || sl.target.Addr != dst || e.Sequence != e.Tag.Sequence() {
			return nil, nil, noError
		}
		return sl, sl.flight(e.Tag.Serial), byCookie
	case !errors.Is(err, packet.ErrShort):
		return nil, nil, noError
	}
	sl := b.byAddr[dst]
	if sl == nil {
		return nil, nil, noError
	}
	for i := range sl.flights {
		if f := &sl.flights[i]; f.state == flightOut && uint16(f.serial) == e.Sequence {
			return sl, f, byName
		}
	}
	return nil, nil, noError
}

// settle records the answered probes. An answer waits while the probe before it may still
// be answered, so that results are recorded in the order of sending.
func (b *batch) settle(now int64) {
	kept := b.replied[:0]
	for _, r := range b.replied {
		f := r.flight
		if f.serial != r.serial || f.state != flightReplied {
			continue // its target is gone
		}
		if !b.settleBefore(r, now) {
			kept = append(kept, r)
			continue
		}
		b.answered(r.slot, f)
	}
	b.replied = kept
}

// settleBefore settles the probe before an answered one; false if its outcome is still open.
func (b *batch) settleBefore(r reply, now int64) bool {
	before := r.slot.flight(r.serial - 1)
	switch {
	case before == nil:
	case before.state == flightReplied:
		b.answered(r.slot, before)
	case now < before.departure()+before.timeout:
		return false
	default:
		b.countDrops(r.slot.socket)
		b.expireOne(r.slot, before)
	}
	return true
}

// answered records an answered probe; an answer after the timeout is late, and its probe lost.
func (b *batch) answered(s *slot, f *flight) {
	if f.transmit == 0 && s.socket.transmit != transmitNone {
		b.metrics.unstamped.Inc()
	}
	rtt := f.rtt()
	if int64(rtt) > f.timeout {
		b.metrics.late.Inc()
		b.lost(s, f)
		if s.traced != 0 {
			b.trace(s, Packet{Sequence: uint16(f.serial), Event: "late", Received: b.clock.at(f.receive)})
		}
		return
	}
	if f.refused != noError {
		b.metrics.unmatchedError.Inc() // the reply shows that the probe has arrived all the same
	}
	f.state = flightNone
	sent := b.clock.at(f.departure())
	b.o.Recorder.Record(s.target.Handle, sent, prefix.Answered, rtt)
	if s.traced != 0 {
		b.trace(s, Packet{Sequence: uint16(f.serial), Event: "answered", Sent: sent, Received: b.clock.at(f.receive), RTT: rtt})
	}
}
