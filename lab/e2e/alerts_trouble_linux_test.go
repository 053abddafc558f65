//go:build !race

package e2e

import (
	"crypto/tls"
	"net/http"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"prefix_exporter/lab/netsim"
)

// stumblerConfig is of the third exporter, which is stopped for a while now and then.
const stumblerConfig = `
defaults: {tcp: off, trace: off}
prefixes:
  - {prefix: ` + stumblerPrefix + `, name: ROM-1, tenants: [team-b]}
`

const stumblerPrefix = "198.18.7.0/24"

// stumble stops the third exporter as a machine does that is suspended. It is longer than the second
// after which the exporter says that it cannot be trusted.
func (c *chain) stumble() {
	c.t.Helper()
	c.stumbler.signal(syscall.SIGSTOP)
	time.Sleep(2 * time.Second)
	c.stumbler.signal(syscall.SIGCONT)
}

// reroute changes the path to one prefix.
func (c *chain) reroute() {
	c.t.Helper()
	if _, err := c.lab.SetRoute(netsim.Route{
		Prefixes: []netip.Prefix{netip.MustParsePrefix("198.18.8.0/24")},
		Paths:    []netsim.Path{{Hops: []netsim.Hop{{Router: netip.MustParseAddr("10.0.0.1")}, {Router: netip.MustParseAddr("10.0.0.3")}}}},
	}); err != nil {
		c.t.Fatal(err)
	}
}

// troubled is the third Alertmanager: its mail server does not know its password, and its SMS
// provider fails once.
type troubled struct {
	inbox  *inbox
	failed atomic.Int32 // requests that the provider answered with an error
}

func startTroubled(t *testing.T, certificate tls.Certificate) *troubled {
	t.Helper()
	third := &troubled{inbox: &inbox{}}
	provider := smsProvider(t, third.inbox)
	sms := startSink(t, certificate, func(w http.ResponseWriter, r *http.Request) {
		if third.failed.CompareAndSwap(0, 1) {
			w.WriteHeader(http.StatusInternalServerError)
			return
		}
		provider(w, r)
	})
	p := startShippedAlertmanager(t, thirdAlertmanager,
		"smtp.example.net:587", startMailServer(t, third.inbox, "mail", certificate), "https://sms.example.net", sms)
	// It is read again for each mail.
	write(t, filepath.Join(p.cmd.Dir, "secrets/smtp_password"), "another password\n")
	return third
}

// toldOnce compares what the third Alertmanager told with what the first did: tenants got the same SMS,
// each once, though the provider failed. Those to the NOC wait for the mail of the same receiver, which fails for
// a minute. And nobody got a mail.
func (third *troubled) toldOnce(t *testing.T, first []string) {
	t.Helper()
	if third.failed.Load() != 1 {
		t.Error("the SMS provider did not fail")
	}
	toTenants := func(texts []string) []string {
		return slices.Sorted(func(yield func(string) bool) {
			for _, text := range texts {
				if (strings.HasPrefix(text, "sms to "+phoneA) || strings.HasPrefix(text, "sms to "+phoneB)) && !yield(text) {
					return
				}
			}
		})
	}
	var texts []string
	for _, m := range third.inbox.all() {
		texts = append(texts, m.String())
		if m.via != "sms" {
			t.Errorf("a mail without the password: %v", m)
		}
	}
	if d := cmp.Diff(toTenants(first), toTenants(texts)); d != "" {
		t.Errorf("SMS by a provider that failed once (-first Alertmanager +third):\n%s", d)
	}
}
