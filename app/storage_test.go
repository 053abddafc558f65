package app

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/go-kit/log"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"prefix_exporter/prefix"
)

func TestKnownAddressesOutliveARestart(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "storage")
	config := filepath.Join(t.TempDir(), "prefix_exporter.yml")
	write(t, config, before)
	with := func(o *Options) { o.ConfigFile, o.StoragePath = config, dir }

	p := start(t, with)
	p.engine.round(prefix.Answered)
	if err := p.stop(); err != nil {
		t.Fatal(err)
	}
	p = start(t, with)
	p.wantMetrics(map[string]string{
		`prefix_targets{prefix="192.0.2.0/24",probe="icmp",state="unknown"}`: "2", // known, but not measured yet
		`prefix_targets{prefix="192.0.2.0/24",probe="icmp",state="dark"}`:    "0",
	})
	p.engine.round(prefix.Answered)
	p.wantMetrics(map[string]string{`prefix_targets{prefix="192.0.2.0/24",probe="icmp",state="up"}`: "2"})
	for range 3 {
		p.engine.round(prefix.Timeout)
	}
	p.wantMetrics(map[string]string{`prefix_targets{prefix="192.0.2.0/24",probe="icmp",state="down"}`: "2"})
	if err := p.stop(); err != nil {
		t.Fatal(err)
	}
	p = start(t, with)
	p.engine.round(prefix.Timeout) // one agrees with three of the time before
	p.wantMetrics(map[string]string{
		`prefix_targets{prefix="192.0.2.0/24",probe="icmp",state="down"}`: "2",
		`prefix_exporter_storage_write_failures_total`:                    "0",
	})

	t.Run("and are nobody else's business", func(t *testing.T) {
		if runtime.GOOS == "windows" {
			t.Skip("Windows has no such permissions")
		}
		for path, want := range map[string]os.FileMode{dir: 0o700, filepath.Join(dir, knownFile): 0o600, filepath.Join(dir, lockFile): 0o600} {
			info, err := os.Stat(path)
			if err != nil {
				t.Fatal(err)
			}
			if got := info.Mode().Perm(); got != want {
				t.Errorf("%s: got %o, want %o", filepath.Base(path), got, want)
			}
		}
	})
	t.Run("in a folder for one process only", func(t *testing.T) {
		o := options(t, newEngine(), &buffer{})
		o.StoragePath = dir
		err := Run(t.Context(), o)
		want := fmt.Sprintf("storage path %q: is in use by another process; give each prefix_exporter a folder of its own", dir)
		if err == nil || err.Error() != want {
			t.Errorf("got %v, want %s", err, want)
		}
	})
}

func TestADamagedFileIsMovedAside(t *testing.T) {
	dir := t.TempDir()
	known := filepath.Join(dir, knownFile)
	const damaged = `{"format":"prefix_exporter known addresses","version":1}` + "\n" + `{"ip":"192.0.2.` + "\n"
	write(t, known, damaged)
	p := start(t, func(o *Options) { o.StoragePath = dir })
	p.engine.round(prefix.Answered)
	if err := p.stop(); err != nil {
		t.Fatal(err)
	}
	if want := known + ": line 2: "; !strings.Contains(p.log.String(), want) || !strings.Contains(p.log.String(), "level=error") {
		t.Errorf("log without %s", want)
	}
	if got := read(t, known+".bad"); got != damaged {
		t.Errorf("moved aside: %q", got)
	}
	if got := strings.Count(read(t, known), "\n"); got != 257 {
		t.Errorf("the new file has %d lines", got)
	}
}

func read(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func newStore(t *testing.T) (*store, *prefix.Table) {
	t.Helper()
	table := prefix.NewTable(nil)
	table.Apply(blocksOf(parse(t, before)))
	s, err := openStore(t.TempDir(), table, log.NewNopLogger(), prometheus.NewRegistry())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.lock.Close() })
	return s, table
}

func TestSaveWritesOnlyWhatHasChanged(t *testing.T) {
	s, table := newStore(t)
	path := filepath.Join(s.dir, knownFile)
	saved := func() os.FileInfo {
		t.Helper()
		if err := s.save(); err != nil {
			t.Fatal(err)
		}
		info, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := os.Stat(path + ".tmp"); err == nil {
			t.Error("a temporary file is left")
		}
		return info
	}
	first := saved()
	if second := saved(); !os.SameFile(first, second) {
		t.Error("the file was replaced although nothing has changed")
	}
	c := parse(t, before)
	list := targetsOf(c, table)
	table.Record(list.icmp[0].Handle, time.Unix(1000, 0), prefix.Answered, time.Millisecond)
	saved()
	want := `{"ip":"192.0.2.0","probe":"icmp","state":"up","last_answer":1000}`
	if got := read(t, path); !strings.Contains(got, want) {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestAFailureToSaveIsCounted(t *testing.T) {
	s, _ := newStore(t)
	if err := s.save(); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(s.dir, knownFile)
	kept := read(t, path)
	if err := os.Mkdir(path+".tmp", 0o700); err != nil { // in the way, for root, too
		t.Fatal(err)
	}
	write(t, filepath.Join(path+".tmp", "x"), "")
	s.written = 0
	if err := s.save(); err == nil {
		t.Error("saved in spite of everything")
	}
	if got := testutil.ToFloat64(s.failures); got != 1 {
		t.Errorf("counted %v", got)
	}
	if got := read(t, path); got != kept {
		t.Errorf("the old file has changed: %s", got)
	}
}

func TestStoreSavesAtIntervals(t *testing.T) {
	s, _ := newStore(t)
	ended := make(chan error)
	ctx, cancel := context.WithCancel(t.Context())
	go func() { ended <- s.run(ctx, time.Millisecond) }()
	eventually(t, "save", func() bool { _, err := os.Stat(filepath.Join(s.dir, knownFile)); return err == nil })
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}
