package prefix

import (
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
)

// upperBound is the bound of the bucket at a place of the window, as Prometheus defines it.
func upperBound(place int) float64 {
	return math.Exp2(float64(NativeOffset+place) / perOctave)
}

func TestNativeBucketHoldsItsRange(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 1))
	for range 100_000 {
		v := math.Exp2(r.Float64()*(maxExponent-minExponent) + minExponent)
		i := nativeIndex(v)
		if i < 0 || v > upperBound(i)*(1+1e-12) || v <= upperBound(i-1)*(1-1e-12) {
			t.Fatalf("%v is in bucket %d, (%v, %v]", v, i, upperBound(i-1), upperBound(i))
		}
	}
}

func TestNativeIndexAtTheEdges(t *testing.T) {
	for _, test := range []struct {
		name    string
		seconds float64
		want    int
	}{
		{"nothing", 0, -1},
		{"the zero threshold", NativeZeroThreshold, -1},
		{"just above the zero threshold", math.Nextafter(NativeZeroThreshold, 1), 0},
		{"a power of two belongs to the bucket below it", 0.5, -minExponent*perOctave - perOctave - 1},
		{"just above a power of two", math.Nextafter(0.5, 1), -minExponent*perOctave - perOctave},
		{"one second", 1, -minExponent*perOctave - 1},
		{"the end of the window", 64, NativeBuckets - 1},
		{"above the window", 65, NativeBuckets - 1},
		{"far above the window", 1e9, NativeBuckets - 1},
	} {
		if got := nativeIndex(test.seconds); got != test.want {
			t.Errorf("%s: %v is in bucket %d, want %d", test.name, test.seconds, got, test.want)
		}
	}
}

// TestNativeIndexIsThatOfClientGolang observes one value at a time, bounds above all.
func TestNativeIndexIsThatOfClientGolang(t *testing.T) {
	r := rand.New(rand.NewPCG(2, 2))
	var values []float64
	for i := range NativeBuckets {
		bound := upperBound(i)
		values = append(values, bound, math.Nextafter(bound, 0), math.Nextafter(bound, 100), bound*(0.95+r.Float64()/10))
	}
	for _, v := range values {
		if v > 64 {
			continue
		}
		h := prometheus.NewHistogram(prometheus.HistogramOpts{NativeHistogramBucketFactor: 1.1, NativeHistogramZeroThreshold: NativeZeroThreshold})
		h.Observe(v)
		var m dto.Metric
		if err := h.Write(&m); err != nil {
			t.Fatal(err)
		}
		if got := m.Histogram.GetSchema(); got != NativeSchema {
			t.Fatalf("schema %d", got)
		}
		want := -1
		if len(m.Histogram.PositiveSpan) > 0 {
			want = int(m.Histogram.PositiveSpan[0].GetOffset()) - NativeOffset
		}
		if got := nativeIndex(v); got != want {
			t.Errorf("%v: bucket %d, client_golang has %d", v, got, want)
		}
	}
}

func TestHistogramCountsEveryObservationOnce(t *testing.T) {
	h := newHistogram([]float64{0.001, 0.01}, true, true)
	for _, rtt := range []time.Duration{0, time.Microsecond / 2, time.Millisecond, time.Millisecond + 1, 10 * time.Millisecond, time.Second} {
		h.observe(rtt)
	}
	if diff := cmp.Diff([]uint64{3, 2, 1}, h.Classic); diff != "" {
		t.Errorf("classic (-want +got):\n%s", diff)
	}
	native := h.Zero
	for _, n := range h.Native {
		native += n
	}
	if h.Count != 6 || native != 6 || h.Zero != 2 || h.Sum != 1_012_000_501 {
		t.Errorf("count %d, native %d, zero %d, sum %d", h.Count, native, h.Zero, h.Sum)
	}
}

func TestNativeWindowGrowsBothWaysAndKeepsItsCounts(t *testing.T) {
	h := newHistogram(nil, false, true)
	want := map[int]uint64{}
	r := rand.New(rand.NewPCG(3, 3))
	for range 1000 {
		rtt := time.Duration(math.Exp2(r.Float64()*20-20+r.Float64()*6) * 1e9)
		h.observe(rtt)
		if i := nativeIndex(rtt.Seconds()); i >= 0 {
			want[i]++
		}
	}
	got := map[int]uint64{}
	for i, n := range h.Native {
		if n > 0 {
			got[h.First+i] = n
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if h.First%perOctave != 0 || len(h.Native)%perOctave != 0 || h.First+len(h.Native) > NativeBuckets {
		t.Errorf("window of %d from %d is not in whole octaves", len(h.Native), h.First)
	}
}

func TestASteadyAddressKeepsFewBuckets(t *testing.T) {
	h := newHistogram(nil, false, true)
	for range 1000 {
		h.observe(20 * time.Millisecond)
	}
	if len(h.Native) != perOctave {
		t.Errorf("%d buckets, want one octave", len(h.Native))
	}
}

func TestSnapshotsReuseTheirMemory(t *testing.T) {
	b := blockOf("192.0.2.0/24", []string{"192.0.2.1", "192.0.2.2", "192.0.2.3"}, rule(ping, ExpectSeen), rule(http, ExpectSeen))
	b.PerAddress = PerAddressNative
	table := NewTable(nil)
	table.Apply([]Block{b})
	table.Record(handle(t, table, "192.0.2.1", ping), epoch, Answered, time.Millisecond)
	table.Record(handle(t, table, "192.0.2.3", http), epoch, Answered, time.Millisecond)
	var snap Snapshot
	take := func() {
		for _, s := range table.Series() { // with histograms at different places
			s.Snapshot(&snap)
		}
	}
	take()
	if n := testing.AllocsPerRun(100, take); n > 0 {
		t.Errorf("%v allocations", n)
	}
	if snap.PerAddress[1] != nil || snap.PerAddress[3] == nil || snap.PerAddress[3].Count != 1 {
		t.Errorf("histograms %v", snap.PerAddress[:4])
	}
}
