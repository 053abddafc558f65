package app

import (
	"fmt"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"prefix_exporter/prefix"
)

// chooser is a block with its addresses, and a clock.
type chooser struct {
	*destinations
	t      *testing.T
	clock  time.Time
	prefix netip.Prefix
}

func newChooser(t *testing.T, text string) *chooser {
	table := prefix.NewTable(nil)
	c := &chooser{t: t, clock: time.Unix(1_000_000, 0), prefix: netip.MustParsePrefix("192.0.2.0/24")}
	c.destinations = newDestinations(table, func() time.Time { return c.clock })
	c.reload(text)
	return c
}

func (c *chooser) reload(text string) {
	conf := parse(c.t, text)
	c.table.Apply(blocksOf(conf))
	c.apply(targetsOf(conf, c.table))
}

func (c *chooser) record(o prefix.Outcome, addrs ...string) {
	for _, addr := range addrs {
		h, _ := c.table.Handle(netip.MustParseAddr(addr), prefix.Probe{})
		c.table.Record(h, c.clock, o, time.Millisecond)
	}
}

// rounds returns what is chosen in so many rounds, the first of which comes from current.
func (c *chooser) rounds(current string, n int) (chosen []string) {
	var addr netip.Addr
	if current != "" {
		addr = netip.MustParseAddr(current)
	}
	for range n {
		addr = c.choose(c.prefix, addr)
		chosen = append(chosen, fmt.Sprint(addr))
	}
	return chosen
}

const fourTargets = "prefixes:\n  - {prefix: 192.0.2.0/30, tcp: off, icmp: {interval: 10s, timeout: 2s, down_after: 1}}\n"

func TestDestinationOfARoute(t *testing.T) {
	const none = "invalid IP"
	for name, test := range map[string]struct {
		up, down []string
		current  string
		want     []string // round by round
	}{
		"nobody has ever answered":                          {want: []string{none, none}},
		"the lowest address that answers":                   {up: []string{"192.0.2.2", "192.0.2.1"}, want: []string{"192.0.2.1"}},
		"the same one as before, as long as it answers":     {up: []string{"192.0.2.2", "192.0.2.1"}, current: "192.0.2.2", want: []string{"192.0.2.2", "192.0.2.2"}},
		"the same one for three rounds more, then another":  {up: []string{"192.0.2.3"}, down: []string{"192.0.2.1"}, current: "192.0.2.1", want: []string{"192.0.2.1", "192.0.2.1", "192.0.2.1", "192.0.2.3", "192.0.2.3"}},
		"the same one for ever when nobody answers":         {down: []string{"192.0.2.1", "192.0.2.2"}, current: "192.0.2.2", want: slices.Repeat([]string{"192.0.2.2"}, 9)},
		"after a restart into an outage, the lowest known":  {down: []string{"192.0.2.2", "192.0.2.3"}, want: []string{"192.0.2.2"}},
		"at once another one for one that is no target now": {up: []string{"192.0.2.2"}, current: "192.0.2.77", want: []string{"192.0.2.2"}},
		"no one that is no target now, in an outage either": {down: []string{"192.0.2.2"}, current: "192.0.2.77", want: []string{"192.0.2.2"}},
	} {
		t.Run(name, func(t *testing.T) {
			c := newChooser(t, fourTargets)
			c.clock = c.clock.Add(time.Minute)
			c.record(prefix.Answered, append(test.up, test.down...)...)
			c.record(prefix.Timeout, test.down...)
			if diff := cmp.Diff(test.want, c.rounds(test.current, len(test.want))); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestARouteWaitsUntilAllAddressesHaveHadTheTimeToAnswer(t *testing.T) {
	c := newChooser(t, fourTargets)
	c.record(prefix.Answered, "192.0.2.3") // the first to be asked
	for _, want := range []string{"invalid IP", "192.0.2.0"} {
		if got := c.rounds("", 1)[0]; got != want {
			t.Errorf("got %s, want %s", got, want)
		}
		c.record(prefix.Answered, "192.0.2.0")
		c.clock = c.clock.Add(13 * time.Second)
	}
	// A reload makes nobody wait who has waited, and a prefix that is new wait.
	c.reload(fourTargets + "  - {prefix: 198.51.100.0/30, tcp: off}\n")
	if got := c.rounds("192.0.2.0", 1)[0]; got != "192.0.2.0" {
		t.Errorf("after a reload: %s", got)
	}
	c.record(prefix.Answered, "198.51.100.2")
	c.prefix = netip.MustParsePrefix("198.51.100.0/24")
	if got := c.rounds("", 1)[0]; got != "invalid IP" {
		t.Errorf("a new prefix: %s at once", got)
	}
}

// A destination that goes down before its neighbours do may have been cut off by a change
// of the route: the change is to be seen twice, at the same address, before another one is chosen.
func TestAnOutageThatSpreadsKeepsTheDestination(t *testing.T) {
	c := newChooser(t, fourTargets)
	c.clock = c.clock.Add(time.Minute)
	c.record(prefix.Answered, "192.0.2.0", "192.0.2.1")
	c.record(prefix.Timeout, "192.0.2.0")
	got := c.rounds("192.0.2.0", 1)
	c.record(prefix.Timeout, "192.0.2.1")
	got = append(got, c.rounds(got[0], 5)...)
	if diff := cmp.Diff(slices.Repeat([]string{"192.0.2.0"}, 6), got); diff != "" {
		t.Error(diff)
	}
}
