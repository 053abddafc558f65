package app

import (
	"time"

	"prefix_exporter/event"
	"prefix_exporter/prefix"
	"prefix_exporter/route"
)

// newEvent tells of a change in the words of the outside.
func newEvent(c prefix.Change) event.Event {
	detail := c.Cause.Outcome.String()
	if c.To == prefix.Unknown || c.Obstacle != "" {
		detail = c.Obstacle
	}
	return event.Event{
		Time:     c.At,
		Type:     c.To.String(),
		Prefix:   c.Prefix,
		IP:       c.Addr,
		TargetID: prefix.TargetID(c.Addr),
		Probe:    c.Probe.Kind.String(),
		Port:     c.Probe.Port,
		From:     c.From.String(),
		To:       c.To.String(),
		Detail:   detail,
		Cause:    c.Cause.Detail(),
		By:       c.Cause.By,
	}
}

// firstEventID numbers the events of this run above those of the last one, so that a
// client which was cut off by a restart can ask for what came after an ID: a million
// a second fit in between. In JavaScript all of them are exact until the year 2255.
func firstEventID(start time.Time) uint64 { return uint64(max(start.UnixMicro(), 1)) }

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
