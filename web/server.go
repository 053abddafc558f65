package web

import (
	"context"
	"net"
	"net/http"
	"time"
)

// policy lets the page load, show and ask for what is ours only, and nothing that stands in
// a name or a label can become a script.
const policy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; " +
	"font-src 'self'; manifest-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

// securityHeaders keep a browser from doing with our pages what they are not for.
// Those that the operator sets in the web configuration file win.
var securityHeaders = map[string]string{
	"Content-Security-Policy": policy,
	// Pages of other sites can neither embed what is served here nor read it out of their own
	// memory (Spectre). Only browsers look at it; a link to the page works from anywhere.
	"Cross-Origin-Resource-Policy": "same-origin",
	// A page that has been opened by one of another site shares nothing with it.
	"Cross-Origin-Opener-Policy": "same-origin",
	"Referrer-Policy":            "no-referrer",
	"X-Content-Type-Options":     "nosniff",
	"X-Frame-Options":            "deny",
}

// secure adds the headers.
func secure(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		for name, value := range securityHeaders {
			if h.Get(name) == "" {
				h.Set(name, value)
			}
		}
		next.ServeHTTP(w, r)
	})
}

// Server makes a server for the handler that gives up on clients which do not talk or
// do not listen. ctx is that of the handlers: those that stream must end with it.
func Server(ctx context.Context, h http.Handler) *http.Server {
	return &http.Server{
		Handler:     h,
		BaseContext: func(net.Listener) context.Context { return ctx },
		ConnContext: withConn,
		// A header takes one packet; ten seconds are for a bad line, not for an attacker.
		ReadHeaderTimeout: 10 * time.Second,
		// No request carries a body worth more.
		ReadTimeout: 30 * time.Second,
		// A keep-alive connection outlives a scrape interval of a minute.
		IdleTimeout: 2 * time.Minute,
		// Nothing that we answer to has a long header: 64 KiB instead of 1 MiB.
		MaxHeaderBytes: 64 << 10,
		// A reader that does not read must not stay for ever. Who serves more than a
		// page, such as a scrape or a stream, sets its own deadline.
		WriteTimeout: time.Minute,
		// The deadlines above end streams of HTTP/2; this ends a connection that takes nothing.
		HTTP2: &http.HTTP2Config{WriteByteTimeout: writeTimeout},
	}
}
