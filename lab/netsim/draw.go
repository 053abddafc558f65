package netsim

import (
	"encoding/binary"
	"math"
	"net/netip"
	"time"
)

// purpose keeps the draws for one packet apart. Every draw is a function of seed, address, number of the
// packet at that address, and purpose: so a draw depends neither on what other addresses receive nor on
// which other properties a rule has.
type purpose uint64

const (
	drawSpread purpose = iota
	drawLoss
	drawBurstMove
	drawBurstLoss
	drawDuplicate
	drawUnreachable
	drawExceeded
	// Those below are drawn for each copy of a reply.
	drawJitter
	drawNormal
	drawNormalAngle
	drawReorder
	drawCorrupt
	drawCorruptWhere
	purposes
)

// dice draws for one packet.
type dice uint64

// hostKey is what the draws of an address begin with.
func hostKey(seed uint64, a netip.Addr) uint64 {
	b := a.As16()
	k := mix(seed + 0x9e3779b97f4a7c15)
	k = mix(k ^ binary.BigEndian.Uint64(b[:8]))
	return mix(k ^ binary.BigEndian.Uint64(b[8:]))
}

// packetDice are the dice of the n-th packet of an address.
func packetDice(host uint64, n uint64) dice { return dice(mix(host + n*0x9e3779b97f4a7c15)) }

func (d dice) bits(p purpose, replica int) uint64 {
	return mix(uint64(d) ^ mix(uint64(p)+uint64(replica)*uint64(purposes)+1))
}

// uniform draws from [0, 1).
func (d dice) uniform(p purpose, replica int) float64 {
	return float64(d.bits(p, replica)>>11) / (1 << 53)
}

// hits is true with the given probability.
func (d dice) hits(probability float64, p purpose, replica int) bool {
	return probability > 0 && d.uniform(p, replica) < probability
}

// normal draws from the standard normal distribution, by Box and Muller.
func (d dice) normal(replica int) float64 {
	u := 1 - d.uniform(drawNormal, replica) // never 0
	return math.Sqrt(-2*math.Log(u)) * math.Cos(2*math.Pi*d.uniform(drawNormalAngle, replica))
}

// mix is the finaliser of splitmix64 (Steele, Lea, Flood 2014): every bit of the input turns over half of the output.
func mix(x uint64) uint64 {
	x ^= x >> 30
	x *= 0xbf58476d1ce4e5b9
	x ^= x >> 27
	x *= 0x94d049bb133111eb
	return x ^ x>>31
}

// delayOf is the delay of one reply under a behaviour.
func (b *behaviour) delayOf(d dice, host uint64, now int64, replica int) time.Duration {
	delay := b.delay.Constant
	switch {
	case b.delay.Normal != nil:
		n := b.delay.Normal
		delay = max(n.Min, n.Mean+time.Duration(float64(n.Stddev)*d.normal(replica)))
	case b.delay.Ramp != nil:
		r := b.delay.Ramp
		done := min(1, float64(now-b.rampBegin)/float64(r.Over))
		delay = r.From + time.Duration(done*float64(r.To-r.From))
	}
	if b.spread > 0 {
		delay += time.Duration(packetDice(host, 0).uniform(drawSpread, 0) * float64(b.spread))
	}
	if b.jitter > 0 {
		delay += time.Duration((2*d.uniform(drawJitter, replica) - 1) * float64(b.jitter))
	}
	if d.hits(b.reorder.Probability, drawReorder, replica) {
		delay += b.reorder.Delay
	}
	return max(0, delay)
}

// loses tells whether a request vanishes; bad is the state of the burst model of the address.
func (b *behaviour) loses(d dice, now int64, bad *bool) bool {
	lost := d.hits(b.loss.Probability, drawLoss, 0)
	if m := b.loss.Burst; m != nil {
		move := m.Enter
		if *bad {
			move = m.Leave
		}
		if d.hits(move, drawBurstMove, 0) {
			*bad = !*bad
		}
		p := m.Good
		if *bad {
			p = 1
			set(&p, m.Bad)
		}
		lost = d.hits(p, drawBurstLoss, 0) || lost
	}
	if m := b.loss.Periodic; m != nil && (now-b.lossBegin)%int64(m.Period) < int64(m.Length) {
		lost = true
	}
	return lost
}
