package netsim

import (
	"math"
	"net/netip"
	"slices"
	"time"
)

// moment is one instant on two clocks, in nanoseconds: CLOCK_REALTIME and CLOCK_MONOTONIC.
type moment struct{ wall, mono int64 }

// engine answers: packets and moments in, packets out. It knows no system call and no lock.
type engine struct {
	seed     uint64
	stamp    bool
	prefixes []netip.Prefix
	rules    *ruleset
	routes   *routeset
	epoch    uint32 // rises with every change of rules and every begin or end of one

	hosts []host
	index map[[16]byte]uint32

	way     way    // of the request at hand
	scratch []byte // for what routers quote

	queue   queue
	truth   *truth
	writing *answer // of the last pop; nil if the truth does not have it
	totals  [protocols]Counters
	stats   Stats
}

// host is the state of one address for one protocol. It has no pointers, so that 65,536 of them cost the
// collector nothing.
type host struct {
	key       uint64 // what its draws begin with
	self      uint32 // its index in engine.hosts
	tcp, udp  uint32 // the index of its state for these protocols; 0: none yet
	addr      uint32 // index in the truth
	epoch     uint32 // for which behaviour is right; of ICMP only
	behaviour int32
	route     int32 // -1: none; right for the same epoch
	bad       bool  // state of the burst model
	bucket    bucket
	counters  Counters
}

// Stats counts what the truth does not tell.
type Stats struct {
	Packets   uint64 // all packets read
	Malformed uint64 // wrong lengths or checksums
	Fragments uint64 // pieces of datagrams larger than the MTU
	Segments  uint64 // TCP segments behind the SYN
	Other     uint64 // valid, but nothing that the lab answers
	Stray     uint64 // requests to addresses outside of all prefixes
	Injected  uint64 // packets from Inject
	Refused   uint64 // writes that the kernel refused; their replies have been counted as written
	Dropped   uint64 // packets that overflowed the queue of the TUN device before the lab read them
	Pending   int    // replies scheduled and not yet written
}

// prefillLimit is how many addresses get their state at the start instead of at their first packet: a /15.
const prefillLimit = 1 << 17

// newEngine makes an engine from a valid scenario whose rules count from the moment start.
func newEngine(s *Scenario, start moment) *engine {
	e := &engine{seed: s.Seed, stamp: s.Stamp, epoch: 1, truth: newTruth()}
	m := newMemory(e.truth)
	e.truth.packets.memory, e.truth.answers.memory = m, m
	e.prefixes = s.reach()
	e.rules = newRuleset(timed(s.Rules, start.mono))
	e.rules.advance(start.mono)
	e.routes = newRouteset(timedRoutes(s.Routes, start.mono))
	e.routes.advance(start.mono)
	e.prefill()
	return e
}

func (e *engine) prefill() {
	total := 0
	for _, p := range e.prefixes {
		free := p.Addr().BitLen() - p.Bits()
		if free > 17 {
			continue
		}
		total += 1 << free
	}
	e.index = make(map[[16]byte]uint32, min(total, prefillLimit))
	if total > prefillLimit {
		return
	}
	e.hosts = slices.Grow(e.hosts, total)
	for _, p := range e.prefixes {
		if p.Addr().BitLen()-p.Bits() > 17 {
			continue
		}
		for a := p.Addr(); p.Contains(a); a = a.Next() {
			e.host(a)
		}
	}
}

// host returns the state of an address, or nil when it is in no prefix. It is good until the next call.
func (e *engine) host(a netip.Addr) *host {
	k := a.As16()
	if i, ok := e.index[k]; ok {
		return &e.hosts[i]
	}
	if !slices.ContainsFunc(e.prefixes, func(p netip.Prefix) bool { return p.Contains(a) }) {
		return nil
	}
	i := uint32(len(e.hosts))
	e.index[k] = i
	e.hosts = append(e.hosts, host{self: i, key: hostKey(e.seed, a), addr: e.truth.addr(a)})
	return &e.hosts[i]
}

// setRules replaces the rules.
func (e *engine) setRules(rules []timedRule, now int64) {
	e.rules = newRuleset(rules)
	e.rules.advance(now)
	e.epoch++
}

// setRoutes replaces the routes.
func (e *engine) setRoutes(routes []timedRoute, now int64) {
	e.routes = newRouteset(routes)
	e.routes.advance(now)
	e.epoch++
}

// receive takes a packet that was read now, having waited since it came, ns. It keeps nothing of p.
func (e *engine) receive(p []byte, now moment, waited int64) {
	e.stats.Packets++
	var r request
	kind := parseRequest(p, &r)
	switch kind {
	case kindMalformed:
		e.stats.Malformed++
		return
	case kindFragment:
		e.stats.Fragments++
		return
	case kindOther:
		e.stats.Other++
		return
	}
	h := e.host(r.dst)
	if h == nil {
		e.stats.Stray++
		return
	}
	if rules, routes := e.rules.advance(now.mono), e.routes.advance(now.mono); rules || routes {
		e.epoch++
	}
	if h.epoch != e.epoch {
		h.epoch, h.behaviour, h.route = e.epoch, e.rules.lookup(r.dst, ICMP, 0, now.mono), e.routes.lookup(r.dst, now.mono)
	}
	w := uint32(min(max(waited, 0), math.MaxUint32))
	if kind == kindSegment {
		e.segment(&r, h, now, w)
		return
	}
	b, route := h.behaviour, h.route
	if r.protocol != ICMP {
		h, b = e.sibling(h, r.protocol), e.rules.lookup(r.dst, r.protocol, r.dstPort, now.mono)
	}
	e.judge(&r, h, &e.rules.behaviours[b], route, now, w)
}

// sibling returns the state of the address of h for another protocol. It is good until the next call.
func (e *engine) sibling(h *host, p Protocol) *host {
	at := &h.tcp
	if p == UDP {
		at = &h.udp
	}
	if *at == 0 {
		*at = uint32(len(e.hosts))
		e.hosts = append(e.hosts, host{self: *at, key: h.key, addr: h.addr}) // the old h lives on, unchanged
		return &e.hosts[len(e.hosts)-1]
	}
	return &e.hosts[*at]
}

// judge decides the fate of a request, writes it down, and schedules what is to be sent.
func (e *engine) judge(r *request, h *host, b *behaviour, route int32, now moment, waited uint32) {
	h.counters.Requests++
	e.totals[r.protocol].Requests++
	rec := e.truth.record(r, h.addr, now, waited)
	d := packetDice(h.key+uint64(r.protocol), h.counters.Requests)
	switch {
	case !e.travel(r, h, rec, d, route, now):
	case b.silent:
		rec.verdict = Silent
	case b.loses(d, now.mono, &h.bad):
		rec.verdict = Lost
	case b.limit.Rate > 0 && !e.bucket(b, h).take(now.mono, b.limit.Rate, b.limit.Burst):
		rec.verdict = RateLimited
	case d.hits(b.error.probability, drawUnreachable, 0):
		rec.verdict = Unreachable
		e.refuse(r, h, rec, b, d, now, &b.error, icmpUnreachable, icmp6Unreachable)
	case d.hits(b.exceeded.probability, drawExceeded, 0):
		rec.verdict = TTLExceeded
		e.refuse(r, h, rec, b, d, now, &b.exceeded, icmpTimeExceeded, icmp6TimeExceeded)
	case r.protocol == TCP:
		e.answerSYN(r, h, rec, b, d, now)
	case r.protocol == UDP:
		rec.verdict = Refused
		e.refuse(r, h, rec, b, d, now, &portUnreachable, icmpUnreachable, icmp6Unreachable)
	default:
		e.answer(r, h, rec, b, d, now)
	}
	h.counters.Verdicts[rec.verdict]++
	e.totals[r.protocol].Verdicts[rec.verdict]++
}

// portUnreachable is what a host says to a datagram that nobody waits for, RFC 1122 section 4.1.3.1.
var portUnreachable = icmpError{code4: 3, code6: 4}

func (e *engine) bucket(b *behaviour, h *host) *bucket {
	if b.limit.Share {
		return &e.rules.buckets[b.limitRule]
	}
	return &h.bucket
}

// copies draws how many replies beyond the first a request is given.
func (e *engine) copies(r *request, h *host, b *behaviour, d dice) int {
	if !d.hits(b.duplicate.Probability, drawDuplicate, 0) {
		return 0
	}
	h.counters.Duplicate++
	e.totals[r.protocol].Duplicate++
	return max(1, b.duplicate.Copies)
}

// answer schedules the echo reply and its copies.
func (e *engine) answer(r *request, h *host, rec *record, b *behaviour, d dice, now moment) {
	copies := e.copies(r, h, b, d)
	from := r.dst
	if b.answerFrom.Is4() == r.dst.Is4() && b.answerFrom.IsValid() {
		from = b.answerFrom
	}
	rec.verdict = Corrupted
	for i := range copies + 1 {
		delay := b.delayOf(d, h.key, now.mono, i) + time.Duration(i)*b.duplicate.After
		index, s := e.queue.take()
		s.packet = appendEcho(s.packet, from, r.src, replyType(r.dst), r.id, r.seq, r.payload)
		s.stamp = e.stamp
		mode := Intact
		if d.hits(b.corrupt.Probability, drawCorrupt, i) {
			mode = b.corrupt.Mode
			s.packet = damage(s.packet, mode, d.bits(drawCorruptWhere, i))
		} else {
			rec.verdict = Answered
		}
		e.schedule(index, h, rec, now, int64(delay), answer{from: e.truth.addr(from), typ: replyType(r.dst), corrupt: mode})
	}
	if from != r.dst {
		rec.verdict = WrongSource
	}
}

// refuse schedules an ICMP error.
func (e *engine) refuse(r *request, h *host, rec *record, b *behaviour, d dice, now moment, ie *icmpError, type4, type6 uint8) {
	from, typ, code := ie.from, type4, ie.code4
	if r.dst.Is6() {
		typ, code = type6, ie.code6
	}
	if !from.IsValid() || from.Is4() != r.dst.Is4() {
		from = r.dst
	}
	index, s := e.queue.take()
	s.packet = appendError(s.packet, from, typ, code, r, ie.short)
	s.stamp = false
	delay := b.delayOf(d, h.key, now.mono, 0)
	e.schedule(index, h, rec, now, int64(delay), answer{from: e.truth.addr(from), typ: typ, code: code})
}

// schedule puts a built packet into the queue and its answer into the truth.
func (e *engine) schedule(index uint32, h *host, rec *record, now moment, delay int64, a answer) {
	a.due = now.mono - int64(rec.waited) + delay + int64(e.way.delay)
	n, kept := e.truth.answers.grow()
	*kept = a
	if rec.replies == 0 {
		rec.reply = uint32(n)
	}
	rec.replies++
	s := &e.queue.slots[index]
	e.arrive(s)
	s.reply, s.arrived, s.host, s.protocol, s.untold = uint32(n), now.wall-int64(rec.waited), h.self, rec.protocol, false
	e.queue.push(a.due, index)
}

// arrive takes a reply back along the way that the request came.
func (e *engine) arrive(s *slot) {
	if e.way.hops > 0 {
		setTTL(s.packet, uint8(max(1, replyTTL-e.way.hops)))
	}
}

// next returns when the next reply is due, CLOCK_MONOTONIC ns.
func (e *engine) next() (due int64, ok bool) { return e.queue.next() }

// pop returns the packet that is due at the moment now, stamped with it, and notes it as written; nil
// when none is due. The packet is good until the next call of receive or pop.
func (e *engine) pop(now moment) []byte {
	if due, ok := e.queue.next(); !ok || due > now.mono {
		return nil
	}
	index := e.queue.pop().slot
	s := &e.queue.slots[index]
	if s.stamp {
		stamp(s.packet, s.arrived, now.wall)
	}
	e.writing = nil
	if !s.untold {
		a := e.truth.answers.at(uint64(s.reply))
		a.wall, a.mono = now.wall, now.mono
		e.writing = a
		e.hosts[s.host].counters.Replies++
		e.totals[s.protocol].Replies++
	}
	e.queue.release(index)
	return s.packet
}

// wrote notes that the packet of the last pop had been written at the moment now.
func (e *engine) wrote(now moment) {
	if e.writing != nil {
		e.writing.took = uint32(min((now.mono-e.writing.mono)/1000+1, math.MaxUint32))
	}
}

// damage spoils an echo reply that the lab built; where is a random number.
func damage(p []byte, mode CorruptMode, where uint64) []byte {
	header := headerLen(p)
	size := len(p) - header - icmpHeaderLen
	switch mode {
	case Flip:
		bit := where % uint64(8*(len(p)-header))
		p[header+int(bit/8)] ^= 1 << (bit % 8)
	case Payload:
		first, n := header+icmpHeaderLen, min(size, 16)
		if n == 0 { // then the sequence number
			first, n = header+6, 2
		}
		bit := where % uint64(8*n)
		p[first+int(bit/8)] ^= 1 << (bit % 8)
		sealICMP(p, header)
	case Truncate:
		if size > 0 {
			p = shorten(p, 1+int(where%uint64(size)))
		}
	}
	return p
}
