package netsim

import (
	"net/netip"
	"sort"
	"time"
)

// Verdict is what became of a request: an echo request, a SYN, a datagram.
type Verdict uint8

// The verdicts.
const (
	Answered    Verdict = iota + 1 // at least one intact reply from the address asked; to a SYN: SYN/ACK
	Lost                           // drawn by loss
	Silent                         // the address is silent
	Unreachable                    // an ICMP destination unreachable instead of a reply
	TTLExceeded                    // an ICMP time exceeded instead of a reply
	RateLimited                    // over the rate limit
	Corrupted                      // every reply was damaged
	WrongSource                    // replies came from another address than the one asked
	Refused                        // the port is closed: a TCP reset, or an ICMP port unreachable from the host itself
	Reset                          // the handshake was granted, and then reset
	verdicts
)

var verdictNames = [...]string{"", "answered", "lost", "silent", "unreachable", "ttl_exceeded", "rate_limited", "corrupted", "wrong_source", "refused", "reset"}

func (v Verdict) String() string { return verdictNames[v] }

var corruptNames = [...]string{"", "flip", "payload", "truncate"}

func (m CorruptMode) String() string { return corruptNames[m] }

// Packet is the truth about one request that the lab read: an echo request, a SYN, or a UDP datagram.
type Packet struct {
	Number      uint64 // in the order of reading, from 0
	Arrived     int64  // when it came to the device, by the kernel: CLOCK_REALTIME, ns since the epoch
	ArrivedMono int64  // the same moment on CLOCK_MONOTONIC, ns
	Read        int64  // when the lab read it and decided: CLOCK_REALTIME, ns since the epoch
	ReadMono    int64  // the same moment on CLOCK_MONOTONIC, ns
	Src, Dst    netip.Addr
	Protocol    Protocol
	ID, Seq     uint16   // of an echo request
	TTL         uint8    // as it arrived
	Size        int      // payload, bytes
	Head        [16]byte // the first bytes of the payload, zeros behind a shorter one
	Verdict     Verdict
	Replies     []Reply // in the order of their making; empty when nothing is sent

	// Route is the number of the route that it took, in the order of the scenario, Path that of the path
	// of the route, both from 1; 0: none.
	Route, Path int
	// Hop is the number of the hop where it ended, from 1; 0: it arrived.
	Hop int

	// Of TCP and UDP.
	SrcPort, DstPort uint16
	// ISN is the initial sequence number of a SYN.
	ISN uint32
	// Retransmit: the SYN is the same as one before, up to 4 minutes ago.
	Retransmit bool
	// Established is when the ACK that completes the handshake arrived, CLOCK_MONOTONIC ns to the
	// microsecond; 0: not yet. It is said of the last SYN of the connection only, as are the next two.
	Established int64
	// End is how the code under test ended the connection, Ended when; 0: not yet.
	End   End
	Ended int64
}

// Reply is a packet that the lab sends because of a request.
type Reply struct {
	From        netip.Addr  // source: the address asked, a router, or the address that answers in its place
	Type, Code  uint8       // ICMP, in the numbers of the family
	Flags       uint8       // TCP, RFC 9293 section 3.1; 0: the reply is ICMP
	Corrupt     CorruptMode // Intact, or what is wrong with it
	Due         int64       // when it should be written: CLOCK_MONOTONIC, ns
	Written     int64       // when it was: CLOCK_REALTIME, ns since the epoch, just before the write; 0: not yet
	WrittenMono int64       // the same moment on CLOCK_MONOTONIC, ns; 0: not yet
	DoneMono    int64       // when the write had returned: CLOCK_MONOTONIC ns, rounded up to microseconds after WrittenMono; 0: not yet
}

// Duplicates is the number of replies beyond the first.
func (p *Packet) Duplicates() int { return max(0, len(p.Replies)-1) }

// Delay is the time that the scenario asked for until the first reply; 0 without a reply.
func (p *Packet) Delay() time.Duration {
	if len(p.Replies) == 0 {
		return 0
	}
	return time.Duration(p.first().Due - p.ArrivedMono)
}

// Hold is the time that the lab really held the packet until the first reply; 0 without a reply, or before it.
// A prober should measure Hold plus a few microseconds.
func (p *Packet) Hold() time.Duration {
	if len(p.Replies) == 0 || p.first().WrittenMono == 0 {
		return 0
	}
	return time.Duration(p.first().WrittenMono - p.ArrivedMono)
}

// Bounds returns the shortest and the longest RTT that right stamps can give; zeros without a reply, or
// before it. The kernel stamps a request after the tap has seen it and before the lab reads it, and a reply
// while the lab writes it. All that is some microseconds, unless the processor is taken away just there.
func (p *Packet) Bounds() (shortest, longest time.Duration) {
	if len(p.Replies) == 0 || p.first().DoneMono == 0 {
		return 0, 0
	}
	f := p.first()
	return time.Duration(f.WrittenMono - p.ReadMono), time.Duration(f.DoneMono - p.ArrivedMono)
}

// clockError is how far stamps may be apart that are taken of one moment, on two clocks and two processors.
const clockError = 2 * time.Microsecond

// Outside returns how much longer an RTT is than Bounds allow, negative if it is shorter, 0 between them.
func (p *Packet) Outside(rtt time.Duration) time.Duration {
	shortest, longest := p.Bounds()
	return min(0, rtt-shortest+clockError) + max(0, rtt-longest-clockError)
}

// first is the reply that is due first.
func (p *Packet) first() *Reply {
	f := &p.Replies[0]
	for i := range p.Replies {
		if p.Replies[i].Due < f.Due {
			f = &p.Replies[i]
		}
	}
	return f
}

// endWait is how long an open connection may keep Drain from telling about it: more than the ordinary
// timeouts of connecting.
const endWait = 5 * time.Second

// settled tells whether all replies have been written at a moment of CLOCK_MONOTONIC, and the end of a
// connection is known or far off.
func (p *Packet) settled(now int64) bool {
	if p.Protocol == TCP && p.Verdict == Answered && p.End == NoEnd && now-p.ReadMono < int64(endWait) {
		return false
	}
	for i := range p.Replies {
		if p.Replies[i].WrittenMono == 0 {
			return false
		}
	}
	return true
}

// Counters are sums over the requests of a protocol and their replies.
type Counters struct {
	Requests  uint64           // read
	Verdicts  [verdicts]uint64 // by Verdict
	Replies   uint64           // packets written in return: replies, copies, errors
	Duplicate uint64           // requests that were given more than one reply
}

// Of returns how many requests met a verdict.
func (c *Counters) Of(v Verdict) uint64 { return c.Verdicts[v] }

func (c *Counters) add(o *Counters) {
	c.Requests += o.Requests
	c.Replies += o.Replies
	c.Duplicate += o.Duplicate
	for i := range c.Verdicts {
		c.Verdicts[i] += o.Verdicts[i]
	}
}

// record is a Packet in 64 bytes.
type record struct {
	mono, wall int64
	head       [16]byte
	host, src  uint32
	reply      uint32 // number of the first reply; the others follow it
	waited     uint32 // ns from arrival to reading
	id, seq    uint16 // of TCP and UDP: source and destination port
	size       uint16
	route      uint16
	replies    uint8
	ttl        uint8
	verdict    Verdict
	protocol   Protocol
	path, hop  uint8
	end        End
	retransmit bool
}

// answer is a Reply in 40 bytes.
type answer struct {
	due, mono, wall int64
	from            uint32 // index of the address
	took            uint32 // µs that writing took, rounded up; 0: not done yet
	typ, code       uint8
	corrupt         CorruptMode
	flags           uint8
}

// done is when the reply had been written, CLOCK_MONOTONIC ns; 0: not yet.
func (a *answer) done() int64 {
	if a.took == 0 {
		return 0
	}
	return a.mono + int64(a.took)*1000
}

// truth is the log: 104 bytes per answered request, 130 MB for 10,240 a second over two minutes.
type truth struct {
	packets arena[record]
	answers arena[answer]
	addrs   []netip.Addr
	known   map[netip.Addr]uint32

	connections []uint32 // number + 1 of the newest SYN of each bucket, see truth.connect; nil before the first
}

func newTruth() *truth { return &truth{known: map[netip.Addr]uint32{}} }

// addr returns the index that stands for an address.
func (t *truth) addr(a netip.Addr) uint32 {
	i, ok := t.known[a]
	if !ok {
		i = uint32(len(t.addrs))
		t.addrs = append(t.addrs, a)
		t.known[a] = i
	}
	return i
}

// record begins the record of a request to the host with the given index.
func (t *truth) record(r *request, host uint32, now moment, waited uint32) *record {
	n, rec := t.packets.grow()
	*rec = record{
		mono: now.mono, wall: now.wall, waited: waited, host: host, src: t.addr(r.src),
		id: r.id, seq: r.seq, size: uint16(len(r.payload)), ttl: r.ttl, protocol: r.protocol,
	}
	switch r.protocol {
	case TCP:
		t.connect(r, rec, n)
		return rec
	case UDP:
		rec.id, rec.seq = r.srcPort, r.dstPort
	}
	copy(rec.head[:], r.payload)
	return rec
}

// packet rebuilds the n-th packet; its replies are appended to room.
func (t *truth) packet(n uint64, room []Reply) (Packet, []Reply) {
	r := t.packets.at(n)
	p := Packet{
		Number: n, Arrived: r.wall - int64(r.waited), ArrivedMono: r.mono - int64(r.waited), Read: r.wall, ReadMono: r.mono, Src: t.addrs[r.src], Dst: t.addrs[r.host],
		Protocol: r.protocol, TTL: r.ttl, Size: int(r.size), Verdict: r.verdict,
		Route: int(r.route), Path: int(r.path), Hop: int(r.hop),
	}
	switch r.protocol {
	case ICMP:
		p.ID, p.Seq, p.Head = r.id, r.seq, r.head
	case UDP:
		p.SrcPort, p.DstPort, p.Head = r.id, r.seq, r.head
	case TCP:
		r.connection(&p)
	}
	start := len(room)
	for i := range uint64(r.replies) {
		a := t.answers.at(uint64(r.reply) + i)
		room = append(room, Reply{t.addrs[a.from], a.typ, a.code, a.flags, a.corrupt, a.due, a.wall, a.mono, a.done()})
	}
	if r.replies > 0 {
		p.Replies = room[start:len(room):len(room)]
	}
	return p, room
}

// search returns the number of the first packet that was read at or after a moment of CLOCK_MONOTONIC.
func (t *truth) search(mono int64) uint64 {
	first := t.packets.first()
	n := sort.Search(int(t.packets.end()-first), func(i int) bool { return t.packets.at(first+uint64(i)).mono >= mono })
	return first + uint64(n)
}

// arena is a growing list of values in chunks that stay where they are. The chunks hold no pointers and
// come from outside of the Go heap where the system lets them: the log must not change the pace of
// garbage collection of the program under test, which often shares the process.
type arena[T any] struct {
	chunks []([]T)
	count  uint64
	gone   uint64 // chunks given back
	memory *memory
}

// chunkLen is 512 KiB of records: mapped every 0.8 s at 10,240 a second.
const chunkLen = 8192

func (a *arena[T]) first() uint64 { return a.gone * chunkLen }
func (a *arena[T]) end() uint64   { return a.count }

func (a *arena[T]) at(n uint64) *T {
	return &a.chunks[n/chunkLen][n%chunkLen]
}

// grow appends a zero value and returns its number and itself.
func (a *arena[T]) grow() (uint64, *T) {
	if a.count == uint64(len(a.chunks))*chunkLen {
		a.chunks = append(a.chunks, mapChunk[T](a.memory))
	}
	n := a.count
	a.count++
	return n, a.at(n)
}

// forget gives back the chunks that lie wholly before n.
func (a *arena[T]) forget(n uint64) {
	for ; (a.gone+1)*chunkLen <= n; a.gone++ {
		unmapChunk(a.memory, a.chunks[a.gone])
		a.chunks[a.gone] = nil
	}
}

// forget gives back the memory of the packets before n and their replies.
func (t *truth) forget(n uint64) {
	if n == 0 || n > t.packets.end() {
		return
	}
	if r := t.packets.at(n - 1); r.replies > 0 {
		t.answers.forget(uint64(r.reply))
	}
	t.packets.forget(n)
}
