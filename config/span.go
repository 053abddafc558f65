package config

import (
	"encoding/binary"
	"net/netip"
	"slices"
)

// span is an unbroken range of addresses, both ends included. All addresses of a span
// differ in their last 32 bits only.
type span struct{ first, last netip.Addr }

// low returns the last 32 bits of an address: all of IPv4.
func low(a netip.Addr) uint32 {
	b := a.AsSlice()
	return binary.BigEndian.Uint32(b[len(b)-4:])
}

// count returns how many addresses a span has, without counting them.
func (s span) count() int64 {
	return int64(low(s.last)) - int64(low(s.first)) + 1
}

// each calls f for every address of a span.
func (s span) each(f func(netip.Addr)) {
	for a := s.first; ; a = a.Next() {
		f(a)
		if a == s.last { // compared, not ordered: the next one may not exist
			return
		}
	}
}

// spanOf returns the addresses of a prefix. IPv6 prefixes must be /96 or longer.
func spanOf(p netip.Prefix) span {
	b := p.Addr().AsSlice()
	host := uint32(uint64(1)<<(p.Addr().BitLen()-p.Bits()) - 1)
	tail := b[len(b)-4:]
	binary.BigEndian.PutUint32(tail, binary.BigEndian.Uint32(tail)|host)
	last, _ := netip.AddrFromSlice(b)
	return span{p.Addr(), last}
}

// without returns what is left of a prefix when parts of it are taken away, ascending.
// Its cost depends on the number of parts, not on the number of addresses.
func without(whole netip.Prefix, parts []netip.Prefix) []span {
	sorted := slices.Clone(parts)
	slices.SortFunc(sorted, netip.Prefix.Compare)
	rest := spanOf(whole)
	var left []span
	for _, p := range sorted {
		gone := spanOf(p)
		if gone.last.Less(rest.first) {
			continue // inside a larger part that is gone already
		}
		if rest.first.Less(gone.first) {
			left = append(left, span{rest.first, gone.first.Prev()})
		}
		if gone.last == rest.last {
			return left
		}
		rest.first = gone.last.Next()
	}
	return append(left, rest)
}

// unusable are addresses that no single host can answer from.
var unusable = []struct {
	prefix netip.Prefix
	what   string
}{
	{netip.MustParsePrefix("0.0.0.0/8"), "addresses of \"this network\" (0.0.0.0/8)"},              // RFC 1122 section 3.2.1.3
	{netip.MustParsePrefix("224.0.0.0/4"), "multicast addresses (224.0.0.0/4)"},                    // RFC 5771
	{netip.MustParsePrefix("240.0.0.0/4"), "reserved and broadcast addresses (240.0.0.0/4)"},       // RFC 1112 section 4, RFC 919 section 7
	{netip.MustParsePrefix("::/128"), "the unspecified address (::)"},                              // RFC 4291 section 2.5.2
	{netip.MustParsePrefix("::ffff:0:0/96"), "IPv4 addresses in IPv6 (::ffff:0:0/96): write IPv4"}, // RFC 4291 section 2.5.5.2
	{netip.MustParsePrefix("ff00::/8"), "multicast addresses (ff00::/8)"},                          // RFC 4291 section 2.7
}

// refused says why a range of addresses cannot be probed, or nothing.
func (s span) refused() string {
	for _, u := range unusable {
		// Whoever overlaps a prefix begins in it, or the prefix begins in him.
		if u.prefix.Contains(s.first) ||
			u.prefix.Addr().BitLen() == s.first.BitLen() && !u.prefix.Addr().Less(s.first) && !s.last.Less(u.prefix.Addr()) {
			return u.what
		}
	}
	return ""
}
