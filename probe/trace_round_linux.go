package probe

import (
	"net/netip"
	"time"

	"prefix_exporter/packet"
	"prefix_exporter/prefix"
	"prefix_exporter/route"
)

// spareHops is how many TTLs behind the last known place of the destination are asked at once: the
// destination answers each, so they are few; a way that has become a little
// longer is seen without a second wave, and one lost answer of the destination does not cost one.
const spareHops = 2

const (
	// worthwhile is the share of its timeout that a second wave must have before the next round: many
	// routers answer in that. Else the next round asks all at once.
	worthwhile = 1.0 / 4
	// patient is the share of its timeout that a probe must have had to be called silent, and not
	// unasked, when the next round ends its own. It forgives that a round may begin 100 ms late.
	patient = 7.0 / 8
)

// askState is what is known of the probe of one TTL.
type askState uint8

const (
	askNone     askState = iota // not asked in this round
	askOut                      // sent, no answer yet
	askAnswered                 // answered, in time or not
	askRefused                  // could not be sent
)

// ask is the probe of one TTL. Times are nanoseconds on the engine's monotonic clock.
type ask struct {
	state    askState
	own      uint32 // what a router that quotes 8 bytes must show, packet.Name.Own
	handed   int64  // when it was handed to the kernel; never after it left
	transmit int64  // when it left, by the kernel or as a guess where that does not stamp; 0: not known
	receive  int64  // when the answer arrived
	drops    uint32 // what the socket had dropped when it was sent
	shown    proof  // of the answer
	kind     route.Kind
	code     uint8
	from     netip.Addr
	labels   []route.Label
}

// proof is how well an answer shows that it is one to our probe.
type proof uint8

const (
	proofName   proof = iota + 1 // an ICMP error that quotes 8 bytes, or of TCP more: what named looks at
	proofCookie                  // an ICMP error that quotes the cookie, too
	proofReply                   // an answer of the destination itself: it has the cookie, or acknowledges it
)

// open says whether the answer to a probe may still come, or a better one. That the way ends here is the strongest thing
// that an error can say, and is contradicted by whatever proves more until the deadline. A router that
// says that it forwards is believed at once: most quote 8 bytes, and no round should wait for that.
func (a *ask) open() bool {
	return a.state == askOut || a.state == askAnswered && a.kind == route.Unreachable
}

// trail is one route as the engine sees it. All its probes are of one flow, so that
// balancers send them the same way, in all rounds.
type trail struct {
	target   TraceTarget
	index    uint32 // its place in the engine's table, and its number on the wire
	used     bool
	socket   *traceSocket
	checksum uint16 // of every echo request; of the first datagram
	serial   uint32 // of the next probe
	dst      netip.Addr
	id       string     // target_id of dst
	source   netip.Addr // of this round, where checksums cover it
	reached  int        // TTL at which the destination answered in the round before; 0: it did not

	carrier  carrier // of the way to dst
	stranded refusal // why there is no way for the probes that were asked last; refusedHere: there is one

	open     bool  // a round is not recorded yet
	asks     []ask // by TTL of the newest round
	asked    int   // how many of them have been asked
	first    uint32
	started  int64
	next     int64 // when the next round is due
	deadline int64 // of the probes that were asked last, not after next
	traced   int64 // log every packet until this moment
	hurried  int64 // when Hurry was asked for it last; 0: never
	extra    int   // rounds that are to begin as soon as none is open
}

// routePhase returns where in the interval a route is traced: neighbouring prefixes, and the
// addresses of one, are spread evenly.
func routePhase(k route.Key, interval time.Duration) time.Duration {
	a := k.Prefix.Masked().Addr()
	network := a
	if a.Is4() {
		b := a.As4()
		n := uint32(b[0])<<24 | uint32(b[1])<<16 | uint32(b[2])<<8 | uint32(b[3])
		n >>= 32 - k.Prefix.Bits() // the number of the prefix: one more for the next one
		network = netip.AddrFrom4([4]byte{byte(n >> 24), byte(n >> 16), byte(n >> 8), byte(n)})
	}
	p := phase(network, interval)
	if k.Addr.IsValid() {
		p += phase(k.Addr, interval)
	}
	return p % interval
}

// begin begins a round.
func (t *tracer) begin(r *trail, due int64) {
	dst := r.target.Key.Addr
	if !dst.IsValid() && t.o.Destination != nil {
		dst = t.o.Destination(r.target.Key.Prefix, r.dst)
	}
	if dst.Is4() != r.target.Key.Prefix.Addr().Is4() || dst.Is4In6() {
		dst = netip.Addr{} // the socket is of the other family
	}
	t.moveTo(r, dst)
	if !dst.IsValid() {
		return
	}
	r.id = prefix.TargetID(dst)
	clear(r.asks)
	r.open, r.asked, r.first = true, 0, r.serial
	r.started, r.next = t.clock.monotonic(), due+int64(r.target.Interval)
	t.open = append(t.open, r)
	r.socket.begin()
	t.metrics.lag.Observe(float64(r.started-due) / 1e9)
	n := len(r.asks)
	if r.reached > 0 {
		n = min(n, r.reached+spareHops)
	}
	t.ask(r, n)
}

// abort forgets a round of which nothing is recorded.
func (t *tracer) abort(r *trail, because string) {
	if r.open {
		t.metrics.discarded.WithLabelValues(because).Add(float64(r.asked))
		r.open = false
		t.forget(r)
	}
}

func (t *tracer) forget(r *trail) {
	r.socket.end()
	for i, o := range t.open {
		if o == r {
			last := len(t.open) - 1
			t.open[i] = t.open[last]
			t.open = t.open[:last]
			return
		}
	}
}

// judgeAll ends the rounds that are over.
func (t *tracer) judgeAll() {
	now := t.clock.now
	for i := 0; i < len(t.open); {
		r := t.open[i]
		t.judge(r, now > r.deadline)
		if i < len(t.open) && t.open[i] == r {
			i++ // still open
		}
	}
}

// judge ends a round, or its first wave, when all that matters is decided, or the deadline
// has passed.
func (t *tracer) judge(r *trail, late bool) {
	end, arrived, blocked, open := r.asked, false, false, 0
	for i := range r.asks[:r.asked] {
		a := &r.asks[i]
		if a.open() {
			open++
		}
		switch {
		case a.state != askAnswered:
		case a.kind == route.Arrived:
			arrived, end = true, i+1
		case a.kind == route.Unreachable:
			blocked = true
		}
		if arrived {
			break
		}
	}
	if open > 0 && !late {
		return
	}
	if !arrived && !blocked && r.asked < len(r.asks) {
		// The way has become longer, or the destination is silent.
		if left := r.next - t.clock.monotonic(); float64(left) >= worthwhile*float64(r.target.Timeout) {
			t.ask(r, len(r.asks))
			return
		}
		end = len(r.asks)
	}
	t.finish(r, end)
}

// finish records a round. Of what could not be known for a reason of our own it says so.
func (t *tracer) finish(r *trail, end int) {
	r.open = false
	t.countDrops(r.socket) // before what is left of them is thrown away
	t.forget(r)
	round := route.Round{Started: t.clock.at(r.started), Answers: make([]route.Answer, end)}
	r.reached = 0
	for i := range round.Answers {
		round.Answers[i] = t.answer(r, i)
		if round.Answers[i].Kind == route.Arrived {
			r.reached = i + 1
		}
	}
	t.o.Record(r.target.Key, r.dst, round)
}

// answer says what became of a probe.
func (t *tracer) answer(r *trail, i int) route.Answer {
	a := &r.asks[i]
	p := Packet{TTL: uint8(i + 1), Sequence: uint16(r.first + uint32(i)), Sent: t.clock.at(a.departure())}
	answer := route.Answer{Kind: route.Silent}
	switch {
	case a.state == askAnswered && a.receive-a.departure() <= int64(r.target.Timeout):
		answer = route.Answer{Kind: a.kind, Code: a.code, From: a.from, RTT: time.Duration(max(0, a.receive-a.departure())), Labels: a.labels}
		p.Event, p.RTT, p.Received, p.From = eventOf(a.kind), answer.RTT, t.clock.at(a.receive), a.from
		if a.transmit == 0 && r.socket.transmit != transmitNone {
			t.metrics.unstamped.Inc()
		}
	case a.state == askAnswered:
		t.metrics.late.Inc()
		p.Event = "timeout"
	case a.state != askOut:
		return route.Answer{Kind: route.Unasked} // counted when it was refused
	case t.blind:
		answer.Kind, p.Event = route.Unasked, "discarded"
		t.metrics.discarded.WithLabelValues(discardFlood).Inc()
	case a.drops != r.socket.drops:
		answer.Kind, p.Event = route.Unasked, "discarded"
		t.metrics.discarded.WithLabelValues(discardKernelDrop).Inc()
	case float64(t.clock.now-a.handed) < patient*float64(r.target.Timeout):
		answer.Kind, p.Event = route.Unasked, "discarded"
		t.metrics.discarded.WithLabelValues(discardOvertaken).Inc()
	default:
		p.Event = "timeout"
	}
	if r.traced != 0 {
		t.trace(r, p)
	}
	return answer
}

// eventOf is what a traced packet calls an answer.
func eventOf(k route.Kind) string {
	switch k {
	case route.Exceeded:
		return prefix.TTLExceeded.String()
	case route.Unreachable:
		return prefix.Unreachable.String()
	}
	return prefix.Answered.String()
}

// departure is when the probe left, as well as it is known.
func (a *ask) departure() int64 {
	if a.transmit != 0 {
		return a.transmit
	}
	return a.handed
}

// tag names the probe of a TTL, from 1.
func (r *trail) tag(ttl int) packet.Tag {
	return packet.Tag{Target: r.index, Serial: r.first + uint32(ttl-1)}
}

// constant is what all probes of the route have in common, packet.Name.Constant.
func (r *trail) constant() uint32 {
	if r.socket.port != 0 {
		return uint32(r.socket.port)<<16 | uint32(r.target.Port)
	}
	return uint32(r.socket.identifier)
}
