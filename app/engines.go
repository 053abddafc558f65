package app

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"golang.org/x/sync/errgroup"

	"prefix_exporter/probe"
)

// engines are all that probe, as one.
type engines struct {
	icmp  probe.Engine
	tcp   probe.TCPEngine
	trace probe.TraceEngine
}

// run runs all of them. None may end before it is told to.
func (e *engines) run(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	for name, run := range map[string]func(context.Context) error{"icmp": e.icmp.Run, "tcp": e.tcp.Run, "trace": e.trace.Run} {
		g.Go(func() error {
			if err := run(ctx); err != nil {
				return fmt.Errorf("%s probe engine: %w", name, err)
			}
			if ctx.Err() == nil {
				return fmt.Errorf("%s probe engine: ended without a reason", name)
			}
			return nil
		})
	}
	return g.Wait()
}

// apply gives all engines their targets, or none of them: back says what they go back to
// when one refuses after another has accepted; nil is for the start, with nothing to go back to.
func (e *engines) apply(ctx context.Context, list targets, back func() targets) error {
	engines := []struct {
		name  string
		apply func(targets) error
	}{
		{"ports", func(l targets) error { return e.tcp.Apply(ctx, l.tcp) }},
		{"routes", func(l targets) error { return e.trace.Apply(ctx, l.trace) }},
		{"addresses", func(l targets) error { return e.icmp.Apply(ctx, l.icmp) }},
	}
	for i, one := range engines {
		err := one.apply(list)
		if err == nil {
			continue
		}
		if back == nil || i == 0 {
			return err
		}
		old := back()
		for _, done := range engines[:i] {
			if again := done.apply(old); again != nil {
				err = errors.Join(err, fmt.Errorf("going back to the old %s: %w", done.name, again))
			}
		}
		return err
	}
	return nil
}

// follow logs all that is sent to one address.
func (e *engines) follow(ctx context.Context, addr netip.Addr, d time.Duration) error {
	found := false
	for _, trace := range []func(context.Context, netip.Addr, time.Duration) error{e.icmp.Trace, e.tcp.Trace, e.trace.Trace} {
		err := trace(ctx, addr, d)
		if err != nil && !errors.Is(err, probe.ErrNoTarget) {
			return err
		}
		found = found || err == nil
	}
	if !found {
		return probe.ErrNoTarget
	}
	return nil
}
