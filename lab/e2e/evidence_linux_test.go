package e2e

import (
	"fmt"
	"os/exec"
	"syscall"
	"testing"
	"time"

	"prefix_exporter/lab/testenv"
)

// evidenceScenario is a network without fault.
const evidenceScenario = `
seed: 7
prefixes: [192.0.2.0/24, 198.51.100.0/24, 203.0.113.0/24]
rules:
  - {delay: 5ms, spread: 5ms}
routes:
  - {prefix: 198.51.100.0/24, hops: [10.0.0.1, 10.0.0.2]}
`

const evidenceConfig = `
defaults: {tcp: off, trace: {interval: 2s, timeout: 500ms}}
prefixes:
  - {prefix: 192.0.2.0/24, name: PAR-1}
  - {prefix: 198.51.100.0/24, name: LON-1}
  - {prefix: 203.0.113.0/24, name: NYC-1}
`

// becomes waits until the sum of a metric is as wanted.
func (e *exporter) becomes(want float64, metric string, labels ...string) {
	e.t.Helper()
	until(e.t, metric+" "+labels[0], func() string {
		if got := value(e.scrape(), metric, labels...); got != want {
			return fmt.Sprintf("%v, want %v", got, want)
		}
		return ""
	})
}

// TestAStoppedProcessShowsNothingOld stops the exporter for longer than a state may go without evidence, and is
// the first to ask when it goes on.
func TestAStoppedProcessShowsNothingOld(t *testing.T) {
	startLab(t, evidenceScenario)
	e := startExporter(t, evidenceConfig)
	e.becomes(256, "prefix_targets", "prefix=192.0.2.0/24", "state=up")
	e.signal(syscall.SIGSTOP)
	time.Sleep(11 * time.Second)
	e.signal(syscall.SIGCONT)
	goesOn := time.Now()
	first := e.scrape()
	took := time.Since(goesOn)
	// Each address is asked once a second: so many can have answered again by the time of the scrape.
	most := 3 * 256 * min(took.Seconds()+0.3, 1)
	if up := value(first, "prefix_targets", "state=up"); up > most {
		t.Errorf("%v after it went on, %v addresses are up, at most %.0f can have answered", took, up, most)
	}
	if hops := len(first["prefix_route_hops"].GetMetric()); took < time.Second && hops > 0 {
		t.Errorf("%d routes are shown as current", hops)
	}
	e.becomes(3*256, "prefix_targets", "state=up")
	e.becomes(0, "prefix_targets", "state=unknown")
}

// TestNoRouteToOnePrefixIsItsOutage takes the way to one of three prefixes away.
func TestNoRouteToOnePrefixIsItsOutage(t *testing.T) {
	startLab(t, evidenceScenario)
	e := startExporter(t, evidenceConfig)
	const lost = "prefix=198.51.100.0/24"
	for _, how := range []string{"blackhole", "prohibit", "unreachable", "throw"} {
		e.becomes(3*256, "prefix_targets", "state=up")
		until(t, "its route is known", func() string {
			if value(e.scrape(), "prefix_route_hops", lost) == 0 {
				return "it is not"
			}
			return ""
		})
		// One bit longer than what the lab has, twice.
		halves := []string{"198.51.100.0/25", "198.51.100.128/25"}
		for _, half := range halves {
			ip(t, "route", "add", how, half)
		}
		e.becomes(256, "prefix_targets_down", lost, "probe=icmp", "reason=no_route", "detail=no route from the prober")
		e.becomes(0, "prefix_route_hops", lost)
		families := e.scrape()
		if up := value(families, "prefix_targets", "state=up"); up != 2*256 {
			t.Errorf("%s: %v of the others are up, want 512", how, up)
		}
		if n := value(families, "prefix_exporter_unhealthy", "reason=send_error") + value(families, "prefix_exporter_unhealthy", "reason=offline"); n != 0 {
			t.Errorf("%s: it is told as trouble of the prober", how)
		}
		if value(families, "prefix_lost_total", lost, "reason=no_route") == 0 {
			t.Errorf("%s: nothing is lost", how)
		}
		for _, half := range halves {
			ip(t, "route", "del", how, half)
		}
	}
	e.becomes(3*256, "prefix_targets", "state=up")
}

// TestWithoutAnyRouteTheProberIsOffline takes all ways away.
func TestWithoutAnyRouteTheProberIsOffline(t *testing.T) {
	startLab(t, evidenceScenario)
	e := startExporter(t, evidenceConfig)
	e.becomes(3*256, "prefix_targets", "state=up")
	var ways []string // one bit longer than what the lab has
	for _, p := range []string{"192.0.2", "198.51.100", "203.0.113"} {
		ways = append(ways, p+".0/25", p+".128/25")
	}
	for _, p := range ways {
		ip(t, "route", "add", "unreachable", p)
	}
	e.becomes(3*256, "prefix_targets_unknown", "reason=offline", "probe=icmp")
	families := e.scrape()
	if n := value(families, "prefix_exporter_doubt", "reason=offline", "probe=icmp"); n != 1 {
		t.Errorf("doubt is %v, want 1", n)
	}
	if n := value(families, "prefix_lost_total"); n != 0 {
		t.Errorf("%v probes are lost: that is of the prober", n)
	}
	if n := value(families, "prefix_exporter_events_total", "type=down"); n != 0 {
		t.Errorf("%v addresses went down", n)
	}
	for _, p := range ways {
		ip(t, "route", "del", "unreachable", p)
	}
	e.becomes(3*256, "prefix_targets", "state=up")
}

// ip changes the network of the machine.
func ip(t *testing.T, args ...string) {
	t.Helper()
	if out, err := exec.Command(testenv.RequireProgram(t, "ip", "iproute2"), args...).CombinedOutput(); err != nil {
		t.Fatalf("ip %v: %v: %s", args, err, out)
	}
}
