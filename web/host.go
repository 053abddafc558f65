package web

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/go-kit/log/level"
)

// A page of another site that makes its own name resolve to the address of this exporter (DNS
// rebinding) is of the same origin as what is served here: no browser keeps it from reading,
// reloading and tracing. It cannot choose the name by which it asks, though: it is its own.

const (
	// lookupTimeout bounds the look-up of the machine's full name: a resolver on the same
	// network answers within milliseconds.
	lookupTimeout = 2 * time.Second
	// lookupPause is between two look-ups, or somebody who asks for foreign hosts could
	// have the resolver asked as often.
	lookupPause = 10 * time.Second
	// refusalPause is between two lines of the log about requests for foreign hosts.
	refusalPause = time.Minute
	// maxName is how long a name in the DNS is at most, as text (RFC 1035 section 2.3.4).
	maxName = 253
)

// guard lets requests through only if they ask for a host that is this exporter.
type guard struct {
	o        *Options
	allowed  map[string]bool
	hostname func() (string, error)
	lookup   func(ctx context.Context, name string) (string, error)

	mu       sync.Mutex
	full     string    // the machine's name with its domain; empty: not known
	asked    time.Time // when the DNS was asked for it
	reported time.Time // when a refusal was logged
}

// newGuard makes a guard, or returns an error if an allowed host is none.
func newGuard(o *Options) (*guard, error) {
	g := &guard{o: o, allowed: map[string]bool{}, hostname: os.Hostname, lookup: net.DefaultResolver.LookupCNAME}
	for _, text := range o.AllowedHosts {
		if err := CheckAllowedHost(text); err != nil {
			return nil, err
		}
		g.allowed[hostOf(text)] = true
	}
	return g, nil
}

// CheckAllowedHost returns an error if a host cannot be the one of a request.
func CheckAllowedHost(text string) error {
	host := hostOf(text)
	_, err := netip.ParseAddr(host)
	name := len(host) > 0 && len(host) <= maxName && strings.Trim(host, "abcdefghijklmnopqrstuvwxyz0123456789-_.") == ""
	if err != nil && (!name || strings.HasPrefix(host, ".") || strings.Contains(host, "..")) {
		return fmt.Errorf("allowed host %q: must be one name such as exporter.example.net, without a scheme, a path or *", text)
	}
	return nil
}

// hostOf returns the host of a header Host (RFC 9110 section 7.2) as it is compared: without its
// port, without brackets and the dot at the end, in lower case.
func hostOf(text string) string {
	if host, port, err := net.SplitHostPort(text); err == nil && strings.Trim(port, "0123456789") == "" {
		text = host
	}
	if inner, ok := strings.CutPrefix(text, "["); ok {
		text = strings.TrimSuffix(inner, "]")
	}
	return strings.ToLower(strings.TrimSuffix(text, "."))
}

// handler checks requests that a page must not make: those that change something or open a
// WebSocket, and all if there is something to change and nobody has to log in. What a browser
// says about its page is checked as well.
func (g *guard) handler(next http.Handler) http.Handler {
	origin := http.NewCrossOriginProtection()
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		acts := changes(r) || upgrades(r)
		if (acts || g.o.EnableLifecycle) && !g.known(r.Host) && (acts || !g.loggedIn()) {
			g.refuse(w, r)
			return
		}
		asked := r
		if acts {
			asked = &http.Request{Method: http.MethodPost, Host: r.Host, Header: r.Header, URL: r.URL} // an upgrade is a GET
		}
		if err := origin.Check(asked); err != nil {
			g.o.deny(w, r, http.StatusForbidden, err.Error())
			return
		}
		next.ServeHTTP(w, r)
	})
}

// changes says whether a request may change something (RFC 9110 section 9.2.1).
func changes(r *http.Request) bool {
	switch r.Method {
	case http.MethodGet, http.MethodHead, http.MethodOptions, http.MethodTrace:
		return false
	}
	return true
}

// upgrades says whether a request asks for a WebSocket, which no browser keeps to its origin.
func upgrades(r *http.Request) bool {
	for _, list := range r.Header.Values("Upgrade") {
		for protocol := range strings.SplitSeq(list, ",") {
			if strings.EqualFold(strings.TrimSpace(protocol), "websocket") {
				return true
			}
		}
	}
	return false
}

func (g *guard) loggedIn() bool { return g.o.Login != nil && g.o.Login() }

// known says whether a host is this exporter. A client without any (HTTP/1.0) is no browser; an
// address is no name that could be made to resolve to another one.
func (g *guard) known(hostport string) bool {
	host := hostOf(hostport)
	if host == "" || host == "localhost" || strings.HasSuffix(host, ".localhost") || g.allowed[host] {
		return true
	}
	if _, err := netip.ParseAddr(host); err == nil {
		return true
	}
	return g.machine(host)
}

// machine says whether a host is the name of the machine, with its domain or without.
func (g *guard) machine(host string) bool {
	name, err := g.hostname()
	if err != nil || name == "" {
		return false
	}
	name = hostOf(name)
	short, _, _ := strings.Cut(name, ".")
	if host == name || host == short {
		return true
	}
	first, _, _ := strings.Cut(host, ".")
	return first == short && host == g.fullName(name, host)
}

// fullName returns the machine's name with its domain, as hostname(1) -f does. It is asked for
// when it is needed: when the program starts there may be no network yet, and it may change.
func (g *guard) fullName(name, want string) string {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.full == want || time.Since(g.asked) < lookupPause {
		return g.full
	}
	ctx, cancel := context.WithTimeout(context.Background(), lookupTimeout)
	defer cancel()
	if full, err := g.lookup(ctx, name); err == nil {
		g.full = hostOf(full)
	}
	g.asked = time.Now()
	return g.full
}

// refuse answers a request for a foreign host (RFC 9110 section 15.5.20).
func (g *guard) refuse(w http.ResponseWriter, r *http.Request) {
	text := fmt.Sprintf("host %.100q: is not a name of this exporter; if it is, start prefix_exporter with --web.allowed-hosts=%.100s", r.Host, hostOf(r.Host))
	g.mu.Lock()
	report := time.Since(g.reported) >= refusalPause
	if report {
		g.reported = time.Now()
	}
	g.mu.Unlock()
	if report {
		level.Warn(g.o.Logger).Log("msg", "Refused a request for a host that is not a name of this exporter: if it is, give it to --web.allowed-hosts",
			"host", fmt.Sprintf("%.100s", r.Host), "path", fmt.Sprintf("%.100s", r.URL.Path), "from", r.RemoteAddr)
	}
	g.o.deny(w, r, http.StatusMisdirectedRequest, text)
}

// deny answers with an error as the path of the request does.
func (o *Options) deny(w http.ResponseWriter, r *http.Request, status int, text string) {
	if under(r.URL.Path, pathAPI) {
		writeError(w, status, text)
		return
	}
	plain(w, status, "%s", text)
}
