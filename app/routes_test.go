package app

import (
	"net/netip"
	"testing"
	"time"

	"prefix_exporter/prefix"
)

func TestDestinationOfARoute(t *testing.T) {
	const lines = "prefixes:\n  - {prefix: 192.0.2.0/30, tcp: off, icmp: {down_after: 1}}\n"
	for name, test := range map[string]struct {
		up, down      []string
		current, want string
	}{
		"nobody has ever answered":                                {},
		"the lowest address that answers":                         {up: []string{"192.0.2.2", "192.0.2.1"}, want: "192.0.2.1"},
		"the same one as before, as long as it answers":           {up: []string{"192.0.2.2", "192.0.2.1"}, current: "192.0.2.2", want: "192.0.2.2"},
		"another one when it does not":                            {up: []string{"192.0.2.3"}, down: []string{"192.0.2.1"}, current: "192.0.2.1", want: "192.0.2.3"},
		"the same one when nobody answers any more":               {down: []string{"192.0.2.1", "192.0.2.2"}, current: "192.0.2.2", want: "192.0.2.2"},
		"after a restart into an outage, the lowest known":        {down: []string{"192.0.2.2", "192.0.2.3"}, want: "192.0.2.2"},
		"after a reload, another one for one that is no target":   {up: []string{"192.0.2.2"}, current: "192.0.2.77", want: "192.0.2.2"},
		"after a reload into an outage, no one that is no target": {down: []string{"192.0.2.2"}, current: "192.0.2.77", want: "192.0.2.2"},
	} {
		t.Run(name, func(t *testing.T) {
			table := prefix.NewTable(nil)
			table.Apply(blocksOf(parse(t, lines)))
			record := func(addr string, o prefix.Outcome) {
				h, _ := table.Handle(netip.MustParseAddr(addr), prefix.Probe{})
				table.Record(h, time.Now(), o, time.Millisecond)
			}
			for _, addr := range append(test.up, test.down...) {
				record(addr, prefix.Answered)
			}
			for _, addr := range test.down {
				record(addr, prefix.Timeout)
			}
			var current, want netip.Addr
			if test.current != "" {
				current = netip.MustParseAddr(test.current)
			}
			if test.want != "" {
				want = netip.MustParseAddr(test.want)
			}
			if got := destination(table, netip.MustParsePrefix("192.0.2.0/24"), current); got != want {
				t.Errorf("got %v, want %v", got, want)
			}
		})
	}
}
