package web

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-kit/log"
	"github.com/google/go-cmp/cmp"
)

// guarded returns the handler of a guard on a machine named mon, in front of one that answers 200.
func guarded(t *testing.T, o Options) (*guard, http.Handler) {
	t.Helper()
	if o.Logger == nil {
		o.Logger = log.NewNopLogger()
	}
	g, err := newGuard(&o)
	if err != nil {
		t.Fatal(err)
	}
	g.hostname = func() (string, error) { return "Mon", nil }
	g.lookup = func(context.Context, string) (string, error) { return "mon.example.net.", nil }
	return g, g.handler(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
}

func ask(h http.Handler, method, host string, header ...string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, "/-/reload", nil)
	r.Host = host
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

func TestHostsThatAreThisExporter(t *testing.T) {
	_, h := guarded(t, Options{AllowedHosts: []string{"Exporter.example.net:443", "metrics"}})
	for host, want := range map[string]int{
		"127.0.0.1": 200, "127.0.0.1:10240": 200, "192.0.2.1:80": 200, "[2001:db8::1]:10240": 200, "[::1]": 200, "::1": 200, "[fe80::1%25eth0]:10240": 200,
		"localhost": 200, "LOCALHOST:10240": 200, "localhost.": 200, "a.b.localhost:10240": 200,
		"mon": 200, "MON:10240": 200, "mon.example.net": 200, "mon.example.net.:10240": 200,
		"exporter.example.net": 200, "exporter.example.net:8443": 200, "EXPORTER.EXAMPLE.NET.": 200, "metrics": 200,
		"": 200, // HTTP/1.0: no browser

		"evil.example": 421, "evil.example:10240": 421, "mon.evil.example": 421, "example.net": 421, "evil": 421,
		"localhost.evil.example": 421, "notlocalhost": 421, "127.0.0.1.evil.example": 421, "127.0.0.1:evil.example": 421,
		"sub.exporter.example.net": 421, "2130706433": 421, "0x7f.1": 421, "a@localhost": 421, "localhost,evil.example": 421,
	} {
		w := ask(h, "POST", host)
		if w.Code != want {
			t.Errorf("%q: status %d, want %d", host, w.Code, want)
		}
		if want == 421 && !strings.Contains(w.Body.String(), "--web.allowed-hosts=") {
			t.Errorf("%q: no word of the flag: %s", host, w.Body)
		}
	}
}

func TestWhichRequestsAreCheckedForTheirHost(t *testing.T) {
	yes, no := func() bool { return true }, func() bool { return false }
	upgrade := []string{"Connection", "keep-alive, Upgrade", "Upgrade", "h2c, WebSocket"}
	for name, test := range map[string]struct {
		lifecycle bool
		login     func() bool
		method    string
		header    []string
		want      int
	}{
		"reading, when nothing can be changed":               {false, nil, "GET", nil, 200},
		"reading, when something can be changed":             {true, nil, "GET", nil, 421},
		"reading, without a login although one may be asked": {true, no, "GET", nil, 421},
		"reading, behind a login":                            {true, yes, "GET", nil, 200},
		"a head, when something can be changed":              {true, nil, "HEAD", nil, 421},
		"a change":                                           {false, nil, "POST", nil, 421},
		"a change behind a login":                            {true, yes, "POST", nil, 421},
		"another change behind a login":                      {true, yes, "PUT", nil, 421},
		"a method that nobody knows":                         {false, yes, "BREW", nil, 421},
		"a WebSocket":                                        {false, nil, "GET", upgrade, 421},
		"a WebSocket behind a login":                         {true, yes, "GET", upgrade, 421},
		"another upgrade":                                    {false, nil, "GET", []string{"Upgrade", "h2c"}, 200},
	} {
		t.Run(name, func(t *testing.T) {
			_, h := guarded(t, Options{EnableLifecycle: test.lifecycle, Login: test.login})
			if w := ask(h, test.method, "evil.example", test.header...); w.Code != test.want {
				t.Errorf("status %d, want %d", w.Code, test.want)
			}
			if w := ask(h, test.method, "localhost:10240", test.header...); w.Code != 200 {
				t.Errorf("by our own name: status %d", w.Code)
			}
		})
	}
}

func TestPagesOfOtherSitesAreRefused(t *testing.T) {
	const host = "localhost:10240"
	upgrade := []string{"Connection", "Upgrade", "Upgrade", "websocket"}
	_, h := guarded(t, Options{})
	for name, test := range map[string]struct {
		header []string
		want   int
	}{
		"a program":                                {nil, 200},
		"our own page":                             {[]string{"Sec-Fetch-Site", "same-origin", "Origin", "http://" + host}, 200},
		"our own page in an old browser":           {[]string{"Origin", "http://" + host}, 200},
		"somebody who types the address":           {[]string{"Sec-Fetch-Site", "none"}, 200},
		"a page of another site":                   {[]string{"Sec-Fetch-Site", "cross-site", "Origin", "https://evil.example"}, 403},
		"a page of another site, without Origin":   {[]string{"Sec-Fetch-Site", "cross-site"}, 403},
		"a page of another host of the same site":  {[]string{"Sec-Fetch-Site", "same-site", "Origin", "http://other.localhost"}, 403},
		"a page of another port in an old browser": {[]string{"Origin", "http://localhost:3000"}, 403},
		"a page without an origin":                 {[]string{"Origin", "null"}, 403},
	} {
		t.Run(name, func(t *testing.T) {
			if w := ask(h, "POST", host, test.header...); w.Code != test.want {
				t.Errorf("POST: status %d, want %d", w.Code, test.want)
			}
			if w := ask(h, "GET", host, append(upgrade, test.header...)...); w.Code != test.want {
				t.Errorf("WebSocket: status %d, want %d", w.Code, test.want)
			}
			if w := ask(h, "GET", host, test.header...); w.Code != 200 {
				t.Errorf("GET: status %d", w.Code)
			}
		})
	}
}

func TestAllowedHosts(t *testing.T) {
	refused := func(text string) string {
		return `allowed host "` + text + `": must be one name such as exporter.example.net, without a scheme, a path or *`
	}
	for text, want := range map[string]string{
		"exporter": "", "exporter.example.net": "", "EXPORTER.example.net.": "", "exporter.example.net:443": "", "my_host-1": "",
		"192.0.2.1": "", "[2001:db8::1]:10240": "", "xn--bcher-kva.example": "",
		"": refused(""), "*": refused("*"), "*.example.net": refused("*.example.net"), ".example.net": refused(".example.net"), "a..b": refused("a..b"),
		"https://exporter.example.net": refused("https://exporter.example.net"), "exporter/metrics": refused("exporter/metrics"),
		"a, b": refused("a, b"), "a:b": refused("a:b"), ":443": refused(":443"),
		strings.Repeat("a", 254): refused(strings.Repeat("a", 254)),
	} {
		got := ""
		if err := CheckAllowedHost(text); err != nil {
			got = err.Error()
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%q: %s", text, diff)
		}
	}
	if _, err := New(Options{Metrics: http.NotFoundHandler(), Prober: &prober{}, AllowedHosts: []string{"*"}}); err == nil {
		t.Error("New takes anything")
	}
}

// TestTheFullNameOfTheMachineIsLearnedLate starts without a network.
func TestTheFullNameOfTheMachineIsLearnedLate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g, h := guarded(t, Options{})
		asked, answer, failure := 0, "", errors.New("no network")
		g.lookup = func(context.Context, string) (string, error) {
			asked++
			return answer, failure
		}
		expect := func(host string, status, lookups int) {
			t.Helper()
			if w := ask(h, "POST", host); w.Code != status || asked != lookups {
				t.Errorf("%s: status %d after %d look-ups, want %d after %d", host, w.Code, asked, status, lookups)
			}
		}
		expect("evil.example", 421, 0) // cannot be it
		expect("mon.example.net", 421, 1)
		expect("mon.example.net", 421, 1)
		answer, failure = "mon.example.net.", nil
		time.Sleep(lookupPause)
		expect("mon.example.net", 200, 2)
		expect("mon.evil.example", 421, 2)
		time.Sleep(lookupPause)
		expect("mon.example.net", 200, 2)
		expect("mon.evil.example", 421, 3)
		expect("mon.evil.example", 421, 3)
	})
}

func TestRefusalsAreLoggedNowAndThen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var text bytes.Buffer
		_, h := guarded(t, Options{Logger: log.NewLogfmtLogger(&text)})
		for range 3 {
			ask(h, "POST", "evil.example")
		}
		time.Sleep(refusalPause)
		ask(h, "POST", strings.Repeat("x", 1000))
		lines := strings.Split(strings.TrimSuffix(text.String(), "\n"), "\n")
		if len(lines) != 2 || !strings.Contains(lines[0], "host=evil.example") || !strings.Contains(lines[0], "--web.allowed-hosts") || len(lines[1]) > 500 {
			t.Errorf("got %d lines:\n%s", len(lines), text.String())
		}
	})
}

// TestARefusalIsWrittenAsThePathAnswers also shows that the guard is in place.
func TestARefusalIsWrittenAsThePathAnswers(t *testing.T) {
	h := handler(t, &prober{ready: true}, true)
	for path, wantJSON := range map[string]bool{
		"/api/v1/summary": true, "/api/v1/frames": true, "/api/v1/nothing": true,
		"/": false, "/metrics": false, "/-/ready": false, "/-/reload": false,
	} {
		r := httptest.NewRequest("GET", path, nil)
		r.Host = "evil.example:10240"
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		if w.Code != http.StatusMisdirectedRequest || w.Header().Get("Cache-Control") != "no-store" {
			t.Errorf("%s: status %d, Cache-Control %q", path, w.Code, w.Header().Get("Cache-Control"))
		}
		text := w.Body.String()
		if wantJSON {
			var answer struct{ Error string }
			if err := json.Unmarshal(w.Body.Bytes(), &answer); err != nil {
				t.Errorf("%s: %v", path, err)
			}
			text = answer.Error + "\n"
		}
		want := "host \"evil.example:10240\": is not a name of this exporter; if it is, start prefix_exporter with --web.allowed-hosts=evil.example\n"
		if diff := cmp.Diff(want, text); diff != "" {
			t.Errorf("%s: %s", path, diff)
		}
	}
}
