package netsim

import (
	"encoding/binary"
	"net/netip"
	"slices"
	"time"
)

// ruleset is the rules made ready: which rules are about an address is a lookup per prefix length, and
// what they say together is worked out once per address and epoch. An epoch lasts as long as no rule
// begins or ends.
type ruleset struct {
	rules    []timedRule
	byPrefix map[netip.Prefix][]int32 // rules in the order of the file
	bits4    []int                    // the prefix lengths that occur, longest first
	bits6    []int
	edges    []int64 // when rules begin or end, CLOCK_MONOTONIC ns, ascending
	passed   int     // how many edges are behind us

	behaviours []behaviour
	known      map[string]int32 // from the rules that are active for an address to its behaviour
	buckets    []bucket         // one per rule, for those that share
}

type timedRule struct {
	Rule
	begin, end int64 // CLOCK_MONOTONIC ns; end 0: never
}

func (r *timedRule) active(now int64) bool {
	return now >= r.begin && (r.end == 0 || now < r.end)
}

// behaviour is what the active rules say about an address, merged.
type behaviour struct {
	delay      Delay
	rampBegin  int64
	spread     time.Duration
	jitter     time.Duration
	loss       Loss
	lossBegin  int64
	duplicate  Duplicate
	reorder    Reorder
	corrupt    Corrupt
	silent     bool
	error      icmpError
	exceeded   icmpError
	limit      RateLimit
	limitRule  int32 // whose bucket, when shared
	answerFrom netip.Addr
}

// icmpError is an ICMPError with its numbers looked up.
type icmpError struct {
	probability float64
	code4       uint8
	code6       uint8
	from        netip.Addr
	short       bool
}

// bucket is a token bucket.
type bucket struct {
	tokens   float64
	refilled int64 // CLOCK_MONOTONIC ns; 0: never used, so full
}

// take lets one request through when the rate permits.
func (b *bucket) take(now int64, rate float64, burst int) bool {
	depth := float64(max(burst, 1))
	if b.refilled == 0 {
		b.tokens = depth
	} else {
		b.tokens = min(depth, b.tokens+float64(now-b.refilled)*rate/1e9)
	}
	b.refilled = now
	if b.tokens < 1 {
		return false
	}
	b.tokens--
	return true
}

// timed anchors rules at a moment, from which their From and Until count.
func timed(rules []Rule, origin int64) []timedRule {
	out := make([]timedRule, len(rules))
	for i, r := range rules {
		out[i] = timedRule{Rule: r, begin: origin + int64(r.From)}
		if r.Until != 0 {
			out[i].end = origin + int64(r.Until)
		}
	}
	return out
}

func newRuleset(rules []timedRule) *ruleset {
	s := &ruleset{rules: rules, byPrefix: map[netip.Prefix][]int32{}, known: map[string]int32{}, buckets: make([]bucket, len(rules))}
	for i, r := range rules {
		prefixes := r.Prefixes
		if len(prefixes) == 0 {
			prefixes = []netip.Prefix{netip.PrefixFrom(netip.IPv4Unspecified(), 0), netip.PrefixFrom(netip.IPv6Unspecified(), 0)}
		}
		for _, p := range prefixes {
			s.byPrefix[p] = append(s.byPrefix[p], int32(i))
			bits := &s.bits6
			if p.Addr().Is4() {
				bits = &s.bits4
			}
			if !slices.Contains(*bits, p.Bits()) {
				*bits = append(*bits, p.Bits())
			}
		}
		s.edges = append(s.edges, r.begin)
		if r.end != 0 {
			s.edges = append(s.edges, r.end)
		}
	}
	slices.Sort(s.edges)
	descending := func(a, b int) int { return b - a }
	slices.SortFunc(s.bits4, descending)
	slices.SortFunc(s.bits6, descending)
	return s
}

// advance moves to the epoch of now and tells whether it is a new one.
func (s *ruleset) advance(now int64) bool {
	before := s.passed
	for s.passed < len(s.edges) && s.edges[s.passed] <= now {
		s.passed++
	}
	return s.passed != before
}

// lookup returns the index of the behaviour of an address at a moment.
func (s *ruleset) lookup(addr netip.Addr, now int64) int32 {
	var room [64]int32
	active := room[:0] // most specific first, the last of the file first among equals
	bits := s.bits6
	if addr.Is4() {
		bits = s.bits4
	}
	for _, n := range bits {
		p, _ := addr.Prefix(n)
		list := s.byPrefix[p]
		for i := len(list) - 1; i >= 0; i-- {
			if s.rules[list[i]].active(now) {
				active = append(active, list[i])
			}
		}
	}
	var space [4 * len(room)]byte
	name := space[:0]
	for _, i := range active {
		name = binary.LittleEndian.AppendUint32(name, uint32(i))
	}
	if i, ok := s.known[string(name)]; ok {
		return i
	}
	i := int32(len(s.behaviours))
	s.behaviours = append(s.behaviours, s.merge(active))
	s.known[string(name)] = i
	return i
}

// merge takes every property from the first rule of the list that names it.
func (s *ruleset) merge(active []int32) behaviour {
	var b behaviour
	for _, i := range slices.Backward(active) { // the least specific first, so that the others overwrite it
		r := &s.rules[i]
		if r.Delay != nil {
			b.delay, b.rampBegin = *r.Delay, r.begin
		}
		set(&b.spread, r.Spread)
		set(&b.jitter, r.Jitter)
		if r.Loss != nil {
			b.loss, b.lossBegin = *r.Loss, r.begin
		}
		set(&b.duplicate, r.Duplicate)
		set(&b.reorder, r.Reorder)
		set(&b.corrupt, r.Corrupt)
		set(&b.silent, r.Silent)
		b.error.set(r.Unreachable, unreachableCodes)
		b.exceeded.set(r.TTLExceeded, exceededCodes)
		if r.RateLimit != nil {
			b.limit, b.limitRule = *r.RateLimit, i
		}
		set(&b.answerFrom, r.AnswerFrom)
	}
	return b
}

func set[T any](to *T, from *T) {
	if from != nil {
		*to = *from
	}
}

func (e *icmpError) set(from *ICMPError, codes []code) {
	if from == nil {
		return
	}
	if from.Off {
		*e = icmpError{}
		return
	}
	c, _ := findCode(codes, from.Code)
	*e = icmpError{1, c.v4, c.v6, from.From, from.Short}
	set(&e.probability, from.Probability)
}
