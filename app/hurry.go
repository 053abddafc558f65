package app

import (
	"net/netip"

	"prefix_exporter/prefix"
)

// hurry asks for the routes of prefixes that have just gone down: by the time that somebody is told, the cause
// should say behind which router.
type hurry struct {
	table *prefix.Table
	trace func(netip.Prefix)
}

// follow takes a batch of changes of state.
func (h *hurry) follow(changes []prefix.Change) {
	var last netip.Prefix
	for i := range changes {
		c := &changes[i]
		if c.To != prefix.Down || c.Probe.Kind != prefix.ICMP || c.Prefix == last {
			continue
		}
		last = c.Prefix // the changes of one outage stand together; asking again costs little
		if h.mostlyDown(c.Prefix) {
			h.trace(c.Prefix)
		}
	}
}

// mostlyDown says whether more addresses of a prefix are down than up.
func (h *hurry) mostlyDown(p netip.Prefix) bool {
	up, down := 0, 0
	for _, state := range h.table.States(p, prefix.Probe{Kind: prefix.ICMP}) {
		switch state {
		case prefix.Up:
			up++
		case prefix.Down:
			down++
		case prefix.Dark, prefix.Unknown:
		}
	}
	return down > up
}
