package route

import (
	"math"
	"math/bits"
	"net/netip"
	"slices"
	"time"
)

const (
	// window are the bits of a history of LossRounds rounds.
	window = 1<<LossRounds - 1
	// minSwitches is how often the router of a hop must have been another one than before,
	// within LossRounds answers, to be called balancing packet by packet. A route
	// that fails, comes back and fails again within ten minutes needs three: that is news.
	minSwitches = 4
	// balanceMemory is for how many answers a router that takes turns with others is
	// remembered. At random two routers leave one of them out for so long once in 10^18 answers.
	balanceMemory = 6 * LossRounds
	// maxOthers bounds how many routers may take turns at a hop: what the largest groups of
	// equal paths have in practice.
	maxOthers = 64
	// minLimited is how many more of the last LossRounds rounds a router must have
	// left unanswered than were lost behind it to be called rate limited. Two happen by chance.
	minLimited = 3
	// muteRounds is after how many silent rounds a router is unknown again, if hops behind it
	// answer: an hour at the default interval. It may be another one by now, or have been told to be silent.
	muteRounds = 60
)

// hop is one router on the current path, or one that has never answered.
type hop struct {
	router netip.Addr
	// tentative says that the router was there before the path changed and has been silent
	// since. It is shown as long as nothing else is known, but contradicts nothing.
	tentative bool
	labels    []Label

	sent, answered    uint64
	last, best, worst time.Duration
	mean, squares     float64 // of Welford's method, in nanoseconds
	lost              uint16  // one bit for each of the last rounds, the newest lowest
	rounds            int     // how many of them there are, up to LossRounds
	// hollow counts the rounds in a row in which the probe of this TTL was lost while the
	// destination answered that of a higher one.
	hollow int
	// mute counts the rounds in a row in which the probe of this TTL was lost while one of a
	// higher TTL was answered by anybody.
	mute  int
	turns turns
}

// turns is how the routers of one TTL take turns.
type turns struct {
	newest   netip.Addr   // who answered last
	switches uint16       // one bit for each of the last LossRounds answers: not from the one before
	others   []netip.Addr // routers that balance packets with the one of the hop
	absent   int          // answers of others since the router of the hop was seen
}

// note takes an answer of a router at this TTL.
func (h *hop) note(from netip.Addr) {
	t := &h.turns
	t.switches = t.switches << 1 & window
	if t.newest.IsValid() && t.newest != from {
		t.switches |= 1
	}
	t.newest = from
	t.absent++
	if from == h.router {
		t.absent = 0
	}
}

// excuses says whether a router takes turns with the one of the hop.
func (h *hop) excuses(from netip.Addr) bool {
	return h.turns.absent < balanceMemory && slices.Contains(h.turns.others, from)
}

// balances says whether the answers of this TTL switch between routers all the time.
func (h *hop) balances() bool {
	return bits.OnesCount16(h.turns.switches) >= minSwitches
}

// replaced says whether the router of the hop has not been seen since its answers, which
// had come from it alone, began to come from others.
func (h *hop) replaced() bool {
	return h.turns.switches>>h.turns.absent == 0
}

// ok counts an answer.
func (h *hop) ok(a *Answer) {
	rtt := max(a.RTT, 0)
	h.shift(0)
	h.answered++
	h.hollow, h.mute = 0, 0
	h.last, h.labels = rtt, slices.Clone(a.Labels)
	if h.answered == 1 {
		h.best = rtt
	}
	h.best, h.worst = min(h.best, rtt), max(h.worst, rtt)
	delta := float64(rtt) - h.mean
	h.mean += delta / float64(h.answered)
	h.squares += delta * (float64(rtt) - h.mean)
}

// fail counts a probe without an answer. Behind says that the destination answered one of
// a higher TTL.
func (h *hop) fail(behind bool) {
	h.shift(1)
	h.last = 0
	if behind {
		h.hollow++
	}
}

// hush takes a round in which a higher TTL was answered but not this one, and
// forgets the router after too many of them. That there is silence remains known.
func (h *hop) hush() {
	if h.mute++; h.mute >= muteRounds && h.router.IsValid() {
		*h = hop{sent: uint64(h.mute), lost: h.lost, rounds: h.rounds, hollow: h.hollow}
	}
}

func (h *hop) shift(lost uint16) {
	h.sent++
	h.lost = (h.lost<<1 | lost) & window
	h.rounds = min(h.rounds+1, LossRounds)
}

// lossRounds is how many of the last rounds were lost.
func (h *hop) lossRounds() int { return bits.OnesCount16(h.lost) }

// loss is the share of the last rounds that were lost.
func (h *hop) loss() float64 {
	return float64(h.lossRounds()) / float64(max(h.rounds, 1))
}

// moved says whether so many probes of the destination's own TTL were lost, in a row, while
// those of higher ones were answered, that it must be further away now. How many that are
// follows from how many it loses otherwise: one error in a million.
func (h *hop) moved() bool {
	if h.hollow < LossRounds {
		return false
	}
	before := float64(h.sent) - float64(h.hollow)
	loss := (before - float64(h.answered) + 1) / (before + 2)
	return math.Pow(loss, float64(h.hollow)) < 1e-6
}

// show returns the public form. Continues is the share of rounds that is lost behind the
// hop as well; 1 if nothing is behind it.
func (h *hop) show(ttl int, continues float64) Hop {
	s := Hop{
		TTL: ttl, Router: h.router, Labels: slices.Clone(h.labels),
		Sent: h.sent, Answered: h.answered,
		Last: h.last, Best: h.best, Worst: h.worst, Mean: time.Duration(math.Round(h.mean)),
		Loss: h.loss(),
	}
	if h.answered > 1 {
		// Of the sample, as mtr does.
		s.StdDev = time.Duration(math.Round(math.Sqrt(h.squares / float64(h.answered-1))))
	}
	s.PathLoss = min(s.Loss, continues)
	s.RateLimited = h.router.IsValid() && s.Loss < 1 && float64(h.lossRounds())-s.PathLoss*float64(h.rounds) >= minLimited
	return s
}
