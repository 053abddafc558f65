package event

import "slices"

// Last returns the newest events that match, oldest first, at most limit of them. match
// is called while no event can be published: it must be quick.
func (l *Log) Last(limit int, match func(*Event) bool) (events []Event) {
	l.mu.RLock()
	defer l.mu.RUnlock()
	for id := l.next; id > l.oldest && len(events) < limit; id-- {
		if e := &l.ring[(id-1)%uint64(len(l.ring))]; match(e) {
			events = append(events, *e)
		}
	}
	slices.Reverse(events)
	return events
}

// Gone returns how many events after the one with this ID are no longer kept. Those of an
// earlier run, which nobody can count, are not among them.
func (l *Log) Gone(id uint64) uint64 {
	l.mu.RLock()
	defer l.mu.RUnlock()
	if first := max(id+1, l.first); l.oldest > first {
		return l.oldest - first
	}
	return 0
}
