package collector

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"go.uber.org/goleak"

	"prefix_exporter/prefix"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// newHandler serves a table as the program does: with routes and the self metrics beside it.
func newHandler(table *prefix.Table, o Options) (http.Handler, *prometheus.Registry) {
	registry := prometheus.NewRegistry()
	return New(table, smallRoutes()).Handler(registry, registry, o), registry
}

// get scrapes and returns the body without its compression.
func get(t testing.TB, h http.Handler, accept, encoding string) (*httptest.ResponseRecorder, []byte) {
	t.Helper()
	r := httptest.NewRequest(http.MethodGet, "/metrics", nil)
	r.Header.Set("Accept", accept)
	r.Header.Set("Accept-Encoding", encoding)
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	var body io.Reader = w.Body
	if w.Header().Get("Content-Encoding") == "gzip" {
		unzipped, err := gzip.NewReader(body)
		if err != nil {
			t.Fatal(err)
		}
		body = unzipped
	}
	data, err := io.ReadAll(body)
	if err != nil {
		t.Fatal(err)
	}
	return w, data
}

func TestFormatIsTheOneThatTheClientAccepts(t *testing.T) {
	const (
		prometheus3 = "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited;q=0.6,application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.5,application/openmetrics-text;version=0.0.1;q=0.4,text/plain;version=1.0.0;escaping=allow-utf-8;q=0.3,text/plain;version=0.0.4;q=0.2,*/*;q=0.1"
		text        = "text/plain; version=0.0.4; charset=utf-8; escaping=underscores"
	)
	h, _ := newHandler(smallTable(t, prefix.PerAddressNone, prefix.PerAddressNone), Options{})
	for _, test := range []struct{ name, accept, want string }{
		{"nothing", "", text},
		{"curl", "*/*", text},
		{"a browser", "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", text},
		{"an unknown one", "application/json", text},
		{"protobuf as text", "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=text", text},
		{"OpenMetrics 1.0.0", "application/openmetrics-text; version=1.0.0", "application/openmetrics-text; version=1.0.0; charset=utf-8; escaping=underscores"},
		{"OpenMetrics without a version", "application/openmetrics-text", "application/openmetrics-text; version=0.0.1; charset=utf-8; escaping=underscores"},
		{"UTF-8 names", "application/openmetrics-text; version=1.0.0; escaping=allow-utf-8", "application/openmetrics-text; version=1.0.0; charset=utf-8; escaping=allow-utf-8"},
		{"Prometheus 3 with native histograms", prometheus3, "application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; encoding=delimited; escaping=underscores"},
	} {
		t.Run(test.name, func(t *testing.T) {
			w, body := get(t, h, test.accept, "")
			format := w.Header().Get("Content-Type")
			if format != test.want {
				t.Errorf("Content-Type: got %q, want %q", format, test.want)
			}
			isOpenMetrics := expfmt.Format(format).FormatType() == expfmt.TypeOpenMetrics
			if bytes.HasSuffix(body, []byte("\n# EOF\n")) != isOpenMetrics {
				t.Errorf("ends with %q", body[max(0, len(body)-20):])
			}
			if !isOpenMetrics {
				checkNames(t, decode(t, expfmt.Format(format), body))
			}
		})
	}
}

// checkNames wants each family of the table but for those of scrapes, which come with
// the second one.
func checkNames(t *testing.T, families []*dto.MetricFamily) {
	t.Helper()
	got := map[string]bool{}
	for _, f := range families {
		if got[f.GetName()] {
			t.Errorf("%s is there twice", f.GetName())
		}
		got[f.GetName()] = true
	}
	for _, m := range Metrics() {
		if !got[m.Name] && m.Name != ScrapeDuration && m.Name != ScrapeSize {
			t.Errorf("%s is missing", m.Name)
		}
	}
}

func TestCompressionIsUsedWhereItIsAccepted(t *testing.T) {
	h, _ := newHandler(smallTable(t, prefix.PerAddressNone, prefix.PerAddressNone), Options{})
	for _, test := range []struct {
		encoding string
		want     string
	}{
		{"", ""},
		{"gzip", "gzip"},
		{"GZip", "gzip"},
		{"*", "gzip"},
		{"identity", ""},
		{"gzip;q=0", ""},
		{"gzip; q=0.0, *", ""},
		{"*;q=0", ""},
		{"gzip;q=x", ""},
		{"br;q=1.0, gzip;q=0.8, *;q=0.1", "gzip"},
		{"deflate, zstd", ""},
	} {
		w, body := get(t, h, "", test.encoding)
		if got := w.Header().Get("Content-Encoding"); got != test.want {
			t.Errorf("Accept-Encoding %q: got %q, want %q", test.encoding, got, test.want)
		}
		if !bytes.HasPrefix(body, []byte("# HELP ")) {
			t.Errorf("Accept-Encoding %q: body begins with %.20q", test.encoding, body)
		}
	}
}

func TestScrapeCountsItself(t *testing.T) {
	h, registry := newHandler(smallTable(t, prefix.PerAddressNone, prefix.PerAddressNone), Options{})
	_, body := get(t, h, "", "")
	if got := value(t, registry, ScrapeSize, "text"); got != float64(len(body)) {
		t.Errorf("%s: got %v, want %d", ScrapeSize, got, len(body))
	}
	if got := value(t, registry, ScrapeDuration, "text"); got != 1 {
		t.Errorf("%s counted %v scrapes, want 1", ScrapeDuration, got)
	}
	for _, cause := range []string{causeBusy, causeGather, causeEncode, causeWrite} {
		if got := value(t, registry, ScrapeErrors, cause); got != 0 {
			t.Errorf("%s{cause=%q}: got %v, want 0", ScrapeErrors, cause, got)
		}
	}
}

// value returns the value, or number of observations, of the series that has a label value.
func value(t testing.TB, g prometheus.Gatherer, name, label string) float64 {
	t.Helper()
	families, err := g.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		for _, m := range f.Metric {
			if f.GetName() == name && m.Label[0].GetValue() == label {
				return m.GetCounter().GetValue() + m.GetGauge().GetValue() + float64(m.GetHistogram().GetSampleCount())
			}
		}
	}
	t.Fatalf("no %s with the label value %q", name, label)
	return 0
}

func TestAFailingGathererDoesNotHideTheRest(t *testing.T) {
	failing := prometheus.GathererFunc(func() ([]*dto.MetricFamily, error) {
		return []*dto.MetricFamily{
			{Name: new("a_broken_family"), Type: dto.MetricType_HISTOGRAM.Enum(), Metric: []*dto.Metric{{Histogram: &dto.Histogram{SampleCountFloat: new(1.5)}}}},
			{Name: new("prefix_zzz"), Type: dto.MetricType_GAUGE.Enum(), Metric: []*dto.Metric{{Gauge: &dto.Gauge{Value: new(7.0)}}}},
		}, errors.New("one collector is ill")
	})
	registry := prometheus.NewRegistry()
	h := New(smallTable(t, prefix.PerAddressNone, prefix.PerAddressNone), smallRoutes()).Handler(failing, registry, Options{})
	w, body := get(t, h, string(expfmt.FmtOpenMetrics_1_0_0), "") // which has no histograms with fractions
	if w.Code != http.StatusOK {
		t.Errorf("status %d", w.Code)
	}
	for _, want := range []string{"\nprefix_target_up{", "\nprefix_zzz 7.0\n"} {
		if !strings.Contains("\n"+string(body), want) {
			t.Errorf("%q is missing", want)
		}
	}
	if strings.Contains(string(body), "a_broken_family") {
		t.Error("half of a family that could not be encoded is there")
	}
	for _, cause := range []string{causeGather, causeEncode} {
		if got := value(t, registry, ScrapeErrors, cause); got != 1 {
			t.Errorf("%s{cause=%q}: got %v, want 1", ScrapeErrors, cause, got)
		}
	}
}

// stuck is a client that does not read until it is released, and then is gone.
type stuck struct {
	*httptest.ResponseRecorder
	writing chan struct{}
	once    sync.Once
	ctx     context.Context
}

func (s *stuck) Write([]byte) (int, error) {
	s.once.Do(func() { close(s.writing) })
	<-s.ctx.Done()
	return 0, errors.New("connection reset by peer")
}

func TestAStuckClientBlocksNeitherRecordingNorOthers(t *testing.T) {
	table := smallTable(t, prefix.PerAddressNone, prefix.PerAddressNone)
	h, registry := newHandler(table, Options{MaxInFlight: 2})
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	slow := &stuck{ResponseRecorder: httptest.NewRecorder(), writing: make(chan struct{}), ctx: ctx}
	done := make(chan struct{})
	go func() {
		defer close(done)
		h.ServeHTTP(slow, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	}()
	<-slow.writing
	record(t, table, "192.0.2.1", prefix.Probe{}, time.Millisecond, prefix.Answered) // hangs if a lock is held
	_, body := get(t, h, "", "")
	if want := `prefix_target_sent_total{ip="192.0.2.1",prefix="192.0.2.0/24",probe="icmp"} 4`; !strings.Contains(string(body), want) {
		t.Errorf("%s is missing", want)
	}
	cancel()
	<-done
	if got := value(t, registry, ScrapeErrors, causeWrite); got != 1 {
		t.Errorf("%s{cause=%q}: got %v, want 1", ScrapeErrors, causeWrite, got)
	}
	if w, _ := get(t, h, "", "gzip"); w.Code != http.StatusOK {
		t.Errorf("status after the stuck client has gone: %d", w.Code)
	}
}

func TestAClientThatNeverReadsIsGivenUp(t *testing.T) {
	h, registry := newHandler(largeTableOf(4), Options{})
	ended := make(chan struct{})
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer close(ended)
		h.ServeHTTP(w, r)
	}))
	server.Config.ConnState = func(c net.Conn, s http.ConnState) {
		if s == http.StateNew {
			_ = c.(*net.TCPConn).SetWriteBuffer(4096) // the kernel must not swallow the scrape
		}
	}
	server.Start()
	defer server.Close()
	conn, err := net.Dial("tcp", server.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.(*net.TCPConn).SetReadBuffer(4096)
	fmt.Fprintf(conn, "GET /metrics HTTP/1.1\r\nHost: x\r\n%s: 0.05\r\n\r\n", scrapeTimeout)
	<-ended
	if got := value(t, registry, ScrapeErrors, causeWrite); got != 1 {
		t.Errorf("%s{cause=%q}: got %v, want 1", ScrapeErrors, causeWrite, got)
	}
}

func TestWriteTimeoutIsWhatTheClientSays(t *testing.T) {
	for header, want := range map[string]time.Duration{
		"": time.Minute, "10": 10 * time.Second, "0.5": 500 * time.Millisecond,
		"0": time.Minute, "-1": time.Minute, "NaN": time.Minute, "1e300": time.Minute, "x": time.Minute,
	} {
		if got := writeTimeout(http.Header{scrapeTimeout: {header}}); got != want {
			t.Errorf("%q: got %v, want %v", header, got, want)
		}
	}
}
