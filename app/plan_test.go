package app

import (
	"net/netip"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"prefix_exporter/config"
	"prefix_exporter/prefix"
	"prefix_exporter/probe"
)

var byValue = cmpopts.EquateComparable(netip.Addr{}, netip.Prefix{}, prefix.Handle{})

func parse(t *testing.T, text string) *config.Config {
	t.Helper()
	c, err := config.Parse("test.yml", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestBlocksOf(t *testing.T) {
	c := parse(t, `
prefixes:
  - {prefix: 192.0.2.0/31, name: PAR-1, router: PA2, tcp: {ports: [80]}, names: {192.0.2.1: mail}}
  - {prefix: "2001:db8::/127", tcp: off}
`)
	blocks := blocksOf(c)
	icmp := []prefix.Probe{{Kind: prefix.ICMP}}
	both := []prefix.Probe{{Kind: prefix.ICMP}, {Kind: prefix.TCP, Port: 80}}
	want := map[string][]prefix.Probe{"192.0.2.0": both, "192.0.2.1": both, "2001:db8::": icmp, "2001:db8::1": icmp}
	got := map[string][]prefix.Probe{}
	for _, b := range blocks {
		for _, target := range b.Targets {
			for _, p := range target.Probes {
				got[target.Addr.String()] = append(got[target.Addr.String()], p.Probe)
			}
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("probes: %s", diff)
	}
	if b := blocks[0]; b.Name != "PAR-1" || b.Router != "PA2" || b.Targets[1].Name != "mail" {
		t.Errorf("description: %+v", b)
	}
	if got := len(c.Blocks[0].Targets[0].Probes); got != 2 {
		t.Errorf("the configuration itself has changed: %d probes", got)
	}
	blocks[0].Targets[0].Name = "changed"
	if c.Blocks[0].Targets[0].Name != "" {
		t.Error("the configuration shares memory with the table")
	}
}

func TestTargetsOf(t *testing.T) {
	c := parse(t, `
defaults: {icmp: {interval: 2s, timeout: 500ms}}
prefixes:
  - {prefix: 192.0.2.0/31, tcp: off, source: 198.51.100.1, interface: eth0, icmp: {size: 100, ttl: 9, tos: 32}}
  - {prefix: 203.0.113.7/32, tcp: {ports: [443, 80], interval: 10s, timeout: 1s, close: orderly}}
`)
	table := prefix.NewTable(nil)
	table.Apply(blocksOf(c)[:1])
	list := targetsOf(c, table)
	target := func(addr string) probe.Target {
		a := netip.MustParseAddr(addr)
		h, _ := table.Handle(a, prefix.Probe{})
		return probe.Target{
			Addr: a, ID: prefix.TargetID(a), Handle: h, Interval: 2 * time.Second, Timeout: 500 * time.Millisecond,
			Size: 100, TTL: 9, TOS: 32, Source: netip.MustParseAddr("198.51.100.1"), Interface: "eth0",
			Where: "192.0.2.0/31 (test.yml:4)",
		}
	}
	third := netip.MustParseAddr("203.0.113.7")
	want := []probe.Target{target("192.0.2.0"), target("192.0.2.1"), {
		Addr: third, ID: prefix.TargetID(third), Interval: 2 * time.Second, Timeout: 500 * time.Millisecond, Size: 56, TTL: 64,
	}}
	if diff := cmp.Diff(want, list.icmp, byValue); diff != "" {
		t.Error(diff)
	}
	port := probe.TCPTarget{
		Addr: third, Port: 80, ID: prefix.TargetID(third), Interval: 10 * time.Second, Timeout: time.Second, OrderlyClose: true,
	}
	ports := []probe.TCPTarget{port, port}
	ports[1].Port = 443
	if diff := cmp.Diff(ports, list.tcp, byValue); diff != "" {
		t.Error(diff)
	}
	table.Apply(blocksOf(c))
	if all := targetsOf(c, table); all.icmp[2].Handle == (prefix.Handle{}) || all.tcp[1].Handle == (prefix.Handle{}) {
		t.Error("no handle, although all addresses have a slot")
	}
}
