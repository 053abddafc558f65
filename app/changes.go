package app

import (
	"context"
	"errors"
	"net/netip"
	"slices"
	"time"

	"github.com/go-kit/log"
	"github.com/go-kit/log/level"

	"prefix_exporter/event"
	"prefix_exporter/prefix"
)

// How changes of state are logged: the values of --log.changes.
const (
	LogChangesNone    = "none"    // not at all
	LogChangesPrefix  = "prefix"  // what happens to the addresses of a prefix within moments is one line
	LogChangesAddress = "address" // each address is a line, up to a number a second
)

// LogChanges are the ways to log changes of state.
var LogChanges = []string{LogChangesNone, LogChangesPrefix, LogChangesAddress}

// changeLogger logs what the event log tells it, in one of two ways.
type changeLogger struct {
	sub *event.Subscription
	way changeLog
}

// changeLog turns changes into lines.
type changeLog interface {
	// add takes one change.
	add(now time.Time, e *event.Event)
	// flush writes what is due, or all of it if that is the end. missed is how many changes nobody has seen.
	flush(now time.Time, missed uint64, end bool)
	// next is when flush is to be called at the latest; the zero Time: there is nothing.
	next() time.Time
}

func newChangeLogger(l log.Logger, sub *event.Subscription, way string) *changeLogger {
	if way == LogChangesAddress {
		return &changeLogger{sub, &addressLog{log: l, leftOut: map[string]int{}}}
	}
	return &changeLogger{sub, &prefixLog{log: l, groups: map[groupKey]*changeGroup{}}}
}

// run logs until the event log is closed or the context ends. It returns nil.
func (c *changeLogger) run(ctx context.Context) error {
	defer c.sub.Close()
	var events [64]event.Event // as many as are worth one lock
	for {
		n, missed, err := c.read(ctx, events[:])
		end := err != nil && (ctx.Err() != nil || !errors.Is(err, context.DeadlineExceeded))
		now := time.Now()
		c.way.flush(now, missed, end)
		if end {
			return nil
		}
		for i := range events[:n] {
			c.way.add(now, &events[i])
		}
	}
}

// read waits for events, not beyond the moment at which something is to be written.
func (c *changeLogger) read(ctx context.Context, events []event.Event) (n int, missed uint64, err error) {
	if next := c.way.next(); !next.IsZero() {
		var cancel context.CancelFunc
		ctx, cancel = context.WithDeadline(ctx, next)
		defer cancel()
	}
	return c.sub.Read(ctx, events)
}

// logChange writes one change of an address or a route.
func logChange(l log.Logger, e *event.Event) {
	line := []any{"msg", "State changed", "target_id", e.TargetID, "ip", e.IP, "prefix", e.Prefix}
	why := "outcome"
	switch e.Type {
	case event.TypeRoute:
		line[1], why = "Route changed", "detail"
	case event.TypeUnknown:
		why = "obstacle"
		fallthrough
	default:
		line = append(line, "probe", e.Probe)
	}
	if e.Port != 0 {
		line = append(line, "port", e.Port)
	}
	line = append(line, "from", e.From, "to", e.To, why, e.Detail)
	if e.By.IsValid() {
		line = append(line, "cause", e.Cause, "by", e.By)
	}
	level.Info(l).Log(append(line, "at", e.Time.UTC().Format(timeFormat), "event", e.ID)...)
}

// isDiscovery says whether an address that was dark has answered.
func isDiscovery(e *event.Event) bool {
	return e.From == prefix.Dark.String() && e.Type == event.TypeUp
}

// How many changes of state addressLog writes one by one in a second. The rest of the second
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

// addressLog writes a line for each change.
type addressLog struct {
	log log.Logger

	second               time.Time // when the second began that is counted now
	changes, discoveries int       // lines in this second
	leftOut              map[string]int
	missed               uint64
}

func (a *addressLog) add(_ time.Time, e *event.Event) {
	lines, limit := &a.changes, changesPerSecond
	if isDiscovery(e) {
		lines, limit = &a.discoveries, discoveriesPerSecond
	}
	if *lines++; *lines > limit {
		a.leftOut[e.Type]++
		return
	}
	logChange(a.log, e)
}

func (a *addressLog) flush(now time.Time, missed uint64, end bool) {
	a.missed += missed
	if now.Sub(a.second) >= time.Second || end {
		a.sumUp()
		a.second, a.changes, a.discoveries = now, 0, 0
	}
}

func (a *addressLog) next() time.Time {
	if len(a.leftOut) == 0 && a.missed == 0 {
		return time.Time{}
	}
	return a.second.Add(time.Second)
}

// sumUp tells in one line what was not logged.
func (a *addressLog) sumUp() {
	if len(a.leftOut) == 0 && a.missed == 0 {
		return
	}
	sum := int(a.missed)
	for _, n := range a.leftOut {
		sum += n
	}
	line := []any{"msg", "Changes of state not logged one by one", "changes", sum}
	for _, kind := range event.Types() {
		line = append(line, kind, a.leftOut[kind])
	}
	level.Info(a.log).Log(append(line, "missed", a.missed)...)
	clear(a.leftOut)
	a.missed = 0
}

// For how long prefixLog collects the changes of one kind of the addresses of a prefix. All of a /24
// that goes down does so within an interval.
const (
	// quietAfter is how long after the last of them the line is written, and collectFor how long after the first
	// at the latest.
	quietAfter = time.Second
	collectFor = 5 * time.Second
	// quietDiscoveries and discoverFor are the same for addresses that answer for the first time: after a start
	// that is all of them, of TCP one after the other within its interval, a minute by default.
	quietDiscoveries = 5 * time.Second
	discoverFor      = 65 * time.Second
)

// prefixLog writes one line for what happens to the addresses of a prefix at once.
type prefixLog struct {
	log    log.Logger
	groups map[groupKey]*changeGroup
	order  []*changeGroup // as they began
	missed uint64
}

// groupKey is what changes in one line have in common. Discoveries of all ports are one line.
type groupKey struct {
	prefix, probe, from, to string
	port                    uint16
}

type changeGroup struct {
	key         groupKey
	first       event.Event
	changes     int
	addresses   map[netip.Addr]bool // one that flaps, or has several ports, is in it once
	begun, last time.Time
	why         map[string]int // cause, or obstacle, and how many have it
}

func (p *prefixLog) add(now time.Time, e *event.Event) {
	if e.Type == event.TypeRoute {
		logChange(p.log, e)
		return
	}
	k := groupKey{e.Prefix.String(), e.Probe, e.From, e.To, e.Port}
	if isDiscovery(e) {
		k.port = 0
	}
	g := p.groups[k]
	if g == nil {
		g = &changeGroup{key: k, first: *e, begun: now, addresses: map[netip.Addr]bool{}, why: map[string]int{}}
		p.groups[k] = g
		p.order = append(p.order, g)
	}
	g.changes++
	g.addresses[e.IP] = true
	g.last = now
	g.why[whyOf(e)]++
}

// whyOf is why a state has changed, and who says so.
func whyOf(e *event.Event) string {
	switch {
	case e.By.IsValid():
		return e.Cause + ", says " + e.By.String()
	case e.Cause != "":
		return e.Cause
	}
	return e.Detail
}

// due is when the line of a group is to be written.
func (g *changeGroup) due() time.Time {
	quiet, longest := quietAfter, collectFor
	if isDiscovery(&g.first) {
		quiet, longest = quietDiscoveries, discoverFor
	}
	due := g.last.Add(quiet)
	if last := g.begun.Add(longest); last.Before(due) {
		return last
	}
	return due
}

func (p *prefixLog) flush(now time.Time, missed uint64, end bool) {
	p.missed += missed
	p.order = slices.DeleteFunc(p.order, func(g *changeGroup) bool {
		if !end && g.due().After(now) {
			return false
		}
		p.write(g)
		delete(p.groups, g.key)
		return true
	})
	if p.missed > 0 {
		level.Info(p.log).Log("msg", "Changes of state that are not logged, there were too many at once", "missed", p.missed)
		p.missed = 0
	}
}

func (p *prefixLog) next() (at time.Time) {
	for _, g := range p.order {
		if due := g.due(); at.IsZero() || due.Before(at) {
			at = due
		}
	}
	return at
}

func (p *prefixLog) write(g *changeGroup) {
	e := &g.first
	if g.changes == 1 {
		logChange(p.log, e)
		return
	}
	n := len(g.addresses)
	if isDiscovery(e) {
		level.Info(p.log).Log("msg", "Addresses answer for the first time", "prefix", e.Prefix, "probe", e.Probe, "addresses", n)
		return
	}
	line := []any{"msg", "Addresses changed state", "prefix", e.Prefix, "probe", e.Probe}
	if e.Port != 0 {
		line = append(line, "port", e.Port)
	}
	line = append(line, "from", e.From, "to", e.To, "addresses", n)
	if why := g.most(); why != "" && e.Type != event.TypeUp {
		line = append(line, "cause", why)
	}
	level.Info(p.log).Log(append(line, "at", e.Time.UTC().Format(timeFormat), "event", e.ID)...)
}

// most is the cause that most of a group have; the first one in the alphabet of several.
func (g *changeGroup) most() (why string) {
	n := 0
	for text, count := range g.why {
		if count > n || count == n && text < why {
			why, n = text, count
		}
	}
	return why
}
