package prefix

import "net/netip"

// Prefix returns the block that the slot is in; the zero Prefix of the zero Handle.
func (h Handle) Prefix() netip.Prefix {
	if h.series == nil {
		return netip.Prefix{}
	}
	return h.series.block.prefix
}
