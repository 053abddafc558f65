package web

import (
	"fmt"
	"io"
	"net"
	"net/netip"
	"runtime"
	"runtime/debug"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"prefix_exporter/event"
	"prefix_exporter/frame"
	"prefix_exporter/prefix"
)

// TestAThousandSubscribersThatNeverRead connects them for real, and lets ten outages of everything
// happen: neither is anybody waited for, nor does memory grow with what they do not read.
func TestAThousandSubscribersThatNeverRead(t *testing.T) {
	const (
		subscribers = 1000
		outages     = 10
		// mostEach is what one of them may cost: a connection with its buffers (16 kB), two
		// stacks of 8 kB, and a batch of events. Memory of the kernel is bounded by sendBuffer.
		mostEach = 64 << 10
	)
	table, each := many(t)
	frames := frame.New(frame.Options{Table: table})
	frames.Tick(time.Now())
	events := event.New(event.Options{Registerer: prometheus.NewRegistry()})
	address, _ := serve(t, newHandler(t, Options{Table: table, Frames: frames, Events: events, writeTimeout: time.Minute}))
	before := inUse()
	for i := range subscribers {
		conn, err := net.Dial("tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		query := [...]string{"", "?probes=1&prefix=10.0.7.0/24"}[i%2]
		if _, err := fmt.Fprintf(conn, "GET /api/v1/events%s HTTP/1.1\r\nHost: x\r\n\r\n", query); err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadFull(conn, make([]byte, 12)); err != nil { // the status: it has begun
			t.Fatal(err)
		}
	}
	var slowest, record time.Duration
	for range outages {
		begin := time.Now()
		each()
		record = max(record, time.Since(begin))
		for i := range event.Capacity {
			begin := time.Now()
			events.Publish(event.Event{
				Time: begin, Type: event.TypeDown, Prefix: netip.MustParsePrefix("10.0.7.0/24"),
				IP: netip.AddrFrom4([4]byte{10, 0, 7, byte(i)}), Probe: prefix.ICMP.String(), Detail: "timeout",
			})
			slowest = max(slowest, time.Since(begin))
		}
		frames.Tick(time.Now())
	}
	grown := int64(inUse()) - int64(before)
	t.Logf("%d subscribers: %.1f MB, %d bytes each; slowest Publish %v, %d results recorded in %v at most",
		subscribers, float64(grown)/1e6, grown/subscribers, slowest, 40*256, record)
	if grown > subscribers*mostEach {
		t.Errorf("%d subscribers hold %d bytes each, at most %d are allowed", subscribers, grown/subscribers, mostEach)
	}
}

// inUse returns how much memory the program holds, other than what is to be collected.
func inUse() uint64 {
	runtime.GC()
	debug.FreeOSMemory()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapInuse + m.StackInuse
}
