package main

import (
	"bytes"
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

	"prefix_exporter/config"
	"prefix_exporter/netsim"
)

var update = flag.Bool("update", false, "write the golden files anew")

// asMain in the environment makes the test binary be the program itself, so that
// signals and exit statuses are the real ones.
const asMain = "PREFIX_EXPORTER_TEST_AS_MAIN"

func TestMain(m *testing.M) {
	if os.Getenv(asMain) != "" {
		main()
		return
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
	c := command(t, args...)
	var stdout, stderr bytes.Buffer
	c.Stdout, c.Stderr = &stdout, &stderr
	err := c.Run()
	if c.ProcessState == nil {
		t.Fatal(err)
	}
	return result{c.ProcessState.ExitCode(), stdout.String(), stderr.String()}
}

func TestInvalidConfiguration(t *testing.T) {
	file := filepath.Join("testdata", "invalid.yml")
	for name, test := range map[string]struct {
		args   []string
		golden string
	}{
		"check": {[]string{"check", file}, "invalid.txt"},
		"run":   {[]string{"--log.level=error", "--config.file=" + file, "--web.listen-address=127.0.0.1:0"}, "invalid.txt"},
	} {
		t.Run(name, func(t *testing.T) {
			got := execute(t, test.args...)
			if got.Status != 1 || got.Stdout != "" {
				t.Errorf("got status %d, output %q", got.Status, got.Stdout)
			}
			golden(t, test.golden, filepath.ToSlash(got.Stderr))
		})
	}
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

func TestCheckPrintsTheCost(t *testing.T) {
	file := filepath.Join("testdata", "valid.yml")
	c, err := config.Load(file)
	if err != nil {
		t.Fatal(err)
	}
	got := execute(t, "check", file)
	if diff := cmp.Diff(result{Stdout: c.Cost().String() + "\n"}, got); diff != "" {
		t.Error(diff)
	}
}

func TestCommandLine(t *testing.T) {
	for name, test := range map[string]struct {
		args           []string
		status         int
		stdout, stderr string // regular expressions
	}{
		"the version":              {[]string{"--version"}, 0, `^prefix_exporter, version `, `^$`},
		"the help names each flag": {[]string{"--help"}, 0, `(?s)--config.file=.*--web.listen-address=:10240.*--web.config.file=.*--web.telemetry-path=.*web.enable-lifecycle.*--web.allowed-hosts=NAME \.\.\..*--storage.path=.*--probe.engine=.*--log.level=.*--log.format=.*\nrun\*\n.*\ncheck <FILE>\n.*trace .*<IP>\n.*healthy \[<URL>\]\n`, `^$`},
		"a flag that is unknown":   {[]string{"--nope"}, 1, `^$`, `^prefix_exporter: error: unknown long flag '--nope', try --help\n$`},
		"a command that is unknown": {
			[]string{"ping"}, 1, `^$`, `^prefix_exporter: error: unexpected ping, try --help\n$`,
		},
		"a level that is unknown":           {[]string{"--log.level=loud"}, 1, `^$`, `enum value must be one of debug,info,warn,error, got 'loud'`},
		"an engine that is unknown":         {[]string{"--probe.engine=best"}, 1, `^$`, `enum value must be one of auto,batch,pro-bing, got 'best'`},
		"a file that was named, absent":     {[]string{"--log.level=error", "run", "--config.file=testdata/absent.yml"}, 1, `^$`, `testdata/absent.yml: `},
		"a file to check that is absent":    {[]string{"check", "testdata/absent.yml"}, 1, `^$`, `testdata/absent.yml: `},
		"a check of nothing":                {[]string{"check"}, 1, `^$`, `required argument 'FILE' not provided`},
		"a telemetry path that is no path":  {[]string{"--log.level=error", "--config.file=testdata/valid.yml", "--web.telemetry-path=x"}, 1, `^$`, `^telemetry path "x": must begin with /`},
		"an allowed host that is a pattern": {[]string{"--log.level=error", "--config.file=testdata/valid.yml", "--web.allowed-hosts=a.example", "--web.allowed-hosts=*.example"}, 1, `^$`, `^allowed host "\*\.example": must be one name`},
	} {
		t.Run(name, func(t *testing.T) {
			got := execute(t, test.args...)
			if got.Status != test.status {
				t.Errorf("status %d, want %d", got.Status, test.status)
			}
			for what, pair := range map[string][2]string{"stdout": {test.stdout, got.Stdout}, "stderr": {test.stderr, got.Stderr}} {
				if !regexp.MustCompile(pair[0]).MatchString(pair[1]) {
					t.Errorf("%s: got %q, want %s", what, pair[1], pair[0])
				}
			}
		})
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
		netsim.Skip(t, "ICMP sockets are not allowed here")
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
