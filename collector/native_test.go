package collector

import (
	"math"
	"math/rand/v2"
	"net/netip"
	"strconv"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"google.golang.org/protobuf/testing/protocmp"

	"prefix_exporter/prefix"
)

// observed is the histogram that client_golang makes of RTTs.
func observed(t *testing.T, buckets []float64, rtts []time.Duration) *dto.Histogram {
	t.Helper()
	h := prometheus.NewHistogram(prometheus.HistogramOpts{
		Name:                         "h",
		Buckets:                      buckets,
		NativeHistogramBucketFactor:  1.1, // schema 3
		NativeHistogramZeroThreshold: prefix.NativeZeroThreshold,
	})
	for _, rtt := range rtts {
		h.Observe(rtt.Seconds())
	}
	var m dto.Metric
	if err := h.Write(&m); err != nil {
		t.Fatal(err)
	}
	m.Histogram.CreatedTimestamp = nil
	return m.Histogram
}

// tolerant compares messages but for the last digits of sums, which we add up as integers.
var tolerant = cmp.Options{protocmp.Transform(), cmp.Comparer(func(a, b float64) bool {
	return a == b || math.Abs(a-b) < 1e-9*math.Abs(a)
})}

func TestHistogramsAreThoseOfClientGolang(t *testing.T) {
	bounds := []float64{0.0001, 0.001, 0.01, 0.1, 1}
	for seed := range uint64(50) {
		t.Run(strconv.FormatUint(seed, 10), func(t *testing.T) {
			r := rand.New(rand.NewPCG(seed, 2))
			var rtts []time.Duration
			spread := r.Float64() * 6
			for range r.IntN(300) {
				rtts = append(rtts, time.Duration(math.Exp(r.NormFloat64()*spread)*float64(time.Millisecond)))
			}
			for _, exact := range []time.Duration{0, 1, time.Microsecond, 500 * time.Millisecond, time.Second, 10 * time.Millisecond} {
				if r.IntN(2) == 0 {
					rtts = append(rtts, exact)
				}
			}
			for i := range rtts {
				rtts[i] = min(rtts[i], 60*time.Second)
			}
			table := prefix.NewTable(nil)
			table.Apply([]prefix.Block{{
				Prefix: netip.MustParsePrefix("192.0.2.0/24"), Buckets: bounds, PerAddress: prefix.PerAddressNative,
				Targets: []prefix.Target{{Addr: addr("192.0.2.1"), Probes: []prefix.TargetProbe{probed(prefix.ICMP, 0, prefix.ExpectSeen)}}},
			}})
			for _, rtt := range rtts {
				record(t, table, "192.0.2.1", prefix.Probe{}, rtt, prefix.Answered)
			}
			want := observed(t, bounds, rtts)

			var snap prefix.Snapshot
			table.Series()[0].Snapshot(&snap)
			if diff := cmp.Diff(want, histogramDTO(&snap.Histogram), tolerant); diff != "" {
				t.Errorf("prefix (-client_golang +ours):\n%s", diff)
			}
			want.Bucket = nil // an address with a native histogram has no classic one
			for _, f := range decode(t, expfmt.FmtProtoDelim, encode(t, New(table, nil), expfmt.FmtProtoDelim)) {
				if f.GetName() != TargetRTT {
					continue
				}
				if diff := cmp.Diff(want, f.Metric[0].Histogram, tolerant); diff != "" {
					t.Errorf("address (-client_golang +ours):\n%s", diff)
				}
			}
		})
	}
}
