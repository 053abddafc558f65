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
	icmp probe.Engine
	tcp  probe.TCPEngine
}

// run runs all of them. None may end before it is told to.
func (e *engines) run(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	for name, run := range map[string]func(context.Context) error{"icmp": e.icmp.Run, "tcp": e.tcp.Run} {
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
	if err := e.tcp.Apply(ctx, list.tcp); err != nil {
		return err
	}
	err := e.icmp.Apply(ctx, list.icmp)
	if err == nil || back == nil {
		return err
	}
	if again := e.tcp.Apply(ctx, back().tcp); again != nil {
		return errors.Join(err, fmt.Errorf("going back to the old ports: %w", again))
	}
	return err
}

// trace follows all that is sent to one address.
func (e *engines) trace(ctx context.Context, addr netip.Addr, d time.Duration) error {
	err := e.icmp.Trace(ctx, addr, d)
	if also := e.tcp.Trace(ctx, addr, d); errors.Is(err, probe.ErrNoTarget) || also != nil && !errors.Is(also, probe.ErrNoTarget) {
		err = also
	}
	return err
}
