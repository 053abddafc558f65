package app

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"prefix_exporter/config"
	"prefix_exporter/prefix"
)

// The prefixes of the files below: a pair of addresses each.
const (
	keep   = "  - {prefix: 192.0.2.0/31, tcp: off, trace: off}\n"
	gone   = "  - {prefix: 198.51.100.0/31, tcp: off, trace: off}\n"
	come   = "  - {prefix: 203.0.113.0/31, tcp: off, trace: off}\n"
	before = "prefixes:\n" + keep + gone
	after  = "prefixes:\n" + keep + come
)

func sent(p, ip string) string {
	return `prefix_target_sent_total{ip="` + ip + `",prefix="` + p + `",probe="icmp"}`
}

const (
	reloadSuccessful = "prefix_exporter_config_last_reload_successful"
	reloadSince      = "prefix_exporter_config_last_reload_success_timestamp_seconds"
)

// startWith starts a program with a file and lets every address answer three times.
func startWith(t *testing.T, text string) (p *program, file string) {
	t.Helper()
	file = filepath.Join(t.TempDir(), "prefix_exporter.yml")
	write(t, file, text)
	p = start(t, func(o *Options) { o.ConfigFile = file })
	for range 3 {
		p.engine.round(prefix.Answered)
	}
	return p, file
}

func TestReloadKeepsWhatIsUnchanged(t *testing.T) {
	p, file := startWith(t, before)
	write(t, file, after)
	p.want("POST", "/-/reload", 200, "configuration reloaded\n")
	if diff := cmp.Diff([]string{"192.0.2.0", "192.0.2.1", "203.0.113.0", "203.0.113.1"}, p.engine.addrs()); diff != "" {
		t.Error(diff)
	}
	p.engine.round(prefix.Answered)
	p.wantMetrics(map[string]string{
		sent("192.0.2.0/24", "192.0.2.1"):       "4",
		sent("203.0.113.0/24", "203.0.113.1"):   "1",
		sent("198.51.100.0/24", "198.51.100.1"): "",
		reloadSuccessful:                        "1",
	})
}

func TestReloadWithoutNewAddressesAppliesOnce(t *testing.T) {
	p, file := startWith(t, before)
	write(t, file, "prefixes:\n"+keep)
	p.want("POST", "/-/reload", 200, "")
	if got := p.engine.applies; got != 2 { // the start is the other one
		t.Errorf("applied %d times", got)
	}
}

// An IPv6 address can move to another block, whose slots are other ones.
func TestReloadFollowsAddressesToAnotherBlock(t *testing.T) {
	p, file := startWith(t, "prefixes: [{prefix: '2001:db8::/127'}]\n")
	write(t, file, "prefixes: [{prefix: '2001:db8::/126'}]\n")
	p.want("POST", "/-/reload", 200, "")
	p.engine.round(prefix.Answered)
	p.wantMetrics(map[string]string{
		sent("2001:db8::/127", "2001:db8::1"): "",
		sent("2001:db8::/126", "2001:db8::1"): "1",
		sent("2001:db8::/126", "2001:db8::2"): "1",
	})
}

// A file that fails, wherever it fails, changes nothing but what is said of reloads.
func TestReloadThatFailsChangesNothing(t *testing.T) {
	noSource := errors.New(`source address "198.51.100.9": cannot assign requested address`)
	for name, test := range map[string]struct {
		text   string
		refuse int // the Apply of the reload from which on the engine refuses; 0: none
		once   bool
		want   string
		kept   string // what 198.51.100.1 has been sent, one round after
	}{
		"because of a mistake":           {text: "prefixes:\n  - {prefix: 192.0.2.0/33}\nx: 1\n", want: "prefix_exporter.yml:", kept: "4"},
		"because the engine refuses":     {text: after, refuse: 1, want: noSource.Error(), kept: "4"},
		"because it refuses the handles": {text: after, refuse: 2, once: true, want: noSource.Error(), kept: "1"},
		"because the file is empty":      {text: "", want: "file is empty", kept: "4"},
	} {
		t.Run(name, func(t *testing.T) {
			p, file := startWith(t, before)
			since := p.metric(reloadSince)
			write(t, file, test.text)
			if test.refuse > 0 {
				p.engine.refuseFrom(test.refuse, noSource)
			}
			if test.once {
				p.engine.refuse = onlyOnce(p.engine.refuse)
			}
			status, body := p.do("POST", "/-/reload")
			if status != 500 || !strings.Contains(body, test.want) {
				t.Errorf("got %d: %s", status, body)
			}
			if diff := cmp.Diff([]string{"192.0.2.0", "192.0.2.1", "198.51.100.0", "198.51.100.1"}, p.engine.addrs()); diff != "" {
				t.Error(diff)
			}
			p.engine.round(prefix.Answered)
			p.wantMetrics(map[string]string{
				sent("192.0.2.0/24", "192.0.2.1"):       "4",
				sent("198.51.100.0/24", "198.51.100.1"): test.kept,
				sent("203.0.113.0/24", "203.0.113.1"):   "",
				reloadSuccessful:                        "0",
				reloadSince:                             since,
			})
			if !strings.Contains(p.log.String(), `level=error msg="Reload failed, the old configuration stays"`) {
				t.Error("not logged")
			}

			t.Run("and the next one works", func(t *testing.T) {
				p.engine.refuse = nil
				write(t, file, after)
				p.want("POST", "/-/reload", 200, "")
				p.wantMetrics(map[string]string{reloadSuccessful: "1", sent("192.0.2.0/24", "192.0.2.1"): "4"})
			})
		})
	}
}

// onlyOnce lets a refusal pass the second time: going back works.
func onlyOnce[T any](refuse func(int, T) error) func(int, T) error {
	done := false
	return func(n int, targets T) error {
		if done {
			return nil
		}
		err := refuse(n, targets)
		done = err != nil
		return err
	}
}

func TestEveryErrorOfAReloadIsLoggedAndAnswered(t *testing.T) {
	p, file := startWith(t, before)
	write(t, file, "prefixes:\n  - {prefix: 192.0.2.0/33}\nx: 1\n")
	_, body := p.do("POST", "/-/reload")
	lines := strings.Split(strings.TrimSpace(body), "\n")
	if len(lines) != 3 {
		t.Errorf("got %d lines, want a heading and two errors: %s", len(lines), body)
	}
	if got := strings.Count(p.log.String(), "Reload failed"); got != 2 {
		t.Errorf("logged %d lines, want 2", got)
	}
}

func TestReloadBySignal(t *testing.T) {
	p, file := startWith(t, before)
	write(t, file, after)
	p.reload <- syscall.SIGHUP
	eventually(t, "reload", func() bool {
		return p.metric(`prefix_targets{prefix="203.0.113.0/24",probe="icmp",state="dark"}`) == "2"
	})
	write(t, file, "x: 1")
	p.reload <- syscall.SIGHUP
	eventually(t, "reload that fails", func() bool { return p.metric(reloadSuccessful) == "0" })
}

func TestReloadOfAFileThatIsAbsent(t *testing.T) {
	t.Run("keeps the built-in configuration until there is one", func(t *testing.T) {
		var file string
		p := start(t, func(o *Options) { file = o.ConfigFile })
		p.want("POST", "/-/reload", 200, "")
		if got := len(p.engine.addrs()); got != 256 {
			t.Errorf("%d targets", got)
		}
		write(t, file, after)
		p.want("POST", "/-/reload", 200, "")
		if got := len(p.engine.addrs()); got != 4 {
			t.Errorf("%d targets", got)
		}
	})
	t.Run("is an error if it was there before", func(t *testing.T) {
		p, file := startWith(t, before)
		if err := os.Remove(file); err != nil {
			t.Fatal(err)
		}
		p.want("POST", "/-/reload", 500, "")
		if got := len(p.engine.addrs()); got != 4 {
			t.Errorf("%d targets", got)
		}
	})
}

// Reloads, scrapes and results at once; the race detector watches. What stays in both
// files has been counted in every single round.
func TestReloadsUnderLoad(t *testing.T) {
	p, file := startWith(t, before)
	done := make(chan struct{})
	var load sync.WaitGroup
	rounds := 3
	load.Go(func() {
		for {
			select {
			case <-done:
				return
			default:
				p.engine.round(prefix.Answered)
				rounds++
			}
		}
	})
	var reloads sync.WaitGroup
	for range 3 {
		reloads.Go(func() {
			for range 5 {
				p.want("POST", "/-/reload", 200, "")
				p.metric(reloadSuccessful)
			}
		})
	}
	for i := range 10 {
		temporary := file + ".new"
		write(t, temporary, []string{before, after}[i%2])
		if err := os.Rename(temporary, file); err != nil {
			t.Fatal(err)
		}
		p.want("POST", "/-/reload", 200, "")
	}
	reloads.Wait()
	close(done)
	load.Wait()
	snapshot := func(addr string) (n uint64) {
		for _, s := range p.table().Series() {
			var snap prefix.Snapshot
			s.Snapshot(&snap)
			for i, a := range snap.Addrs {
				if a.String() == addr {
					n = snap.Slots[i].Sent()
				}
			}
		}
		return n
	}
	if got := snapshot("192.0.2.1"); got != uint64(rounds) {
		t.Errorf("sent: got %d, want %d", got, rounds)
	}
}

// table is what the engine records into.
func (p *program) table() *prefix.Table { return p.engine.o.Recorder.(*prefix.Table) }

func TestLines(t *testing.T) {
	one := config.Error{File: "a", Message: "x"}
	if diff := cmp.Diff([]error{one, one}, lines(config.Errors{one, one})); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]error{one}, lines(one)); diff != "" {
		t.Error(diff)
	}
}
