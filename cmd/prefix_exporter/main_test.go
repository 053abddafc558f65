package main

import (
	"bytes"
	"encoding/json"
	"flag"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"prefix_exporter/lab/testenv"
)

var update = flag.Bool("update", false, "write the golden files anew")

// asMain in the environment makes the test binary be the program itself, so that
// signals and exit statuses are the real ones.
const asMain = "PREFIX_EXPORTER_TEST_AS_MAIN"

// memoryFile in the environment names a file to which the program writes at its end what the kernel says of it: what
// the parent is told of a child (getrusage(2)) begins with the memory of the parent.
const memoryFile = "PREFIX_EXPORTER_TEST_MEMORY_FILE"

// writePeak copies /proc/self/status, where there is one.
func writePeak(path string) {
	if status, err := os.ReadFile("/proc/self/status"); err == nil {
		_ = os.WriteFile(path, status, 0o600)
	}
}

func TestMain(m *testing.M) {
	if os.Getenv(asMain) != "" {
		nameVersion()
		status := run(os.Args[1:], os.Stdin, os.Stdout, os.Stderr)
		if path := os.Getenv(memoryFile); path != "" {
			writePeak(path)
		}
		os.Exit(status)
	}
	os.Exit(m.Run())
}

func command(t *testing.T, args ...string) *exec.Cmd {
	t.Helper()
	c := exec.CommandContext(t.Context(), os.Args[0], args...)
	c.Env = append(os.Environ(), asMain+"=1")
	return c
}

// result is what a process leaves.
type result struct {
	Status         int
	Stdout, Stderr string
}

func execute(t *testing.T, args ...string) result {
	t.Helper()
	return finish(t, command(t, args...))
}

// finish runs a command to its end.
func finish(t *testing.T, c *exec.Cmd) result {
	t.Helper()
	var stdout, stderr bytes.Buffer
	c.Stdout, c.Stderr = &stdout, &stderr
	err := c.Run()
	if c.ProcessState == nil {
		t.Fatal(err)
	}
	return result{c.ProcessState.ExitCode(), stdout.String(), stderr.String()}
}

// logged are the errors in the lines of a log in JSON.
func logged(t *testing.T, log string) string {
	t.Helper()
	var b strings.Builder
	for line := range strings.Lines(log) {
		var record struct{ Level, Msg, Err string }
		if err := json.Unmarshal([]byte(line), &record); err != nil || record.Level != "error" || record.Msg != "Cannot start" {
			t.Errorf("%v: %s", err, line)
		}
		b.WriteString(record.Err + "\n")
	}
	return b.String()
}

// A mistake of the file has an exit status of its own, so that a supervisor does not try again for ever.
func TestInvalidConfiguration(t *testing.T) {
	file := filepath.Join("testdata", "invalid.yml")
	t.Run("check", func(t *testing.T) {
		got := execute(t, "check", file)
		if got.Status != 1 || got.Stdout != "" {
			t.Errorf("got status %d, output %q", got.Status, got.Stdout)
		}
		golden(t, "invalid.txt", filepath.ToSlash(got.Stderr))
	})
	t.Run("run", func(t *testing.T) {
		got := execute(t, "--log.level=error", "--log.format=json", "--config.file="+file, "--web.listen-address=127.0.0.1:0")
		if got.Status != 78 || got.Stdout != "" {
			t.Errorf("got status %d, output %q", got.Status, got.Stdout)
		}
		golden(t, "invalid.txt", filepath.ToSlash(logged(t, got.Stderr)))
	})
}

func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(strings.ReplaceAll(string(want), "\r\n", "\n"), got); diff != "" {
		t.Errorf("%s (go test -update writes it anew): %s", path, diff)
	}
}

// process is the program in a process of its own.
type process struct {
	t      *testing.T
	cmd    *exec.Cmd
	url    string
	mu     sync.Mutex
	stderr bytes.Buffer
	ended  chan error
}

// Write takes what the process writes to its standard error.
func (p *process) Write(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.stderr.Write(b)
}

func (p *process) log() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.stderr.String()
}

var (
	listening = regexp.MustCompile(`msg="Listening on" address=(\S+)`)
	// forbidden is how a machine says that it allows no ICMP socket to this user.
	forbidden = regexp.MustCompile(`ping_group_range|CAP_NET_RAW`)
)

// launch starts the program and waits until it listens. It skips the test where
// sending echo requests is not allowed.
func launch(t *testing.T, args ...string) *process {
	t.Helper()
	if runtime.GOOS == "windows" {
		t.Skip("Windows has no signals")
	}
	p := &process{t: t, ended: make(chan error, 1)}
	p.cmd = command(t, append(args, "--web.listen-address=127.0.0.1:0")...)
	p.cmd.Stderr = p
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() { p.ended <- p.cmd.Wait() }()
	t.Cleanup(func() {
		_ = p.cmd.Process.Kill()
		if t.Failed() {
			t.Log(p.log())
		}
	})
	p.until("listening", func() bool {
		if match := listening.FindStringSubmatch(p.log()); match != nil {
			p.url = "http://" + match[1]
		}
		return p.url != "" || forbidden.MatchString(p.log())
	})
	if p.url == "" {
		testenv.Skip(t, "ICMP sockets are not allowed here")
	}
	return p
}

func (p *process) until(what string, is func() bool) {
	p.t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !is(); time.Sleep(5 * time.Millisecond) {
		select {
		case err := <-p.ended:
			if is() {
				p.ended <- err
				return
			}
			p.t.Fatalf("ended before %s: %v\n%s", what, err, p.log())
		default:
		}
		if time.Now().After(deadline) {
			p.t.Fatalf("did not happen: %s\n%s", what, p.log())
		}
	}
}

func (p *process) signal(s os.Signal) {
	p.t.Helper()
	if err := p.cmd.Process.Signal(s); err != nil {
		p.t.Fatal(err)
	}
}

func (p *process) get(path string) (status int, body string) {
	p.t.Helper()
	answer, err := http.Get(p.url + path)
	if err != nil {
		p.t.Fatal(err)
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err != nil {
		p.t.Fatal(err)
	}
	return answer.StatusCode, string(text)
}

func TestSignals(t *testing.T) {
	dir := t.TempDir()
	file, storage := filepath.Join(dir, "prefix_exporter.yml"), filepath.Join(dir, "storage")
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("prefixes:\n  - {prefix: 127.0.1.0/30, tcp: off, trace: off}\n")
	p := launch(t, "--config.file="+file, "--storage.path="+storage, "--log.format=logfmt")
	up := func(p string) string { return `prefix_targets{prefix="` + p + `",probe="icmp",state="up"} 4` }
	shows := func(line string) func() bool {
		return func() bool { _, body := p.get("/metrics"); return strings.Contains(body, line) }
	}
	p.until("all are up", shows(up("127.0.1.0/24")))

	write("prefixes:\n  - {prefix: 127.0.2.0/30, tcp: off, trace: off}\n")
	p.signal(syscall.SIGHUP)
	p.until("reload", shows(up("127.0.2.0/24")))

	write("nonsense: 1\n")
	p.signal(syscall.SIGHUP)
	p.until("reload that fails", shows("prefix_exporter_config_last_reload_successful 0"))
	if !shows(up("127.0.2.0/24"))() {
		t.Error("the old configuration has not stayed")
	}

	begin := time.Now()
	p.signal(syscall.SIGTERM)
	if err := <-p.ended; err != nil {
		t.Errorf("ended with %v", err)
	}
	if took := time.Since(begin); took > 5*time.Second {
		t.Errorf("took %s to end", took)
	}
	known, err := os.ReadFile(filepath.Join(storage, "known.json"))
	// Those that the reload took out are known when they come back.
	if err != nil || strings.Count(string(known), `"ip":"127.0.2.`) != 4 || strings.Count(string(known), `"ip":"127.0.1.`) != 4 {
		t.Errorf("known addresses: %v: %s", err, known)
	}
}

func TestTheSecondSignalEndsAtOnce(t *testing.T) {
	p := launch(t, "--config.file="+filepath.Join("testdata", "valid.yml"), "--web.enable-lifecycle")
	body, more := io.Pipe()
	defer more.Close()
	r, err := http.NewRequestWithContext(t.Context(), "POST", p.url+"/-/reload", body)
	if err != nil {
		t.Fatal(err)
	}
	go func() { // a request that the first signal waits for
		if answer, err := http.DefaultClient.Do(r); err == nil {
			answer.Body.Close()
		}
	}()
	if _, err := more.Write([]byte("x")); err != nil { // it has been sent
		t.Fatal(err)
	}
	p.until("ready", func() bool { status, _ := p.get("/-/ready"); return status == 200 })
	p.signal(os.Interrupt)
	p.until("stopping", func() bool { return strings.Contains(p.log(), "msg=Stopping") })
	p.signal(os.Interrupt)
	begin := time.Now()
	if err := <-p.ended; err == nil {
		t.Error("ended in peace")
	}
	if took := time.Since(begin); took > 2*time.Second {
		t.Errorf("took %s to end", took)
	}
}
