package app

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"prefix_exporter/config"
)

// A file system that does not answer holds up nobody: not the reload that asked, not the next one, and
// not the end.
func TestAReadThatHangsIsGivenUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hangs := make(chan struct{})
		l := newLoader("x.yml")
		l.read = func(context.Context, string) (*config.Config, error) {
			<-hangs // whatever the context says
			return config.Default(), nil
		}
		for range 2 { // the second waits for the first, in vain
			begin := time.Now()
			_, err := l.load(t.Context(), false)
			want := `configuration file "x.yml": reading it takes longer than 10s: does the file system answer?`
			if err == nil || err.Error() != want {
				t.Errorf("got %v, want %s", err, want)
			}
			if took := time.Since(begin); took != loadTimeout {
				t.Errorf("took %s", took)
			}
		}
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(time.Second, cancel)
		begin := time.Now()
		if _, err := l.load(ctx, false); !errors.Is(err, context.Canceled) || time.Since(begin) != time.Second {
			t.Errorf("got %v after %s", err, time.Since(begin))
		}
		close(hangs)
		if c, err := l.load(t.Context(), false); err != nil || len(c.Blocks) != 1 {
			t.Errorf("the next one: %v, %v", c, err)
		}
	})
}

func TestTheEndDoesNotWaitForAStartThatHangs(t *testing.T) {
	var log buffer
	o := options(t, newEngine(), &log)
	o.ConfigOptional = false
	begin := make(chan struct{})
	o.load = func(ctx context.Context, _ string) (*config.Config, error) {
		close(begin)
		<-ctx.Done()
		return nil, errors.New("in vain")
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- Run(ctx, o) }()
	<-begin
	cancel()
	if err := <-ended; err != nil {
		t.Errorf("ended with %v", err)
	}
	if !strings.Contains(log.String(), `msg="Ended before it had started"`) || strings.Contains(log.String(), "level=error") {
		t.Errorf("logged %s", &log)
	}
}

func TestReasonsNotToStartAreLoggedOneByOne(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "prefix_exporter.yml")
	write(t, file, "prefixes:\n  - {prefix: 192.0.2.0/33}\nx: 1\n")
	var log buffer
	o := options(t, newEngine(), &log)
	o.ConfigFile = file
	if err := Run(t.Context(), o); err == nil {
		t.Fatal("it started")
	}
	for _, want := range []string{
		`level=error msg="Cannot start" err="` + file + `:2: prefixes[0].prefix: \"192.0.2.0/33\": mask must be between 8 and 32"`,
		`level=error msg="Cannot start" err="` + file + `:3: x: unknown key`,
	} {
		if !strings.Contains(log.String(), want) {
			t.Errorf("no %s in\n%s", want, &log)
		}
	}
}

const (
	configTargets = "prefix_exporter_config_targets"
	removedRatio  = "prefix_exporter_config_last_reload_removed_ratio"
)

func TestWhatAReloadTakesOutIsSaid(t *testing.T) {
	quarter := "  - {prefix: 203.0.113.0/30, tcp: off, trace: off}\n"
	for name, test := range map[string]struct {
		after          string
		targets, ratio string
		warnings       []string
	}{
		"nothing":               {"prefixes:\n" + keep + gone + quarter, "8", "0", nil},
		"half of it":            {"prefixes:\n" + keep, "2", "0.5", nil},
		"all of it":             {"prefixes: []\n", "0", "1", []string{"nothing to probe: the list of prefixes is empty", "removed=4 before=4 now=0"}},
		"all of it for another": {"prefixes:\n" + quarter, "4", "1", []string{"removed=4 before=4 now=4"}},
		"more than half":        {"prefixes:\n  - {prefix: 192.0.2.0/32, tcp: off, trace: off}\n", "1", "0.75", []string{"removed=3 before=4 now=1"}},
		"by an empty pattern":   {"prefix_files: ['absent/*.yml']\n", "0", "1", []string{"nothing to probe: the patterns of prefix_files match no file", "removed=4 before=4 now=0"}},
	} {
		t.Run(name, func(t *testing.T) {
			p, file := startWith(t, before)
			p.wantMetrics(map[string]string{configTargets: "4", removedRatio: "0"})
			write(t, file, test.after)
			p.want("POST", "/-/reload", 200, "")
			p.wantMetrics(map[string]string{configTargets: test.targets, removedRatio: test.ratio, reloadSuccessful: "1"})
			if got := strings.Count(p.log.String(), "level=warn"); got != len(test.warnings) {
				t.Errorf("%d warnings, want %d", got, len(test.warnings))
			}
			for _, w := range test.warnings {
				if !strings.Contains(p.log.String(), w) {
					t.Errorf("no %q in the log", w)
				}
			}
			p.want("POST", "/-/reload", 200, "")
			p.wantMetrics(map[string]string{configTargets: test.targets, removedRatio: "0"})
		})
	}
}

func TestAStartWithNothingToProbe(t *testing.T) {
	p, _ := startWith(t, "prefixes: []\n")
	p.wantMetrics(map[string]string{configTargets: "0", removedRatio: "0", reloadSuccessful: "1"})
	if !strings.Contains(p.log.String(), "level=warn") || !strings.Contains(p.log.String(), "nothing to probe") {
		t.Error("not logged")
	}
}

func TestAHopelessFileIsAFewLinesOfTheLog(t *testing.T) {
	p, file := startWith(t, before)
	write(t, file, "prefixes: ["+strings.Repeat("7,", 20_000)+"]\n")
	_, body := p.do("POST", "/-/reload")
	if n := strings.Count(body, "\n"); n != 52 {
		t.Errorf("the answer has %d lines", n)
	}
	var logged []string
	for line := range strings.Lines(p.log.String()) {
		if strings.Contains(line, "level=error") {
			logged = append(logged, line)
		}
	}
	if len(logged) != maxLogged+1 || !strings.Contains(logged[maxLogged], "more=41") {
		t.Errorf("logged %d lines, the last %s", len(logged), logged[len(logged)-1])
	}
}

func TestADiskThatHangsDoesNotHoldUpTheEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hangs := make(chan struct{})
		closed := false
		a := &app{Options: options(t, newEngine(), io.Discard), closers: []func() error{
			func() error { closed = true; return nil },
			func() error { <-hangs; return nil },
		}}
		begin := time.Now()
		if err := a.close(); err == nil || time.Since(begin) != closeTimeout || !closed {
			t.Errorf("got %v after %s, %v", err, time.Since(begin), closed)
		}
		close(hangs)
	})
}

func TestLinesOfATextAreLinesOfTheLog(t *testing.T) {
	got := lines(errors.New("no socket:\n  one\n  two"))
	if diff := cmp.Diff("[no socket:   one   two]", fmt.Sprint(got)); diff != "" {
		t.Error(diff)
	}
}
