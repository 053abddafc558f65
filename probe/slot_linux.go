package probe

import (
	"time"

	"golang.org/x/sys/unix"

	"prefix_exporter/prefix"
)

// flightState is what is known of one probe.
type flightState uint8

const (
	flightNone    flightState = iota // never sent, or its outcome is recorded
	flightOut                        // sent, no reply yet, whatever ICMP errors say
	flightReplied                    // answered, to be recorded once its transmit stamp is read
)

// evidence is how well an ICMP error shows that it is about one of our probes.
type evidence uint8

const (
	noError  evidence = iota // there is none
	byName                   // it quotes 8 bytes: destination, identifier and sequence number are right
	byCookie                 // it quotes the cookie, which only those can know whom the probe has passed
)

// flight is one probe on its way. Times are nanoseconds on the engine's monotonic clock.
type flight struct {
	serial   uint32
	state    flightState
	refused  evidence // of the ICMP error about it
	timeout  int64
	size     int    // data bytes that it carries, whatever a reload has made of the target since
	handed   int64  // when it was handed to the kernel; never after it left
	transmit int64  // the kernel's stamp as it left; 0: none
	receive  int64  // when the reply arrived; before that, when the ICMP error was read
	drops    uint32 // what the socket had dropped when it was sent
}

// slot is one target as the batch engine sees it. Every probe has a serial number; the
// one in flight is at place serial&1, so that a probe may leave in the moment in which
// the deadline of the one before it is only just coming up.
type slot struct {
	target  Target
	index   uint32 // its place in the engine's table, and its number on the wire
	used    bool
	socket  *socket
	serial  uint32 // of the newest probe
	flights [2]flight
	// answered has bit i set if the probe with the serial number serial-i was
	// answered: it tells a duplicate from a late reply.
	answered uint32
	queue    *deadlines
	traced   int64           // log every packet until this moment
	causes   [2]prefix.Cause // of the flights that are refused

	way      way        // of reach
	deniedBy unix.Errno // what is believed to mean that there is no way, since denied; 0: nothing
	denied   int64
	carrier  carrier
	aside    int64 // a broadcast address, not to be asked before this moment; 0: none
}

// answeredBits is how many probes back a duplicate can be told from a late reply.
const answeredBits = 32

// verdict is what a reply turns out to be.
type verdict uint8

const (
	replyGood verdict = iota
	replyLate
	replyDuplicate
	replyUnsent // authentic, but of a probe that has not been sent: a serial of the future
)

// next readies the flight of the next probe of s and returns it. It is not in flight
// before launch.
func (s *slot) next() *flight {
	f := &s.flights[(s.serial+1)&1]
	*f = flight{serial: s.serial + 1}
	return f
}

// launch makes the flight that next returned the newest probe.
func (s *slot) launch(f *flight, handed int64, drops uint32) {
	s.serial = f.serial
	s.answered <<= 1
	f.state = flightOut
	f.handed = handed
	f.drops = drops
	f.timeout = int64(s.target.Timeout)
	f.size = s.target.Size
	s.queue.push(expiry{deadline: handed + s.queue.timeout, slot: s.index, serial: f.serial})
}

// flight returns the probe with this serial number, if it is one of the last two.
func (s *slot) flight(serial uint32) *flight {
	if f := &s.flights[serial&1]; f.serial == serial && f.state != flightNone {
		return f
	}
	return nil
}

// reply judges an authentic reply by its serial number, and marks its probe as answered.
func (s *slot) reply(serial uint32, received int64) verdict {
	age := s.serial - serial
	if age >= 1<<31 {
		return replyUnsent
	}
	if age >= answeredBits {
		return replyLate
	}
	bit := uint32(1) << age
	if s.answered&bit != 0 {
		return replyDuplicate
	}
	s.answered |= bit
	f := s.flight(serial)
	if f == nil || f.state != flightOut {
		return replyLate
	}
	f.state = flightReplied
	f.receive = received
	return replyGood
}

// refuse notes an ICMP error about a probe. It is no verdict: one copy of the probe, or somebody who
// is none of its routers, may have caused it, and the reply may still come. Until the deadline the error is only
// the reason for a loss. It returns false if the probe is no longer open, or if the error that
// is known is as good.
func (s *slot) refuse(f *flight, why prefix.Cause, how evidence, read int64) bool {
	if f.state != flightOut || how <= f.refused {
		return false
	}
	f.refused, f.receive = how, read
	s.causes[f.serial&1] = why
	return true
}

// stamp gives a transmit stamp to the probe that it belongs to: the newest one that
// was handed to the kernel before. slack covers the reading of two clocks.
func (s *slot) stamp(transmit, slack int64) bool {
	for _, serial := range [2]uint32{s.serial, s.serial - 1} {
		f := s.flight(serial)
		if f != nil && f.transmit == 0 && transmit >= f.handed-slack {
			f.transmit = transmit
			return true
		}
	}
	return false
}

// rtt is the round-trip time of an answered flight: the difference of two kernel
// stamps, or what is known best.
func (f *flight) rtt() time.Duration {
	return time.Duration(max(f.receive-f.departure(), 0))
}

// departure is when the probe left, as exactly as is known.
func (f *flight) departure() int64 {
	if f.transmit != 0 {
		return f.transmit
	}
	return f.handed
}

// outcomeOfError maps an ICMP error to the outcome of the probe that it quotes, if that stays
// without a reply; false if the error is no reason for a loss.
func outcomeOfError(v6 bool, icmpType byte) (prefix.Outcome, bool) {
	if v6 {
		switch icmpType {
		case 1, 2: // unreachable; too big (RFC 4443 sections 3.1, 3.2)
			return prefix.Unreachable, true
		case 3: // time exceeded (section 3.3)
			return prefix.TTLExceeded, true
		}
		return 0, false
	}
	switch icmpType {
	case 3: // destination unreachable (RFC 792)
		return prefix.Unreachable, true
	case 11: // time exceeded (RFC 792)
		return prefix.TTLExceeded, true
	}
	return 0, false
}
