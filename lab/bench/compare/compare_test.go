//go:build linux

package main

import (
	"bytes"
	"compress/gzip"
	"math"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	dto "github.com/prometheus/client_model/go"
	"google.golang.org/protobuf/proto"
)

func TestExporterConfigCoversExactlyTheAddresses(t *testing.T) {
	const want = `limits: {packets_per_second: 100000}
defaults:
  icmp: {interval: 1s, timeout: 1s}
  expect: all
prefixes:
  - {prefix: 127.1.0.0/24, tcp: off, trace: off}
  - {prefix: 127.1.1.0/24, tcp: off, trace: off, exclude: [127.1.1.232/29, 127.1.1.240/28]}
`
	if diff := cmp.Diff(want, string(exporterConfig(256+232))); diff != "" {
		t.Errorf("configuration (-want +got):\n%s", diff)
	}
}

func TestParseFping(t *testing.T) {
	const output = `127.1.0.0 : xmt/rcv/%loss = 12/12/0%, min/avg/max = 0.010/0.020/0.030
127.1.0.1 : xmt/rcv/%loss = 12/9/25%, min/avg/max = 0.010/0.060/0.130
127.1.0.2 : xmt/rcv/%loss = 12/0/100%
`
	got, err := parseFping("", output)
	if err != nil {
		t.Fatal(err)
	}
	// (12 x 20 + 9 x 60) / 21 = 37.1
	want := tally{sent: 36, lost: 15, rtt: "mean 37"}
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(tally{})); diff != "" {
		t.Errorf("tally (-want +got):\n%s", diff)
	}
	if _, err := parseFping("", "fping: can't create socket"); err == nil {
		t.Error("output without sums must be an error")
	}
}

func TestScrapeIsCountedByName(t *testing.T) {
	const text = `# HELP prefix_target_sent_total Probes whose outcome is known.
# TYPE prefix_target_sent_total counter
prefix_target_sent_total{prefix="127.1.0.0/24",ip="127.1.0.1",probe="icmp",port=""} 40
prefix_target_sent_total{prefix="127.1.0.0/24",ip="127.1.0.2",probe="icmp",port=""} 2
prefix_target_lost_total{reason="a b} 7"} 1
prefix_exporter_late_replies_total 3
prefix_exporter_skipped_probes_total{probe="icmp"} 5
prefix_exporter_packets_sent_total 45
prefix_exporter_healthy 0
`
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Encoding", "gzip")
		z := gzip.NewWriter(w)
		_, _ = z.Write([]byte(text))
		_ = z.Close()
	}))
	defer server.Close()
	s, err := fetch(t.Context(), server.URL, textFormat, time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	if !s.gzip || len(s.body) >= len(text) {
		t.Errorf("body of %d bytes, gzip %t: want it as it came over the wire", len(s.body), s.gzip)
	}
	sums, err := s.sums()
	if err != nil {
		t.Fatal(err)
	}
	want := tally{sent: 42, lost: 1, late: 3, notes: []string{"not healthy", "prefix_exporter_skipped_probes_total 5"}}
	if diff := cmp.Diff(want, countExporter(sums), cmp.AllowUnexported(tally{})); diff != "" {
		t.Errorf("tally (-want +got):\n%s", diff)
	}
}

func TestMedianOfNativeHistograms(t *testing.T) {
	// Schema 0: bucket i ends at 2^i. 1 in (1,2], 3 in (2,4], a gap, 1 in (16,32].
	h := &dto.Histogram{
		Schema: proto.Int32(0), ZeroCount: proto.Uint64(0),
		PositiveSpan:  []*dto.BucketSpan{{Offset: proto.Int32(1), Length: proto.Uint32(2)}, {Offset: proto.Int32(2), Length: proto.Uint32(1)}},
		PositiveDelta: []int64{1, 2, -2},
	}
	got := median([]*dto.Metric{{Histogram: h}, {Histogram: h}})
	if want := math.Exp2(1.5); math.Abs(got-want) > 1e-9 {
		t.Errorf("median = %v, want %v, the middle of (2,4]", got, want)
	}
	if got := median(nil); !math.IsNaN(got) {
		t.Errorf("median of nothing = %v, want NaN", got)
	}
}

func TestRowsSayWhatIsMissing(t *testing.T) {
	var b bytes.Buffer
	writeRow(&b, result{program: "a", addresses: 10, cpuPercent: 12.34, rate: 10, microsEcho: 5, peakRSS: 20,
		tally: tally{sent: 200, lost: 1, rtt: "median 3.0"}, scrapeTimes: []time.Duration{3e6, 1e6, 2e6}, scrapeBytes: 2048})
	writeRow(&b, result{program: "b", addresses: 10, scrapeErr: http.ErrHandlerTimeout, cpuPercent: 200, peakRSS: 300})
	const want = `| 10 | a | 10 | 12.3 | 5.0 | 20 | 1 (0.5 %) | 0 | 2 | 2 | median 3.0 |
| 10 | b | – | 200.0 | – | 300 | – | – | failed | – | – |
`
	if diff := cmp.Diff(want, b.String()); diff != "" {
		t.Errorf("rows (-want +got):\n%s", diff)
	}
	columns := strings.Count(strings.Split(tableHeader, "\n")[1], "|")
	for row := range strings.Lines(b.String()) {
		if got := strings.Count(row, "|"); got != columns {
			t.Errorf("row %q has %d bars, the header %d", row, got, columns)
		}
	}
}

func TestProcessIsMeasuredAndStopped(t *testing.T) {
	p, err := startProcess("/bin/sh", []string{"-c", "i=0; while [ $i -lt 100000 ]; do i=$((i+1)); done; echo spun >&2; sleep 60"})
	if err != nil {
		t.Fatal(err)
	}
	defer p.stop()
	var used time.Duration
	for end := time.Now().Add(10 * time.Second); used < 10*time.Millisecond && time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		if used, err = p.cpu(); err != nil {
			t.Fatal(err)
		}
	}
	rss, err := p.peakRSS()
	if err != nil {
		t.Fatal(err)
	}
	if used < 10*time.Millisecond || rss <= 0 {
		t.Errorf("processor time %v, peak %v MiB of a busy shell: too little", used, rss)
	}
	if err := p.gone(); err != nil {
		t.Errorf("a running process is gone: %v", err)
	}
	if err := p.stop(); err != nil {
		t.Error(err)
	}

	short, err := startProcess("/bin/sh", []string{"-c", "echo cannot >&2; exit 3"})
	if err != nil {
		t.Fatal(err)
	}
	var gone error
	for end := time.Now().Add(10 * time.Second); gone == nil && time.Now().Before(end); time.Sleep(time.Millisecond) {
		gone = short.gone()
	}
	if gone == nil || !strings.Contains(gone.Error(), "exit status 3") || !strings.Contains(gone.Error(), "cannot") {
		t.Errorf("a process that failed: %v, want its status and last words", gone)
	}
	if err := short.stop(); err != nil {
		t.Error(err)
	}
}
