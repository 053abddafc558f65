// Package probe asks addresses whether they are there, at an even pace, and hands
// each result to the table of package prefix. It holds the scheduler and the
// engines: batch (few sockets, many packets a system call, kernel timestamps; Linux)
// and pro-bing (portable).
package probe

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"github.com/go-kit/log"
	"github.com/go-kit/log/level"
	"github.com/prometheus/client_golang/prometheus"

	"prefix_exporter/prefix"
)

// Target is one address to be pinged, and how.
type Target struct {
	Addr netip.Addr
	// ID is the target_id of logs, prefix.TargetID(Addr).
	ID string
	// Handle is where its results go.
	Handle prefix.Handle
	// Interval between two echo requests, and Timeout, at most Interval.
	Interval, Timeout time.Duration
	// Size is the number of ICMP data bytes, 16 to 65,507.
	Size int
	// TTL (hop limit) 1 to 255, TOS (traffic class) 0 to 255.
	TTL, TOS uint8
	// Source is the source address; the zero Addr leaves it to the kernel.
	Source netip.Addr
	// Interface or VRF to leave by; empty leaves it to the routing table.
	Interface string
	// Where says, for the log, which prefix this is and where its Source and Interface are written:
	// 192.0.2.0/24 (prefixes.yml:12). Empty: the log names Addr.
	Where string
}

// Recorder takes the results. *prefix.Table is one.
type Recorder interface {
	// Record must not block. sent is when the probe was sent, rtt is set for answers.
	Record(h prefix.Handle, sent time.Time, o prefix.Outcome, rtt time.Duration)
	// Reject takes a loss that somebody declares: the sender of an ICMP error, say. It must not block.
	Reject(h prefix.Handle, sent time.Time, why prefix.Cause)
	// Unmeasured takes a probe that could not be sent, or whose outcome cannot be known, for a reason of this
	// machine: one of a few words that never change, which becomes a label. It must not block.
	Unmeasured(h prefix.Handle, obstacle string)
	// LeaveOut takes an address that is not to be probed: a broadcast address. It must not block.
	LeaveOut(h prefix.Handle)
}

var _ Recorder = (*prefix.Table)(nil)

// Engine sends echo requests to a set of targets until its context ends.
type Engine interface {
	// Run probes until the context ends, and then returns nil. It owns every
	// goroutine and socket that it makes.
	Run(ctx context.Context) error
	// Apply replaces the targets. Unchanged ones keep their phase, their sequence
	// and the probe in flight. It blocks until the engine works with the new set; on
	// an error (no permission for a socket, say) the old set stays whole. Targets whose source
	// address or interface is not there wait for it: they are unmeasured meanwhile. Before
	// Run, it only stores the set; opening sockets is then already done.
	Apply(ctx context.Context, targets []Target) error
	// Trace logs every packet of one address for so long from now on; 0 ends it.
	// It returns ErrNoTarget if the address is not a target.
	Trace(ctx context.Context, addr netip.Addr, d time.Duration) error
}

// ErrNoTarget says that an address is not probed.
var ErrNoTarget = errors.New("no such target")

var errStale = errors.New("too late to be sent")

// The engines, as named on the command line.
const (
	EngineAuto    = "auto"     // batch where the system has it, pro-bing elsewhere
	EngineBatch   = "batch"    // Linux: few sockets, batches, kernel timestamps
	EngineProBing = "pro-bing" // portable: github.com/prometheus-community/pro-bing
)

// Options is what an engine needs of its surroundings. None may be nil unless it says so.
type Options struct {
	Recorder Recorder
	Logger   log.Logger
	// Registerer takes the metrics of the engine (prefix_exporter_…).
	Registerer prometheus.Registerer
	Health     *Health
	// Trace takes the packets of traced addresses; nil: they are logged by Logger.
	// It is called from the probing loop and must not block.
	Trace func(Packet)
}

// reporter tells the log and Health what an engine notices, without blocking it.
type reporter struct {
	kind   string // of probe, as in the label probe; every trouble begins with it
	health *Health
	lines  *lines
	trace  func(Packet)

	noted   time.Time           // when note wrote a line
	leftOut map[netip.Addr]bool // those that leaveOut has named
}

func (o *Options) reporter(m *common) *reporter {
	r := &reporter{
		kind: prefix.ICMP.String(), health: o.Health, lines: newLines(o.Logger, m.logDrops), trace: o.Trace,
		leftOut: map[netip.Addr]bool{},
	}
	if r.trace == nil {
		r.trace = r.logPacket
	}
	return r
}

// trouble reports to Health and logs what is new.
func (r *reporter) trouble(reason Reason, detail string) {
	detail = r.kind + ": " + detail
	if r.health.Report(r.kind, reason, detail) {
		r.lines.log(level.Key(), level.WarnValue(), "msg", "The prober itself is in trouble", "reason", reason, "detail", detail)
	}
}

// judge reports what is too much of the last ten seconds, and that this machine is offline while it is. now is
// monotonic, in nanoseconds.
func (r *reporter) judge(t *tally, offline bool, now int64) {
	t.judge(now, r.trouble, r.note)
	if offline {
		detail := "this machine has no way to the only prefix"
		if t.blocks > 1 {
			detail = fmt.Sprintf("this machine has no way to (nearly) all of the %s prefixes", comma(t.blocks))
		}
		r.trouble(ReasonOffline, detail)
	}
}

// note logs what is no trouble of the prober as a whole, at most once in two minutes.
func (r *reporter) note(detail string) {
	if now := time.Now(); now.Sub(r.noted) >= healthHold {
		r.noted = now
		r.lines.log(level.Key(), level.WarnValue(), "msg", "Some prefixes cannot be probed from here", "detail", r.kind+": "+detail)
	}
}

// leaveOut names an address that is not probed, once.
func (r *reporter) leaveOut(a netip.Addr) {
	if r.leftOut[a] {
		return
	}
	r.leftOut[a] = true
	r.lines.log(level.Key(), level.InfoValue(), "msg", "This is a broadcast address of a network of this machine: it is not probed", "ip", a, "probe", r.kind)
}

// takeIn says that an address is probed that was left out.
func (r *reporter) takeIn(a netip.Addr) {
	if r.leftOut[a] {
		delete(r.leftOut, a)
		r.lines.log(level.Key(), level.InfoValue(), "msg", "This is no broadcast address any more: it is probed", "ip", a, "probe", r.kind)
	}
}

// logPacket writes a line for a packet of an address that somebody follows.
func (r *reporter) logPacket(p Packet) {
	line := []any{level.Key(), level.InfoValue(), "msg", "Packet", "ip", p.Addr, "target_id", p.ID, "sequence", p.Sequence, "event", p.Event}
	if p.Port != 0 {
		line = append(line, "port", p.Port)
	}
	if p.TTL != 0 {
		line = append(line, "ttl", p.TTL)
	}
	if !p.Sent.IsZero() {
		line = append(line, "sent", p.Sent.UTC().Format(stampFormat))
	}
	if !p.Received.IsZero() {
		line = append(line, "received", p.Received.UTC().Format(stampFormat))
	}
	if p.Event == "answered" {
		line = append(line, "rtt", p.RTT)
	}
	if p.From.IsValid() {
		line = append(line, "from", p.From)
	}
	if p.Err != nil {
		line = append(line, "err", p.Err)
	}
	r.lines.log(line...)
}

// stampFormat shows a moment as exactly as the kernel stamps it.
const stampFormat = "2006-01-02T15:04:05.000000000Z07:00"

// Packet tells of one probe of a traced address.
type Packet struct {
	Addr     netip.Addr
	Port     uint16 // 0: of ICMP
	TTL      uint8  // of a probe of a traceroute; 0: not of one
	ID       string
	Sequence uint16
	// Event is sent, answered, timeout, unreachable, ttl_exceeded, refused, reset, no_route, late,
	// duplicate, unmatched, discarded, skipped or send_error.
	Event string
	// Sent and Received are by the best clock there is (the kernel's stamps, when
	// there are some); the zero time where there is none.
	Sent, Received time.Time
	RTT            time.Duration
	// From is who answered, if not Addr: the router that sent an ICMP error.
	From netip.Addr
	Err  error
}

// New makes an engine by name: auto, batch or pro-bing.
func New(name string, o Options) (Engine, error) {
	switch name {
	case EngineAuto:
		return newAuto(o)
	case EngineBatch:
		return newBatch(o)
	case EngineProBing:
		return newPortable(o)
	}
	return nil, fmt.Errorf("probe engine %q: must be auto, batch or pro-bing", name)
}
