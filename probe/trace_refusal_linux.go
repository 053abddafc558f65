package probe

import (
	"net/netip"

	"golang.org/x/sys/unix"

	"prefix_exporter/prefix"
)

// rejected finds out what it means that the kernel did not take the probe of TTL i+1. again: it is to be offered
// once more. end: no probe of this round can be sent, for there is no way to the destination.
func (t *tracer) rejected(r *trail, i int, errno unix.Errno, o *offers) (again, end bool) {
	pending := pendingError(errno)
	if pending && o.blind(i) {
		return true, false
	}
	why := t.unsendable(r, i, errno, pending && o.ofPacket < offersPerPacket && o.all < offersPerFlush)
	if why == refusedPending {
		o.again(i)
		o.judged = true
		return true, false
	}
	o.uncounted = 0
	return false, why != refusedHere
}

// unsendable counts the probe of TTL i+1 if it is refused for a reason of this machine, and notes that there is no way.
func (t *tracer) unsendable(r *trail, i int, err error, pending bool) refusal {
	if gone := t.origins.suspect(r.socket.origin, t.clock.now); gone != nil {
		t.absent(r, i, gone)
		return refusedHere
	}
	why, err := judgeRefusal(err, pending, r.look)
	switch why {
	case refusedHere:
		t.refused(r, i, err)
	case refusedNoRoute, refusedBroadcast:
		r.stranded = why
	}
	return why
}

func (r *trail) look(broadcast bool) error {
	return r.socket.key.look(r.dst, defaultTOS, broadcast)
}

// refused counts a probe that the local system would not send: it says nothing about the way.
func (t *tracer) refused(r *trail, i int, err error) {
	r.asks[i].state = askRefused
	t.metrics.sendErrors.WithLabelValues(errorName(err)).Inc()
	t.tally.fail(r.target.Key.Prefix, err)
	if r.traced != 0 {
		t.trace(r, Packet{TTL: uint8(i + 1), Sequence: uint16(r.first + uint32(i)), Event: "send_error", Err: err})
	}
}

// absent counts the probe of TTL i+1 that was not sent, because something of its origin is not there. The routes that
// wait for it are no trouble of all.
func (t *tracer) absent(r *trail, i int, gone *absence) {
	r.asks[i].state = askRefused
	t.metrics.sendErrors.WithLabelValues(errorName(gone)).Inc()
	if r.traced != 0 {
		t.trace(r, Packet{TTL: uint8(i + 1), Sequence: uint16(r.first + uint32(i)), Event: "send_error", Err: gone})
	}
}

// strand gives up what of a wave could not be sent because there is no way to the destination. A round of which
// nothing has left is no round: that there is no way is told instead.
func (t *tracer) strand(r *trail, from, upTo int) {
	sent := false
	for i := range r.asks[:upTo] {
		switch r.asks[i].state {
		case askNone:
			r.asks[i].state = askRefused
		case askOut, askAnswered:
			sent = true
		}
	}
	t.tally.sent += upTo - from // what became of them is known
	if sent {
		return
	}
	r.open = false
	t.forget(r)
	if r.traced != 0 {
		t.trace(r, Packet{TTL: 1, Sequence: uint16(r.first), Event: prefix.NoRoute.String(), Sent: t.clock.at(r.started)})
	}
	if t.o.NoRoute != nil && r.stranded == refusedNoRoute {
		t.o.NoRoute(r.target.Key, r.dst, t.clock.at(r.started))
	}
}

// chart counts the prefixes that are traced.
func (t *tracer) chart() {
	blocks := map[netip.Prefix]bool{}
	for _, r := range t.trails {
		if r.used {
			blocks[r.target.Key.Prefix] = true
		}
	}
	t.tally.blocks = len(blocks)
}
