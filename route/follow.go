package route

import (
	"net/netip"
	"time"
)

// candidate is a view that differs from the accepted path and waits to be seen again.
type candidate struct {
	view
	at       time.Time
	ttl      int // of the first difference
	strength strength
	before   Path
	rounds   int // since then
}

// maxDoubt is for how many rounds that neither confirm nor refute a candidate the silence
// behind it is not counted as loss: as long as loss is told of.
const maxDoubt = LossRounds

// news is what a confirmed candidate has changed.
type news struct {
	at       time.Time
	reason   Reason
	ttl      int
	old, new Path
}

// tracker follows the path to one destination, round by round.
type tracker struct {
	dst       netip.Addr
	course    *course // nil before the first round
	candidate *candidate
}

// follow takes one round, and says what it has changed.
//
// A view that does not contradict the accepted path only adds to it. One that does becomes the
// candidate. It is confirmed by the next view that contradicts the accepted path as
// well, but not the candidate; it is refuted by one that contradicts the candidate. Views that fit
// to both say nothing.
func (k *tracker) follow(v *view, at time.Time) (n news, changed bool) {
	if k.course == nil {
		k.course = newCourse(k.dst, v)
		k.course.count(v, maxTTL)
		k.course.watch(v)
		return n, false
	}
	ttl, s := k.course.compare(v)
	c := k.candidate
	if c != nil && c.contradicts(v) {
		c, k.candidate = nil, nil
	}
	switch {
	case s == none:
		k.add(v)
		return n, false
	case c != nil && s == weak && c.strength > weak: // says nothing against it, nor much for it
		c.rounds++
		k.course.count(v, c.ttl)
		k.course.watch(v)
		return n, false
	case c == nil || s == plain && c.strength == weak:
		k.candidate = &candidate{view: v.clone(), at: at, ttl: ttl, strength: s, before: k.course.path()}
		k.course.count(v, ttl)
		k.course.watch(v)
		return n, false
	}
	k.candidate = nil
	if c.strength == weak {
		k.course.learn(k.dst, &c.view, maxTTL)
		k.course.learn(k.dst, v, maxTTL)
		k.course.count(v, maxTTL)
		k.course.watch(v)
		return n, false
	}
	k.course.watch(v)
	m := merge(&c.view, v)
	if k.course.balanced(&m) {
		k.course.alternate(&m)
		k.course.count(v, maxTTL)
		return n, false
	}
	old := k.course
	old.count(v, min(c.ttl, ttl))
	k.course = old.turn(k.dst, &m, [2]*view{&c.view, v}, min(c.ttl, ttl))
	return news{at: c.at, reason: reason(old, k.course, &m), ttl: min(c.ttl, ttl), old: c.before, new: k.course.path()}, true
}

// add takes a view that fits to the accepted path.
func (k *tracker) add(v *view) {
	limit := maxTTL
	if c := k.candidate; c != nil {
		c.rounds++
		switch {
		case c.strength == weak && c.rounds > LossRounds: // it was a stray answer
			k.candidate = nil
		case c.strength > weak && c.rounds <= maxDoubt:
			limit = c.ttl
		}
	}
	k.course.learn(k.dst, v, limit)
	k.course.count(v, limit)
	k.course.watch(v)
}

// balanced says whether a view differs from the course in nothing but routers, of hops
// that switch between them all the time: balancing packet by packet, in spite of the constant flow.
func (c *course) balanced(m *view) bool {
	differs := false
	for t := 1; t <= max(len(c.hops), len(m.answers))+1; t++ {
		mine, seen := c.at(t), m.at(t)
		if mine.agrees(seen) {
			continue
		}
		h := c.hop(t)
		if h == nil || mine.kind != router || seen.kind != router || !h.balances() || len(h.turns.others) >= maxOthers {
			return false
		}
		differs = true
	}
	return differs
}

// alternate takes the other routers of a view as such that take turns.
func (c *course) alternate(m *view) {
	for t := 1; t <= min(len(c.hops), len(m.answers)); t++ {
		if mine, seen := c.at(t), m.at(t); !mine.agrees(seen) && !c.hop(t).excuses(seen.addr) {
			h := c.hop(t)
			h.turns.others, h.turns.absent = append(h.turns.others, seen.addr), 0
		}
	}
}

// turn makes the course of a path that two rounds agree upon; m is what both show, first the
// TTL of the first difference. Hops that stay keep their numbers. A hop that was silent in both
// rounds keeps its router, tentatively, before the first difference and where the path is
// the old one again behind the last; in between it is unknown.
func (c *course) turn(dst netip.Addr, m *view, rounds [2]*view, first int) *course {
	next := newCourse(dst, m)
	joined := c.joins(m, first)
	for i := range next.hops {
		t, h, old := i+1, &next.hops[i], c.hop(i+1)
		silent := !h.router.IsValid()
		switch {
		case old == nil:
		case !silent && old.router == h.router:
			*h = *old
			h.tentative = false
			continue
		case silent && (t < first || joined > 0 && t > joined) && t != lowest(c.dst, c.block):
			*h = *old
			h.tentative = h.router.IsValid()
			continue
		default:
			h.turns.newest, h.turns.switches = old.turns.newest, old.turns.switches
		}
		h.feed(t, rounds)
	}
	return next
}

// feed counts what was seen of a new router, or of silence in its place, before its path was accepted.
func (h *hop) feed(ttl int, rounds [2]*view) {
	for _, v := range rounds {
		if ttl > len(v.answers) {
			continue
		}
		switch a := &v.answers[ttl-1]; {
		case v.from(ttl).IsValid() && a.From == h.router, a.Kind == Arrived:
			h.ok(a)
		case a.Kind == Silent && (h.sent > 0 || !h.router.IsValid()):
			h.fail(v.dst > ttl)
		}
	}
}

// joins returns the TTL at which a view, behind its last difference, shows a router of the
// old path again; 0: none.
func (c *course) joins(m *view, first int) int {
	last := first
	for t := first; t <= max(len(c.hops), len(m.answers))+1; t++ {
		if !c.at(t).agrees(m.at(t)) {
			last = t
		}
	}
	for t := last + 1; t <= len(m.answers); t++ {
		if c.at(t).kind == router && m.at(t).kind == router {
			return t
		}
	}
	return 0
}

// reason names the most important thing that has changed: bad news first.
func reason(old, next *course, m *view) Reason {
	switch {
	case next.loop > 0 && old.loop == 0:
		return LoopBegan
	case next.block > 0 && old.block == 0:
		return BlockBegan
	case old.loop > 0 && next.loop == 0:
		return LoopEnded
	case old.block > 0 && next.block == 0:
		return BlockEnded
	case old.dst > 0 && next.dst > old.dst:
		return Longer
	case next.dst > 0 && next.dst < old.dst:
		return Shorter
	case old.dst > 0 && next.dst == 0 && m.reaches(old.dst):
		return Longer
	}
	return NewRouter
}

// reaches says whether a router answers at this TTL or a higher one.
func (v *view) reaches(ttl int) bool {
	for t := ttl; t <= len(v.answers); t++ {
		if v.at(t).kind == router {
			return true
		}
	}
	return false
}
