package config

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"prefix_exporter/prefix"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

// comparing lets cmp compare the types of net/netip, whose fields are private.
var comparing = cmpopts.EquateComparable(netip.Addr{}, netip.Prefix{})

// parse returns the configuration of a text that must be valid.
func parse(t *testing.T, text string) *Config {
	t.Helper()
	c, err := Parse("prefix_exporter.yml", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestWholeGrammar(t *testing.T) {
	got, err := Load("testdata/valid-whole.yml")
	if err != nil {
		t.Fatal(err)
	}
	probe := func(kind prefix.Kind, port uint16, interval time.Duration, down, up uint8) prefix.TargetProbe {
		return prefix.TargetProbe{
			Probe:     prefix.Probe{Kind: kind, Port: port},
			DownAfter: down, UpAfter: up, Interval: interval, Expect: prefix.ExpectAll,
		}
	}
	probes := []prefix.TargetProbe{probe(prefix.ICMP, 0, 2*time.Second, 5, 2), probe(prefix.TCP, 22, 90*time.Second, 4, 3), probe(prefix.TCP, 443, 90*time.Second, 4, 3)}
	block := Block{
		Block: prefix.Block{
			Prefix: netip.MustParsePrefix("192.0.2.0/24"), Name: "PAR-1", Router: "PA2", NominalRTT: 40 * time.Millisecond,
			Tenants: []string{"team-a", "team-b"}, Labels: []prefix.Label{{Name: "building", Value: "7"}, {Name: "site", Value: "paris"}},
			PerAddress: prefix.PerAddressNative, Buckets: []float64{0.5, 1, 2.5},
		},
		Trace: &Trace{Interval: 5 * time.Minute, Timeout: 2 * time.Second, MaxHops: 20, Protocol: "udp", Port: 33434},
	}
	settings := &Settings{
		ICMP:   ICMP{Interval: 2 * time.Second, Timeout: 500 * time.Millisecond, Size: 64, TTL: 32, TOS: 184},
		TCP:    &TCP{Ports: []uint16{22, 443}, Interval: 90 * time.Second, Timeout: 3 * time.Second, OrderlyClose: true},
		Source: netip.MustParseAddr("198.51.100.1"), Interface: "eth0",
		Where: "192.0.2.0/24 (testdata/valid-whole.yml:19, testdata/valid-whole.yml:20)",
	}
	for _, last := range []byte{2, 3, 8, 10, 11, 12, 13, 14, 15} {
		target := prefix.Target{Addr: netip.AddrFrom4([4]byte{192, 0, 2, last}), Probes: probes}
		if last == 2 {
			target.Name = "mail"
		}
		block.Targets = append(block.Targets, target)
		block.Settings = append(block.Settings, settings)
	}
	want := &Config{
		Limits: Limits{PacketsPerSecond: 1000},
		Blocks: []Block{block},
		Tenants: []Tenant{
			{Name: "noc", Certificates: []string{"noc.example.net", "z.example.net"}, All: true},
			{Name: "team-a", Certificates: []string{"team-a.example.net"}},
			{Name: "team-b"},
		},
		Files: []string{"testdata/valid-whole.yml"},
	}
	if diff := cmp.Diff(want, got, comparing); diff != "" {
		t.Errorf("configuration (-want +got):\n%s", diff)
	}
}

func TestPrefixesOverrideDefaults(t *testing.T) {
	c, err := Load("testdata/valid-overrides.yml")
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, b := range c.Blocks {
		line := fmt.Sprintf("%s icmp %s/%s", b.Targets[0].Addr, b.Settings[0].ICMP.Timeout, b.Settings[0].ICMP.Interval)
		if tcp := b.Settings[0].TCP; tcp != nil {
			line += fmt.Sprint(" tcp ", tcp.Ports)
		}
		if b.Trace != nil {
			line += fmt.Sprintf(" trace %s %d", b.Trace.Protocol, b.Trace.Port)
		}
		p := b.Targets[0].Probes[0]
		got = append(got, fmt.Sprintf("%s %s %s", line, p.Expect, p.DarkAfter))
	}
	want := []string{
		"192.0.2.1 icmp 1s/1s tcp [80 443] trace tcp 443 seen 168h0m0s",
		"192.0.3.1 icmp 1s/1s tcp [25] trace icmp 0 seen 168h0m0s",
		"192.0.4.1 icmp 1s/1s none 0s",
		"192.0.5.1 icmp 200ms/200ms trace udp 33434 seen 0s",
		"192.0.6.1 icmp 1s/1s tcp [80 443] trace tcp 443 seen 168h0m0s",
		"192.0.7.1 icmp 1s/1s trace tcp 80 seen 168h0m0s",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("blocks (-want +got):\n%s", diff)
	}
}

func TestBlocks(t *testing.T) {
	tests := []struct{ name, text, want string }{
		{"a short mask is split into /24s", "{prefix: 198.18.0.0/22, exclude: [198.18.1.0/24, 198.18.2.0/25]}",
			"198.18.0.0/24:256 198.18.2.0/24:128 198.18.3.0/24:256"},
		{"a long mask is part of its /24", "{prefix: 192.0.2.64/30}", "192.0.2.0/24:4"},
		{"a /31 and a /32 in one /24 are one block", "{prefix: 192.0.2.7/32}\n  - {prefix: 192.0.2.2/31}", "192.0.2.0/24:3"},
		{"blocks are sorted by prefix", "{prefix: 203.0.113.0/24}\n  - {prefix: \"2001:db8::/128\"}\n  - {prefix: 9.0.0.0/24}",
			"9.0.0.0/24:256 203.0.113.0/24:256 2001:db8::/128:1"},
		{"a short IPv6 mask", "{prefix: \"2001:db8::/122\", exclude: [\"2001:db8::/124\"]}", "2001:db8::/122:48"},
		{"listed IPv6 addresses", "{prefix: \"2001:db8::/32\", addresses: [\"2001:db8:1::1\", \"2001:db8::1\"]}", "2001:db8::/32:2"},
		{"listed IPv4 addresses", "{prefix: 198.18.0.0/16, addresses: [198.18.7.1, 198.18.1.1, 198.18.7.0]}", "198.18.1.0/24:1 198.18.7.0/24:2"},
		{"the last addresses of a block", "{prefix: 192.0.2.0/24, exclude: [192.0.2.0/25, 192.0.2.128/26, 192.0.2.192/27]}", "192.0.2.0/24:32"},
		{"exclusions within exclusions", "{prefix: 192.0.2.0/24, exclude: [192.0.2.1, 192.0.2.0/25, 192.0.2.127]}", "192.0.2.0/24:128"},
		{"link-local addresses with an interface", "{prefix: \"fe80::/124\", interface: eth0}", "fe80::/124:16"},
		{"the unspecified address is excluded", "{prefix: \"::/124\", exclude: [\"::\"]}", "::/124:15"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := parse(t, "prefixes:\n  - "+tt.text+"\n")
			var got []string
			for _, b := range c.Blocks {
				got = append(got, fmt.Sprintf("%s:%d", b.Prefix, len(b.Targets)))
			}
			if diff := cmp.Diff(tt.want, strings.Join(got, " ")); diff != "" {
				t.Errorf("blocks (-want +got):\n%s", diff)
			}
			checkInvariants(t, c)
		})
	}
}

func TestEntriesOfOneBlockDescribeItTogether(t *testing.T) {
	c := parse(t, `prefixes:
  - {prefix: 192.0.2.128/25, name: PAR-1, tcp: off, labels: {site: x}, tenants: [b, a], names: {192.0.2.200: web}}
  - {prefix: 192.0.2.0/26, router: PA2, labels: {site: x}, tenants: [a, b], trace: {addresses: [192.0.2.200, 192.0.2.1]}}
  - {prefix: 192.0.2.64/26, icmp: {interval: 10s}, histograms: {per_address: classic}}
`)
	if len(c.Blocks) != 1 || len(c.Blocks[0].Targets) != 256 {
		t.Fatalf("want one block of 256, got %v", c.Blocks)
	}
	b := c.Blocks[0]
	got := fmt.Sprintf("%s %s %v %v %s %v %d", b.Name, b.Router, b.Labels, b.Tenants, b.PerAddress, b.Trace.Addresses, len(b.Buckets))
	if want := "PAR-1 PA2 [{site x}] [a b] classic [192.0.2.1 192.0.2.200] 22"; got != want {
		t.Errorf("want %s, got %s", want, got)
	}
	if b.Settings[0] != b.Settings[63] || b.Settings[63] == b.Settings[64] || b.Settings[128] != b.Settings[255] {
		t.Error("settings must be shared by the targets of one entry, and by no others")
	}
	if b.Settings[64].ICMP.Interval != 10*time.Second || b.Settings[128].TCP != nil || b.Settings[0].TCP == nil {
		t.Error("each entry must keep its own settings")
	}
	if b.Targets[200].Name != "web" {
		t.Errorf("want the name web, got %q", b.Targets[200].Name)
	}
}

func TestTracedAddressesGoToTheirBlocks(t *testing.T) {
	c := parse(t, "prefixes: [{prefix: 198.18.0.0/23, trace: {addresses: [198.18.1.9, 198.18.1.3]}}]\n")
	want := []netip.Addr{netip.MustParseAddr("198.18.1.3"), netip.MustParseAddr("198.18.1.9")}
	if diff := cmp.Diff(want, c.Blocks[1].Trace.Addresses, comparing); diff != "" {
		t.Errorf("second block (-want +got):\n%s", diff)
	}
	if len(c.Blocks[0].Trace.Addresses) != 0 {
		t.Errorf("first block: want none, got %v", c.Blocks[0].Trace.Addresses)
	}
}

func TestPortOfATrace(t *testing.T) {
	for protocol, want := range map[string]uint16{"icmp": 0, "tcp": 80, "udp": 33434} {
		c := parse(t, "prefixes: [{prefix: 192.0.2.0/24, trace: {protocol: "+protocol+"}}]\n")
		if got := c.Blocks[0].Trace.Port; got != want {
			t.Errorf("%s: want port %d, got %d", protocol, want, got)
		}
	}
}

func TestDefaultProbesTheLoopback(t *testing.T) {
	c := Default()
	cost := c.Cost()
	if len(c.Blocks) != 1 || c.Blocks[0].Prefix.String() != "127.0.0.0/24" || cost.Addresses != 256 || cost.Total().PacketsPerSecond != 256 {
		t.Errorf("want 256 addresses at one echo a second, got %v", cost)
	}
	checkInvariants(t, c)
}

func TestPrefixFiles(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) string {
		t.Helper()
		path := filepath.Join(dir, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		return path
	}
	b := write("d/b.yml", "- prefix: 198.51.100.0/24\n")
	a := write("d/a.yml", "- prefix: 192.0.2.0/24\n")
	empty := write("d/c.yml", "[]\n")
	write("d/other.txt", "not: read\n")
	main := write("main.yml", "defaults: {icmp: {ttl: 9}}\nprefix_files: ['d/*.yml', d/b.yml, 'absent/*.yml']\n")

	c, err := Load(main)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{main, a, b, empty}, c.Files); diff != "" {
		t.Errorf("files (-want +got):\n%s", diff)
	}
	if len(c.Blocks) != 2 || c.Blocks[1].Settings[0].ICMP.TTL != 9 {
		t.Errorf("want two blocks with the defaults of the main file, got %v", c.Blocks)
	}

	none := write("none.yml", "prefix_files: ['absent/*.yml']\n")
	if c, err := Load(none); err != nil || len(c.Blocks) != 0 {
		t.Errorf("a pattern may match nothing, got %v, %v", c, err)
	}
	absolute := write("absolute.yml", "prefix_files: ['"+a+"']\n")
	if _, err := Load(absolute); err != nil {
		t.Errorf("an absolute path: %v", err)
	}
	for _, path := range []string{a, "../x.yml", "d/../../x.yml"} {
		_, err := Parse(main, []byte("prefix_files: ['"+path+"']\n"))
		if err == nil || !strings.Contains(err.Error(), "must be inside the folder") {
			t.Errorf("Parse must not leave the folder for %s, got %v", path, err)
		}
	}
}

func TestFilesThatCannotBeRead(t *testing.T) {
	_, err := Load(filepath.Join(t.TempDir(), "absent.yml"))
	if !errors.Is(err, os.ErrNotExist) {
		t.Errorf("want a wrapped os.ErrNotExist, got %v", err)
	}
	large := strings.Repeat("# nothing\n", maxFileSize/10+1)
	_, err = Parse("large.yml", []byte(large))
	if want := "large.yml:1: file is too large: must have at most 4194304 bytes, further prefixes go into prefix_files"; err == nil || err.Error() != want {
		t.Errorf("want %s, got %v", want, err)
	}
}

func TestErrorsAreFoundInErrors(t *testing.T) {
	_, err := Parse("x.yml", []byte("prefixes:\n  - prefix: 192.0.2.0/33\n"))
	var one Error
	if !errors.As(err, &one) {
		t.Fatalf("want an Error, got %v", err)
	}
	want := Error{File: "x.yml", Line: 2, Column: 13, Path: "prefixes[0].prefix", Value: "192.0.2.0/33", Message: "mask must be between 8 and 32"}
	if diff := cmp.Diff(want, one); diff != "" {
		t.Errorf("error (-want +got):\n%s", diff)
	}
}

func TestHopelessFilesStayBounded(t *testing.T) {
	t.Run("many mistakes", func(t *testing.T) {
		_, err := Parse("x.yml", []byte("prefixes:\n"+strings.Repeat("  - 7\n", 2*maxErrors)))
		var errs Errors
		if !errors.As(err, &errs) || len(errs) != maxErrors+1 || !strings.HasSuffix(err.Error(), ": stopped after 50 mistakes: there may be more") {
			t.Errorf("want %d errors, got %d", maxErrors+1, len(errs))
		}
	})
	t.Run("aliases that multiply", func(t *testing.T) {
		var names strings.Builder
		for i := range 20_000 {
			fmt.Fprintf(&names, "%d: x, ", i)
		}
		text := "prefixes:\n  - names: &n {" + names.String() + "}\n" + strings.Repeat("  - names: *n\n", 400)
		_, err := Parse("x.yml", []byte(text))
		if want := "the aliases expand to more than 200000 values: must be fewer"; err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("want %s, got %.1000v", want, err)
		}
	})
	t.Run("a value of a megabyte", func(t *testing.T) {
		_, err := Parse("x.yml", []byte("prefixes:\n  - prefix: "+strings.Repeat("é", 1<<19)+"\n"))
		if err == nil || len(err.Error()) > 300 {
			t.Errorf("want a short error, got %.400v", err)
		}
	})
	t.Run("a file name with a line feed", func(t *testing.T) {
		_, err := Parse("a\nb.yml", []byte("prefixes: 7\n"))
		if err == nil || strings.Contains(err.Error(), "\n") {
			t.Errorf("want one line, got %q", err)
		}
	})
}
