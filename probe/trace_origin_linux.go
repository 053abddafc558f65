package probe

import "time"

// enlist makes the list of the sockets that are open, and looks at them as often as they want.
func (t *tracer) enlist() {
	t.list = t.list[:0]
	t.poll = t.least
	for _, s := range t.sockets {
		if s.fd >= 0 {
			t.list = append(t.list, s)
			t.poll = min(t.poll, s.patience())
		}
	}
	t.poll = max(t.poll, time.Millisecond)
}

// openAt opens the first socket of a key, or makes a closed one where something of its origin is absent.
func (t *tracer) openAt(key traceKey) (*traceSocket, error) {
	og := t.origins.of(key.socketKey, t.clock.now)
	if og.gone == nil {
		s, err := openTraceSocket(key, t.mode, 0)
		if err == nil {
			s.origin, og.index = og, s.index
			return s, nil
		}
		if absenceOf(key.socketKey, err) == nil {
			return nil, err
		}
		t.origins.lack(og, err)
	}
	s := &traceSocket{key: key}
	s.park(og)
	return s, nil
}

// follow makes the sockets of those origins again that are not what they were.
func (t *tracer) follow(now int64) {
	changed := t.origins.watch(now)
	for _, og := range changed {
		for _, s := range t.sockets {
			if s.origin == og {
				t.reopen(s)
			}
		}
	}
	if len(changed) > 0 {
		t.enlist()
		t.describe(nil)
	}
}

// reopen closes a socket, gives up the rounds that are open on it, and opens it again if its origin has all
// that it needs, for the same flows.
func (t *tracer) reopen(s *traceSocket) {
	og := s.origin
	for _, r := range t.trails {
		if r.used && r.socket == s {
			t.abort(r, obstacleOf(og))
		}
	}
	s.close()
	proven, transmit := s.proven, s.transmit
	if og.gone == nil {
		opened, err := openTraceSocket(s.key, t.mode, s.flow())
		if err == nil {
			opened.trails, opened.spare = s.trails, s.spare
			*s = *opened
			s.origin, og.index = og, s.index
			s.proven = proven && s.transmit == transmit
			return
		}
		t.origins.lack(og, err)
	}
	s.park(og)
}

// flow is what the flows of a socket have in common: a port, or an identifier.
func (s *traceSocket) flow() uint16 {
	if s.port != 0 {
		return s.port
	}
	return s.identifier
}

// park puts a socket that is closed in the place of one that is open.
func (s *traceSocket) park(og *origin) {
	parked := &socket{key: s.key.socketKey, origin: og, fd: -1}
	if s.socket != nil {
		parked.identifier, parked.transmit = s.identifier, s.transmit
	}
	s.socket, s.reserved, s.finder = parked, -1, -1
}

// forgetOrigins forgets the origins that no socket leaves from.
func (t *tracer) forgetOrigins() {
	used := map[socketKey]bool{}
	for key := range t.sockets {
		used[key.socketKey] = true
	}
	t.origins.keep(func(key socketKey) bool { return used[key] })
}
