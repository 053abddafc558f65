package netsim

import (
	"encoding/binary"
	"net/netip"
	"time"
)

// This file is the TCP end of the simulated hosts. It keeps no connection: the sequence number of a
// SYN/ACK is a hash of the four-tuple, as with SYN cookies, and what comes back in the ACK tells whether a
// segment belongs to a handshake. Only the truth remembers, to say what became of each SYN.

// Service is how a host treats connections to a port.
type Service uint8

// The services; the zero value is that of a host on which nobody listens.
const (
	ServiceRefused    Service = iota // a reset in answer to the SYN: nobody listens
	ServiceOpen                      // the handshake succeeds; data are acknowledged and forgotten, a FIN is answered with a FIN
	ServiceSilent                    // SYNs are swallowed, as a firewall does
	ServiceReset                     // the handshake succeeds, then a reset in answer to the ACK
	ServiceResetEarly                // a reset right behind the SYN/ACK
)

var serviceNames = [...]string{"refused", "open", "silent", "reset", "reset_early"}

func (s Service) String() string { return serviceNames[s] }

// answerSYN schedules the answer to a SYN and its copies.
func (e *engine) answerSYN(r *request, h *host, rec *record, b *behaviour, d dice, now moment) {
	reply := segment{seq: cookie(h.key, r), ack: r.tcp.seq + 1, flags: flagSYN | flagACK, stamped: r.tcp.stamped}
	rec.verdict = Answered
	switch b.service {
	case ServiceSilent:
		rec.verdict = Silent
		return
	case ServiceRefused:
		rec.verdict = Refused
		// RFC 9293 section 3.10.7.1
		reply = segment{ack: r.tcp.seq + 1 + uint32(len(r.payload)), flags: flagRST | flagACK}
	case ServiceReset, ServiceResetEarly:
		rec.verdict = Reset
	}
	copies := e.copies(r, h, b, d)
	var last int64
	for i := range copies + 1 {
		last = int64(b.delayOf(d, h.key, now.mono, i) + time.Duration(i)*b.duplicate.After)
		e.scheduleSegment(r, h, rec, now, last, reply)
	}
	if b.service == ServiceResetEarly {
		e.scheduleSegment(r, h, rec, now, last, segment{seq: reply.seq + 1, ack: reply.ack, flags: flagRST | flagACK})
	}
}

// segment takes a TCP segment behind the SYN and answers it when it wants an answer. Loss and the like
// are for SYNs only; the delay is as theirs.
func (e *engine) segment(r *request, h *host, now moment, waited uint32) {
	e.stats.Segments++
	b := &e.rules.behaviours[e.rules.lookup(r.dst, TCP, r.dstPort, now.mono)]
	rec := e.truth.connection(r, h.addr, now.mono)
	mine := e.note(rec, h, r, now.mono-int64(waited))
	if r.tcp.flags&flagRST != 0 || b.silent || b.service == ServiceSilent {
		return
	}
	d := packetDice(h.key+uint64(protocols), e.stats.Segments)
	if !e.travel(r, h, nil, d, h.route, now) {
		return
	}
	length := r.tcp.length() + uint32(len(r.payload))
	reply := segment{seq: r.tcp.ack, ack: r.tcp.seq + length, flags: flagACK, stamped: r.tcp.stamped}
	switch {
	case r.tcp.flags&flagACK == 0:
		reply = segment{ack: r.tcp.seq + length, flags: flagRST | flagACK}
	case !mine || b.service != ServiceOpen:
		reply = segment{seq: r.tcp.ack, flags: flagRST}
	case length == 0:
		return
	case r.tcp.flags&flagFIN != 0 && r.tcp.ack == cookie(h.key, r)+1:
		reply.flags |= flagFIN // the lab has nothing more to say either
	}
	e.scheduleSegment(r, h, nil, moment{now.wall, now.mono - int64(waited)}, int64(b.delayOf(d, h.key, now.mono, 0)), reply)
}

// note writes into the record of a SYN what became of the connection, and tells whether a segment
// acknowledges what the lab has sent.
func (e *engine) note(rec *record, h *host, r *request, arrived int64) (mine bool) {
	acked := r.tcp.ack - cookie(h.key, r)
	mine = r.tcp.flags&flagACK != 0 && (acked == 1 || acked == 2) // a SYN, or a SYN and a FIN
	if rec == nil {
		return mine
	}
	since := uint32((arrived-rec.mono+int64(rec.waited))/1000) + 1 // never 0
	if mine && rec.get(noteEstablished) == 0 && r.tcp.flags&flagRST == 0 {
		rec.put(noteEstablished, since)
	}
	end := NoEnd
	switch {
	case r.tcp.flags&flagRST != 0:
		end = EndRST
	case mine && r.tcp.flags&flagFIN != 0:
		end = EndFIN
	}
	if end != NoEnd && rec.end == NoEnd {
		rec.end = end
		rec.put(noteEnded, since)
	}
	return mine
}

// scheduleSegment schedules a segment in answer to r; rec is nil when the truth does not have it.
func (e *engine) scheduleSegment(r *request, h *host, rec *record, now moment, delay int64, s segment) {
	index, slot := e.queue.take()
	if s.stamped {
		s.tsval = uint32((now.mono + delay) / int64(time.Millisecond)) // as Linux: ticks of a millisecond
	}
	slot.packet = appendSegment(slot.packet, r, s)
	slot.stamp = false
	if rec == nil {
		slot.untold = true
		e.arrive(slot)
		e.queue.push(now.mono+delay+int64(e.way.delay), index)
		return
	}
	e.schedule(index, h, rec, now, delay, answer{from: e.truth.addr(r.dst), flags: s.flags})
}

// cookie is the sequence number of the SYN/ACK in a connection to a host; it is always the same for the
// same addresses and ports.
func cookie(host uint64, r *request) uint32 {
	return uint32(mix(tupleHash(r.src, r.dst, r.srcPort, r.dstPort) ^ host))
}

func tupleHash(src, dst netip.Addr, srcPort, dstPort uint16) uint64 {
	a, b := src.As16(), dst.As16()
	k := uint64(srcPort)<<16 | uint64(dstPort)
	for _, part := range [...][]byte{a[:8], a[8:], b[:8], b[8:]} {
		k = mix(k ^ binary.BigEndian.Uint64(part))
	}
	return k
}

// End is how the code under test ended a connection.
type End uint8

// The ends.
const (
	NoEnd  End = iota // not at all, until now
	EndFIN            // orderly
	EndRST            // by a reset
)

var endNames = [...]string{"", "fin", "rst"}

func (e End) String() string { return endNames[e] }

// The record of a SYN has these numbers in place of the head of a payload, which a SYN does not have.
const (
	noteISN         = iota * 4 // initial sequence number of the client
	notePrevious               // number + 1 of the SYN before it in the same bucket; 0: none
	noteEstablished            // µs + 1 from arrival to the ACK of the handshake; 0: none
	noteEnded                  // µs + 1 from arrival to the FIN or reset; 0: none
)

func (r *record) put(note int, v uint32) { binary.NativeEndian.PutUint32(r.head[note:], v) }
func (r *record) get(note int) uint32    { return binary.NativeEndian.Uint32(r.head[note:]) }

// since returns the nanoseconds that a note of a time stands for; -1: none.
func (r *record) since(note int) int64 {
	if r.get(note) == 0 {
		return -1
	}
	return int64(r.get(note)-1) * int64(time.Microsecond)
}

// connection fills in what the truth tells of a SYN beyond that of other requests.
func (r *record) connection(p *Packet) {
	p.SrcPort, p.DstPort, p.ISN, p.Retransmit, p.End = r.id, r.seq, r.get(noteISN), r.retransmit, r.end
	if d := r.since(noteEstablished); d >= 0 {
		p.Established = p.ArrivedMono + d
	}
	if d := r.since(noteEnded); d >= 0 {
		p.Ended = p.ArrivedMono + d
	}
}

const (
	// connectionBuckets bounds the chains of SYNs to search: at 2,048 SYNs a second and the horizon below, 8 long.
	connectionBuckets = 1 << 16
	// connectionHorizon is beyond the last SYN of a Linux client, which gives up after 127 s (tcp_syn_retries of tcp(7)).
	connectionHorizon = 4 * time.Minute
)

// connection returns the record of the newest SYN with the addresses and ports of a segment, or nil.
func (t *truth) connection(r *request, host uint32, now int64) *record {
	if t.connections == nil {
		return nil
	}
	src := t.addr(r.src)
	first := t.packets.first()
	n := uint64(t.connections[tupleHash(r.src, r.dst, r.srcPort, r.dstPort)%connectionBuckets])
	for n > first {
		rec := t.packets.at(n - 1)
		if now-rec.mono > int64(connectionHorizon) {
			return nil
		}
		if rec.host == host && rec.src == src && rec.id == r.srcPort && rec.seq == r.dstPort {
			return rec
		}
		n = uint64(rec.get(notePrevious))
	}
	return nil
}

// connect enters the record of a SYN, number n, among the connections.
func (t *truth) connect(r *request, rec *record, n uint64) {
	before := t.connection(r, rec.host, rec.mono)
	rec.id, rec.seq = r.srcPort, r.dstPort
	rec.retransmit = before != nil && before.get(noteISN) == r.tcp.seq
	if t.connections == nil {
		t.connections = make([]uint32, connectionBuckets)
	}
	bucket := &t.connections[tupleHash(r.src, r.dst, r.srcPort, r.dstPort)%connectionBuckets]
	rec.put(noteISN, r.tcp.seq)
	rec.put(notePrevious, *bucket)
	*bucket = uint32(n + 1)
}
