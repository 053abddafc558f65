package frame

import (
	"context"
	"errors"
	"sync"
	"time"

	"prefix_exporter/prefix"
)

// ErrClosed is returned when the Recorder or the Subscription has ended.
var ErrClosed = errors.New("frames ended")

// kept is how many seconds can be had again by a client whose connection broke: as many as
// the circular graph of an address shows.
const kept = 60

// maxLag is how many seconds a subscriber may lag behind once it has been up to date: what is
// shown as now must not be of a minute ago.
const maxLag = 10

// entry is one frame.
type entry struct {
	sequence uint64
	message  []byte // of TypeSecond
	totals   []total
}

// total is what all addresses had of one probe in one frame.
type total struct {
	probe prefix.Probe
	Second
}

// Second sums up results of one second. What is lost while an address is dark is not in it.
type Second struct {
	Answered, Lost int
	Sum            time.Duration // of the RTTs
}

func (s *Second) add(o Second) {
	s.Answered += o.Answered
	s.Lost += o.Lost
	s.Sum += o.Sum
}

// publish makes the frame of r.header, and wakes those who wait for it. anew says that the
// ones before it cannot be continued: subscribers get a layout and a full frame instead.
func (r *Recorder) publish(anew bool) {
	h := r.header
	h.Type = TypeSecond
	message := appendHeader(make([]byte, 0, r.guess()), h)
	slot := &r.ring[r.next%kept]
	totals := slot.totals[:0] // which, unlike the message, nobody else has
	for i, t := range r.tracks {
		totals = t.addTo(totals)
		if t.isNew {
			message = appendBlock(message, i, t.news)
			clear(t.news)
			t.isNew = false
		}
	}
	setLength(message)
	*slot = entry{h.Sequence, message, totals}
	r.next++
	r.full = nil
	switch {
	case anew:
		r.oldest = r.next
	case r.next-r.oldest > kept:
		r.oldest = r.next - kept
	}
	close(r.wake)
	r.wake = make(chan struct{})
}

// guess is how large the next message may become: a little more than the last one.
func (r *Recorder) guess() int {
	if r.next == 0 {
		return headerSize
	}
	n := len(r.ring[(r.next-1)%kept].message)
	return n + n/16 + headerSize
}

// fullMessage returns the newest code of each place, as of the newest frame.
func (r *Recorder) fullMessage() []byte {
	if r.full != nil {
		return r.full
	}
	h := r.header
	h.Type = TypeFull
	r.full = appendHeader(nil, h)
	for i, t := range r.tracks {
		r.full = appendBlock(r.full, i, t.latest)
	}
	setLength(r.full)
	return r.full
}

// Subscription is one reader's place among the frames. Next is for one goroutine at a
// time; Close may be called from any.
type Subscription struct {
	recorder *Recorder
	gone     chan struct{}
	once     sync.Once

	// Guarded by recorder.mu.
	next     uint64
	begun    bool // the reader has a layout
	live     bool // the reader has once been up to date
	revision uint32
}

// Subscribe begins with a layout and a full frame; or, if after is the sequence of a second
// that is still kept, or of the one before it, with a layout and the seconds after it. Close
// must be called when it is no longer read.
func (r *Recorder) Subscribe(after uint64) *Subscription {
	s := &Subscription{recorder: r, gone: make(chan struct{})}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.watching++
	if after == 0 {
		return s
	}
	for n := r.oldest; n < r.next; n++ {
		if r.ring[n%kept].sequence == after {
			s.begun, s.next = true, n+1
			return s
		}
	}
	return s
}

// Next waits until there is something to be sent and returns it, oldest first, at most
// maxLag seconds at once. The messages are shared with others and must not be written. The error
// is the context's, or ErrClosed.
func (s *Subscription) Next(ctx context.Context) ([][]byte, error) {
	r := s.recorder
	for {
		r.mu.Lock()
		messages, wake, closed := s.take(), r.wake, r.closed
		r.mu.Unlock()
		if len(messages) > 0 {
			return messages, nil
		}
		if closed {
			return nil, ErrClosed
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-s.gone:
			return nil, ErrClosed
		case <-wake:
		}
	}
}

// take returns what there is.
func (s *Subscription) take() (messages [][]byte) {
	r := s.recorder
	if r.next == 0 {
		return nil
	}
	limit := uint64(kept)
	if s.live {
		limit = maxLag
	}
	if !s.begun || s.next < r.oldest || r.next-s.next > limit {
		return s.renew()
	}
	if s.revision != r.header.Revision { // resumed
		s.revision = r.header.Revision
		messages = append(messages, r.layout)
	}
	for ; s.next < r.next && len(messages) < maxLag; s.next++ {
		messages = append(messages, r.ring[s.next%kept].message)
	}
	s.live = s.live || s.next == r.next
	return messages
}

// renew returns what a reader needs that knows nothing, or too little.
func (s *Subscription) renew() [][]byte {
	r := s.recorder
	full := r.fullMessage()
	var messages [][]byte
	if s.revision != r.header.Revision || !s.begun {
		messages = append(messages, r.layout)
	}
	// After a reload the newest frame is a full one: who has all before it missed nothing.
	if missed := r.next - s.next; s.begun && missed > 1 {
		r.skipped += missed - 1
		full = withFlags(full, Skipped)
	}
	s.begun, s.live, s.next, s.revision = true, true, r.next, r.header.Revision
	return append(messages, full)
}

// Close ends the subscription.
func (s *Subscription) Close() {
	s.once.Do(func() {
		close(s.gone)
		s.recorder.mu.Lock()
		defer s.recorder.mu.Unlock()
		s.recorder.watching--
	})
}
