package app

import (
	"net/netip"
	"time"

	"prefix_exporter/event"
	"prefix_exporter/prefix"
	"prefix_exporter/route"
)

// settle is how long nothing is traced at first, so that all addresses of a block have
// had the time to answer: the default interval of echo requests, their timeout, and one more.
const settle = 3 * time.Second

// destination implements probe.TraceOptions.
func (a *app) destination(p netip.Prefix, current netip.Addr) netip.Addr {
	if time.Since(a.began) < settle {
		return netip.Addr{}
	}
	return destination(a.table, p, current)
}

// destination chooses the address to which the route of a block is traced: the lowest
// one that answers, and then the same one for as long as it does, so that one host that comes
// and goes is no other route. When nobody answers any more the last one stays, since where
// its route ends now is the question then; after a restart it is the lowest one that is
// known. The zero Addr: nobody has ever answered.
func destination(table *prefix.Table, p netip.Prefix, current netip.Addr) netip.Addr {
	var up, known netip.Addr
	stays := false // current is still a target
	for addr, state := range table.States(p, prefix.Probe{Kind: prefix.ICMP}) {
		stays = stays || addr == current
		switch {
		case state == prefix.Up && addr == current:
			return current
		case state == prefix.Up && lower(addr, up):
			up = addr
		case state == prefix.Down && lower(addr, known):
			known = addr
		}
	}
	switch {
	case up.IsValid():
		return up
	case stays:
		return current
	}
	return known
}

// lower says whether an address comes before the one that was found until now, if any.
func lower(addr, found netip.Addr) bool { return !found.IsValid() || addr.Less(found) }

// newRouteEvent tells of a change of a route in the words of the outside.
func newRouteEvent(c route.Change) event.Event {
	return event.Event{
		Time:     c.At,
		Type:     event.TypeRoute,
		Prefix:   c.Prefix,
		IP:       c.Dst,
		TargetID: prefix.TargetID(c.Dst),
		From:     c.Old.String(),
		To:       c.New.String(),
		Detail:   c.String(),
	}
}
