package prefix

import (
	"iter"
	"net/netip"
)

// States returns the configured addresses of a block with their states under one probe,
// by place, as they are now; none if the block is not in the table or not so probed.
func (t *Table) States(p netip.Prefix, probe Probe) iter.Seq2[netip.Addr, State] {
	return func(yield func(netip.Addr, State) bool) {
		for _, s := range t.Series() {
			if s.block.prefix == p && s.probe == probe {
				s.states(yield)
				return
			}
		}
	}
}

func (s *Series) states(yield func(netip.Addr, State) bool) {
	var states [BlockSize]State
	var configured [BlockSize]bool
	s.mu.Lock()
	addrs := s.addrs // replaced by Apply, never written
	for i := range s.slots {
		states[i], configured[i] = s.slots[i].State, s.slots[i].Configured
	}
	s.mu.Unlock()
	for i, addr := range addrs {
		if configured[i] && !yield(addr, states[i]) {
			return
		}
	}
}
