package probe

import (
	"testing"
	"time"
)

// handClock is a clock whose two hands are moved by the test.
type handClock struct {
	clock *clock
	base  time.Time
	mono  time.Duration
	wall  time.Duration
}

// newHandClock makes a clock on which wall and monotonic time can part.
func newHandClock() *handClock {
	h := &handClock{base: time.Unix(1_700_000_000, 0)}
	h.clock = newClock(h.read)
	return h
}

func (h *handClock) read() (wall time.Time, mono int64) { return h.base.Add(h.wall), int64(h.mono) }

func (h *handClock) pass(d time.Duration) { h.mono += d; h.wall += d }

func TestAClockThatIsSetIsNoticed(t *testing.T) {
	for name, step := range map[string]time.Duration{"forwards": time.Hour, "backwards": -3 * time.Second, "a little": time.Millisecond} {
		t.Run(name, func(t *testing.T) {
			h := newHandClock()
			h.pass(time.Second)
			if got := h.clock.update(); got != 0 {
				t.Fatalf("a step of %v that was none", got)
			}
			h.pass(tick4)
			h.wall += step
			if got := h.clock.update(); got != step {
				t.Errorf("step %v, want %v", got, step)
			}
			h.pass(tick4)
			if got := h.clock.update(); got != 0 {
				t.Errorf("the same step again: %v", got)
			}
		})
	}
}

func TestStampsAcrossAStepAreTranslatedWithTheirOwnClock(t *testing.T) {
	h := newHandClock()
	h.pass(time.Second)
	h.clock.update()
	sent, sentMono := h.base.Add(h.wall).UnixNano(), int64(h.mono)
	h.pass(2 * time.Millisecond)
	h.wall -= 10 * time.Second // set back while the probe is on its way
	received, receivedMono := h.base.Add(h.wall).UnixNano(), int64(h.mono)
	h.pass(2 * time.Millisecond)
	h.clock.update()
	now := int64(h.mono)
	if got := h.clock.translate(sent, now-int64(tick4), now); got != sentMono {
		t.Errorf("sent at %d, want %d", got, sentMono)
	}
	if got := h.clock.translate(received, now-int64(tick4), now); got != receivedMono {
		t.Errorf("received at %d, want %d", got, receivedMono)
	}
	if got := h.clock.translate(sent+int64(time.Hour), now-int64(tick4), now); got != 0 {
		t.Errorf("a stamp that makes no sense became %d, want 0", got)
	}
}

func TestAnInterruptBetweenTwoClocksIsNoStep(t *testing.T) {
	h := newHandClock()
	interrupted := true
	h.clock = newClock(func() (time.Time, int64) {
		wall := h.base.Add(h.wall)
		if interrupted {
			interrupted = false
			h.pass(30 * time.Millisecond)
		}
		return wall, int64(h.mono)
	})
	h.clock.update() // the very first reading was interrupted: found out now, once
	h.pass(time.Second)
	interrupted = true
	if step := h.clock.update(); step != 0 {
		t.Errorf("step %v, want none", step)
	}
}
