package probe

import (
	"fmt"
	"net/netip"
	"slices"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// offersPerPacket is how often a packet is offered again to a socket that tells of ICMP errors instead of
	// taking it, and offersPerFlush how often those of one batch are. An offer takes 2 µs, in which at 20,000
	// errors a second one arrives in 4 of 100 cases, on a busy machine in half of them.
	offersPerPacket = 16
	offersPerFlush  = 2 * batchSize
	// believeDenial is how long it is believed that there is no way to a target, as long as the same error
	// is all that is heard of it: a /24 without a route costs one look at each address in that time.
	believeDenial = 5 * time.Second
)

// look asks the kernel whether a socket of this key has a way to a destination. It connects a UDP socket, which sends
// nothing. The socket is a fresh one, because Linux unbinds a socket from its interface when its connection is dissolved.
func (k socketKey) look(dst netip.Addr, tos uint8, broadcast bool) error {
	fd, err := ordinary(k, unix.SOCK_DGRAM)
	if err != nil {
		return fmt.Errorf("%w: %w", errPath, err)
	}
	defer func() { _ = unix.Close(fd) }()
	index := 0
	if k.device != "" {
		index = boundTo(fd, k.device)
	}
	if k.source.IsValid() {
		if err := k.bindAs(fd, 0, index); err != nil {
			return fmt.Errorf("%w: source %q: %w", errPath, k.source, err)
		}
	}
	if broadcast {
		if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_BROADCAST, 1); err != nil {
			return fmt.Errorf("%w: broadcast: %w", errPath, err)
		}
	}
	if tos != defaultTOS { // routing rules may ask for it (ip-rule(8))
		level, option := unix.IPPROTO_IP, unix.IP_TOS
		if k.v6 {
			level, option = unix.IPPROTO_IPV6, unix.IPV6_TCLASS
		}
		_ = unix.SetsockoptInt(fd, level, option, int(tos))
	}
	return unix.Connect(fd, sockaddr(dst, discardPort, index))
}

// offers counts how often packets of a batch were offered again.
type offers struct {
	packet, ofPacket, all int
	// judged says that the socket is known to tell of something else than this packet. A second look would only leave time
	// for the next error to arrive.
	judged    bool
	uncounted int // offers of this packet that no counter has yet: it may be refused all the same
}

// again says whether packet i may be offered once more.
func (o *offers) again(i int) bool {
	if o.packet != i {
		*o = offers{packet: i, all: o.all}
	}
	if o.ofPacket == offersPerPacket || o.all == offersPerFlush {
		return false
	}
	o.ofPacket++
	o.all++
	o.uncounted++
	return true
}

// blind says whether packet i may be offered again without a look: the first time, and after a look has said that the error is
// not its own.
func (o *offers) blind(i int) bool {
	return (o.packet != i || o.ofPacket == 0 || o.judged) && o.again(i)
}

// pending returns how many errors were not those of the packet, once that is sent.
func (o *offers) pending() float64 {
	n := o.uncounted
	o.uncounted = 0
	return float64(n)
}

// rejected finds out what it means that the kernel did not take packet i. It returns true if that is to be
// offered again.
func (b *batch) rejected(s *socket, i int, errno unix.Errno, at int64, o *offers) (again bool) {
	sl, serial := s.out.slots[i], s.out.flights[i].serial
	if gone := b.origins.suspect(s.origin, b.clock.now); gone != nil {
		b.absent(sl, gone)
		return false
	}
	if pendingError(errno) && !sl.believed(errno, at) && o.blind(i) {
		return true
	}
	why, err := b.judgeRefusal(sl, errno, at)
	switch {
	case why == refusedPending && o.again(i):
		o.judged = true
		return true
	case why == refusedNoRoute:
		b.noWay(sl, serial, at)
	case why == refusedBroadcast:
		b.leaveOut(sl, at)
	case errno == unix.EINVAL && s.transmit == transmitByID && !s.proven:
		// A kernel before 6.13 does not know the control message.
		b.lower(s, i)
		return true
	default:
		b.refused(sl, serial, err)
	}
	o.uncounted = 0
	return false
}

// noWay takes a probe for which this machine has no way to the target.
func (b *batch) noWay(sl *slot, serial uint32, at int64) {
	b.tally.sent++ // its outcome is known
	b.reach.deny(denial[*slot]{sl, sl.target.Handle, at, b.clock.at(at), uint16(serial)})
}

// believed says whether an error is believed to mean that there is no way, without a look.
func (s *slot) believed(errno unix.Errno, now int64) bool {
	return s.deniedBy == errno && now-s.denied < int64(believeDenial)
}

func (b *batch) judgeRefusal(sl *slot, errno unix.Errno, now int64) (refusal, error) {
	if sl.believed(errno, now) {
		return refusedNoRoute, errno
	}
	why, err := judgeRefusal(errno, pendingError(errno), sl.look)
	if why == refusedNoRoute {
		sl.denied, sl.deniedBy = now, errno
	}
	return why, err
}

// unplugged says whether a packet to a target would leave by an interface without carrier.
func (b *batch) unplugged(s *slot) bool {
	return b.carriers.lacks(&s.carrier, s.socket.key, s.socket.index, s.target.Addr, b.clock.now)
}

func (s *slot) look(broadcast bool) error {
	return keyOf(&s.target).look(s.target.Addr, s.target.TOS, broadcast)
}

// refused counts a probe that the local system would not send. It is neither sent nor lost.
func (b *batch) refused(sl *slot, serial uint32, err error) {
	b.metrics.sendErrors.WithLabelValues(errorName(err)).Inc()
	b.tally.fail(blockOf(sl.target.Handle, sl.target.Addr), err)
	b.o.Recorder.Unmeasured(sl.target.Handle, errorName(err))
	if sl.traced != 0 {
		b.trace(sl, Packet{Sequence: uint16(serial), Event: "send_error", Err: err})
	}
}

// leaveOut leaves a broadcast address alone for a while.
func (b *batch) leaveOut(sl *slot, now int64) {
	sl.aside = now + int64(asideFor)
	b.report.leaveOut(sl.target.Addr)
	b.o.Recorder.LeaveOut(sl.target.Handle)
}

// reached notes that a packet has left for a target that is new, or to which the packet before had no way.
func (b *batch) reached(sl *slot) {
	b.reach.left(sl)
	sl.deniedBy = 0
	if sl.aside != 0 {
		sl.aside = 0
		b.report.takeIn(sl.target.Addr)
	}
}

// newReach makes what judges the attempts without a way.
func (b *batch) newReach() reach[*slot] {
	return reach[*slot]{
		way:    func(s *slot) *way { return &s.way },
		look:   func(s *slot) bool { return !b.unplugged(s) && hasWay(s.look) },
		settle: b.settleDenied,
	}
}

// settleDenied records an attempt for which there was no way.
func (b *batch) settleDenied(d denial[*slot], offline bool) {
	event := b.o.deny(d.handle, d.sent, offline, &b.metrics.common)
	if s := d.target; s.traced != 0 && s.target.Handle == d.handle {
		b.trace(s, Packet{Sequence: d.sequence, Event: event, Sent: d.sent})
	}
}

// chart fits what is known of ways to the new targets.
func (b *batch) chart() {
	var targets []*slot
	for _, s := range b.slots {
		if s.used {
			targets = append(targets, s)
		}
	}
	slices.SortFunc(targets, func(a, b *slot) int { return a.target.Addr.Compare(b.target.Addr) }) // they stand in the order of their phases
	b.reach.apply(targets, func(s *slot) netip.Prefix { return blockOf(s.target.Handle, s.target.Addr) })
	b.tally.blocks = len(b.reach.blocks)
}
