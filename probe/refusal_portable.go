package probe

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"syscall"
	"time"
)

// look asks the system whether there is a way to a target: a UDP socket is connected, which sends nothing.
func (a about) look(broadcast bool) error {
	if a.device != "" {
		return fmt.Errorf("%w: interface %q cannot be chosen", errPath, a.device)
	}
	dialer := net.Dialer{Control: func(_, _ string, c syscall.RawConn) error {
		var err error
		if failed := c.Control(func(fd uintptr) { err = allowBroadcast(fd, broadcast) }); failed != nil {
			err = failed
		}
		if err != nil {
			return fmt.Errorf("%w: broadcast: %w", errPath, err)
		}
		return nil
	}}
	if a.source.IsValid() {
		dialer.LocalAddr = net.UDPAddrFromAddrPort(netip.AddrPortFrom(a.source, 0))
	}
	conn, err := dialer.DialContext(context.Background(), "udp", netip.AddrPortFrom(a.at.Addr(), discardPort).String())
	var call *os.SyscallError
	switch {
	case errors.As(err, &call) && call.Syscall == "bind":
		return fmt.Errorf("%w: %w", errPath, err)
	case err != nil:
		return err
	}
	return conn.Close()
}

// rejected finds out what it means that the local system would not make a probe.
func (t *turn[T]) rejected(err error, at time.Time) {
	l := t.lanes
	about := l.about(&t.settings)
	l.mu.Lock()
	gone := l.origins.suspect(t.lane.origin, l.now())
	if gone != nil {
		l.absent(t.lane, gone)
	}
	l.mu.Unlock()
	if gone != nil {
		return
	}
	why, err := judgeRefusal(err, false, about.look)
	l.mu.Lock()
	defer l.mu.Unlock()
	switch why {
	case refusedNoRoute:
		l.tally.sent++ // its outcome is known
		l.reach.deny(denial[*lane[T]]{t.lane, about.handle, int64(at.Sub(l.base)), at, t.sequence})
	case refusedBroadcast:
		t.lane.aside = time.Now().Add(asideFor)
		l.report.leaveOut(about.at.Addr())
		l.o.Recorder.LeaveOut(about.handle)
	default:
		l.common.sendErrors.WithLabelValues(errorName(err)).Inc()
		l.tally.fail(blockOf(about.handle, about.at.Addr()), err)
		l.o.Recorder.Unmeasured(about.handle, errorName(err))
		l.trace(t.lane, Packet{Sequence: t.sequence, Event: "send_error", Err: err})
	}
}

// countSent counts a probe that has left.
func (t *turn[T]) countSent() {
	l := t.lanes
	l.common.sent.Inc()
	l.mu.Lock()
	defer l.mu.Unlock()
	l.tally.sent++
	if t.lane.way == wayOpen {
		return
	}
	l.reach.left(t.lane)
	if !t.lane.aside.IsZero() {
		t.lane.aside = time.Time{}
		l.report.takeIn(t.lane.at.Addr())
	}
}

// discard counts a probe whose outcome cannot be known, for this process did not run.
func (t *turn[T]) discard(sent time.Time) {
	l := t.lanes
	l.common.discarded.WithLabelValues(string(ReasonStalled)).Inc()
	l.o.Recorder.Unmeasured(l.about(&t.settings).handle, string(ReasonStalled))
	t.packet(Packet{Event: "discarded", Sent: sent})
}

// newReach makes what judges the attempts without a way.
func (l *lanes[T]) newReach() reach[*lane[T]] {
	return reach[*lane[T]]{
		way: func(t *lane[T]) *way { return &t.way },
		look: func(t *lane[T]) bool {
			about := l.about(&t.settings)
			return hasWay(about.look)
		},
		settle: func(d denial[*lane[T]], offline bool) {
			event := l.o.deny(d.handle, d.sent, offline, l.common)
			l.trace(d.target, Packet{Sequence: d.sequence, Event: event, Sent: d.sent})
		},
	}
}
