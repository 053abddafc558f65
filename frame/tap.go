package frame

import (
	"context"
	"net/netip"
	"sync"
	"time"

	"prefix_exporter/prefix"
)

// tapCapacity is how many results are kept for those who follow single probes of one
// prefix: ten seconds of 256 addresses with three probes, if each of them were made once a second,
// in 0.5 MB, and only while somebody follows.
const tapCapacity = 8192

// Probe is one probe whose outcome is known.
type Probe struct {
	Sent    time.Time
	Addr    netip.Addr
	Probe   prefix.Probe
	Outcome prefix.Outcome
	RTT     time.Duration // 0 if it was not answered
}

// tapped is a Probe in 48 bytes.
type tapped struct {
	sent    int64
	rtt     time.Duration
	addr    netip.Addr
	probe   prefix.Probe
	outcome prefix.Outcome
}

// tap holds the newest results of one prefix for those who follow them. All readers share
// it: each is a place in its ring.
type tap struct {
	readers int // guarded by Recorder.mu

	mu     sync.Mutex
	ring   []tapped
	next   uint64
	wake   chan struct{}
	closed bool
}

func (t *tap) put(from *track, r *prefix.Result) {
	p := tapped{sent: r.Sent, addr: from.addrs[r.Place], probe: from.series.Probe(), outcome: r.Outcome()}
	if p.outcome == prefix.Answered {
		p.rtt = r.RTT
	}
	t.mu.Lock()
	t.ring[t.next%tapCapacity] = p
	t.next++
	t.mu.Unlock()
}

func (t *tap) broadcast() {
	t.mu.Lock()
	defer t.mu.Unlock()
	close(t.wake)
	t.wake = make(chan struct{})
}

func (t *tap) close() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.closed = true
	close(t.wake)
}

// Tap is one reader of the single results of a prefix. Read is for one goroutine at a time.
type Tap struct {
	recorder *Recorder
	prefix   netip.Prefix
	tap      *tap
	next     uint64
	once     sync.Once
}

// Tap begins with the next result of the prefix. Close must be called when it is no
// longer read.
func (r *Recorder) Tap(p netip.Prefix) *Tap {
	r.mu.Lock()
	defer r.mu.Unlock()

	t := r.taps[p]
	if t == nil {
		t = &tap{ring: make([]tapped, tapCapacity), wake: make(chan struct{}), closed: r.closed}
		r.taps[p] = t
	}
	t.readers++
	t.mu.Lock()
	defer t.mu.Unlock()
	return &Tap{recorder: r, prefix: p, tap: t, next: t.next}
}

// Read waits until there are results, copies as many as there are, in the order in which
// they became known, at most len(dst), and returns their number. missed is how many were lost just
// before them because the reader was too slow. The error is the context's, or ErrClosed.
func (t *Tap) Read(ctx context.Context, dst []Probe) (n int, missed uint64, err error) {
	for {
		n, missed, wake, closed := t.take(dst)
		if n > 0 {
			return n, missed, nil
		}
		if closed {
			return 0, 0, ErrClosed
		}
		select {
		case <-ctx.Done():
			return 0, 0, ctx.Err()
		case <-wake:
		}
	}
}

func (t *Tap) take(dst []Probe) (n int, missed uint64, wake <-chan struct{}, closed bool) {
	from := t.tap
	from.mu.Lock()
	defer from.mu.Unlock()
	if lag := from.next - t.next; lag > tapCapacity {
		missed = lag - tapCapacity
		t.next += missed
	}
	for ; n < len(dst) && t.next < from.next; n++ {
		p := &from.ring[t.next%tapCapacity]
		dst[n] = Probe{time.Unix(0, p.sent), p.addr, p.probe, p.outcome, p.rtt}
		t.next++
	}
	return n, missed, from.wake, from.closed
}

// Close ends the reading. The last reader of a prefix puts its ring away.
func (t *Tap) Close() {
	t.once.Do(func() {
		t.recorder.mu.Lock()
		defer t.recorder.mu.Unlock()
		if t.tap.readers--; t.tap.readers == 0 {
			delete(t.recorder.taps, t.prefix)
		}
	})
}
