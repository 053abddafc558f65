package route

import (
	"net/netip"
	"slices"
)

// silentRounds is after how many rounds without an answer a destination no longer is Reached:
// one round may be lost.
const silentRounds = 2

// course is the accepted path with the numbers of its hops.
type course struct {
	// hops are by TTL. The last one is the destination or the router that blocks, if there is one.
	hops []hop
	// How the path ends, at most one of them not 0: the TTL of the destination, that of the
	// router that says that it is unreachable, or the length of a turn of the loop at the end.
	// None: silence.
	dst, block, loop int
	code             uint8 // of block
	rounds           int   // since the path was accepted
	quiet            int   // rounds since this end was seen
}

// newCourse accepts a path as it is seen.
func newCourse(dst netip.Addr, v *view) *course {
	c := &course{}
	c.learn(dst, v, maxTTL)
	return c
}

// at returns what is known of a TTL, from 1 on.
func (c *course) at(ttl int) cell {
	switch {
	case c.dst > 0 && ttl >= c.dst:
		return cell{kind: destination}
	case c.block > 0 && ttl >= c.block:
		return cell{blocker, c.hops[c.block-1].router}
	case c.loop > 0 && ttl > len(c.hops):
		from := len(c.hops) - c.loop
		ttl = from + (ttl-from-1)%c.loop + 1
	}
	if h := c.hop(ttl); h != nil && h.router.IsValid() && !h.tentative {
		return cell{router, h.router}
	}
	return cell{}
}

// hop returns the hop of a TTL, nil if the path has none.
func (c *course) hop(ttl int) *hop {
	if ttl > len(c.hops) {
		return nil
	}
	return &c.hops[ttl-1]
}

// strength is how much a difference says.
type strength uint8

const (
	none strength = iota
	// weak is an end where only silence was seen, in a path of which little is known yet:
	// it may have been there all the time.
	weak
	// aged is the same in a path that has been watched long enough to know that silence.
	aged
	// plain is another answer than the known one.
	plain
)

// compare returns the lowest TTL at which a view differs from the course, and how much.
func (c *course) compare(v *view) (int, strength) {
	for t := 1; t <= max(len(c.hops), len(v.answers))+1; t++ {
		mine, seen := c.at(t), v.at(t)
		if mine.agrees(seen) {
			continue
		}
		if h := c.hop(t); h != nil && mine.kind == router && seen.kind == router && h.excuses(seen.addr) {
			continue
		}
		return t, plain
	}
	return c.compareEnds(v)
}

// compareEnds compares how a view ends that shows no other routers.
func (c *course) compareEnds(v *view) (int, strength) {
	old := func(yes bool) strength {
		if yes {
			return aged
		}
		return weak
	}
	switch {
	case c.dst > 0 && v.dst > 0 && v.dst < c.dst:
		// Was the probe of this TTL lost until now, or was the destination further away?
		return v.dst, old(c.hops[v.dst-1].hollow >= LossRounds)
	case c.dst > 0 && v.dst > c.dst && c.hops[c.dst-1].moved():
		return c.dst, aged
	case c.loop > 0 && v.block > 0: // a router that sent back to itself
		return v.block, plain
	case c.dst > 0 || c.block > 0 || c.loop > 0:
		return 0, none
	case v.block > 0:
		return v.block, old(c.rounds >= LossRounds)
	case v.dst == 0:
		if from, length := findLoop(c.cells(v)); length > 0 {
			return from + length, old(c.rounds >= LossRounds)
		}
	}
	return 0, none
}

// cells returns the routers by TTL that the course knows, a loop with three turns at least, and those
// of a view where the course knows none.
func (c *course) cells(v *view) []netip.Addr {
	size := max(len(c.hops), len(v.answers))
	if c.loop > 0 {
		size = max(size, len(c.hops)+2*c.loop)
	}
	cells := make([]netip.Addr, size)
	for i := range cells {
		mine := c.at(i + 1)
		if mine.kind == unknown {
			mine = v.at(i + 1)
		}
		if mine.kind == router {
			cells[i] = mine.addr
		}
	}
	return cells
}

// learn takes what a view that does not contradict shows below the TTL limit of hops
// that were unknown, and of the end if it is below as well.
func (c *course) learn(dst netip.Addr, v *view, limit int) {
	if v.dst > 0 && v.dst < limit && (c.dst == 0 || v.dst < c.dst) {
		c.end(v.dst, dst)
		c.dst = v.dst
	}
	if v.block > 0 && v.block < limit && c.dst == 0 {
		if c.block == 0 || v.block < c.block {
			c.end(v.block, v.by)
			c.block = v.block
		}
		c.code = v.code
	}
	if end := lowest(c.dst, c.block); end > 0 {
		limit = min(limit, end)
	}
	for t := 1; t < limit && t <= len(v.answers); t++ {
		if seen := v.at(t); seen.kind == router && (c.loop == 0 || t <= len(c.hops)) {
			c.place(t, seen.addr)
		}
	}
	switch {
	case c.block > 0:
		c.nearer()
	case c.dst == 0 && limit > len(v.answers):
		c.fold(v)
	}
}

// grow makes the course at least so long.
func (c *course) grow(ttl int) {
	for len(c.hops) < ttl {
		c.hops = append(c.hops, hop{})
	}
}

// end makes the course end at a TTL with somebody who answers there.
func (c *course) end(ttl int, addr netip.Addr) {
	c.grow(ttl)
	c.hops = c.hops[:ttl]
	c.place(ttl, addr)
}

// place puts a router at a TTL at which none is known, or confirms the tentative one.
func (c *course) place(ttl int, addr netip.Addr) {
	c.grow(ttl)
	h := &c.hops[ttl-1]
	if h.router.IsValid() && !h.tentative && h.router != addr {
		return // they take turns
	}
	if h.router != addr {
		*h = hop{router: addr, turns: turns{newest: h.turns.newest, switches: h.turns.switches}}
	}
	h.tentative = false
}

// nearer moves the end to the lowest TTL at which the router that blocks is known.
func (c *course) nearer() {
	by := c.hops[c.block-1].router
	for t := c.block - 1; t > 0; t-- {
		switch c.hops[t-1].router {
		case by:
			c.block = t
			c.hops = c.hops[:t]
		case netip.Addr{}:
		default:
			return
		}
	}
}

// fold finds the loop at the end of the path, or what more a view shows of it, and cuts the path
// behind its first turn.
func (c *course) fold(v *view) {
	cells := c.cells(v)
	from, length := findLoop(cells)
	if length == 0 {
		return
	}
	size := from + length - 1
	c.grow(size)
	c.hops, c.loop = c.hops[:size], length
	for t := from; t <= len(cells); t++ { // what later turns have shown of the first
		h := &c.hops[from-1+(t-from)%length]
		if cells[t-1].IsValid() && h.router != cells[t-1] {
			*h = hop{router: cells[t-1]}
		}
	}
}

// count takes the answers of a view into the numbers of the hops. From the TTL doubtful on
// silence does not count, for the probes may have gone another way, unless they were stopped
// before. That somebody else answered is loss of the router that was expected.
func (c *course) count(v *view, doubtful int) {
	furthest := v.furthest()
	for t := 1; t <= len(c.hops); t++ {
		h, mine, seen := &c.hops[t-1], c.at(t), v.at(t)
		h.last = 0 // until it answers in this round
		stopped := v.block > 0 && t >= v.block
		switch a := v.answer(t); {
		case t == c.dst && v.dst > 0 && a.Kind != Silent:
			h.ok(v.answer(v.dst)) // at whatever TTL it did
		case !mine.agrees(seen) && (seen.kind != router || !h.excuses(seen.addr)):
			h.fail(false)
		case a.Kind == Silent && (t < doubtful || stopped):
			h.fail(v.dst > t)
			if t < furthest && t != c.dst && t != c.block && c.loop == 0 {
				h.hush()
			}
		case t > len(v.answers) && stopped:
			h.fail(false)
		case a.Kind > Unasked && (h.router.IsValid() && !h.tentative || seen.kind == router && h.excuses(seen.addr)):
			h.ok(a)
		}
	}
}

// note takes which routers answered at the TTLs of the hops.
func (c *course) note(v *view) {
	for t := range c.hops {
		if seen := v.at(t + 1); seen.kind == router {
			c.hops[t].note(seen.addr)
		}
	}
}

// watch takes whether a view shows how the path ends.
func (c *course) watch(v *view) {
	c.rounds++
	shown, asked := false, false
	switch {
	case c.dst > 0:
		shown, asked = v.dst > 0, v.asks(c.dst)
	case c.block > 0:
		shown, asked = v.block > 0, v.asks(c.block)
	case c.loop > 0:
		asked = v.asks(len(c.hops) + 1)
		for t := len(c.hops) + 1; t <= len(v.answers); t++ {
			shown = shown || v.from(t).IsValid()
		}
	}
	switch {
	case shown:
		c.quiet = 0
	case asked:
		c.quiet++
	}
}

// status says how the path ends, as of the last rounds.
func (c *course) status() Status {
	switch {
	case c.dst > 0 && c.quiet < silentRounds:
		return Reached
	case c.block > 0 && c.quiet < LossRounds:
		return Blocked
	case c.loop > 0 && c.quiet < LossRounds:
		return Loop
	}
	return Incomplete
}

// shown is how many hops are shown: not a destination that is silent, nor unknown ones behind
// the last one that is known.
func (c *course) shown() int {
	n := len(c.hops)
	switch c.status() {
	case Reached, Blocked, Loop:
		return n
	}
	if c.dst > 0 {
		n--
	}
	for n > 0 && !c.hops[n-1].router.IsValid() {
		n--
	}
	return n
}

// path returns the public form.
func (c *course) path() Path {
	p := Path{Status: c.status()}
	for _, h := range c.hops[:c.shown()] {
		p.Hops = append(p.Hops, h.router)
	}
	switch p.Status {
	case Blocked:
		p.By, p.Code = c.hops[c.block-1].router, c.code
	case Loop:
		p.Again = len(c.hops) - c.loop + 1
	}
	return p
}

// show returns the hops in their public form.
func (c *course) show() []Hop {
	hops := make([]Hop, c.shown())
	continues := 1.0
	for i := range slices.Backward(hops) {
		h := &c.hops[i]
		hops[i] = h.show(i+1, continues)
		if h.answered > 0 {
			continues = hops[i].PathLoss
		}
	}
	return hops
}
