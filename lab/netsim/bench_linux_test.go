package netsim_test

import (
	"context"
	"encoding/binary"
	"fmt"
	"net/netip"
	"slices"
	"syscall"
	"testing"
	"time"

	"prefix_exporter/lab/netsim"
)

// hosts lists n addresses from a prefix on, from its first.
func hosts(first string, n int) []netip.Addr {
	list := make([]netip.Addr, n)
	a := netip.MustParseAddr(first)
	for i := range list {
		list[i], a = a, a.Next()
	}
	return list
}

func cpu() time.Duration {
	var u syscall.Rusage
	syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// BenchmarkAccuracy reports, at a programmed delay of 5 ms, how late the lab writes (late: written minus
// due), how long requests wait to be read (waited), and what a prober with kernel stamps sees beyond the
// time that the lab held the packet (over), in µs. The prober shares the process and its CPU time.
func BenchmarkAccuracy(b *testing.B) {
	for _, spin := range []time.Duration{0, 100 * time.Microsecond} {
		for _, rate := range []int{2048, 10240, 65536} {
			b.Run(fmt.Sprintf("rate=%d/spin=%s", rate, spin), func(b *testing.B) {
				for b.Loop() {
					accuracy(b, rate, spin)
				}
			})
		}
	}
}

func accuracy(b *testing.B, rate int, spin time.Duration) {
	lab := start(b, "prefixes: [198.51.100.0/24]\nrules: [{delay: 5ms}]", netsim.Options{Spin: spin})
	defer lab.Close()
	p := newProber(b)
	before, count := cpu(), 2*rate
	p.run(b, hosts("198.51.100.0", 256), count, rate, 100*time.Millisecond)
	spent := cpu() - before
	if err := lab.Quiesce(context.Background()); err != nil {
		b.Fatal(err)
	}
	var late, over, waited []float64
	for _, q := range lab.Truth() {
		late = append(late, float64(q.Hold()-q.Delay())/1e3)
		waited = append(waited, float64(q.Read-q.Arrived)/1e3)
		n := binary.BigEndian.Uint64(q.Head[:])
		if p.got[n] != 0 && p.sent[n] != 0 {
			over = append(over, float64(p.got[n]-p.sent[n]-int64(q.Hold()))/1e3)
		}
	}
	slices.Sort(late)
	slices.Sort(over)
	slices.Sort(waited)
	b.ReportMetric(float64(count-len(over)), "lost")
	b.ReportMetric(late[len(late)/2], "late-p50-µs")
	b.ReportMetric(late[len(late)*99/100], "late-p99-µs")
	b.ReportMetric(waited[len(waited)*99/100], "waited-p99-µs")
	b.ReportMetric(over[len(over)/2], "over-p50-µs")
	b.ReportMetric(over[len(over)*99/100], "over-p99-µs")
	b.ReportMetric(float64(spent.Microseconds())/float64(count), "cpu-µs/echo")
	b.ReportMetric(0, "ns/op")
}
