//go:build !linux

package probe

import (
	"context"
	"fmt"
	"net/netip"
	"runtime"
	"sync"
	"time"

	"github.com/go-kit/log/level"
)

// untraced is the engine of systems where no traceroute is possible: it accepts targets
// and records nothing.
type untraced struct {
	o    TraceOptions
	told sync.Once
}

var _ TraceEngine = (*untraced)(nil)

func newTrace(o TraceOptions) (TraceEngine, error) { return &untraced{o: o}, nil }

// Run implements TraceEngine.
func (*untraced) Run(ctx context.Context) error {
	<-ctx.Done()
	return nil
}

// Apply implements TraceEngine.
func (u *untraced) Apply(_ context.Context, targets []TraceTarget) error {
	if len(targets) > 0 {
		u.told.Do(func() {
			_ = level.Warn(u.o.Logger).Log("msg", "No route is traced: traceroutes need Linux", "system", runtime.GOOS)
		})
	}
	return nil
}

// Hurry implements TraceEngine.
func (*untraced) Hurry(netip.Prefix) {}

// Trace implements TraceEngine.
func (*untraced) Trace(_ context.Context, addr netip.Addr, _ time.Duration) error {
	return fmt.Errorf("%w: %s", ErrNoTarget, addr)
}
