package probe

import (
	"errors"
	"net/netip"
	"slices"

	"golang.org/x/sys/unix"

	"prefix_exporter/packet"
	"prefix_exporter/route"
)

// drain reads all that has arrived: replies, then transmit stamps and ICMP errors. False if there
// may be more; then nothing may be judged before the next call has read the rest.
func (t *tracer) drain() (empty bool) {
	empty = true
	for _, s := range t.list {
		t.countDrops(s) // before what fills the queue is taken out of it
		replies := t.drainReplies(s)
		errors := t.drainErrors(s)
		empty = empty && replies && errors
	}
	return empty
}

// countDrops asks the kernel for what it dropped, and tells of it.
func (t *tracer) countDrops(s *traceSocket) {
	n := s.readDrops()
	if s.crowded() {
		s.drops++ // what is in flight cannot be judged, though nobody has seen a drop
		t.report.trouble(ReasonKernelDrop, "the receive queue was nearly full: the kernel may have dropped ICMP errors")
	}
	if n > 0 {
		t.metrics.drops.Add(float64(n))
		t.tally.dropped += int(n)
	}
}

func (t *tracer) drainReplies(s *traceSocket) (empty bool) {
	for range maxDrain {
		n, errno := s.in.receive(s.fd, 0)
		if errno != 0 {
			if errno == unix.EAGAIN {
				return true
			}
			continue // an earlier packet's ICMP error, told once; or a signal
		}
		t.read = t.clock.monotonic()
		t.metrics.received.Add(float64(n))
		for i := range n {
			t.packet(s, i)
		}
	}
	return false
}

func (t *tracer) drainErrors(s *traceSocket) (empty bool) {
	for range maxDrain {
		n, errno := s.err.receive(s.fd, unix.MSG_ERRQUEUE)
		if errno != 0 {
			if errno == unix.EAGAIN {
				return true
			}
			continue
		}
		t.read = t.clock.monotonic()
		for i := range n {
			r := s.err.report(i)
			switch r.origin {
			case unix.SO_EE_ORIGIN_TIMESTAMPING:
				t.stamp(s, i, &r)
			case unix.SO_EE_ORIGIN_ICMP, unix.SO_EE_ORIGIN_ICMP6:
				t.icmpError(s, i, &r)
			}
		}
		if n < batchSize {
			return true
		}
	}
	return false
}

// packet takes one packet from the receive queue: an echo reply, or a segment.
func (t *tracer) packet(s *traceSocket, i int) {
	data, from := s.in.message(i), s.in.from(i)
	if s.raw && !s.key.v6 {
		data, _ = packet.SkipIPv4(data)
		if data == nil || s.in.cut(i) {
			t.metrics.malformed.Inc()
			return
		}
	}
	in := reception{kind: route.Arrived, shown: proofReply, from: from, at: s.in.arrivedAt(i), stamp: s.in.report(i).stamp}
	if s.protocol == packet.ProtocolTCP {
		t.segment(s, data, in)
		return
	}
	if s.raw && !s.key.v6 && !packet.ChecksumGood(data) { // not looked at by the kernel yet
		t.metrics.malformed.Inc()
		return
	}
	e, err := t.key.ParseEcho(data, s.replyType())
	switch {
	case errors.Is(err, packet.ErrCookie):
		t.metrics.unmatchedCookie.Inc()
		return
	case err != nil || len(data) != packet.TraceLen:
		t.metrics.malformed.Inc()
		return
	}
	r := t.trail(e.Tag.Target)
	switch {
	case r == nil || r.socket != s:
		t.metrics.unmatchedTarget.Inc()
	case from != r.dst:
		t.metrics.unmatchedSource.Inc()
	case e.Sequence != e.Tag.Sequence():
		t.metrics.unmatchedSequence.Inc()
	default:
		t.answered(r, t.place(r, e.Tag.Serial), in)
	}
}

// segment takes a TCP segment: a SYN/ACK or a reset of a destination tells by what it
// acknowledges which SYN has arrived. Its checksum is not looked at: on its way within one machine it
// has none yet, and what it acknowledges is a secret of 32 bits.
func (t *tracer) segment(s *traceSocket, data []byte, in reception) {
	src, dst, sequence, err := packet.Acknowledged(data)
	switch {
	case errors.Is(err, packet.ErrType):
		return // of a connection that we have reset
	case err != nil || dst != s.port:
		t.metrics.malformed.Inc()
		return
	}
	name := packet.Name{Constant: uint32(dst)<<16 | uint32(src), Own: sequence}
	if packet.Opens(data) {
		t.reset(s, in, name)
	}
	r, i := t.named(s, in.from, name)
	if r == nil {
		t.metrics.unmatchedSequence.Inc()
		return
	}
	t.answered(r, i, in)
}

// trail returns the route with this number, if there is one.
func (t *tracer) trail(index uint32) *trail {
	if uint64(index) >= uint64(len(t.trails)) || !t.trails[index].used {
		return nil
	}
	return t.trails[index]
}

// The places of a probe that is not of the newest round.
const (
	placeOld    = -1 // of an earlier one
	placeFuture = -2 // of none yet
)

// place returns the place of the probe with this serial number among those of the newest round.
func (t *tracer) place(r *trail, serial uint32) int {
	if i := serial - r.first; i < uint32(r.asked) {
		return int(i)
	}
	if int32(r.first-serial) > 0 {
		return placeOld
	}
	return placeFuture
}

// named finds a probe of the newest round by what its first 8 bytes say.
func (t *tracer) named(s *traceSocket, dst netip.Addr, n packet.Name) (*trail, int) {
	for _, r := range t.byAddr[dst] {
		if r.socket != s || r.constant() != n.Constant {
			continue
		}
		for i := range r.asks[:r.asked] {
			if a := &r.asks[i]; a.own == n.Own && a.state != askNone && a.state != askRefused {
				return r, i
			}
		}
	}
	return nil, 0
}

// reception is an answer as it arrived.
type reception struct {
	kind  route.Kind
	shown proof
	code  uint8
	from  netip.Addr
	at    netip.Addr // the address of ours to which it came; the zero Addr: not known
	stamp int64      // by the kernel; 0: none
	// quote is, of an ICMP error, what it quotes from behind the IP header on, and what follows;
	// end is where the quotation ends, if the router says so.
	quote []byte
	end   int
}

// icmpError takes an ICMP error from the error queue: what it quotes from behind the IP header on, and the
// destination of that.
func (t *tracer) icmpError(s *traceSocket, at int, rep *report) {
	quoted, dst := s.err.message(at), s.err.from(at)
	n, err := packet.ParseName(quoted, s.protocol)
	switch {
	case errors.Is(err, packet.ErrType):
		return // about no echo request: somebody else's
	case err != nil:
		t.metrics.received.Inc()
		t.metrics.malformed.Inc()
		return
	}
	if s.port != 0 && n.Constant>>16 != uint32(s.port) || s.port == 0 && n.Constant != uint32(s.identifier) {
		return // about somebody else's packet: a raw socket sees all errors of its protocol
	}
	t.metrics.received.Inc()
	kind, ok := kindOfError(s.key.v6, rep.icmpType, rep.icmpCode)
	if !ok || !rep.offender.IsValid() {
		t.metrics.unmatchedError.Inc()
		return
	}
	r, i, shown := t.quoted(s, quoted, dst, n)
	if r == nil {
		t.metrics.unmatchedError.Inc()
		return
	}
	if rep.offender == dst {
		kind = route.Arrived
	}
	t.answered(r, i, reception{
		kind: kind, shown: shown, code: rep.icmpCode, from: rep.offender, at: s.err.arrivedAt(at), stamp: rep.stamp, quote: quoted, end: rep.quoteEnd,
	})
}

// quoted finds the probe that a packet, quoted or come back with its stamp, is, and says how well that is shown: by
// its tag where there is one, else by the 8 bytes that every router quotes.
func (t *tracer) quoted(s *traceSocket, quoted []byte, dst netip.Addr, n packet.Name) (*trail, int, proof) {
	if s.protocol != packet.ProtocolTCP {
		tag, err := t.key.ParseQuotedTag(quoted)
		switch {
		case err == nil:
			r := t.trail(tag.Target)
			if r == nil || r.socket != s || r.dst != dst || r.constant() != n.Constant {
				return nil, 0, 0
			}
			return r, t.place(r, tag.Serial), proofCookie
		case !errors.Is(err, packet.ErrShort):
			return nil, 0, 0
		}
	}
	r, i := t.named(s, dst, n)
	return r, i, proofName
}

// kindOfError says what an ICMP error tells of a probe; not ok if it tells nothing. One of our own
// system (no answer to ARP, a rule that rejects) is like one of a router: the way ends here.
func kindOfError(v6 bool, icmpType, code uint8) (k route.Kind, ok bool) {
	exceeded, unreachable := uint8(packet.TimeExceed), uint8(packet.Unreachable)
	if v6 {
		exceeded, unreachable = packet.TimeExceed6, packet.Unreachable6
	}
	switch {
	case icmpType == exceeded && code == 0: // in transit; 1 is about fragments
		return route.Exceeded, true
	case icmpType == unreachable:
		return route.Unreachable, true
	}
	return 0, false
}

// answered takes an authentic answer. Of two to the same probe the one counts that proves more, if both come in time:
// a network may duplicate a probe and refuse one copy.
func (t *tracer) answered(r *trail, place int, in reception) {
	event := ""
	switch {
	case place == placeFuture:
		t.metrics.unmatchedSequence.Inc()
		return
	case place == placeOld:
		t.metrics.late.Inc()
		event = "late"
	case r.asks[place].state == askAnswered && !t.better(r, &r.asks[place], &in):
		t.metrics.duplicate.Inc()
		event = "duplicate"
	case r.asks[place].state == askAnswered:
		t.metrics.duplicate.Inc() // the one before
	case r.asks[place].state != askOut:
		t.metrics.unmatchedSequence.Inc()
		return
	case !r.open && place >= r.reached && r.reached > 0:
		r.asks[place].state = askAnswered // behind the first answer of the destination
		return
	case !r.open:
		r.asks[place].state = askAnswered
		t.metrics.late.Inc()
		event = "late"
	}
	if event != "" {
		if r.traced != 0 {
			t.trace(r, Packet{Event: event, TTL: uint8(max(0, place+1)), Received: t.clock.at(t.read), From: in.from})
		}
		return
	}
	if t.misled(r, in.at) {
		return
	}
	a := &r.asks[place]
	a.state, a.shown, a.kind, a.code, a.from, a.labels = askAnswered, in.shown, in.kind, in.code, in.from, nil
	if a.receive = t.translate(in.stamp, a.handed); a.receive == 0 {
		a.receive = t.clock.now
		t.metrics.unstamped.Inc()
	}
	if in.quote != nil {
		a.labels = labels(r.socket.key.v6, in.quote, in.end)
	}
}

// better says whether an answer takes the place of the one that is there: it proves more, and has come in time
// for the round and for its probe.
func (t *tracer) better(r *trail, a *ask, in *reception) bool {
	if !r.open || in.shown <= a.shown {
		return false
	}
	received := t.translate(in.stamp, a.handed)
	if received == 0 {
		received = t.clock.now
	}
	return received-a.departure() <= int64(r.target.Timeout)
}

// labels returns the label stack behind a quotation.
func labels(v6 bool, quote []byte, end int) []route.Label {
	stack := packet.LabelStack(packet.QuotedExtension(quote, end, v6))
	if len(stack) == 0 {
		return nil
	}
	list := make([]route.Label, 0, len(stack)/4)
	for entry := range slices.Chunk(stack, 4) {
		var l route.Label
		l.Value, l.Class, l.Bottom, l.TTL = packet.ParseLabel(entry)
		list = append(list, l)
	}
	return list
}

// translate returns the monotonic time of a kernel stamp about a probe; 0 if it makes no sense.
func (t *tracer) translate(stamp, handed int64) int64 {
	if stamp == 0 {
		return 0
	}
	since := handed
	if !t.clock.steady() {
		since = max(since, t.drained) // stamps of both offsets may be there: the narrower, the surer
	}
	return t.clock.translate(stamp, since, t.read)
}

// stamp takes one transmit stamp.
func (t *tracer) stamp(s *traceSocket, i int, rep *report) {
	r, place := t.trail(rep.data/MaxHops), int(rep.data%MaxHops)
	if s.transmit == transmitByLoop {
		r, place = t.looped(s, s.err.message(i))
	}
	if r == nil || r.socket != s || place < 0 || place >= r.asked {
		return
	}
	a := &r.asks[place]
	if a.state != askOut && a.state != askAnswered || a.transmit != 0 {
		return
	}
	a.transmit = t.translate(rep.stamp, a.handed)
}

// looped finds our probe in a packet that came back with its transmit stamp.
func (t *tracer) looped(s *traceSocket, data []byte) (*trail, int) {
	for _, link := range linkHeaders {
		if len(data) <= link {
			break
		}
		b := data[link:]
		inner, protocol := packet.SkipIPv4(b)
		var dst netip.Addr
		if inner != nil {
			dst, _ = netip.AddrFromSlice(b[16:20])
		} else if inner, protocol = packet.SkipIPv6(b); inner != nil {
			dst, _ = netip.AddrFromSlice(b[24:40])
		}
		if inner == nil || protocol != s.protocol {
			continue
		}
		if n, err := packet.ParseName(inner, protocol); err == nil {
			if r, i, _ := t.quoted(s, inner, dst, n); r != nil {
				return r, i
			}
		}
	}
	return nil, 0
}
