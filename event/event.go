// Package event is a bounded log of what changed: the newest events are kept for
// those who ask later, and whoever subscribes is told of each as it happens. A
// reader that is too slow misses events and is told how many; nobody ever waits for it.
package event

import (
	"net/netip"
	"slices"
	"time"
)

// The types of events.
const (
	TypeUp   = "up"   // an address answers
	TypeDown = "down" // an address that was known stopped answering
	TypeDark = "dark" // an address was silent for so long that nothing is expected of it any more
	// TypeUnknown is an address of which nothing has been measured for so long that
	// what was believed of it is too old to be shown.
	TypeUnknown = "unknown"

	TypeRoute = "route" // the route to an address has changed
)

// types are all types, so that each has its counter from the start.
var types = []string{TypeUp, TypeDown, TypeDark, TypeUnknown, TypeRoute}

// Types returns all types of events, in the order of the documentation.
func Types() []string { return slices.Clone(types) }

// Event is one change. The zero value of a field that does not apply is left out of
// its JSON form.
type Event struct {
	// ID grows by one from event to event; Publish sets it.
	ID   uint64    `json:"id"`
	Time time.Time `json:"time"`
	Type string    `json:"type"`
	// Prefix and IP say where.
	Prefix netip.Prefix `json:"prefix,omitzero"`
	IP     netip.Addr   `json:"ip,omitzero"`
	// TargetID is the identity of IP in metrics, logs and alerts.
	TargetID string `json:"target_id,omitempty"`
	// Probe is icmp or tcp; Port is set for tcp only.
	Probe string `json:"probe,omitempty"`
	Port  uint16 `json:"port,omitempty"`
	// From and To are the states, or the paths of a route, before and after.
	From string `json:"from,omitempty"`
	To   string `json:"to,omitempty"`
	// Detail is what decided: the outcome of the last probe, say, or why there was none.
	Detail string `json:"detail,omitempty"`
	// Cause says more of a loss in words, such as "net unreachable", and By who says so: the
	// sender of an ICMP error.
	Cause string     `json:"cause,omitempty"`
	By    netip.Addr `json:"by,omitzero"`
}
