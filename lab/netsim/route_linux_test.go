package netsim_test

import (
	"errors"
	"net/netip"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"prefix_exporter/lab/netsim"
	"prefix_exporter/lab/testenv"
)

// tool runs a program of the system and returns what it printed.
func tool(t *testing.T, name, pack string, args ...string) string {
	t.Helper()
	cmd := exec.Command(testenv.RequireProgram(t, name, pack), args...)
	cmd.Env = append(os.Environ(), "LC_ALL=C")
	out, err := cmd.CombinedOutput()
	if _, exited := errors.AsType[*exec.ExitError](err); err != nil && !exited {
		t.Fatal(err)
	}
	return string(out)
}

const routed = `
prefixes: [192.0.2.0/24, '2001:db8::/120']
rules: [{delay: 4ms, tcp: open}]
routes:
  - prefix: 192.0.2.0/24
    hops: [{router: 10.0.0.1, delay: 1ms}, '*', {router: 10.0.0.3, delay: 2ms, mpls: [16000, 17]}, {router: 10.0.0.4, delay: 3ms, quote: 8}]
  - {prefix: 192.0.2.66, hops: [10.0.0.1, {router: 10.0.0.3, unreachable: prohibited}]}
  - {prefix: '2001:db8::/120', hops: ['2001:db8:1::1', {router: '2001:db8:1::2', mpls: 16000}, {router: '2001:db8:1::3', quote: 8}]}
`

var hopLine = regexp.MustCompile(`^ *\d+ +(\S+)(?: +<\S+>)?(?: +([\d.]+) ms)?`)

// hopsOf reads the routers and times of traceroute, one probe per hop.
func hopsOf(out string) (routers []string, ms []float64) {
	for line := range strings.Lines(out) {
		if m := hopLine.FindStringSubmatch(line); m != nil {
			routers = append(routers, m[1])
			f, _ := strconv.ParseFloat(m[2], 64)
			ms = append(ms, f)
		}
	}
	return routers, ms
}

func TestTracerouteSeesTheRoute(t *testing.T) {
	lab := start(t, routed, netsim.Options{})
	v4, v6 := []string{"10.0.0.1", "*", "10.0.0.3", "10.0.0.4", "192.0.2.7"}, []string{"2001:db8:1::1", "2001:db8:1::2", "2001:db8:1::3", "2001:db8::7"}
	for _, c := range []struct {
		name string
		args []string
		want []string
		says string
	}{
		{"UDP", []string{"192.0.2.7"}, v4, ""},
		{"ICMP", []string{"-I", "192.0.2.7"}, v4, ""},
		{"TCP", []string{"-T", "-p", "80", "192.0.2.7"}, v4, ""},
		{"extensions", []string{"-e", "192.0.2.7"}, v4, "<MPLS:L=16000,E=0,S=0,T=1/L=17,E=0,S=1,T=1>"},
		{"prohibited", []string{"-I", "192.0.2.66"}, []string{"10.0.0.1", "10.0.0.3", "10.0.0.3"}, "!X"},
		{"UDP over IPv6", []string{"-6", "2001:db8::7"}, v6, ""},
		{"ICMP over IPv6", []string{"-6", "-I", "2001:db8::7"}, v6, ""},
		{"TCP over IPv6", []string{"-6", "-T", "-p", "80", "2001:db8::7"}, v6, ""},
		{"extensions over IPv6", []string{"-6", "-e", "2001:db8::7"}, v6, "<MPLS:L=16000,E=0,S=1,T=1>"},
	} {
		t.Run(c.name, func(t *testing.T) {
			begin := time.Now()
			out := tool(t, "traceroute", "traceroute", append([]string{"-n", "-q", "1", "-w", "0.5", "-m", "8"}, c.args...)...)
			quiesce(t, lab)
			routers, ms := hopsOf(out)
			if diff := cmp.Diff(c.want, routers); diff != "" || !strings.Contains(out, c.says) {
				t.Fatalf("(-want +got)\n%s\n%s", diff, out)
			}
			// Every line is one packet of the truth, and no faster than it was held.
			for i, p := range lab.Since(begin, netsim.ICMP, netsim.TCP, netsim.UDP) {
				if n := int(p.TTL); n <= len(ms) && p.Hold() > 0 && ms[n-1] < float64(p.Hold().Microseconds()-10)/1000 {
					t.Errorf("packet %d with TTL %d: held %s, traceroute says %g ms", i, n, p.Hold(), ms[n-1])
				}
			}
		})
	}
}

func TestMTRSeesTheRoute(t *testing.T) {
	lab := start(t, routed, netsim.Options{})
	for name, args := range map[string][]string{"ICMP": {}, "UDP": {"--udp"}, "TCP": {"--tcp", "--port", "80"}} {
		t.Run(name, func(t *testing.T) {
			out := tool(t, "mtr", "mtr-tiny", append([]string{"-n", "--report", "--report-wide", "-c", "3", "-i", "0.1", "-G", "0.5", "192.0.2.7"}, args...)...)
			quiesce(t, lab)
			var routers, loss []string
			for line := range strings.Lines(out) {
				if f := strings.Fields(line); len(f) > 3 && strings.HasSuffix(f[0], ".|--") {
					routers, loss = append(routers, f[1]), append(loss, f[2])
				}
			}
			if !slices.Equal(routers, []string{"10.0.0.1", "???", "10.0.0.3", "10.0.0.4", "192.0.2.7"}) || loss[0] != "0.0%" || loss[1] != "100.0" && loss[1] != "100.0%" || loss[4] != "0.0%" {
				t.Errorf("%v %v\n%s", routers, loss, out)
			}
		})
	}
}

func TestTheKernelConnectsAndPingsAcrossTheRoute(t *testing.T) {
	lab := start(t, routed, netsim.Options{})
	info := open(t, "192.0.2.7:80", -1)
	time.Sleep(15 * time.Millisecond) // the FIN comes back late, as everything
	if out := ping(t, "-c", "1", "192.0.2.7"); !strings.Contains(out, "ttl=60 time=10.") {
		t.Error(out)
	}
	if out := ping(t, "-c", "1", "10.0.0.4"); !strings.Contains(out, "1 received") {
		t.Error(out)
	}
	quiesce(t, lab)
	p := lab.Truth(netsim.TCP)
	if len(p) != 1 || p[0].Hold() < 10*time.Millisecond || p[0].End != netsim.EndFIN || int64(info.Rtt) < p[0].Hold().Microseconds()-10 {
		t.Errorf("the kernel measured %d µs; %+v", info.Rtt, p)
	}
}

func TestRoutesChangeAtTheReturnedMoment(t *testing.T) {
	lab := start(t, routed, netsim.Options{})
	to := netip.MustParsePrefix("192.0.2.7/32")
	trace := func() []string {
		routers, _ := hopsOf(tool(t, "traceroute", "traceroute", "-n", "-q", "1", "-w", "0.5", "-m", "6", "-I", "192.0.2.7"))
		return routers
	}
	hop := func(a string) netsim.Hop { return netsim.Hop{Router: netip.MustParseAddr(a)} }
	if _, err := lab.SetRoute(netsim.Route{Prefixes: []netip.Prefix{to}, Paths: []netsim.Path{{Hops: []netsim.Hop{hop("10.0.0.8"), hop("10.0.0.9")}}}}); err != nil {
		t.Fatal(err)
	}
	if got := trace(); !slices.Equal(got, []string{"10.0.0.8", "10.0.0.9", "192.0.2.7"}) {
		t.Error(got)
	}
	if _, err := lab.Apply(netsim.Scenario{}); err != nil {
		t.Fatal(err)
	}
	if got := trace(); !slices.Equal(got, []string{"192.0.2.7"}) {
		t.Error(got)
	}
	if _, err := lab.SetRoute(netsim.Route{}); err == nil || err.Error() != "set route: routes[0]: there must be hops, or 1 to 255 paths" {
		t.Errorf("%v", err)
	}
}
