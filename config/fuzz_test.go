package config

import (
	"errors"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"prefix_exporter/prefix"
)

// checkInvariants checks what every other package relies on.
func checkInvariants(t *testing.T, c *Config) {
	t.Helper()
	if c.Limits.PacketsPerSecond < 1 {
		t.Errorf("limit %d", c.Limits.PacketsPerSecond)
	}
	cost := c.Cost()
	if rounded(cost.Total().PacketsPerSecond) > float64(c.Limits.PacketsPerSecond) || cost.Addresses > maxTargets {
		t.Errorf("above the limits: %v", cost)
	}
	for i := range c.Blocks {
		b := &c.Blocks[i]
		if i > 0 {
			last := c.Blocks[i-1].Prefix
			if last.Compare(b.Prefix) >= 0 || last.Overlaps(b.Prefix) {
				t.Errorf("%s after %s", b.Prefix, last)
			}
		}
		checkBlock(t, b)
	}
	if !slices.IsSortedFunc(c.Tenants, func(a, b Tenant) int { return strings.Compare(a.Name, b.Name) }) {
		t.Errorf("tenants are not sorted: %v", c.Tenants)
	}
}

func checkBlock(t *testing.T, b *Block) {
	t.Helper()
	switch {
	case b.Prefix != b.Prefix.Masked(),
		b.Prefix.Addr().Is4() && b.Prefix.Bits() != 24,
		len(b.Targets) == 0 || len(b.Targets) > prefix.BlockSize,
		len(b.Settings) != len(b.Targets),
		len(b.Buckets) == 0 || !slices.IsSorted(b.Buckets) || b.Buckets[0] <= 0,
		!slices.IsSorted(b.Tenants),
		b.Trace != nil && (b.Trace.Timeout <= 0 || b.Trace.Timeout > b.Trace.Interval),
		b.Trace != nil && (b.Trace.Port == 0) != (b.Trace.Protocol == "icmp"):
		t.Errorf("block %+v", b)
	}
	last := netip.Addr{}
	for i, target := range b.Targets {
		if !b.Prefix.Contains(target.Addr) || last.Compare(target.Addr) >= 0 {
			t.Errorf("%s: %s after %s", b.Prefix, target.Addr, last)
		}
		last = target.Addr
		s := b.Settings[i]
		if s.ICMP.Timeout <= 0 || s.ICMP.Timeout > s.ICMP.Interval || s.ICMP.TTL == 0 || s.ICMP.Size < 16 {
			t.Errorf("%s: %+v", target.Addr, s.ICMP)
		}
		want := []prefix.Probe{{Kind: prefix.ICMP}}
		if s.TCP != nil {
			if s.TCP.Timeout <= 0 || s.TCP.Timeout > s.TCP.Interval || len(s.TCP.Ports) == 0 {
				t.Errorf("%s: %+v", target.Addr, s.TCP)
			}
			for _, port := range slices.Sorted(slices.Values(s.TCP.Ports)) {
				want = append(want, prefix.Probe{Kind: prefix.TCP, Port: port})
			}
		}
		var got []prefix.Probe
		for _, p := range target.Probes {
			got = append(got, p.Probe)
			if p.DownAfter == 0 || p.UpAfter == 0 || p.DarkAfter < 0 {
				t.Errorf("%s: %+v", target.Addr, p)
			}
		}
		if !slices.Equal(want, got) {
			t.Errorf("%s: want the probes %v, got %v", target.Addr, want, got)
		}
	}
}

// FuzzParse checks that no file makes the parser panic, that every error is one line
// with a place, and that what is accepted keeps the promises of Config.
func FuzzParse(f *testing.F) {
	seeds, err := filepath.Glob("testdata/*.yml")
	if err != nil {
		f.Fatal(err)
	}
	for _, path := range append(seeds, "../prefix_exporter.example.yml") {
		data, err := os.ReadFile(path)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	for _, text := range shapes() {
		f.Add([]byte(text))
	}
	dir := f.TempDir()
	f.Fuzz(func(t *testing.T, data []byte) {
		if got, nodes := countValues(data), nodesOf(data); got < nodes {
			t.Errorf("counted %d values, there are %d", got, nodes)
		}
		c, err := Parse(filepath.Join(dir, "fuzz.yml"), data)
		if err == nil {
			checkInvariants(t, c)
			return
		}
		var errs Errors
		if !errors.As(err, &errs) || len(errs) == 0 {
			t.Fatalf("want Errors, got %T", err)
		}
		for _, e := range errs {
			if e.File == "" || e.Line < 1 || e.Message == "" || strings.ContainsAny(e.Error(), "\n\r") {
				t.Errorf("not a good error: %+v", e)
			}
		}
	})
}
