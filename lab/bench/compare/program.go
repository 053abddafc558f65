//go:build linux

package main

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// The namespace is ours alone, so every port in it is free.
const (
	exporterListen  = "127.0.0.1:10240"
	smokepingListen = "127.0.0.1:9374"
)

// task is what every program is asked to do: one echo a second to each of so many
// consecutive addresses, until it is told to stop.
type task struct {
	addresses int
	tick      time.Duration // of the bare loop
	dir       string        // for files of the program
	atMost    time.Duration // it will be stopped before
}

// firstAddress leaves 127.0.0.0/16 to the programs themselves.
func firstAddress() netip.Addr { return netip.AddrFrom4([4]byte{127, 1, 0, 0}) }

func (t task) list() []string {
	list := make([]string, t.addresses)
	for i, ip := 0, firstAddress(); i < len(list); i, ip = i+1, ip.Next() {
		list[i] = ip.String()
	}
	return list
}

// tally is what a program says that it has seen since it started.
type tally struct {
	sent, lost, late float64
	rtt              string // in microseconds, with the name of the statistic
	notes            []string
}

// program is one contender. It has either a metrics endpoint or last words.
type program struct {
	name, path string
	args       func(t task) ([]string, error)
	listen     string                                     // host:port of its endpoint, if it has one
	count      func(sums map[string]float64) tally        // of a scrape
	parse      func(stdout, stderr string) (tally, error) // of what it printed
	// family is the native histogram that holds its RTTs, if there is one.
	family string
	// settles says that the start of the program is not to be held against it: its
	// losses are counted from the end of the warm-up.
	settles bool
}

func (p program) url() string { return "http://" + p.listen + "/metrics" }

func prefixExporter(path string) program {
	return program{
		name: "prefix_exporter", path: path, listen: exporterListen, family: "prefix_rtt_seconds",
		args: func(t task) ([]string, error) {
			file := filepath.Join(t.dir, "prefix_exporter.yml")
			err := os.WriteFile(file, exporterConfig(t.addresses), 0o644)
			return []string{"--config.file=" + file, "--web.listen-address=" + exporterListen}, err
		},
		count: countExporter,
	}
}

// exporterConfig probes the first so many addresses by ICMP alone, as the others do.
func exporterConfig(addresses int) []byte {
	var b strings.Builder
	b.WriteString("limits: {packets_per_second: 100000}\ndefaults:\n  icmp: {interval: 1s, timeout: 1s}\n  expect: all\nprefixes:\n")
	ip := firstAddress()
	for left := addresses; left > 0; left -= 256 {
		block := netip.PrefixFrom(ip, 24)
		fmt.Fprintf(&b, "  - {prefix: %s, tcp: off, trace: off", block)
		if left < 256 {
			fmt.Fprintf(&b, ", exclude: [%s]", strings.Join(tail(block, left), ", "))
		}
		b.WriteString("}\n")
		for range 256 {
			ip = ip.Next()
		}
	}
	return []byte(b.String())
}

// tail returns the CIDRs of a /24 from its address n on.
func tail(block netip.Prefix, n int) []string {
	var cidrs []string
	base := block.Addr().As4()
	for n < 256 {
		size, bits := 1, 32
		for n%(2*size) == 0 && n+2*size <= 256 {
			size, bits = 2*size, bits-1
		}
		base[3] = byte(n)
		cidrs = append(cidrs, netip.PrefixFrom(netip.AddrFrom4(base), bits).String())
		n += size
	}
	return cidrs
}

func countExporter(sums map[string]float64) tally {
	t := tally{sent: sums["prefix_target_sent_total"], lost: sums["prefix_target_lost_total"]}
	late := regexp.MustCompile(`^prefix_exporter_(.*_)?late_.*total$`)
	plain := regexp.MustCompile(`(packets_sent|packets_received|events)_total$`)
	for name, value := range sums {
		switch {
		case late.MatchString(name):
			t.late += value
		case strings.HasPrefix(name, "prefix_exporter_") && strings.HasSuffix(name, "_total") && value != 0 && !plain.MatchString(name):
			t.notes = append(t.notes, fmt.Sprintf("%s %g", name, value))
		}
	}
	if healthy, ok := sums["prefix_exporter_healthy"]; ok && healthy != 1 {
		t.notes = append(t.notes, "not healthy")
	}
	slices.Sort(t.notes)
	if n := sums["prefix_target_rtt_seconds_count"]; n > 0 {
		t.rtt = fmt.Sprintf("mean %.1f", 1e6*sums["prefix_target_rtt_seconds_sum"]/n)
	}
	return t
}

// bareLoop is the floor; see lab/bench/bareloop.
func bareLoop(path string) program {
	return program{
		name: "bare loop", path: path,
		args: func(t task) ([]string, error) {
			return []string{"--no-namespace", fmt.Sprintf("--addresses=%d", t.addresses),
				"--first=" + firstAddress().String(), "--tick=" + t.tick.String(), "--duration=" + t.atMost.String()}, nil
		},
		parse: func(stdout, _ string) (tally, error) {
			var r struct {
				Sent  float64 `json:"sent"`
				Lost  float64 `json:"lost"`
				Late  float64 `json:"late"`
				RTT   float64 `json:"rtt_p50_us"`
				Drops float64 `json:"kernel_drops"`
			}
			if err := json.Unmarshal([]byte(stdout), &r); err != nil {
				return tally{}, fmt.Errorf("reading %q: %w", stdout, err)
			}
			t := tally{sent: r.Sent, lost: r.Lost, late: r.Late, rtt: fmt.Sprintf("median %.1f", r.RTT)}
			if r.Drops > 0 {
				t.notes = append(t.notes, fmt.Sprintf("kernel drops %g", r.Drops))
			}
			return t, nil
		},
	}
}

// smokeping is Debian's prometheus-smokeping-prober: on raw sockets, which is its
// default, or on datagram sockets.
func smokeping(path string, raw bool) program {
	p := program{
		name: "smokeping_prober", path: path, listen: smokepingListen,
		// From the start on it was seen to count about one request per address more
		// than answers, at any load; that is bookkeeping, not loss.
		settles: true,
		args: func(t task) ([]string, error) {
			// An empty file: it insists on one when there is one in /etc.
			file := filepath.Join(t.dir, "smokeping.yml")
			args := []string{"--config.file=" + file, "--web.listen-address=" + smokepingListen}
			if !raw {
				args = append(args, "--no-privileged")
			}
			return append(args, t.list()...), os.WriteFile(file, []byte("targets: []\n"), 0o644)
		},
		count: func(sums map[string]float64) tally {
			sent, answered := sums["smokeping_requests_total"], sums["smokeping_response_duration_seconds_count"]
			t := tally{sent: sent, lost: sent - answered}
			if answered > 0 {
				t.rtt = fmt.Sprintf("mean %.1f", 1e6*sums["smokeping_response_duration_seconds_sum"]/answered)
			}
			return t
		},
	}
	if !raw {
		p.name += " --no-privileged"
	}
	return p
}

func fping(path string) program {
	return program{
		name: "fping", path: path,
		args: func(t task) ([]string, error) {
			file := filepath.Join(t.dir, "targets")
			err := os.WriteFile(file, []byte(strings.Join(t.list(), "\n")+"\n"), 0o644)
			// The gap between two packets is a little below what the rate asks for,
			// or rounding would make a round longer than the second.
			gap := strconv.FormatFloat(0.95*1000/float64(t.addresses), 'f', 4, 64)
			count := strconv.Itoa(int(t.atMost/time.Second) + 1)
			// Count mode: loop mode prints every answer, even when told to be quiet.
			return []string{"-q", "-c", count, "-p", "1000", "-i", gap, "-f", file}, err
		},
		parse: parseFping,
	}
}

var fpingLine = regexp.MustCompile(`xmt/rcv/%loss = (\d+)/(\d+)/\d+%(?:, min/avg/max = [\d.]+/([\d.]+)/)?`)

// parseFping adds up the lines that fping prints at its end, one for each address.
func parseFping(_, stderr string) (tally, error) {
	var t tally
	var answered, sum float64
	for _, m := range fpingLine.FindAllStringSubmatch(stderr, -1) {
		var n [3]float64
		for i := range n {
			if m[i+1] == "" {
				continue // no average: no answer
			}
			var err error
			if n[i], err = strconv.ParseFloat(m[i+1], 64); err != nil {
				return t, fmt.Errorf("reading %q: %w", m[0], err)
			}
		}
		t.sent += n[0]
		answered += n[1]
		sum += n[1] * n[2]
	}
	if t.sent == 0 {
		return t, fmt.Errorf("no sums in what fping printed")
	}
	t.lost = max(t.sent-answered, 0)
	t.rtt = "none"
	if answered > 0 {
		t.rtt = fmt.Sprintf("mean %.0f", 1e3*sum/answered) // printed in ms, two or three digits
	}
	return t, nil
}

// rtt replaces the mean by the median where the program keeps a native histogram.
func (p program) rtt(ctx context.Context, t *tally) error {
	if p.family == "" {
		return nil
	}
	s, err := fetch(ctx, p.url(), protobufFormat, countTimeout)
	if err != nil {
		return err
	}
	m, err := s.nativeMedian(p.family)
	if err == nil && !math.IsNaN(m) {
		t.rtt = fmt.Sprintf("median %.1f", 1e6*m)
	}
	return err
}

// installed returns the path of a program of the machine, empty if it has none.
func installed(name string) string {
	path, err := exec.LookPath(name)
	if err != nil {
		return ""
	}
	return path
}
