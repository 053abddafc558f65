package collector

import (
	"errors"
	"slices"
	"sync"
	"time"
)

// All answers that wait for their clients need outboxesEach × MaxInFlight × outboxBytes at most,
// 32 MiB, however many clients do not read. A client that keeps up needs two or three chunks.
const (
	// outboxBytes is how much of one answer waits for a client at most; then its encoder waits,
	// too. A compressed scrape of 10,240 addresses with three probes each has 1.6 MB, so that
	// the encoder is done with it, and gives up its place, whatever the client does.
	outboxBytes = 4 << 20
	// outboxesEach is how many answers are open for each scrape that may run, so that slow
	// clients have time to read while others scrape. One more, and the client that has taken
	// nothing for the longest time is cut off.
	outboxesEach = 2
	// maxFree is how many chunks are kept for the next scrape: 1 MiB.
	maxFree = 16
)

var (
	errCrowded  = errors.New("cut off: of all clients that let answers wait, it has read nothing for the longest time")
	errInTheWay = errors.New("cut off: it reads too slowly, and another scrape needs its place")
	errEnded    = errors.New("the scrape was not finished")
)

// outboxes are all answers that are on their way to clients.
type outboxes struct {
	most  int // how many may be open
	bytes int // how much waits in each; not in one chunk that is larger

	mu   sync.Mutex
	open []*outbox
	free [][]byte // empty chunks
}

// outbox takes an answer from its encoder and gives it to a client, which may be slow: a
// goroutine of its own writes, so that the encoder goes on meanwhile.
type outbox struct {
	all   *outboxes
	write func([]byte) (int, error)
	cut   func() // makes a write that waits for the client return
	done  chan struct{}

	pending []byte // what is less than a chunk; the encoder's

	// Guarded by all.mu.
	changed *sync.Cond
	chunks  [][]byte
	size    int       // bytes of chunks, and of the one that is being written
	since   time.Time // when the client was given what it has not taken yet; zero: it has taken all
	blocked bool      // the encoder waits until the client has read
	whole   bool      // nothing is to come
	err     error     // the first one
}

// to opens an outbox for a client. write gives it a part of the answer and may block until it
// has been read; cut makes it return. They are called from other goroutines, but not after
// end has returned.
func (all *outboxes) to(write func([]byte) (int, error), cut func()) *outbox {
	o := &outbox{all: all, write: write, cut: cut, done: make(chan struct{}), changed: sync.NewCond(&all.mu)}
	all.mu.Lock()
	defer all.mu.Unlock()
	all.open = append(all.open, o)
	if len(all.open) > all.most {
		all.cutOff(errCrowded, func(*outbox) bool { return true })
	}
	go o.run()
	return o
}

// giveWay cuts a client off for which an encoder has been waiting for so long, the one that
// waits longest. The place of its scrape is free soon.
func (all *outboxes) giveWay(patience time.Duration) {
	all.mu.Lock()
	defer all.mu.Unlock()
	all.cutOff(errInTheWay, func(o *outbox) bool { return o.blocked && time.Since(o.since) >= patience })
}

// cutOff gives up the client that has let a part of its answer wait for the longest time, of
// those that may be; a client that has taken all that there is yet is none of them. The caller
// holds all.mu.
func (all *outboxes) cutOff(err error, may func(*outbox) bool) {
	var slowest *outbox
	for _, o := range all.open {
		if o.err == nil && !o.since.IsZero() && may(o) && (slowest == nil || o.since.Before(slowest.since)) {
			slowest = o
		}
	}
	if slowest != nil {
		slowest.fail(err)
		slowest.cut()
	}
}

// fail drops what waits. The caller holds all.mu.
func (o *outbox) fail(err error) {
	if o.err == nil {
		o.err = err
	}
	for _, c := range o.chunks {
		o.size -= len(c)
		o.all.recycle(c)
	}
	o.chunks = nil
	o.changed.Broadcast()
}

// recycle keeps the memory of a chunk. The caller holds all.mu.
func (all *outboxes) recycle(chunk []byte) {
	if len(all.free) < maxFree && cap(chunk) >= chunkBytes {
		all.free = append(all.free, chunk[:0])
	}
}

// empty returns memory for a chunk. The caller holds all.mu.
func (all *outboxes) empty() (chunk []byte) {
	if last := len(all.free) - 1; last >= 0 {
		chunk, all.free = all.free[last], all.free[:last]
		return chunk
	}
	return make([]byte, 0, chunkBytes+chunkBytes/8) // it is full when a metric reaches beyond chunkBytes
}

// take takes a full buffer and returns an empty one in its place. It blocks while the client
// has too much to read.
func (o *outbox) take(full []byte) (empty []byte, err error) {
	o.all.mu.Lock()
	defer o.all.mu.Unlock()
	for o.err == nil && o.size > 0 && o.size+len(full) > o.all.bytes {
		o.blocked = true
		o.changed.Wait()
	}
	o.blocked = false
	if o.err != nil || len(full) == 0 {
		return full[:0], o.err
	}
	o.chunks = append(o.chunks, full)
	o.size += len(full)
	o.changed.Broadcast()
	return o.all.empty(), nil
}

// Write collects what comes in small pieces.
func (o *outbox) Write(p []byte) (int, error) {
	if o.pending == nil {
		o.all.mu.Lock()
		o.pending = o.all.empty()
		o.all.mu.Unlock()
	}
	o.pending = append(o.pending, p...)
	if len(o.pending) < chunkBytes {
		return len(p), nil
	}
	var err error
	o.pending, err = o.take(o.pending)
	return len(p), err
}

// run writes until everything or the first error has been.
func (o *outbox) run() {
	defer close(o.done)
	for chunk := o.next(nil); chunk != nil; chunk = o.next(chunk) {
		if _, err := o.write(chunk); err != nil {
			o.all.mu.Lock()
			o.fail(err)
			o.all.mu.Unlock()
		}
	}
}

// next returns what is to be written after a chunk that has been, or nil if nothing is.
func (o *outbox) next(written []byte) []byte {
	o.all.mu.Lock()
	defer o.all.mu.Unlock()
	if written != nil {
		o.size -= len(written)
		o.all.recycle(written)
		o.changed.Broadcast()
	}
	o.since = time.Time{}
	for len(o.chunks) == 0 && !o.whole && o.err == nil {
		o.changed.Wait()
	}
	if len(o.chunks) == 0 {
		return nil
	}
	chunk := o.chunks[0]
	o.chunks = slices.Delete(o.chunks, 0, 1) // a few: their memory is used again
	o.since = time.Now()
	return chunk
}

// finish waits until the client has taken everything, and returns the first error.
func (o *outbox) finish() error {
	empty, _ := o.take(o.pending) // its error is that of the outbox
	o.pending = nil
	o.all.mu.Lock()
	o.all.recycle(empty)
	o.whole = true
	o.changed.Broadcast()
	o.all.mu.Unlock()
	<-o.done
	o.all.mu.Lock()
	defer o.all.mu.Unlock()
	return o.err
}

// end gives up what has not been written, and returns when nothing is being written any more.
func (o *outbox) end() {
	o.all.mu.Lock()
	if !o.whole {
		o.fail(errEnded)
		o.cut()
	}
	o.all.mu.Unlock()
	<-o.done
	o.all.mu.Lock()
	defer o.all.mu.Unlock()
	i := slices.Index(o.all.open, o)
	o.all.open = slices.Delete(o.all.open, i, i+1)
}
