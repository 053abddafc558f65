package app

import (
	"prefix_exporter/event"
	"prefix_exporter/prefix"
	"prefix_exporter/route"
)

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
