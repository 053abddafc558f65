package e2e

import (
	"context"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	dto "github.com/prometheus/client_model/go"

	"prefix_exporter/docs"
	"prefix_exporter/lab/e2e/tools"
	"prefix_exporter/lab/netsim"
	"prefix_exporter/lab/testenv"
	"prefix_exporter/prefix"
)

// everything is a configuration that makes every metric appear, once an address of it is refused. The machine has no
// way to one of its prefixes, and the interface of the last one is absent.
const everything = `
defaults: {tcp: off, trace: off}
prefixes:
  - {prefix: 127.0.0.0/28, trace: {interval: 1s, timeout: 500ms}, name: Loopback, router: lo, tenants: [team-a], labels: {site: here}, nominal_rtt: 5ms, names: {127.0.0.1: localhost}}
  - {prefix: 127.0.1.0/28, histograms: {per_address: %s}}
  - {prefix: 192.0.2.0/28, expect: all}
  - {prefix: 127.0.2.0/28, interface: absent0}
`

// refuse has the firewall of this machine refuse what is sent to some addresses, until allow is called or the test ends.
func refuse(t *testing.T, addresses ...string) (allow func()) {
	t.Helper()
	nft := testenv.RequireProgram(t, "nft", "nftables")
	rules := "add table ip refused; add chain ip refused out { type filter hook output priority 0; }"
	for _, a := range addresses {
		rules += "; add rule ip refused out ip daddr " + a + " drop"
	}
	if out, err := exec.Command(nft, rules).CombinedOutput(); err != nil {
		t.Fatalf("nft: %v: %s", err, out)
	}
	allow = sync.OnceFunc(func() { _ = exec.Command(nft, "delete table ip refused").Run() })
	t.Cleanup(allow)
	return allow
}

// TestMetrics looks at whole scrapes: is every metric documented, is every documented
// one there, and does promtool find fault with any of them?
func TestMetrics(t *testing.T) {
	netsim.RequireLab(t)
	promtool := tools.Require(t, "promtool")
	refuse(t, "127.0.1.15")
	for _, perAddress := range []string{"none", "native", "classic"} {
		t.Run("per_address "+perAddress, func(t *testing.T) {
			e := startExporter(t, fmt.Sprintf(everything, perAddress), "--storage.path="+filepath.Join(t.TempDir(), "storage"))
			until(t, "all metrics are there", func() string {
				e.alive()
				wrong, absent, err := docs.CompareMetrics(slices.Collect(maps.Values(e.scrape())))
				if err != nil {
					t.Fatal(err)
				}
				if len(wrong) > 0 {
					t.Fatalf("a scrape is not as documented:\n%s", strings.Join(wrong, "\n"))
				}
				return strings.Join(absent, "\n")
			})
			promtoolIsSilent(t, promtool, e)
			sameInEveryFormat(t, e)
			e.end()
		})
	}
}

// promtoolIsSilent hands a live scrape to promtool check metrics, which reads the text
// format only.
func promtoolIsSilent(t *testing.T, promtool string, e *exporter) {
	t.Helper()
	body, _ := e.get("/metrics", textFormat)
	check := exec.Command(promtool, "check", "metrics")
	check.Stdin = strings.NewReader(body)
	if out, err := check.CombinedOutput(); err != nil || len(out) > 0 {
		t.Errorf("promtool check metrics: %v\n%s", err, out)
	}
}

// sameInEveryFormat checks that text and OpenMetrics name the same series as protobuf.
func sameInEveryFormat(t *testing.T, e *exporter) {
	t.Helper()
	text, _ := e.get("/metrics", textFormat)
	open, contentType := e.get("/metrics", openMetrics)
	if !strings.HasPrefix(contentType, "application/openmetrics-text") || !strings.HasSuffix(open, "# EOF\n") {
		t.Errorf("no OpenMetrics: %s, ends with %q", contentType, open[max(0, len(open)-20):])
	}
	for name, f := range e.scrape() {
		family := "# TYPE " + name + " " + strings.ToLower(f.GetType().String()) + "\n"
		if !strings.Contains(text, family) {
			t.Errorf("text lacks %q", family)
		}
		family = strings.Replace(family, "_total counter", " counter", 1)
		if f.GetType() == dto.MetricType_COUNTER && !strings.Contains(open, family) {
			t.Errorf("OpenMetrics lacks %q", family)
		}
	}
}

// large is as many /24s as an operator of 10,240 addresses has.
const large = 40

// largeNetwork returns the /24s of such an operator.
func largeNetwork() (prefixes []string) {
	for i := range large {
		prefixes = append(prefixes, fmt.Sprintf("10.77.%d.0/24", i))
	}
	return prefixes
}

// TestAStormOfScrapesIsNobodysLoss lets eight scrapers ask without a pause while every
// address of forty /24s is probed once a second.
func TestAStormOfScrapesIsNobodysLoss(t *testing.T) {
	prefixes := largeNetwork()
	lab := startLab(t, fmt.Sprintf("prefixes: [%s]\nrules: [{delay: 10ms, spread: 100ms}]\n", strings.Join(prefixes, ", ")))
	config := func(every time.Duration) string {
		return fmt.Sprintf("defaults: {icmp: {interval: %s, timeout: 1s}, tcp: off, trace: off}\nprefixes:\n", every) + blocks(prefixes...)
	}
	e := startExporter(t, config(interval))
	until(t, "all are up", func() string {
		e.alive()
		if up := value(e.scrape(), "prefix_targets", "state=up"); up != large*256 {
			return fmt.Sprintf("%v are up", up)
		}
		return ""
	})

	served, turnedAway := storm(t, 8, 5*time.Second)
	t.Logf("%d scrapes were served, %d turned away", served, turnedAway)
	if served == 0 {
		t.Error("no scrape was served")
	}
	e.reload(config(time.Hour))
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if err := lab.Quiesce(ctx); err != nil {
		t.Fatal(err)
	}
	if s := lab.Stats(); s.Dropped > 0 || s.Refused > 0 {
		t.Fatalf("%d packets never reached the lab: its queue was full; %d replies were refused by the kernel", s.Dropped, s.Refused)
	}
	until(t, "all counters are those of the record", func() string { return unequalAfterStorm(lab, e) })
	after := e.scrape()
	if n := value(after, "prefix_exporter_scrape_errors_total", "cause=busy"); n != float64(turnedAway) {
		t.Errorf("%v scrapes were turned away, by its own account, %d by ours", n, turnedAway)
	}
	t.Logf("%v probes were skipped, %v discarded", value(after, "prefix_exporter_skipped_probes_total"), value(after, "prefix_exporter_discarded_probes_total"))
	e.end()
}

// unequalAfterStorm compares a scrape with the record of a lab that answers everything.
// Of ten thousand addresses some are probed while the scrape is made, even at an hourly
// pace: their counter is between what it must be before and after. What is discarded is
// missing in one of them.
func unequalAfterStorm(lab *netsim.Lab, e *exporter) (text string) {
	var members []netip.Prefix
	for _, p := range largeNetwork() {
		members = append(members, netip.MustParsePrefix(p))
	}
	before := bookOf(lab, members, netip.Prefix{})
	families := e.scrape()
	after := bookOf(lab, members, netip.Prefix{})
	want, got := map[string]float64{}, map[string]float64{}
	for _, m := range families["prefix_target_sent_total"].GetMetric() {
		for _, l := range m.GetLabel() {
			if l.GetName() == "ip" {
				got[l.GetValue()] = m.GetCounter().GetValue()
			}
		}
	}
	discarded, missing, atMost := value(families, "prefix_exporter_discarded_probes_total"), 0.0, 0.0
	var lost, lostLater float64
	for a := range before {
		ip, low, high := a.String(), float64(before[a].sent()), float64(after[a].sent())
		missing += max(0, low-got[ip])
		atMost += high - got[ip]
		if discarded > 0 {
			low = min(low, max(got[ip], low-discarded))
		}
		want[ip] = min(max(got[ip], low), high)
		lost += float64(before[a].counts[prefix.Timeout])
		lostLater += float64(after[a].counts[prefix.Timeout])
	}
	text = differences("prefix_target_sent_total", want, got)
	if discarded < missing || discarded > atMost {
		text += fmt.Sprintf("%v probes were discarded, by its own account, but %v to %v are missing\n", discarded, missing, atMost)
	}
	// The lab itself may have been late, and then it is right to say so.
	for _, name := range []string{"prefix_lost_total", "prefix_exporter_late_replies_total"} {
		if n := value(families, name); n < lost-discarded || n > lostLater {
			text += fmt.Sprintf("%s is %v, want %v to %v\n", name, n, lost, lostLater)
		}
	}
	return text
}

// storm scrapes from so many sides for so long. It returns how many scrapes were served
// and how many turned away because too many ran.
func storm(t *testing.T, scrapers int, duration time.Duration) (served, turnedAway int) {
	t.Helper()
	var mu sync.Mutex
	var all sync.WaitGroup
	end := time.Now().Add(duration)
	for i := range scrapers {
		accept := []string{textFormat, openMetrics, protobuf}[i%3]
		all.Go(func() {
			for time.Now().Before(end) {
				status, err := scrapeOnce(accept)
				mu.Lock()
				switch {
				case err != nil:
					t.Error(err)
				case status == http.StatusOK:
					served++
				case status == http.StatusServiceUnavailable:
					turnedAway++
				default:
					t.Errorf("status %d", status)
				}
				mu.Unlock()
			}
		})
	}
	all.Wait()
	return served, turnedAway
}

// scrapeOnce asks for a scrape, compressed as Prometheus does, and reads all of it.
func scrapeOnce(accept string) (status int, err error) {
	r, err := http.NewRequest(http.MethodGet, "http://"+exporterAddress+"/metrics", nil)
	if err != nil {
		return 0, err
	}
	r.Header.Set("Accept", accept)
	r.Header.Set("Accept-Encoding", "gzip")
	answer, err := client.Do(r)
	if err != nil {
		return 0, err
	}
	defer answer.Body.Close()
	_, err = io.Copy(io.Discard, answer.Body)
	return answer.StatusCode, err
}

// TestWithoutAnyConfigurationLoopbackIsProbed starts the exporter as somebody does who
// has just downloaded it.
func TestWithoutAnyConfigurationLoopbackIsProbed(t *testing.T) {
	netsim.RequireLab(t)
	dir := t.TempDir()
	e := &exporter{process: spawn(t, dir, os.Getenv(binaryEnv), "--log.format=json")}
	e.untilReady(exporterAddress)
	until(t, "every address of 127.0.0.0/24 is up", func() string {
		e.alive()
		if up := value(e.scrape(), "prefix_targets", "prefix=127.0.0.0/24", "probe=icmp", "state=up"); up != 256 {
			return fmt.Sprintf("%v are up", up)
		}
		return ""
	})
	if took := time.Since(e.began); took > 5*time.Second {
		t.Errorf("it took %v", took)
	}
	if status, body := e.post("/-/reload"); status != http.StatusForbidden {
		t.Errorf("a reload over HTTP is allowed: %d: %s", status, body)
	}
	e.end()
	files, err := os.ReadDir(dir)
	if err != nil || len(files) > 0 {
		t.Errorf("it has written: %v, %v", files, err)
	}
}
