package probe

import (
	"fmt"

	"golang.org/x/sys/unix"

	"prefix_exporter/prefix"
)

// userStampBatch is how many packets a system call sends when the clock must be read
// around it: the fewer, the less is guessed about when each left.
const userStampBatch = 16

// sendDue sends what is due in a group, at most its quota, and skips what is too late.
func (b *batch) sendDue(g *group) {
	g.begin(b.clock.now, int64(tick))
	for {
		i, due, late, ok := g.take()
		if !ok {
			return
		}
		s := b.slots[i]
		if s.aside > b.clock.now {
			continue
		}
		if s.socket.fd < 0 {
			b.absent(s, s.socket.origin.gone)
			continue
		}
		if late {
			b.skip(s, due)
			continue
		}
		if b.unplugged(s) {
			b.noWay(s, s.serial+1, b.clock.now)
			continue
		}
		sock := s.socket
		b.overtake(s)
		sock.add(b.key, s, s.next(), due)
		if sock.out.n == batchSize || sock.transmit == transmitNone && sock.out.n == userStampBatch {
			b.flush(sock)
		}
	}
}

// overtake gives up the probe whose place the next one needs, if its outcome is still open:
// a reload has made the interval shorter than its timeout, or there is more to read than can be.
func (b *batch) overtake(s *slot) {
	switch f := &s.flights[(s.serial+1)&1]; {
	case f.state == flightNone:
	case f.state == flightOut && f.refused != noError && b.clock.now >= f.departure()+f.timeout:
		b.lost(s, f)
	default:
		b.discard(s, f, discardOvertaken)
	}
}

func (b *batch) skip(s *slot, due int64) {
	b.metrics.skipped.Inc()
	b.tally.skipped++
	b.o.Recorder.Unmeasured(s.target.Handle, string(ReasonSkipped))
	if s.traced != 0 {
		b.trace(s, Packet{Sequence: uint16(s.serial + 1), Event: "skipped", Sent: b.clock.at(due), Err: errStale})
	}
}

func (b *batch) flushAll() {
	for _, s := range b.list {
		b.flush(s)
	}
}

// flush sends the batch of a socket. A packet that the kernel refuses is left out; the tail behind it
// is sent again, never the part before it.
func (b *batch) flush(s *socket) {
	out := &s.out
	var o offers
	for first := 0; first < out.n; {
		before := b.clock.monotonic()
		n, errno := s.send(first)
		switch {
		case errno == 0:
			s.proven = true
			if o.uncounted > 0 {
				b.metrics.pending.Add(o.pending())
			}
			b.launched(s, first, n, before)
			first += n
		case errno == unix.EINTR, b.rejected(s, first, errno, before, &o):
		default:
			first++
		}
	}
	b.sinceDrain += out.n
	out.n = 0
	if b.sinceDrain >= drainEvery {
		b.clock.update()
		b.drain(b.clock.now)
	}
}

// pendingError says whether an error may be the socket's memory of an ICMP error for an
// earlier packet (ip(7), IP_RECVERR) and not the fate of this one.
func pendingError(errno unix.Errno) bool {
	switch errno {
	case unix.EHOSTUNREACH, unix.ENETUNREACH, unix.ECONNREFUSED, unix.EMSGSIZE, unix.EPROTO,
		unix.ENOPROTOOPT, unix.EACCES, unix.EHOSTDOWN, unix.ENONET, unix.EOPNOTSUPP:
		return true
	}
	return false
}

// lower falls back to the next way of having transmit stamps, and rewrites the control
// messages of what is still to be sent.
func (b *batch) lower(s *socket, first int) {
	s.lowerTransmit()
	b.mode = max(b.mode, s.transmit)
	for i := first; i < s.out.n; i++ {
		s.putControl(i, s.out.slots[i])
	}
	b.describe([]*socket{s})
}

// launched puts the sent probes on their way.
func (b *batch) launched(s *socket, first, n int, before int64) {
	after := before
	if s.transmit == transmitNone {
		after = b.clock.monotonic()
	}
	for i := first; i < first+n; i++ {
		sl, f := s.out.slots[i], s.out.flights[i]
		handed := before
		if s.transmit == transmitNone { // interpolated over the system call
			handed += (after - before) * int64(i-first) / int64(n)
		}
		sl.launch(f, handed, s.drops)
		b.metrics.lag.Observe(float64(before-s.out.dues[i]) / 1e9)
		if sl.way != wayOpen {
			b.reached(sl)
		}
		if sl.traced != 0 {
			b.trace(sl, Packet{Sequence: uint16(f.serial), Event: "sent", Sent: b.clock.at(handed)})
		}
	}
	b.metrics.sent.Add(float64(n))
	b.tally.sent += n
}

// expire judges the probes whose deadline has passed. Deadlines count from the moment in which a probe was handed to
// the kernel, which gives them their order. If it left later than that (the thread was interrupted, or it waited in a
// queue of this machine), its time is not over yet: it is held until then.
func (b *batch) expire(now int64) {
	counted := false
	judge := func(e expiry) (held bool) {
		s := b.slots[e.slot]
		f := s.flight(e.serial)
		switch {
		case f == nil || f.state != flightOut:
			return false
		case f.departure()+f.timeout > now:
			return true
		}
		if !counted {
			counted = true
			b.countAllDrops()
		}
		if before := s.flight(e.serial - 1); before != nil && before.state == flightOut {
			b.expireOne(s, before) // results are recorded in the order of sending
		}
		b.expireOne(s, f)
		return false
	}
	still := b.held[:0]
	for _, e := range b.held {
		if judge(e) {
			still = append(still, e)
		}
	}
	b.held = still
	for timeout, d := range b.queues {
		for e, ok := d.pop(now); ok; e, ok = d.pop(now) {
			if judge(e) {
				b.held = append(b.held, e)
			}
		}
		if d.n == 0 && d.targets == 0 {
			delete(b.queues, timeout)
		}
	}
}

// expireOne judges one probe whose deadline has passed, after the drops have been
// counted. What the kernel may have dropped on our side is discarded, not lost, unless an
// ICMP error says that it is lost: what somebody else confirms is no doubt of ours.
func (b *batch) expireOne(s *slot, f *flight) {
	switch {
	case f.refused != noError:
		b.lost(s, f)
	case b.blind:
		b.discard(s, f, discardFlood)
	case f.drops != s.socket.drops:
		b.discard(s, f, discardKernelDrop)
	default:
		b.lost(s, f)
	}
}

func (b *batch) countAllDrops() {
	for _, s := range b.list {
		b.countDrops(s)
	}
}

// countDrops asks the kernel for what it dropped.
func (b *batch) countDrops(s *socket) {
	if n := s.readDrops(); n > 0 {
		b.metrics.drops.Add(float64(n))
		b.tally.dropped += int(n)
	}
}

// lost records a probe that got no reply in time, with the reason that an ICMP error gave.
func (b *batch) lost(s *slot, f *flight) {
	late := f.state == flightReplied
	f.state = flightNone
	sent := b.clock.at(f.departure())
	p := Packet{Sequence: uint16(f.serial), Event: prefix.Timeout.String(), Sent: sent}
	if f.refused == noError {
		b.o.Recorder.Record(s.target.Handle, sent, prefix.Timeout, 0)
	} else {
		why := s.causes[f.serial&1]
		b.o.Recorder.Reject(s.target.Handle, sent, why)
		p.Event, p.From = why.Outcome.String(), why.By
		if s.traced != 0 {
			p.Err = fmt.Errorf("ICMP type %d code %d", why.Type, why.Code)
		}
		if !late { // then the time is that of the reply
			p.Received = b.clock.at(f.receive)
		}
	}
	if s.traced != 0 {
		b.trace(s, p)
	}
}

// The values of the label reason of prefix_exporter_discarded_probes_total, but for those of
// the portable engines.
const (
	discardKernelDrop = string(ReasonKernelDrop) // the answer may have been dropped on our side
	discardFlood      = "flood"                  // the answer may be among what is not read yet
	discardOvertaken  = "overtaken"              // the next probe had to leave before the outcome was known
)

// discard gives up a probe whose outcome cannot be known for a reason of our own.
func (b *batch) discard(s *slot, f *flight, reason string) {
	f.state = flightNone
	b.metrics.discarded.WithLabelValues(reason).Inc()
	b.o.Recorder.Unmeasured(s.target.Handle, reason)
	if s.traced != 0 {
		b.trace(s, Packet{Sequence: uint16(f.serial), Event: "discarded", Sent: b.clock.at(f.departure())})
	}
}

// trace hands out a packet of a traced address, until its time is over.
func (b *batch) trace(s *slot, p Packet) {
	if b.clock.now > s.traced {
		s.traced = 0
		return
	}
	p.Addr, p.ID = s.target.Addr, s.target.ID
	b.report.trace(p)
}
