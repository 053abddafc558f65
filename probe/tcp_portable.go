package probe

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"time"

	"prefix_exporter/prefix"
)

// dialer is the TCP engine for systems other than Linux: a net.Dialer and a goroutine for
// each attempt. It costs more than connector and times by the clock of the process; which
// ICMP error ended an attempt, and whether a SYN had to be sent again, it cannot see.
type dialer struct {
	lanes[TCPTarget]
}

var _ TCPEngine = (*dialer)(nil)

func newDialer(o Options) (TCPEngine, error) {
	m, err := newTCPMetrics(o.Registerer)
	if err != nil {
		return nil, err
	}
	m.stampedBy("user")
	m.limit.Set(maxPortable)
	report := o.tcpReporter(m)
	d := &dialer{lanes[TCPTarget]{
		pacer: newPacer(o, &m.common, report, newOrigins(report, true)),
		about: func(t *TCPTarget) about {
			return about{netip.AddrPortFrom(t.Addr, t.Port), t.ID, t.Interval, t.Handle, t.Source, t.Interface}
		},
		leaves: func(t *TCPTarget) (socketKey, string) { return t.from(), t.Addr.String() },
		fly:    dial,
	}}
	d.reach, d.watch = d.newReach(), d.judgeReach
	return d, nil
}

// Apply implements TCPEngine.
func (d *dialer) Apply(_ context.Context, targets []TCPTarget) error {
	for i := range targets {
		if name := targets[i].Interface; name != "" {
			return fmt.Errorf("interface %q: the portable engine cannot choose one", name)
		}
	}
	d.replace(targets)
	return nil
}

// dial makes one attempt and records it, after the one before.
func dial(ctx context.Context, a *turn[TCPTarget]) {
	l, t := a.lanes, &a.settings
	sent := time.Now()
	conn, err := connect(ctx, t)
	took := time.Since(sent)
	if err == nil {
		if !t.OrderlyClose {
			_ = conn.SetLinger(0)
		}
		_ = conn.Close()
	}
	a.wait()
	if ctx.Err() != nil && err != nil {
		return // cut short by the end of the program: nobody's loss
	}
	o, local := outcomeOfDial(err, took > t.Timeout)
	switch {
	case local, o == prefix.Unreachable && !hasWay(l.about(t).look):
		a.rejected(err, sent)
		return
	case o == prefix.Timeout && took > t.Timeout+stallAfter:
		// The answer may have been there while we did not run.
		a.discard(sent)
		return
	case o == prefix.Timeout && err == nil:
		l.common.late.Inc()
	}
	a.countSent()
	a.packet(Packet{Event: "sent", Sent: sent})
	p := Packet{Event: o.String(), Sent: sent}
	rtt := time.Duration(0)
	if o != prefix.Timeout {
		l.common.received.Inc()
		p.Received = sent.Add(took)
	}
	if o == prefix.Answered {
		rtt = took
		p.RTT = rtt
	}
	l.o.Recorder.Record(t.Handle, sent, o, rtt)
	a.packet(p)
}

// connect dials until the timeout.
func connect(ctx context.Context, t *TCPTarget) (*net.TCPConn, error) {
	ctx, cancel := context.WithTimeout(ctx, t.Timeout)
	defer cancel()
	var from netip.AddrPort
	if t.Source.IsValid() {
		from = netip.AddrPortFrom(t.Source, 0)
	}
	var dialer net.Dialer
	return dialer.DialTCP(ctx, "tcp", from, netip.AddrPortFrom(t.Addr, t.Port))
}

// outcomeOfDial says how an attempt ended, or that it was not made for a reason of this machine.
func outcomeOfDial(err error, late bool) (o prefix.Outcome, local bool) {
	var timeout interface{ Timeout() bool }
	switch {
	case err == nil && late:
		return prefix.Timeout, false
	case err == nil:
		return prefix.Answered, false
	}
	if o, ok := outcomeOfErrno(err); ok {
		return o, false
	}
	if errors.As(err, &timeout) && timeout.Timeout() {
		return prefix.Timeout, false
	}
	return 0, true
}

// outcomeOfErrno maps what a system says of a connection that failed.
func outcomeOfErrno(err error) (prefix.Outcome, bool) {
	for _, e := range dialErrors {
		if errors.Is(err, e.errno) {
			return e.outcome, true
		}
	}
	return 0, false
}
