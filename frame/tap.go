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

// tapTexts is how many of them, the newest ones, keep the text that was made of them: four seconds
// of 256 addresses, in 0.3 MB. Whoever lags more makes the text for itself.
const tapTexts = 1024

// Probe is one probe whose outcome is known.
type Probe struct {
	Sent    time.Time
	Addr    netip.Addr
	Probe   prefix.Probe
	Outcome prefix.Outcome
	RTT     time.Duration // 0 if it was not answered

	text *text // shared by all who read it; nil if it is older than the tapTexts newest
}

// text is what was made of a Probe, once somebody has asked for it.
type text struct {
	once sync.Once
	data []byte
}

// Text returns what write makes of the probe. It is called once for all who read the same probe:
// thousands may. All of them must pass the same function, and none may change the result.
func (p *Probe) Text(write func(*Probe) []byte) []byte {
	if p.text == nil {
		return write(p)
	}
	p.text.once.Do(func() { p.text.data = write(p) })
	return p.text.data
}

// tapped is a Probe in 56 bytes.
type tapped struct {
	sent    int64
	rtt     time.Duration
	addr    netip.Addr
	probe   prefix.Probe
	outcome prefix.Outcome
	text    *text
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

// put adds those of the results that are of an address that is followed, and wakes the readers.
func (t *tap) put(from *track, results []prefix.Result) {
	t.mu.Lock()
	defer t.mu.Unlock()
	before := t.next
	for i := range results {
		r := &results[i]
		if r.Sample == prefix.NoSample || !from.follows(r) {
			continue
		}
		p := tapped{sent: r.Sent, addr: from.addrs[r.Place], probe: from.series.Probe(), outcome: r.Outcome(), text: &text{}}
		if p.outcome == prefix.Answered {
			p.rtt = r.RTT
		}
		t.ring[t.next%tapCapacity] = p
		t.ring[(t.next+tapCapacity-tapTexts)%tapCapacity].text = nil
		t.next++
	}
	if t.next > before {
		close(t.wake)
		t.wake = make(chan struct{})
	}
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
	only     netip.Addr // if valid
	next     uint64
	once     sync.Once
}

// Tap begins with the next result of the prefix, or of only one of its addresses, if that is
// valid. Close must be called when it is no longer read.
func (r *Recorder) Tap(p netip.Prefix, only netip.Addr) *Tap {
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
	return &Tap{recorder: r, prefix: p, tap: t, only: only, next: t.next}
}

// Read waits until there are results, copies as many as there are, in the order in which
// they became known, at most len(dst), and returns their number. missed is how many of the prefix were
// lost just before them because the reader was too slow; then there may be none. The error is the context's, or ErrClosed.
func (t *Tap) Read(ctx context.Context, dst []Probe) (n int, missed uint64, err error) {
	for {
		n, missed, wake, closed := t.take(dst)
		if n > 0 || missed > 0 {
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
	for ; n < len(dst) && t.next < from.next; t.next++ {
		p := &from.ring[t.next%tapCapacity]
		if !t.only.IsValid() || p.addr == t.only {
			dst[n] = Probe{time.Unix(0, p.sent), p.addr, p.probe, p.outcome, p.rtt, p.text}
			n++
		}
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
