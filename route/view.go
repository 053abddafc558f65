package route

import (
	"net/netip"
	"slices"
)

// maxTTL is the highest TTL that there is: one octet (RFC 791 section 3.1).
const maxTTL = 255

// cell is what is known of one TTL: who answers there.
type cell struct {
	kind cellKind
	addr netip.Addr // of a router or a blocker
}

type cellKind uint8

const (
	unknown     cellKind = iota
	router               // a router on the way
	blocker              // a router that says that the destination is unreachable
	destination          // also of all TTLs behind the first one that reaches it
)

// agrees says whether both can be true of one path. Silence contradicts nothing.
func (c cell) agrees(o cell) bool {
	switch {
	case c.kind == unknown || o.kind == unknown:
		return true
	case c.kind == destination || o.kind == destination:
		return c.kind == o.kind
	}
	return c.addr == o.addr // a router may stop forwarding, and still be the same router
}

// view is what one round, or two that agree, show of the path to a destination.
type view struct {
	// answers are by TTL and end with the first one that shows how the path ends.
	answers []Answer
	// dst is the TTL of the first answer of the destination. 0: none.
	dst int
	// block is the lowest TTL at which the router answered that says that the destination
	// is unreachable. 0: none says so.
	block int
	by    netip.Addr
	code  uint8
	asked bool // some probe was sent
}

// newView reads a round. Unless it is asked to keep its view, the view shares the memory of the round.
func newView(dst netip.Addr, answers []Answer) view {
	v := view{answers: answers[:min(len(answers), maxTTL)]}
	for i := range v.answers {
		a := &v.answers[i]
		v.asked = v.asked || a.Kind != Unasked
		if a.Kind == Arrived || a.Kind > Unasked && a.From == dst {
			v.dst, v.answers = i+1, v.answers[:i+1]
			return v
		}
	}
	for i := range v.answers {
		if a := &v.answers[i]; a.Kind == Unreachable && a.From.IsValid() {
			v.by, v.code = a.From, a.Code
			v.block = v.position(i+1, a.From)
			v.answers = v.answers[:i+1]
			break
		}
	}
	return v
}

// position returns where a router stands of which only an answer to this TTL or a higher one
// is sure: it may have been silent, or have said something else, when asked with a lower one.
func (v *view) position(ttl int, by netip.Addr) int {
	for t := ttl - 1; t > 0; t-- {
		switch from := v.from(t); {
		case from == by:
			ttl = t
		case from.IsValid():
			return ttl
		}
	}
	return ttl
}

// from returns the router that answered the probe of a TTL; the zero Addr if none did.
func (v *view) from(ttl int) netip.Addr {
	if ttl > len(v.answers) {
		return netip.Addr{}
	}
	if a := &v.answers[ttl-1]; a.Kind == Exceeded || a.Kind == Unreachable {
		return a.From
	}
	return netip.Addr{}
}

// at returns what the view shows of a TTL, from 1 on.
func (v *view) at(ttl int) cell {
	switch {
	case v.dst > 0 && ttl >= v.dst:
		return cell{kind: destination}
	case v.block > 0 && ttl >= v.block:
		return cell{blocker, v.by}
	}
	if from := v.from(ttl); from.IsValid() {
		return cell{router, from}
	}
	return cell{}
}

// answer returns what became of the probe of a TTL; Unasked behind the end of the view.
func (v *view) answer(ttl int) *Answer {
	if ttl > len(v.answers) {
		return &Answer{Kind: Unasked}
	}
	return &v.answers[ttl-1]
}

// furthest is the highest TTL that was answered; 0: none.
func (v *view) furthest() int {
	for t := len(v.answers); t > 0; t-- {
		if v.answers[t-1].Kind > Unasked {
			return t
		}
	}
	return 0
}

// asks says whether a probe of this TTL or a higher one was sent, or stopped by a block before it.
func (v *view) asks(ttl int) bool {
	if v.block > 0 && ttl >= v.block {
		return true
	}
	for t := ttl; t <= len(v.answers); t++ {
		if v.answers[t-1].Kind != Unasked {
			return true
		}
	}
	return false
}

// contradicts says whether both views cannot be of one path.
func (v *view) contradicts(o *view) bool {
	for t := 1; t <= max(len(v.answers), len(o.answers)); t++ {
		if !v.at(t).agrees(o.at(t)) {
			return true
		}
	}
	return false
}

// clone returns a view with memory of its own.
func (v *view) clone() view {
	c := *v
	c.answers = slices.Clone(v.answers)
	return c
}

// merge returns what two views show that do not contradict each other; of what both show,
// the newer one.
func merge(older, newer *view) view {
	m := view{asked: true}
	for t := 1; t <= max(len(older.answers), len(newer.answers)); t++ {
		from := newer
		if !newer.from(t).IsValid() && older.from(t).IsValid() {
			from = older
		}
		if t <= len(from.answers) {
			m.answers = append(m.answers, from.answers[t-1])
		} else {
			m.answers = append(m.answers, Answer{})
		}
	}
	m.dst, m.block = lowest(older.dst, newer.dst), lowest(older.block, newer.block)
	m.by, m.code = newer.by, newer.code
	if newer.block == 0 {
		m.by, m.code = older.by, older.code
	}
	if m.dst > 0 {
		m.answers = m.answers[:m.dst]
	}
	return m
}

// lowest returns the lower one of two TTLs of which 0 stands for none.
func lowest(a, b int) int {
	if a == 0 || b == 0 {
		return max(a, b)
	}
	return min(a, b)
}
