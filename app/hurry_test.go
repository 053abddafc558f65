package app

import (
	"net/netip"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"prefix_exporter/prefix"
)

func TestThePathOfAPrefixThatGoesDownIsTracedAtOnce(t *testing.T) {
	first, second := netip.MustParsePrefix("192.0.2.0/24"), netip.MustParsePrefix("198.51.100.0/24")
	rule := prefix.TargetProbe{DownAfter: 1, UpAfter: 1, Expect: prefix.ExpectAll}
	block := func(p netip.Prefix) prefix.Block {
		b := prefix.Block{Prefix: p}
		for a := range 3 {
			octets := p.Addr().As4()
			octets[3] = byte(a)
			b.Targets = append(b.Targets, prefix.Target{Addr: netip.AddrFrom4(octets), Probes: []prefix.TargetProbe{rule}})
		}
		return b
	}
	var changes []prefix.Change
	table := prefix.NewTable(func(c prefix.Change) { changes = append(changes, c) })
	table.Apply([]prefix.Block{block(first), block(second)})
	var asked []string
	h := &hurry{table: table, trace: func(p netip.Prefix) { asked = append(asked, p.String()) }}
	record := func(o prefix.Outcome, addrs ...string) {
		for _, a := range addrs {
			handle, ok := table.Handle(netip.MustParseAddr(a), prefix.Probe{})
			if !ok {
				t.Fatal(a)
			}
			table.Record(handle, time.Now(), o, 0)
		}
		h.follow(changes)
		changes = nil
	}
	record(prefix.Answered, "192.0.2.0", "192.0.2.1", "192.0.2.2", "198.51.100.0", "198.51.100.1", "198.51.100.2")
	record(prefix.Timeout, "192.0.2.0") // one of three
	if asked != nil {
		t.Errorf("asked for %v before most of it is down", asked)
	}
	record(prefix.Timeout, "192.0.2.1", "198.51.100.0", "198.51.100.1", "198.51.100.2")
	if diff := cmp.Diff([]string{"192.0.2.0/24", "198.51.100.0/24"}, asked); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
