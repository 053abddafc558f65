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
	Min       figure `json:"min_seconds"`
	Mean      figure `json:"mean_seconds"`
	Max       figure `json:"max_seconds"`
	Variation figure `json:"variation_seconds"`
	Deviation figure `json:"mean_deviation_seconds"`
	Error     string `json:"error"`
}

func newNumbers(n *frame.Numbers) numbersJSON {
	return numbersJSON{
		Window: int(window / time.Second), Samples: n.Samples(), Lost: n.Lost(), Loss: ratio(n.Lost(), n.Samples()),
		Last: seconds(n.Last()), Min: seconds(n.Min()), Mean: seconds(n.Mean()), Max: seconds(n.Max()),
		Variation: seconds(n.Variation()), Deviation: seconds(n.Deviation()), Error: reason(n.Error()),
	}
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
	probe          prefix.Probe
	up, down, dark int
	numbers        frame.Numbers
}

// tallyJSON is a tally for the outside.
type tallyJSON struct {
	Probe   string      `json:"probe"`
	Port    uint16      `json:"port"`
	Up      int         `json:"up"`
	Down    int         `json:"down"`
	Dark    int         `json:"dark"`
	Numbers numbersJSON `json:"numbers"`
}

func (t *tally) json() tallyJSON {
	return tallyJSON{t.probe.Kind.String(), t.probe.Port, t.up, t.down, t.dark, newNumbers(&t.numbers)}
}

func (t *tally) add(o *tally) {
	t.up += o.up
	t.down += o.down
	t.dark += o.dark
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
	t := tally{probe: r.snap.Probe, numbers: r.Frames.Total(s)}
	for i := range r.snap.Slots {
		if !r.snap.Slots[i].Configured {
			continue
		}
		switch r.snap.Slots[i].State {
		case prefix.Up:
			t.up++
		case prefix.Down:
			t.down++
		case prefix.Dark:
			t.dark++
		}
	}
	return t
}
