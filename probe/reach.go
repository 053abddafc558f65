package probe

import (
	"math/bits"
	"net/netip"
	"time"

	"prefix_exporter/prefix"
)

const (
	// denialWait is how long an attempt waits that had no way to its destination, before it is lost: a
	// routing daemon, or a line that goes down, takes its routes away one after the other, and within that
	// time it shows whether all of them go.
	denialWait = 2 * time.Second
	// reachEvery is how often it is judged whether this machine has a way to anywhere, while it matters.
	reachEvery = 250 * time.Millisecond
	// offlineShare is the share of the targets, and of their prefixes, without a way from which on it is
	// this machine that is offline: a network of its own, or loopback, stays when all else is gone.
	offlineShare = 0.9
	// maxReachLooks bounds how many destinations the kernel is asked about at a time: at some 10 µs each
	// a fraction of what one tick may take.
	maxReachLooks = 64
	// looksPerBlock is how many of them are of one prefix, where there are few: parts of it may have ways of their own.
	looksPerBlock = 8
)

// way is what is known of the way from this machine to a target.
type way uint8

const (
	wayNever way = iota // nothing has been sent there yet
	wayOpen             // the newest attempt could be sent
	wayGone             // the newest attempt could not, for there was no way; it could be once
	wayLost             // that has been told as the target's own outage
)

// denial is an attempt for which this machine had no way to the destination.
type denial[T any] struct {
	target   T
	handle   prefix.Handle // where the target's results went at that time
	at       int64         // monotonic, in nanoseconds
	sent     time.Time     // the same moment
	sequence uint16
}

// reach tells what it means that this machine has no way to a destination: an outage of that
// destination, or, where it hits (nearly) everything at once, that the machine is offline, which says nothing
// of any destination. It knows no sockets, and is used by one goroutine at a time.
//
// What had no way before is no part of "everything": a machine without IPv6 is not offline.
type reach[T any] struct {
	// way is where the state of a target is kept; reach alone writes there.
	way func(T) *way
	// look asks the kernel whether there is a way to a target now.
	look func(T) bool
	// settle takes the verdict on an attempt: lost, or nothing for this machine was offline.
	settle func(d denial[T], offline bool)

	blocks  [][]T // the targets by prefix
	turn    int   // where in blocks the next look begins, and which of each block it takes
	waiting []denial[T]
	offline bool
	judged  int64 // when that was judged last
}

// flush gives its verdict to all that waits for one: before targets are replaced.
func (r *reach[T]) flush(now int64) {
	if len(r.waiting) > 0 {
		r.judge(now)
	}
	r.settleUntil(now)
}

// apply replaces the targets. Those of one prefix should stand in the order of their addresses: a route takes a part of
// them away that stands together, and looks are spread evenly.
func (r *reach[T]) apply(targets []T, block func(T) netip.Prefix) {
	places := map[netip.Prefix]int{}
	r.blocks, r.turn = nil, 0
	for _, t := range targets {
		p := block(t)
		i, ok := places[p]
		if !ok {
			i = len(r.blocks)
			places[p] = i
			r.blocks = append(r.blocks, nil)
		}
		r.blocks[i] = append(r.blocks[i], t)
	}
}

// active says whether step has something to do.
func (r *reach[T]) active() bool { return r.offline || len(r.waiting) > 0 }

// deny takes an attempt that had no way.
func (r *reach[T]) deny(d denial[T]) {
	if !r.active() {
		r.judged = d.at - int64(reachEvery) // the next step judges
	}
	w := r.way(d.target)
	if *w == wayOpen {
		*w = wayGone
	}
	switch {
	case r.offline:
		r.settle(d, true)
	case *w == wayLost:
		r.settle(d, false)
	default:
		r.waiting = append(r.waiting, d)
	}
}

// left notes that an attempt could be sent to a target that is not wayOpen. What waits of this
// target gets its verdict first: results are recorded in the order of the attempts.
func (r *reach[T]) left(target T) {
	w := r.way(target)
	kept := r.waiting[:0]
	for _, d := range r.waiting {
		if r.way(d.target) == w {
			r.settle(d, false)
			continue
		}
		kept = append(kept, d)
	}
	r.waiting = kept
	*w = wayOpen
}

// step judges what is to be judged now.
func (r *reach[T]) step(now int64) {
	if now-r.judged >= int64(reachEvery) {
		r.judge(now)
	}
	r.settleUntil(now - int64(denialWait))
}

// settleUntil gives their verdict to those that wait since that moment or longer; if the machine is
// offline, to all.
func (r *reach[T]) settleUntil(moment int64) {
	n := 0
	for _, d := range r.waiting {
		if !r.offline && d.at > moment {
			break
		}
		n++
		if w := r.way(d.target); !r.offline && *w != wayOpen {
			*w = wayLost
		}
		r.settle(d, r.offline)
	}
	r.waiting = r.waiting[:copy(r.waiting, r.waiting[n:])]
}

// judge finds out whether the machine is offline.
func (r *reach[T]) judge(now int64) {
	r.judged = now
	r.offline = r.nothingThere()
}

// share is how much of something has no way.
type share struct{ all, gone float64 }

func (s *share) add(size, gone float64) {
	s.all += size
	s.gone += gone
}

func (s *share) most() bool { return s.all > 0 && s.gone >= offlineShare*s.all }

// nothingThere asks the kernel about targets of as many prefixes as it may, and says whether nearly all
// that had a way have none.
func (r *reach[T]) nothingThere() bool {
	if len(r.blocks) == 0 {
		return false
	}
	var targets, blocks, anyTargets, anyBlocks share
	visits := min(len(r.blocks), maxReachLooks)
	looks := min(max(maxReachLooks/len(r.blocks), 1), looksPerBlock)
	for i := range visits {
		block := r.blocks[(r.turn+i*len(r.blocks)/visits)%len(r.blocks)]
		gone, matters := r.lookAt(block, looks)
		size, whole := float64(len(block)), 0.0
		if gone >= offlineShare {
			whole = 1
		}
		anyTargets.add(size, size*gone)
		anyBlocks.add(1, whole)
		if matters {
			targets.add(size, size*gone)
			blocks.add(1, whole)
		}
	}
	r.turn++
	if blocks.all == 0 { // nothing has ever been sent anywhere
		targets, blocks = anyTargets, anyBlocks
	}
	return targets.most() && blocks.most()
}

// lookAt asks about some targets of a block, spread over it: which share of them has no way, and whether any has
// one or had one until now. Of each part of the block it takes another one each time, in no regular order: else, where
// every second target has lost its way, it would ask about these only.
func (r *reach[T]) lookAt(block []T, looks int) (gone float64, matters bool) {
	looks = min(looks, len(block))
	n := 0
	for i := range looks {
		from, to := i*len(block)/looks, (i+1)*len(block)/looks
		offset, _ := bits.Mul64(uint64(r.turn*looks+i)*golden, uint64(to-from))
		t := block[from+int(offset)]
		there := r.look(t)
		if !there {
			n++
		}
		if w := *r.way(t); there || w == wayOpen || w == wayGone {
			matters = true
		}
	}
	return float64(n) / float64(looks), matters
}

// blockOf is the prefix that a target is counted to: that of its handle, or what its address would be counted to.
func blockOf(h prefix.Handle, a netip.Addr) netip.Prefix {
	if p := h.Prefix(); p.IsValid() {
		return p
	}
	bits := 24
	if !a.Is4() {
		bits = 120
	}
	p, _ := a.Prefix(bits)
	return p
}
