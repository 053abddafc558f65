package config

import (
	"bytes"
	"cmp"
	"fmt"
	"io"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"prefix_exporter/prefix"
)

// What a configuration costs in series and in memory. The series follow the table of
// docs/metrics.md, the memory is measured.
const (
	// seriesKnown are up, sent, and the sum and count of RTTs, without the reasons of loss.
	seriesKnown = 4
	// seriesDark is up.
	seriesDark = 1
	// reasonsICMP are timeout, unreachable and ttl_exceeded.
	reasonsICMP = 3
	// reasonsTCP are timeout, unreachable, refused and reset.
	reasonsTCP = 4
	// seriesInfo is prefix_target_info of an address that is known or has a name.
	seriesInfo = 1
	// seriesSums are, per prefix and probe: sent, targets by three states, and what a
	// histogram has beside its buckets (the +Inf bucket, sum and count).
	seriesSums = 1 + 3 + 3
	// seriesPrefix are prefix_info and prefix_nominal_rtt_seconds.
	seriesPrefix = 2
	// seriesRoute are prefix_route_hops and prefix_route_changes_total, seriesHop the
	// RTT and the loss of one hop.
	seriesRoute = 2
	seriesHop   = 2
	// seriesSelf is about what the exporter says of itself and of its process.
	seriesSelf = 150

	// memoryBase is an exporter that probes nothing.
	memoryBase = 24 << 20
	// memoryProbe is the state of one probe of one address, with its share of a scrape.
	memoryProbe = 500

	// maxLargest is how many of the largest prefixes a cost lists.
	maxLargest = 10
)

// Cost is what a configuration will cost while it runs.
type Cost struct {
	Prefixes  int `json:"prefixes"` // blocks
	Addresses int `json:"addresses"`
	// ICMP, TCP and Trace are what is sent and, when everything answers, received.
	ICMP  Flow `json:"icmp"`
	TCP   Flow `json:"tcp"`
	Trace Flow `json:"trace"`
	// Limit is limits.packets_per_second.
	Limit int `json:"packets_per_second_limit"`
	// Series is how many time series a scrape has at most: every address known, every
	// reason of loss seen. DarkSeries is how many it has when nothing ever answered.
	Series     int   `json:"series"`
	DarkSeries int   `json:"dark_series"`
	Memory     int64 `json:"memory_bytes"` // estimated
	// Largest are the prefixes that send most, at most 10.
	Largest []BlockCost `json:"largest"`
}

// BlockCost is the part of one block in a Cost.
type BlockCost struct {
	Prefix           netip.Prefix `json:"prefix"`
	Name             string       `json:"name"`
	Addresses        int          `json:"addresses"`
	PacketsPerSecond float64      `json:"packets_per_second"`
	Series           int          `json:"series"` // at most
}

// Total returns the sum of all kinds of probes.
func (c Cost) Total() Flow { return c.ICMP.plus(c.TCP).plus(c.Trace) }

// Cost returns what this configuration will cost.
func (c *Config) Cost() Cost {
	cost := Cost{
		Prefixes: len(c.Blocks), Limit: c.Limits.PacketsPerSecond,
		Series: seriesSelf, DarkSeries: seriesSelf, Memory: memoryBase,
		Largest: []BlockCost{},
	}
	for i := range c.Blocks {
		b := &c.Blocks[i]
		var icmp, tcp Flow
		for _, s := range b.Settings {
			icmp = icmp.plus(s.echoes(b.Prefix.Addr().Is6()))
			tcp = tcp.plus(s.connects(b.Prefix.Addr().Is6()))
		}
		trace := b.Trace.routes(b.Prefix.Addr().Is6())
		series, dark := b.series()
		cost.Addresses += len(b.Targets)
		cost.ICMP, cost.TCP, cost.Trace = cost.ICMP.plus(icmp), cost.TCP.plus(tcp), cost.Trace.plus(trace)
		cost.Series += series
		cost.DarkSeries += dark
		cost.Memory += int64(icmp.Probes+tcp.Probes) * memoryProbe
		cost.Largest = append(cost.Largest, BlockCost{
			Prefix: b.Prefix, Name: b.Name, Addresses: len(b.Targets), Series: series,
			PacketsPerSecond: icmp.plus(tcp).plus(trace).PacketsPerSecond,
		})
	}
	slices.SortStableFunc(cost.Largest, func(a, b BlockCost) int {
		return cmp.Compare(rounded(b.PacketsPerSecond), rounded(a.PacketsPerSecond))
	})
	cost.Largest = slices.Clip(cost.Largest[:min(maxLargest, len(cost.Largest))])
	return cost
}

// series returns how many series a block has at most, and when all of it is dark.
func (b *Block) series() (most, dark int) {
	buckets := 0
	if b.PerAddress == prefix.PerAddressClassic {
		buckets = len(b.Buckets) + 1 // and +Inf
	}
	seen := make(map[prefix.Probe]bool)
	for _, t := range b.Targets {
		most += seriesInfo
		if t.Name != "" {
			dark += seriesInfo
		}
		for _, p := range t.Probes {
			most += seriesKnown + reasons(p.Kind) + buckets
			dark += seriesDark
			if !seen[p.Probe] {
				seen[p.Probe] = true
				most += seriesSums + reasons(p.Kind) + len(b.Buckets)
				dark += seriesSums + reasons(p.Kind) + len(b.Buckets)
			}
		}
	}
	most, dark = most+seriesPrefix+len(b.Tenants), dark+seriesPrefix+len(b.Tenants)
	if b.Trace != nil {
		routes := max(1, len(b.Trace.Addresses))
		most += routes * (seriesRoute + seriesHop*b.Trace.MaxHops)
		dark += routes * seriesRoute
	}
	return most, dark
}

// reasons returns how many reasons of loss a kind of probe has.
func reasons(k prefix.Kind) int {
	if k == prefix.TCP {
		return reasonsTCP
	}
	return reasonsICMP
}

// String returns the cost as a table for a person.
func (c Cost) String() string {
	var b strings.Builder
	_, _ = c.WriteTo(&b) // a Builder does not fail
	return b.String()
}

// WriteTo writes the cost as a table for a person.
func (c Cost) WriteTo(w io.Writer) (int64, error) {
	var b bytes.Buffer
	fmt.Fprintf(&b, "prefixes %12s\naddresses%12s\n", grouped(int64(c.Prefixes)), grouped(int64(c.Addresses)))
	fmt.Fprintf(&b, "series   %12s a scrape at most, %s when nothing answers\n", grouped(int64(c.Series)), grouped(int64(c.DarkSeries)))
	fmt.Fprintf(&b, "memory   %12s MiB, about\n", grouped((c.Memory+1<<20-1)>>20))

	const row = "%-9s%12s%14s%14s%14s\n"
	fmt.Fprintf(&b, "\n"+row, "probe", "probes", "packets/s", "Mbit/s out", "Mbit/s in")
	line := func(name string, f Flow) {
		fmt.Fprintf(&b, row, name, grouped(int64(f.Probes)), fraction(f.PacketsPerSecond, 1), fraction(f.BitsOut/1e6, 3), fraction(f.BitsIn/1e6, 3))
	}
	line("icmp", c.ICMP)
	line("tcp", c.TCP)
	line("trace", c.Trace)
	line("total", c.Total())
	fmt.Fprintf(&b, "%-9s%12s%14s\n", "limit", "", fraction(float64(c.Limit), 1))

	if len(c.Largest) > 0 {
		wide := len("largest prefixes")
		for _, l := range c.Largest {
			wide = max(wide, len(l.Prefix.String()))
		}
		fmt.Fprintf(&b, "\n%-*s%12s%14s%12s\n", wide, "largest prefixes", "addresses", "packets/s", "series")
		for _, l := range c.Largest {
			line := fmt.Sprintf("%-*s%12s%14s%12s  %s", wide, l.Prefix, grouped(int64(l.Addresses)), fraction(l.PacketsPerSecond, 1), grouped(int64(l.Series)), l.Name)
			fmt.Fprintln(&b, strings.TrimRight(line, " "))
		}
	}
	return b.WriteTo(w)
}

// grouped writes a number with commas: 10,240.
func grouped(n int64) string {
	s := strconv.FormatInt(n, 10)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

// fraction writes a number with commas and so many decimals: 10,240.0.
func fraction(v float64, decimals int) string {
	whole, rest, _ := strings.Cut(strconv.FormatFloat(v, 'f', decimals, 64), ".")
	n, err := strconv.ParseInt(whole, 10, 64)
	if err != nil {
		return whole + "." + rest // too large to be read anyway
	}
	return grouped(n) + "." + rest
}
