package probe

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"runtime"
	"sync"
	"time"

	probing "github.com/prometheus-community/pro-bing"
	"golang.org/x/net/icmp"

	"prefix_exporter/prefix"
)

// minPortableSize is what pro-bing needs for its own time and identity.
const minPortableSize = 24

// portable is the engine for systems other than Linux: one pro-bing pinger, with a
// socket of its own, for each probe. It costs far more than batch and times by the clock
// of the process; ICMP errors are not seen (such probes end by timeout), nor late replies.
type portable struct {
	pacer
	metrics    *metrics
	privileged bool

	// Guarded by the mutex of the pacer.
	targets map[netip.Addr]*portableTarget
	list    []*portableTarget
}

// portableTarget is one target with the end of its newest probe.
type portableTarget struct {
	Target
	sequence uint16
	done     chan struct{} // closed when the newest probe is recorded
	traced   time.Time
}

var _ Engine = (*portable)(nil)

func newPortable(o Options) (Engine, error) {
	m, err := newMetrics(o.Registerer)
	if err != nil {
		return nil, err
	}
	p := &portable{pacer: newPacer(o, &m.common, o.reporter(&m.common)), metrics: m, targets: map[netip.Addr]*portableTarget{}}
	if p.privileged, err = needsPrivilege(); err != nil {
		return nil, err
	}
	m.stampedBy("user")
	return p, nil
}

// needsPrivilege finds out which kind of socket may be opened: unprivileged (false) or
// raw (true).
func needsPrivilege() (bool, error) {
	if runtime.GOOS != "windows" { // which has raw ones only
		if c, err := icmp.ListenPacket("udp4", "0.0.0.0"); err == nil {
			return false, c.Close()
		}
	}
	c, err := icmp.ListenPacket("ip4:icmp", "0.0.0.0")
	if err != nil {
		return false, fmt.Errorf("%w\n(%w)", errNoPermission, err)
	}
	return true, c.Close()
}

// Apply implements Engine.
func (p *portable) Apply(_ context.Context, targets []Target) error {
	sources := map[netip.Addr]bool{}
	for i := range targets {
		if s := targets[i].Source; s.IsValid() && !sources[s] {
			sources[s] = true
			if err := p.checkSource(s); err != nil {
				return fmt.Errorf("source %q: %w", s, err)
			}
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	kept := make(map[netip.Addr]*portableTarget, len(targets))
	p.list = make([]*portableTarget, len(targets))
	for i := range targets {
		t := p.targets[targets[i].Addr]
		if t == nil {
			t = &portableTarget{}
		}
		t.Target = targets[i]
		kept[t.Addr], p.list[i] = t, t
	}
	p.targets = kept
	members := map[time.Duration][]uint32{}
	for i, t := range p.list {
		members[t.Interval] = append(members[t.Interval], uint32(i))
	}
	p.regroup(members, func(i uint32, interval time.Duration) time.Duration { return phase(p.list[i].Addr, interval) })
	return nil
}

func (p *portable) checkSource(source netip.Addr) error {
	network := map[[2]bool]string{
		{false, true}: "udp4", {true, true}: "ip4:icmp", {false, false}: "udp6", {true, false}: "ip6:ipv6-icmp",
	}[[2]bool{p.privileged, source.Is4()}]
	c, err := icmp.ListenPacket(network, source.String())
	if err != nil {
		return err
	}
	return c.Close()
}

// Run implements Engine.
func (p *portable) Run(ctx context.Context) error {
	p.pacer.run(ctx, p.launch, p.skip)
	return nil
}

// skip counts a probe that is left out. The caller holds p.mu.
func (p *portable) skip(i uint32) {
	t := p.list[i]
	p.trace(t, Packet{Sequence: t.sequence + 1, Event: "skipped", Err: errStale})
}

// launch starts one probe. The caller holds p.mu.
func (p *portable) launch(ctx context.Context, flights *sync.WaitGroup, i uint32) {
	t := p.list[i]
	t.sequence++
	f := &portableFlight{engine: p, target: t, settings: t.Target, sequence: t.sequence, before: t.done, done: make(chan struct{})}
	t.done = f.done
	flights.Go(func() {
		defer p.landed()
		defer close(f.done)
		f.run(ctx)
	})
}

// portableFlight is one probe on its way.
type portableFlight struct {
	engine   *portable
	target   *portableTarget
	settings Target
	sequence uint16
	before   <-chan struct{} // the probe before it; nil: none
	done     chan struct{}
	sent     time.Time
	answered bool
	rtt      time.Duration
	sendErr  error
}

// run sends one echo request, waits for its end and records it, after the one before.
func (f *portableFlight) run(ctx context.Context) {
	start := time.Now()
	pinger := f.pinger(start)
	err := pinger.RunWithContext(ctx)
	took := time.Since(start)
	if f.before != nil {
		<-f.before
	}
	if ctx.Err() != nil && !f.answered {
		return // cut short by the end of the program: nobody's loss
	}
	p := f.engine
	switch {
	case took > f.settings.Timeout+stallAfter && !f.sent.IsZero():
		// We did not run: what the clock says of the reply is our pause, not its way.
		p.metrics.discarded.WithLabelValues(string(ReasonStalled)).Inc()
		p.packet(f, Packet{Event: "discarded", Sent: f.sent})
	case f.answered && f.rtt <= f.settings.Timeout:
		p.o.Recorder.Record(f.settings.Handle, f.sent, prefix.Answered, f.rtt)
		p.packet(f, Packet{Event: "answered", Sent: f.sent, Received: f.sent.Add(f.rtt), RTT: f.rtt})
	case f.sent.IsZero():
		f.refused(err)
	default:
		if f.answered {
			p.metrics.late.Inc()
		}
		p.o.Recorder.Record(f.settings.Handle, f.sent, prefix.Timeout, 0)
		p.packet(f, Packet{Event: prefix.Timeout.String(), Sent: f.sent})
	}
}

// refused counts a probe that could not be sent.
func (f *portableFlight) refused(err error) {
	if f.sendErr != nil {
		err = f.sendErr
	}
	p := f.engine
	p.countRefused(f.settings.Addr.String(), err)
	p.packet(f, Packet{Event: "send_error", Err: err})
}

// pinger makes a pinger for one echo request.
func (f *portableFlight) pinger(start time.Time) *probing.Pinger {
	t, m := &f.settings, f.engine.metrics
	pinger := probing.New(t.Addr.String())
	pinger.SetIPAddr(&net.IPAddr{IP: t.Addr.AsSlice()})
	pinger.SetPrivileged(f.engine.privileged)
	pinger.Size = max(t.Size, minPortableSize)
	pinger.TTL = int(t.TTL)
	pinger.SetTrafficClass(t.TOS)
	pinger.InterfaceName = t.Interface
	if t.Source.IsValid() {
		pinger.Source = t.Source.String()
	}
	pinger.RecordRtts, pinger.RecordTTLs = false, false
	pinger.Timeout = t.Timeout
	pinger.Interval = 2 * t.Timeout // one request only: the pinger is stopped before the second
	pinger.OnSend = func(*probing.Packet) {
		f.sent = start
		f.engine.countSent()
		f.engine.packet(f, Packet{Event: "sent", Sent: f.sent})
	}
	pinger.OnSendError = func(_ *probing.Packet, err error) { f.sendErr = err }
	receive := func(r *probing.Packet) {
		m.received.Inc()
		if from, _ := netip.AddrFromSlice(r.IPAddr.IP); from.Unmap() != t.Addr {
			m.unmatchedSource.Inc()
			return
		}
		if f.answered {
			m.duplicate.Inc()
			return
		}
		f.answered, f.rtt = true, r.Rtt
		// pro-bing takes the difference of two readings of the wall clock, which may be set in between.
		if longest := time.Since(start); f.rtt < 0 || f.rtt > longest {
			f.rtt = longest
			m.unstamped.Inc()
		}
		pinger.Stop()
	}
	pinger.OnRecv, pinger.OnDuplicateRecv = receive, receive
	return pinger
}

// Trace implements Engine.
func (p *portable) Trace(_ context.Context, addr netip.Addr, d time.Duration) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	t := p.targets[addr]
	if t == nil {
		return fmt.Errorf("%w: %s", ErrNoTarget, addr)
	}
	t.traced = time.Now().Add(d)
	return nil
}

// packet traces a packet of a flight.
func (p *portable) packet(f *portableFlight, packet Packet) {
	packet.Sequence = f.sequence
	p.mu.Lock()
	defer p.mu.Unlock()
	p.trace(f.target, packet)
}

// trace hands out a packet of a traced address. The caller holds p.mu.
func (p *portable) trace(t *portableTarget, packet Packet) {
	if t.traced.IsZero() || time.Now().After(t.traced) {
		return
	}
	packet.Addr, packet.ID = t.Addr, t.ID
	p.report.trace(packet)
}
