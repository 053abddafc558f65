package app

import (
	"net/netip"
	"sync"
	"time"

	"prefix_exporter/prefix"
	"prefix_exporter/probe"
)

const (
	// loyalty is for how many rounds an address that is down stays the destination while others
	// answer. A change of the route takes two rounds to be believed, and whatever takes an
	// address down may be just that; its neighbours may only be found down a moment later.
	loyalty = 3
	// maxSettle bounds how long a route waits until all addresses have had the time to answer.
	maxSettle = time.Minute
)

// destinations chooses the addresses to which the routes of blocks are traced: the lowest
// one that answers, and then the same one for as long as it does, so that one host that comes
// and goes is no other route. When nobody answers any more the last one stays, since where
// its route ends now is the question then; after a restart it is the lowest one that is
// known. Addresses with `expect: none` are never up, and so never chosen.
type destinations struct {
	table *prefix.Table
	now   func() time.Time

	mu      sync.Mutex
	choices map[netip.Prefix]*choice
}

// choice is what is remembered of one block.
type choice struct {
	settled time.Time // from when on all addresses have had the time to answer
	silent  int       // rounds in a row in which the destination was down
}

func newDestinations(t *prefix.Table, now func() time.Time) *destinations {
	return &destinations{table: t, now: now, choices: map[netip.Prefix]*choice{}}
}

// apply takes the routes and the addresses of a new configuration. What is there already goes on.
func (d *destinations) apply(list targets) {
	d.mu.Lock()
	defer d.mu.Unlock()
	now := d.now()
	was := d.choices
	d.choices = make(map[netip.Prefix]*choice, len(list.trace))
	for _, t := range list.trace {
		if d.choices[t.Key.Prefix] = was[t.Key.Prefix]; d.choices[t.Key.Prefix] == nil {
			d.choices[t.Key.Prefix] = &choice{settled: now}
		}
	}
	for i := range list.icmp {
		t := &list.icmp[i]
		for p, c := range d.choices {
			if was[p] == nil && p.Contains(t.Addr) {
				c.settled = later(c.settled, now.Add(settleOf(t)))
			}
		}
	}
}

// settleOf is how long an address may take to answer for the first time, and to be recorded.
func settleOf(t *probe.Target) time.Duration {
	return min(t.Interval+t.Timeout+time.Second, maxSettle)
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// choose implements probe.TraceOptions.Destination.
func (d *destinations) choose(p netip.Prefix, current netip.Addr) netip.Addr {
	d.mu.Lock()
	defer d.mu.Unlock()
	c := d.choices[p]
	if c == nil || d.now().Before(c.settled) {
		return netip.Addr{}
	}
	var up, known netip.Addr
	stays := false // current is still a target
	for addr, state := range d.table.States(p, prefix.Probe{Kind: prefix.ICMP}) {
		stays = stays || addr == current
		switch {
		case state == prefix.Up && addr == current:
			c.silent = 0
			return current
		case state == prefix.Up && lower(addr, up):
			up = addr
		case state == prefix.Down && lower(addr, known):
			known = addr
		}
	}
	if stays {
		if c.silent++; !up.IsValid() || c.silent <= loyalty {
			return current
		}
	}
	c.silent = 0
	if up.IsValid() {
		return up
	}
	return known
}

// lower says whether an address comes before the one that was found until now, if any.
func lower(addr, found netip.Addr) bool { return !found.IsValid() || addr.Less(found) }
