package probe

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"runtime"
	"strconv"
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
	lanes[Target]
	metrics    *metrics
	privileged bool
}

var _ Engine = (*portable)(nil)

func newPortable(o Options) (Engine, error) {
	m, err := newMetrics(o.Registerer)
	if err != nil {
		return nil, err
	}
	p := &portable{metrics: m}
	report := o.reporter(&m.common)
	p.lanes = lanes[Target]{
		pacer: newPacer(o, &m.common, report, newOrigins(report, false)),
		about: func(t *Target) about {
			return about{netip.AddrPortFrom(t.Addr, 0), t.ID, t.Interval, t.Handle, t.Source, t.Interface}
		},
		leaves: func(t *Target) (socketKey, string) { return keyOf(t), cmp.Or(t.Where, t.Addr.String()) },
		fly: func(ctx context.Context, a *turn[Target]) {
			f := &echo{turn: a, engine: p}
			f.run(ctx)
		},
	}
	p.reach, p.watch = p.newReach(), p.judgeReach
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
	for i := range targets {
		if s := targets[i].Source; s.Is6() && s.IsLinkLocalUnicast() {
			return fmt.Errorf("source %q: the portable engine cannot send from a link-local address", s)
		}
	}
	p.replace(targets)
	return nil
}

// echo is one echo request on its way.
type echo struct {
	*turn[Target]
	engine   *portable
	sent     time.Time
	answered bool
	rtt      time.Duration
	sendErr  error
}

// run sends one echo request, waits for its end and records it, after the one before.
func (f *echo) run(ctx context.Context) {
	start := time.Now()
	if err := f.lanes.about(&f.settings).look(false); errors.Is(err, accessDenied) {
		f.wait()
		f.rejected(err, start) // pro-bing would try for ever
		return
	}
	pinger := f.pinger(start)
	err := pinger.RunWithContext(ctx)
	took := time.Since(start)
	f.wait()
	if ctx.Err() != nil && !f.answered {
		return // cut short by the end of the program: nobody's loss
	}
	p := f.engine
	switch {
	case took > f.settings.Timeout+stallAfter && !f.sent.IsZero():
		// We did not run: what the clock says of the reply is our pause, not its way.
		f.discard(f.sent)
	case f.answered && f.rtt <= f.settings.Timeout:
		p.o.Recorder.Record(f.settings.Handle, f.sent, prefix.Answered, f.rtt)
		f.packet(Packet{Event: "answered", Sent: f.sent, Received: f.sent.Add(f.rtt), RTT: f.rtt})
	case f.sent.IsZero():
		if f.sendErr != nil {
			err = f.sendErr
		}
		f.rejected(err, start)
	default:
		if f.answered {
			p.metrics.late.Inc()
		}
		p.o.Recorder.Record(f.settings.Handle, f.sent, prefix.Timeout, 0)
		f.packet(Packet{Event: prefix.Timeout.String(), Sent: f.sent})
	}
}

// pinger makes a pinger for one echo request.
func (f *echo) pinger(start time.Time) *probing.Pinger {
	t, m := &f.settings, f.engine.metrics
	pinger := probing.New(t.Addr.String())
	address := &net.IPAddr{IP: t.Addr.AsSlice()}
	if t.Addr.Is6() && t.Addr.IsLinkLocalUnicast() {
		address.Zone = strconv.Itoa(f.index) // package net remembers for a minute which index a name had
	}
	pinger.SetIPAddr(address)
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
		f.countSent()
		f.packet(Packet{Event: "sent", Sent: f.sent})
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
