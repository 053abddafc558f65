package probe

import (
	"cmp"
)

// enlist makes the list of the sockets that are open.
func (b *batch) enlist() {
	b.list = b.list[:0]
	for _, s := range b.sockets {
		if s.fd >= 0 {
			b.list = append(b.list, s)
		}
	}
}

// openAt opens the first socket of an origin, or makes a closed one where something of it is absent.
func (b *batch) openAt(key socketKey) (*socket, error) {
	og := b.origins.of(key, b.clock.now)
	if og.gone == nil {
		s, err := openSocket(key, b.mode, 0)
		if err == nil {
			s.origin, og.index = og, s.index
			return s, nil
		}
		if absenceOf(key, err) == nil {
			return nil, err
		}
		b.origins.lack(og, err)
	}
	return &socket{key: key, origin: og, fd: -1}, nil
}

// introduce tells the origins which prefixes leave from them.
func (b *batch) introduce(targets []Target) {
	b.origins.begin()
	for i := range targets {
		t := &targets[i]
		b.origins.of(keyOf(t), b.clock.now).use(cmp.Or(t.Where, t.Addr.String()))
	}
	b.origins.end()
}

// follow makes the sockets of those origins again that are not what they were.
func (b *batch) follow(now int64) {
	changed := b.origins.watch(now)
	for _, og := range changed {
		if s := b.sockets[og.key]; s != nil {
			b.reopen(s)
		}
		b.origins.tell(og)
	}
	if len(changed) > 0 {
		b.enlist()
		b.gauges()
	}
}

// reopen closes the socket of an origin, gives up what is in flight on it, and makes another one if the
// origin has all that it needs.
func (b *batch) reopen(old *socket) {
	og := old.origin
	b.giveUp(old, obstacleOf(og))
	identifier := old.identifier
	if old.fd >= 0 && !old.raw {
		identifier, _ = portOf(old.fd)
	}
	old.close()
	s := &socket{key: old.key, fd: -1, identifier: identifier, transmit: old.transmit, receive: old.receive}
	if og.gone == nil {
		opened, err := openSocket(old.key, b.mode, identifier)
		if err == nil {
			s, og.index = opened, opened.index
			s.proven = old.proven && s.transmit == old.transmit
		} else {
			b.origins.lack(og, err)
		}
	}
	s.origin, s.targets = og, old.targets
	for _, sl := range b.slots {
		if sl.used && sl.socket == old {
			sl.socket = s
			s.grow(sl.target.Size)
		}
	}
	b.sockets[old.key] = s
}

// giveUp gives up what is in flight on a socket: its replies cannot come any more.
func (b *batch) giveUp(s *socket, obstacle string) {
	for _, sl := range b.slots {
		if !sl.used || sl.socket != s {
			continue
		}
		for i := range sl.flights {
			switch f := &sl.flights[i]; {
			case f.state != flightOut:
			case f.refused != noError: // somebody has said what became of it
				b.lost(sl, f)
			default:
				b.discard(sl, f, obstacle)
				b.o.Recorder.Unmeasured(sl.target.Handle, obstacle)
			}
		}
	}
}

// absent counts a probe that was not sent, because something of its origin is not there. It is neither
// sent nor lost.
func (b *batch) absent(s *slot, gone *absence) {
	b.metrics.sendErrors.WithLabelValues(errorName(gone)).Inc()
	b.o.Recorder.Unmeasured(s.target.Handle, gone.obstacle)
	if s.traced != 0 {
		b.trace(s, Packet{Sequence: uint16(s.serial + 1), Event: "send_error", Err: gone})
	}
}
