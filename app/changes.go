package app

import (
	"context"
	"errors"
	"time"

	"github.com/go-kit/log"
	"github.com/go-kit/log/level"

	"prefix_exporter/event"
	"prefix_exporter/prefix"
)

// How many changes of state are logged one by one in a second. The rest of the second
// is summed up in one line.
const (
	// changesPerSecond bounds what happens to known addresses: an outage of everything
	// would otherwise be 10,240 lines at once. 300 a second stay below the 10,000 in 30 s
	// from which on systemd-journald drops lines by default (journald.conf(5), RateLimitBurst).
	changesPerSecond = 300
	// discoveriesPerSecond bounds the lines about addresses that answer for the first
	// time. One of them is news, all of them at once are just the start.
	discoveriesPerSecond = 10
)

// newEvent tells of a change in the words of the outside.
func newEvent(c prefix.Change) event.Event {
	detail := c.Cause.Outcome.String()
	if c.To == prefix.Unknown {
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

// changeLogger logs what the event log tells it.
type changeLogger struct {
	log log.Logger
	sub *event.Subscription

	second               time.Time // when the second began that is counted now
	changes, discoveries int       // lines in this second
	leftOut              map[string]int
	missed               uint64
}

// run logs until the event log is closed or the context ends. It returns nil.
func (c *changeLogger) run(ctx context.Context) error {
	defer c.sub.Close()
	c.leftOut = map[string]int{}
	var events [64]event.Event // as many as are worth one lock
	for {
		n, missed, err := c.read(ctx, events[:])
		c.missed += missed
		if now := time.Now(); now.Sub(c.second) >= time.Second || err != nil {
			c.sumUp()
			c.second, c.changes, c.discoveries = now, 0, 0
		}
		if err != nil && (ctx.Err() != nil || !errors.Is(err, context.DeadlineExceeded)) {
			return nil
		}
		for i := range events[:n] {
			c.change(&events[i])
		}
	}
}

// read waits for events, not beyond the end of a second that has to be summed up.
func (c *changeLogger) read(ctx context.Context, events []event.Event) (n int, missed uint64, err error) {
	if len(c.leftOut) > 0 || c.missed > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithDeadline(ctx, c.second.Add(time.Second))
		defer cancel()
	}
	return c.sub.Read(ctx, events)
}

func (c *changeLogger) change(e *event.Event) {
	lines, limit := &c.changes, changesPerSecond
	if e.From == prefix.Dark.String() {
		lines, limit = &c.discoveries, discoveriesPerSecond
	}
	if *lines++; *lines > limit {
		c.leftOut[e.Type]++
		return
	}
	line := []any{"msg", "State changed", "target_id", e.TargetID, "ip", e.IP, "prefix", e.Prefix}
	why := "outcome"
	if e.Type == event.TypeRoute {
		line[1], why = "Route changed", "detail"
	} else {
		line = append(line, "probe", e.Probe)
	}
	if e.Port != 0 {
		line = append(line, "port", e.Port)
	}
	line = append(line, "from", e.From, "to", e.To, why, e.Detail, "at", e.Time.UTC().Format(timeFormat), "event", e.ID)
	level.Info(c.log).Log(line...)
}

// sumUp tells in one line what was not logged.
func (c *changeLogger) sumUp() {
	if len(c.leftOut) == 0 && c.missed == 0 {
		return
	}
	sum := int(c.missed)
	for _, n := range c.leftOut {
		sum += n
	}
	level.Info(c.log).Log("msg", "Changes of state not logged one by one", "changes", sum,
		event.TypeUp, c.leftOut[event.TypeUp], event.TypeDown, c.leftOut[event.TypeDown],
		event.TypeDark, c.leftOut[event.TypeDark], event.TypeRoute, c.leftOut[event.TypeRoute], "missed", c.missed)
	clear(c.leftOut)
	c.missed = 0
}
