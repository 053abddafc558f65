//go:build linux

package main

import (
	"slices"
	"time"

	"prefix_exporter/lab/netsim"
)

// measured is one answered probe, as both have seen it.
type measured struct {
	sent time.Time     // by the exporter
	hold time.Duration // the truth
	off  time.Duration // the exporter's RTT less the truth
}

// ledger counts the packets of one kind of network.
type ledger struct {
	addresses, probes   int
	lost, lostSeen      int // by the lab's record, by the exporter's
	late                int // of the lost: answered, but after the timeout
	copies, copiesSeen  int // replies beyond the first
	differ              int // probes whose end the two tell differently
	unknown, unexpected int // of these: the exporter says nothing, or what cannot be
}

// comparison is the record of the lab beside that of the exporter.
type comparison struct {
	network  network
	measured []measured
	sent     []int64 // when packets left, by the exporter, sorted: ns since the epoch
	ledgers  map[string]*ledger
	open     int // sent when the end was near, without an outcome
	phantoms int // notes about packets that the lab has not seen
}

// packetKey names a packet. An address is asked once a second, so no sequence comes
// twice within 18 hours.
type packetKey struct {
	addr     [4]byte
	sequence uint16
}

// compare compares packet by packet. Packets since settled may have no outcome.
func compare(n network, truth []netsim.Packet, notes []note, settled time.Time) *comparison {
	c := &comparison{network: n, ledgers: map[string]*ledger{}}
	for _, k := range n.kinds {
		if c.ledgers[k.name] == nil {
			c.ledgers[k.name] = &ledger{}
		}
		c.ledgers[k.name].addresses += 256
	}
	byPacket := make(map[packetKey][]note, len(truth))
	for _, note := range notes {
		k := packetKey{note.Addr, note.Sequence}
		byPacket[k] = append(byPacket[k], note)
		if note.Event == answered || note.Event == timedOut {
			c.sent = append(c.sent, note.Sent)
		}
	}
	slices.Sort(c.sent)
	for i := range truth {
		p := &truth[i]
		k := packetKey{p.Dst.As4(), p.Seq}
		told := byPacket[k]
		delete(byPacket, k)
		if len(told) == 0 && !time.Unix(0, p.Read).Before(settled) {
			c.open++
			continue
		}
		c.packet(p, told)
	}
	c.phantoms = len(byPacket)
	return c
}

// packet compares one packet with all that was noted of it.
func (c *comparison) packet(p *netsim.Packet, told []note) {
	l := c.ledgers[c.network.kindOf(p.Dst).name]
	l.probes++
	// A reply after the timeout comes too late to change the end of its probe. Copies are
	// told apart from it.
	want, lates, copies := answered, 0, 0
	switch {
	case p.Verdict != netsim.Answered:
		want = timedOut
		l.lost++
	case p.Hold() > timeout:
		want, lates, copies = timedOut, 1, p.Duplicates()
		l.lost++
		l.late++
	default:
		copies = p.Duplicates()
	}
	l.copies += copies
	ends, seen, latesSeen := 0, 0, 0
	for _, n := range told {
		switch n.Event {
		case answered, timedOut:
			if ends++; n.Event != want || ends > 1 {
				l.unexpected++
			}
			if n.Event == timedOut {
				l.lostSeen++
			} else if want == answered {
				c.measured = append(c.measured, measured{time.Unix(0, n.Sent), p.Hold(), time.Duration(n.RTT) - p.Hold()})
			}
		case duplicate:
			seen++
		case late:
			latesSeen++
		default:
			l.unexpected++
		}
	}
	l.copiesSeen += seen
	if ends == 0 {
		l.unknown++
	}
	if ends != 1 || seen != copies || latesSeen != lates || !slices.ContainsFunc(told, func(n note) bool { return n.Event == want }) {
		l.differ++
	}
}

// errors returns how much the RTTs that fit were off, sorted, and how much one of them was
// below the truth at most.
func (c *comparison) errors(fits func(measured) bool) (off []time.Duration, below time.Duration) {
	for _, m := range c.measured {
		if fits(m) {
			off = append(off, m.off.Abs())
			below = max(below, -m.off)
		}
	}
	slices.Sort(off)
	return off, below
}

// percentile returns the value below which this share of a sorted list is; 0 of none.
func percentile(sorted []time.Duration, share float64) time.Duration {
	if len(sorted) == 0 {
		return 0
	}
	return sorted[min(int(share*float64(len(sorted))), len(sorted)-1)]
}

// window is the time of which the evenness of sending is judged.
const window = 10 * time.Millisecond

// uneven is what a window may carry at most, in times of its share.
const uneven = 1.5

// evenness says how evenly packets left between two moments: how many times its share of
// them the fullest window had, wherever it began, and which part of the windows, taken
// one after the other, had more than they may.
func (c *comparison) evenness(from, to time.Time) (fullest, tooFull float64) {
	first, _ := slices.BinarySearch(c.sent, from.UnixNano())
	last, _ := slices.BinarySearch(c.sent, to.UnixNano())
	share := float64(c.network.addresses()) * window.Seconds()
	byWindow := map[int64]int{}
	begin := first
	for end := first; end < last; end++ {
		for c.sent[end]-c.sent[begin] >= int64(window) {
			begin++
		}
		fullest = max(fullest, float64(end-begin+1)/share)
		byWindow[(c.sent[end]-from.UnixNano())/int64(window)]++
	}
	for _, n := range byWindow {
		if float64(n) > uneven*share {
			tooFull++
		}
	}
	return fullest, tooFull / (float64(to.Sub(from)) / float64(window))
}

// decade is a range of delays.
type decade struct {
	name     string
	from, to time.Duration
}

func decades() []decade {
	return []decade{
		{"0.5 to 1 ms", 0, time.Millisecond},
		{"1 to 10 ms", time.Millisecond, 10 * time.Millisecond},
		{"10 to 100 ms", 10 * time.Millisecond, 100 * time.Millisecond},
		{"100 ms and more", 100 * time.Millisecond, time.Hour},
	}
}

func (d decade) fits(m measured) bool { return m.hold >= d.from && m.hold < d.to }
