package prefix

import (
	"math"
	"time"
)

// Sample is the result of one probe in two bytes: nothing, a loss by cause, or an
// RTT on a logarithmic scale that is exact to 0.014 %. The zero value is NoSample.
type Sample uint16

// Codes below FirstRTT are no RTT.
const (
	NoSample Sample = 0 // no probe ended in this second

	// FirstRTT leaves room for the outcomes (a loss is coded as its Outcome), for those
	// outcomes together with a state, as package frame writes them, and for what later
	// versions need.
	FirstRTT Sample = 64
	// Code FirstRTT is SampleFloor, the last one is SampleFloor * 2^sampleOctaves:
	// 1 µs to 67 s, the range of the native histogram and of any timeout.
	SampleFloor   = time.Microsecond
	sampleOctaves = 26
	// samplesPerOctave makes the steps 0.0275 % wide.
	samplesPerOctave = float64(math.MaxUint16-FirstRTT) / sampleOctaves
)

// SampleRatio is how much more RTT a code stands for than the one before it.
func SampleRatio() float64 { return math.Exp2(1 / samplesPerOctave) }

// NewSample codes a result. An RTT outside 1 µs to 67 s is clamped.
func NewSample(o Outcome, rtt time.Duration) Sample {
	if o != Answered {
		return Sample(o)
	}
	if rtt <= SampleFloor {
		return FirstRTT
	}
	code := math.Round(math.Log2(float64(rtt)/float64(SampleFloor)) * samplesPerOctave)
	return Sample(min(code+float64(FirstRTT), math.MaxUint16))
}

// RTT returns the round-trip time, and false if the sample is not of an answer.
func (s Sample) RTT() (time.Duration, bool) {
	if s < FirstRTT {
		return 0, false
	}
	return time.Duration(math.Round(float64(SampleFloor) * math.Exp2(float64(s-FirstRTT)/samplesPerOctave))), true
}

// Lost returns why the probe was lost, and false if the sample is not of a loss.
func (s Sample) Lost() (Outcome, bool) {
	if s == NoSample || s >= Sample(Outcomes) {
		return 0, false
	}
	return Outcome(s), true
}
