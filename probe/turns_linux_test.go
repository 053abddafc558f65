package probe

import (
	"testing"
	"time"

	"prefix_exporter/lab/netsim"
	"prefix_exporter/prefix"
)

// TestALoopThatRunsInTurnsSkipsNothing stops the loop for 6 of each 12 ms, and for 10 of each 15, as a busy
// machine does. That machine may be this one: then the test shows nothing.
func TestALoopThatRunsInTurnsSkipsNothing(t *testing.T) {
	for _, turns := range []struct {
		name      string
		stop, run time.Duration
	}{
		{"stopped for 6 ms, running for 6", 6 * time.Millisecond, 6 * time.Millisecond},
		{"stopped for 10 ms, running for 5", 10 * time.Millisecond, 5 * time.Millisecond},
	} {
		t.Run(turns.name, func(t *testing.T) {
			netsim.RequireLab(t)
			b := newBench(t, EngineBatch)
			const n, length = 10240, 2 * time.Second
			b.apply(prefix.ExpectAll, targets(addresses("127.1.0.0", n), eachSecond))
			engine := b.engine.(*batch)
			for _, s := range engine.slots {
				s.traced = 0
			}
			b.run()
			waitFor(t, func() bool { return b.value("packets_sent_total") > 0 })
			pause := time.Duration(0) // the longest
			begin, before := time.Now(), b.value("packets_sent_total")
			for time.Since(begin) < length {
				engine.mu.Lock() // the loop cannot run
				ticked := engine.ticked
				time.Sleep(turns.stop)
				pause = max(pause, time.Duration(engine.clock.monotonic()-ticked))
				engine.mu.Unlock()
				time.Sleep(turns.run)
			}
			skipped, sent, took := b.value("skipped_probes_total"), b.value("packets_sent_total")-before, time.Since(begin)
			b.stop()
			if pause > maxLag/2 {
				t.Skipf("the machine is too busy: the loop did not run for %v", pause)
			}
			if due := n * (took - maxLag).Seconds(); skipped > 0 || sent < due {
				b.control.Pace(t, "%v probes were sent and %v skipped in %v, want %v and none", sent, skipped, took, due)
			}
			if lost := b.lost(); float64(lost) > b.value("late_replies_total") {
				t.Errorf("%d probes were lost, want 0", lost)
			}
		})
	}
}
