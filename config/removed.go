package config

import (
	"iter"
	"net/netip"
)

// Removed returns how many of the addresses that one configuration probes another does not, and of how many.
func Removed(before, after *Config) (removed, of int) {
	next, stop := iter.Pull(after.addresses())
	defer stop()
	other, more := next()
	for a := range before.addresses() {
		of++
		for more && other.Less(a) {
			other, more = next()
		}
		if !more || other != a {
			removed++
		}
	}
	return removed, of
}

// Many says whether so many addresses are removed that it is most likely a mistake: more than half.
func Many(removed, of int) bool { return 2*removed > of }

// addresses returns all addresses that are probed, ascending.
func (c *Config) addresses() iter.Seq[netip.Addr] {
	return func(yield func(netip.Addr) bool) {
		for i := range c.Blocks {
			for j := range c.Blocks[i].Targets {
				if !yield(c.Blocks[i].Targets[j].Addr) {
					return
				}
			}
		}
	}
}
