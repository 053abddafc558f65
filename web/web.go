// Package web is the HTTP face of the exporter: the live page, the JSON API and the streams
// behind it, metrics, health, reload and packet tracing. It shows the state of package
// prefix and asks its owner for everything that changes something.
package web

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	pathpkg "path"
	"strings"
	"time"

	"github.com/go-kit/log"

	"prefix_exporter/event"
	"prefix_exporter/frame"
	"prefix_exporter/prefix"
	"prefix_exporter/route"
)

// The paths that are served beside the telemetry path.
const (
	pathPage     = "/"
	pathIP       = "/ip/" // the page, too: which address it shows is the client's business
	pathAssets   = "/assets/"
	pathHealthy  = "/-/healthy"
	pathReady    = "/-/ready"
	pathReload   = "/-/reload"
	pathTrace    = "/-/trace"
	pathReserved = "/-/"
)

// DefaultTelemetryPath is where Prometheus looks if it is not told otherwise.
const DefaultTelemetryPath = "/metrics"

// ErrNoTarget is what Prober.Trace returns for an address that is not probed.
var ErrNoTarget = errors.New("not a target")

// Trouble is one reason for which the prober itself cannot be trusted.
type Trouble struct {
	Reason string
	Detail string // one sentence
	Last   time.Time
}

// Prober is what the pages ask of whoever does the probing.
type Prober interface {
	// Ready says whether probing has begun, and has not ended.
	Ready() bool
	// Troubles returns what is wrong with the prober; none: it is healthy.
	Troubles() []Trouble
	// Reload reads the configuration again. It returns when the new one is in
	// force, or an error when the old one has stayed. The context is only waited
	// with: a reload that has begun is not cut off in the middle.
	Reload(ctx context.Context) error
	// Trace logs every packet of an address for so long from now on; 0 ends it. The
	// error is or wraps ErrNoTarget if the address is not probed.
	Trace(ctx context.Context, addr netip.Addr, d time.Duration) error
}

// Options is what the pages are made of. Prober, Table, Frames, Events, Metrics and Logger must
// be set.
type Options struct {
	// TelemetryPath is where Metrics is served; empty: DefaultTelemetryPath.
	TelemetryPath string
	Metrics       http.Handler
	Table         *prefix.Table
	// Frames records Table, and Events has its changes.
	Frames *frame.Recorder
	Events *event.Log
	Routes *route.Table // nil: nothing is traced
	Prober Prober
	// EnableLifecycle allows reload and trace over HTTP.
	EnableLifecycle bool
	// AllowedHosts are the names by which clients may ask, beside those of this machine (see
	// CheckAllowedHost).
	AllowedHosts []string
	// Login says whether clients must log in before they come here, by a password or a
	// certificate. Nil: they need not.
	Login func() bool
	// Version is shown on the page.
	Version string
	Logger  log.Logger

	writeTimeout time.Duration // of tests; 0: the constant
}

// CheckTelemetryPath returns an error if metrics cannot be served at this path.
func CheckTelemetryPath(path string) error {
	switch {
	case !strings.HasPrefix(path, "/") || strings.ContainsAny(path, "{} "):
		return fmt.Errorf("telemetry path %q: must begin with / and hold no space or brace", path)
	case strings.TrimSuffix(path, "/") != pathpkg.Clean(path) && path != pathPage:
		return fmt.Errorf("telemetry path %q: must be clean: %s", path, pathpkg.Clean(path))
	case path == pathPage, under(path, pathIP), under(path, pathAssets), under(path, "/api/"), under(path, pathReserved):
		return fmt.Errorf("telemetry path %q: is used otherwise; the default is %s", path, DefaultTelemetryPath)
	}
	return nil
}

// under says whether a path is a folder, or in it.
func under(path, folder string) bool { return strings.HasPrefix(path+"/", folder) }

// New makes the handler of all pages.
func New(o Options) (http.Handler, error) {
	if o.TelemetryPath == "" {
		o.TelemetryPath = DefaultTelemetryPath
	}
	if err := CheckTelemetryPath(o.TelemetryPath); err != nil {
		return nil, err
	}
	client, err := newAssets()
	if err != nil {
		return nil, err
	}
	mux := http.NewServeMux()
	mux.Handle("GET "+o.TelemetryPath, o.Metrics)
	mux.HandleFunc("GET "+pathPage+"{$}", client.page)
	mux.HandleFunc("GET "+pathIP+"{ip}", client.page)
	mux.HandleFunc("GET "+pathAssets, client.file)
	a := newAPI(o)
	a.register(mux)
	a.registerRoutes(mux)
	mux.HandleFunc("GET "+pathHealthy, healthy)
	mux.HandleFunc("GET "+pathReady, o.ready)
	for path, handler := range map[string]http.HandlerFunc{pathReload: o.reload, pathTrace: o.trace} {
		h := o.lifecycle(handler)
		mux.Handle("POST "+path, h)
		mux.Handle("PUT "+path, h)
	}
	guard, err := newGuard(&o)
	if err != nil {
		return nil, err
	}
	return secure(guard.handler(mux)), nil
}
