package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"prefix_exporter/lab/e2e/tools"
	"prefix_exporter/lab/testenv"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience is how long a test waits for what must happen, on however busy a machine.
const patience = time.Minute

// stack is the command in a process of its own.
type stack struct {
	t     *testing.T
	cmd   *exec.Cmd
	ended chan error

	mu     sync.Mutex
	output bytes.Buffer
}

// Write takes what the command writes.
func (s *stack) Write(b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.output.Write(b)
}

func (s *stack) said() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.output.String()
}

// start builds the command and runs it with a configuration of the exporter.
func start(t *testing.T, config string, args ...string) *stack {
	t.Helper()
	for _, name := range []string{"prometheus", "alertmanager"} {
		tools.Require(t, name) // else it would be built now, for minutes
	}
	dir := t.TempDir()
	program, file := filepath.Join(dir, "stack"), filepath.Join(dir, "prefix_exporter.yml")
	if out, err := exec.Command("go", "build", "-o", program, ".").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	s := &stack{t: t, ended: make(chan error, 1)}
	s.cmd = exec.Command(program, append(args, "--config.file="+file, "--data-dir="+filepath.Join(dir, "data"))...)
	s.cmd.Stdout, s.cmd.Stderr = s, s
	if err := s.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() { s.ended <- s.cmd.Wait(); close(done) }()
	t.Cleanup(func() {
		_ = s.cmd.Process.Kill() // most have ended already
		<-done
		if t.Failed() {
			t.Log(s.said())
		}
	})
	return s
}

// until waits until something holds, and fails when the command ends before that.
func (s *stack) until(what string, holds func() bool) {
	s.t.Helper()
	for deadline := time.Now().Add(patience); !holds(); time.Sleep(50 * time.Millisecond) {
		select {
		case err := <-s.ended:
			s.ended <- err
			if regexp.MustCompile(`ping_group_range|CAP_NET_RAW`).MatchString(s.said()) && os.Getenv(testenv.NoSkipEnv) != "1" {
				s.t.Skipf("ICMP sockets are not allowed here; %s=1 makes this a failure", testenv.NoSkipEnv)
			}
			s.t.Fatalf("ended before %s: %v", what, err)
		default:
		}
		if time.Now().After(deadline) {
			s.t.Fatalf("did not happen within %v: %s", patience, what)
		}
	}
}

// urls waits until the command says where the programs are.
func (s *stack) urls() map[string]string {
	s.t.Helper()
	urls := map[string]string{}
	line := regexp.MustCompile(`(?m)^(exporter|prometheus|alertmanager) +(http://\S+)$`)
	s.until("all are ready", func() bool {
		for _, match := range line.FindAllStringSubmatch(s.said(), -1) {
			urls[match[1]] = match[2]
		}
		return strings.Contains(s.said(), "^C ends all")
	})
	if len(urls) != 3 {
		s.t.Fatalf("the URLs are %v", urls)
	}
	return urls
}

// children are the process numbers of the programs (proc(5), /proc/PID/task/TID/children).
func (s *stack) children() (numbers []string) {
	s.t.Helper()
	files, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", s.cmd.Process.Pid))
	if err != nil {
		s.t.Fatal(err)
	}
	for _, file := range files {
		data, _ := os.ReadFile(file) // a thread may have ended meanwhile
		numbers = append(numbers, strings.Fields(string(data))...)
	}
	return numbers
}

// end sends ^C and checks that all ends in peace, and that nothing is left.
func (s *stack) end(urls map[string]string) {
	s.t.Helper()
	children := s.children()
	if len(children) != 3 {
		s.t.Errorf("children %q, want three programs", children)
	}
	if err := s.cmd.Process.Signal(os.Interrupt); err != nil {
		s.t.Fatal(err)
	}
	select {
	case err := <-s.ended:
		if err != nil {
			s.t.Errorf("it ended with %v, want exit status 0", err)
		}
	case <-time.After(endPatience + 10*time.Second):
		s.t.Fatal("it did not end")
	}
	for _, number := range children {
		if _, err := os.Stat("/proc/" + number); err == nil {
			s.t.Errorf("process %s is left", number)
		}
	}
	for name, u := range urls {
		if c, err := net.Dial("tcp", strings.TrimPrefix(u, "http://")); err == nil {
			c.Close()
			s.t.Errorf("%s is left: somebody listens on %s", name, u)
		}
	}
}

var client = &http.Client{Timeout: patience, Transport: &http.Transport{DisableKeepAlives: true}}

// query returns the values of an expression.
func (s *stack) query(prometheus, promql string) (values []string) {
	s.t.Helper()
	answer, err := client.Get(prometheus + "/api/v1/query?query=" + url.QueryEscape(promql))
	if err != nil {
		s.t.Fatal(err)
	}
	defer answer.Body.Close()
	var body struct {
		Data struct{ Result []struct{ Value [2]any } }
	}
	if err := json.NewDecoder(answer.Body).Decode(&body); err != nil || answer.StatusCode != http.StatusOK {
		s.t.Fatalf("%s: %s, %v", promql, answer.Status, err)
	}
	for _, r := range body.Data.Result {
		values = append(values, fmt.Sprint(r.Value[1]))
	}
	return values
}

func TestOneCommandRunsTheWholeChain(t *testing.T) {
	s := start(t, "prefixes:\n  - {prefix: 127.0.0.0/30, tcp: off, trace: off}\n",
		"--port.exporter=0", "--port.prometheus=0", "--port.alertmanager=0")
	urls := s.urls()

	s.until("Prometheus scrapes the exporter", func() bool {
		v := s.query(urls["prometheus"], `prefix_targets{prefix="127.0.0.0/24",probe="icmp",state="up"} and on (instance) up{job="prefix_exporter"} == 1`)
		return len(v) == 1 && v[0] == "4"
	})
	// Who knows no Alertmanager says 0; it takes a moment until Prometheus has found it.
	s.until("Prometheus knows Alertmanager", func() bool {
		answer, err := client.Get(urls["prometheus"] + "/api/v1/alertmanagers")
		if err != nil {
			t.Fatal(err)
		}
		defer answer.Body.Close()
		body, err := io.ReadAll(answer.Body)
		return err == nil && strings.Contains(string(body), urls["alertmanager"]+"/")
	})

	// An alert as a rule would fire it takes the whole way to the sinks.
	alert := `[{"labels": {"alertname": "PrefixDown", "severity": "critical", "prefix": "192.0.2.0/24", "name": "PAR-1", "tenant": "team-a"},
		"annotations": {"summary": "PAR-1 192.0.2.0/24 DOWN: a test of the way"}}]`
	answer, err := client.Post(urls["alertmanager"]+"/api/v2/alerts", "application/json", strings.NewReader(alert))
	if err != nil {
		t.Fatal(err)
	}
	answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		t.Fatalf("the alert: %s", answer.Status)
	}
	s.until("a mail and an SMS are shown", func() bool {
		return strings.Contains(s.said(), " mail to team-a@example.net\n") && strings.Contains(s.said(), " SMS to a provider by JSON\n")
	})
	s.end(urls)
}

func TestAPortThatIsTakenIsNamed(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	_, err = chooseEndpoints(ports{prometheus: uint16(l.Addr().(*net.TCPAddr).Port)})
	if err == nil || !strings.Contains(err.Error(), "choose another with --port.prometheus") {
		t.Errorf("got %v, want the flag that helps", err)
	}
}

func TestAllEndWhenOneDoes(t *testing.T) {
	s := start(t, "prefixes:\n  - {prefix: 127.0.0.0/30, tcp: off, trace: off}\n",
		"--port.exporter=0", "--port.prometheus=0", "--port.alertmanager=0")
	urls := s.urls()
	children := s.children()
	for _, number := range children {
		name, _ := os.ReadFile("/proc/" + number + "/comm")
		if strings.TrimSpace(string(name)) != "alertmanager" {
			continue
		}
		var pid int
		if _, err := fmt.Sscan(number, &pid); err != nil {
			t.Fatal(err)
		}
		if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
	}
	select {
	case err := <-s.ended:
		if err == nil || !strings.Contains(s.said(), "alertmanager has ended: signal: killed") {
			t.Errorf("it ended with %v, want an error that names Alertmanager", err)
		}
		s.ended <- err
	case <-time.After(patience):
		t.Fatal("it goes on without Alertmanager")
	}
	for name, u := range urls {
		if c, err := net.Dial("tcp", strings.TrimPrefix(u, "http://")); err == nil {
			c.Close()
			t.Errorf("%s is left", name)
		}
	}
}
