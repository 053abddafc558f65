package main

import (
	"bytes"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"prefix_exporter/probe"
	"prefix_exporter/route"
)

func TestTraceRefusesWhatItCannotDo(t *testing.T) {
	for name, test := range map[string]struct {
		args []string
		want string
	}{
		"no address at all":                {[]string{"example.net"}, `ip "example.net": must be an IPv4 or IPv6 address`},
		"a group of hosts":                 {[]string{"224.0.0.1"}, `ip "224.0.0.1": must be the address of one host, without a zone`},
		"an address with a zone":           {[]string{"fe80::1%lo"}, `ip "fe80::1%lo": must be the address of one host, without a zone`},
		"a link-local address":             {[]string{"fe80::1"}, `ip "fe80::1": is link-local: must have an --interface`},
		"an interface that is not there":   {[]string{"192.0.2.7", "--interface=nosuch0"}, `interface "nosuch0": no such device`},
		"a source of the other family":     {[]string{"192.0.2.7", "--source=2001:db8::1"}, `source "2001:db8::1": must be an address of the same family as the destination`},
		"rounds that follow too closely":   {[]string{"192.0.2.7", "--interval=10ms", "--timeout=10ms"}, `interval "10ms": must be between 100ms and 24h0m0s`},
		"a timeout beyond the interval":    {[]string{"192.0.2.7", "--timeout=2s"}, `timeout "2s": must be between 10ms and the interval, 1s`},
		"more hops than a packet can live": {[]string{"192.0.2.7", "--max-hops=65"}, `max-hops "65": must be between 1 and 64`},
		"a port of a protocol without":     {[]string{"192.0.2.7", "--port=80"}, `port "80": icmp has no ports`},
		"a port with a leading zero":       {[]string{"192.0.2.7", "--port=0443"}, `port "443": icmp has no ports`},
		"hops with a leading zero":         {[]string{"192.0.2.7", "--max-hops=0200"}, `max-hops "200": must be between 1 and 64`},
		"a number in another base":         {[]string{"192.0.2.7", "--max-hops=0x80"}, `prefix_exporter: error: --max-hops "0x80": must be a number: invalid syntax, try --help`},
		"a port that is too large":         {[]string{"192.0.2.7", "--port=65536"}, `prefix_exporter: error: --port "65536": must be a number: value out of range, try --help`},
		"two mistakes at once":             {[]string{"x", "--max-hops=0"}, "ip \"x\": must be an IPv4 or IPv6 address\nmax-hops \"0\": must be between 1 and 64"},
	} {
		t.Run(name, func(t *testing.T) {
			got := execute(t, append([]string{"trace"}, test.args...)...)
			if diff := cmp.Diff(result{Status: 1, Stderr: test.want + "\n"}, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestATableThatIsTooHighIsCut(t *testing.T) {
	var out bytes.Buffer
	s := &screen{out: &out, size: func() (int, int) { return 40, 5 }}
	if err := s.show(someRoute(), nil); err != nil {
		t.Fatal(err)
	}
	if got := out.String(); strings.Count(got, "\n") != 4 || !strings.HasSuffix(got, "\n… 4 lines more\n") {
		t.Errorf("got %q", got)
	}
	out.Reset()
	if err := s.end(someRoute(), nil); err != nil || !strings.Contains(out.String(), "instead of") || !strings.HasPrefix(out.String(), "\x1b[4F") {
		t.Errorf("at the end: %v, %q", err, out.String())
	}
}

// someRoute has one of everything that a table can show.
func someRoute() route.Route {
	router := netip.MustParseAddr
	dst := router("192.0.2.7")
	hops := []netip.Addr{router("10.0.0.1"), {}, router("10.0.0.3"), dst}
	before := []netip.Addr{router("10.0.0.1"), {}, router("10.0.0.9"), dst}
	ms := time.Millisecond
	return route.Route{
		Spec: route.Spec{Key: route.Key{Prefix: netip.PrefixFrom(dst, 32), Addr: dst}, Protocol: "tcp", Port: 443},
		Dst:  dst, Rounds: 12, Last: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC),
		Path: route.Path{Hops: hops, Status: route.Reached},
		Hops: []route.Hop{
			{TTL: 1, Router: hops[0], Sent: 12, Answered: 3, Last: 0, Mean: ms, Best: ms / 2, Worst: 2 * ms, StdDev: ms / 4, RateLimited: true},
			{TTL: 2, Sent: 12},
			{TTL: 3, Router: hops[2], Sent: 4, Answered: 4, Last: 3 * ms, Mean: 3 * ms, Best: 3 * ms, Worst: 3 * ms, Labels: []route.Label{{Value: 16000, Bottom: true, TTL: 1}}},
			{TTL: 4, Router: dst, Sent: 12, Answered: 12, Last: 4 * ms, Mean: 4 * ms, Best: 3 * ms, Worst: 123 * ms, StdDev: 1234 * time.Microsecond},
		},
		Changes: []route.Change{{
			At: time.Date(2026, 1, 2, 3, 4, 0, 0, time.UTC), Dst: dst, Reason: route.NewRouter, TTL: 3,
			Old: route.Path{Hops: before, Status: route.Reached}, New: route.Path{Hops: hops, Status: route.Reached},
		}},
	}
}

func TestTableOfARoute(t *testing.T) {
	troubles := []probe.Trouble{{Reason: probe.ReasonStalled, Detail: "the probing loop did not run for 2s"}}
	golden(t, "trace.txt", traceTable(someRoute(), troubles))
}

func TestATableIsDrawnOverTheOneBefore(t *testing.T) {
	var out bytes.Buffer
	s := &screen{out: &out, size: func() (int, int) { return 40, 8 }}
	r := someRoute()
	for range 2 {
		if err := s.show(r, nil); err != nil {
			t.Fatal(err)
		}
	}
	first, second, found := strings.Cut(out.String(), "\x1b[7F\x1b[J")
	if !found || first != second || strings.Count(first, "\n") != 7 {
		t.Errorf("got %q", out.String())
	}
	for line := range strings.Lines(first) {
		if n := len([]rune(strings.TrimSuffix(line, "\n"))); n > 40 {
			t.Errorf("a line has %d characters: %q", n, line)
		}
	}
}

func TestWithoutATerminalOnlyTheLastTableIsWritten(t *testing.T) {
	var out bytes.Buffer
	s := &screen{out: &out}
	if err := s.show(someRoute(), nil); err != nil || out.Len() > 0 {
		t.Errorf("got %v, %q", err, out.String())
	}
	if err := s.end(someRoute(), nil); err != nil || strings.Contains(out.String(), "\x1b") || out.Len() == 0 {
		t.Errorf("got %v, %q", err, out.String())
	}
}
