package probe

import (
	"context"
	"net/netip"
	"time"

	"github.com/go-kit/log"
	"github.com/prometheus/client_golang/prometheus"

	"prefix_exporter/route"
)

// The protocols of a traceroute, as configured.
const (
	TraceICMP = "icmp"
	TraceTCP  = "tcp"
	TraceUDP  = "udp"
)

// MaxHops is the highest TTL that a traceroute may ask for: twice what the longest paths
// of the internet have, and what one system call sends.
const MaxHops = 64

// TraceTarget is one route to be traced, and how.
type TraceTarget struct {
	// Key names the route. If its Addr is zero, TraceOptions.Destination chooses the address.
	Key route.Key
	// Interval between two rounds, and Timeout of each probe, at most Interval. A round asks
	// twice if the way has become longer; half of Interval is the longest Timeout that both have
	// in full. What has less is unasked, not silent.
	Interval, Timeout time.Duration
	// MaxHops is the highest TTL, 1 to MaxHops.
	MaxHops int
	// Protocol is TraceICMP, TraceTCP or TraceUDP.
	Protocol string
	// Port is the destination port of TCP and UDP. Of UDP it should be one on which nobody
	// listens: the port unreachable of the destination is what tells that it is reached.
	Port uint16
	// Source is the source address; the zero Addr leaves it to the kernel.
	Source netip.Addr
	// Interface or VRF to leave by; empty leaves it to the routing table.
	Interface string
}

// TraceOptions is what a TraceEngine needs of its surroundings. None may be nil unless it says so.
type TraceOptions struct {
	// Record takes each finished round, which it may keep. It must not block, nor call the engine.
	Record func(k route.Key, dst netip.Addr, r route.Round)
	// Destination chooses the address of a route without a configured one, at each round;
	// current is the one of the round before (zero: none). The zero Addr: nothing answers
	// there yet, no round is made. It must not block, nor call the engine. nil: there are no such routes.
	Destination func(p netip.Prefix, current netip.Addr) netip.Addr
	// NoRoute takes each round that could not be made because this machine has no way to its destination; at is
	// when it was due. It must not block, nor call the engine. nil: nobody asks.
	NoRoute func(k route.Key, dst netip.Addr, at time.Time)
	Logger  log.Logger
	// Registerer takes the metrics of the engine (prefix_exporter_…).
	Registerer prometheus.Registerer
	Health     *Health
	// Trace takes the packets of traced addresses; nil: they are logged by Logger.
	// It is called from the probing loop and must not block.
	Trace func(Packet)
}

// TraceEngine traces a set of routes until its context ends.
type TraceEngine interface {
	// Run probes until the context ends, and then returns nil. It owns every
	// goroutine and socket that it makes.
	Run(ctx context.Context) error
	// Apply replaces the targets. Unchanged ones keep their phase and the round in flight.
	// It blocks until the engine works with the new set; on an error (no permission for a
	// socket, say) the old set stays whole. Routes whose source address or interface is not there
	// wait for it: nothing is asked in their rounds meanwhile. Before Run, it only stores the
	// set; opening sockets is then already done.
	Apply(ctx context.Context, targets []TraceTarget) error
	// Trace logs every packet of the routes to one address for so long from now on; 0
	// ends it. It returns ErrNoTarget if no route leads there.
	Trace(ctx context.Context, addr netip.Addr, d time.Duration) error
	// Hurry asks for two rounds of the routes of a prefix now, and not only when they are due: it
	// has just gone down, and where its path ends is the question. At most once in 30 s; it does not block for long.
	Hurry(p netip.Prefix)
}

// NewTrace makes an engine. Other systems than Linux get one that accepts targets, logs that
// traceroutes need Linux, and records nothing.
func NewTrace(o TraceOptions) (TraceEngine, error) { return newTrace(o) }

// traceLabel is the value of the label probe of the self metrics.
const traceLabel = "trace"

// traceMetrics are the self metrics of a TraceEngine.
type traceMetrics struct {
	common
	duplicate, malformed, drops prometheus.Counter
	unmatched                   *prometheus.CounterVec
	// The values of unmatched, made once.
	unmatchedCookie, unmatchedSource, unmatchedSequence, unmatchedTarget, unmatchedError prometheus.Counter
}

func newTraceMetrics(registerer prometheus.Registerer) (*traceMetrics, error) {
	made := newMeters(traceLabel)
	m := &traceMetrics{
		common:    made.common(),
		duplicate: made.duplicate(),
		malformed: made.malformed(),
		drops:     made.drops(),
		unmatched: made.unmatched(),
	}
	m.unmatchedCookie = m.unmatched.WithLabelValues("cookie")
	m.unmatchedSource = m.unmatched.WithLabelValues("source")
	m.unmatchedSequence = m.unmatched.WithLabelValues("sequence")
	m.unmatchedTarget = m.unmatched.WithLabelValues("target")
	m.unmatchedError = m.unmatched.WithLabelValues("error")
	m.discarded.WithLabelValues(string(ReasonKernelDrop))
	return m, made.register(registerer)
}

// reporter tells of trouble with traceroutes; what it says begins with trace.
func (o *TraceOptions) reporter(m *traceMetrics) *reporter {
	r := (&Options{Logger: o.Logger, Health: o.Health, Trace: o.Trace}).reporter(&m.common)
	r.kind = traceLabel
	return r
}
