package prefix

import (
	"cmp"
	"time"
)

// step moves the state of a slot on by the outcome of a probe, and says whether the probe
// counts. sent and aged are the moments at which the probe was sent and at which age looked
// last, as Slot.measured has them.
func (s *Slot) step(at time.Time, sent, aged int64, o Outcome) (counts bool) {
	s.measured = max(s.measured, sent)
	s.Obstacle, s.LeftOut = "", false
	if s.State != Unknown {
		return s.judge(at, o)
	}
	// What is believed goes on from where it was. It is shown again once an outcome that is not
	// too old itself agrees with it, or enough of them in a row contradict it.
	s.State = s.before
	counts = s.judge(at, o)
	if s.decided(o) && !s.stale(aged) {
		s.untold = false
		return counts
	}
	s.before, s.State = s.State, Unknown
	return counts
}

// decided says whether an outcome is evidence for the state that it led to.
func (s *Slot) decided(o Outcome) bool {
	switch {
	case s.rule.Expect == ExpectNone:
		return true
	case o == Answered:
		return s.State == Up
	}
	return s.State != Up
}

// judge moves the state of a slot that is not Unknown on.
func (s *Slot) judge(at time.Time, o Outcome) (counts bool) {
	if s.rule.Expect == ExpectNone {
		return false
	}
	if o == Answered {
		s.Known = true
		s.LastAnswer = at
		s.fails = 0
		s.oks = increment(s.oks)
		if s.State != Up && s.oks >= s.rule.UpAfter {
			s.State = Up
		}
		return true
	}
	if !s.Known && s.rule.Expect != ExpectAll {
		return false
	}
	if s.forgettable(at) {
		s.Known, s.State, s.oks, s.fails = false, Dark, 0, 0
		return false
	}
	s.Known = true
	s.oks = 0
	s.fails = increment(s.fails)
	if s.State != Down && s.fails >= s.rule.DownAfter {
		s.State = Down
	}
	return true
}

// forgettable says whether a silent address has been silent for so long that
// nothing is expected of it any more.
func (s *Slot) forgettable(at time.Time) bool {
	return s.rule.Expect == ExpectSeen && s.rule.DarkAfter > 0 && at.Sub(s.LastAnswer) > s.rule.DarkAfter
}

func increment(n uint8) uint8 {
	if n == 255 {
		return n
	}
	return n + 1
}

// believed is the state, or of an Unknown address what it was when it was measured last.
func (s *Slot) believed() State {
	if s.State == Unknown {
		return s.before
	}
	return s.State
}

// stale says whether the newest evidence is too old at a moment, as Slot.measured has it.
func (s *Slot) stale(now int64) bool { return now-s.measured > int64(s.rule.patience()) }

// forget makes a slot Unknown, at a moment as Slot.measured has it, if its newest evidence is
// too old. It says whether that is news, and what was believed until now.
func (s *Slot) forget(now int64) (from State, isNew bool) {
	if !s.Configured || s.LeftOut || s.State == Unknown && !s.untold || !s.stale(now) {
		return s.State, false
	}
	if s.State != Unknown {
		s.before = s.State
	}
	// What was in a row before the gap is not in a row with what comes after it.
	s.State, s.oks, s.fails, s.untold = Unknown, 0, 0, false
	return s.before, true
}

// noResult is the obstacle of an address that is Unknown although nothing stood in the way of
// measuring it: the process did not run, or its turn has not come since the start.
const noResult = "no_result"

// WhyUnknown is why an address that is Unknown could not be measured, as a value of the label reason: never empty.
func (s *Slot) WhyUnknown() string { return cmp.Or(s.Obstacle, noResult) }
