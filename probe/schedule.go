package probe

import (
	"encoding/binary"
	"math/bits"
	"net/netip"
	"slices"
	"time"
)

// maxLag is how late a probe may leave; one that is later is skipped and counted. A
// tenth of a second is far above what a busy machine costs a probe and far below what
// would blur a second; it also bounds what can have to be caught up.
const maxLag = 100 * time.Millisecond

// stallAfter is the pause after which a probing loop says that it was stopped.
const stallAfter = time.Second

// golden is 2^64 divided by the golden ratio: multiples of it, modulo 2^64, spread
// consecutive numbers more evenly than chance would (Knuth, TAOCP vol. 3, section 6.4).
const golden = 0x9E3779B97F4A7C15

// phase returns where in the interval an address is probed, in [0, interval): always
// the same for the same address, and evenly spread for neighbours.
func phase(addr netip.Addr, interval time.Duration) time.Duration {
	b := addr.As16()
	key := binary.BigEndian.Uint64(b[8:])
	if !addr.Is4() {
		// Different networks with the same host parts must not fall together.
		key += bits.RotateLeft64(binary.BigEndian.Uint64(b[:8])*golden, 29)
	}
	high, _ := bits.Mul64(key*golden, uint64(interval))
	return time.Duration(high)
}

// portTurn is 2^64 times the fractional part of the square root of two: no multiple of it
// comes near one of golden, so that no port falls together with that of a neighbour.
const portTurn = 0x6A09E667F3BCC909

// portPhase returns where in the interval a port of an address is probed. The ports of one
// address are turned against each other, the addresses of one port as even as by phase.
func portPhase(addr netip.Addr, port uint16, interval time.Duration) time.Duration {
	turn, _ := bits.Mul64(uint64(port)*portTurn, uint64(interval))
	return (phase(addr, interval) + time.Duration(turn)) % interval
}

// group is all targets of one interval, in the order in which they are due. Times are
// nanoseconds on the monotonic clock of the engine.
type group struct {
	interval int64
	maxLag   int64
	phases   []int64  // ascending
	slots    []uint32 // parallel to phases
	cycle    int64    // when phase 0 of the current round is
	next     int      // the first of the current round that has not been due

	ticked int64 // when the last tick began
	credit int64 // how much time has passed of which the probes may still leave
	quota  int   // how many probes may still leave in this tick
}

// newGroup makes an empty group. epoch is the monotonic time of the Unix epoch: rounds
// are aligned to wall time, so that a restart keeps every address's phase.
func newGroup(interval time.Duration, epoch, now int64) *group {
	g := &group{interval: int64(interval), maxLag: int64(min(maxLag, interval/2)), ticked: now}
	g.cycle = now - (now-epoch)%g.interval
	return g
}

// fill replaces the targets. What is due after the moment since is still to come.
func (g *group) fill(slots []uint32, phaseOf func(slot uint32) time.Duration, since int64) {
	type entry struct {
		phase int64
		slot  uint32
	}
	entries := make([]entry, len(slots))
	for i, s := range slots {
		entries[i] = entry{int64(phaseOf(s)), s}
	}
	slices.SortFunc(entries, func(a, b entry) int {
		if a.phase != b.phase {
			return int(a.phase - b.phase)
		}
		return int(a.slot) - int(b.slot)
	})
	g.slots, g.phases = g.slots[:0], g.phases[:0]
	for _, e := range entries {
		g.slots, g.phases = append(g.slots, e.slot), append(g.phases, e.phase)
	}
	g.seek(since)
}

// seek makes what is due after the moment since the next.
func (g *group) seek(since int64) {
	for g.cycle > since {
		g.cycle -= g.interval
	}
	for g.cycle+g.interval <= since {
		g.cycle += g.interval
	}
	g.next, _ = slices.BinarySearchFunc(g.phases, since-g.cycle, func(p, s int64) int {
		if p <= s {
			return -1
		}
		return 1
	})
}

// regroup makes groups of the members by interval. A group that was there before goes on
// where it was: nothing is asked twice or left out. now and epoch are as in newGroup.
func regroup(before []*group, members map[time.Duration][]uint32, phaseOf func(slot uint32, interval time.Duration) time.Duration, now, epoch int64) []*group {
	old := map[int64]*group{}
	for _, g := range before {
		old[g.interval] = g
	}
	var groups []*group
	for interval, slots := range members {
		since := now
		g := old[int64(interval)]
		if g == nil {
			g = newGroup(interval, epoch, now)
		} else {
			since = g.doneUntil(now)
		}
		g.fill(slots, func(i uint32) time.Duration { return phaseOf(i, interval) }, since)
		groups = append(groups, g)
	}
	return groups
}

// peek returns the next target and when it is due; false if there is none at all.
func (g *group) peek() (slot uint32, due int64, ok bool) {
	if len(g.slots) == 0 {
		return 0, 0, false
	}
	if g.next == len(g.slots) {
		g.next = 0
		g.cycle += g.interval
	}
	return g.slots[g.next], g.cycle + g.phases[g.next], true
}

// advance takes what peek returned off the schedule.
func (g *group) advance() { g.next++ }

// doneUntil returns the moment up to which everything due has been taken.
func (g *group) doneUntil(now int64) int64 {
	_, due, ok := g.peek()
	if !ok {
		return now
	}
	return min(now, due-1)
}

// maxTurn is how many ticks' worth of probes one late tick may send. A loop that gets a third of a processor
// ticks when its turn begins and then once a tick, so there are three ticks' time for each at the most. Two more
// are for ticks whose own work takes a good part of the turn. More would be a burst.
const maxTurn = 5

// begin begins a tick of a loop that should tick so often. A late one may use its turn: as many probes may
// leave as are due in the time since the tick before, up to maxTurn ticks' worth. What it must leave
// behind for that, the next ones may send on top. Any tick may send a quarter more than its even share, so
// that what is left behind for other reasons is caught up.
//
// That bounds every burst. While ticks of 4 ms begin not more than 5 ms apart, each may send 5 ms' worth, and
// three begin in 10 ms at the most: these carry at most 3 x 5 / 10 = 1.5 times their share. In any span
// of time, from one tick to another, no more leave than are due in it and since the tick before it, but
// for a quarter of a tick's worth for each tick, and what a tick before had to leave behind: not more than
// maxLag's worth, for what is later is skipped. No tick, however late, sends more than maxTurn ticks' worth.
func (g *group) begin(now, tick int64) {
	if len(g.slots) == 0 {
		return
	}
	n := int64(len(g.slots))
	g.credit = min(g.credit+now-g.ticked, int64(maxLag))
	g.ticked = now
	turn := max(min(g.credit, maxTurn*tick), tick*5/4)
	quota := max(turn*n/g.interval, minQuota)
	g.credit = max(g.credit-quota*g.interval/n, 0) // what is less than one probe stays
	g.quota = int(quota)
}

// minQuota lets small groups, whose share of a tick is about one, have neighbours in time.
const minQuota = 8

// take takes the next target that is due in the tick that has begun off the schedule. late says that its time has
// passed by too much, so that it must be skipped. It returns false when there is nothing more to do: nothing is
// due, or the quota is used up.
func (g *group) take() (slot uint32, due int64, late, ok bool) {
	slot, due, ok = g.peek()
	if !ok || due > g.ticked {
		g.credit = 0 // nothing is left behind
		return 0, 0, false, false
	}
	late = g.ticked-due > g.maxLag
	if !late {
		if g.quota == 0 {
			return 0, 0, false, false
		}
		g.quota--
	}
	g.advance()
	return slot, due, late, true
}

// expiry is one entry of a deadline queue.
type expiry struct {
	deadline int64
	slot     uint32
	serial   uint32
}

// deadlines is a queue of what is to expire, in the order of sending: with one timeout
// for all of it, that is the order of the deadlines too. It is a ring that grows.
type deadlines struct {
	timeout int64
	targets int      // how many use it
	ring    []expiry // its length is a power of two
	head, n int
}

func (d *deadlines) push(e expiry) {
	if d.n == len(d.ring) {
		bigger := make([]expiry, max(64, 2*len(d.ring)))
		for i := range d.n {
			bigger[i] = d.ring[(d.head+i)&(len(d.ring)-1)]
		}
		d.ring, d.head = bigger, 0
	}
	d.ring[(d.head+d.n)&(len(d.ring)-1)] = e
	d.n++
}

// pop returns the next entry whose deadline is not after now.
func (d *deadlines) pop(now int64) (e expiry, ok bool) {
	if d.n == 0 {
		return e, false
	}
	e = d.ring[d.head]
	if e.deadline > now {
		return e, false
	}
	d.head = (d.head + 1) & (len(d.ring) - 1)
	d.n--
	return e, true
}
