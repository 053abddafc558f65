package frame

import (
	"context"
	"net/netip"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"prefix_exporter/prefix"
)

// tapInterval is how often the results of tapped prefixes are read, and how late a frame
// may be: soon enough for whoever follows single probes, and ten wake-ups a second are nothing.
const tapInterval = 100 * time.Millisecond

// Options is what a Recorder needs of its surroundings.
type Options struct {
	// Table is what is recorded. Not nil. A table has one Recorder.
	Table *prefix.Table
	// Troubled says whether the prober can not be trusted now. Nil: it always can.
	Troubled func() bool
	// Registerer takes the metrics. Nil: nobody counts.
	Registerer prometheus.Registerer
}

// Recorder makes frames of a table, hands them out, and keeps the last hour by the minute.
// Its methods may be called from any goroutine. None of them is ever waited for by probing.
type Recorder struct {
	table    *prefix.Table
	troubled func() bool

	missed prometheus.Counter

	mu       sync.Mutex
	tracks   []*track // as Table.Series
	bySeries map[*prefix.Series]*track
	applied  uint64 // the revision of the table that the tracks are of
	minute   int64  // the Unix minute that runs; 0: none yet
	buffer   []prefix.Result
	taps     map[netip.Prefix]*tap

	ring     [kept]entry
	oldest   uint64 // the number of the oldest frame in the ring
	next     uint64 // the number of the next frame
	header   Header // of the newest frame
	layout   []byte
	full     []byte // of the newest frame; nil: not made yet
	wake     chan struct{}
	closed   bool
	skipped  uint64
	watching int
}

// New makes a Recorder without any frame. It starts no goroutine.
func New(o Options) *Recorder {
	r := &Recorder{
		table: o.Table, troubled: o.Troubled,
		bySeries: map[*prefix.Series]*track{}, taps: map[netip.Prefix]*tap{}, wake: make(chan struct{}),
		missed: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "prefix_exporter_frame_missed_results_total",
			Help: "Results that are not in the frames and in the history of the page because they were not read in time.",
		}),
	}
	if r.troubled == nil {
		r.troubled = func() bool { return false }
	}
	if o.Registerer == nil {
		return r
	}
	o.Registerer.MustRegister(r.missed, prometheus.NewCounterFunc(prometheus.CounterOpts{
		Name: "prefix_exporter_frame_skipped_seconds_total",
		Help: "Frames of one second that a subscriber did not get because it read too slowly.",
	}, func() float64 {
		r.mu.Lock()
		defer r.mu.Unlock()
		return float64(r.skipped)
	}), prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "prefix_exporter_frame_subscribers",
		Help: "Subscribers of frames, such as open pages.",
	}, func() float64 {
		r.mu.Lock()
		defer r.mu.Unlock()
		return float64(r.watching)
	}))
	return r
}

// Run makes a frame each second until the context ends, which ends all subscriptions. It
// returns nil.
func (r *Recorder) Run(ctx context.Context) error {
	defer r.close()
	ticker := time.NewTicker(tapInterval)
	defer ticker.Stop()
	for {
		r.turnTo(time.Now())
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
	}
}

// turnTo makes the frame of now, unless that is made; then it reads ahead of the next one where somebody
// follows single probes.
func (r *Recorder) turnTo(now time.Time) {
	r.table.Fresh(now)
	r.mu.Lock()
	defer r.mu.Unlock()
	if second(now) != int64(r.header.Sequence) {
		r.tick(now)
	} else {
		r.drainTapped()
	}
}

// Fresh makes the frame of now if the newest is older than it should be, and the table, too, forgets
// what it may no longer believe: after a pause of the whole process, who asks first must not be
// shown what was known before it. Who shows frames, numbers or states to others calls it before.
func (r *Recorder) Fresh(now time.Time) {
	r.table.Fresh(now)
	r.mu.Lock()
	defer r.mu.Unlock()
	if newest := int64(r.header.Sequence); newest > 0 && second(now) > newest+1 {
		r.tick(now)
	}
}

// second is that of a moment; a clock before 1970 has no minutes.
func second(now time.Time) int64 { return max(now.Unix(), 1) }

func (r *Recorder) close() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.closed {
		r.closed = true
		close(r.wake)
		for _, t := range r.taps {
			t.close()
		}
	}
}

// Tick makes the frame of now from what has been decided since the last one. Run does it
// each second; what runs no Recorder, such as a test, may call it instead.
func (r *Recorder) Tick(now time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.tick(now)
}

func (r *Recorder) tick(now time.Time) {
	if r.closed {
		return
	}
	second := second(now)
	anew := r.fit()
	for _, t := range r.tracks {
		r.drain(t)
	}
	before := r.header.Sequence
	r.header = Header{Sequence: uint64(second), Revision: r.header.Revision}
	if r.troubled() {
		r.header.Flags |= Troubled
	}
	if anew {
		r.header.Revision = r.revision(second)
		r.layout = layoutMessage(r.header, r.tracks)
	}
	r.publish(anew || uint64(second) <= before)
	r.turn(second / 60)
}

// revision numbers the layouts of this run above those of the run before it.
func (r *Recorder) revision(second int64) uint32 {
	return max(uint32(second), r.header.Revision+1)
}

// fit follows the table after a reload, and says whether it has changed.
func (r *Recorder) fit() bool {
	revision := r.table.Revision()
	if revision == r.applied && r.layout != nil {
		return false
	}
	r.applied = revision
	series := r.table.Series()
	tracks := make([]*track, 0, len(series))
	by := make(map[*prefix.Series]*track, len(series))
	var snap prefix.Snapshot
	for _, s := range series {
		t := r.bySeries[s]
		if t == nil {
			t = &track{series: s}
		}
		t.fit(&snap)
		tracks = append(tracks, t)
		by[s] = t
	}
	r.tracks, r.bySeries = tracks, by
	return true
}

// drain takes the results of one series.
func (r *Recorder) drain(t *track) {
	if cap(r.buffer) < len(t.slots) {
		// One result of each address, so that recording need not make room.
		r.buffer = make([]prefix.Result, 0, len(t.slots))
	}
	results, missed := t.series.Results(r.buffer)
	if missed > 0 {
		r.missed.Add(float64(missed))
	}
	for i := range results {
		t.take(&results[i])
	}
	if tap := r.taps[t.info.Prefix]; tap != nil && len(results) > 0 {
		tap.put(t, results)
	}
	r.buffer = results[:0]
}

// drainTapped reads ahead of the next frame where somebody follows single probes. The caller holds r.mu.
func (r *Recorder) drainTapped() {
	if len(r.taps) == 0 || r.closed {
		return
	}
	for _, t := range r.tracks {
		if r.taps[t.info.Prefix] != nil {
			r.drain(t)
		}
	}
}

// turn begins a minute. A clock that is set back by a little leaves the minute running until
// it has come that far again; one that is set back further makes the history meaningless.
func (r *Recorder) turn(minute int64) {
	switch {
	case r.minute == 0:
		r.minute = minute
	case minute > r.minute:
		for _, t := range r.tracks {
			t.turn(r.minute, minute)
		}
		r.minute = minute
	case minute < r.minute-1:
		for _, t := range r.tracks {
			t.reset()
		}
		r.minute = minute
	}
}
