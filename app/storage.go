package app

import (
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"time"

	"github.com/go-kit/log"
	"github.com/go-kit/log/level"
	"github.com/prometheus/client_golang/prometheus"

	"prefix_exporter/file"
	"prefix_exporter/prefix"
)

// The files in the storage folder.
const (
	knownFile = "known.json" // which addresses have ever answered
	lockFile  = "lock"       // locked by the process that uses the folder

	temporary = ".tmp" // what is added to a file that is being written: ours alone while we hold the lock
)

// saveInterval is how much is forgotten at most when the machine loses its power: an
// address that answered for the first time in the last minute is dark again.
const saveInterval = time.Minute

// store keeps in a folder what outlives a restart.
type store struct {
	dir      string
	lock     *os.File
	table    *prefix.Table
	logger   log.Logger
	failures prometheus.Counter

	seed    maphash.Seed
	written uint64 // hash of what the file holds; 0: not known
	armed   bool   // whether the table knows what the file knew, so that it may be replaced
}

// openStore makes the folder, if it is missing, and locks it.
func openStore(dir string, table *prefix.Table, logger log.Logger, r prometheus.Registerer) (*store, error) {
	// What addresses answer is nobody else's business.
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("storage path %q: %w", dir, err)
	}
	lock, err := openLock(filepath.Join(dir, lockFile))
	if err != nil {
		return nil, fmt.Errorf("storage path %q: %w", dir, err)
	}
	free, err := tryLock(lock)
	if err == nil && !free {
		err = errors.New("is in use by another process; give each prefix_exporter a folder of its own")
	}
	if err != nil {
		_ = lock.Close()
		return nil, fmt.Errorf("storage path %q: %w", dir, err)
	}
	_ = os.Remove(filepath.Join(dir, knownFile+temporary)) // left behind by a run that was killed; else the first save says why
	s := &store{
		dir: dir, lock: lock, table: table, logger: logger, seed: maphash.MakeSeed(),
		failures: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "prefix_exporter_storage_write_failures_total",
			Help: "Attempts to write to the storage path that failed.",
		}),
	}
	r.MustRegister(s.failures)
	return s, nil
}

// restore gives the table what the last run knew, before its first Apply. A file that
// cannot be understood is moved aside, so that nobody overwrites what may be mended.
func (s *store) restore() error {
	path := filepath.Join(s.dir, knownFile)
	err := s.read(path)
	var damage *damageError
	switch {
	case errors.Is(err, fs.ErrNotExist):
		err = nil
	case errors.As(err, &damage):
		level.Error(s.logger).Log("msg", "Known addresses are damaged, starting without them", "err", err, "moved_to", path+".bad")
		err = os.Rename(path, path+".bad")
	}
	if err != nil {
		return fmt.Errorf("storage path %q: %w", s.dir, err)
	}
	s.armed = true
	return nil
}

// damageError says what is wrong in which line of a file.
type damageError struct {
	path string
	err  error
}

func (e *damageError) Error() string { return e.path + ": " + e.err.Error() }
func (e *damageError) Unwrap() error { return e.err }

func (s *store) read(path string) error {
	f, err := file.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := s.table.Restore(f); err != nil {
		return &damageError{path, err}
	}
	return nil
}

// run saves at each interval until the context ends. It returns nil: a disk that is
// full does not end the probing.
func (s *store) run(ctx context.Context, interval time.Duration) error {
	ticker := time.NewTicker(interval)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
			if err := s.save(); err != nil {
				level.Error(s.logger).Log("msg", "Cannot save the known addresses", "err", err)
			}
		}
	}
}

// save replaces the file, whole or not at all, if it would change.
func (s *store) save() (err error) {
	defer func() {
		if err != nil {
			s.failures.Inc()
		}
	}()
	path := filepath.Join(s.dir, knownFile)
	next := path + temporary
	sum, err := s.write(next)
	if err == nil && sum != s.written {
		err = os.Rename(next, path)
	}
	if err != nil || sum == s.written {
		_ = os.Remove(next)
		return err
	}
	s.written = sum
	return syncFolder(s.dir)
}

// write writes a file, to the disk if it is a new one, and returns its hash.
func (s *store) write(path string) (sum uint64, err error) {
	// What has this name already may be a link to somewhere else, or a pipe that nobody reads.
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return 0, err
	}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	var hash maphash.Hash
	hash.SetSeed(s.seed)
	if err := s.table.Remember(io.MultiWriter(f, &hash)); err != nil {
		return 0, err
	}
	sum = max(hash.Sum64(), 1)
	if sum == s.written {
		return sum, nil
	}
	return sum, f.Sync()
}

// syncFolder makes a rename outlive a loss of power.
func syncFolder(dir string) error {
	if runtime.GOOS == "windows" { // a folder cannot be synced there
		return nil
	}
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

// close saves for the last time and gives the folder free.
func (s *store) close() (err error) {
	if s.armed {
		err = s.save()
	}
	if err = errors.Join(err, s.lock.Close()); err != nil {
		return fmt.Errorf("storage path %q: %w", s.dir, err)
	}
	return nil
}
