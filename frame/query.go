package frame

import (
	"fmt"
	"slices"
	"time"

	"prefix_exporter/prefix"
)

// Reference is what the RTT of an address is compared with.
type Reference string

// The references.
const (
	Nominal   Reference = "nominal" // the reference RTT of the prefix
	Min       Reference = "min"     // of the address under this probe in the last hour, as those below
	Mean      Reference = "mean"
	Max       Reference = "max"
	Variation Reference = "variation"
)

// References are all references.
func References() []Reference { return []Reference{Nominal, Min, Mean, Max, Variation} }

// Numbers appends those of each place of a series to dst, and returns nothing for a series
// that is not recorded (yet). It takes up to a millisecond, in which no frame is made.
func (r *Recorder) Numbers(dst []Numbers, s *prefix.Series) []Numbers {
	r.mu.Lock()
	defer r.mu.Unlock()
	t := r.bySeries[s]
	if t == nil {
		return dst
	}
	t.sumUp(r.minute)
	for i := range t.slots {
		dst = append(dst, t.numbers(i, r.minute))
	}
	return dst
}

// NumbersAt returns those of one place of a series: none of a place that is not recorded (yet).
func (r *Recorder) NumbersAt(s *prefix.Series, place int) (n Numbers) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if t := r.bySeries[s]; t != nil && place < len(t.slots) {
		n = t.numbers(place, r.minute)
	}
	return n
}

// Total returns those of all places of a series together: none of a series that is not recorded (yet).
func (r *Recorder) Total(s *prefix.Series) (n Numbers) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if t := r.bySeries[s]; t != nil {
		n = t.total(r.minute)
	}
	return n
}

// Seconds returns what all addresses had of one probe in each of the last 60 seconds, oldest
// first, and the Unix second in which the first of them began: a second ends with the frame that has
// its results.
func (r *Recorder) Seconds(p prefix.Probe) (seconds [kept]Second, from int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	from = int64(r.header.Sequence) - kept
	for n := range r.ring {
		i := int64(r.ring[n].sequence) - 1 - from
		if i < 0 || i >= kept { // never made, or before the clock was set back
			continue
		}
		for _, t := range r.ring[n].totals {
			if t.probe == p {
				seconds[i].add(t.Second)
			}
		}
	}
	return seconds, from
}

// Minute returns the Unix minute that runs.
func (r *Recorder) Minute() int64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.minute
}

// Minutes appends to dst the last HistoryMinutes minutes of each place of a series, oldest
// first, of which the last one still runs, and returns in which Unix minute that is and how many places
// there are: 0 for a series that is not recorded (yet). It takes up to two milliseconds, in which no frame is made.
func (r *Recorder) Minutes(dst []Minute, s *prefix.Series) (minutes []Minute, places int, newest int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	t := r.bySeries[s]
	if t == nil {
		return dst, 0, r.minute
	}
	dst = slices.Grow(dst, len(t.slots)*HistoryMinutes)
	for i := range t.slots {
		dst = t.minutes(dst, i, r.minute)
	}
	return dst, len(t.slots), r.minute
}

// MinutesAt returns the last HistoryMinutes minutes of one place of a series, oldest first, of which the last
// one still runs, and in which Unix minute that is. They are empty for a place that is not recorded (yet).
func (r *Recorder) MinutesAt(s *prefix.Series, place int) (minutes []Minute, newest int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	t := r.bySeries[s]
	if t == nil || place >= len(t.slots) {
		return make([]Minute, HistoryMinutes), r.minute
	}
	return t.minutes(make([]Minute, 0, HistoryMinutes), place, r.minute), r.minute
}

// Reference returns a message of TypeReference with a code for each place that has this
// reference, of no series before the first frame, or an error if there is no such reference.
func (r *Recorder) Reference(kind Reference) ([]byte, error) {
	if !slices.Contains(References(), kind) {
		return nil, fmt.Errorf("reference %q: must be one of %q", kind, References())
	}
	r.mu.Lock()
	tracks, h := r.tracks, r.header
	r.mu.Unlock()
	h.Type = TypeReference
	message := appendHeader(nil, h)
	var codes []Code
	for i, t := range tracks {
		codes = codes[:0]
		nominal := None
		if kind == Nominal {
			nominal = rttCode(r.table.NominalRTT(t.series.Prefix()), true)
		}
		r.mu.Lock() // for each on its own: frames go on in between
		t.sumUp(r.minute)
		for place := range t.slots {
			codes = append(codes, t.reference(kind, place, r.minute, nominal))
		}
		r.mu.Unlock()
		message = appendBlock(message, i, codes)
	}
	setLength(message)
	return message, nil
}

// reference returns one code; nominal is that of the prefix.
func (t *track) reference(kind Reference, place int, now int64, nominal Code) Code {
	if !t.slots[place].configured {
		return None
	}
	n := t.numbers(place, now)
	switch kind {
	case Min:
		return rttCode(n.Min())
	case Mean:
		return rttCode(n.Mean())
	case Max:
		return rttCode(n.Max())
	case Variation:
		return rttCode(n.Variation())
	}
	return nominal
}

func rttCode(rtt time.Duration, ok bool) Code {
	if !ok || rtt <= 0 {
		return None
	}
	return Code(prefix.NewSample(prefix.Answered, rtt))
}
