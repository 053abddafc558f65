package prefix

import (
	"net/netip"
	"sync"
	"time"
)

// RingSeconds is how much of the past every slot keeps second by second.
const RingSeconds = 60

// Slot is the state of one address under one probe.
type Slot struct {
	// Configured is false for the places of a block that are not to be probed.
	Configured bool
	// Known addresses have answered once, or are expected to: only they count as
	// up, down, sent or lost.
	Known bool
	State State
	// Counts counts probes by outcome; their sum is what has been sent.
	Counts [Outcomes]uint64
	RTTSum uint64 // nanoseconds, over all answered probes
	// LastAnswer is when the address answered last; the zero time if never.
	LastAnswer time.Time
	// Cause is why the newest probe was lost; the zero Cause if it was answered.
	Cause Cause
	// Obstacle is why nothing could be measured the last time that it could not, as a value of the
	// label reason: a few words that never change. Empty since something was.
	Obstacle string
	// LeftOut says that this is no address to be probed, such as the broadcast address of a
	// subnet of this machine: it stays dark.
	LeftOut bool

	rule       TargetProbe
	generation uint32 // see Generation
	oks, fails uint8  // answered and lost probes in a row, stopping at 255
	// measured is when the newest probe was sent whose outcome is known, or since when the address
	// is to be probed, if that is later: nanoseconds since Series.start.
	measured int64
	before   State // of an Unknown address: what was believed of it when it was measured last
	untold   bool  // that it is Unknown has not been told: it is just since a restart
}

// Generation tells apart the addresses that took this place one after the other, and
// one that left and came back.
func (s *Slot) Generation() uint32 { return s.generation }

// Sent is the number of probes whose outcome is known.
func (s *Slot) Sent() uint64 {
	var sum uint64
	for _, n := range s.Counts {
		sum += n
	}
	return sum
}

// lateSeconds is how much older than the rings a result may be without being taken for
// a clock that was set back: the longest timeout is a minute, as long as the rings are,
// and its end is seen within moments.
const lateSeconds = 10

// ring holds the last RingSeconds samples of one slot, at the place of their second.
type ring struct {
	samples [RingSeconds]Sample
}

// Series is one probe of one block: a slot per address, and what is summed over them.
type Series struct {
	block *block // for what never changes; a series that was removed may outlive it
	probe Probe
	start time.Time // what measured counts from, on the monotonic clock

	mu         sync.Mutex
	info       *Block
	addrs      []netip.Addr
	slots      []Slot
	rings      []ring
	ringSecond int64 // the newest second (Unix) that the rings hold
	histograms []*Histogram
	histogram  *Histogram
	counts     [Outcomes]uint64
	generation uint64 // changes whenever a slot's address or configuration does
	aged       int64  // when age looked at the series last, as Slot.measured
	results    resultLog
}

// Handle names one slot for Table.Record. The zero Handle names none. A Handle
// outlives a reload: results for an address that is gone are ignored.
type Handle struct {
	series     *Series
	generation uint32
	index      uint8
}

// Change is a change of an address's state.
type Change struct {
	At       time.Time
	Prefix   netip.Prefix
	Addr     netip.Addr
	Probe    Probe
	From, To State
	// Cause is how the probe ended that decided; the zero Cause of a change to Unknown, too.
	Cause Cause
	// Obstacle is why nothing is measured, of a change to Unknown or of an address that is left out; empty: nobody said.
	Obstacle string
}

// Snapshot is a copy of a Series at one moment. Its memory is reused by the next
// Snapshot into it; Addrs and Info are shared and must not be written.
type Snapshot struct {
	// Generation changes whenever Info or Addrs do.
	Generation uint64
	Info       *Block
	Probe      Probe
	Addrs      []netip.Addr // by place; the zero Addr where none is configured
	Slots      []Slot       // by place
	// PerAddress holds a histogram per place where the block keeps them; nil elements
	// have seen no answer. Empty if the block keeps none.
	PerAddress []*Histogram
	spare      []*Histogram // the memory of the nil ones
	// Histogram holds the RTTs of all addresses of the block.
	Histogram Histogram
	// Counts are the sums over known addresses, by outcome.
	Counts [Outcomes]uint64
}

// Probe returns which probe the series is of.
func (s *Series) Probe() Probe { return s.probe }

// Prefix returns which block the series is of.
func (s *Series) Prefix() netip.Prefix { return s.block.prefix }

// Snapshot copies the series into dst. It blocks recording for the few
// microseconds that copying 256 slots takes.
func (s *Series) Snapshot(dst *Snapshot) {
	s.mu.Lock()
	defer s.mu.Unlock()
	dst.Generation = s.generation
	dst.Info = s.info
	dst.Addrs = s.addrs
	dst.Probe = s.probe
	dst.Slots = append(dst.Slots[:0], s.slots...)
	dst.Counts = s.counts
	s.histogram.copyTo(&dst.Histogram)
	s.snapshotPerAddress(dst)
}

func (s *Series) snapshotPerAddress(dst *Snapshot) {
	for _, h := range dst.PerAddress {
		if h != nil {
			dst.spare = append(dst.spare, h)
		}
	}
	dst.PerAddress = dst.PerAddress[:0]
	for _, h := range s.histograms {
		var to *Histogram
		if h != nil {
			to = dst.histogram()
			h.copyTo(to)
		}
		dst.PerAddress = append(dst.PerAddress, to)
	}
}

// histogram takes memory that an earlier snapshot used, or new one.
func (dst *Snapshot) histogram() *Histogram {
	n := len(dst.spare)
	if n == 0 {
		return new(Histogram)
	}
	h := dst.spare[n-1]
	dst.spare = dst.spare[:n-1]
	return h
}

// Ring appends to dst the last RingSeconds samples of the address at place, oldest
// first; the last one is of the second in which the newest result of the series fell.
func (s *Series) Ring(dst []Sample, place int) []Sample {
	s.mu.Lock()
	defer s.mu.Unlock()
	if place < 0 || place >= len(s.rings) {
		return dst
	}
	for i := int64(1); i <= RingSeconds; i++ {
		dst = append(dst, s.rings[place].samples[secondPlace(s.ringSecond+i)])
	}
	return dst
}

// Seconds appends to dst the RingSeconds samples of the address at place up to and
// including the second (Unix) newest, oldest first. What the rings do not hold is NoSample.
func (s *Series) Seconds(dst []Sample, place int, newest int64) []Sample {
	s.mu.Lock()
	defer s.mu.Unlock()
	for second := newest - RingSeconds + 1; second <= newest; second++ {
		v := NoSample
		if place >= 0 && place < len(s.rings) && second <= s.ringSecond && second > s.ringSecond-RingSeconds {
			v = s.rings[place].samples[secondPlace(second)]
		}
		dst = append(dst, v)
	}
	return dst
}

// record counts one result and returns the change of state that it made, if any.
func (s *Series) record(index uint8, generation uint32, at time.Time, why Cause, rtt time.Duration) (c Change, changed bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	slot := &s.slots[index]
	if !slot.Configured || slot.generation != generation {
		return c, false
	}
	o := why.Outcome
	v := NewSample(o, rtt)
	s.sample(index, at, v)
	if o == Answered {
		s.histogram.observe(rtt)
	}
	from := slot.State
	told := from
	if slot.untold {
		told = slot.before
	}
	counted := slot.step(at, s.since(at), s.aged, o)
	slot.Cause = why
	if counted {
		s.count(index, o, rtt)
	}
	if s.results.open {
		s.results.add(Result{at.UnixNano(), rtt, generation, v, index, newFlags(slot.State, counted)})
	}
	if slot.State == from || slot.State == told {
		return c, false
	}
	return Change{
		At: at, Prefix: s.block.prefix, Addr: s.addrs[index], Probe: s.probe,
		From: told, To: slot.State, Cause: why,
	}, true
}

// since is a moment as Slot.measured has it.
func (s *Series) since(at time.Time) int64 { return int64(at.Sub(s.start)) }

// count adds one result of a known address to every sum that it belongs to.
func (s *Series) count(index uint8, o Outcome, rtt time.Duration) {
	slot := &s.slots[index]
	slot.Counts[o]++
	s.counts[o]++
	if o != Answered {
		return
	}
	slot.RTTSum += uint64(rtt)
	if s.histograms == nil {
		return
	}
	if s.histograms[index] == nil {
		per := s.info.PerAddress
		s.histograms[index] = newHistogram(s.histogram.Bounds, per == PerAddressClassic, per == PerAddressNative)
	}
	s.histograms[index].observe(rtt)
}

// sample puts a result at its second and clears the seconds that nothing was put into.
func (s *Series) sample(index uint8, at time.Time, v Sample) {
	second := at.Unix()
	switch ahead := second - s.ringSecond; {
	case ahead <= 0 && ahead > -RingSeconds: // of this minute
	case ahead <= 0 && ahead > -RingSeconds-lateSeconds:
		return // a probe that waited for its whole timeout: too old for the rings
	case ahead < 0 || ahead >= RingSeconds: // a stepped clock or a long pause: nothing in the rings is of this minute
		clear(s.rings)
		s.ringSecond = second
	default:
		for q := s.ringSecond + 1; q <= second; q++ {
			for i := range s.rings {
				s.rings[i].samples[secondPlace(q)] = NoSample
			}
		}
		s.ringSecond = second
	}
	s.rings[index].samples[secondPlace(second)] = v
}

// secondPlace is where the rings keep a second. Seconds before 1970 have a place too.
func secondPlace(second int64) int64 {
	return ((second % RingSeconds) + RingSeconds) % RingSeconds
}
