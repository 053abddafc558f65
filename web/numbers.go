package web

import (
	"strconv"
	"time"

	"prefix_exporter/frame"
	"prefix_exporter/prefix"
)

// window is what numbers are about.
const window = time.Hour

// digits is to how many digits times and ratios are written: more than the scale of a sample
// has, fewer than a page of 15,360 of them has to carry.
const digits = 6

// figure is a number as JSON; null if there is none.
type figure struct {
	value float64
	is    bool
}

// MarshalJSON implements json.Marshaler.
func (f figure) MarshalJSON() ([]byte, error) { return f.appendTo(nil), nil }

func (f figure) appendTo(b []byte) []byte {
	if !f.is {
		return append(b, "null"...)
	}
	return strconv.AppendFloat(b, f.value, 'g', digits, 64)
}

// figures are a list of them, which becomes JSON as a whole: a history has 30,720.
type figures []figure

// MarshalJSON implements json.Marshaler.
func (f figures) MarshalJSON() ([]byte, error) {
	const size = len("0.0123456,") // of one, most of the time
	b := append(make([]byte, 0, 2+size*len(f)), '[')
	for i, one := range f {
		if i > 0 {
			b = append(b, ',')
		}
		b = one.appendTo(b)
	}
	return append(b, ']'), nil
}

// seconds returns a duration as a figure.
func seconds(d time.Duration, ok bool) figure { return figure{d.Seconds(), ok} }

// positive returns a duration as a figure; 0 stands for none.
func positive(d time.Duration) figure { return figure{d.Seconds(), d > 0} }

// ratio returns a share as a figure; there is none of nothing.
func ratio(part, all int) figure {
	if all == 0 {
		return figure{}
	}
	return figure{float64(part) / float64(all), true}
}

// numbersJSON is frame.Numbers for the outside.
type numbersJSON struct {
	Window    int    `json:"window_seconds"`
	Samples   int    `json:"samples"`
	Lost      int    `json:"lost"`
	Loss      figure `json:"loss_ratio"`
	Last      figure `json:"last_seconds"`
	LastSent  *int64 `json:"last_unix"` // when the probe of Last was sent
	Min       figure `json:"min_seconds"`
	Mean      figure `json:"mean_seconds"`
	Max       figure `json:"max_seconds"`
	Variation figure `json:"variation_seconds"`
	Deviation figure `json:"mean_deviation_seconds"`
	Error     string `json:"error"`
}

func newNumbers(n *frame.Numbers) numbersJSON {
	j := numbersJSON{
		Window: int(window / time.Second), Samples: n.Samples(), Lost: n.Lost(), Loss: ratio(n.Lost(), n.Samples()),
		Last: seconds(n.Last()), Min: seconds(n.Min()), Mean: seconds(n.Mean()), Max: seconds(n.Max()),
		Variation: seconds(n.Variation()), Deviation: seconds(n.Deviation()), Error: reason(n.Error()),
	}
	if sent, ok := n.LastSent(); ok {
		j.LastSent = &sent
	}
	return j
}

// of returns the numbers of an address, without what cannot be of now: the table may know a second
// before the recorder that nothing is known any more.
func (n numbersJSON) of(s *prefix.Slot) numbersJSON {
	if s.State == prefix.Unknown {
		n.Last, n.LastSent, n.Error = figure{}, nil, ""
	}
	return n
}

// reason returns why a probe was lost; empty if it was not.
func reason(o prefix.Outcome) string {
	if o == prefix.Answered {
		return ""
	}
	return o.String()
}

// tally counts addresses under one probe and sums up their numbers.
type tally struct {
	probe   prefix.Probe
	states  [prefix.States]int
	leftOut int // of those that are dark
	causes  causes
	numbers frame.Numbers
}

// tallyJSON is a tally for the outside.
type tallyJSON struct {
	Probe   string      `json:"probe"`
	Port    uint16      `json:"port"`
	Up      int         `json:"up"`
	Down    int         `json:"down"`
	Dark    int         `json:"dark"`
	Unknown int         `json:"unknown"`
	LeftOut int         `json:"left_out"`
	Causes  causesJSON  `json:"causes"`
	Numbers numbersJSON `json:"numbers"`
}

func (t *tally) json() tallyJSON {
	return tallyJSON{
		Probe: t.probe.Kind.String(), Port: t.probe.Port,
		Up: t.states[prefix.Up], Down: t.states[prefix.Down], Dark: t.states[prefix.Dark], Unknown: t.states[prefix.Unknown],
		LeftOut: t.leftOut, Causes: t.causes.json(), Numbers: newNumbers(&t.numbers),
	}
}

func (t *tally) add(o *tally) {
	for s, n := range o.states {
		t.states[s] += n
	}
	t.leftOut += o.leftOut
	t.causes.add(&o.causes)
	t.numbers.Add(&o.numbers)
}

// reader reads series, one after the other, into the same memory.
type reader struct {
	*api
	snap prefix.Snapshot
}

// tally reads a series and sums it up.
func (r *reader) tally(s *prefix.Series) tally {
	s.Snapshot(&r.snap)
	t := tally{probe: r.snap.Probe, causes: newCauses(), numbers: r.Frames.Total(s)}
	for i := range r.snap.Slots {
		slot := &r.snap.Slots[i]
		if !slot.Configured {
			continue
		}
		t.states[slot.State]++
		if slot.LeftOut {
			t.leftOut++
		}
		t.causes.take(r.snap.Addrs[i], slot)
	}
	return t
}
