package main

import (
	"bytes"
	"context"
	"fmt"
	"runtime"
	"time"

	"golang.org/x/sys/unix"
)

// The loop of the exporter (package probe): how often it wakes, and its niceness.
const (
	twinTick     = 4 * time.Millisecond
	twinNiceness = -10
)

// lateAfter is when a probe counts as late.
const lateAfter = 10 * time.Millisecond

// twin is a process that does nothing but wake as often as the exporter's loop, at the same
// priority. What is late there is late because of the machine, whatever pages do.
type twin struct {
	late    float64       // probes that would have been sent late, at the pace of the exporter
	longest time.Duration // from one waking to the next
}

// startTwin starts the process, which ends by itself. wait returns what it has seen.
func startTwin(ctx context.Context, duration time.Duration, rate int) (wait func() (twin, error), err error) {
	cmd, err := itself(ctx, "twin", fmt.Sprintf("--duration=%v", duration), fmt.Sprintf("--rate=%d", rate))
	if err != nil {
		return nil, err
	}
	var out bytes.Buffer
	cmd.Stdout = &out
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	return func() (w twin, err error) {
		if err := cmd.Wait(); err != nil {
			return w, fmt.Errorf("twin: %w", err)
		}
		_, err = fmt.Sscan(out.String(), &w.late, (*int64)(&w.longest))
		return w, err
	}, nil
}

// beTwin is that process. rate is how many probes a second the exporter sends, evenly.
func beTwin(duration time.Duration, rate int) error {
	runtime.LockOSThread() // and not unlocked: the thread ends with its niceness
	if err := unix.Setpriority(unix.PRIO_PROCESS, unix.Gettid(), twinNiceness); err != nil {
		return fmt.Errorf("niceness: %w", err)
	}
	var w twin
	began := time.Now()
	for woke := began; woke.Sub(began) < duration; {
		ts := unix.NsecToTimespec(int64(twinTick))
		_ = unix.Nanosleep(&ts, nil) // a signal may end it sooner
		now := time.Now()
		gap := now.Sub(woke)
		woke = now
		w.longest = max(w.longest, gap)
		w.late += max(0, (gap-lateAfter).Seconds()) * float64(rate) // those that were due at its beginning
	}
	_, err := fmt.Println(w.late, int64(w.longest))
	return err
}
