package netsim_test

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"prefix_exporter/lab/netsim"
	"prefix_exporter/lab/testenv"
)

// helperEnv makes TestHelper of a fresh copy of this test binary do something.
const helperEnv = "PREFIX_EXPORTER_TEST_HELPER"

// TestHelper runs inside of a namespace that the copy made for itself.
func TestHelper(t *testing.T) {
	switch os.Getenv(helperEnv) {
	case "pass":
	case "fail":
		t.Fail()
	case "exit 7":
		os.Exit(7)
	case "sleep":
		fmt.Println("pid", os.Getpid())
		time.Sleep(time.Minute)
	case "require":
		netsim.RequireLab(t)
	default:
		t.Skip("for other tests")
	}
}

// helper is a copy of the test binary that makes its own namespace.
func helper(what string, env ...string) *exec.Cmd {
	cmd := exec.Command(os.Args[0], "-test.run=^TestHelper$", "-test.v")
	for _, e := range os.Environ() {
		if !strings.HasPrefix(e, "PREFIX_EXPORTER_") {
			cmd.Env = append(cmd.Env, e)
		}
	}
	cmd.Env = append(append(cmd.Env, helperEnv+"="+what), env...)
	return cmd
}

func TestMainPassesFlagsAndExitCodes(t *testing.T) {
	netsim.RequireLab(t)
	profile := filepath.Join(t.TempDir(), "cpu.prof")
	for what, want := range map[string]int{"pass": 0, "fail": 1, "exit 7": 7} {
		cmd := helper(what)
		cmd.Args = append(cmd.Args, "-test.cpuprofile="+profile)
		out, err := cmd.CombinedOutput()
		if err != nil && !errors.As(err, new(*exec.ExitError)) {
			t.Fatal(err)
		}
		if got := cmd.ProcessState.ExitCode(); got != want || !strings.Contains(string(out), "=== RUN   TestHelper") {
			t.Errorf("%s: exit code %d, want %d\n%s", what, got, want, out)
		}
	}
	if _, err := os.Stat(profile); err != nil {
		t.Error(err)
	}
}

func TestChildSharesTheFateOfItsParent(t *testing.T) {
	netsim.RequireLab(t)
	for _, s := range []syscall.Signal{syscall.SIGTERM, syscall.SIGKILL} {
		cmd := helper("sleep")
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		child := 0
		for lines := bufio.NewScanner(out); child == 0 && lines.Scan(); {
			fmt.Sscanf(lines.Text(), "pid %d", &child)
		}
		if child == 0 || child == cmd.Process.Pid {
			t.Fatalf("child %d, parent %d", child, cmd.Process.Pid)
		}
		cmd.Process.Signal(s)
		cmd.Wait()
		if got := cmd.ProcessState.ExitCode(); s == syscall.SIGTERM && got != 128+int(syscall.SIGTERM) {
			t.Errorf("%s: exit code %d", s, got)
		}
		for end := time.Now().Add(5 * time.Second); alive(child); time.Sleep(time.Millisecond) {
			if time.Now().After(end) {
				t.Errorf("%s: the child lives on", s)
				syscall.Kill(child, syscall.SIGKILL)
				break
			}
		}
	}
}

// alive tells whether a process exists and is no zombie.
func alive(pid int) bool {
	stat, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	return err == nil && !strings.Contains(string(stat), ") Z ")
}

func TestWithoutNamespaceTestsSkipOrFail(t *testing.T) {
	netsim.RequireLab(t)
	const reason = "PREFIX_EXPORTER_NETSIM_REASON=because"
	out, err := helper("require", reason, testenv.TimedEnv+"=1").CombinedOutput()
	if err != nil || !strings.Contains(string(out), "--- SKIP") || !strings.Contains(string(out), "the lab is needed: because") {
		t.Errorf("%v\n%s", err, out)
	}
	out, err = helper("require", reason, testenv.TimedEnv+"=1", testenv.NoSkipEnv+"=1").CombinedOutput()
	if err == nil || !strings.Contains(string(out), "--- FAIL") || !strings.Contains(string(out), "the lab is needed: because") {
		t.Errorf("%v\n%s", err, out)
	}
}
