package probe

import (
	"context"
	"fmt"
	"net/netip"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"prefix_exporter/prefix"
)

// TCPTarget is one port of one address to be connected to, and how.
type TCPTarget struct {
	Addr netip.Addr
	// Port is 1 to 65,535.
	Port uint16
	// ID is the target_id of logs, prefix.TargetID(Addr).
	ID string
	// Handle is where its results go.
	Handle prefix.Handle
	// Interval between two attempts, and Timeout of a handshake, at most Interval.
	Interval, Timeout time.Duration
	// Source is the source address; the zero Addr leaves it to the kernel.
	Source netip.Addr
	// Interface or VRF to leave by; empty leaves it to the routing table.
	Interface string
	// OrderlyClose ends a connection with a FIN, which leaves a TIME_WAIT behind for a
	// minute, instead of a reset, which leaves nothing.
	OrderlyClose bool
}

// from is where the attempts of a target leave from.
func (t *TCPTarget) from() socketKey {
	return socketKey{v6: !t.Addr.Is4(), source: t.Source, device: t.Interface}
}

// TCPEngine connects to a set of ports until its context ends, and closes each
// connection as soon as it stands.
type TCPEngine interface {
	// Run probes until the context ends, and then returns nil. It owns every
	// goroutine and socket that it makes.
	Run(ctx context.Context) error
	// Apply replaces the targets. Unchanged ones keep their phase and the attempt in
	// flight. It blocks until the engine works with the new set; on an error (no permission
	// for a socket, say) the old set stays whole. Targets whose source address or interface is
	// not there wait for it: they are unmeasured meanwhile.
	Apply(ctx context.Context, targets []TCPTarget) error
	// Trace logs every attempt at all ports of one address for so long from now on; 0
	// ends it. It returns ErrNoTarget if no port of the address is a target.
	Trace(ctx context.Context, addr netip.Addr, d time.Duration) error
}

// NewTCP makes an engine by the names of New. Batch is many connections in one loop, with
// RTTs as the kernel measured them (Linux); pro-bing stands for the portable one, which
// needs a goroutine for each attempt and times by the clock of the process.
func NewTCP(name string, o Options) (TCPEngine, error) {
	switch name {
	case EngineAuto:
		return newTCPAuto(o)
	case EngineBatch:
		return newTCPBatch(o)
	case EngineProBing:
		return newDialer(o)
	}
	return nil, fmt.Errorf("probe engine %q: must be auto, batch or pro-bing", name)
}

// tcpMetrics are the self metrics of a TCP engine.
type tcpMetrics struct {
	common
	retransmitted prometheus.Counter
	open, limit   prometheus.Gauge
}

func newTCPMetrics(registerer prometheus.Registerer) (*tcpMetrics, error) {
	made := newMeters(prefix.TCP.String())
	m := &tcpMetrics{
		common:        made.common(),
		retransmitted: made.counter("retransmitted_probes_total", "Connection attempts whose SYN had to be sent again before it was answered."),
		open:          made.gauge("connections", "Connection attempts in flight."),
		limit:         made.gauge("connections_limit", "How many connection attempts may be in flight, by the descriptors that the system grants."),
	}
	return m, made.register(registerer)
}

// tcpReporter tells of trouble with connections; what it says begins with tcp.
func (o *Options) tcpReporter(m *tcpMetrics) *reporter {
	r := o.reporter(&m.common)
	r.kind = prefix.TCP.String()
	return r
}
