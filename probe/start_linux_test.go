package probe

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/go-kit/log"
	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sys/unix"
)

// TestAnEngineThatCannotStartSaysSo leaves the engine no descriptor: Run must return the error
// although nobody has ended its context, or nobody learns that nothing is connected to.
func TestAnEngineThatCannotStartSaysSo(t *testing.T) {
	engine, err := NewTCP(EngineBatch, Options{
		Logger: log.NewNopLogger(), Registerer: prometheus.NewRegistry(), Health: NewHealth(time.Now),
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	setLimit(t, 0)
	ended := make(chan error, 1)
	go func() { ended <- engine.Run(ctx) }()
	select {
	case err = <-ended:
	case <-time.After(20 * time.Second):
		cancel()
		t.Fatalf("Run waits for the end of its context before it returns %v", <-ended)
	}
	if !errors.Is(err, unix.EMFILE) {
		t.Errorf("got %v, want %v", err, unix.EMFILE)
	}
}
