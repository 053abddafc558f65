//go:build !linux

package probe

import (
	"fmt"
	"runtime"
)

// newAuto takes the portable engine: the batch engine needs Linux.
func newAuto(o Options) (Engine, error) { return newPortable(o) }

func newBatch(Options) (Engine, error) {
	return nil, fmt.Errorf("probe engine %q: needs Linux, this is %s: use %s", EngineBatch, runtime.GOOS, EngineProBing)
}
