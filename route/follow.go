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
	refuted  int // how many before it differed at the same TTL, each refuted by the next
}

// maxDoubt is for how many rounds that neither confirm nor refute a candidate the silence
// behind it is not counted as loss: as long as loss is told of.
const maxDoubt = LossRounds

// minReplaced is how many rounds in a row must show other routers than the known one, each
// another than the round before, to be a change: one more than a candidate and two that refute it by chance.
const minReplaced = 4

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
	swings    swings
}

// follow takes one round, and says what it has changed.
//
// A view that does not contradict the accepted path only adds to it. One that does becomes the
// candidate. It is confirmed by the next view that contradicts the accepted path as
// well, but not the candidate; it is refuted by one that contradicts the candidate, unless both
// show that the accepted path has gone. Views that fit to both say nothing.
func (k *tracker) follow(v *view, at time.Time) (n news, changed bool) {
	if k.course == nil {
		k.course = newCourse(k.dst, v)
		k.course.note(v)
		k.course.count(v, maxTTL)
		k.course.watch(v)
		return n, false
	}
	k.swings.rounds++
	ttl, s := k.course.compare(v)
	k.course.note(v)
	if s == plain && k.course.balanced(v) {
		k.course.alternate(v)
		ttl, s = k.course.compare(v)
	}
	c, refuted := k.candidate, (*candidate)(nil)
	m := *v // what is seen, of all rounds that agree
	switch {
	case c == nil:
	case !c.contradicts(v):
		m = merge(&c.view, v)
	case !k.gone(v, ttl, s):
		c, refuted, k.candidate = nil, c, nil
	}
	switch {
	case s == none:
		k.add(v)
		return k.swings.settle(k.course)
	case c != nil && s == weak && c.strength > weak: // says nothing against it, nor much for it
		c.rounds++
		k.course.count(v, c.ttl)
		k.course.watch(v)
		return n, false
	case c == nil || s == plain && c.strength == weak:
		k.candidate = &candidate{view: v.clone(), at: at, ttl: ttl, strength: s, before: k.course.path()}
		k.candidate.follows(refuted)
		k.course.count(v, ttl)
		k.course.watch(v)
		return n, false
	}
	k.candidate = nil
	if c.strength == weak {
		k.course.learn(k.dst, &m, maxTTL)
		k.course.count(v, maxTTL)
		k.course.watch(v)
		return n, false
	}
	old, first := k.course, min(c.ttl, ttl)
	old.watch(v)
	old.count(v, first)
	k.course = old.turn(k.dst, &m, [2]*view{&c.view, v}, first)
	n = news{at: c.at, reason: reason(old, k.course, &m), ttl: first, old: c.before, new: k.course.path()}
	return k.swings.turn(old, k.course, &m, n)
}

// gone says whether a view that refutes the candidate says all the same that the accepted
// path has gone: both are blocked, by whomever, or nobody but others has answered there for some rounds.
func (k *tracker) gone(v *view, ttl int, s strength) bool {
	c := k.candidate
	if c.block > 0 && v.block > 0 && k.course.block == 0 {
		return s > none && (s > weak) == (c.strength > weak)
	}
	return c.sameAs(ttl, s) && c.refuted+2 >= minReplaced
}

// sameAs says whether a plain difference is at the TTL of the candidate, which is one as well.
func (c *candidate) sameAs(ttl int, s strength) bool {
	return c.ttl == ttl && c.strength == plain && s == plain
}

// follows takes that a candidate refuted the one before it.
func (c *candidate) follows(before *candidate) {
	if before != nil && before.sameAs(c.ttl, c.strength) {
		c.at, c.before, c.refuted = before.at, before.before, before.refuted+1
	}
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
		if h == nil || mine.kind != router || seen.kind != router || !h.balances() || h.replaced() || len(h.turns.others) >= maxOthers {
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
		h.last = 0
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
