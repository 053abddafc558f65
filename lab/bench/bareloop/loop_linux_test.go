package main

import (
	"encoding/json"
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"prefix_exporter/lab/bench/bareloop/namespace"
	"prefix_exporter/lab/testenv"
)

const loopback = 127<<24 | 1<<16 // 127.1.0.0

// inNamespace calls the function in a network namespace of its own, on a goroutine
// whose thread ends with it. It must report with Error, not Fatal.
func inNamespace(tb testing.TB, do func()) {
	tb.Helper()
	testenv.Timed(tb)
	entered := make(chan error, 1)
	go func() {
		err := namespace.EnterThread()
		if err == nil {
			do()
		}
		entered <- err
	}()
	err := <-entered
	switch {
	case err == nil:
	case errors.Is(err, unix.EPERM):
		testenv.Skip(tb, err.Error())
	default:
		tb.Fatal(err)
	}
}

func TestLoopMeasuresEveryEcho(t *testing.T) {
	const addresses, rounds = 1000, 3
	for _, test := range []struct {
		name    string
		raw     bool
		stampID string
	}{
		{"datagram socket", false, "auto"},
		{"datagram socket, stamps counted by the kernel", false, "counter"},
		{"raw socket", true, "auto"},
		{"raw socket, stamps counted by the kernel", true, "counter"},
	} {
		t.Run(test.name, func(t *testing.T) {
			inNamespace(t, func() {
				s, err := openSocket(test.raw, test.stampID)
				if err != nil {
					t.Error(err)
					return
				}
				defer unix.Close(s.fd)
				if s.raw != test.raw {
					t.Errorf("raw socket = %t, want %t", s.raw, test.raw)
				}
				o := options{addresses: addresses, tick: 4 * time.Millisecond}
				l := newLoop(s, loopback, addresses, 100*time.Millisecond, o.tick, addresses*rounds)
				start, before := time.Now(), usage()
				if err := l.run(addresses*rounds, new(atomic.Bool)); err != nil {
					t.Error(err)
					return
				}
				r := l.result(o, time.Since(start), before, usage())
				if r.Sent != addresses*rounds || r.Received != r.Sent || r.Unstamped != 0 || r.Strange != 0 || r.Duplicate != 0 || r.Late != 0 {
					line, _ := json.Marshal(r)
					t.Errorf("want %d sent, all answered and stamped, got %s", addresses*rounds, line)
				}
				if r.RTTp50 <= 0 || r.CPUSeconds <= 0 || r.PeakRSSMiB <= 0 {
					t.Errorf("rtt p50 %v us, cpu %v s, peak rss %v MiB: all must be above 0", r.RTTp50, r.CPUSeconds, r.PeakRSSMiB)
				}
			})
		})
	}
}

func TestLoopStopsWhenTold(t *testing.T) {
	inNamespace(t, func() {
		s, err := openSocket(false, "auto")
		if err != nil {
			t.Error(err)
			return
		}
		defer unix.Close(s.fd)
		var stop atomic.Bool
		timer := time.AfterFunc(50*time.Millisecond, func() { stop.Store(true) })
		defer timer.Stop()
		l := newLoop(s, loopback, 100, time.Second, 4*time.Millisecond, 1000)
		start := time.Now()
		if err := l.run(1000, &stop); err != nil {
			t.Error(err)
		}
		if took := time.Since(start); took > 5*time.Second {
			t.Errorf("ended after %v although told to stop after 50ms", took)
		}
	})
}

// BenchmarkBatch is one full batch sent and drained, without any sleep: the floor
// of the floor. It must not allocate.
func BenchmarkBatch(b *testing.B) {
	inNamespace(b, func() {
		s, err := openSocket(false, "auto")
		if err != nil {
			b.Error(err)
			return
		}
		defer unix.Close(s.fd)
		l := newLoop(s, loopback, 10240, time.Second, 4*time.Millisecond, 0)
		b.ReportAllocs()
		b.ResetTimer()
		for range b.N {
			if err := errors.Join(l.send(batchSize), l.drain()); err != nil {
				b.Error(err)
				return
			}
		}
		b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/batchSize/1e3, "us/echo")
	})
}
