package e2e

import (
	"bytes"
	"net/http"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// process is a program that ends with the test at the latest.
type process struct {
	t     *testing.T
	name  string
	cmd   *exec.Cmd
	began time.Time
	done  chan struct{} // closed when it has ended, with
	exit  error         // how

	mu     sync.Mutex
	output bytes.Buffer // standard error and output
}

// spawn starts a program in a folder.
func spawn(t *testing.T, dir, path string, args ...string) *process {
	t.Helper()
	p := &process{t: t, name: path[strings.LastIndexByte(path, '/')+1:], cmd: exec.Command(path, args...), done: make(chan struct{})}
	p.cmd.Dir = dir
	p.cmd.Stdout, p.cmd.Stderr = p, p
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	started := make(chan error, 1)
	go func() {
		// The child dies with the thread that made it (prctl(2), PR_SET_PDEATHSIG), so
		// this one has to live as long as the child does.
		runtime.LockOSThread()
		defer close(p.done)
		p.began = time.Now()
		err := p.cmd.Start()
		started <- err
		if err == nil {
			p.exit = p.cmd.Wait()
		}
	}()
	if err := <-started; err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = p.cmd.Process.Kill() // most have ended already
		<-p.done
		if t.Failed() {
			t.Logf("the last words of %s:\n%s", p.name, p.lastWords())
		}
	})
	return p
}

// Write takes what the program writes.
func (p *process) Write(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.output.Write(b)
}

// said returns what the program has written so far.
func (p *process) said() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.output.String()
}

func (p *process) lastWords() string {
	lines := strings.Split(strings.TrimSpace(p.said()), "\n")
	return strings.Join(lines[max(0, len(lines)-30):], "\n")
}

// alive fails the test if the program has ended by itself.
func (p *process) alive() {
	p.t.Helper()
	select {
	case <-p.done:
		p.t.Fatalf("%s ended: %v", p.name, p.exit)
	default:
	}
}

// untilReady waits until the program says at /-/ready of an address that it is.
func (p *process) untilReady(address string) {
	p.t.Helper()
	until(p.t, p.name+" is ready", func() string {
		p.alive()
		answer, err := client.Get("http://" + address + "/-/ready")
		if err != nil {
			return err.Error()
		}
		defer answer.Body.Close()
		if answer.StatusCode != http.StatusOK {
			return answer.Status
		}
		return ""
	})
}

func (p *process) signal(s os.Signal) {
	p.t.Helper()
	if err := p.cmd.Process.Signal(s); err != nil {
		p.t.Fatalf("%v to %s: %v", s, p.name, err)
	}
}

// terminate asks the program to end and returns how long that took.
func (p *process) terminate() time.Duration {
	p.t.Helper()
	begin := time.Now()
	p.signal(syscall.SIGTERM)
	select {
	case <-p.done:
	case <-time.After(patience):
		p.t.Fatalf("%s did not end within %v", p.name, patience)
	}
	return time.Since(begin)
}
