package prefix

import (
	"math"
	"slices"
	"time"
)

// The native (sparse, exponential) histogram, as Prometheus defines it
// (https://prometheus.io/docs/specs/native_histograms/, "Schema"): the bucket with
// index i of schema s holds values v with 2^((i-1)/2^s) < v <= 2^(i/2^s), in seconds.
const (
	// NativeSchema 3 makes buckets 9 % wide: fine enough for any quantile of an
	// RTT, coarse enough that a steady address fills only two or three of them.
	NativeSchema = 3
	// perOctave is the number of buckets between two powers of two.
	perOctave = 1 << NativeSchema
	// minExponent and maxExponent bound the window: 2^-20 s is just under a
	// microsecond, less than a loopback echo takes; 2^6 s is just over the longest
	// timeout that the configuration allows, one minute.
	minExponent, maxExponent = -20, 6
	// NativeBuckets is the size of the window.
	NativeBuckets = (maxExponent - minExponent) * perOctave
	// NativeOffset is the index in the Prometheus sense of the first bucket of the window.
	NativeOffset = minExponent*perOctave + 1
)

// NativeZeroThreshold is the width of the zero bucket in seconds: what lies at or
// below it is counted there.
const NativeZeroThreshold = 1.0 / (1 << -minExponent)

// nativeBounds are the upper bounds of the buckets in the octave (0.5, 1], digit for
// digit those of client_golang and Prometheus; math.Exp2 differs in the last one.
var nativeBounds = [perOctave]float64{
	0.5452538663326288, 0.5946035575013605, 0.6484197773255048, 0.7071067811865475,
	0.7711054127039704, 0.8408964152537144, 0.9170040432046711, 1,
}

// nativeIndex returns the place of an RTT (seconds) in the window, or -1 for the zero bucket.
// What lies above the window goes into its last bucket.
func nativeIndex(seconds float64) int {
	if seconds <= NativeZeroThreshold {
		return -1
	}
	fraction, exponent := math.Frexp(seconds) // fraction in [0.5, 1)
	if fraction == 0.5 {                      // a power of two belongs to the octave below it
		fraction, exponent = 1, exponent-1
	}
	i := (exponent - 1 - minExponent) * perOctave
	if i >= NativeBuckets {
		return NativeBuckets - 1
	}
	for _, bound := range nativeBounds {
		if fraction <= bound {
			break
		}
		i++
	}
	return i
}

// Histogram counts RTTs in classic and native buckets at once.
type Histogram struct {
	// Bounds are the upper bounds of Classic in seconds, ascending, without +Inf.
	// They are shared and never written.
	Bounds []float64
	// Classic counts per bucket, not cumulated; the last one is +Inf. Nil: none are kept.
	Classic []uint64
	// Native counts per bucket of the part of the window that has been used, in whole
	// octaves: Native[i] has the Prometheus index NativeOffset+First+i. Empty: none are
	// kept, or none has been needed yet.
	Native []uint64
	First  int
	Zero   uint64 // observations at or below NativeZeroThreshold
	Count  uint64
	Sum    uint64 // nanoseconds; a /24 at 300 ms and one echo a second each takes 7 years to wrap it

	native bool // Native is kept
}

func newHistogram(bounds []float64, classic, native bool) *Histogram {
	h := &Histogram{Bounds: bounds, native: native}
	if classic {
		h.Classic = make([]uint64, len(bounds)+1)
	}
	return h
}

func (h *Histogram) observe(rtt time.Duration) {
	seconds := rtt.Seconds()
	h.Count++
	h.Sum += uint64(rtt)
	if h.native {
		if i := nativeIndex(seconds); i >= 0 {
			h.reach(i)
			h.Native[i-h.First]++
		} else {
			h.Zero++
		}
	}
	if h.Classic != nil {
		i, _ := slices.BinarySearch(h.Bounds, seconds)
		h.Classic[i]++
	}
}

// reach makes Native cover a place of the window. An address rarely leaves the octaves
// that its first answers fell into, and a whole window for each would be 1.7 kB.
func (h *Histogram) reach(i int) {
	if i >= h.First && i < h.First+len(h.Native) {
		return
	}
	first := i - i%perOctave
	end := first + perOctave
	if len(h.Native) > 0 {
		first, end = min(first, h.First), max(end, h.First+len(h.Native))
	}
	wider := make([]uint64, end-first)
	copy(wider[max(h.First-first, 0):], h.Native)
	h.Native, h.First = wider, first
}

// copyTo copies h into dst, reusing its memory.
func (h *Histogram) copyTo(dst *Histogram) {
	classic, native := dst.Classic[:0], dst.Native[:0]
	*dst = *h
	dst.Classic = append(classic, h.Classic...)
	dst.Native = append(native, h.Native...)
}
