package prefix

import (
	"context"
	"hash/maphash"
	"net/netip"
	"slices"
	"sync"
	"time"
)

// The learned reference of a block: the lowest one-minute median RTT (ICMP) of the
// last 24 hours. A minimum over a day forgets a congested evening, and a median over
// all addresses and a minute is not fooled by one lucky echo.
const (
	nominalMinutes = 24 * 60
	// NominalFloor is the lowest reference. Below a millisecond ratios tell of
	// scheduling, not of the network.
	NominalFloor = time.Millisecond
)

type nominal struct {
	mu      sync.Mutex
	medians []Sample // by minute, circular; NoSample where nothing was answered
	next    int
}

func (n *nominal) add(median Sample) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if len(n.medians) < nominalMinutes {
		n.medians = append(n.medians, median)
		return
	}
	n.medians[n.next] = median
	n.next = (n.next + 1) % nominalMinutes
}

// lowest returns the learned reference, or NoSample.
func (n *nominal) lowest() (low Sample) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, m := range n.medians {
		if m != NoSample && (low == NoSample || m < low) {
			low = m
		}
	}
	return low
}

// openSeconds is how many of the newest seconds are left out of a median: their slow answers are
// still on the way, and after a start, a pause or an outage the quick ones would be all there is.
const openSeconds = 2

// median returns the median RTT of the minute that the rings hold but for its open seconds, or
// NoSample. scratch is reused.
func (s *Series) median(scratch []Sample) (Sample, []Sample) {
	scratch = scratch[:0]
	s.mu.Lock()
	var open [RingSeconds]bool
	for ago := range int64(openSeconds) {
		open[secondPlace(s.ringSecond-ago)] = true
	}
	for i := range s.rings {
		for second, v := range s.rings[i].samples {
			if v >= FirstRTT && !open[second] {
				scratch = append(scratch, v)
			}
		}
	}
	s.mu.Unlock()
	if len(scratch) == 0 {
		return NoSample, scratch
	}
	slices.Sort(scratch)
	return scratch[len(scratch)/2], scratch
}

// NominalRTT returns the reference of a block: the configured one, or the one
// learned; 0 if there is none yet or no such block. Never below NominalFloor.
func (t *Table) NominalRTT(p netip.Prefix) time.Duration {
	t.mu.Lock()
	b, ok := t.blocks[p]
	if !ok {
		t.mu.Unlock()
		return 0
	}
	configured := b.info.NominalRTT
	t.mu.Unlock()
	if configured > 0 {
		return max(configured, NominalFloor)
	}
	learned, ok := b.learn.lowest().RTT()
	if !ok {
		return 0
	}
	return max(learned, NominalFloor)
}

// Run calls Age each second and learns the references, each block once a minute, the
// blocks spread over the minute, until the context ends. It returns nil.
func (t *Table) Run(ctx context.Context) error {
	seed := maphash.MakeSeed()
	ticker := time.NewTicker(time.Second)
	defer ticker.Stop()
	scratch := make([]Sample, 0, BlockSize*RingSeconds)
	for second := uint64(0); ; second++ {
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
		t.Age(time.Now())
		for _, s := range t.Series() {
			if s.probe.Kind != ICMP || maphash.Comparable(seed, s.block.prefix)%60 != second%60 {
				continue
			}
			var m Sample
			m, scratch = s.median(scratch)
			s.block.learn.add(m)
		}
	}
}
