package probe

import (
	"os"
	"os/exec"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"prefix_exporter/lab/netsim"
	"prefix_exporter/prefix"
)

// loopback makes a running-in engine on addresses of 127.0.0.0/8, whose loop the test itself turns.
func loopback(t testing.TB, n int) *batch {
	t.Helper()
	netsim.RequireLab(t)
	b := newBench(t, EngineBatch)
	b.apply(prefix.ExpectAll, targets(addresses("127.1.0.0", n), eachSecond))
	engine := b.engine.(*batch)
	for _, s := range engine.slots {
		s.traced = 0
	}
	engine.ticked = engine.clock.monotonic()
	engine.drained = engine.ticked
	engine.turn(2 * time.Second)
	t.Cleanup(engine.closeSockets)
	return engine
}

// turn turns the loop for so long, as Run does.
func (b *batch) turn(d time.Duration) {
	for end := b.clock.monotonic() + int64(d); b.clock.now < end; {
		sleep(int64(tick))
		b.tick()
	}
}

func TestNothingIsAllocatedPerPacket(t *testing.T) {
	engine := loopback(t, 4096)
	sent := engine.tally.sent
	// 250 ticks are a second: 4,096 packets sent, received, stamped and recorded.
	allocs, _ := leastAllocations(250, func() {
		sleep(int64(tick))
		engine.tick()
	})
	if engine.tally.sent == sent {
		t.Fatal("nothing was sent")
	}
	if allocs >= fewAllocations {
		t.Errorf("%v allocations a tick of 16 packets, want 0", allocs)
	}
}

// cpuTime is the processor time that this process has used.
func cpuTime(b *testing.B) time.Duration {
	b.Helper()
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_PROCESS_CPUTIME_ID, &ts); err != nil {
		b.Fatal(err)
	}
	return time.Duration(ts.Nano())
}

// BenchmarkEcho turns the loop in real time; an iteration is a second. It reports the CPU
// time of a whole echo, the kernel's part included, and how exact the RTT is on loopback, where
// the truth is some 3 µs.
func BenchmarkEcho(b *testing.B) {
	for _, n := range []int{256, 10240, 65536} {
		for _, hogs := range []int{0, 2} {
			b.Run(strconv.Itoa(n)+" addresses, "+strconv.Itoa(hogs)+" hogs", func(b *testing.B) {
				engine := loopback(b, n)
				recorder := &rttRecorder{rtts: make([]time.Duration, 0, 20*n)}
				engine.o.Recorder = recorder
				keepBusy(b, hogs)
				b.ReportAllocs()
				b.ResetTimer()
				start := cpuTime(b)
				engine.turn(time.Duration(b.N) * time.Second)
				used := cpuTime(b) - start
				b.StopTimer()
				recorder.report(b, used)
			})
		}
	}
}

// rttRecorder writes down the RTTs, as many as it has room for.
type rttRecorder struct {
	rtts []time.Duration
	lost int
}

func (r *rttRecorder) Record(_ prefix.Handle, _ time.Time, o prefix.Outcome, rtt time.Duration) {
	switch {
	case o != prefix.Answered:
		r.lost++
	case len(r.rtts) < cap(r.rtts):
		r.rtts = append(r.rtts, rtt)
	}
}

func (r *rttRecorder) Reject(prefix.Handle, time.Time, prefix.Cause) { r.lost++ }

func (r *rttRecorder) Unmeasured(prefix.Handle, string) {}

func (r *rttRecorder) LeaveOut(prefix.Handle) {}

func (r *rttRecorder) report(b *testing.B, used time.Duration) {
	b.Helper()
	if len(r.rtts) == 0 {
		b.Fatal("no echo was answered")
	}
	slices.Sort(r.rtts)
	b.ReportMetric(float64(used.Microseconds())/float64(len(r.rtts)), "µs-CPU/echo")
	b.ReportMetric(float64(r.lost), "lost")
	for name, share := range map[string]float64{"µs-p50": .5, "µs-p99": .99, "µs-p99.9": .999} {
		b.ReportMetric(float64(r.rtts[int(share*float64(len(r.rtts)-1))].Nanoseconds())/1e3, name)
	}
}

// keepBusy runs so many processes that use all the CPU they get, until the benchmark ends.
func keepBusy(b *testing.B, n int) {
	b.Helper()
	for range n {
		cmd := exec.Command("sh", "-c", "while :; do :; done")
		cmd.Stderr = os.Stderr
		if err := cmd.Start(); err != nil {
			b.Fatal(err)
		}
		b.Cleanup(func() {
			_ = cmd.Process.Kill()
			_ = cmd.Wait()
		})
	}
}

// BenchmarkEngines runs both engines side by side on 500 loopback addresses; an iteration
// is a second. It shows what the portable one costs, and what its clock makes of 3 µs.
func BenchmarkEngines(b *testing.B) {
	for _, name := range []string{EngineBatch, EngineProBing} {
		b.Run(name, func(b *testing.B) {
			netsim.RequireLab(b)
			bench := newBench(b, name)
			recorder := &rttRecorder{rtts: make([]time.Duration, 0, 1_000_000)}
			switch e := bench.engine.(type) {
			case *batch:
				e.o.Recorder = recorder
			case *portable:
				e.o.Recorder = &syncRecorder{next: recorder}
			}
			if err := bench.engine.Apply(b.Context(), targets(addresses("127.1.0.0", 500), eachSecond)); err != nil {
				b.Fatal(err)
			}
			b.ResetTimer()
			start := cpuTime(b)
			bench.run()
			time.Sleep(time.Duration(b.N) * time.Second)
			bench.stop()
			used := cpuTime(b) - start
			b.StopTimer()
			recorder.report(b, used)
		})
	}
}

// syncRecorder lets one goroutine at a time through.
type syncRecorder struct {
	mu   sync.Mutex
	next *rttRecorder
}

func (s *syncRecorder) Record(h prefix.Handle, sent time.Time, o prefix.Outcome, rtt time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.next.Record(h, sent, o, rtt)
}

func (s *syncRecorder) Reject(h prefix.Handle, sent time.Time, why prefix.Cause) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.next.Reject(h, sent, why)
}

func (s *syncRecorder) Unmeasured(h prefix.Handle, obstacle string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.next.Unmeasured(h, obstacle)
}

func (s *syncRecorder) LeaveOut(h prefix.Handle) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.next.LeaveOut(h)
}
