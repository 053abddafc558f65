package collector

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"sync"
	"testing"
	"time"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"

	"prefix_exporter/prefix"
)

// blocksOf describes n prefixes of 256 addresses with three probes each.
func blocksOf(n int, per prefix.PerAddress) (blocks []prefix.Block) {
	for i := range n {
		p := netip.MustParsePrefix(fmt.Sprintf("198.18.%d.0/24", i))
		b := prefix.Block{Prefix: p, Name: fmt.Sprint("PAR-", i), Router: "PA2", Tenants: []string{"team-a", "team-b"}, PerAddress: per}
		for bound := 1e-4; len(b.Buckets) < 20; bound *= 1.8 {
			b.Buckets = append(b.Buckets, bound)
		}
		for a := p.Addr(); p.Contains(a); a = a.Next() {
			b.Targets = append(b.Targets, prefix.Target{Addr: a, Name: "host-" + a.String(), Probes: []prefix.TargetProbe{
				probed(prefix.ICMP, 0, prefix.ExpectSeen), probed(prefix.TCP, 80, prefix.ExpectSeen), probed(prefix.TCP, 443, prefix.ExpectSeen),
			}})
		}
		blocks = append(blocks, b)
	}
	return blocks
}

// largeTableOf is a table of n prefixes, all of whose addresses have answered.
func largeTableOf(n int) *prefix.Table {
	table := prefix.NewTable(nil)
	table.Apply(blocksOf(n, prefix.PerAddressNone))
	fill(table)
	return table
}

// fill lets every address answer a few times, a little differently every time, with
// some loss. So numbers are as long as they are in life, and as hard to compress.
func fill(table *prefix.Table) {
	r := rand.New(rand.NewPCG(1, 2))
	for _, info := range table.Infos() {
		for _, target := range info.Targets {
			base := 1 + r.ExpFloat64()*30 // milliseconds
			for _, p := range target.Probes {
				h, _ := table.Handle(target.Addr, p.Probe)
				for k := range 20 + r.IntN(20) {
					o := prefix.Answered
					if k > 0 && r.IntN(50) == 0 {
						o = prefix.Outcome(1 + r.IntN(3))
					}
					rtt := time.Duration((base + r.ExpFloat64()) * float64(time.Millisecond))
					table.Record(h, epoch.Add(time.Duration(k)*time.Second), o, rtt)
				}
			}
		}
	}
}

// TestEveryScrapeAddsUp scrapes while results are recorded and the configuration is
// reloaded: sent is answered plus lost for each address, and a prefix is the sum of
// its addresses.
func TestEveryScrapeAddsUp(t *testing.T) {
	table := prefix.NewTable(nil)
	per := []prefix.PerAddress{prefix.PerAddressNone, prefix.PerAddressNative, prefix.PerAddressClassic}
	table.Apply(blocksOf(2, per[0]))
	h, _ := newHandler(table, Options{})
	stop := make(chan struct{})
	var wg sync.WaitGroup
	for worker := range uint64(2) {
		wg.Go(func() {
			r := rand.New(rand.NewPCG(worker, 3))
			targets := blocksOf(2, 0)
			for i := 0; ; i++ {
				select {
				case <-stop:
					return
				default:
				}
				target := targets[r.IntN(2)].Targets[r.IntN(256)]
				if h, ok := table.Handle(target.Addr, target.Probes[r.IntN(3)].Probe); ok {
					table.Record(h, epoch.Add(time.Duration(i)*time.Millisecond), prefix.Outcome(r.IntN(prefix.Outcomes)), time.Duration(r.IntN(1e9)))
				}
			}
		})
	}
	wg.Go(func() {
		for i := 0; ; i++ {
			select {
			case <-stop:
				return
			case <-time.After(5 * time.Millisecond):
				table.Apply(blocksOf(1+i%2, per[i%3]))
			}
		}
	})
	for range 15 {
		_, body := get(t, h, string(expfmt.FmtProtoDelim), "gzip")
		checkSums(t, read(t, expfmt.FmtProtoDelim, body))
	}
	close(stop)
	wg.Wait()
}

func checkSums(t *testing.T, families []*dto.MetricFamily) {
	t.Helper()
	left := map[string]float64{} // sent less answered less lost
	for _, f := range families {
		for _, m := range f.Metric {
			switch ip := label(m, "ip") + " " + label(m, "prefix") + label(m, "port"); f.GetName() {
			case TargetSentTotal:
				left[ip] += m.Counter.GetValue()
			case TargetLostTotal:
				left[ip] -= m.Counter.GetValue()
			case TargetRTT:
				n := m.Summary.GetSampleCount()
				if m.Histogram != nil {
					n = m.Histogram.GetSampleCount()
					checkBuckets(t, ip, m.Histogram)
				}
				left[ip] -= float64(n)
			}
		}
	}
	for ip, n := range left {
		if n != 0 {
			t.Errorf("%s: sent is answered plus lost plus %v", ip, n)
		}
	}
}

// checkBuckets wants a count that a Prometheus server will believe.
func checkBuckets(t *testing.T, ip string, h *dto.Histogram) {
	t.Helper()
	if n := len(h.Bucket); n > 0 && h.Bucket[n-1].GetCumulativeCount() > h.GetSampleCount() {
		t.Errorf("%s: %d in classic buckets, %d counted", ip, h.Bucket[n-1].GetCumulativeCount(), h.GetSampleCount())
	}
	if h.Schema == nil {
		return
	}
	sum, last := h.GetZeroCount(), int64(0)
	for _, d := range h.PositiveDelta {
		last += d
		sum += uint64(last)
	}
	if sum != h.GetSampleCount() {
		t.Errorf("%s: %d in native buckets, %d counted", ip, sum, h.GetSampleCount())
	}
}

func label(m *dto.Metric, name string) string {
	for _, l := range m.Label {
		if l.GetName() == name {
			return l.GetValue()
		}
	}
	return ""
}

func TestAPrefixIsTheSumOfItsAddressesInTheSameScrape(t *testing.T) {
	table := prefix.NewTable(nil)
	table.Apply(blocksOf(1, prefix.PerAddressNone))
	h, _ := newHandler(table, Options{})
	stop := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		for i := 0; ; i++ {
			select {
			case <-stop:
				return
			default:
			}
			handle, _ := table.Handle(netip.AddrFrom4([4]byte{198, 18, 0, byte(i)}), prefix.Probe{})
			table.Record(handle, epoch, prefix.Outcome(i%2), time.Millisecond)
		}
	})
	for range 20 {
		_, body := get(t, h, string(expfmt.FmtProtoDelim), "")
		sums := map[string]float64{}
		for _, f := range read(t, expfmt.FmtProtoDelim, body) {
			for _, m := range f.Metric {
				sums[f.GetName()] += m.GetCounter().GetValue()
			}
		}
		if sums[SentTotal] != sums[TargetSentTotal] || sums[LostTotal] != sums[TargetLostTotal] {
			t.Errorf("sent %v and of addresses %v; lost %v and of addresses %v", sums[SentTotal], sums[TargetSentTotal], sums[LostTotal], sums[TargetLostTotal])
		}
	}
	close(stop)
	wg.Wait()
}
