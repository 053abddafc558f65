package prefix

import (
	"math"
	"time"
)

// Sample is the result of one probe in two bytes: nothing, a loss by cause, or an
// RTT on a logarithmic scale that is exact to 0.014 %. The zero value is NoSample.
type Sample uint16

// Codes below firstRTT are no RTT.
const (
	NoSample Sample = 0 // no probe ended in this second

	// firstRTT leaves room for the outcomes (a loss is coded as its Outcome) and for
	// what later versions need.
	firstRTT = 16
	// Code firstRTT is sampleFloor, the last one is sampleFloor * 2^sampleOctaves:
	// 1 µs to 67 s, the range of the native histogram and of any timeout.
	sampleFloor   = time.Microsecond
	sampleOctaves = 26
	// samplesPerOctave makes the steps 0.0275 % wide.
	samplesPerOctave = float64(math.MaxUint16-firstRTT) / sampleOctaves
)

// NewSample codes a result. An RTT outside 1 µs to 67 s is clamped.
func NewSample(o Outcome, rtt time.Duration) Sample {
	if o != Answered {
		return Sample(o)
	}
	if rtt <= sampleFloor {
		return firstRTT
	}
	code := math.Round(math.Log2(float64(rtt)/float64(sampleFloor)) * samplesPerOctave)
	return Sample(min(code+firstRTT, math.MaxUint16))
}

// RTT returns the round-trip time, and false if the sample is not of an answer.
func (s Sample) RTT() (time.Duration, bool) {
	if s < firstRTT {
		return 0, false
	}
	return time.Duration(math.Round(float64(sampleFloor) * math.Exp2(float64(s-firstRTT)/samplesPerOctave))), true
}

// Lost returns why the probe was lost, and false if the sample is not of a loss.
func (s Sample) Lost() (Outcome, bool) {
	if s == NoSample || s >= Sample(Outcomes) {
		return 0, false
	}
	return Outcome(s), true
}
