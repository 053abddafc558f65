package prefix

import (
	"cmp"
	"maps"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// Table holds all blocks. Its methods may be called from any goroutine.
type Table struct {
	onChange func(Change)
	start    time.Time    // with a monotonic reading: what the evidence of slots is timed from
	aged     atomic.Int64 // when Age was called last, in nanoseconds since start

	mu         sync.Mutex // serialises Apply, Restore and the look-ups by address
	blocks     map[netip.Prefix]*block
	remembered map[Key]Memory

	series   atomic.Pointer[[]*Series] // sorted by prefix, then probe; replaced by Apply
	revision atomic.Uint64
}

// block is one Block with its state. Its fields are guarded by Table.mu; each of its
// series holds what it needs of them under its own mutex.
type block struct {
	prefix netip.Prefix
	start  time.Time // Table.start
	info   *Block
	addrs  []netip.Addr         // by place; never written, replaced
	places map[netip.Addr]uint8 // the reverse of addrs
	series map[Probe]*Series    // by probe
	learn  nominal              // the learned reference
}

// NewTable makes an empty table. onChange is called after each change of state, by
// the goroutine that records, with no lock held; it must not block. Nil: nobody asks.
func NewTable(onChange func(Change)) *Table {
	if onChange == nil {
		onChange = func(Change) {}
	}
	t := &Table{onChange: onChange, start: time.Now(), blocks: map[netip.Prefix]*block{}}
	t.series.Store(&[]*Series{})
	return t
}

// Record counts one result: when the probe was sent, how it ended, and the RTT if
// it was answered. It allocates nothing and does not block on I/O.
func (t *Table) Record(h Handle, sent time.Time, o Outcome, rtt time.Duration) {
	t.record(h, sent, Cause{Outcome: o}, rtt)
}

func (t *Table) record(h Handle, sent time.Time, why Cause, rtt time.Duration) {
	if h.series == nil {
		return
	}
	rtt = max(rtt, 0) // a clock set back between two stamps must not wrap a sum
	if c, changed := h.series.record(h.index, h.generation, sent, why, rtt); changed {
		t.onChange(c)
	}
}

// Handle looks up the slot of one address and probe; false if it is not in the table.
func (t *Table) Handle(addr netip.Addr, p Probe) (Handle, bool) {
	s, place, ok := t.Find(addr, p)
	if !ok {
		return Handle{}, false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	slot := &s.slots[place]
	return Handle{series: s, index: uint8(place), generation: slot.generation}, slot.Configured
}

// Find returns the series that an address is in under a probe, and its place there.
func (t *Table) Find(addr netip.Addr, p Probe) (s *Series, place int, ok bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, b := range t.candidates(addr) {
		i, found := b.places[addr]
		if !found {
			continue
		}
		if s, found := b.series[p]; found {
			return s, int(i), true
		}
	}
	return nil, 0, false
}

// candidates are the blocks that may hold an address: its /24, or any IPv6 prefix around it.
func (t *Table) candidates(addr netip.Addr) (bs []*block) {
	if addr.Is4() {
		p, _ := addr.Prefix(24)
		if b, ok := t.blocks[p]; ok {
			bs = append(bs, b)
		}
		return bs
	}
	for _, b := range t.blocks {
		if b.prefix.Contains(addr) {
			bs = append(bs, b)
		}
	}
	return bs
}

// Series returns all series, sorted by prefix, then probe. The slice is shared and
// must not be written.
func (t *Table) Series() []*Series { return *t.series.Load() }

// Infos returns the descriptions of all blocks, sorted by prefix. They are shared
// and must not be written.
func (t *Table) Infos() []*Block {
	t.mu.Lock()
	defer t.mu.Unlock()
	infos := make([]*Block, 0, len(t.blocks))
	for _, b := range t.blocks {
		infos = append(infos, b.info)
	}
	slices.SortFunc(infos, func(a, b *Block) int { return comparePrefix(a.Prefix, b.Prefix) })
	return infos
}

func comparePrefix(a, b netip.Prefix) int {
	return cmp.Or(a.Addr().Compare(b.Addr()), cmp.Compare(a.Bits(), b.Bits()))
}

func compareSeries(a, b *Series) int {
	return cmp.Or(
		comparePrefix(a.block.prefix, b.block.prefix),
		cmp.Compare(a.probe.Kind, b.probe.Kind),
		cmp.Compare(a.probe.Port, b.probe.Port),
	)
}

// Apply makes the table hold just these blocks. What is in it already keeps its
// counters, state and history, address by address and probe by probe; Handles of
// what stays remain good. The blocks must be valid as Block says (the configuration
// has checked them) and belong to the table from now on.
func (t *Table) Apply(blocks []Block) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.remembered = t.memory() // for what goes now and comes back with a later call
	wanted := make(map[netip.Prefix]bool, len(blocks))
	for i := range blocks {
		info := &blocks[i]
		wanted[info.Prefix] = true
		b, ok := t.blocks[info.Prefix]
		if !ok {
			b = &block{prefix: info.Prefix, start: t.start, series: map[Probe]*Series{}}
			t.blocks[info.Prefix] = b
		}
		b.apply(info, t.remembered)
	}
	maps.DeleteFunc(t.blocks, func(p netip.Prefix, b *block) bool {
		if wanted[p] {
			return false
		}
		for _, s := range b.series {
			s.retire()
		}
		return true
	})

	var all []*Series
	for _, b := range t.blocks {
		all = slices.AppendSeq(all, maps.Values(b.series))
	}
	slices.SortFunc(all, compareSeries)
	t.series.Store(&all)
	t.revision.Add(1)
}

// Revision counts the calls of Apply that have ended: who has seen it knows of all that
// they changed.
func (t *Table) Revision() uint64 { return t.revision.Load() }

// apply gives a block its new description.
func (b *block) apply(info *Block, remembered map[Key]Memory) {
	addrs, places := assign(info, b.places)
	rules := map[Probe]map[netip.Addr]TargetProbe{}
	for _, target := range info.Targets {
		for _, p := range target.Probes {
			if rules[p.Probe] == nil {
				rules[p.Probe] = map[netip.Addr]TargetProbe{}
			}
			rules[p.Probe][target.Addr] = p
		}
	}
	maps.DeleteFunc(b.series, func(p Probe, s *Series) bool {
		if rules[p] != nil {
			return false
		}
		s.retire()
		return true
	})
	for p := range rules {
		if b.series[p] == nil {
			b.series[p] = &Series{block: b, probe: p, start: b.start}
		}
	}
	b.info, b.addrs, b.places = info, addrs, places
	for p, s := range b.series {
		s.apply(info, addrs, rules[p], remembered)
	}
}

// assign gives every address its place: an IPv4 address that of its last octet, so
// that a block always looks the same; an IPv6 address the one that it had, or the
// lowest free one.
func assign(info *Block, had map[netip.Addr]uint8) ([]netip.Addr, map[netip.Addr]uint8) {
	places := make(map[netip.Addr]uint8, len(info.Targets))
	if info.Prefix.Addr().Is4() {
		addrs := make([]netip.Addr, BlockSize)
		for _, target := range info.Targets {
			last := target.Addr.As4()[3]
			addrs[last], places[target.Addr] = target.Addr, last
		}
		return addrs, places
	}
	var taken [BlockSize]bool
	for _, target := range info.Targets {
		if i, ok := had[target.Addr]; ok {
			places[target.Addr], taken[i] = i, true
		}
	}
	free, size := 0, 0
	for _, target := range info.Targets {
		if _, ok := places[target.Addr]; !ok {
			for taken[free] {
				free++
			}
			places[target.Addr], taken[free] = uint8(free), true
		}
		size = max(size, int(places[target.Addr])+1)
	}
	addrs := make([]netip.Addr, size)
	for addr, i := range places {
		addrs[i] = addr
	}
	return addrs, places
}

// retire makes a series that leaves the table ignore what is still on its way to it.
func (s *Series) retire() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := range s.slots {
		s.slots[i].Configured = false
	}
}

// apply fits the slots to the block's new description and addresses.
func (s *Series) apply(info *Block, addrs []netip.Addr, rules map[netip.Addr]TargetProbe, remembered map[Key]Memory) {
	s.mu.Lock()
	defer s.mu.Unlock()
	was, old := s.info, s.addrs
	s.info, s.addrs = info, addrs
	s.generation++
	s.fitHistograms(was)
	for len(s.slots) < len(addrs) {
		s.slots = append(s.slots, Slot{})
		s.rings = append(s.rings, ring{})
	}
	// A block that shrinks keeps its places until the end: Handles point at them.
	if info.PerAddress != PerAddressNone {
		for len(s.histograms) < len(s.slots) {
			s.histograms = append(s.histograms, nil)
		}
	}
	for i := range s.slots {
		var now, before netip.Addr
		if i < len(addrs) {
			now = addrs[i]
		}
		if i < len(old) {
			before = old[i]
		}
		rule, probed := rules[now]
		slot := &s.slots[i]
		if probed && slot.Configured && now == before {
			slot.reconfigure(rule, int64(time.Since(s.start)))
			continue
		}
		s.rings[i] = ring{}
		if s.histograms != nil {
			s.histograms[i] = nil
		}
		*slot = Slot{Configured: probed, rule: rule, generation: slot.generation + 1, measured: int64(time.Since(s.start))}
		if m, ok := remembered[Key{now, s.probe}]; ok && probed {
			slot.recall(m)
		}
	}
}

// fitHistograms drops the histograms that no longer are what the block asks for. The
// counters of addresses that begin a histogram begin with it: the count of a histogram
// must be the sum of its buckets, and sent must remain answered plus lost.
func (s *Series) fitHistograms(was *Block) {
	bounds := s.histogram == nil || !slices.Equal(s.histogram.Bounds, s.info.Buckets)
	if bounds {
		s.histogram = newHistogram(s.info.Buckets, true, true)
	}
	per := s.info.PerAddress
	if was == nil || was.PerAddress == per && !(bounds && per == PerAddressClassic) {
		return
	}
	s.histograms = nil
	if per == PerAddressNone {
		return
	}
	for i := range s.slots {
		s.slots[i].Counts, s.slots[i].RTTSum = [Outcomes]uint64{}, 0
	}
}

// reconfigure changes what the outcomes of a probed address mean, at a moment as Slot.measured has it.
func (s *Slot) reconfigure(rule TargetProbe, now int64) {
	// Where probes become more frequent, the first of them is still to come: until then the evidence is
	// as good as it was when nothing more was due.
	before, after := int64(s.rule.patience()), int64(rule.patience())
	s.measured = max(s.measured, min(s.measured+before, now+after)-after)
	s.rule = rule
	never := s.LastAnswer.IsZero()
	if rule.Expect == ExpectNone || rule.Expect == ExpectSeen && never {
		s.Known, s.before, s.oks, s.fails = false, Dark, 0, 0
		if s.State != Unknown { // which it stays: nothing has been measured since
			s.State = Dark
		}
	}
}
