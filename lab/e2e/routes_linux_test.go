package e2e

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"prefix_exporter/lab/netsim"
)

// A country of three /24s: one behind a balancer with four ways, one behind a router that
// answers every fourth second only, one whose route is configured to an address and by TCP.
const (
	routesScenario = `
seed: 7
prefixes: [192.0.2.0/24, 198.51.100.0/24, 203.0.113.0/24]
rules:
  - {prefix: 192.0.2.0/28, silent: true}
  - {port: 443, tcp: open}
routes:
  - prefix: 192.0.2.0/24
    paths:
      - hops: [10.0.0.1, {router: 10.0.1.1, mpls: 16001}, 10.0.0.3]
      - hops: [10.0.0.1, {router: 10.0.1.2, mpls: 16002}, 10.0.0.3]
      - hops: [10.0.0.1, {router: 10.0.1.3, mpls: 16003}, 10.0.0.3]
      - hops: [10.0.0.1, {router: 10.0.1.4, mpls: 16004}, 10.0.0.3]
  - prefix: 198.51.100.0/24
    hops: [10.0.0.1, {router: 10.0.2.1, delay: 5ms, rate_limit: 0.25/s}, '*', 10.0.2.3]
  - prefix: 203.0.113.0/24
    hops: [10.0.0.1, 10.0.3.1]
`
	routesConfig = `
defaults: {tcp: off, trace: {interval: 1s, timeout: 400ms}}
prefixes:
  - {prefix: 192.0.2.0/24}
  - {prefix: 198.51.100.0/24}
  - {prefix: 203.0.113.0/24, trace: {protocol: tcp, port: 443, addresses: [203.0.113.77]}}
`
)

// routeAnswer is what these tests read of the API.
type routeAnswer struct {
	IP      string `json:"ip"`
	Status  string `json:"status"`
	Rounds  int    `json:"rounds"`
	Changes []struct {
		Reason string    `json:"reason"`
		Old    []*string `json:"old"`
		New    []*string `json:"new"`
	} `json:"changes"`
	Hops []struct {
		Router      *string `json:"router"`
		RateLimited bool    `json:"rate_limited"`
		Labels      []struct {
			Label int `json:"label"`
		} `json:"labels"`
	} `json:"hops"`
}

// route returns the only route of a prefix.
func (e *exporter) route(prefix string) routeAnswer {
	e.t.Helper()
	body, _ := e.get("/api/v1/routes/"+prefix, "application/json")
	var answer struct{ Routes []routeAnswer }
	if err := json.Unmarshal([]byte(body), &answer); err != nil || len(answer.Routes) != 1 {
		e.t.Fatalf("routes of %s: %v: %s", prefix, err, body)
	}
	return answer.Routes[0]
}

// way is the path as one line.
func (r routeAnswer) way() string {
	var way []string
	for _, h := range r.Hops {
		way = append(way, starred(h.Router))
	}
	return strings.Join(way, " ")
}

func starred(router *string) string {
	if router == nil {
		return "*"
	}
	return *router
}

// untilRound waits until a route has been traced so often.
func (e *exporter) untilRound(prefix string, rounds int) (r routeAnswer) {
	e.t.Helper()
	until(e.t, fmt.Sprintf("round %d to %s", rounds, prefix), func() string {
		if r = e.route(prefix); r.Rounds < rounds {
			return fmt.Sprintf("round %d", r.Rounds)
		}
		return ""
	})
	return r
}

func TestRoutesAreTracedAndTheirChangesTold(t *testing.T) {
	lab := startLab(t, routesScenario)
	e := startExporter(t, routesConfig)
	defer e.end()

	limited := e.untilRound("198.51.100.0/24", 10)
	if way := limited.way(); way != "10.0.0.1 10.0.2.1 * 10.0.2.3 198.51.100.0" || limited.Status != "reached" || !limited.Hops[1].RateLimited {
		t.Errorf("the way past a router that limits its answers: %s, %s", way, limited.Status)
	}
	balanced, tcp := e.route("192.0.2.0/24"), e.route("203.0.113.0/24")
	if balanced.IP != "192.0.2.16" {
		t.Errorf("the route leads to %s, the lowest address that answers is 192.0.2.16", balanced.IP)
	}
	chosen := balanced.Hops[1]
	way := fmt.Sprintf("10.0.0.1 %s 10.0.0.3 %s", starred(chosen.Router), balanced.IP)
	if balanced.way() != way || !strings.HasPrefix(starred(chosen.Router), "10.0.1.") {
		t.Errorf("the way behind a balancer: %s", balanced.way())
	}
	if len(chosen.Labels) != 1 || fmt.Sprint("10.0.1.", chosen.Labels[0].Label-16000) != *chosen.Router {
		t.Errorf("labels %v of router %s", chosen.Labels, *chosen.Router)
	}
	if tcp.way() != "10.0.0.1 10.0.3.1 203.0.113.77" || tcp.Status != "reached" {
		t.Errorf("the way by TCP: %s, %s", tcp.way(), tcp.Status)
	}
	families := e.scrape()
	for _, prefix := range []string{"192.0.2.0/24", "198.51.100.0/24", "203.0.113.0/24"} {
		if n := value(families, "prefix_route_changes_total", "prefix="+prefix); n != 0 {
			t.Errorf("%s: %v changes that never were", prefix, n)
		}
	}
	if n := value(families, "prefix_route_hops", "prefix=198.51.100.0/24"); n != 5 {
		t.Errorf("%v hops", n)
	}

	// A real change: another last router, and one more.
	before := e.route("203.0.113.0/24")
	hop := func(router string) netsim.Hop { return netsim.Hop{Router: netip.MustParseAddr(router)} }
	if _, err := lab.SetRoute(netsim.Route{
		Prefixes: []netip.Prefix{netip.MustParsePrefix("203.0.113.0/24")},
		Paths:    []netsim.Path{{Hops: []netsim.Hop{hop("10.0.0.1"), hop("10.0.3.8"), hop("10.0.3.9")}}},
	}); err != nil {
		t.Fatal(err)
	}
	// One round may have been on its way; two see the change.
	after := e.untilRound("203.0.113.0/24", before.Rounds+3)
	if len(after.Changes) != 1 || after.way() != "10.0.0.1 10.0.3.8 10.0.3.9 203.0.113.77" {
		t.Fatalf("changes %+v, the way %s", after.Changes, after.way())
	}
	families = e.scrape()
	if n := value(families, "prefix_route_changes_total", "prefix=203.0.113.0/24", "ip=203.0.113.77"); n != 1 {
		t.Errorf("%v changes", n)
	}
	for _, family := range []string{"prefix_route_hop_rtt_seconds", "prefix_route_hop_loss_ratio"} {
		var routers []string
		for _, m := range families[family].GetMetric() {
			if hasLabels(m, []string{"prefix=203.0.113.0/24"}) {
				for _, l := range m.GetLabel() {
					if l.GetName() == "router" {
						routers = append(routers, l.GetValue())
					}
				}
			}
		}
		if diff := cmp.Diff([]string{"10.0.0.1", "10.0.3.8", "10.0.3.9", "203.0.113.77"}, routers); diff != "" {
			t.Errorf("%s: %s", family, diff)
		}
	}
	until(t, "the change is logged", func() string {
		for _, line := range e.logged("Route changed") {
			if line["from"] == "10.0.0.1 10.0.3.1 203.0.113.77" && line["to"] == "10.0.0.1 10.0.3.8 10.0.3.9 203.0.113.77" {
				return ""
			}
		}
		return e.lastWords()
	})
}

// A terminal is what trace is for: it redraws the table there, and ends with ^C.
func TestTraceOnATerminal(t *testing.T) {
	startLab(t, routesScenario)
	ours, theirs := terminal(t)
	p, err := os.StartProcess(os.Getenv(binaryEnv), []string{"prefix_exporter", "trace", "198.51.100.7", "--interval=200ms", "--timeout=200ms"}, &os.ProcAttr{
		Env: os.Environ(), Files: []*os.File{theirs, theirs, os.Stderr},
		Sys: &syscall.SysProcAttr{Setsid: true, Setctty: true},
	})
	if err != nil {
		t.Fatal(err)
	}
	defer time.AfterFunc(patience, func() { _ = p.Kill() }).Stop()
	theirs.Close()
	said, buffer := "", make([]byte, 4096)
	for interrupted := false; ; {
		n, err := ours.Read(buffer)
		said += string(buffer[:n])
		if err != nil {
			break // EIO: nobody has the other side open any more
		}
		if !interrupted && strings.Count(said, "route to 198.51.100.7 by icmp, round ") > 8 {
			if _, err := ours.WriteString("\x03"); err != nil { // ^C
				t.Fatal(err)
			}
			interrupted = true
		}
	}
	state, err := p.Wait()
	if err != nil || !state.Success() {
		t.Errorf("ended with %v, %v", state, err)
	}
	tables := strings.Split(said, "\x1b[J")
	last := strings.ReplaceAll(tables[len(tables)-1], "\r\n", "\n")
	var routers []string
	for line := range strings.Lines(last) {
		if number, rest, ok := strings.Cut(strings.TrimSpace(line), ". "); ok && len(number) == 1 {
			routers = append(routers, strings.Fields(rest)[0])
		}
	}
	if diff := cmp.Diff([]string{"10.0.0.1", "10.0.2.1", "*", "10.0.2.3", "198.51.100.7"}, routers); diff != "" {
		t.Errorf("%s\n%s", diff, last)
	}
	if !strings.Contains(last, "rate limited") {
		t.Errorf("nothing of the router that limits its answers:\n%s", last)
	}
}

// terminal makes a pseudo terminal (pty(7)) and returns both of its sides.
func terminal(t *testing.T) (ours, theirs *os.File) {
	t.Helper()
	ours, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ours.Close() })
	var number, unlocked int32
	for request, value := range map[uint]*int32{unix.TIOCGPTN: &number, unix.TIOCSPTLCK: &unlocked} {
		if _, _, errno := unix.Syscall(unix.SYS_IOCTL, ours.Fd(), uintptr(request), uintptr(unsafe.Pointer(value))); errno != 0 {
			t.Fatal(errno)
		}
	}
	if err := unix.IoctlSetWinsize(int(ours.Fd()), unix.TIOCSWINSZ, &unix.Winsize{Row: 50, Col: 132}); err != nil {
		t.Fatal(err)
	}
	theirs, err = os.OpenFile(fmt.Sprint("/dev/pts/", number), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	return ours, theirs
}
