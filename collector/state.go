package collector

import (
	"slices"
	"time"

	"prefix_exporter/prefix"
)

// state is what one scrape shows: everything is read from the table first, each series
// at one moment, and all families are written from this copy. No lock is held while
// they are, and sent is answered plus lost although they stand in different families.
// Its memory is used again by the next scrape.
type state struct {
	infos  []*info
	series []series
	// targets are the configured addresses of all series, one series after the other.
	targets []target
	// buckets holds the per-address histograms, each where its target says.
	buckets []uint64
	nominal []time.Duration // of infos; 0: none yet

	// known addresses by block, in the order of its targets: where a block begins in shown.
	begin map[*prefix.Block]int
	shown []bool

	described bool   // TargetInfo has an address to show
	known     bool   // targets has a known one
	measured  bool   // targets has one whose state is not unknown
	rttType   string // of TargetRTT; empty: as in the table

	snapshot prefix.Snapshot
}

// series is one probe of one block.
type series struct {
	labels     *labels
	info       *prefix.Block
	probe      prefix.Probe
	from, to   int // in state.targets
	perAddress prefix.PerAddress
	// Sums over the addresses of the block.
	histogram prefix.Histogram
	sent      uint64
	lost      [maxReasons]uint64
	states    [prefix.States]uint64
	down      breakdown // why those that are down are
	unknown   breakdown // why those that are unknown are
}

// target is one address under one probe.
type target struct {
	answered, sum uint64 // sum in nanoseconds
	lost          [maxReasons]uint64
	buckets       uint32 // where its histogram begins in state.buckets
	size          uint32 // of its histogram; 0: none
	place         uint8
	state         prefix.State
	known         bool
}

func (t *target) sent() uint64 {
	sum := t.answered
	for _, n := range t.lost {
		sum += n
	}
	return sum
}

// read fills the state from the table.
func (st *state) read(table *prefix.Table, c *cache) {
	all := table.Series()
	for len(st.series) < len(all) {
		st.series = append(st.series, series{})
	}
	st.series = st.series[:len(all)]
	st.targets, st.buckets, st.nominal = st.targets[:0], st.buckets[:0], st.nominal[:0]
	st.described, st.known, st.measured, st.rttType = false, false, false, ""
	st.list(table.Infos(), c)
	for i, from := range all {
		snap, s := &st.snapshot, &st.series[i]
		snap.Histogram, s.histogram = s.histogram, snap.Histogram
		from.Snapshot(snap)
		s.labels = c.labels(from, snap)
		snap.Histogram, s.histogram = s.histogram, snap.Histogram
		s.read(snap)
		s.from = len(st.targets)
		for place := range snap.Slots {
			st.add(s, snap, place)
		}
		s.to = len(st.targets)
		if s.perAddress != prefix.PerAddressNone {
			st.rttType = typeHistogram
		}
	}
	for _, i := range st.infos {
		st.nominal = append(st.nominal, table.NominalRTT(i.block.Prefix))
		for n := range i.block.Targets {
			st.described = st.described || st.describes(i, n)
		}
	}
	c.forget(all)
}

// list takes the descriptions of all blocks, of whose addresses none is known yet.
func (st *state) list(blocks []*prefix.Block, c *cache) {
	st.infos = c.infos(st.infos[:0], blocks)
	if st.begin == nil {
		st.begin = map[*prefix.Block]int{}
	}
	clear(st.begin)
	size := 0
	for _, b := range blocks {
		st.begin[b] = size
		size += len(b.Targets)
	}
	st.shown = slices.Grow(st.shown[:0], size)[:size]
	clear(st.shown)
}

// describes says whether TargetInfo shows the n-th address of a block: one that is known
// under any probe, or has a name to show. A dark one costs no second series.
func (st *state) describes(i *info, n int) bool {
	return i.block.Targets[n].Name != "" || st.shown[st.begin[i.block]+n]
}

// read takes what is said of the whole series.
func (s *series) read(snap *prefix.Snapshot) {
	s.info, s.probe, s.perAddress = snap.Info, snap.Probe, snap.Info.PerAddress
	s.states = [prefix.States]uint64{}
	s.down, s.unknown = s.down[:0], s.unknown[:0]
	s.lost = losses(s.probe.Kind, &snap.Counts)
	s.sent = 0
	for _, n := range snap.Counts {
		s.sent += n
	}
}

// add takes one address, if it is configured.
func (st *state) add(s *series, snap *prefix.Snapshot, place int) {
	slot := &snap.Slots[place]
	if !slot.Configured {
		return
	}
	s.states[slot.State]++
	switch slot.State {
	case prefix.Down:
		s.down.add(cause{slot.Cause.Outcome.String(), slot.Cause.Detail(), slot.Cause.By})
	case prefix.Unknown:
		s.unknown.add(cause{reason: slot.WhyUnknown()})
	}
	t := target{
		place:    uint8(place),
		state:    slot.State,
		known:    slot.Known,
		answered: slot.Counts[prefix.Answered],
		sum:      slot.RTTSum,
		lost:     losses(s.probe.Kind, &slot.Counts),
	}
	if place < len(snap.PerAddress) && snap.PerAddress[place] != nil && t.known {
		t.buckets = uint32(len(st.buckets))
		st.buckets = appendBuckets(st.buckets, s.perAddress, snap.PerAddress[place])
		t.size = uint32(len(st.buckets)) - t.buckets
	}
	st.targets = append(st.targets, t)
	st.measured = st.measured || t.state != prefix.Unknown
	if t.known {
		st.known = true
		// Absent after a reload between reading the blocks and this series: the next scrape has it.
		if begin, ok := st.begin[snap.Info]; ok {
			st.shown[begin+int(s.labels.targets[place])] = true
		}
	}
}

// of returns the histogram of a target, as appendBuckets wrote it.
func (st *state) of(t *target) []uint64 {
	return st.buckets[t.buckets : t.buckets+t.size]
}

// appendBuckets keeps what is needed of a histogram per address. Classic: the counts of
// the buckets without the last one, not cumulated. Native: the count of the zero bucket,
// then pairs of the place in the window and the count of every bucket that is not empty.
func appendBuckets(dst []uint64, per prefix.PerAddress, h *prefix.Histogram) []uint64 {
	if per == prefix.PerAddressClassic {
		return append(dst, h.Classic[:len(h.Bounds)]...)
	}
	dst = append(dst, h.Zero)
	for i, n := range h.Native {
		if n > 0 {
			dst = append(dst, uint64(h.First+i), n)
		}
	}
	return dst
}
