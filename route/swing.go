package route

import "slices"

const (
	// maxPast is how many earlier paths of a route are remembered: what balancing over ways
	// of unequal length has in practice, and a few real changes between.
	maxPast = 8
	// swingMemory is for how many rounds an earlier path is remembered: a day at the default
	// interval. A way that takes a tenth of the packets is seen twice in a row every two hours.
	swingMemory = 1440
	// briefly is for how many rounds at most, less one, a path was only visited: as long as loss is told of.
	briefly = LossRounds
	// maxVisits is how many visits of a path are told. They are seven changes at least, so
	// that a path that flaps is known as such (more than five in an hour).
	maxVisits = 4
	// settledRounds is after how many rounds a swing that was not told is a change after all: an
	// hour at the default interval.
	settledRounds = 60
)

// swings damps what swings between the same few paths, such as balancing packet by packet over ways
// of unequal length. A path that was left again soon for maxVisits times is fleeting: to swing
// to it from a known path, or from it to one, is told only once it has lasted for settledRounds.
type swings struct {
	rounds int // of the destination
	since  int // the round that began the current path
	visits int // brief ones of the current path, until now
	past   []past
	told   *course // that was current when something was last told; nil: the current one
	wait   news    // if told is not nil: what has not been told
}

// past is a path that was current before.
type past struct {
	course *course
	visits int
	left   int // the round that ended it
}

// turn takes that a path follows on another, as m shows it, and says whether that is to be told.
func (s *swings) turn(old, next *course, m *view, n news) (news, bool) {
	s.past = slices.DeleteFunc(s.past, func(p past) bool { return s.rounds-p.left > swingMemory })
	found := slices.IndexFunc(s.past, func(p past) bool { return p.course.shows(m) })
	fleeting, visits := false, 0
	if found >= 0 {
		visits = s.past[found].visits
		fleeting = visits >= maxVisits || s.visits >= maxVisits
		s.past = slices.Delete(s.past, found, found+1)
	}
	left := past{course: old, visits: s.visits, left: s.rounds}
	if s.rounds-s.since < briefly {
		left.visits++
	}
	s.past = slices.Insert(s.past, 0, left)
	s.past = s.past[:min(len(s.past), maxPast)]
	s.since, s.visits = s.rounds, visits
	switch {
	case !fleeting:
		s.told = nil
		return n, true
	case s.told == nil:
		s.told, s.wait = old, n
	case s.told.shows(m):
		s.told = nil
	default:
		n.old = s.wait.old
		n.reason = reason(s.told, next, m)
		n.ttl, _ = s.told.compare(m)
		s.wait = n
	}
	return news{}, false
}

// settle says whether a swing that was not told has lasted.
func (s *swings) settle(current *course) (news, bool) {
	if s.told == nil || s.rounds-s.since < settledRounds {
		return news{}, false
	}
	s.told, s.visits = nil, 0
	s.wait.new = current.path()
	return s.wait, true
}

// shows says whether a view is of this path.
func (c *course) shows(v *view) bool {
	_, s := c.compare(v)
	return s == none
}
