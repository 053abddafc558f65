package event

import (
	"context"
	"sync"
)

// Subscription is one reader's place in the log. Read is for one goroutine at a
// time; Close may be called from any.
type Subscription struct {
	log    *Log
	buffer uint64
	gone   chan struct{}
	once   sync.Once

	// next is the ID to be read next. Guarded by log.mu: the reader alone writes it
	// under the read lock, everyone else under the write lock. It is never older than
	// the ring while behind() is 0.
	next uint64
}

// Subscribe begins with the next event that is published. buffer is how many
// events the reader may lag behind before it misses some; 0, or more than the log
// keeps: as many as the log keeps. Close must be called when it is no longer read.
func (l *Log) Subscribe(buffer int) *Subscription {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.subscribe(buffer, l.next)
}

// SubscribeSince is Subscribe that begins after the event with this ID, or with the
// oldest one that is kept; the reader sees by the first ID whether it got them all.
func (l *Log) SubscribeSince(id uint64, buffer int) *Subscription {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.subscribe(buffer, min(max(id+1, l.oldest), l.next))
}

func (l *Log) subscribe(buffer int, next uint64) *Subscription {
	if buffer <= 0 || buffer > len(l.ring) {
		buffer = len(l.ring)
	}
	s := &Subscription{log: l, buffer: uint64(buffer), gone: make(chan struct{}), next: next}
	l.subs[s] = struct{}{}
	return s
}

// behind is how many events the reader has missed since it was told last. The
// caller holds the write lock, or is the reader and holds the read lock.
func (s *Subscription) behind() uint64 {
	if lag := s.log.next - s.next; lag > s.buffer {
		return lag - s.buffer
	}
	return 0
}

// Read waits until there are events, copies as many as there are, oldest first, at
// most len(dst), and returns their number. missed is how many were lost just before
// them because the reader was too slow. The error is the context's, or ErrClosed
// when nothing is left and the Log or the Subscription is closed.
func (s *Subscription) Read(ctx context.Context, dst []Event) (n int, missed uint64, err error) {
	if len(dst) == 0 {
		return 0, 0, nil
	}
	for {
		select {
		case <-s.gone:
			return 0, 0, ErrClosed
		default:
		}
		n, missed, wake, closed := s.take(dst)
		if n > 0 {
			return n, missed, nil
		}
		if closed {
			return 0, 0, ErrClosed
		}
		select {
		case <-ctx.Done():
			return 0, 0, ctx.Err()
		case <-s.gone:
			return 0, 0, ErrClosed
		case <-wake:
		case <-s.log.signal:
			s.log.broadcast()
		}
	}
}

// take copies what there is, and returns what to wait for if there is nothing.
// missed is never set without events: a reader that has fallen behind finds its
// whole buffer full.
func (s *Subscription) take(dst []Event) (n int, missed uint64, wake <-chan struct{}, closed bool) {
	l := s.log
	l.mu.RLock()
	if s.behind() == 0 {
		defer l.mu.RUnlock()
		return s.copy(dst), 0, l.wake, l.closed
	}
	l.mu.RUnlock()
	l.mu.Lock()
	defer l.mu.Unlock()
	if _, open := l.subs[s]; !open { // closed meanwhile: its place means nothing any more
		return 0, 0, nil, true
	}
	missed = s.forgive()
	return s.copy(dst), missed, l.wake, l.closed
}

// copy moves events to dst. The caller holds a lock, and the reader is not behind.
func (s *Subscription) copy(dst []Event) int {
	n := min(s.log.next-s.next, uint64(len(dst)))
	s.log.copy(dst[:n], s.next)
	s.next += n
	return int(n)
}

// forgive counts what the reader missed and puts it back into its buffer. The
// caller holds the write lock.
func (s *Subscription) forgive() (missed uint64) {
	missed = s.behind()
	s.next += missed
	s.log.drops += missed
	return missed
}

// Close ends the subscription. What it missed stays counted.
func (s *Subscription) Close() {
	s.once.Do(func() {
		close(s.gone)
		s.log.mu.Lock()
		defer s.log.mu.Unlock()
		s.forgive()
		delete(s.log.subs, s)
	})
}
