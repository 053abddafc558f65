package frame

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"runtime"
	"testing"
	"time"

	"prefix_exporter/prefix"
)

var http = prefix.Probe{Kind: prefix.TCP, Port: 80}

// network is so many /24s with three probes, all of which answer: ICMP once a second, TCP
// ports 80 and 443 once a minute.
type network struct {
	table *prefix.Table
	icmp  []prefix.Handle
	tcp   []prefix.Handle
	now   time.Time
	rand  *rand.Rand
}

func newNetwork(prefixes int) *network {
	n := &network{table: prefix.NewTable(nil), now: epoch, rand: rand.New(rand.NewPCG(5, 6))}
	all := make([]int, prefix.BlockSize)
	for i := range all {
		all[i] = i
	}
	var blocks []prefix.Block
	for i := range prefixes {
		p := netip.PrefixFrom(netip.AddrFrom4([4]byte{10, byte(i >> 8), byte(i), 0}), 24)
		blocks = append(blocks, block(p.String(), all, ping, http, https))
	}
	n.table.Apply(blocks)
	for i := range blocks {
		for _, target := range blocks[i].Targets {
			for _, p := range []prefix.Probe{ping, http, https} {
				h, _ := n.table.Handle(target.Addr, p)
				if p == ping {
					n.icmp = append(n.icmp, h)
				} else {
					n.tcp = append(n.tcp, h)
				}
			}
		}
	}
	return n
}

// second records what becomes known in one second.
func (n *network) second() {
	n.now = n.now.Add(time.Second)
	n.echoes()
	for i := int(n.now.Unix() % 60); i < len(n.tcp); i += 60 {
		n.table.Record(n.tcp[i], n.now, prefix.Answered, n.rtt(i))
	}
}

// minute records as much of a minute as makes its history as large as that of a whole one.
func (n *network) minute() {
	n.now = n.now.Truncate(time.Minute).Add(time.Minute)
	n.echoes()
	n.echoes()
	for i := range n.tcp {
		n.table.Record(n.tcp[i], n.now, prefix.Answered, n.rtt(i))
	}
}

func (n *network) echoes() {
	for i, h := range n.icmp {
		n.table.Record(h, n.now, prefix.Answered, n.rtt(i))
	}
}

// rtt is one of its own for each address and time.
func (n *network) rtt(i int) time.Duration {
	return time.Duration(5+i%100)*time.Millisecond + time.Duration(n.rand.Int64N(int64(time.Millisecond)))
}

// BenchmarkTick is one frame and all that is done with it in a second; a sixtieth of the
// iterations end a minute as well. It reports the size of a frame on the wire.
func BenchmarkTick(b *testing.B) {
	for _, prefixes := range []int{40, 256} {
		b.Run(fmt.Sprintf("addresses=%d", prefixes*prefix.BlockSize), func(b *testing.B) {
			n := newNetwork(prefixes)
			r := New(Options{Table: n.table})
			r.Tick(n.now)
			for range HistoryMinutes + 1 { // whose memory the minutes after them take
				n.minute()
				r.Tick(n.now)
			}
			bytes, worst := 0, time.Duration(0)
			b.ReportAllocs()
			for b.Loop() {
				b.StopTimer()
				n.second()
				b.StartTimer()
				begin := time.Now()
				r.Tick(n.now)
				worst = max(worst, time.Since(begin))
				bytes += len(r.ring[(r.next-1)%kept].message)
			}
			b.ReportMetric(float64(bytes)/float64(b.N), "wire-B/frame")
			b.ReportMetric(float64(worst.Microseconds())/1000, "worst-ms")
		})
	}
}

// BenchmarkFull is the picture that a page begins with.
func BenchmarkFull(b *testing.B) {
	n := newNetwork(40)
	r := New(Options{Table: n.table})
	r.Tick(n.now)
	for range 60 {
		n.second()
		r.Tick(n.now)
	}
	b.ReportAllocs()
	for b.Loop() {
		r.mu.Lock()
		r.full = nil
		_ = r.fullMessage()
		r.mu.Unlock()
	}
	b.ReportMetric(float64(len(r.full)+len(r.layout)), "wire-B")
}

// BenchmarkHour sums up the last hour of all addresses under all probes, as the first
// request of each minute does.
func BenchmarkHour(b *testing.B) {
	for _, prefixes := range []int{40, 256} {
		b.Run(fmt.Sprintf("addresses=%d", prefixes*prefix.BlockSize), func(b *testing.B) {
			n := newNetwork(prefixes)
			r := New(Options{Table: n.table})
			r.Tick(n.now)
			for range HistoryMinutes + 1 {
				n.minute()
				r.Tick(n.now)
			}
			b.ReportAllocs()
			for b.Loop() {
				for _, t := range r.tracks {
					t.hoursUntil = 0
					r.Total(t.series)
				}
			}
		})
	}
}

// BenchmarkMemory fills an hour and reports what the Recorder and the rings of the table take.
func BenchmarkMemory(b *testing.B) {
	for _, prefixes := range []int{40, 256} {
		b.Run(fmt.Sprintf("addresses=%d", prefixes*prefix.BlockSize), func(b *testing.B) {
			for b.Loop() {
				n := newNetwork(prefixes)
				before := heap()
				r := New(Options{Table: n.table})
				r.Tick(n.now)
				for range HistoryMinutes + 1 {
					n.minute()
					r.Tick(n.now)
				}
				for range 2 * kept {
					n.second()
					r.Tick(n.now)
				}
				var numbers []Numbers
				for _, t := range r.tracks {
					numbers = r.Numbers(numbers[:0], t.series)
				}
				s := r.Subscribe(0)
				r.mu.Lock()
				s.take()
				r.mu.Unlock()
				recorder := float64(heap()-before) / (1 << 20)
				rings := float64(len(n.icmp)+len(n.tcp)) * prefix.RingSeconds * 2 / (1 << 20)
				b.ReportMetric(recorder, "recorder-MiB")
				b.ReportMetric(recorder+rings, "with-rings-MiB")
				runtime.KeepAlive(r)
				runtime.KeepAlive(n)
				s.Close()
			}
		})
	}
}

func heap() uint64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}
