package web

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/go-kit/log"
	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"

	"prefix_exporter/event"
	"prefix_exporter/frame"
	"prefix_exporter/prefix"
)

var update = flag.Bool("update", false, "write the golden files anew")

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// prober is a Prober that does as it is told, and notes what it is asked.
type prober struct {
	ready    bool
	troubles []Trouble
	err      error
	asked    []string
}

var _ Prober = (*prober)(nil)

func (p *prober) Ready() bool         { return p.ready }
func (p *prober) Troubles() []Trouble { return p.troubles }

func (p *prober) Reload(context.Context) error {
	p.asked = append(p.asked, "reload")
	return p.err
}

func (p *prober) Trace(_ context.Context, addr netip.Addr, d time.Duration) error {
	p.asked = append(p.asked, fmt.Sprintf("trace %s %s", addr, d))
	return p.err
}

func handler(t *testing.T, p *prober, lifecycle bool) http.Handler {
	t.Helper()
	table := prefix.NewTable(nil)
	h, err := New(Options{
		Metrics: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("metrics\n")) }),
		Table:   table, Frames: frame.New(frame.Options{Table: table}), Events: event.New(event.Options{Registerer: prometheus.NewRegistry()}),
		Prober: p, EnableLifecycle: lifecycle, Version: "1.2.3", Logger: log.NewNopLogger(),
	})
	if err != nil {
		t.Fatal(err)
	}
	return h
}

func request(h http.Handler, method, target, body string, header ...string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, target, strings.NewReader(body))
	r.Host = "localhost:10240"
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

func TestRequests(t *testing.T) {
	const form = "application/x-www-form-urlencoded"
	badFor := func(value string) string {
		return `for "` + value + "\": must be a duration between 0s, which ends a trace, and 1h0m0s, such as 60s\n"
	}
	badIP := func(value string) string {
		return `ip "` + value + "\": must be an IPv4 or IPv6 address without a zone\n"
	}
	for name, test := range map[string]struct {
		method, target, body string
		header               []string
		lifecycle            bool
		prober               prober
		status               int
		want                 string
		asked                []string
	}{
		"metrics":               {method: "GET", target: "/metrics", status: 200, want: "metrics\n"},
		"metrics are read only": {method: "POST", target: "/metrics", status: 405, want: "Method Not Allowed\n"},
		"a path that is not there": {
			method: "GET", target: "/nothing", status: 404, want: "404 page not found\n",
		},
		"healthy while not ready": {method: "GET", target: "/-/healthy", status: 200, want: "prefix_exporter is serving.\n"},
		"not ready":               {method: "GET", target: "/-/ready", status: 503, want: "prefix_exporter is not probing.\n"},
		"ready":                   {method: "GET", target: "/-/ready", prober: prober{ready: true}, status: 200, want: "prefix_exporter is ready.\n"},

		"reload is off by default": {
			method: "POST", target: "/-/reload", status: 403,
			want: "Lifecycle API is not enabled: start prefix_exporter with --web.enable-lifecycle to allow it.\n",
		},
		"trace is off by default": {
			method: "PUT", target: "/-/trace?ip=192.0.2.1", status: 403,
			want: "Lifecycle API is not enabled: start prefix_exporter with --web.enable-lifecycle to allow it.\n",
		},
		"reload by POST": {
			method: "POST", target: "/-/reload", lifecycle: true, status: 200,
			want: "configuration reloaded\n", asked: []string{"reload"},
		},
		"reload by PUT": {
			method: "PUT", target: "/-/reload", lifecycle: true, status: 200,
			want: "configuration reloaded\n", asked: []string{"reload"},
		},
		"reload by GET": {method: "GET", target: "/-/reload", lifecycle: true, status: 405, want: "Method Not Allowed\n"},
		"reload by a page of another site": {
			method: "POST", target: "/-/reload", lifecycle: true, header: []string{"Sec-Fetch-Site", "cross-site"},
			status: 403, want: "cross-origin request detected from Sec-Fetch-Site header\n",
		},
		"reload that fails": {
			method: "POST", target: "/-/reload", lifecycle: true, prober: prober{err: errors.New("a:1: x\na:2: y")},
			status: 500, want: "failed to reload the configuration, the old one stays:\na:1: x\na:2: y\n", asked: []string{"reload"},
		},

		"trace": {
			method: "POST", target: "/-/trace?ip=192.0.2.1&for=90s", lifecycle: true,
			status: 200, want: "every packet of 192.0.2.1 is logged for 1m30s\n", asked: []string{"trace 192.0.2.1 1m30s"},
		},
		"trace for a minute if not told otherwise": {
			method: "POST", target: "/-/trace?ip=2001:db8::1", lifecycle: true,
			status: 200, want: "every packet of 2001:db8::1 is logged for 1m0s\n", asked: []string{"trace 2001:db8::1 1m0s"},
		},
		"trace by a form": {
			method: "POST", target: "/-/trace", body: "ip=192.0.2.1&for=1h", header: []string{"Content-Type", form}, lifecycle: true,
			status: 200, want: "every packet of 192.0.2.1 is logged for 1h0m0s\n", asked: []string{"trace 192.0.2.1 1h0m0s"},
		},
		"trace ended": {
			method: "POST", target: "/-/trace?ip=192.0.2.1&for=0s", lifecycle: true,
			status: 200, want: "packets of 192.0.2.1 are no longer logged\n", asked: []string{"trace 192.0.2.1 0s"},
		},
		"trace of an IPv4 address in IPv6 clothes": {
			method: "POST", target: "/-/trace?ip=::ffff:192.0.2.1", lifecycle: true,
			status: 200, want: "every packet of 192.0.2.1 is logged for 1m0s\n", asked: []string{"trace 192.0.2.1 1m0s"},
		},
		"trace of no target": {
			method: "POST", target: "/-/trace?ip=192.0.2.99", lifecycle: true, prober: prober{err: ErrNoTarget},
			status: 404, want: "ip \"192.0.2.99\": is not a target of this exporter\n", asked: []string{"trace 192.0.2.99 1m0s"},
		},
		"trace that fails": {
			method: "POST", target: "/-/trace?ip=192.0.2.1", lifecycle: true, prober: prober{err: errors.New("too many")},
			status: 500, want: "ip \"192.0.2.1\": cannot be traced: too many\n", asked: []string{"trace 192.0.2.1 1m0s"},
		},
		"trace of nothing": {
			method: "POST", target: "/-/trace", lifecycle: true, status: 400, want: "ip: missing, must be an IPv4 or IPv6 address\n",
		},
		"trace of a name":      {method: "POST", target: "/-/trace?ip=example.net", lifecycle: true, status: 400, want: badIP("example.net")},
		"trace of a prefix":    {method: "POST", target: "/-/trace?ip=192.0.2.0/24", lifecycle: true, status: 400, want: badIP("192.0.2.0/24")},
		"trace with a zone":    {method: "POST", target: "/-/trace?ip=fe80::1%25eth0", lifecycle: true, status: 400, want: badIP("fe80::1%eth0")},
		"trace without a unit": {method: "POST", target: "/-/trace?ip=192.0.2.1&for=60", lifecycle: true, status: 400, want: badFor("60")},
		"trace backwards":      {method: "POST", target: "/-/trace?ip=192.0.2.1&for=-1s", lifecycle: true, status: 400, want: badFor("-1s")},
		"trace for too long":   {method: "POST", target: "/-/trace?ip=192.0.2.1&for=61m", lifecycle: true, status: 400, want: badFor("61m")},
		"trace by a huge form": {
			method: "POST", target: "/-/trace", body: "ip=" + strings.Repeat("1", maxBody), header: []string{"Content-Type", form}, lifecycle: true,
			status: 400, want: "form: http: request body too large\n",
		},
		"trace by GET": {method: "GET", target: "/-/trace?ip=192.0.2.1", lifecycle: true, status: 405, want: "Method Not Allowed\n"},
	} {
		t.Run(name, func(t *testing.T) {
			w := request(handler(t, &test.prober, test.lifecycle), test.method, test.target, test.body, test.header...)
			if w.Code != test.status {
				t.Errorf("status: got %d, want %d", w.Code, test.status)
			}
			if diff := cmp.Diff(test.want, w.Body.String()); diff != "" {
				t.Error(diff)
			}
			if diff := cmp.Diff(test.asked, test.prober.asked); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	// A checkout may have changed the ends of lines.
	if diff := cmp.Diff(string(bytes.ReplaceAll(want, []byte("\r\n"), []byte("\n"))), string(bytes.ReplaceAll(got, []byte("\r\n"), []byte("\n")))); diff != "" {
		t.Errorf("%s (go test -update writes it anew): %s", path, diff)
	}
}

func TestSecurityHeaders(t *testing.T) {
	h := handler(t, &prober{}, true)
	for name, answer := range map[string]*httptest.ResponseRecorder{
		"the page":               request(h, "GET", "/", ""),
		"a script":               request(h, "GET", "/assets/main.js", ""),
		"metrics":                request(h, "GET", "/metrics", ""),
		"health":                 request(h, "GET", "/-/ready", ""),
		"the API":                request(h, "GET", "/api/v1/summary", ""),
		"a mistake":              request(h, "GET", "/api/v1/summary?x=y", ""),
		"nothing":                request(h, "GET", "/nothing", ""),
		"a wrong method":         request(h, "POST", "/", ""),
		"a page of another site": request(h, "POST", "/-/reload", "", "Sec-Fetch-Site", "cross-site"),
		"a foreign host":         ask(h, "POST", "evil.example"),
	} {
		for header, want := range map[string]string{
			"Cross-Origin-Resource-Policy": "same-origin",
			"Cross-Origin-Opener-Policy":   "same-origin",
			"Content-Security-Policy":      policy,
			"Referrer-Policy":              "no-referrer",
			"X-Content-Type-Options":       "nosniff",
			"X-Frame-Options":              "deny",
		} {
			if got := answer.Header().Get(header); got != want {
				t.Errorf("%s: %s: got %q, want %q", name, header, got, want)
			}
		}
	}
	t.Run("those of the operator win", func(t *testing.T) {
		w := httptest.NewRecorder()
		w.Header().Set("X-Frame-Options", "sameorigin")
		h.ServeHTTP(w, httptest.NewRequest("GET", "/", nil))
		if diff := cmp.Diff([]string{"sameorigin"}, w.Header().Values("X-Frame-Options")); diff != "" {
			t.Error(diff)
		}
	})
}

func TestTelemetryPath(t *testing.T) {
	for path, want := range map[string]string{
		"/metrics": "", "/a/b": "", "/metrics/": "",
		"":          `telemetry path "": must begin with / and hold no space or brace`,
		"metrics":   `telemetry path "metrics": must begin with / and hold no space or brace`,
		"/{x}":      `telemetry path "/{x}": must begin with / and hold no space or brace`,
		"/":         `telemetry path "/": is used otherwise; the default is /metrics`,
		"/ip":       `telemetry path "/ip": is used otherwise; the default is /metrics`,
		"/assets/a": `telemetry path "/assets/a": is used otherwise; the default is /metrics`,
		"/api/v1/x": `telemetry path "/api/v1/x": is used otherwise; the default is /metrics`,
		"/-/ready":  `telemetry path "/-/ready": is used otherwise; the default is /metrics`,
	} {
		got := ""
		if err := CheckTelemetryPath(path); err != nil {
			got = err.Error()
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s: %s", path, diff)
		}
		if path == "" || want != "" {
			continue
		}
		if _, err := New(Options{TelemetryPath: path, Metrics: http.NotFoundHandler(), Prober: &prober{}}); err != nil {
			t.Errorf("%s: %v", path, err)
		}
	}
}
