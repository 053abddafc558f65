package probe

import (
	"net/netip"
	"slices"
)

// rejected finds out what it means that the local system would not make an attempt.
func (c *connector) rejected(e *endpoint, err error) {
	if gone := c.origins.suspect(e.origin, c.clock.now); gone != nil {
		c.absent(e, gone)
		return
	}
	why, err := judgeRefusal(err, false, e.look)
	switch why {
	case refusedNoRoute:
		c.noWay(e)
	case refusedBroadcast:
		e.aside = c.clock.now + int64(asideFor)
		c.report.leaveOut(e.target.Addr)
		c.o.Recorder.LeaveOut(e.target.Handle)
	default:
		c.refused(e, err)
	}
}

// noWay takes an attempt for which this machine has no way to the target.
func (c *connector) noWay(e *endpoint) {
	c.tally.sent++ // its outcome is known
	now := c.clock.monotonic()
	c.reach.deny(denial[*endpoint]{e, e.target.Handle, now, c.clock.at(now), uint16(e.serial + 1)})
}

// unplugged says whether a connection to a target would leave by an interface without carrier.
func (c *connector) unplugged(e *endpoint) bool {
	return c.carriers.lacks(&e.carrier, e.origin.key, e.origin.index, e.target.Addr, c.clock.now)
}

func (e *endpoint) look(broadcast bool) error {
	t := &e.target
	return socketKey{v6: !t.Addr.Is4(), source: t.Source, device: t.Interface}.look(t.Addr, defaultTOS, broadcast)
}

// refused counts an attempt that the local system would not make. It is neither sent nor lost.
func (c *connector) refused(e *endpoint, err error) {
	c.metrics.sendErrors.WithLabelValues(errorName(err)).Inc()
	c.tally.fail(blockOf(e.target.Handle, e.target.Addr), err)
	c.o.Recorder.Unmeasured(e.target.Handle, errorName(err))
	if e.traced != 0 {
		c.trace(e, Packet{Sequence: uint16(e.serial + 1), Event: "send_error", Err: err})
	}
}

// reached notes that an attempt has begun at a target that is new, or to which the attempt before had no way.
func (c *connector) reached(e *endpoint) {
	c.reach.left(e)
	if e.aside != 0 {
		e.aside = 0
		c.report.takeIn(e.target.Addr)
	}
}

// newReach makes what judges the attempts without a way.
func (c *connector) newReach() reach[*endpoint] {
	return reach[*endpoint]{
		way:    func(e *endpoint) *way { return &e.way },
		look:   func(e *endpoint) bool { return !c.unplugged(e) && hasWay(e.look) },
		settle: c.settleDenied,
	}
}

// settleDenied records an attempt for which there was no way.
func (c *connector) settleDenied(d denial[*endpoint], offline bool) {
	event := c.o.deny(d.handle, d.sent, offline, &c.metrics.common)
	if e := d.target; e.traced != 0 && e.target.Handle == d.handle {
		c.trace(e, Packet{Sequence: d.sequence, Event: event, Sent: d.sent})
	}
}

// chart fits what is known of ways to the new targets.
func (c *connector) chart() {
	var targets []*endpoint
	for _, e := range c.endpoints {
		if e.used {
			targets = append(targets, e)
		}
	}
	slices.SortFunc(targets, func(a, b *endpoint) int { return a.target.Addr.Compare(b.target.Addr) })
	c.reach.apply(targets, func(e *endpoint) netip.Prefix { return blockOf(e.target.Handle, e.target.Addr) })
	c.tally.blocks = len(c.reach.blocks)
}
