package config

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// writtenIn loads files that must be valid.
func writtenIn(t *testing.T, all map[string]string) *Written {
	t.Helper()
	t.Chdir(files(t, all)) // places name the files as they were given
	w, err := LoadWritten(t.Context(), "main.yml")
	if err != nil {
		t.Fatal(err)
	}
	return w
}

func explained(t *testing.T, w *Written, addr string) string {
	t.Helper()
	list, err := w.Explain(netip.MustParseAddr(addr))
	if err != nil {
		return err.Error()
	}
	var b strings.Builder
	for _, s := range list {
		fmt.Fprintf(&b, "%s: %s (%s)\n", s.Key, s.Value, s.From())
	}
	return b.String()
}

func TestExplainSaysWhereEachSettingComesFrom(t *testing.T) {
	w := writtenIn(t, map[string]string{
		"main.yml": `defaults:
  icmp: {interval: 500ms, ttl: 9}
  expect: all
  tcp:
    ports: [22]
  trace: {protocol: tcp, timeout: 900ms}
  histograms: {buckets: [0.1, 1]}
x-gentle: &gentle
  interval: 250ms
  size: 100
prefixes:
  - {prefix: 192.0.2.0/25, name: PAR-1, tenants: [b, a]}
  - prefix: 192.0.2.128/25
    icmp: *gentle
    tcp: off
    names:
      192.0.2.200: mail
    exclude: [192.0.2.201]
    source: 198.51.100.1
prefix_files: [more.yml]
`,
		"more.yml": "- 2001:db8::/120\n- {prefix: '2001:db8:1::/64', addresses: ['2001:db8:1::1'], trace: {protocol: udp}, dark_after: 0}\n",
	})
	for name, tt := range map[string]struct{ addr, want string }{
		"with settings of its own, of its block and inherited": {"192.0.2.200", `prefix: 192.0.2.128/25 (main.yml:13)
block: 192.0.2.0/24 (built in)
name: PAR-1 (main.yml:12)
tenants: [b, a] (main.yml:12)
names.192.0.2.200: mail (main.yml:17)
source: 198.51.100.1 (main.yml:19)
icmp.interval: 250ms (main.yml:9)
icmp.timeout: 250ms (cut to the interval)
icmp.size: 100 (main.yml:10)
icmp.ttl: 9 (main.yml:2, defaults)
icmp.tos: 0 (built in)
icmp.down_after: 3 (built in)
icmp.up_after: 1 (built in)
tcp: off (main.yml:15)
trace.interval: 1m (built in)
trace.max_hops: 30 (built in)
trace.timeout: 900ms (main.yml:6, defaults)
trace.protocol: tcp (main.yml:6, defaults)
trace.port: 80 (built in)
histograms.per_address: none (built in)
histograms.buckets: [0.1, 1] (main.yml:7, defaults)
expect: all (main.yml:3, defaults)
dark_after: 1w (built in)
`},
		"alone in a list": {"2001:db8::7", `prefix: 2001:db8::/120 (more.yml:1)
icmp.interval: 500ms (main.yml:2, defaults)
icmp.timeout: 500ms (cut to the interval)
icmp.size: 56 (built in)
icmp.ttl: 9 (main.yml:2, defaults)
icmp.tos: 0 (built in)
icmp.down_after: 3 (built in)
icmp.up_after: 1 (built in)
tcp.ports: [22] (main.yml:5, defaults)
tcp.interval: 1m (built in)
tcp.timeout: 4s (built in)
tcp.close: reset (built in)
tcp.down_after: 2 (built in)
tcp.up_after: 1 (built in)
trace.interval: 1m (built in)
trace.max_hops: 30 (built in)
trace.timeout: 900ms (main.yml:6, defaults)
trace.protocol: tcp (main.yml:6, defaults)
trace.port: 80 (built in)
histograms.per_address: none (built in)
histograms.buckets: [0.1, 1] (main.yml:7, defaults)
expect: all (main.yml:3, defaults)
dark_after: 1w (built in)
`},
		"excluded":   {"192.0.2.201", "192.0.2.201 is not probed: 192.0.2.201 at main.yml:18 excludes it"},
		"not listed": {"2001:db8:1::2", "2001:db8:1::2 is not probed: the addresses of 2001:db8:1::/64 at more.yml:2 do not name it"},
		"of nobody":  {"203.0.113.1", "203.0.113.1 is not probed: it is in no prefix of this configuration"},
	} {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(tt.want, explained(t, w, tt.addr)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
	got := explained(t, w, "2001:db8:1::1")
	for _, want := range []string{"trace.protocol: udp (more.yml:2)\n", "trace.port: 33434 (built in)\n", "dark_after: 0s (more.yml:2)\n"} {
		if !strings.Contains(got, want) {
			t.Errorf("no %q in\n%s", want, got)
		}
	}
}

// What is explained is what is in force.
func TestExplainShowsWhatIsInForce(t *testing.T) {
	w, err := LoadWritten(t.Context(), "testdata/valid-overrides.yml")
	if err != nil {
		t.Fatal(err)
	}
	for i := range w.Blocks {
		b := &w.Blocks[i]
		for j, target := range b.Targets {
			got := explained(t, w, target.Addr.String())
			s := b.Settings[j]
			want := []string{"icmp.interval: " + brief(s.ICMP.Interval) + " (", "icmp.timeout: " + brief(s.ICMP.Timeout) + " (", fmt.Sprintf("icmp.ttl: %d (", s.ICMP.TTL), fmt.Sprintf("expect: %s (", target.Probes[0].Expect)}
			if s.TCP == nil {
				want = append(want, "tcp: off (")
			} else {
				want = append(want, "tcp.timeout: "+brief(s.TCP.Timeout)+" (")
			}
			if b.Trace == nil {
				want = append(want, "trace: off (")
			} else {
				want = append(want, "trace.protocol: "+b.Trace.Protocol+" (", "trace.timeout: "+brief(b.Trace.Timeout)+" (")
			}
			for _, line := range want {
				if !strings.Contains(got, line) {
					t.Errorf("%s: no %q in\n%s", target.Addr, line, got)
				}
			}
		}
	}
}
