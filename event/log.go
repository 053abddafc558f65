package event

import (
	"errors"
	"sync"

	"github.com/prometheus/client_golang/prometheus"
)

// ErrClosed is returned by Read after the last event, once the Log or the
// Subscription is closed.
var ErrClosed = errors.New("event log closed")

// Capacity is how many events are worth keeping: one for each of forty /24s, so
// that the beginning of an outage of everything is still there when it has ended.
const Capacity = 10_240

// Options is what a Log needs of its surroundings.
type Options struct {
	// Capacity is how many events are kept; 0: the constant Capacity.
	Capacity int
	// FirstID is the ID of the first event; 0: 1. Someone who numbers the events of
	// each run above those of the run before lets a client that was cut off by a
	// restart go on where it was.
	FirstID uint64
	// Registerer takes the metrics. Not nil.
	Registerer prometheus.Registerer
}

// Log keeps the newest events in a ring that all subscribers share: a subscription
// is a place in it, not a queue of its own, so that a thousand readers that never
// read cost no more than a thousand places. Its methods may be called from any goroutine.
type Log struct {
	published *prometheus.CounterVec

	// signal wakes one waiting reader; that one wakes the others through wake, so
	// that Publish costs the same however many wait.
	signal chan struct{}

	// Readers copy events under the read lock; Publish and all that moves drops
	// take the write lock.
	mu     sync.RWMutex
	first  uint64  // the ID of the first event of this run
	ring   []Event // the event with the ID id is at id % len(ring)
	oldest uint64  // the ID of the oldest event in the ring
	next   uint64  // the ID of the next event
	wake   chan struct{}
	subs   map[*Subscription]struct{}
	drops  uint64 // missed by readers that have been told, or have gone
	closed bool
}

// New makes an empty Log. It starts no goroutine.
func New(o Options) *Log {
	if o.Capacity <= 0 {
		o.Capacity = Capacity
	}
	if o.FirstID == 0 {
		o.FirstID = 1
	}
	l := &Log{
		published: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "prefix_exporter_events_total",
			Help: "Events by type, such as changes of an address's state.",
		}, []string{"type"}),
		signal: make(chan struct{}, 1),
		ring:   make([]Event, o.Capacity),
		first:  o.FirstID,
		oldest: o.FirstID,
		next:   o.FirstID,
		wake:   make(chan struct{}),
		subs:   map[*Subscription]struct{}{},
	}
	for _, t := range types {
		l.published.WithLabelValues(t)
	}
	o.Registerer.MustRegister(l.published, prometheus.NewCounterFunc(prometheus.CounterOpts{
		Name: "prefix_exporter_event_drops_total",
		Help: "Events that a subscriber missed because it read too slowly.",
	}, func() float64 { return float64(l.Drops()) }))
	return l
}

// Publish adds an event and sets its ID, which it returns. It does not wait for any
// reader. After Close it does nothing and returns 0.
func (l *Log) Publish(e Event) uint64 {
	l.mu.Lock()
	if l.closed {
		l.mu.Unlock()
		return 0
	}
	e.ID = l.next
	l.ring[e.ID%uint64(len(l.ring))] = e
	l.next++
	if l.next-l.oldest > uint64(len(l.ring)) {
		l.oldest++
	}
	l.mu.Unlock()
	l.published.WithLabelValues(e.Type).Inc()
	select {
	case l.signal <- struct{}{}:
	default: // a reader is being woken already and will find this event too
	}
	return e.ID
}

// Since returns the events after the one with this ID, oldest first, at most limit
// of them. If the first of them is not ID+1, those between are no longer kept.
func (l *Log) Since(id uint64, limit int) []Event {
	l.mu.RLock()
	defer l.mu.RUnlock()
	first := max(id+1, l.oldest)
	if first >= l.next || limit <= 0 {
		return nil
	}
	events := make([]Event, min(l.next-first, uint64(limit)))
	l.copy(events, first)
	return events
}

// copy fills dst with the events from the ID first on. The caller holds the lock
// and has checked that they are there.
func (l *Log) copy(dst []Event, first uint64) {
	at := int(first % uint64(len(l.ring)))
	n := copy(dst, l.ring[at:])
	copy(dst[n:], l.ring)
}

// Drops returns how many events subscribers have missed, those that nobody has told
// them of yet included.
func (l *Log) Drops() uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	drops := l.drops
	for s := range l.subs {
		drops += s.behind()
	}
	return drops
}

// Close ends the log: subscribers read what is left and then ErrClosed.
func (l *Log) Close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.closed {
		l.closed = true
		close(l.wake)
	}
}

// broadcast wakes everyone who waits.
func (l *Log) broadcast() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.closed {
		close(l.wake)
		l.wake = make(chan struct{})
	}
}
