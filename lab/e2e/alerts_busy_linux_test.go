//go:build !race

package e2e

import (
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"prefix_exporter/lab/netsim"
	"prefix_exporter/lab/testenv"
	"prefix_exporter/prefix"
)

// busyEnv is for how long TestABusyMachineStillTells keeps the machine busy: 10m shows that it goes on. In CI it is
// as long as it takes until the outage is told.
const busyEnv = "PREFIX_EXPORTER_TEST_BUSY"

// leastBusy is how long the machine is busy at least, before and after the outage: long enough for the
// exporter to doubt itself, and for a false alert to be told.
const leastBusy = 30 * time.Second

// hogs is how many processes compete for the two processors of the machines that this is tested on.
const hogs = 4

const (
	busyPrefixes = 8
	busyOutage   = "198.18.3.0/24"
)

// TestABusyMachineStillTells keeps all processors busy with four processes while a /24 goes down: it is told
// in time, and nothing else is told to tenants.
func TestABusyMachineStillTells(t *testing.T) {
	testenv.RequireTime(t, 8*time.Minute)
	netsim.RequireLab(t)
	whole := 2 * leastBusy
	if text := os.Getenv(busyEnv); text != "" {
		var err error
		if whole, err = time.ParseDuration(text); err != nil {
			t.Fatalf("%s=%q: %v", busyEnv, text, err)
		}
		testenv.RequireTime(t, whole+5*time.Minute)
	}
	certificate := authority(t)
	in := &inbox{}
	startShippedAlertmanager(t, firstAlertmanager, "smtp.example.net:587", startMailServer(t, in, "mail", certificate),
		"https://sms.example.net", startSink(t, certificate, smsProvider(t, in)))
	scenario, config := "seed: 5\nrules:\n  - {delay: 20ms, spread: 20ms}\nprefixes:\n", "defaults: {tcp: off, trace: off}\nprefixes:\n"
	for i := range busyPrefixes {
		scenario += fmt.Sprintf("  - 198.18.%d.0/24\n", i)
		config += fmt.Sprintf("  - {prefix: 198.18.%d.0/24, name: P%d, tenants: [team-a]}\n", i, i)
	}
	c := &chain{t: t, inbox: in, lab: startLab(t, scenario), started: time.Now()}
	c.exporter = startExporter(t, config, "--storage.path="+filepath.Join(t.TempDir(), "storage"))
	c.prometheus = startShippedPrometheus(t, []string{exporterAddress}, []string{firstAlertmanager})
	await(t, 2*time.Minute, "Prometheus knows all addresses", func() string {
		if n, _ := c.prometheus.number(`sum(prefix:targets_expected:count)`); n != busyPrefixes*256 {
			return fmt.Sprint(n)
		}
		return ""
	})

	began := time.Now()
	for range hogs {
		spawn(t, t.TempDir(), "/bin/sh", "-c", "while :; do :; done")
	}
	rest := func(share time.Duration) { time.Sleep(max(leastBusy, whole*share/10)) }
	rest(5)
	cut := setRule(t, c.lab, silence(true, busyOutage))
	var told message
	await(t, bar+30*time.Second, "the outage is told", func() string {
		for _, m := range in.all() {
			if m.via == "sms" && m.to == phoneA && strings.Contains(m.text, busyOutage+" DOWN") {
				told = m
				return ""
			}
		}
		return fmt.Sprintf("%d messages", len(in.all()))
	})
	lost := c.firstLost("198.18.3.1", cut)
	t.Logf("%.1f s from the first lost echo: %q", told.at.Sub(lost).Seconds(), told.text)
	if took := told.at.Sub(lost); took > bar {
		t.Errorf("the SMS took %v from the first lost echo, want %v at most", took, bar)
	}
	time.Sleep(max(leastBusy, whole-time.Since(began)))
	for _, m := range in.all() {
		if strings.HasPrefix(m.to, "+336111") || m.to == boxA {
			if !strings.Contains(m.text, busyOutage) {
				t.Errorf("told without a reason: %v", m)
			}
		}
	}
	c.reportBusy(cut)
}

// reportBusy logs what the machine did to the prober, and holds what it counted as lost against the lab's record.
func (c *chain) reportBusy(cut time.Time) {
	families := c.exporter.scrape()
	c.t.Logf("%.0f probes skipped of %.0f, unhealthy for: %v", value(families, "prefix_exporter_skipped_probes_total", "probe=icmp"),
		value(families, "prefix_exporter_packets_sent_total", "probe=icmp"), c.reasons())
	down := netip.MustParsePrefix(busyOutage)
	lost := 0
	for addr, list := range outcomes(c.lab.Truth(), time.Now()) {
		for _, o := range list {
			if o.kind != prefix.Answered && !(down.Contains(addr) && !o.sent.Before(cut.Add(-time.Second))) {
				lost++
			}
		}
	}
	counted := value(families, "prefix_lost_total") - value(families, "prefix_lost_total", "prefix="+busyOutage)
	if counted > float64(lost) {
		c.t.Errorf("%v echoes of the prefixes that are up are counted as lost, the lab lost %d", counted, lost)
	}
}

// reasons are those for which the exporter is unhealthy.
func (c *chain) reasons() (list []string) {
	for _, s := range c.prometheus.query(`prefix_exporter_unhealthy == 1`) {
		list = append(list, string(s.Metric["reason"]))
	}
	return list
}
