package main

import (
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"
)

func TestHealthy(t *testing.T) {
	answer := func(status int, text string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) { http.Error(w, text, status) }
	}
	plain := func(h http.HandlerFunc) *httptest.Server { return httptest.NewServer(h) }
	private := func(h http.HandlerFunc) *httptest.Server { return httptest.NewTLSServer(h) }
	for name, test := range map[string]struct {
		server func(http.HandlerFunc) *httptest.Server
		handle http.HandlerFunc
		want   string // a regular expression; empty: healthy
	}{
		"one that probes":                      {plain, answer(200, "ready"), ""},
		"one that does not probe yet":          {plain, answer(503, "not probing."), `503 Service Unavailable: not probing\.$`},
		"one that sends us elsewhere":          {plain, http.RedirectHandler("/login", http.StatusFound).ServeHTTP, `302 Found`},
		"one with a certificate for elsewhere": {private, answer(200, "ready"), ""},
	} {
		t.Run(name, func(t *testing.T) {
			server := test.server(test.handle)
			defer server.Close()
			checkHealth(t, server.URL+"/-/ready", test.want)
		})
	}
}

func TestHealthyOfNobody(t *testing.T) {
	server := httptest.NewServer(http.NotFoundHandler())
	server.Close() // a port that nobody listens on
	for name, test := range map[string]struct{ url, want string }{
		"nobody listens":                 {server.URL, `connection refused|actively refused`},
		"no scheme":                      {"127.0.0.1:10240", `^url "127.0.0.1:10240": must be like http://`},
		"a scheme that is not the web's": {"file:///etc/passwd", `must be like http://`},
		"no host":                        {"http:///-/ready", `must be like http://`},
	} {
		t.Run(name, func(t *testing.T) { checkHealth(t, test.url, test.want) })
	}
}

// checkHealth asks, and compares the error with a regular expression; empty: none.
func checkHealth(t *testing.T, url, want string) {
	t.Helper()
	err := healthy(t.Context(), url)
	switch {
	case want == "" && err != nil:
		t.Errorf("got %v, want healthy", err)
	case want != "" && (err == nil || !regexp.MustCompile(want).MatchString(err.Error())):
		t.Errorf("got %v, want %s", err, want)
	}
}

func TestOnlyLoopbackIsTrustedWithoutACertificate(t *testing.T) {
	for host, want := range map[string]bool{
		"localhost": true, "127.0.0.1": true, "127.9.9.9": true, "::1": true, "::ffff:127.0.0.1": true,
		"192.0.2.1": false, "2001:db8::1": false, "localhost.example.net": false, "": false,
	} {
		if got := isLoopback(host); got != want {
			t.Errorf("%q: got %v, want %v", host, got, want)
		}
	}
	if !isLoopback(strings.Split(strings.TrimPrefix(healthURL, "http://"), ":")[0]) {
		t.Error("the default is not this machine")
	}
}
