package route

import (
	"cmp"
	"net/netip"
	"slices"
	"sync"
	"time"
)

// Table holds all routes. Its methods may be called from any goroutine.
type Table struct {
	onChange func(Change)

	mu     sync.RWMutex // guards which routes there are; held briefly
	routes map[Key]*entry
}

// entry is one route of the table.
type entry struct {
	spec Spec

	mu      sync.Mutex // guards the rest; taken without Table.mu or after it
	gone    bool       // from the table: what is on its way is ignored
	tracker tracker
	rounds  uint64
	last    time.Time
	total   uint64   // changes of the path to the destination
	noRoute int      // rounds in a row, the newest included, that this machine had no way for; of those while it was offline the first
	changes []Change // never written, but for appending
}

// NewTable makes an empty table. onChange is called after each change of a path, by the
// goroutine that records, with no lock held. Nil: nobody asks.
func NewTable(onChange func(Change)) *Table {
	if onChange == nil {
		onChange = func(Change) {}
	}
	return &Table{onChange: onChange, routes: map[Key]*entry{}}
}

// Apply makes the table hold just these routes. What is in it already keeps its path, its
// numbers and its changes, unless its protocol, port, source or interface is another one now: then it
// begins anew. Of two routes with the same key the last one counts.
func (t *Table) Apply(specs []Spec) {
	t.mu.Lock()
	defer t.mu.Unlock()
	next := make(map[Key]*entry, len(specs))
	for _, s := range specs {
		if e := t.routes[s.Key]; e != nil && e.spec.sameWay(s) {
			e.setInterval(s.Interval)
			next[s.Key] = e
		} else {
			next[s.Key] = &entry{spec: s}
		}
	}
	for k, e := range t.routes {
		if next[k] != e {
			e.retire()
		}
	}
	t.routes = next
}

func (e *entry) setInterval(d time.Duration) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.spec.Interval = d
}

func (e *entry) retire() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.gone = true
}

// Record takes one round of a route to dst. Another dst than before begins a new path,
// with its numbers at 0; the list of changes stays. A key that is not in the table is ignored, so is
// a round without a dst or one in which nothing was asked. The round is only read, and
// not kept; it does not block on I/O, but for what onChange does.
func (t *Table) Record(k Key, dst netip.Addr, r Round) {
	t.mu.RLock()
	e := t.routes[k]
	t.mu.RUnlock()
	if e == nil || !dst.IsValid() {
		return
	}
	if c, changed := e.record(dst, r); changed {
		t.onChange(c)
	}
}

func (e *entry) record(dst netip.Addr, r Round) (Change, bool) {
	v := newView(dst, r.Answers)
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.gone || !v.asked {
		return Change{}, false
	}
	e.goTo(dst)
	e.rounds++
	e.last = r.Started
	back := e.noRoute >= noRouteRounds
	e.noRoute = 0
	n, changed := e.tracker.follow(&v, r.Started)
	switch {
	case back:
		return e.tell(Change{At: r.Started, Reason: NoRouteEnded, Old: Path{Status: NoRoute}, New: e.path()}), true
	case changed:
		return e.tell(Change{At: n.at, Reason: n.reason, TTL: n.ttl, Old: n.old, New: n.new}), true
	}
	return Change{}, false
}

// goTo begins a new path if the destination is another one than before.
func (e *entry) goTo(dst netip.Addr) {
	if e.tracker.dst != dst {
		e.tracker = tracker{dst: dst}
		e.rounds, e.total, e.noRoute = 0, 0, 0
	}
}

// noRouteRounds is after how many rounds that could not be sent it is a change that this machine has no
// way to the destination: as any other change it must be seen twice.
const noRouteRounds = 2

// RecordNoRoute takes a round of a route to dst that this machine had no way for, at the moment at which it
// should have begun. offline says that it has no way to anything: that is shown, but no change of this
// route. What Record ignores is ignored here, too.
func (t *Table) RecordNoRoute(k Key, dst netip.Addr, at time.Time, offline bool) {
	t.mu.RLock()
	e := t.routes[k]
	t.mu.RUnlock()
	if e == nil || !dst.IsValid() {
		return
	}
	if c, changed := e.recordNoRoute(dst, at, offline); changed {
		t.onChange(c)
	}
}

func (e *entry) recordNoRoute(dst netip.Addr, at time.Time, offline bool) (Change, bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.gone {
		return Change{}, false
	}
	e.goTo(dst)
	before := e.path()
	e.rounds++
	e.last = at
	if offline {
		e.noRoute = max(e.noRoute, 1)
		return Change{}, false
	}
	if e.noRoute++; e.noRoute != noRouteRounds {
		return Change{}, false
	}
	return e.tell(Change{At: at, Reason: NoRouteBegan, Old: before, New: Path{Status: NoRoute}}), true
}

// path is the accepted path.
func (e *entry) path() (p Path) {
	if c := e.tracker.course; c != nil {
		p = c.path()
	}
	return p
}

// tell counts and keeps a change, and returns a copy of it. The caller holds e.mu.
func (e *entry) tell(c Change) Change {
	c.Key, c.Dst = e.spec.Key, e.tracker.dst
	e.total++
	if len(e.changes) == MaxChanges {
		e.changes = e.changes[1:]
	}
	e.changes = append(e.changes, c)
	return c.clone()
}

// Routes returns all routes, sorted by prefix, then address.
func (t *Table) Routes() []Route {
	return t.show(func(Key) bool { return true }, true)
}

// Current returns all routes as Routes does, but without Changes: what a scrape and a list ask for.
func (t *Table) Current() []Route {
	return t.show(func(Key) bool { return true }, false)
}

// Prefix returns the routes of one prefix, sorted by address; none if it is not traced.
func (t *Table) Prefix(p netip.Prefix) []Route {
	return t.show(func(k Key) bool { return k.Prefix == p }, true)
}

func (t *Table) show(wanted func(Key) bool, changes bool) []Route {
	t.mu.RLock()
	var entries []*entry
	for k, e := range t.routes {
		if wanted(k) {
			entries = append(entries, e)
		}
	}
	t.mu.RUnlock()
	slices.SortFunc(entries, func(a, b *entry) int { return compareKeys(a.spec.Key, b.spec.Key) })
	now := time.Now()
	routes := make([]Route, len(entries))
	for i, e := range entries {
		routes[i] = e.show(changes, now)
	}
	return routes
}

func compareKeys(a, b Key) int {
	return cmp.Or(
		a.Prefix.Addr().Compare(b.Prefix.Addr()),
		cmp.Compare(a.Prefix.Bits(), b.Prefix.Bits()),
		a.Addr.Compare(b.Addr),
	)
}

func (e *entry) show(changes bool, now time.Time) Route {
	e.mu.Lock()
	defer e.mu.Unlock()
	r := Route{Spec: e.spec, Dst: e.tracker.dst, Rounds: e.rounds, Last: e.last, ChangesTotal: e.total}
	if !r.Dst.IsValid() {
		r.Dst = e.spec.Addr
	}
	switch c := e.tracker.course; {
	case e.noRoute > 0:
		r.Path.Status = NoRoute
	case c != nil:
		r.Path, r.Hops = c.path(), c.show()
	}
	r.Stale = e.rounds > 0 && e.spec.Interval > 0 && now.Sub(e.last) > e.spec.patience()
	if changes {
		for _, c := range e.changes {
			r.Changes = append(r.Changes, c.clone())
		}
	}
	return r
}

// clone returns a change that shares no memory.
func (c Change) clone() Change {
	c.Old.Hops, c.New.Hops = slices.Clone(c.Old.Hops), slices.Clone(c.New.Hops)
	return c
}
