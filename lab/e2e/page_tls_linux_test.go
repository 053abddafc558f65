//go:build !race

package e2e

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/chromedp/cdproto/fetch"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/security"
	"github.com/chromedp/chromedp"
)

// secureConfig is a file of --web.config.file; the password is "a secret", with the least cost that bcrypt has.
const secureConfig = `
tls_server_config: {cert_file: certificate.pem, key_file: key.pem}
basic_auth_users: {reader: $2a$04$EWziTu7g0f.S5cvjXOUwKO1tmh9GH35wmgK3ZNS4/ZRiXMEIFUucK}
`

// TestPageOverTLS has a certificate, HTTP/2 and a password between the page and the exporter.
func TestPageOverTLS(t *testing.T) {
	lab := startLab(t, pageScenario)
	dir := t.TempDir()
	certificate := authority(t)
	key, err := x509.MarshalPKCS8PrivateKey(certificate.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(dir, "web.yml"), secureConfig)
	write(t, filepath.Join(dir, "certificate.pem"), string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: certificate.Certificate[0]})))
	write(t, filepath.Join(dir, "key.pem"), string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: key})))
	write(t, filepath.Join(dir, "prefix_exporter.yml"), pageConfig)
	p := spawn(t, dir, os.Getenv(binaryEnv), "--web.listen-address="+exporterAddress, "--web.config.file=web.yml")
	untilSecure(t, p, certificate)

	b := startBrowser(t)
	b.origin = "https://" + exporterAddress
	b.trust()
	protocols := b.protocols()
	logins := b.logIn("reader", "a secret")
	b.open("/")
	t.Run("the page is live over HTTP/2, and the password is asked for once", func(t *testing.T) {
		b.t = t
		b.untilShown(near + " " + far)
		b.untilClass(near, 9, pingHalf, "ok")
		b.untilClass(near, 9, tcpHalf, "ok")
		for _, path := range []string{"/", "/assets/main.js", "/api/v1/summary", "/api/v1/events"} {
			until(t, path+" comes by h2", func() string {
				if got := protocols(path); got != "h2" {
					return "it came by " + got
				}
				return ""
			})
		}
		if n := logins(); n != 1 {
			t.Errorf("the password was asked for %d times", n)
		}
		b.picture("tls")
	})
	t.Run("events and numbers flow", func(t *testing.T) {
		b.t = t
		setRule(t, lab, silence(true, "192.0.2.33/32"))
		b.untilClass(near, 33, pingHalf, "down")
		b.until("the event is in the list", `[...document.querySelectorAll('#event-list [data-type="down"] a')].some((a) => a.textContent === "192.0.2.33")`)
		b.point(near, 9, pingHalf)
		b.until("the numbers are there", `document.querySelector("#inspector").dataset.ip === "192.0.2.9" && Number(document.querySelector("#inspector tr[data-number=samples] td").dataset.value) > 0`)
	})
	b.t = t
	b.quiet()
	t.Run("a link that has the password works as well", func(t *testing.T) {
		b.t = t
		b.origin = "https://reader:a%20secret@" + exporterAddress
		b.open("/ip/192.0.2.9")
		b.until("the address is shown", `document.querySelector("#address .chip")?.textContent === "ping up"`)
		b.until("there are events", `document.querySelectorAll("#event-list li").length > 0`)
	})
	b.t = t
	b.quiet()
	b.faithful()
}

// untilSecure waits until the exporter probes. Whoever has no password is told nothing.
func untilSecure(t *testing.T, p *process, certificate tls.Certificate) {
	t.Helper()
	roots := x509.NewCertPool()
	leaf, err := x509.ParseCertificate(certificate.Certificate[0])
	if err != nil {
		t.Fatal(err)
	}
	roots.AddCert(leaf)
	secure := &http.Client{Timeout: patience, Transport: &http.Transport{
		DisableKeepAlives: true, TLSClientConfig: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12},
	}}
	ask := func(path, password string) (int, error) {
		r, err := http.NewRequest(http.MethodGet, "https://"+exporterAddress+path, nil)
		if err != nil {
			return 0, err
		}
		r.SetBasicAuth("reader", password)
		answer, err := secure.Do(r)
		if err != nil {
			return 0, err
		}
		return answer.StatusCode, answer.Body.Close()
	}
	until(t, "the exporter is ready", func() string {
		p.alive()
		if status, err := ask("/-/ready", "a secret"); status != http.StatusOK {
			return fmt.Sprint(status, err)
		}
		return ""
	})
	for _, path := range []string{"/", "/assets/main.js", "/api/v1/summary", "/api/v1/frames"} {
		if status, err := ask(path, "another"); status != http.StatusUnauthorized {
			t.Errorf("%s with a wrong password: %d, %v", path, status, err)
		}
	}
}

// trust takes any certificate: the list of authorities is the machine's, and not for a test to change.
func (b *browser) trust() {
	b.t.Helper()
	if _, err := chromedp.Call(b.ctx, security.SetIgnoreCertificateErrors, security.SetIgnoreCertificateErrorsParams{Ignore: true}); err != nil {
		b.t.Fatal(err)
	}
}

// protocols notes by which protocol answers come, and returns what says so by path.
func (b *browser) protocols() func(path string) string {
	b.t.Helper()
	var answers []string
	err := chromedp.Listen(b.ctx, func(event any) {
		if e, ok := event.(*network.EventResponseReceived); ok {
			path, _, _ := strings.Cut(strings.TrimPrefix(e.Response.URL, b.origin), "?")
			b.note(&answers, path+" "+e.Response.Protocol)
		}
	})
	if err != nil {
		b.t.Fatal(err)
	}
	return func(path string) string {
		for _, a := range b.noted(&answers) {
			if protocol, ok := strings.CutPrefix(a, path+" "); ok {
				return protocol
			}
		}
		return "nothing"
	}
}

// logIn answers with a password when the browser asks its reader for one, and returns what says
// how often it did.
func (b *browser) logIn(user, password string) (times func() int) {
	b.t.Helper()
	var asked []string
	err := chromedp.Listen(b.ctx, func(event any) {
		// Not here: what is called waits for an answer, which comes after this.
		switch e := event.(type) {
		case *fetch.EventRequestPaused:
			go func() {
				_, _ = chromedp.Call(b.ctx, fetch.ContinueRequest, fetch.ContinueRequestParams{RequestID: e.RequestID})
			}()
		case *fetch.EventAuthRequired:
			b.note(&asked, e.Request.URL)
			go func() {
				_, _ = chromedp.Call(b.ctx, fetch.ContinueWithAuth, fetch.ContinueWithAuthParams{
					RequestID: e.RequestID, AuthChallengeResponse: &fetch.AuthChallengeResponse{
						Response: fetch.AuthChallengeResponseResponseProvideCredentials, Username: user, Password: password,
					},
				})
			}()
		}
	})
	if err != nil {
		b.t.Fatal(err)
	}
	// A reader is asked for the page, and for nothing that it loads.
	page := []*fetch.RequestPattern{{ResourceType: network.ResourceTypeDocument}}
	if _, err := chromedp.Call(b.ctx, fetch.Enable, fetch.EnableParams{Patterns: page, HandleAuthRequests: new(true)}); err != nil {
		b.t.Fatal(err)
	}
	return func() int { return len(b.noted(&asked)) }
}
