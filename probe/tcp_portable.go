package probe

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"time"

	"prefix_exporter/prefix"
)

// dialer is the TCP engine for systems other than Linux: a net.Dialer and a goroutine for
// each attempt. It costs more than connector and times by the clock of the process; which
// ICMP error ended an attempt, and whether a SYN had to be sent again, it cannot see.
type dialer struct {
	pacer

	// Guarded by the mutex of the pacer.
	targets map[netip.AddrPort]*dialTarget
	list    []*dialTarget
}

// dialTarget is one target with the end of its newest attempt.
type dialTarget struct {
	TCPTarget
	sequence uint16
	done     chan struct{} // closed when the newest attempt is recorded; nil: there was none
	traced   time.Time
}

var _ TCPEngine = (*dialer)(nil)

func newDialer(o Options) (TCPEngine, error) {
	m, err := newTCPMetrics(o.Registerer)
	if err != nil {
		return nil, err
	}
	m.stampedBy("user")
	m.limit.Set(maxPortable)
	return &dialer{pacer: newPacer(o, &m.common, o.tcpReporter(m)), targets: map[netip.AddrPort]*dialTarget{}}, nil
}

// Apply implements TCPEngine.
func (d *dialer) Apply(_ context.Context, targets []TCPTarget) error {
	sources := map[netip.Addr]bool{}
	for i := range targets {
		t := &targets[i]
		if t.Interface != "" {
			return fmt.Errorf("interface %q: the portable engine cannot choose one", t.Interface)
		}
		if t.Source.IsValid() && !sources[t.Source] {
			sources[t.Source] = true
			if err := checkLocal(t.Source); err != nil {
				return fmt.Errorf("source %q: %w", t.Source, err)
			}
		}
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	kept := make(map[netip.AddrPort]*dialTarget, len(targets))
	d.list = make([]*dialTarget, len(targets))
	members := map[time.Duration][]uint32{}
	for i := range targets {
		key := netip.AddrPortFrom(targets[i].Addr, targets[i].Port)
		t := d.targets[key]
		if t == nil {
			t = &dialTarget{}
		}
		t.TCPTarget = targets[i]
		kept[key], d.list[i] = t, t
		members[t.Interval] = append(members[t.Interval], uint32(i))
	}
	d.targets = kept
	d.regroup(members, func(i uint32, interval time.Duration) time.Duration {
		return portPhase(d.list[i].Addr, d.list[i].Port, interval)
	})
	return nil
}

// checkLocal says whether an address is one of this machine.
func checkLocal(source netip.Addr) error {
	l, err := net.ListenTCP("tcp", net.TCPAddrFromAddrPort(netip.AddrPortFrom(source, 0)))
	if err != nil {
		return err
	}
	return l.Close()
}

// Run implements TCPEngine.
func (d *dialer) Run(ctx context.Context) error {
	d.pacer.run(ctx, d.launch, d.skip)
	return nil
}

// skip traces an attempt that is left out. The caller holds d.mu.
func (d *dialer) skip(i uint32) {
	t := d.list[i]
	d.trace(t, Packet{Sequence: t.sequence + 1, Event: "skipped", Err: errStale})
}

// launch starts one attempt. The caller holds d.mu.
func (d *dialer) launch(ctx context.Context, flights *sync.WaitGroup, i uint32) {
	t := d.list[i]
	t.sequence++
	f := &dial{engine: d, target: t, settings: t.TCPTarget, sequence: t.sequence, before: t.done, done: make(chan struct{})}
	t.done = f.done
	flights.Go(func() {
		defer d.landed()
		defer close(f.done)
		f.run(ctx)
	})
}

// dial is one attempt on its way.
type dial struct {
	engine   *dialer
	target   *dialTarget
	settings TCPTarget
	sequence uint16
	before   <-chan struct{} // the attempt before it; nil: none
	done     chan struct{}
}

// run makes one attempt and records it, after the one before.
func (f *dial) run(ctx context.Context) {
	d, t := f.engine, &f.settings
	sent := time.Now()
	conn, err := f.connect(ctx)
	took := time.Since(sent)
	if err == nil {
		if !t.OrderlyClose {
			_ = conn.SetLinger(0)
		}
		_ = conn.Close()
	}
	if f.before != nil {
		<-f.before
	}
	if ctx.Err() != nil && err != nil {
		return // cut short by the end of the program: nobody's loss
	}
	o, local := outcomeOfDial(err, took > t.Timeout)
	switch {
	case local:
		d.countRefused(netip.AddrPortFrom(t.Addr, t.Port).String(), err)
		f.packet(Packet{Event: "send_error", Err: err})
		return
	case o == prefix.Timeout && took > t.Timeout+stallAfter:
		// The answer may have been there while we did not run.
		d.common.discarded.WithLabelValues(string(ReasonStalled)).Inc()
		f.packet(Packet{Event: "discarded", Sent: sent})
		return
	case o == prefix.Timeout && err == nil:
		d.common.late.Inc()
	}
	d.countSent()
	f.packet(Packet{Event: "sent", Sent: sent})
	p := Packet{Event: o.String(), Sent: sent}
	rtt := time.Duration(0)
	if o != prefix.Timeout {
		d.common.received.Inc()
		p.Received = sent.Add(took)
	}
	if o == prefix.Answered {
		rtt = took
		p.RTT = rtt
	}
	d.o.Recorder.Record(t.Handle, sent, o, rtt)
	f.packet(p)
}

// connect dials until the timeout.
func (f *dial) connect(ctx context.Context) (*net.TCPConn, error) {
	t := &f.settings
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

// Trace implements TCPEngine.
func (d *dialer) Trace(_ context.Context, addr netip.Addr, length time.Duration) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	found := false
	for _, t := range d.list {
		if t.Addr == addr {
			found = true
			t.traced = time.Now().Add(length)
		}
	}
	if !found {
		return fmt.Errorf("%w: %s", ErrNoTarget, addr)
	}
	return nil
}

// packet traces what happened to an attempt.
func (f *dial) packet(p Packet) {
	p.Sequence = f.sequence
	f.engine.mu.Lock()
	defer f.engine.mu.Unlock()
	f.engine.trace(f.target, p)
}

// trace hands out what happened at a traced address. The caller holds d.mu.
func (d *dialer) trace(t *dialTarget, p Packet) {
	if t.traced.IsZero() || time.Now().After(t.traced) {
		return
	}
	p.Addr, p.Port, p.ID = t.Addr, t.Port, t.ID
	d.report.trace(p)
}
