package config

import (
	"fmt"
	"math"
	"net/netip"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/prometheus/common/model"
	"gopkg.in/yaml.v3"
)

// codec is a type of the grammar: how a single value is written, what it may be and
// how it is read.
type codec[E any] struct {
	typ     string // for the documentation: "integer"
	allowed string // for the documentation: "1 to 255"
	want    string // for an error: "an integer between 1 and 255"
	// parse reads a scalar that is not null. It returns false when it is not as wanted,
	// and then, where there is more to say than that, what is the matter.
	parse func(n *yaml.Node) (E, string, bool)
}

// read decodes n or notes what is wrong with it.
func (c codec[E]) read(d *decoder, n *yaml.Node, at place) (item[E], bool) {
	n, ok := d.scalar(n, at, c.want)
	if !ok {
		return item[E]{}, false
	}
	v, why, ok := c.parse(n)
	if !ok {
		if why == "" {
			why = "must be " + c.want
		}
		d.problems.add(at, n.Value, "%s", why)
		return item[E]{}, false
	}
	return item[E]{value: v, text: n.Value, at: at}, true
}

// integer is a whole number in a range that fits N.
func integer[N ~int | ~uint8 | ~uint16](least, most N) codec[N] {
	return codec[N]{
		typ:     "integer",
		allowed: fmt.Sprintf("%d to %d", least, most),
		want:    fmt.Sprintf("an integer between %d and %d", least, most),
		parse: func(n *yaml.Node) (N, string, bool) {
			var v int64
			if n.ShortTag() != "!!int" || n.Decode(&v) != nil || v < int64(least) || v > int64(most) {
				return 0, "", false
			}
			return N(v), "", true
		},
	}
}

// boolean is true or false.
func boolean() codec[bool] {
	return codec[bool]{
		typ: "boolean", allowed: "true, false", want: "true or false",
		parse: func(n *yaml.Node) (v bool, why string, ok bool) {
			return v, "", n.ShortTag() == "!!bool" && n.Decode(&v) == nil
		},
	}
}

// duration is a length of time with a unit. zero says what 0 means; empty: 0 is not allowed.
func duration(least, most time.Duration, zero string) codec[time.Duration] {
	c := codec[time.Duration]{
		typ:     "duration",
		allowed: brief(least) + " to " + brief(most),
		want:    fmt.Sprintf("a duration between %s and %s", brief(least), brief(most)),
	}
	if zero != "" {
		c.allowed += ", or 0: " + zero
		c.want += ", or 0: " + zero
	}
	c.parse = func(n *yaml.Node) (time.Duration, string, bool) {
		if _, err := strconv.ParseFloat(n.Value, 64); err == nil && n.Value != "0" {
			return 0, fmt.Sprintf("needs a unit, such as %[1]sms or %[1]ss: must be ", strings.TrimSpace(n.Value)) + c.want, false
		}
		v, err := parseDuration(n.Value)
		if err != nil {
			return 0, "", false
		}
		return v, "", v >= least && v <= most || v == 0 && zero != ""
	}
	return c
}

// parseDuration accepts Go's durations (1m30s, 1.5h, 250us) and Prometheus' (1d, 2w).
func parseDuration(s string) (time.Duration, error) {
	if v, err := time.ParseDuration(s); err == nil {
		return v, nil
	}
	v, err := model.ParseDuration(s)
	return time.Duration(v), err
}

// brief writes a duration as a person would: 1m, not 1m0s.
func brief(d time.Duration) string {
	if d%time.Millisecond == 0 {
		return model.Duration(d).String()
	}
	return d.String()
}

// seconds is a bound of a histogram: a number of seconds or a duration.
func seconds(least, most time.Duration) codec[float64] {
	return codec[float64]{
		typ:     "seconds or duration",
		allowed: brief(least) + " to " + brief(most),
		want:    fmt.Sprintf("a number of seconds or a duration between %s and %s", brief(least), brief(most)),
		parse: func(n *yaml.Node) (v float64, why string, ok bool) {
			switch n.ShortTag() {
			case "!!int", "!!float":
				if n.Decode(&v) != nil || math.IsNaN(v) {
					return 0, "", false
				}
			default:
				dur, err := parseDuration(n.Value)
				if err != nil {
					return 0, "", false
				}
				v = dur.Seconds()
			}
			return v, "", v >= least.Seconds() && v <= most.Seconds()
		},
	}
}

// words is one of a few words.
func words[W fmt.Stringer](all ...W) codec[W] {
	names := make([]string, len(all))
	for i, w := range all {
		names[i] = w.String()
	}
	last := len(names) - 1
	return codec[W]{
		typ:     "word",
		allowed: strings.Join(names, ", "),
		want:    strings.Join(names[:last], ", ") + " or " + names[last],
		parse: func(n *yaml.Node) (w W, why string, ok bool) {
			for i, name := range names {
				if n.Value == name {
					return all[i], "", true
				}
			}
			return w, "", false
		},
	}
}

// text is free text on one line. not is a string of characters that may not occur. Numbers and the like are taken as they are written.
func text(least, most int, not string) codec[string] {
	c := codec[string]{typ: "text"}
	c.allowed = fmt.Sprintf("%d to %d characters", least, most)
	c.want = fmt.Sprintf("%d to %d printable characters", least, most)
	if not != "" {
		c.allowed += " without `" + not + "`"
		c.want += fmt.Sprintf(" without %q", not)
	}
	c.parse = func(n *yaml.Node) (string, string, bool) {
		switch n.ShortTag() {
		case "!!str", "!!int", "!!float", "!!bool", "!!timestamp":
		default:
			return "", "", false
		}
		length := utf8.RuneCountInString(n.Value)
		unprintable := func(r rune) bool { return !unicode.IsGraphic(r) }
		return n.Value, "", length >= least && length <= most && utf8.ValidString(n.Value) &&
			strings.IndexFunc(n.Value, unprintable) < 0 && !strings.ContainsAny(n.Value, not)
	}
	return c
}

// device is the name of a network interface: at most 15 bytes (IFNAMSIZ of
// netdevice(7), less its NUL) without a slash or white space, as Linux has it.
func device() codec[string] {
	return codec[string]{
		typ: "text", allowed: "1 to 15 bytes, no `/`, no white space",
		want: "the name of an interface: 1 to 15 bytes, no slash, no white space",
		parse: func(n *yaml.Node) (string, string, bool) {
			bad := func(r rune) bool { return r == '/' || unicode.IsSpace(r) || !unicode.IsGraphic(r) }
			return n.Value, "", len(n.Value) >= 1 && len(n.Value) <= 15 && strings.IndexFunc(n.Value, bad) < 0
		},
	}
}

// address is an IPv4 or IPv6 address without a zone.
func address() codec[netip.Addr] {
	return codec[netip.Addr]{
		typ: "address", allowed: "IPv4 or IPv6, no zone", want: "an IPv4 or IPv6 address",
		parse: func(n *yaml.Node) (netip.Addr, string, bool) { return parseAddr(n.Value) },
	}
}

func parseAddr(s string) (netip.Addr, string, bool) {
	a, err := netip.ParseAddr(s)
	switch {
	case err != nil:
		return netip.Addr{}, "", false
	case a.Zone() != "":
		return netip.Addr{}, fmt.Sprintf("must be an address without a zone: write %s, and interface: %s beside the prefix", a.WithZone(""), a.Zone()), false
	case a.Is4In6():
		return netip.Addr{}, fmt.Sprintf("must not be an IPv4 address in IPv6: write %s", a.Unmap()), false
	}
	return a, "", true
}

// Masks. Shorter IPv4 masks than 8 belong to nobody. A longer IPv6 mask than 119 has
// at most the 256 addresses of one block; shorter ones need a list of addresses.
const (
	minMask      = 8
	minWholeMask = 120
)

// cidr is a prefix without host bits.
func cidr() codec[netip.Prefix] {
	return codec[netip.Prefix]{
		typ:     "prefix",
		allowed: fmt.Sprintf("IPv4 /%d to /32; IPv6 /%d to /128, or /%d to /128 with `addresses`", minMask, minWholeMask, minMask),
		want:    "a prefix, such as 192.0.2.0/24",
		parse:   func(n *yaml.Node) (netip.Prefix, string, bool) { return parsePrefix(n.Value, minMask) },
	}
}

// part is a prefix of any length, or a single address.
func part() codec[netip.Prefix] {
	return codec[netip.Prefix]{
		typ: "address or prefix", allowed: "inside the prefix", want: "an address or a prefix",
		parse: func(n *yaml.Node) (netip.Prefix, string, bool) {
			if !strings.Contains(n.Value, "/") {
				a, why, ok := parseAddr(n.Value)
				if !ok {
					return netip.Prefix{}, why, false
				}
				return netip.PrefixFrom(a, a.BitLen()), "", true
			}
			return parsePrefix(n.Value, 0)
		},
	}
}

func parsePrefix(s string, least int) (netip.Prefix, string, bool) {
	before, after, slash := strings.Cut(s, "/")
	addr, why, ok := parseAddr(before)
	if !ok {
		return netip.Prefix{}, why, false
	}
	if !slash {
		return netip.Prefix{}, fmt.Sprintf("must have a mask, such as %s/%d", addr, addr.BitLen()), false
	}
	p, err := netip.ParsePrefix(addr.String() + "/" + after)
	if err != nil || p.Bits() < least {
		return netip.Prefix{}, fmt.Sprintf("mask must be between %d and %d", least, addr.BitLen()), false
	}
	if p != p.Masked() {
		return netip.Prefix{}, fmt.Sprintf("must not have host bits: write %s for the whole prefix, or %s/%d for the address", p.Masked(), addr, addr.BitLen()), false
	}
	return p, "", true
}
