package e2e

import (
	"context"
	"fmt"
	"net/netip"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"prefix_exporter/lab/netsim"
)

// scenario is a network with some of everything. No reply is held for so long that a
// busy machine could turn it into a timeout.
const scenario = `
seed: 20
prefixes: [192.0.2.0/24, 192.0.3.0/24, 198.51.100.0/24, 203.0.113.0/24]
rules:
  - {delay: 20ms, spread: 200ms, jitter: 2ms}
  - {prefix: 192.0.2.0/26, loss: 1%}
  - {prefix: 192.0.2.64/26, loss: 10%}
  - {prefix: 192.0.2.128/26, loss: {burst: {enter: 5%, leave: 30%}}}
  - {prefix: 192.0.2.192/27, duplicate: 30%}
  - {prefix: 192.0.2.224/27, reorder: {probability: 20%, delay: 300ms}}
  - {prefix: 203.0.113.64/27, unreachable: {code: host, from: 203.0.113.1}}
  - {prefix: 203.0.113.96/27, ttl_exceeded: {from: 203.0.113.1}}
  - {prefix: 203.0.113.128/25, silent: true}
`

// The addresses that something happens to.
const (
	lossy      = "192.0.2.70"      // one request in ten is lost
	doubled    = "192.0.2.200"     // one in three is answered twice
	cutOff     = "203.0.113.7"     // falls silent, and speaks again
	cutForGood = "198.51.100.66"   // falls silent with its /24, and stays so
	woken      = "203.0.113.200"   // is dark, and wakes
	dark       = "203.0.113.201"   // never says a word
	cutUnseen  = "198.51.100.67"   // falls silent while the exporter is gone
	outage     = "198.51.100.0/24" // is cut off as a whole
	visitor    = "192.0.3.0/24"    // comes and goes with reloads
)

// members are probed from the beginning to the end.
func members() []netip.Prefix {
	return []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24"), netip.MustParsePrefix(outage), netip.MustParsePrefix("203.0.113.0/24")}
}

// expected is that part of them which is to answer always.
func expected() netip.Prefix { return netip.MustParsePrefix("203.0.113.64/26") }

// configuration probes the members, and others.
func configuration(every time.Duration, others ...string) string {
	return fmt.Sprintf(`
defaults: {icmp: {interval: %s, timeout: 1s}, tcp: off, trace: off}
prefixes:
  - {prefix: 192.0.2.0/24, name: Lossy, router: PA2, tenants: [team-a]}
  - {prefix: %s, name: Outage}
  - {prefix: 203.0.113.0/26, name: Mixed}
  - {prefix: %s, name: Mixed, expect: all}
  - {prefix: 203.0.113.128/25, name: Mixed}
`, every, outage, expected()) + blocks(others...)
}

// story is the lab, the exporter and Prometheus, and what has happened to them.
type story struct {
	t          *testing.T
	lab        *netsim.Lab
	exporter   *exporter
	prometheus *prometheus
	storage    string

	began, settled  time.Time
	traced          time.Time // when the traces of single addresses were on
	reloads         [2]time.Time
	stopped, resume time.Time // of the process
	unhealthy       time.Time // when Prometheus knew of that
}

// step runs a part of the story as a subtest.
func (s *story) step(name string, part func()) {
	outer := s.t
	adopt := func(t *testing.T) { s.t, s.exporter.t, s.prometheus.t = t, t, t }
	outer.Run(name, func(t *testing.T) {
		adopt(t)
		defer adopt(outer)
		part()
	})
}

// TestPrometheusSeesWhatTheLabKnows tells one story after the other to one Prometheus,
// and then holds everything that it has stored against the lab's record.
func TestPrometheusSeesWhatTheLabKnows(t *testing.T) {
	netsim.RequireLab(t)
	s := &story{t: t, storage: filepath.Join(t.TempDir(), "storage")}
	s.prometheus = startPrometheus(t)
	s.lab = startLab(t, scenario)
	s.began = time.Now()
	s.exporter = startExporter(t, configuration(interval), "--storage.path="+s.storage)

	s.step("every address is found as it is", s.found)
	s.step("every packet of an address can be followed", s.follow)
	s.step("a dark address has one series and its description", s.darkIsCheap)
	s.step("an outage is seen in time, and its end", s.outage)
	s.step("a dark address that wakes is told of", s.wake)
	s.step("reloads under load", s.reloadUnderLoad)
	s.step("a reload that fails changes nothing", s.reloadFails)
	s.step("a process that is stopped says so", s.stopAndContinue)
	s.step("all counters are those of the record", s.settle)

	s.step("sent is answered plus lost at every scrape", s.balance)
	s.step("up and down at every scrape", s.upAndDown)
	s.step("it stays unhealthy for two minutes", s.staysUnhealthy)
	s.step("quantiles", s.quantiles)
	s.step("no RTT is above the truth", s.sums)
	s.step("the log of the followed addresses", s.logOfPackets)
	s.step("reloads left no gap", s.noGap)

	s.step("an exporter that is gone claims nothing", s.gone)
	setRule(t, s.lab, silence(true, cutUnseen+"/32"))
	s.exporter = startExporter(t, configuration(interval), "--storage.path="+s.storage)
	s.step("a restart remembers", s.restart)
	s.step("it ends in peace", s.exporter.end)
}

// found waits for the first picture of the network.
func (s *story) found() {
	for series, want := range map[string]float64{
		// Bursts of loss take addresses of it down at any time.
		`prefix_targets{prefix="192.0.2.0/24",state="dark"}`:      0,
		`prefix_targets{prefix="198.51.100.0/24",state="up"}`:     256,
		`prefix_targets{prefix="203.0.113.0/24",state="up"}`:      64,
		`prefix_targets{prefix="203.0.113.0/24",state="down"}`:    64,
		`prefix_targets{prefix="203.0.113.0/24",state="dark"}`:    128,
		`up{job="prefix_exporter"}`:                               1,
		`count(prefix_target_up)`:                                 768,
		`count(prefix_target_sent_total)`:                         640,
		`prefix_exporter_config_last_reload_successful`:           1,
		`count(prefix_tenant_info{tenant="team-a"})`:              1,
		`count(prefix_info{name="Lossy",router="PA2"})`:           1,
		`count(prefix_target_info{ip="192.0.2.1",target_id!=""})`: 1,
	} {
		s.prometheus.until(series, want)
	}
}

// follow asks for every packet of two addresses.
func (s *story) follow() {
	for _, ip := range []string{lossy, doubled} {
		if status, body := s.exporter.post("/-/trace?ip=" + ip + "&for=10m"); status != 200 {
			s.t.Errorf("%d: %s", status, body)
		}
	}
	if status, body := s.exporter.post("/-/trace?ip=192.0.2.256"); status != 400 {
		s.t.Errorf("a trace of no address: %d: %s", status, body)
	}
	if status, body := s.exporter.post("/-/trace?ip=192.0.9.9"); status != 404 {
		s.t.Errorf("a trace of no target: %d: %s", status, body)
	}
	s.traced = time.Now()
}

func (s *story) darkIsCheap() {
	names := map[string]float64{}
	for _, v := range s.prometheus.query(fmt.Sprintf(`count by (__name__) ({ip=%q})`, dark)) {
		names[string(v.Metric["__name__"])] = float64(v.Value)
	}
	if d := differences("series", map[string]float64{"prefix_target_up": 1}, names); d != "" {
		s.t.Error(d)
	}
	if v, _ := s.prometheus.number(fmt.Sprintf(`prefix_target_up{ip=%q}`, dark)); v != 0 {
		s.t.Errorf("it is %v, want 0", v)
	}
}

// outage cuts an address and a /24 off, and gives all back but one.
func (s *story) outage() {
	cut := setRule(s.t, s.lab, silence(true, cutOff+"/32", outage))
	s.prometheus.until(fmt.Sprintf(`prefix_target_up{ip=%q}`, cutOff), 0)
	s.prometheus.until(fmt.Sprintf(`prefix_targets{prefix=%q,state="down"}`, outage), 256)
	s.inTime(cut)

	setRule(s.t, s.lab, silence(false, cutOff+"/32", outage))
	setRule(s.t, s.lab, silence(true, cutForGood+"/32"))
	s.prometheus.until(fmt.Sprintf(`prefix_target_up{ip=%q}`, cutOff), 1)
	s.prometheus.until(fmt.Sprintf(`prefix_targets{prefix=%q,state="up"}`, outage), 255)
}

// inTime checks when the addresses that were cut off turned 0. In the worst case the
// first lost request leaves an interval after the cut, the third two intervals later; it
// is lost a timeout later, and seen a scrape later. Where probes had to be skipped, the
// machine was too busy for that; upAndDown then still compares with the real packets.
func (s *story) inTime(cut time.Time) {
	if n, _ := s.prometheus.number(`prefix_exporter_skipped_probes_total{probe="icmp"}`); n > 0 {
		s.t.Logf("%v probes were skipped: this machine is too busy to judge the time", n)
		return
	}
	limit := downAfter*interval + timeout + scrapeInterval + busy
	for _, series := range s.prometheus.samples(fmt.Sprintf(`prefix_target_up{prefix=%q}`, outage), cut) {
		for _, v := range series.Values {
			if took := v.Timestamp.Time().Sub(cut); v.Value == 0 {
				if took > limit {
					s.t.Errorf("%s: %v until it was seen, want %v at most", series.Metric["ip"], took, limit)
				}
				break
			}
		}
	}
}

func (s *story) wake() {
	setRule(s.t, s.lab, silence(false, woken+"/32"))
	s.prometheus.until(fmt.Sprintf(`prefix_target_up{ip=%q}`, woken), 1)
	for _, line := range s.exporter.logged("State changed") {
		if line["ip"] == woken {
			if line["from"] != "dark" || line["to"] != "up" || line["target_id"] == "" {
				s.t.Errorf("%v", line)
			}
			return
		}
	}
	s.t.Errorf("%s woke without a line in the log", woken)
}

// reloadUnderLoad lets a /24 come and go ten times, in the midst of everything.
func (s *story) reloadUnderLoad() {
	s.reloads[0] = time.Now()
	for range 5 {
		s.exporter.reload(configuration(interval, visitor))
		time.Sleep(150 * time.Millisecond) // so that some are in flight when they have to go
		s.exporter.reload(configuration(interval))
		time.Sleep(150 * time.Millisecond)
	}
	s.reloads[1] = time.Now()
	s.prometheus.until(`count(prefix_target_up)`, 768)
}

func (s *story) reloadFails() {
	s.exporter.configure(s.t, "prefixes:\n  - {prefix: 192.0.2.0/33}\nnonsense: 1\n")
	status, body := s.exporter.post("/-/reload")
	if status != 500 || !strings.Contains(body, "prefix_exporter.yml:2: ") || !strings.Contains(body, "prefix_exporter.yml:3: ") {
		s.t.Errorf("status %d, want 500, and both lines: %s", status, body)
	}
	s.prometheus.until("prefix_exporter_config_last_reload_successful", 0)
	s.prometheus.until("count(prefix_target_up)", 768)

	s.exporter.configure(s.t, configuration(interval))
	if status, body := s.exporter.post("/-/reload"); status != 200 {
		s.t.Errorf("status %d: %s", status, body)
	}
	s.prometheus.until("prefix_exporter_config_last_reload_successful", 1)
}

// stopAndContinue stops the process for 5 s. What the lab answers meanwhile waits in
// the sockets; settle and sums find out what became of it.
func (s *story) stopAndContinue() {
	s.stopped = time.Now()
	s.exporter.signal(syscall.SIGSTOP)
	time.Sleep(5 * time.Second)
	s.resume = time.Now()
	s.exporter.signal(syscall.SIGCONT)
	s.prometheus.until("prefix_exporter_healthy", 0)
	s.unhealthy = time.Now()
	s.prometheus.until(`prefix_exporter_unhealthy{reason="stalled",probe="icmp"}`, 1)
	s.prometheus.until(`prefix_exporter_stalls_total{probe="icmp"}`, 1)
	// Five intervals passed. What was due in them was left out, not made up for.
	s.prometheus.until(`count(prefix_exporter_skipped_probes_total >= 4 * 768)`, 1)
}

// settle slows the exporter down until nearly nothing is sent any more, and waits until
// Prometheus has exactly what the lab's record says.
func (s *story) settle() {
	s.exporter.reload(configuration(time.Hour))
	ctx, cancel := context.WithTimeout(s.t.Context(), patience)
	defer cancel()
	if err := s.lab.Quiesce(ctx); err != nil {
		s.t.Fatal(err)
	}
	// At the hourly pace a probe leaves every five seconds: there are moments in which
	// none is under way, and in these nothing may differ.
	until(s.t, "all counters are those of the record", func() string { return s.unequal(s.book()) })
	s.settled = time.Now()
}

func (s *story) book() book { return bookOf(s.lab, members(), expected()) }
