package route

import (
	"net/netip"
	"slices"
)

// findLoop looks for a loop in which a path ends: cells are the routers by TTL, the zero
// Addr where none is known. It returns the TTL with which the first turn begins and how many
// hops a turn has, or 0.
//
// A router that appears at two neighbouring TTLs is no loop: some routers pass on what
// they should have dropped. From the first hop of the loop on everything must repeat.
// Hops that are silent now and then, or always, hide no loop; a turn may
// then be taken for a multiple of its length until more is seen, never for a part of it.
func findLoop(cells []netip.Addr) (from, length int) {
	if !returns(cells) {
		return 0, 0
	}
	for i, first := range cells {
		rest := cells[i:]
		if !first.IsValid() || !slices.Contains(rest[1:], first) || !returns(rest) {
			continue
		}
		for n := 1; n < len(rest); n++ {
			if seenAgain(rest, n) && repeats(rest, n) {
				return i + 1, n
			}
		}
	}
	return 0, 0
}

// returns says whether some router is seen three times, or twice with another one in between.
func returns(cells []netip.Addr) bool {
	for i, first := range cells {
		if !first.IsValid() {
			continue
		}
		seen, other := 1, false
		for _, next := range cells[i+1:] {
			switch {
			case next == first:
				if seen++; seen >= 3 || other {
					return true
				}
			case next.IsValid():
				other = true
			}
		}
	}
	return false
}

// seenAgain says whether some router is seen at two TTLs that are n apart: no other
// number can be the length of a turn.
func seenAgain(cells []netip.Addr, n int) bool {
	for i := n; i < len(cells); i++ {
		if cells[i].IsValid() && cells[i] == cells[i-n] {
			return true
		}
	}
	return false
}

// repeats says whether all cells can be turns of n hops, the first of which is seen again.
func repeats(cells []netip.Addr, n int) bool {
	turn := make([]netip.Addr, n)
	again := false
	for i, c := range cells {
		if !c.IsValid() {
			continue
		}
		slot := &turn[i%n]
		if slot.IsValid() && *slot != c {
			return false
		}
		again = again || i > 0 && i%n == 0
		*slot = c
	}
	return again
}
