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
	timetable
	rules []timedRule

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

// scope ranks how closely a rule says which packets it is about: by port, by protocol, or not at all.
func (r *Rule) scope() int {
	switch {
	case len(r.Ports) > 0:
		return 2
	case len(r.Protocols) > 0:
		return 1
	}
	return 0
}

// covers tells whether a rule is about a protocol and a destination port.
func (r *Rule) covers(p Protocol, port uint16) bool {
	if len(r.Protocols) > 0 && !slices.Contains(r.Protocols, p) {
		return false
	}
	if len(r.Ports) == 0 {
		return true
	}
	return p != ICMP && slices.ContainsFunc(r.Ports, func(o PortRange) bool { return o.First <= port && port <= o.Last })
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
	service    Service
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
	s := &ruleset{timetable: newTimetable(), rules: rules, known: map[string]int32{}, buckets: make([]bucket, len(rules))}
	for i, r := range rules {
		s.add(int32(i), r.Prefixes, r.begin, r.end)
	}
	for _, list := range s.byPrefix {
		slices.SortStableFunc(list, func(a, b int32) int { return rules[a].scope() - rules[b].scope() })
	}
	slices.Sort(s.edges)
	return s
}

// lookup returns the index of the behaviour of an address towards a protocol, and a port of it, at a moment.
func (s *ruleset) lookup(addr netip.Addr, protocol Protocol, port uint16, now int64) int32 {
	var room [64]int32
	active := room[:0] // most specific first: by prefix, then by scope; the last of the file first among equals
	for _, n := range s.bits(addr) {
		p, _ := addr.Prefix(n)
		list := s.byPrefix[p]
		for i := len(list) - 1; i >= 0; i-- {
			if r := &s.rules[list[i]]; r.active(now) && r.covers(protocol, port) {
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
		set(&b.service, r.TCP)
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
