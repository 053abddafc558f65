package app

import (
	"context"
	"errors"
	"net/netip"
	"time"

	"github.com/go-kit/log/level"

	"prefix_exporter/prefix"
	"prefix_exporter/probe"
	"prefix_exporter/web"
)

// control is what the web pages may ask of the program.
type control struct{ app *app }

var _ web.Prober = (*control)(nil)

// Ready implements web.Prober.
func (c *control) Ready() bool { return c.app.probing.Load() }

// Troubles implements web.Prober.
func (c *control) Troubles() []web.Trouble {
	troubles := c.app.health.Troubles()
	list := make([]web.Trouble, len(troubles))
	for i, t := range troubles {
		list[i] = web.Trouble{Reason: string(t.Reason), Detail: t.Detail, Last: t.Last}
	}
	return list
}

// Reload implements web.Prober.
func (c *control) Reload(ctx context.Context) error { return c.app.reloader.reload(ctx) }

// Trace implements web.Prober.
func (c *control) Trace(ctx context.Context, addr netip.Addr, d time.Duration) error {
	err := c.app.engines.follow(ctx, addr, d)
	if errors.Is(err, probe.ErrNoTarget) {
		return web.ErrNoTarget
	}
	if err == nil {
		level.Info(c.app.Logger).Log("msg", "Tracing an address", "target_id", prefix.TargetID(addr), "ip", addr, "for", d)
	}
	return err
}
