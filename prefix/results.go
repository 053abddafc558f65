package prefix

import "time"

// maxResults bounds what a log of results holds for each slot: more than a second at the
// shortest interval that can be configured, 10 ms; whoever reads it does so once a second.
const maxResults = 128

// Result is one probe whose outcome is known, as Series.Results hands it out. One with
// NoSample is no probe: the address has become Unknown, or is left out and Dark.
type Result struct {
	Sent int64 // when the probe was sent, Unix nanoseconds
	RTT  time.Duration
	// Generation is that of the slot, see Slot.Generation.
	Generation uint32
	Sample     Sample // outcome and RTT in two bytes
	Place      uint8
	flags      uint8
}

// countedFlag stands above the two bits of the State.
const countedFlag = 4

func newFlags(s State, counted bool) uint8 {
	if counted {
		return uint8(s) | countedFlag
	}
	return uint8(s)
}

// Outcome is how the probe ended.
func (r *Result) Outcome() Outcome {
	o, _ := r.Sample.Lost()
	return o
}

// State is that of the address after this result.
func (r *Result) State() State { return State(r.flags &^ countedFlag) }

// Counted is false if the result counts neither as sent nor as lost: the address is dark,
// or nothing is expected of it.
func (r *Result) Counted() bool { return r.flags&countedFlag != 0 }

// resultLog holds the results of a series that have not been read yet.
type resultLog struct {
	open   bool // somebody reads
	limit  int
	list   []Result
	missed uint64
}

// add takes one result. It allocates only if more has come than ever before.
func (l *resultLog) add(r Result) {
	if len(l.list) >= l.limit {
		l.missed++
		return
	}
	l.list = append(l.list, r)
}

// Results returns the results since the last call in the order of recording, and how many
// are missing after them because nobody has read for too long. The first call returns
// none and begins to keep them. There is one reader. The slice belongs to the caller, and
// so does the one that the caller gave the last time: buffer is where the next results go.
func (s *Series) Results(buffer []Result) (results []Result, missed uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	l := &s.results
	l.open, l.limit = true, maxResults*len(s.slots)
	results, missed = l.list, l.missed
	l.list, l.missed = buffer[:0], 0
	return results, missed
}
