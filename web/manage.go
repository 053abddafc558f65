package web

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"strconv"
	"time"

	"github.com/go-kit/log/level"
)

// The bounds of how long one address is traced by one request. At one echo a second an
// hour makes 7,200 lines: more is for tcpdump.
const (
	defaultTrace = time.Minute
	maxTrace     = time.Hour
)

// maxBody bounds what a management request may send: two short parameters.
const maxBody = 4 << 10

// plain answers with one text for humans and shell scripts.
func plain(w http.ResponseWriter, status int, format string, args ...any) {
	h := w.Header()
	h.Set("Content-Type", "text/plain; charset=utf-8")
	h.Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	fmt.Fprintf(w, format+"\n", args...) // a client that has gone is no error
}

func healthy(w http.ResponseWriter, _ *http.Request) {
	plain(w, http.StatusOK, "prefix_exporter is serving.")
}

func (o *Options) ready(w http.ResponseWriter, _ *http.Request) {
	if !o.Prober.Ready() {
		plain(w, http.StatusServiceUnavailable, "prefix_exporter is not probing.")
		return
	}
	plain(w, http.StatusOK, "prefix_exporter is ready.")
}

// lifecycle guards what changes something.
func (o *Options) lifecycle(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !o.EnableLifecycle {
			plain(w, http.StatusForbidden, "Lifecycle API is not enabled: start prefix_exporter with --web.enable-lifecycle to allow it.")
			return
		}
		r.Body = http.MaxBytesReader(w, r.Body, maxBody)
		next.ServeHTTP(w, r)
	})
}

func (o *Options) reload(w http.ResponseWriter, r *http.Request) {
	_, _ = io.Copy(io.Discard, r.Body)
	if err := o.Prober.Reload(r.Context()); err != nil {
		plain(w, http.StatusInternalServerError, "failed to reload the configuration, the old one stays:\n%v", err)
		return
	}
	plain(w, http.StatusOK, "configuration reloaded")
}

func (o *Options) trace(w http.ResponseWriter, r *http.Request) {
	addr, d, err := traceParameters(r)
	if err != nil {
		plain(w, http.StatusBadRequest, "%v", err)
		return
	}
	err = o.Prober.Trace(r.Context(), addr, d)
	switch {
	case errors.Is(err, ErrNoTarget):
		plain(w, http.StatusNotFound, "ip %q: is not a target of this exporter", addr)
	case err != nil:
		level.Error(o.Logger).Log("msg", "Cannot trace an address", "ip", addr, "err", err)
		plain(w, http.StatusInternalServerError, "ip %q: cannot be traced: %v", addr, err)
	case d == 0:
		plain(w, http.StatusOK, "packets of %s are no longer logged", addr)
	default:
		plain(w, http.StatusOK, "every packet of %s is logged for %s", addr, d)
	}
}

// traceParameters reads ip and for, from the URL or from a form.
func traceParameters(r *http.Request) (netip.Addr, time.Duration, error) {
	if err := r.ParseForm(); err != nil {
		return netip.Addr{}, 0, fmt.Errorf("form: %w", err)
	}
	text := r.Form.Get("ip")
	if text == "" {
		return netip.Addr{}, 0, errors.New("ip: missing, must be an IPv4 or IPv6 address")
	}
	addr, err := netip.ParseAddr(text)
	if err != nil || addr.Zone() != "" {
		return netip.Addr{}, 0, fmt.Errorf("ip %q: must be an IPv4 or IPv6 address without a zone", text)
	}
	text = r.Form.Get("for")
	if text == "" {
		return addr.Unmap(), defaultTrace, nil
	}
	d, err := time.ParseDuration(text)
	if err != nil || d < 0 || d > maxTrace {
		return netip.Addr{}, 0, fmt.Errorf("for %s: must be a duration between 0s, which ends a trace, and %s, such as 60s", strconv.Quote(text), maxTrace)
	}
	return addr.Unmap(), d, nil
}
