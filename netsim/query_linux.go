package netsim

import (
	"net/netip"
	"time"
)

// copyBatch is how many packets are copied under one hold of the lock, so that looking at the truth keeps
// the loop waiting for some 20 µs at most.
const copyBatch = 256

// Truth returns all packets read so far and not drained, in the order of reading.
func (l *Lab) Truth() []Packet { return l.packets(0) }

// Since returns the packets that were read at or after a moment. With the monotonic part that times from
// time.Now have, a stepped clock does not confuse it.
func (l *Lab) Since(t time.Time) []Packet {
	l.mu.Lock()
	n := l.engine.truth.search(l.moment(t).mono)
	l.mu.Unlock()
	return l.packets(n)
}

func (l *Lab) packets(from uint64) []Packet {
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
			var p Packet
			p, room = truth.packet(from, room)
			out = append(out, p)
		}
		l.mu.Unlock()
	}
	return out
}

// Drain returns the packets since the last call whose replies have all been written, in the order of
// reading, up to the first that has not, and forgets them: for labs that run for hours.
func (l *Lab) Drain() []Packet {
	var out []Packet
	for {
		room := make([]Reply, 0, 2*copyBatch)
		l.mu.Lock()
		truth := l.engine.truth
		end := min(truth.packets.end(), l.drained+copyBatch)
		n := l.drained
		for ; n < end; n++ {
			var p Packet
			if p, room = truth.packet(n, room); !p.settled() {
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
func (l *Lab) Counters(a netip.Addr) Counters {
	l.mu.Lock()
	defer l.mu.Unlock()
	if h := l.engine.host(a); h != nil {
		return h.counters
	}
	return Counters{}
}

// Totals returns the sums of all addresses.
func (l *Lab) Totals() Counters {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.engine.totals
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
