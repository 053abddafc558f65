//go:build !linux

package probe

import (
	"fmt"
	"runtime"
)

// newTCPAuto takes the portable engine: the batch engine needs Linux.
func newTCPAuto(o Options) (TCPEngine, error) { return newDialer(o) }

func newTCPBatch(Options) (TCPEngine, error) {
	return nil, fmt.Errorf("probe engine %q: needs Linux, this is %s: use %s", EngineBatch, runtime.GOOS, EngineProBing)
}
