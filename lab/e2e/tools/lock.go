package tools

import (
	"context"
	"fmt"
	"os"
	"time"
)

// lockPoll is how often a waiting process asks for the lock again; next to a build
// of minutes half a second is nothing, and polling obeys the context everywhere.
const lockPoll = 500 * time.Millisecond

// lock takes an exclusive lock on the file, which the kernel releases with the
// process, and returns the function that gives it back. It blocks until it has the
// lock or the context ends.
func lock(ctx context.Context, path string) (unlock func(), err error) {
	file, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return nil, err
	}
	for {
		locked, err := tryLock(file)
		if err != nil {
			file.Close()
			return nil, fmt.Errorf("locking %s: %w", path, err)
		}
		if locked {
			// Closing the only descriptor of the file releases the lock.
			return func() { file.Close() }, nil
		}
		select {
		case <-ctx.Done():
			file.Close()
			return nil, fmt.Errorf("waiting for the lock %s: %w", path, ctx.Err())
		case <-time.After(lockPoll):
		}
	}
}
