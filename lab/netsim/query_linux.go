package netsim

import (
	"net/netip"
	"slices"
	"time"
)

// copyBatch is how many packets are copied under one hold of the lock, so that looking at the truth keeps
// the loop waiting for some 20 µs at most.
const copyBatch = 256

// Truth returns the packets of some protocols that were read so far and not drained, in the order of
// reading. No protocol stands for ICMP, here and below.
func (l *Lab) Truth(of ...Protocol) []Packet { return l.packets(0, of) }

// Since returns those that were read at or after a moment. With the monotonic part that times from
// time.Now have, a stepped clock does not confuse it.
func (l *Lab) Since(t time.Time, of ...Protocol) []Packet {
	l.mu.Lock()
	n := l.engine.truth.search(l.moment(t).mono)
	l.mu.Unlock()
	return l.packets(n, of)
}

// wanted tells whether a protocol is among those that a caller asks about.
func wanted(p Protocol, of []Protocol) bool {
	return p == ICMP && len(of) == 0 || slices.Contains(of, p)
}

func (l *Lab) packets(from uint64, of []Protocol) []Packet {
	l.mu.Lock()
	truth := l.engine.truth
	from = max(from, l.drained)
	end := truth.packets.end()
	l.mu.Unlock()
	out := make([]Packet, 0, end-min(from, end))
	for from < end {
		room := make([]Reply, 0, 2*copyBatch)
		l.mu.Lock()
		from = max(from, l.drained)
		for stop := min(end, from+copyBatch); from < stop; from++ {
			if wanted(truth.packets.at(from).protocol, of) {
				var p Packet
				p, room = truth.packet(from, room)
				out = append(out, p)
			}
		}
		l.mu.Unlock()
	}
	return out
}

// Drain returns the packets of all protocols since the last call whose replies have all been written, in
// the order of reading, up to the first that has not, and forgets them: for labs that run for hours. A
// connection is waited for until its end, but no more than 5 seconds.
func (l *Lab) Drain() []Packet {
	var out []Packet
	for {
		room := make([]Reply, 0, 2*copyBatch)
		l.mu.Lock()
		truth, now := l.engine.truth, l.now().mono
		end := min(truth.packets.end(), l.drained+copyBatch)
		n := l.drained
		for ; n < end; n++ {
			var p Packet
			if p, room = truth.packet(n, room); !p.settled(now) {
				break
			}
			out = append(out, p)
		}
		done := n == l.drained || n < end
		if n > l.drained {
			l.drained = n
			truth.forget(n)
		}
		l.mu.Unlock()
		if done {
			return out
		}
	}
}

// Counters returns the sums of one address; all zero when it has received nothing.
func (l *Lab) Counters(a netip.Addr, of ...Protocol) (sum Counters) {
	l.mu.Lock()
	defer l.mu.Unlock()
	h := l.engine.host(a)
	if h == nil {
		return sum
	}
	hosts := l.engine.hosts
	for p, i := range [protocols]uint32{h.self, h.tcp, h.udp} {
		if wanted(Protocol(p), of) && (p == 0 || i != 0) {
			sum.add(&hosts[i].counters)
		}
	}
	return sum
}

// Totals returns the sums of all addresses.
func (l *Lab) Totals(of ...Protocol) (sum Counters) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for p := range l.engine.totals {
		if wanted(Protocol(p), of) {
			sum.add(&l.engine.totals[p])
		}
	}
	return sum
}

// Stats returns what the truth does not tell.
func (l *Lab) Stats() Stats {
	l.mu.Lock()
	defer l.mu.Unlock()
	s := l.engine.stats
	s.Pending = l.engine.queue.len()
	if !l.closed {
		s.Dropped = l.tun.dropped()
	}
	return s
}
