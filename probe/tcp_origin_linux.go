package probe

import "fmt"

// address makes the addresses between which an endpoint connects.
func (e *endpoint) address() {
	t := &e.target
	e.to = sockaddr(t.Addr, t.Port, e.origin.index)
	e.from = nil
	if t.Source.IsValid() {
		e.from = sockaddr(t.Source, 0, e.origin.index)
	}
}

// follow gives up the attempts in flight from those origins that are not what they were: nothing can
// come back to them any more. Each attempt has a socket of its own, so the next one finds what is there.
func (c *connector) follow(now int64) {
	for _, og := range c.origins.watch(now) {
		for _, e := range c.endpoints {
			if !e.used || e.origin != og {
				continue
			}
			c.giveUp(e, obstacleOf(og))
			e.address()
		}
	}
}

// giveUp closes what is in flight of an endpoint, of which nobody will know how it would have ended.
func (c *connector) giveUp(e *endpoint, obstacle string) {
	for i := range e.attempts {
		a := &e.attempts[i]
		if a.open && a.refused { // somebody has said what became of it
			c.silent(e, a)
		}
		if !a.open {
			continue
		}
		c.close(a)
		c.metrics.discarded.WithLabelValues(obstacle).Inc()
		c.o.Recorder.Unmeasured(e.target.Handle, obstacle)
		if e.traced != 0 {
			c.trace(e, Packet{Sequence: uint16(a.serial), Event: "discarded", Sent: c.clock.at(a.begun),
				Err: fmt.Errorf("%s is not what it was", e.origin.names())})
		}
	}
}

// absent counts an attempt that was not made, because something of its origin is not there. It is neither
// sent nor lost.
func (c *connector) absent(e *endpoint, gone *absence) {
	c.metrics.sendErrors.WithLabelValues(errorName(gone)).Inc()
	c.o.Recorder.Unmeasured(e.target.Handle, gone.obstacle)
	if e.traced != 0 {
		c.trace(e, Packet{Sequence: uint16(e.serial + 1), Event: "send_error", Err: gone})
	}
}

// forget forgets the origins that no target leaves from.
func (c *connector) forget() {
	used := map[socketKey]bool{}
	for _, e := range c.byKey {
		used[e.origin.key] = true
	}
	c.origins.keep(func(key socketKey) bool { return used[key] })
}
