package frame

import (
	"math"
	"time"

	"prefix_exporter/prefix"
)

// HistoryMinutes is how many whole minutes are kept of each address and probe.
const HistoryMinutes = 60

// cell is one minute of the answers of one address under one probe in 12 bytes: 60 of
// them for 10,240 addresses take 7.4 MB.
type cell struct {
	mean, min, max       prefix.Sample
	deviation, variation spread
	answered             uint16 // stops at 65,535
}

// column is one minute of a series, by place. Where no address has more than one result, as
// with TCP once a minute, a sample says it all, in two bytes instead of 12. All are
// nil if the minute had no result.
type column struct {
	single []prefix.Sample
	cells  []cell
	lost   []losses // beside cells; nil if nothing was lost
}

// losses is how many probes were lost in a minute, which stops at 8,191, and above it the cause
// of the newest of these losses.
type losses uint16

// countBits hold 6,000 losses, those of a minute at the shortest interval that can be
// configured, 10 ms, and leave room for prefix.Outcomes.
const countBits = 13

func newLosses(s *sums) losses {
	return losses(min(s.lost, 1<<countBits-1)) | losses(s.cause)<<countBits
}

func (l losses) addTo(dst *sums) {
	if n := uint32(l) & (1<<countBits - 1); n > 0 {
		dst.lost += n
		dst.cause = prefix.Outcome(l >> countBits)
	}
}

// spread is a deviation or variation on a scale that has a zero and is exact to 0.02 %
// from a microsecond on.
type spread uint16

const (
	// noSpread is that of no two RTTs.
	noSpread spread = math.MaxUint16
	// spreadOctaves is log2 of the largest value in nanoseconds: 68 s.
	spreadOctaves = 36
	// spreadSteps makes the steps 0.038 % wide.
	spreadSteps = float64(noSpread-1) / spreadOctaves
)

func newSpread(ns float64) spread {
	return spread(min(math.Round(math.Log2(1+max(ns, 0))*spreadSteps), float64(noSpread-1)))
}

func (s spread) ns() float64 { return math.Exp2(float64(s)/spreadSteps) - 1 }

// newCell packs the answers of a minute.
func newCell(s *sums) cell {
	c := cell{variation: noSpread}
	c.answered = uint16(min(s.answered, math.MaxUint16))
	if s.answered > 0 {
		c.mean = prefix.NewSample(prefix.Answered, time.Duration(s.mean))
		c.min, c.max = s.min, s.max
		c.deviation = newSpread(math.Sqrt(s.squares / float64(s.answered)))
	}
	if s.diffs > 0 {
		c.variation = newSpread(s.diff / float64(s.diffs))
	}
	return c
}

// sums unpacks it. Each RTT is taken to have had one before it if any had.
func (c *cell) sums() sums {
	s := sums{answered: uint32(c.answered), min: c.min, max: c.max}
	if mean, ok := c.mean.RTT(); ok {
		deviation := c.deviation.ns()
		s.mean = float64(mean)
		s.squares = deviation * deviation * float64(c.answered)
	}
	if c.variation != noSpread {
		s.diffs = uint32(c.answered)
		s.diff = c.variation.ns() * float64(c.answered)
	}
	return s
}

// addTo adds the minute of one place. before is the RTT of the minute before it, and what is
// returned that of this one, if it had a single one; else 0.
func (c *column) addTo(dst *sums, place int, before time.Duration) time.Duration {
	switch {
	case place < len(c.cells):
		s := c.cells[place].sums()
		if place < len(c.lost) {
			c.lost[place].addTo(&s)
		}
		dst.add(&s)
		return 0
	case place >= len(c.single) || c.single[place] == prefix.NoSample:
		return before
	}
	v := c.single[place]
	rtt, ok := v.RTT()
	if !ok {
		dst.lose(v)
		return before
	}
	dst.answer(v, rtt, before)
	return rtt
}

// forget empties one place.
func (c *column) forget(place int) {
	if place < len(c.cells) {
		c.cells[place] = cell{}
	}
	if place < len(c.lost) {
		c.lost[place] = 0
	}
	if place < len(c.single) {
		c.single[place] = prefix.NoSample
	}
}

// fill makes the column that of the minute which these slots have seen, in the memory
// of the column that it was before, and begins a new minute in the slots.
func (c *column) fill(slots []slot) {
	most, lost := uint32(0), uint32(0)
	for i := range slots {
		most = max(most, slots[i].now.answered+slots[i].now.lost)
		lost = max(lost, slots[i].now.lost)
	}
	was := *c
	*c = column{}
	switch {
	case most == 1:
		c.single = sized(was.single, len(slots))
		for i := range slots {
			c.single[i] = slots[i].only()
		}
	case most > 1:
		c.cells = sized(was.cells, len(slots))
		for i := range slots {
			c.cells[i] = newCell(&slots[i].now)
		}
		if lost == 0 {
			break
		}
		c.lost = sized(was.lost, len(slots))
		for i := range slots {
			c.lost[i] = newLosses(&slots[i].now)
		}
	}
	for i := range slots {
		slots[i].now = sums{}
	}
}

// sized returns a slice of n elements whose values mean nothing, in the memory of another
// if that has just as many: append would make room for more.
func sized[T any](memory []T, n int) []T {
	if cap(memory) == n {
		return memory[:n]
	}
	return make([]T, n)
}

// Minute is one minute of one address and probe. Times are 0 if there was no answer.
type Minute struct {
	Mean, Min, Max time.Duration
	Answered, Lost int
	Cause          prefix.Outcome // of the newest loss; Answered: nothing was lost
}

func newMinute(s *sums) (m Minute) {
	m.Answered, m.Lost, m.Cause = int(s.answered), int(s.lost), s.cause
	m.Min, _ = s.min.RTT()
	m.Max, _ = s.max.RTT()
	if s.answered > 0 {
		m.Mean = min(max(time.Duration(s.mean), m.Min), m.Max)
	}
	return m
}
