//go:build linux

package main

import (
	"fmt"
	"math"
	"net/netip"
	"strings"
	"time"
)

// The delays of the lab, as the promise about RTT names them.
const (
	shortest = 500 * time.Microsecond
	longest  = 300 * time.Millisecond
)

// kind is what a part of the /24s has to suffer. Its share is in 40ths of them.
type kind struct {
	name  string
	share int
	rule  string // further keys of its rule in the scenario
}

// kinds returns them in the order of the /24s.
func kinds() []kind {
	return []kind{
		{"nothing", 24, ""},
		{"loss of 0.1 %", 4, ", loss: 0.1%"},
		{"loss of 1 %", 4, ", loss: 1%"},
		{"loss of 10 %", 4, ", loss: 10%"},
		{"bursts of loss", 2, ", loss: {burst: {enter: 2%, leave: 30%}}"},
		{"10 % duplicates", 1, ", duplicate: 10%"},
		{"10 % reordered by 300 ms", 1, ", reorder: {probability: 10%, delay: 300ms}"},
	}
}

// network is the /24s of the lab, and what each has to suffer.
type network struct{ kinds []kind }

func newNetwork(prefixes int) network {
	var n network
	shares := kinds()
	for i := range prefixes {
		place := i * 40 / prefixes
		for _, k := range shares {
			if place -= k.share; place < 0 {
				n.kinds = append(n.kinds, k)
				break
			}
		}
	}
	return n
}

func (n network) addresses() int { return 256 * len(n.kinds) }

func (n network) prefix(i int) netip.Prefix {
	return netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 64, byte(i), 0}), 24)
}

// kindOf returns what an address has to suffer.
func (n network) kindOf(a netip.Addr) kind { return n.kinds[a.As4()[2]] }

// scenario gives every /24 a delay of its own, from the shortest to the longest in equal
// ratios, so that each decade has as many.
func (n network) scenario() string {
	var prefixes, rules strings.Builder
	for i, k := range n.kinds {
		share := float64(i*7%len(n.kinds)) / max(1, float64(len(n.kinds)-1)) // delays and kinds must not go together
		delay := time.Duration(float64(shortest) * math.Pow(float64(longest)/float64(shortest), share))
		fmt.Fprintf(&prefixes, "  - %s\n", n.prefix(i))
		fmt.Fprintf(&rules, "  - {prefix: %s, delay: %s%s}\n", n.prefix(i), delay.Round(time.Microsecond), k.rule)
	}
	return "seed: 1\nprefixes:\n" + prefixes.String() + "rules:\n" + rules.String()
}

// configuration probes all of it at one pace.
func (n network) configuration(interval time.Duration) string {
	var b strings.Builder
	fmt.Fprintf(&b, "limits: {packets_per_second: 100000}\ndefaults: {icmp: {interval: %s, timeout: 1s}, tcp: off, trace: off, expect: all}\nprefixes:\n", interval)
	for i := range n.kinds {
		fmt.Fprintf(&b, "  - {prefix: %s}\n", n.prefix(i))
	}
	return b.String()
}
