package frame

import (
	"math"
	"time"

	"prefix_exporter/prefix"
)

// sums is what RTTs and losses add up to; the zero value is of none. Times are in
// nanoseconds.
type sums struct {
	answered, lost uint32
	diffs          uint32         // how many RTTs had one before them to be compared with
	cause          prefix.Outcome // of the newest loss
	min, max       prefix.Sample  // NoSample: no answer
	mean           float64
	squares        float64 // the sum of (RTT - mean)²
	diff           float64 // the sum of |RTT - the one before|
}

// answer adds one RTT, and the one before it, if there is one.
func (s *sums) answer(v prefix.Sample, rtt, before time.Duration) {
	s.answered++
	// Welford's method: no difference of large numbers.
	delta := float64(rtt) - s.mean
	s.mean += delta / float64(s.answered)
	s.squares += delta * (float64(rtt) - s.mean)
	s.extend(v, v)
	if before > 0 {
		s.diffs++
		s.diff += math.Abs(float64(rtt - before))
	}
}

// lose adds one loss.
func (s *sums) lose(v prefix.Sample) {
	s.lost++
	s.cause, _ = v.Lost()
}

func (s *sums) extend(low, high prefix.Sample) {
	if s.min == prefix.NoSample || low < s.min {
		s.min = low
	}
	s.max = max(s.max, high)
}

// add adds what others, which are newer, add up to (Chan, Golub and LeVeque, "Updating Formulae and a
// Pairwise Algorithm for Computing Sample Variances", 1979).
func (s *sums) add(o *sums) {
	s.lost += o.lost
	if o.lost > 0 {
		s.cause = o.cause
	}
	s.diffs += o.diffs
	s.diff += o.diff
	if o.answered == 0 {
		return
	}
	both := float64(s.answered) + float64(o.answered)
	delta := o.mean - s.mean
	s.squares += o.squares + delta*delta*float64(s.answered)*float64(o.answered)/both
	s.mean += delta * float64(o.answered) / both
	s.answered += o.answered
	s.extend(o.min, o.max)
}

// Numbers sum up the last hour of one address under one probe, or of many: 60 whole
// minutes and the one that runs. What is lost while an address is dark is not in them.
type Numbers struct {
	sums
	last     float64 // the sum of the last RTTs, ns
	lasts    int
	lastSent int64 // when the oldest of their probes was sent, in Unix seconds
	stale    bool  // the address may no longer be as the last RTT says
	causes   [prefix.Outcomes]int
}

// Add adds the numbers of others.
func (n *Numbers) Add(o *Numbers) {
	n.sums.add(&o.sums)
	if !o.stale && o.lasts > 0 {
		if n.lasts == 0 || o.lastSent < n.lastSent {
			n.lastSent = o.lastSent
		}
		n.last += o.last
		n.lasts += o.lasts
	}
	for i, k := range o.causes {
		n.causes[i] += k
	}
}

// Samples is how many probes ended, and Lost how many of them without an answer.
func (n *Numbers) Samples() int { return int(n.answered) + int(n.lost) }

// Lost is how many probes were lost.
func (n *Numbers) Lost() int { return int(n.lost) }

// Min returns the shortest RTT, to 0.014 %, and false if there was no answer.
func (n *Numbers) Min() (time.Duration, bool) { return n.min.RTT() }

// Max returns the longest RTT, to 0.014 %, and false if there was no answer.
func (n *Numbers) Max() (time.Duration, bool) { return n.max.RTT() }

// Mean returns the mean RTT, and false if there was no answer. It is never outside of Min
// and Max, which rounding could else make it.
func (n *Numbers) Mean() (time.Duration, bool) {
	low, ok := n.Min()
	high, _ := n.Max()
	return min(max(time.Duration(n.mean), low), high), ok
}

// Deviation returns the standard deviation of the RTTs, sqrt(E[x²]-E[x]²), which ping(8)
// prints as mdev, and false if there was no answer.
func (n *Numbers) Deviation() (time.Duration, bool) {
	if n.answered == 0 {
		return 0, false
	}
	return time.Duration(math.Sqrt(n.squares / float64(n.answered))), true
}

// Variation returns the mean difference of an RTT from the one before it, without its
// sign, and false if no two RTTs followed each other. Of many addresses it is the mean over all
// their RTTs.
func (n *Numbers) Variation() (time.Duration, bool) {
	if n.diffs == 0 {
		return 0, false
	}
	return time.Duration(n.diff / float64(n.diffs)), true
}

// Last returns the newest RTT, and false if there is none, or if the address is unknown or left
// out. Of many addresses it is the mean over those whose newest probe was answered.
func (n *Numbers) Last() (time.Duration, bool) {
	if n.lasts == 0 {
		return 0, false
	}
	return time.Duration(n.last / float64(n.lasts)), true
}

// LastSent returns when the probe was sent that Last is of, in Unix seconds; of many addresses the oldest
// of them. It is false where Last is.
func (n *Numbers) LastSent() (unix int64, ok bool) { return n.lastSent, n.lasts > 0 }

// Error returns why the newest probe was lost: of many addresses the most frequent cause,
// dark and unknown addresses not counted. Answered: it was not lost, or there is none.
func (n *Numbers) Error() (cause prefix.Outcome) {
	for o := prefix.Timeout; int(o) < prefix.Outcomes; o++ {
		if n.causes[o] > n.causes[cause] {
			cause = o
		}
	}
	return cause
}
