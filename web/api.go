package web

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/go-kit/log/level"
	"golang.org/x/sync/singleflight"

	"prefix_exporter/prefix"
)

// pathAPI is where the JSON API is, which docs/api.md describes.
const pathAPI = "/api/v1/"

// encoders is how many event streams may turn events into text at the same time. Thousands of
// readers that all are told of an outage at once would else keep every processor busy, and
// whatever else is to run waiting, for as long as that takes.
const encoders = 1

// api answers with what is known now.
type api struct {
	Options
	encoding chan struct{} // holds a token for each stream that encodes
	asked    singleflight.Group
	answers  *answers
}

func newAPI(o Options) *api {
	return &api{Options: o, encoding: make(chan struct{}, encoders), answers: &answers{most: maxAnswers}}
}

// handlers are what is served, by its path below pathAPI.
func (a *api) handlers() map[string]http.Handler {
	return map[string]http.Handler{
		"summary":              a.json(nil, a.shared("summary", a.summary)),
		"prefixes":             a.json(nil, a.shared("prefixes", a.prefixes)),
		"prefixes/{prefix...}": a.json(nil, a.prefix),
		"ips/{ip}":             a.json(nil, a.ip),
		"history/{prefix...}":  a.json([]string{"probe", "port", "span"}, a.history),
		"references/{kind}":    a.fail(a.reference),
		"events":               a.fail(a.events),
		"frames":               a.fail(a.frames),
	}
}

// register adds the API to what is served.
func (a *api) register(mux *http.ServeMux) {
	for path, h := range a.handlers() {
		mux.Handle("GET "+pathAPI+path, h)
	}
	mux.HandleFunc("GET "+pathAPI, func(w http.ResponseWriter, r *http.Request) {
		a.refuse(w, missing("path %q: is not part of the API", r.URL.Path))
	})
}

// problem is an error that the client is told, with its status.
type problem struct {
	status int
	text   string
}

func (p *problem) Error() string { return p.text }

func invalid(format string, args ...any) error {
	return &problem{http.StatusBadRequest, fmt.Sprintf(format, args...)}
}

func missing(format string, args ...any) error {
	return &problem{http.StatusNotFound, fmt.Sprintf(format, args...)}
}

// refuse answers with an error as JSON.
func (a *api) refuse(w http.ResponseWriter, err error) {
	var p *problem
	if !errors.As(err, &p) {
		level.Error(a.Logger).Log("msg", "Cannot answer a request", "err", err)
		p = &problem{http.StatusInternalServerError, http.StatusText(http.StatusInternalServerError)}
	}
	writeError(w, p.status, p.text)
}

func writeError(w http.ResponseWriter, status int, text string) {
	writeJSON(w, status, struct {
		Error string `json:"error"`
	}{text})
}

// fail makes a handler of a function whose error is the answer.
func (a *api) fail(h func(http.ResponseWriter, *http.Request) error) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if err := h(w, r); err != nil {
			a.refuse(w, err)
		}
	})
}

// json makes a handler of a function whose result is the answer. keys are what the query
// may have.
func (a *api) json(keys []string, h func(*http.Request) (any, error)) http.Handler {
	return a.fail(func(w http.ResponseWriter, r *http.Request) error {
		if err := checkKeys(r, keys...); err != nil {
			return err
		}
		a.Frames.Fresh(time.Now())
		answer, err := h(r)
		if err == nil {
			writeJSON(a.answers.to(w), http.StatusOK, answer)
		}
		return err
	})
}

// shared makes a function whose answer is the same for everybody do its work once for all who ask at the same
// time: at 65,536 addresses it takes milliseconds, and pages that began together ask together.
func (a *api) shared(name string, h func(*http.Request) (any, error)) func(*http.Request) (any, error) {
	return func(r *http.Request) (any, error) {
		answer, err, _ := a.asked.Do(name, func() (any, error) { return h(r) })
		return answer, err
	}
}

// writeJSON writes the answer in one piece.
func writeJSON(w http.ResponseWriter, status int, answer any) {
	h := w.Header()
	h.Set("Content-Type", "application/json")
	h.Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false) // nobody may take it for HTML: X-Content-Type-Options
	_ = enc.Encode(answer)   // a client that has gone is no error
}

// checkKeys returns an error if the query has a key that is not allowed, or one twice.
func checkKeys(r *http.Request, allowed ...string) error {
	query := r.URL.Query()
	for key, values := range query {
		switch {
		case !slices.Contains(allowed, key) && len(allowed) == 0:
			return invalid("query %q: this path takes no query", key)
		case !slices.Contains(allowed, key):
			return invalid("query %q: must be one of %s", key, strings.Join(allowed, ", "))
		case len(values) > 1:
			return invalid("query %q: is given %d times: must be given once", key, len(values))
		}
	}
	return nil
}

// oneOf reads a key of the query that has one of these values; the first is the default.
func oneOf(r *http.Request, key string, values ...string) (string, error) {
	v := r.URL.Query().Get(key)
	if v == "" {
		return values[0], nil
	}
	if !slices.Contains(values, v) {
		return "", invalid("%s %q: must be one of %s", key, v, strings.Join(values, ", "))
	}
	return v, nil
}

// number reads a key of the query that is a whole number in this range.
func number(r *http.Request, key string, otherwise, low, high uint64) (uint64, error) {
	text := r.URL.Query().Get(key)
	if text == "" {
		return otherwise, nil
	}
	return whole(key, text, low, high)
}

// whole reads a whole number in this range; what says where it stands.
func whole(what, text string, low, high uint64) (uint64, error) {
	n, err := strconv.ParseUint(text, 10, 64)
	if err != nil || n < low || n > high {
		return 0, invalid("%s %q: must be a whole number from %d to %d", what, text, low, high)
	}
	return n, nil
}

// probeOf reads the keys probe and port.
func probeOf(r *http.Request) (p prefix.Probe, err error) {
	kind, err := oneOf(r, "probe", prefix.ICMP.String(), prefix.TCP.String())
	if err != nil {
		return p, err
	}
	port, err := number(r, "port", 0, 0, 65535)
	if err != nil {
		return p, err
	}
	p.Port = uint16(port)
	if kind == prefix.TCP.String() {
		p.Kind = prefix.TCP
	}
	if p.Kind == prefix.ICMP && port != 0 {
		return p, invalid(`port "%d": must be 0 or absent, probe icmp has no ports`, port)
	}
	if p.Kind == prefix.TCP && port == 0 {
		return p, invalid(`port "%d": must be from 1 to 65535, probe tcp needs one`, port)
	}
	return p, nil
}

func parsePrefix(text string) (netip.Prefix, error) {
	p, err := netip.ParsePrefix(text)
	if err != nil {
		return p, invalid("prefix %q: must be an IPv4 or IPv6 prefix, such as 192.0.2.0/24", text)
	}
	return p, nil
}

func parseIP(text string) (netip.Addr, error) {
	addr, err := netip.ParseAddr(text)
	if err != nil || addr.Zone() != "" {
		return addr, invalid("ip %q: must be an IPv4 or IPv6 address without a zone", text)
	}
	return addr.Unmap(), nil
}

// known returns the series of a prefix, or an error if there are none.
func (a *api) known(p netip.Prefix) (list []*prefix.Series, err error) {
	for _, s := range a.Table.Series() {
		if s.Prefix() == p {
			list = append(list, s)
		}
	}
	if len(list) == 0 {
		return nil, missing("prefix %q: is not a prefix of this exporter", p)
	}
	return list, nil
}
