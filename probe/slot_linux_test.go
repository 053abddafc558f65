package probe

import (
	"testing"
	"time"
)

func newTestSlot(serial uint32) *slot {
	return &slot{serial: serial, queue: &deadlines{timeout: int64(time.Second)}, target: Target{Timeout: time.Second}}
}

func (s *slot) send(at int64) uint32 {
	f := s.next()
	s.launch(f, at, 0)
	return f.serial
}

func TestRepliesAreJudgedBySerial(t *testing.T) {
	for _, start := range []uint32{5, 1<<32 - 3, 1<<16 - 2} { // also where serial and sequence wrap
		s := newTestSlot(start)
		first := s.send(100)
		if v := s.reply(first, 200); v != replyGood {
			t.Errorf("a reply in time: %v", v)
		}
		if v := s.reply(first, 201); v != replyDuplicate {
			t.Errorf("the same again: %v", v)
		}
		s.flight(first).state = flightNone // recorded
		if v := s.reply(first, 202); v != replyDuplicate {
			t.Errorf("the same after it was recorded: %v", v)
		}
		second := s.send(1000)
		s.flight(second).state = flightNone // timed out
		if v := s.reply(second, 1200); v != replyLate {
			t.Errorf("a reply after the timeout: %v", v)
		}
		if v := s.reply(second, 1201); v != replyDuplicate {
			t.Errorf("a late reply twice: %v", v)
		}
		if v := s.reply(second+1, 1300); v != replyUnsent {
			t.Errorf("a reply to what was not sent: %v", v)
		}
		for range 40 {
			s.send(2000)
		}
		if v := s.reply(first, 3000); v != replyLate {
			t.Errorf("a reply forty probes late: %v", v)
		}
	}
}

func TestTwoProbesMayBeOnTheirWay(t *testing.T) {
	s := newTestSlot(0)
	first := s.send(1000)
	second := s.send(2000)
	if !s.stamp(2010, 0) || s.flight(second).transmit != 2010 || s.flight(first).transmit != 0 {
		t.Error("the stamp of the second went elsewhere")
	}
	if !s.stamp(1010, 0) || s.flight(first).transmit != 1010 {
		t.Error("the stamp of the first went elsewhere")
	}
	if s.stamp(2011, 0) {
		t.Error("a second stamp was taken for a probe")
	}
	if s.reply(first, 1500) != replyGood || s.reply(second, 2500) != replyGood {
		t.Error("a reply was not believed")
	}
	if got := s.flight(first).rtt(); got != 490 {
		t.Errorf("rtt %d, want 490", got)
	}
}
