//go:build unix

package collector

import (
	"fmt"
	"net/http"
	"runtime"
	"syscall"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/common/expfmt"

	"prefix_exporter/prefix"
)

// largeTable is 40 prefixes of 256 addresses with three probes each.
func largeTable(per prefix.PerAddress) *prefix.Table {
	table := prefix.NewTable(nil)
	table.Apply(blocksOf(40, per))
	fill(table)
	return table
}

// processCPU is the time that all threads of the process have used.
func processCPU() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		panic(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// discard is a client that reads at once.
type discard struct {
	header http.Header
	n      int
}

func (d *discard) Header() http.Header         { return d.header }
func (d *discard) WriteHeader(int)             {}
func (d *discard) Write(p []byte) (int, error) { d.n += len(p); return len(p), nil }

// BenchmarkScrape is a whole scrape of 10,240 addresses with three probes each. The
// bar is 200 ms of CPU, compression included.
func BenchmarkScrape(b *testing.B) {
	formats := map[string]expfmt.Format{"text": expfmt.FmtText, "openmetrics": expfmt.FmtOpenMetrics_1_0_0, "protobuf": expfmt.FmtProtoDelim}
	for _, per := range []prefix.PerAddress{prefix.PerAddressNone, prefix.PerAddressNative} {
		table := largeTable(per)
		for _, name := range []string{"text", "openmetrics", "protobuf"} {
			for _, compression := range []string{"identity", "gzip"} {
				b.Run(fmt.Sprintf("histograms=%v/%s/%s", per, name, compression), func(b *testing.B) {
					benchmarkScrape(b, New(table, nil), formats[name], compression)
				})
			}
		}
	}
}

func benchmarkScrape(b *testing.B, c *Collector, format expfmt.Format, compression string) {
	registry := prometheus.NewRegistry()
	h := c.Handler(registry, registry, Options{})
	r := &http.Request{Method: http.MethodGet, Header: http.Header{"Accept": {string(format)}, "Accept-Encoding": {compression}}}
	w := &discard{header: http.Header{}}
	h.ServeHTTP(w, r) // makes labels and memory
	w.n = 0
	b.ReportAllocs()
	cpu := processCPU()
	for b.Loop() {
		h.ServeHTTP(w, r)
	}
	cpu = processCPU() - cpu
	var st state
	st.read(c.table, c.cache)
	series := len(st.targets) / 3 // prefix_target_info
	for i := range st.targets {
		series++ // prefix_target_up
		if t := &st.targets[i]; t.known {
			series += 3 + len(st.seriesOf(i).targetReasons())
		}
	}
	perScrape := float64(cpu) / float64(b.N)
	b.ReportMetric(perScrape/1e6, "cpu-ms/op")
	b.ReportMetric(perScrape/float64(series), "cpu-ns/series")
	b.ReportMetric(float64(series), "series")
	b.ReportMetric(float64(w.n)/float64(b.N)/1e6, "MB/op")
}

// seriesOf finds the series that a target is in.
func (st *state) seriesOf(target int) *series {
	for i := range st.series {
		if target < st.series[i].to {
			return &st.series[i]
		}
	}
	return nil
}

// BenchmarkMemory is what is kept for each address and probe: in the table alone, and
// with all that scrapes leave behind. The bar is 2 KiB.
func BenchmarkMemory(b *testing.B) {
	for _, per := range []prefix.PerAddress{prefix.PerAddressNone, prefix.PerAddressNative} {
		b.Run("histograms="+per.String(), func(b *testing.B) {
			for b.Loop() {
				before := heap()
				table := largeTable(per)
				const targets = 3 * 40 * 256
				b.ReportMetric(float64(heap()-before)/targets, "table-B/target")
				c := New(table, nil)
				registry := prometheus.NewRegistry()
				h := c.Handler(registry, registry, Options{})
				for _, format := range formats {
					r := &http.Request{Method: http.MethodGet, Header: http.Header{"Accept": {string(format)}, "Accept-Encoding": {"gzip"}}}
					h.ServeHTTP(&discard{header: http.Header{}}, r)
				}
				b.ReportMetric(float64(heap()-before)/targets, "all-B/target")
				runtime.KeepAlive(h)
			}
		})
	}
}

func heap() int64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

var _ http.ResponseWriter = (*discard)(nil)
