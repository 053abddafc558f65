package web

import (
	"bufio"
	"context"
	"encoding/json"
	"net/netip"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/go-kit/log"
	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"

	"prefix_exporter/frame"
	"prefix_exporter/lab/testenv"
	"prefix_exporter/prefix"
	"prefix_exporter/probe"
)

// TestNoSingleResultIsLost lets the engine ping 1,024 loopback addresses ten times a second, which makes as many results as
// ten thousand that are pinged once, and compares what clients are told, of whole /24s and of single addresses, with the counters.
func TestNoSingleResultIsLost(t *testing.T) {
	const interval, length = 100 * time.Millisecond, 3 * time.Second
	table, targets := loopback(4, interval)
	engine, err := probe.New(probe.EngineBatch, probe.Options{
		Recorder: table, Logger: log.NewNopLogger(), Registerer: prometheus.NewRegistry(), Health: probe.NewHealth(time.Now),
	})
	if err == nil {
		err = engine.Apply(t.Context(), targets)
	}
	if err != nil {
		testenv.Skip(t, err.Error())
	}
	frames := frame.New(frame.Options{Table: table})
	endFrames := begin(t, frames.Run)
	for frames.Minute() == 0 { // until the first frame, which begins to keep results
		runtime.Gosched()
	}
	address, _ := serve(t, newHandler(t, Options{Table: table, Frames: frames}))
	told := map[string]<-chan map[string]uint64{}
	for _, query := range []string{
		"prefix=127.77.0.0/24", "prefix=127.77.1.0/24", "prefix=127.77.2.0/24", "prefix=127.77.3.0/24", "ip=127.77.0.0", "ip=127.77.3.255",
	} {
		stream, _ := open(t, address, "/api/v1/events?probes=1&"+query)
		told[query] = count(t, stream)
	}
	endEngine := begin(t, engine.Run)
	time.Sleep(length)
	endEngine()
	frames.Tick(time.Now()) // has the last results
	endFrames()             // and ends the streams behind them
	for query, got := range told {
		want, all := counters(table, query)
		if diff := cmp.Diff(want, <-got); diff != "" {
			t.Errorf("%s: (-counted +told):\n%s", query, diff)
		}
		if due := len(want) * int(length/interval); all < uint64(due)/10 { // a busy machine may not send all
			t.Errorf("%s: %d probes, of %d that were due: the test proves nothing", query, all, due)
		}
	}
}

// loopback is so many /24s of 127.77.0.0/16 to be pinged at this interval.
func loopback(prefixes int, interval time.Duration) (table *prefix.Table, targets []probe.Target) {
	table = prefix.NewTable(nil)
	var blocks []prefix.Block
	for third := range prefixes {
		b := prefix.Block{Prefix: netip.PrefixFrom(netip.AddrFrom4([4]byte{127, 77, byte(third), 0}), 24)}
		for last := range prefix.BlockSize {
			addr := b.Prefix.Addr().As4()
			addr[3] = byte(last)
			b.Targets = append(b.Targets, prefix.Target{
				Addr: netip.AddrFrom4(addr), Probes: []prefix.TargetProbe{{DownAfter: 1, UpAfter: 1, Expect: prefix.ExpectAll}},
			})
		}
		blocks = append(blocks, b)
	}
	table.Apply(blocks)
	for i := range blocks {
		for _, target := range blocks[i].Targets {
			h, _ := table.Handle(target.Addr, ping)
			targets = append(targets, probe.Target{Addr: target.Addr, Handle: h, Interval: interval, Timeout: interval, Size: 56, TTL: 64})
		}
	}
	return table, targets
}

// begin runs something until what it returns is called, or the test ends.
func begin(t *testing.T, run func(context.Context) error) (end func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- run(ctx) }()
	return func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
}

// count reads single results until the stream ends, and counts them by address and outcome.
func count(t *testing.T, stream *bufio.Reader) <-chan map[string]uint64 {
	result := make(chan map[string]uint64, 1)
	go func() {
		got := map[string]uint64{}
		lines := bufio.NewScanner(stream)
		for lines.Scan() {
			var record struct{ Type, IP, Outcome string }
			if err := json.Unmarshal(lines.Bytes(), &record); err != nil || record.Type != typeResult {
				t.Errorf("%v: %s", err, lines.Bytes()) // that something was missed, perhaps
			}
			got[record.IP+" "+record.Outcome]++
		}
		result <- got
	}()
	return result
}

// counters returns what the table has counted of the addresses of a query, and how many probes that is.
func counters(table *prefix.Table, query string) (counts map[string]uint64, all uint64) {
	counts = map[string]uint64{}
	var snap prefix.Snapshot
	key, value, _ := strings.Cut(query, "=")
	for _, s := range table.Series() {
		s.Snapshot(&snap)
		for i, addr := range snap.Addrs {
			if key == "ip" && addr.String() != value || key == "prefix" && s.Prefix().String() != value {
				continue
			}
			for o, n := range snap.Slots[i].Counts {
				if n > 0 {
					counts[addr.String()+" "+prefix.Outcome(o).String()] = n
					all += n
				}
			}
		}
	}
	return counts, all
}
