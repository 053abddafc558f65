package app

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"

	"prefix_exporter/config"
)

// loadTimeout is how long the files of a configuration may take: the largest that there may be takes 3 s of
// CPU, so a read that takes longer waits for a file system that does not answer.
const loadTimeout = 10 * time.Second

// bounded calls f and returns what it returns, or an error when the context ends or, if patience is not 0, when it is
// over. A read that hangs in the kernel cannot be called back: f is left behind then, with a context that has ended.
func bounded[T any](ctx context.Context, patience time.Duration, what string, f func(context.Context) (T, error)) (T, error) {
	type result struct {
		value T
		err   error
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	if patience > 0 {
		ctx, cancel = context.WithTimeoutCause(ctx, patience, fmt.Errorf("%s takes longer than %s: does the file system answer?", what, patience))
		defer cancel()
	}
	done := make(chan result, 1)
	go func() {
		value, err := f(ctx)
		done <- result{value, err}
	}()
	select {
	case r := <-done:
		return r.value, r.err
	case <-ctx.Done():
		var none T
		return none, context.Cause(ctx)
	}
}

// loader reads the configuration file.
type loader struct {
	file string
	// read reads a file; it may hang.
	read func(ctx context.Context, path string) (*config.Config, error)
	// turn holds one token, which a read keeps until it has returned, so that those that hang do
	// not pile up.
	turn chan struct{}
}

func newLoader(file string) *loader {
	return &loader{file: file, read: config.LoadContext, turn: make(chan struct{}, 1)}
}

// loaded is a valid configuration and where it comes from.
type loaded struct {
	*config.Config
	builtin bool
}

// load reads the file within loadTimeout. optional allows it to be absent.
func (l *loader) load(ctx context.Context, optional bool) (loaded, error) {
	return bounded(ctx, loadTimeout, fmt.Sprintf("configuration file %q: reading it", l.file), func(ctx context.Context) (loaded, error) {
		select {
		case l.turn <- struct{}{}:
			defer func() { <-l.turn }()
		case <-ctx.Done():
			return loaded{}, ctx.Err() // nobody listens any more
		}
		if optional {
			if _, err := os.Stat(l.file); errors.Is(err, fs.ErrNotExist) {
				return loaded{config.Default(), true}, nil
			}
		}
		c, err := l.read(ctx, l.file)
		return loaded{c, false}, err
	})
}
