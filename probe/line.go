package probe

import (
	"context"

	"github.com/go-kit/log"
	"github.com/prometheus/client_golang/prometheus"
)

// lineQueueLen holds two seconds of packets of fifty traced addresses.
const lineQueueLen = 200

// lines writes log lines for a probing loop, which must not wait for whoever reads the
// log: what the queue cannot hold is dropped and counted.
type lines struct {
	logger  log.Logger
	queue   chan []any
	dropped prometheus.Counter
}

func newLines(logger log.Logger, dropped prometheus.Counter) *lines {
	return &lines{logger: logger, queue: make(chan []any, lineQueueLen), dropped: dropped}
}

// log queues a line of keys and values. It does not block.
func (l *lines) log(keyvals ...any) {
	select {
	case l.queue <- keyvals:
	default:
		l.dropped.Inc()
	}
}

// start writes the lines from now on, until end is called. end returns when what was still
// queued is written, too. It belongs to the loop and not to the context of the program: a loop
// that cannot start, and waits for its lines to be written before it says why, must not wait for
// a context that only ends when it has said so.
func (l *lines) start() (end func()) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		l.run(ctx)
	}()
	return func() {
		cancel()
		<-done
	}
}

// run writes the lines until the context ends, and then what is still queued.
func (l *lines) run(ctx context.Context) {
	for {
		select {
		case line := <-l.queue:
			_ = l.logger.Log(line...)
		case <-ctx.Done():
			for {
				select {
				case line := <-l.queue:
					_ = l.logger.Log(line...)
				default:
					return
				}
			}
		}
	}
}
