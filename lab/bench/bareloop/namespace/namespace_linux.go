// Package namespace re-runs a program in a fresh network namespace: its own
// loopback and its own sysctls, so that a benchmark neither changes the host nor
// pays for the host's firewall and connection tracking. In there, a program may run
// itself once more for each part that is to be a process of its own.
package namespace

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"slices"

	"golang.org/x/sys/unix"
)

// insideEnv marks the program that runs in the namespace already.
const insideEnv = "PREFIX_EXPORTER_BENCH_NAMESPACE"

// pingGroups is where Linux keeps who may open datagram ICMP sockets. The file
// shows the namespace of whoever opens it, and each namespace starts closed.
const pingGroups = "/proc/sys/net/ipv4/ping_group_range"

// Enter puts the whole process into a fresh network namespace and returns in there.
// It has to be called first thing in main, because it starts the program over: a Go
// process has threads, and only exec moves all of them. Environment, arguments and
// the process id stay as they are, so signals and waits of a parent still work. The
// namespace goes away with its last process. It needs root (CAP_SYS_ADMIN).
func Enter() error {
	if os.Getenv(insideEnv) != "" {
		if err := os.Unsetenv(insideEnv); err != nil {
			return err
		}
		return prepare()
	}
	// Exec keeps the namespaces of the thread that calls it.
	runtime.LockOSThread()
	if err := unshare(); err != nil {
		return err
	}
	self, err := os.Executable() // a real name, for ps and killall
	if err != nil {
		return fmt.Errorf("starting over: %w", err)
	}
	return fmt.Errorf("starting over: %w", unix.Exec(self, os.Args, append(os.Environ(), insideEnv+"=1")))
}

// EnterThread is Enter for the calling goroutine alone: it is locked to its thread,
// which moves into the namespace and, as it cannot move back, ends with the
// goroutine. Sockets that it opens belong to the namespace, whoever uses them.
func EnterThread() error {
	runtime.LockOSThread()
	if err := unshare(); err != nil {
		return err
	}
	return prepare()
}

// Again makes the command that runs this program once more, with the same arguments
// and more behind them. What it complains of goes where our own complaints go.
func Again(more ...string) *exec.Cmd {
	self, err := os.Executable()
	if err != nil {
		self = os.Args[0]
	}
	cmd := exec.Command(self, append(slices.Clone(os.Args[1:]), more...)...)
	cmd.Stderr = os.Stderr
	return cmd
}

func unshare() error {
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		return fmt.Errorf("making a network namespace (needs root): %w", err)
	}
	return nil
}

// prepare brings the loopback up and opens datagram ICMP sockets to every group.
func prepare() error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("opening a control socket: %w", err)
	}
	defer unix.Close(fd)
	lo, err := unix.NewIfreq("lo")
	if err != nil {
		return err
	}
	lo.SetUint16(unix.IFF_UP | unix.IFF_RUNNING)
	if err := unix.IoctlIfreq(fd, unix.SIOCSIFFLAGS, lo); err != nil {
		return fmt.Errorf("bringing the loopback up: %w", err)
	}
	if err := os.WriteFile(pingGroups, []byte("0 2147483647"), 0); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("opening datagram ICMP sockets: %w", err)
	}
	return nil
}
