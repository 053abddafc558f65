package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"time"
)

// endPatience is what a program gets to end in peace: the exporter needs 5 s at most,
// Prometheus writes down what it holds.
const endPatience = 20 * time.Second

// lastLines is how much of its log is shown when a program ends by itself: the reason
// is in the last line or two, and what led to it just before.
const lastLines = 10

// killed is how os.ProcessState spells an end by SIGKILL on Unix.
const killed = "signal: killed"

// program is one that runs as long as all others do.
type program struct {
	name, path, dir, url string
	args                 []string
}

func (p *program) logFile() string { return filepath.Join(p.dir, p.name+".log") }

// run runs the program until the context ends, and returns when it has ended. That it
// ends by itself is an error, with the end of its log.
func (p *program) run(ctx context.Context) error {
	log, err := os.Create(p.logFile())
	if err != nil {
		return err
	}
	defer log.Close()
	cmd := exec.CommandContext(ctx, p.path, p.args...)
	cmd.Dir = p.dir
	cmd.Stdout, cmd.Stderr = log, log
	cmd.Cancel = func() error { return askToEnd(cmd.Process) }
	cmd.WaitDelay = endPatience // then it is killed
	dieWithUs(cmd)
	// The kernel ends it with the thread that started it, so this one has to live as long.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if err = cmd.Start(); err == nil {
		err = cmd.Wait()
	}
	if ctx.Err() != nil {
		if state := cmd.ProcessState; state != nil && state.String() == killed {
			return fmt.Errorf("%s had not ended after %v and was killed", p.name, endPatience)
		}
		return nil
	}
	return fmt.Errorf("%s has ended: %w\n%s", p.name, orEnded(err), p.lastWords())
}

// orEnded gives a peaceful end that nobody asked for a name.
func orEnded(err error) error {
	if err == nil {
		return fmt.Errorf("exit status 0")
	}
	return err
}

// askToEnd asks as an operator does; Windows has no such question.
func askToEnd(p *os.Process) error {
	if runtime.GOOS == "windows" {
		return p.Kill()
	}
	return p.Signal(syscall.SIGTERM)
}

// lastWords returns the end of the log.
func (p *program) lastWords() string {
	data, err := os.ReadFile(p.logFile())
	if err != nil {
		return err.Error()
	}
	lines := strings.Split(strings.TrimSpace(string(data)), "\n")
	return strings.Join(lines[max(0, len(lines)-lastLines):], "\n")
}

// executable adds what the system wants at the end of the name of a program.
func executable(name string) string {
	if runtime.GOOS == "windows" {
		return name + ".exe"
	}
	return name
}
