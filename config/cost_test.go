package config

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"prefix_exporter/packet"
)

func TestCostAsAPersonReadsIt(t *testing.T) {
	c := parse(t, `prefixes:
  - {prefix: 198.18.0.0/19}
  - {prefix: 198.18.32.0/21, name: seven, tcp: off, icmp: {interval: 500ms}}
`)
	want := `prefixes           40
addresses      10,240
series        219,094 a scrape at most, 30,326 when nothing answers
memory             37 MiB, about

probe          probes     packets/s    Mbit/s out     Mbit/s in
icmp           10,240      12,288.0         8.258         8.258
tcp            16,384         819.2         0.332         0.131
trace              40          20.0         0.013         0.009
total          26,664      13,127.2         8.603         8.398
limit                      20,000.0

largest prefixes   addresses     packets/s      series
198.18.32.0/24           256         512.5       2,144  seven
`
	got := c.Cost().String()
	if !strings.HasPrefix(got, want) {
		t.Errorf("(-want +got):\n%s", cmp.Diff(want, got))
	}
	if strings.Count(got, "\n") != 23 {
		t.Errorf("want the 10 largest, got\n%s", got)
	}
}

func TestCostOfOneAddress(t *testing.T) {
	tests := []struct {
		name, entry      string
		packets          float64
		out, in          float64 // bits a second
		series, dark     int     // without the exporter's own
		icmp, tcp, trace int
	}{
		{"an echo", "{prefix: 192.0.2.1/32, tcp: off, trace: off}", 1, 84 * 8, 84 * 8, 1 + 7 + (7 + 3 + 22) + 2, 1 + (7 + 3 + 22) + 2, 1, 0, 0},
		{"an IPv6 echo", "{prefix: '2001:db8::1/128', tcp: off, trace: off}", 1, 104 * 8, 104 * 8, 42, 35, 1, 0, 0},
		{"an echo of two fragments", "{prefix: 192.0.2.1/32, tcp: off, trace: off, icmp: {size: 1473}}", 2, (1481 + 40) * 8, (1481 + 40) * 8, 42, 35, 1, 0, 0},
		{"the largest echo without fragments", "{prefix: 192.0.2.1/32, tcp: off, trace: off, icmp: {size: 1472}}", 1, 1500 * 8, 1500 * 8, 42, 35, 1, 0, 0},
		{"an IPv6 echo of two fragments", "{prefix: '2001:db8::1/128', tcp: off, trace: off, icmp: {size: 1453}}", 2, (1461 + 96) * 8, (1461 + 96) * 8, 42, 35, 1, 0, 0},
		{"a connection", "{prefix: 192.0.2.1/32, trace: off, tcp: {ports: [80], interval: 1s, timeout: 1s}}", 1 + 3,
			(84 + 60 + 52 + 40) * 8, (84 + 60) * 8, 42 + 8 + 7 + 4 + 22, 35 + 1 + 7 + 4 + 22, 1, 1, 0},
		{"an orderly connection", "{prefix: 192.0.2.1/32, trace: off, tcp: {ports: [80], interval: 1s, timeout: 1s, close: orderly}}", 1 + 4,
			(84 + 60 + 3*52) * 8, (84 + 60 + 2*52) * 8, 83, 69, 1, 1, 0},
		{"a trace", "{prefix: 192.0.2.1/32, tcp: off, trace: {interval: 1s, max_hops: 10}}", 1 + 10, (84 + 10*(20+packet.TraceLen)) * 8, (84 + 560) * 8, 42 + 2 + 20, 35 + 2, 1, 0, 1},
		{"a trace by TCP over IPv6", "{prefix: '2001:db8::1/128', tcp: off, trace: {protocol: tcp, interval: 1s, max_hops: 10}}", 1 + 10,
			(104 + 10*(40+packet.SYNLen)) * 8, (104 + 760) * 8, 42 + 2 + 20, 35 + 2, 1, 0, 1},
		{"a classic histogram", "{prefix: 192.0.2.1/32, tcp: off, trace: off, tenants: [a, b], histograms: {per_address: classic, buckets: [1, 2]}}",
			1, 84 * 8, 84 * 8, 1 + 7 + 3 + (7 + 3 + 2) + 2 + 2, 1 + (7 + 3 + 2) + 2 + 2, 1, 0, 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := parse(t, "prefixes: ["+tt.entry+"]\n").Cost()
			total := c.Total()
			if total.PacketsPerSecond != tt.packets || total.BitsOut != tt.out || total.BitsIn != tt.in {
				t.Errorf("want %v packets/s, %v bit/s out, %v in, got %+v", tt.packets, tt.out, tt.in, total)
			}
			if c.Series != seriesSelf+tt.series || c.DarkSeries != seriesSelf+tt.dark {
				t.Errorf("want %d and %d series, got %d and %d", tt.series, tt.dark, c.Series-seriesSelf, c.DarkSeries-seriesSelf)
			}
			if c.ICMP.Probes != tt.icmp || c.TCP.Probes != tt.tcp || c.Trace.Probes != tt.trace {
				t.Errorf("want %d, %d and %d probes, got %+v", tt.icmp, tt.tcp, tt.trace, c)
			}
		})
	}
}

func TestTheLimitIsWhatTheCostSays(t *testing.T) {
	const entries = `prefixes:
  - {prefix: 198.18.0.0/22, exclude: [198.18.1.0/24], trace: {addresses: [198.18.2.1, 198.18.2.2]}}
  - {prefix: 192.0.2.0/25, tcp: {ports: [22]}}
  - {prefix: 192.0.2.128/26, icmp: {interval: 100ms}, trace: {interval: 1s}}
  - {prefix: "2001:db8::/120", tcp: {close: orderly}}
`
	// 768 + 128 + 640 + 256 echoes, 768*2*3/60 + 128*3/60 + 64*2*3/60 + 256*2*4/60
	// packets of connections, 4*30/60 + 30 + 30/60 packets of traces.
	const sum = 1792 + 76.8 + 6.4 + 6.4 + 34.133333 + 2 + 30 + 0.5
	c := parse(t, "limits: {packets_per_second: 1949}\n"+entries)
	if got := rounded(c.Cost().Total().PacketsPerSecond); got != rounded(sum) {
		t.Errorf("want %v packets/s, got %v", sum, got)
	}
	_, err := Parse("x.yml", []byte("limits: {packets_per_second: 1948}\n"+entries))
	if err == nil || !strings.Contains(err.Error(), "1948.2 packets/s in all: must be at most 1948, limits.packets_per_second (x.yml:1); largest: 198.18.0.0/22 (846.8), 192.0.2.128/26 (646.4), 2001:db8::/120") {
		t.Errorf("want the sum and the three largest, got %v", err)
	}
}

func TestTheLimitItselfIsAllowed(t *testing.T) {
	parse(t, "limits: {packets_per_second: 256}\nprefixes: [{prefix: 192.0.2.0/24, tcp: off, trace: off}]\n")
}
