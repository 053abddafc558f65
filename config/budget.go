package config

import (
	"cmp"
	"fmt"
	"math"
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

const (
	// maxTargets is four times the largest number of addresses that the exporter is
	// measured with. It stops a slip of the mask that long intervals hide from the
	// ceiling of packets.
	maxTargets = 1 << 18
	// maxBlame is how many prefixes an error about a sum names.
	maxBlame = 3
)

// share is what one entry contributes to the sums.
type share struct {
	entry   *entry
	targets int64
	packets float64 // per second
}

// checkBudget notes sums that are too large. It is arithmetic on spans: a /8 costs no
// more here than a /32. The entries are sorted.
func checkBudget(p *problems, more bool, l limits, entries []*entry) {
	var shares []share
	for group := range groups(entries) {
		shares = append(shares, groupShares(group)...)
	}
	var targets int64
	var packets float64
	for _, s := range shares {
		targets += s.targets
		packets += s.packets
	}
	atLeast := ""
	if more {
		atLeast = "at least "
	}
	if targets > maxTargets {
		slices.SortStableFunc(shares, func(a, b share) int { return cmp.Compare(b.targets, a.targets) })
		p.add(shares[0].place(), shares[0].entry.prefix.String(), "%s%d addresses in all: must be at most %d; largest: %s",
			atLeast, targets, maxTargets, blame(shares, func(s share) string { return strconv.FormatInt(s.targets, 10) }))
	}
	if rounded(packets) > float64(l.PacketsPerSecond) {
		ceiling := "the default"
		if at := l.written.at("packets_per_second"); at != nil {
			ceiling = at.String()
		}
		slices.SortStableFunc(shares, func(a, b share) int { return cmp.Compare(b.packets, a.packets) })
		p.add(shares[0].place(), shares[0].entry.prefix.String(), "%s%s packets/s in all: must be at most %d, limits.packets_per_second (%s); largest: %s",
			atLeast, decimal(packets), l.PacketsPerSecond, ceiling, blame(shares, func(s share) string { return decimal(s.packets) }))
	}
}

func (s share) place() *place { return s.entry.place("prefix") }

// groupShares returns the shares of the entries of one block, or of all the blocks of
// one entry. What the routes cost counts for the first.
func groupShares(group []*entry) []share {
	shares := make([]share, len(group))
	var spans []span
	for i, e := range group {
		shares[i].entry = e
		for _, s := range e.spans() {
			shares[i].targets += s.count()
		}
		settings, ipv6 := e.settings(), e.prefix.Addr().Is6()
		each := settings.echoes(ipv6).plus(settings.connects(ipv6))
		shares[i].packets = each.times(shares[i].targets).PacketsPerSecond
		spans = append(spans, e.spans()...)
	}
	said := describeGroup(group)
	if trace := said.traceOf(said.around()); trace != nil && len(spans) > 0 {
		n := countBlocks(spans)
		traced := trace.Addresses
		if extra := len(traced) - int(countTraced(traced)); extra > 0 {
			n += int64(extra)
		}
		trace.Addresses = nil
		shares[0].packets += trace.routes(said.prefix.Addr().Is6()).times(n).PacketsPerSecond
	}
	return shares
}

// countBlocks returns how many blocks have addresses in spans.
func countBlocks(spans []span) int64 {
	if spans[0].first.Is6() {
		return 1
	}
	slices.SortFunc(spans, func(a, b span) int { return a.first.Compare(b.first) })
	var n int64
	last := int64(-1)
	for _, s := range spans {
		from, to := int64(low(s.first)>>(32-blockBits)), int64(low(s.last)>>(32-blockBits))
		n += to - max(from-1, last)
		last = to
	}
	return n
}

// countTraced returns how many blocks have addresses to trace of their own.
func countTraced(addrs []netip.Addr) int64 {
	if len(addrs) == 0 {
		return 0
	}
	spans := make([]span, len(addrs))
	for i, a := range addrs {
		spans[i] = span{a, a}
	}
	return countBlocks(spans)
}

// blame names the first few shares.
func blame(shares []share, amount func(share) string) string {
	var names []string
	for _, s := range shares[:min(maxBlame, len(shares))] {
		names = append(names, fmt.Sprintf("%s (%s)", s.entry.prefix, amount(s)))
	}
	return strings.Join(names, ", ")
}

// rounded drops what adding fractions leaves behind, so that a sum that is equal to
// the limit is not above it.
func rounded(v float64) float64 { return math.Round(v*1e6) / 1e6 }

// decimal writes a number with one decimal where it has any.
func decimal(v float64) string {
	return strings.TrimSuffix(strconv.FormatFloat(v, 'f', 1, 64), ".0")
}
