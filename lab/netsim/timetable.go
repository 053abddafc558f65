package netsim

import (
	"net/netip"
	"slices"
)

// timetable finds rules or routes by prefix, and knows when any of them begins or ends.
type timetable struct {
	byPrefix map[netip.Prefix][]int32 // their numbers, in the order of adding
	bits4    []int                    // the prefix lengths that occur, longest first
	bits6    []int
	edges    []int64 // when they begin or end, CLOCK_MONOTONIC ns; ascending, once they are sorted
	passed   int     // how many edges are behind us
}

func newTimetable() timetable { return timetable{byPrefix: map[netip.Prefix][]int32{}} }

// add enters the one with number i; no prefixes stand for every address, and end 0 for never.
func (t *timetable) add(i int32, prefixes []netip.Prefix, begin, end int64) {
	if len(prefixes) == 0 {
		prefixes = []netip.Prefix{netip.PrefixFrom(netip.IPv4Unspecified(), 0), netip.PrefixFrom(netip.IPv6Unspecified(), 0)}
	}
	descending := func(a, b int) int { return b - a }
	for _, p := range prefixes {
		t.byPrefix[p] = append(t.byPrefix[p], i)
		bits := &t.bits6
		if p.Addr().Is4() {
			bits = &t.bits4
		}
		if !slices.Contains(*bits, p.Bits()) {
			*bits = append(*bits, p.Bits())
			slices.SortFunc(*bits, descending)
		}
	}
	t.edges = append(t.edges, begin)
	if end != 0 {
		t.edges = append(t.edges, end)
	}
}

// bits returns the prefix lengths to look up for an address, longest first.
func (t *timetable) bits(addr netip.Addr) []int {
	if addr.Is4() {
		return t.bits4
	}
	return t.bits6
}

// advance moves to the epoch of now and tells whether it is a new one.
func (t *timetable) advance(now int64) bool {
	before := t.passed
	for t.passed < len(t.edges) && t.edges[t.passed] <= now {
		t.passed++
	}
	return t.passed != before
}
