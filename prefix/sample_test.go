package prefix

import (
	"math"
	"math/rand/v2"
	"testing"
	"time"
)

func TestSampleIsExactToHalfAPerMille(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 1))
	for range 100_000 {
		rtt := time.Duration(math.Exp(r.Float64()*math.Log(60e6)) * 1000) // 1 µs to 60 s
		got, ok := NewSample(Answered, rtt).RTT()
		if !ok {
			t.Fatalf("%v: no RTT", rtt)
		}
		// What is rounded to whole nanoseconds may be off by one more.
		if off := math.Abs(float64(got - rtt)); off > float64(rtt)*0.0005+1 {
			t.Fatalf("%v is read as %v", rtt, got)
		}
	}
}

func TestSampleAtTheEdges(t *testing.T) {
	for rtt, want := range map[time.Duration]time.Duration{
		-1: time.Microsecond, 0: time.Microsecond, 1: time.Microsecond, time.Microsecond: time.Microsecond,
		time.Hour: SampleFloor << sampleOctaves,
	} {
		if got, ok := NewSample(Answered, rtt).RTT(); !ok || got != want {
			t.Errorf("%v is read as %v, %v; want %v", rtt, got, ok, want)
		}
	}
	for o := Timeout; int(o) < Outcomes; o++ {
		s := NewSample(o, time.Second)
		if got, ok := s.Lost(); !ok || got != o {
			t.Errorf("%v is read as %v, %v", o, got, ok)
		}
		if _, ok := s.RTT(); ok {
			t.Errorf("%v has an RTT", o)
		}
	}
	if _, ok := NoSample.Lost(); ok {
		t.Error("nothing is a loss")
	}
	if _, ok := NoSample.RTT(); ok {
		t.Error("nothing has an RTT")
	}
	if _, ok := NewSample(Answered, time.Second).Lost(); ok {
		t.Error("an answer is a loss")
	}
}

func TestSamplesSortAsTheirRTTs(t *testing.T) {
	last := NoSample
	for rtt := time.Microsecond; rtt < time.Minute; rtt += rtt/100 + 1 {
		s := NewSample(Answered, rtt)
		if s < last {
			t.Fatalf("%v sorts before less", rtt)
		}
		last = s
	}
}
