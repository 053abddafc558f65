package testenv

import (
	"runtime"
	"sync"
	"testing"
	"time"
)

const (
	// controlTick is how long a thread that only sleeps does so: as long as the probing loop of the exporter.
	controlTick = 4 * time.Millisecond
	// Tolerance is by how much the control thread may oversleep before the machine is said not to keep time. The
	// exporter calls a probe late after 10 ms and its own loop stalled after more; a control that overslept by
	// this much has seen a pause that the exporter may have to report.
	Tolerance = 8 * time.Millisecond
)

// A Control is a thread that only sleeps beside a test. A test asserts the truth always (what was counted as lost,
// the lab lost), but its pace (lateness, stalls, health) only while the control was itself on time: see Pace.
type Control struct {
	mu    sync.Mutex
	worst time.Duration
	stop  chan struct{}
	done  chan struct{}
}

// StartControl starts a control thread that ends with the test.
func StartControl(t testing.TB) *Control {
	c := &Control{stop: make(chan struct{}), done: make(chan struct{})}
	go c.run()
	t.Cleanup(func() {
		close(c.stop)
		<-c.done
	})
	return c
}

func (c *Control) run() {
	defer close(c.done)
	Sleep(c.stop, c.note)
}

// Sleep sleeps again and again on a thread of its own, and tells by how much it overslept each time, until stop is closed. It
// may be nil.
func Sleep(stop <-chan struct{}, told func(overslept time.Duration)) {
	runtime.LockOSThread() // as the probing loop does
	defer runtime.UnlockOSThread()
	for {
		began := time.Now()
		time.Sleep(controlTick)
		told(time.Since(began) - controlTick)
		select {
		case <-stop:
			return
		default:
		}
	}
}

func (c *Control) note(overslept time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.worst = max(c.worst, overslept)
}

// Reset forgets what was seen so far, at the begin of a stretch of its own.
func (c *Control) Reset() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.worst = 0
}

// Worst returns by how much the thread overslept at most since the begin, or since Reset. A pause that lasts still
// is not in it: it would delay the caller as well.
func (c *Control) Worst() time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.worst
}

// OnTime says whether the thread never overslept by more than Tolerance.
func (c *Control) OnTime() bool { return c.Worst() <= Tolerance }

// Pace reports a failure of pace: as an error if the machine kept time, else as a line of the log, which says by how
// much the control overslept. With the race detector pace is never judged.
func (c *Control) Pace(t testing.TB, format string, args ...any) {
	t.Helper()
	switch {
	case Race:
		t.Logf("not judged with the race detector: "+format, args...)
		return
	case c.OnTime():
		t.Errorf(format, args...)
		return
	}
	t.Logf("not judged, a thread that only sleeps was %v late: "+format, append([]any{c.Worst()}, args...)...)
}
