package config

import (
	"fmt"
	"math/bits"
	"net/netip"
	"regexp"
	"strconv"
	"strings"
	"unicode"
)

// Masks. Shorter IPv4 masks than 8 belong to nobody. A longer IPv6 mask than 119 has
// at most the 256 addresses of one block; shorter ones need a list of addresses.
const (
	minMask      = 8
	minWholeMask = 120
)

var (
	zerosInIPv4 = regexp.MustCompile(`^[0-9]{1,6}(?:\.[0-9]{1,6}){3}$`)
	shortIPv4   = regexp.MustCompile(`^[0-9]{1,3}(?:\.[0-9]{1,3}){0,2}$`)
	maskBits    = regexp.MustCompile(`^(?:0|[1-9][0-9]{0,2})$`)
)

// address is an IPv4 or IPv6 address without a zone.
func address() codec[netip.Addr] {
	return codec[netip.Addr]{
		typ: "address", allowed: "IPv4 or IPv6, no zone", want: "an IPv4 or IPv6 address",
		schema: jsonText{pattern: `^[0-9A-Fa-f:.]+$`},
		parse:  parseAddr,
	}
}

// cidr is a prefix without host bits.
func cidr() codec[netip.Prefix] {
	return codec[netip.Prefix]{
		typ:     "prefix",
		allowed: fmt.Sprintf("IPv4 /%d to /32; IPv6 /%d to /128, or /%d to /128 with `addresses`", minMask, minWholeMask, minMask),
		want:    "a prefix, such as 192.0.2.0/24",
		schema: jsonText{pattern: `^(?:[0-9]{1,3}(?:\.[0-9]{1,3}){3}/(?:[89]|[12][0-9]|3[0-2])` + // of IPv4
			`|[0-9A-Fa-f]*:[0-9A-Fa-f:.]*/(?:[89]|[1-9][0-9]|1[01][0-9]|12[0-8]))$`}, // of IPv6
		parse: func(s string) (netip.Prefix, string, bool) { return parsePrefix(s, minMask) },
	}
}

// part is a prefix of any length, or a single address.
func part() codec[netip.Prefix] {
	return codec[netip.Prefix]{
		typ: "address or prefix", allowed: "inside the prefix", want: "an address or a prefix",
		schema: jsonText{pattern: `^[0-9A-Fa-f:.]+(?:/[0-9]{1,3})?$`},
		parse: func(s string) (netip.Prefix, string, bool) {
			if strings.ContainsAny(s, "/ ") {
				return parsePrefix(s, 0)
			}
			a, why, ok := parseAddr(s)
			if !ok {
				return netip.Prefix{}, why, false
			}
			return netip.PrefixFrom(a, a.BitLen()), "", true
		},
	}
}

// parseAddr reads an address, or says how to write it.
func parseAddr(s string) (netip.Addr, string, bool) { return parseMasked(s, "") }

// parseMasked reads the address that stands before a mask, such as /24, which is part of what to write. The mask may be empty.
func parseMasked(s, mask string) (netip.Addr, string, bool) {
	a, err := netip.ParseAddr(s)
	switch {
	case err != nil:
		return netip.Addr{}, addressAdvice(s, mask), false
	case a.Zone() != "":
		return netip.Addr{}, fmt.Sprintf("must be an address without a zone: write %s%s, and interface: %s beside the prefix", a.WithZone(""), mask, a.Zone()), false
	case a.Is4In6():
		n, err := strconv.Atoi(strings.TrimPrefix(mask, "/"))
		if mask = ""; err == nil && n >= 96 { // 96 of the 128 bits say that it is one
			mask = fmt.Sprintf("/%d", n-96)
		}
		return netip.Addr{}, fmt.Sprintf("must not be an IPv4 address in IPv6: write %s%s", a.Unmap(), mask), false
	}
	return a, "", true
}

// addressAdvice says what is the matter with something that is nearly an address, with a mask behind it or none.
func addressAdvice(s, mask string) string {
	if zerosInIPv4.MatchString(s) {
		numbers := strings.Split(s, ".")
		for i, n := range numbers {
			if numbers[i] = strings.TrimLeft(n, "0"); numbers[i] == "" {
				numbers[i] = "0"
			}
		}
		if a, err := netip.ParseAddr(strings.Join(numbers, ".")); err == nil {
			return fmt.Sprintf("must not have leading zeros: write %s%s", a, mask)
		}
		return "each of its four numbers must be between 0 and 255"
	}
	if a, err := netip.ParseAddr(strings.Trim(s, "[]")); err == nil {
		return fmt.Sprintf("must not have brackets: write %s%s", a, mask)
	}
	if a, err := netip.ParseAddrPort(s); err == nil {
		return fmt.Sprintf("must not have a port: write %s", a.Addr())
	}
	if first, _, ok := strings.Cut(s, "-"); ok {
		if _, err := netip.ParseAddr(strings.TrimSpace(first)); err == nil {
			return "must not be a range: write prefixes, or list the addresses"
		}
	}
	if first, _, ok := strings.Cut(s, "/"); ok {
		if a, err := netip.ParseAddr(first); err == nil {
			return fmt.Sprintf("must be an address without a mask, such as %s", a)
		}
	}
	return ""
}

// parsePrefix reads a prefix with a mask of at least so many bits, or says how to write it.
func parsePrefix(s string, least int) (netip.Prefix, string, bool) {
	no := func(format string, args ...any) (netip.Prefix, string, bool) {
		return netip.Prefix{}, fmt.Sprintf(format, args...), false
	}
	before, mask, slash := strings.Cut(s, "/")
	if spaced := strings.Fields(s); !slash && len(spaced) == 2 { // as routers write it
		before, mask, slash = spaced[0], spaced[1], true
	}
	behind := ""
	if maskBits.MatchString(mask) {
		behind = "/" + mask
	}
	addr, why, ok := parseMasked(before, behind)
	if !ok {
		if why == "" && slash && shortIPv4.MatchString(before) {
			why = "must have all four numbers of its address, such as " + before + strings.Repeat(".0", 3-strings.Count(before, ".")) + "/" + mask
		}
		return netip.Prefix{}, why, false
	}
	if !slash {
		return no("must have a mask, such as %s/%d", addr, addr.BitLen())
	}
	if n, ok := netmask(mask, addr); ok {
		return no("must have its mask as a number of bits: write %s", netip.PrefixFrom(addr, n).Masked())
	}
	if !maskBits.MatchString(mask) {
		if write := strings.TrimLeft(mask, "0"); maskBits.MatchString(write) {
			return no("must not have a leading zero in its mask: write %s/%s", addr, write)
		}
		return no("mask must be a whole number between %d and %d", least, addr.BitLen())
	}
	p, err := netip.ParsePrefix(addr.String() + "/" + mask)
	if err != nil || p.Bits() < least {
		return no("mask must be between %d and %d", least, addr.BitLen())
	}
	if p != p.Masked() {
		return no("must not have host bits: write %s for the whole prefix, or %s/%d for the address", p.Masked(), addr, addr.BitLen())
	}
	return p, "", true
}

// netmask returns the bits of a mask that is written as an address, such as 255.255.255.0, or with
// its bits turned round, as some routers want it: 0.0.0.255.
func netmask(s string, of netip.Addr) (n int, ok bool) {
	mask, err := netip.ParseAddr(s)
	if err != nil || mask.BitLen() != of.BitLen() || mask.IsUnspecified() {
		return 0, false
	}
	for _, turned := range []byte{0, 0xff} {
		n, tail := 0, false
		ok := true
		for _, b := range mask.AsSlice() {
			b ^= turned
			ones := bits.LeadingZeros8(^b)
			if tail && b != 0 || b<<ones != 0 {
				ok = false
			}
			n, tail = n+ones, tail || ones < 8
		}
		if ok && n > 0 {
			return n, true
		}
	}
	return 0, false
}

// trimmed returns a text without the white space around it, and without the marks that nobody sees and that come
// along when text is copied out of a document.
func trimmed(s string) string {
	return strings.TrimFunc(s, func(r rune) bool { return unicode.IsSpace(r) || unicode.Is(unicode.Cf, r) })
}
