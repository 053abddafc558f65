package netsim

import (
	"encoding/binary"
	"net/netip"
	"slices"
	"time"
)

// Route is the way to some prefixes for a while. The most specific active route of an address is its
// way, the last one among equals; an address without a route is one hop away.
type Route struct {
	// Prefixes that it leads to; none: every address.
	Prefixes []netip.Prefix
	// From and Until as those of a Rule.
	From, Until time.Duration
	// Paths among which flows are balanced; at least one.
	Paths []Path
}

// Path is the routers on a way, in the order in which a request meets them.
type Path struct {
	Hops []Hop
	// Loop repeats the last so many hops for ever, and nothing arrives; 0: no loop.
	Loop int
}

// Hop is one router, and the link that leads to it.
type Hop struct {
	Router      netip.Addr    // whose errors come from this address; the zero Addr: it never says anything
	Delay       time.Duration // there and back, added to that of everything that passes
	Jitter      time.Duration // an extra delay of each request, uniform in ±Jitter; no hop takes less than 0s
	Loss        float64       // probability that a request on its way to the router vanishes
	Silent      float64       // probability that the router says nothing about a request that ends here
	RateLimit   RateLimit     // of its errors, by router, whatever route they are about; Share does not matter
	Short       bool          // its errors quote the IP header and 8 bytes; else as much as the RFCs let
	MPLS        []int         // the labels that its errors carry, RFC 4950, outermost first
	Unreachable *ICMPError    // what it says of requests that it should pass on; From, Short and Probability do not matter
}

// routeset is the routes made ready.
type routeset struct {
	timetable
	routes  []timedRoute
	buckets []bucket // one per router that limits the rate of its errors
}

type timedRoute struct {
	Route
	begin, end int64
	paths      []path
}

type path struct {
	hops []hop
	loop int
}

// hop is a Hop with its numbers looked up.
type hop struct {
	Hop
	bucket int
	error  icmpError
}

// timedRoutes anchors routes at a moment.
func timedRoutes(routes []Route, origin int64) []timedRoute {
	out := make([]timedRoute, len(routes))
	for i, r := range routes {
		out[i] = timedRoute{Route: r, begin: origin + int64(r.From)}
		if r.Until != 0 {
			out[i].end = origin + int64(r.Until)
		}
	}
	return out
}

func newRouteset(routes []timedRoute) *routeset {
	s := &routeset{timetable: newTimetable(), routes: slices.Clone(routes)}
	buckets := map[netip.Addr]int{}
	for i := range s.routes {
		r := &s.routes[i]
		s.add(int32(i), r.Prefixes, r.begin, r.end)
		r.paths = nil
		for _, p := range r.Paths {
			ready := path{loop: p.Loop}
			for _, h := range p.Hops {
				n, known := buckets[h.Router]
				if !known {
					n = len(buckets)
					buckets[h.Router] = n
				}
				one := hop{Hop: h, bucket: n}
				one.error.set(h.Unreachable, unreachableCodes)
				ready.hops = append(ready.hops, one)
			}
			r.paths = append(r.paths, ready)
		}
	}
	s.buckets = make([]bucket, len(buckets))
	slices.Sort(s.edges)
	return s
}

// lookup returns the index of the route to an address at a moment, -1 when there is none.
func (s *routeset) lookup(addr netip.Addr, now int64) int32 {
	for _, n := range s.bits(addr) {
		p, _ := addr.Prefix(n)
		for _, i := range slices.Backward(s.byPrefix[p]) {
			if r := &s.routes[i]; now >= r.begin && (r.end == 0 || now < r.end) {
				return i
			}
		}
	}
	return -1
}

// at returns the n-th hop from 1, nil behind the last.
func (p *path) at(n int) *hop {
	if n <= len(p.hops) {
		return &p.hops[n-1]
	}
	if p.loop == 0 {
		return nil
	}
	first := len(p.hops) - p.loop
	return &p.hops[first+(n-1-first)%p.loop]
}

// way is what a request has behind it when it is answered.
type way struct {
	delay time.Duration
	hops  int // passed by the reply
}

// travel takes a request along its route, and tells whether it arrives; when not, its record says why and
// a router's answer is scheduled. Without a record the request suffers no loss and gets no answer.
func (e *engine) travel(r *request, h *host, rec *record, d dice, route int32, now moment) bool {
	e.way = way{}
	if route < 0 {
		return true
	}
	paths := e.routes.routes[route].paths
	n := int(r.flow(e.seed) % uint64(len(paths)))
	if rec != nil {
		rec.route, rec.path = uint16(route+1), uint8(n+1)
	}
	for i := 1; ; i++ {
		hop := paths[n].at(i)
		if hop == nil {
			e.way.hops = i - 1
			return true
		}
		e.way.hops = i - 1 // the answer of the i-th passes one less
		e.way.delay += hop.delayOf(d, i)
		expired := int(r.ttl) <= i
		lost := d.hits(hop.Loss, drawLoss, i)
		if rec == nil && (expired || hop.error.probability > 0) {
			return false
		}
		if rec == nil || !lost && !expired && hop.error.probability == 0 {
			continue
		}
		rec.hop = uint8(i)
		if lost {
			rec.verdict = Lost
			return false
		}
		e.say(r, h, rec, d, hop, i, expired, now)
		return false
	}
}

// delayOf is how much the i-th hop adds to the delay of a request.
func (h *hop) delayOf(d dice, i int) time.Duration {
	const behindCopies = maxCopies + 1 // whose draws have the smaller numbers
	delay := h.Delay
	if h.Jitter > 0 {
		delay += time.Duration((2*d.uniform(drawJitter, behindCopies+i) - 1) * float64(h.Jitter))
	}
	return max(0, delay)
}

// say schedules what the i-th router says about a request that ends there, if anything.
func (e *engine) say(r *request, h *host, rec *record, d dice, hop *hop, i int, expired bool, now moment) {
	typ4, typ6, code4, code6 := uint8(icmpUnreachable), uint8(icmp6Unreachable), hop.error.code4, hop.error.code6
	rec.verdict = Unreachable
	if expired {
		typ4, typ6, code4, code6 = icmpTimeExceeded, icmp6TimeExceeded, 0, 0
		rec.verdict = TTLExceeded
	}
	switch l := &hop.RateLimit; {
	case !hop.Router.IsValid() || d.hits(hop.Silent, drawUnreachable, i):
		rec.verdict = Silent
		return
	case l.Rate > 0 && !e.routes.buckets[hop.bucket].take(now.mono, l.Rate, l.Burst):
		rec.verdict = RateLimited
		return
	}
	typ, code := typ4, code4
	if r.dst.Is6() {
		typ, code = typ6, code6
	}
	index, s := e.queue.take()
	var word uint32
	e.scratch, word = appendQuote(e.scratch[:0], r, hop, uint8(max(1, int(r.ttl)-i+1)))
	s.packet = appendICMP(s.packet, hop.Router, r.src, typ, code, word, e.scratch)
	s.stamp = false
	e.schedule(index, h, rec, now, 0, answer{from: e.truth.addr(hop.Router), typ: typ, code: code})
}

// flow is a hash of what balancers by flow look at: addresses, protocol, and ports; of ICMP the
// identifier and the checksum, which Paris traceroute keeps constant.
func (r *request) flow(seed uint64) uint64 {
	a, b := r.srcPort, r.dstPort
	if r.protocol == ICMP {
		a, b = r.id, binary.BigEndian.Uint16(r.message[2:])
	}
	return mix(tupleHash(r.src, r.dst, a, b) ^ mix(seed+uint64(r.protocol)+1))
}
