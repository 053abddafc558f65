//go:build linux

package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// stopPatience is how long a program may take to end after it was asked to; the
// exporter promises 5 s.
const stopPatience = 10 * time.Second

// process is one running program under measurement.
type process struct {
	cmd            *exec.Cmd
	stdout, stderr bytes.Buffer // to be read after stop only
	began, ended   time.Time
	done           chan struct{} // closed when it has ended, with
	exit           error         // how
}

func startProcess(path string, args []string) (*process, error) {
	p := &process{cmd: exec.Command(path, args...), done: make(chan struct{})}
	p.cmd.Stdout, p.cmd.Stderr = &p.stdout, &p.stderr
	p.cmd.SysProcAttr = &syscall.SysProcAttr{
		Setpgid:   true,            // ^C is for the harness, which then stops its programs in order
		Pdeathsig: syscall.SIGKILL, // nothing is left behind when the harness itself is killed
	}
	if err := p.cmd.Start(); err != nil {
		return nil, err
	}
	p.began = time.Now()
	go func() {
		p.exit = p.cmd.Wait()
		close(p.done)
	}()
	return p, nil
}

// stop ends the program, with force if asking does not help, and waits for it. How
// it takes the interrupt is its own affair: fping exits with 1, others die of it.
func (p *process) stop() error {
	if !p.ended.IsZero() {
		return nil
	}
	p.ended = time.Now()
	if err := p.cmd.Process.Signal(os.Interrupt); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("stopping %s: %w", p.cmd.Path, err)
	}
	select {
	case <-p.done:
		return nil
	case <-time.After(stopPatience):
		_ = p.cmd.Process.Kill() // it may have ended just now
		<-p.done
		return fmt.Errorf("%s did not end within %v of an interrupt", p.cmd.Path, stopPatience)
	}
}

// gone returns an error, with the program's last words, if it has ended by itself.
func (p *process) gone() error {
	select {
	case <-p.done:
		p.ended = time.Now()
		err := p.exit
		if err == nil {
			err = errors.New("exit status 0")
		}
		lines := strings.Split(strings.TrimSpace(p.stderr.String()), "\n")
		return fmt.Errorf("%s ended too early: %w: %s", p.cmd.Path, err, strings.Join(lines[max(0, len(lines)-5):], " | "))
	default:
		return nil
	}
}

// cpu returns the processor time of all threads of the program, dead ones included.
// It reads the process's own clock (clock_getcpuclockid(3)), which is exact, whereas
// /proc/PID/stat counts in hundredths of a second.
func (p *process) cpu() (time.Duration, error) {
	const schedulerClock = 2 // CPUCLOCK_SCHED of the kernel's encoding: ^pid<<3 | clock
	var ts unix.Timespec
	if err := unix.ClockGettime(int32(^p.cmd.Process.Pid<<3|schedulerClock), &ts); err != nil {
		return 0, fmt.Errorf("reading the clock of process %d: %w", p.cmd.Process.Pid, err)
	}
	return time.Duration(ts.Nano()), nil
}

// peakRSS returns the high-water mark of resident memory in MiB (VmHWM of
// proc_pid_status(5)).
func (p *process) peakRSS() (float64, error) {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.cmd.Process.Pid))
	if err != nil {
		return 0, err
	}
	_, rest, _ := strings.Cut(string(status), "VmHWM:")
	fields := strings.Fields(rest)
	if len(fields) == 0 {
		return 0, errors.New("no VmHWM in the status of the process")
	}
	kib, err := strconv.ParseFloat(fields[0], 64)
	return kib / 1024, err
}
