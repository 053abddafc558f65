package netsim

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"prefix_exporter/lab/testenv"
)

const (
	// outsideEnv holds the inode of the network namespace that a process was taken out of. Whoever has it
	// and finds itself in another namespace may build a lab there.
	outsideEnv = "PREFIX_EXPORTER_NETSIM_OUTSIDE"
	// reasonEnv says why a test binary could not be taken into a namespace of its own.
	reasonEnv = "PREFIX_EXPORTER_NETSIM_REASON"
)

// Runner is a testing.M, or what wraps one.
type Runner interface{ Run() int }

// Main is the whole of a TestMain: it runs the tests of the binary inside a fresh network namespace, by
// running the binary again in there with the same arguments, and exits with the code of that. Where that
// is not permitted the tests run where they are, and those that call RequireLab skip.
func Main(m Runner) { os.Exit(Inside(m).Run()) }

// Inside is for a TestMain that has more to do: its Run does what Main does, and returns the exit code.
// So for example goleak.VerifyTestMain(netsim.Inside(m)).
func Inside(m Runner) Runner { return inside{m} }

type inside struct{ m Runner }

func (i inside) Run() int {
	if os.Getenv(reasonEnv) != "" {
		return i.m.Run()
	}
	in, err := Prepare()
	if !in {
		var code int
		if code, err = Reexec(nil); err == nil {
			return code
		}
	}
	if err != nil {
		os.Setenv(reasonEnv, err.Error())
	}
	return i.m.Run()
}

// RequireLab skips a test that uses a lab (see testenv.Skip) where timed tests are not wanted (testenv.Timed), or
// where no lab can be built. The package's TestMain must call Main.
func RequireLab(t testing.TB) {
	t.Helper()
	testenv.Timed(t)
	if err := possible(); err != nil {
		testenv.Skip(t, "the lab is needed: "+err.Error())
	}
}

// possible says why no lab can be built here, or nil.
func possible() error {
	if err := insideNamespace(); err != nil {
		return err
	}
	f, err := os.OpenFile(tunFile, os.O_RDWR, 0)
	if err != nil {
		return fmt.Errorf("open TUN: %w", err)
	}
	return f.Close()
}

// Prepare tells whether the process lives in a network namespace of its own, made by Reexec, and if so
// makes the namespace fit for a lab: loopback is up, datagram ICMP sockets are open to every group, and
// packets are not refused because of their source.
func Prepare() (inside bool, err error) {
	if insideNamespace() != nil {
		return false, nil
	}
	if err := linkUp("lo"); err != nil {
		return true, fmt.Errorf("bring up loopback: %w", err)
	}
	// In a user namespace that maps one group only, the kernel takes no other number.
	const pingGroups = "net/ipv4/ping_group_range"
	if setSysctl(pingGroups, "0 2147483647") != nil {
		if err := setSysctl(pingGroups, "0 0"); err != nil {
			return true, err
		}
	}
	// IPv4 settings are copied from the machine, where reverse path filtering may be on.
	for _, scope := range []string{"all", "default"} {
		if err := setSysctl("net/ipv4/conf/"+scope+"/rp_filter", "0"); err != nil {
			return true, err
		}
	}
	return true, nil
}

func setSysctl(name, value string) error {
	if err := os.WriteFile("/proc/sys/"+name, []byte(value), 0); err != nil {
		return fmt.Errorf("set sysctl: %w", err)
	}
	return nil
}

// insideNamespace returns nil when the process lives in a network namespace that Reexec made, or that was
// made inside of it.
func insideNamespace() error {
	if reason := os.Getenv(reasonEnv); reason != "" {
		return errors.New(reason)
	}
	outside := os.Getenv(outsideEnv)
	if outside == "" {
		return errors.New("not in a network namespace of its own (TestMain must call netsim.Main)")
	}
	here, err := namespaceID()
	if err != nil {
		return err
	}
	if here == outside {
		return errors.New("still in the network namespace outside of the lab")
	}
	return nil
}

// namespaceID is the inode of the network namespace of the calling thread.
func namespaceID() (string, error) {
	var st unix.Stat_t
	if err := unix.Stat("/proc/thread-self/ns/net", &st); err != nil {
		return "", fmt.Errorf("find the network namespace: %w", err)
	}
	return strconv.FormatUint(st.Ino, 10), nil
}

// Reexec runs this program again, with its arguments, standard files and environment, in a fresh network
// namespace, waits for its end and returns its exit code (128 and the signal, when one ended it). The
// files are its file descriptors from 3 on. Signals are passed on, and the child does not outlive this
// process. Root needs nothing else; others get a user namespace as well, in which they are root. The
// error says why there is no such namespace.
//
// The program must find out at its beginning, by Prepare, that it is the child.
func Reexec(files []*os.File) (code int, err error) {
	if os.Getenv(outsideEnv) != "" {
		// Never a second time, whatever went wrong the first: that would go on for ever.
		if err := insideNamespace(); err != nil {
			return 0, err
		}
		return 0, errors.New("in a network namespace of its own already")
	}
	here, err := namespaceID()
	if err != nil {
		return 0, err
	}
	self, err := os.Executable()
	if err != nil {
		return 0, err
	}
	cmd := exec.Command(self, os.Args[1:]...)
	cmd.Args[0] = os.Args[0]
	cmd.Env = append(os.Environ(), outsideEnv+"="+here)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.ExtraFiles = files
	cmd.SysProcAttr = namespaceAttr()
	if code, err = Supervise(cmd); err != nil {
		return 0, fmt.Errorf("make a network namespace: %w", err)
	}
	return code, nil
}

// namespaceAttr asks for a new network namespace, and for the user namespace that others than root need for it.
func namespaceAttr() *syscall.SysProcAttr {
	attr := &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWNET}
	if os.Geteuid() != 0 {
		attr.Cloneflags |= unix.CLONE_NEWUSER
		attr.UidMappings = []syscall.SysProcIDMap{{HostID: os.Geteuid(), Size: 1}}
		attr.GidMappings = []syscall.SysProcIDMap{{HostID: os.Getegid(), Size: 1}}
	}
	return attr
}
