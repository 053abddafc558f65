package main

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"prefix_exporter/lab/netsim"
	"prefix_exporter/lab/testenv"
)

// asCommand makes a copy of this test binary be the command.
const asCommand = "PREFIX_EXPORTER_TEST_NETSIM"

func TestMain(m *testing.M) {
	if os.Getenv(asCommand) != "" {
		main()
	}
	netsim.Main(m)
}

// command is netsim as from a shell outside of any lab.
func command(args ...string) *exec.Cmd {
	cmd := exec.Command(os.Args[0], args...)
	for _, e := range os.Environ() {
		if !strings.HasPrefix(e, "PREFIX_EXPORTER_NETSIM") {
			cmd.Env = append(cmd.Env, e)
		}
	}
	cmd.Env = append(cmd.Env, asCommand+"=1")
	return cmd
}

const lively = "../../testdata/lively.yml"

func TestCommandRunsOnTheSimulatedInternet(t *testing.T) {
	netsim.RequireLab(t)
	testenv.RequireProgram(t, "ping", "iputils-ping")
	truth := filepath.Join(t.TempDir(), "truth.jsonl")
	cmd := command("--truth", truth, lively, "--", "sh", "-c", "ping -q -n -c 5 -i 0.01 192.0.2.1; exit 7")
	var out, errors bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errors
	cmd.Run()
	if got := cmd.ProcessState.ExitCode(); got != 7 {
		t.Errorf("exit code %d", got)
	}
	if !strings.Contains(out.String(), "5 packets transmitted") {
		t.Errorf("ping says\n%s", out.String())
	}
	if !strings.Contains(errors.String(), "192.0.2.0/24          1         5         5") {
		t.Errorf("the summary is\n%s", errors.String())
	}
	lines, err := os.ReadFile(truth)
	if err != nil {
		t.Fatal(err)
	}
	if n := bytes.Count(lines, []byte("\n")); n != 5 || !bytes.Contains(lines, []byte(`"dst":"192.0.2.1"`)) {
		t.Errorf("the truth is\n%s", lines)
	}
}

func TestPublishedPortLeadsInside(t *testing.T) {
	netsim.RequireLab(t)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	port := l.Addr().(*net.TCPAddr).Port
	l.Close()
	// Inside, a copy of this test binary answers.
	cmd := command("--publish", fmt.Sprintf("%d:7", port), lively, "--", "env", "-u", asCommand, serverEnv+"=1", os.Args[0], "-test.run=^TestServer$", "-test.v")
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	for lines := bufio.NewScanner(out); lines.Scan() && lines.Text() != "listening"; {
	}
	c, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", port))
	if err != nil {
		t.Fatal(err)
	}
	fmt.Fprint(c, "echo")
	c.(*net.TCPConn).CloseWrite()
	if got, err := io.ReadAll(c); string(got) != "echo" {
		t.Errorf("%q %v", got, err)
	}
	c.Close()
	cmd.Process.Signal(syscall.SIGTERM)
	cmd.Wait()
	if got := cmd.ProcessState.ExitCode(); got != 128+int(syscall.SIGTERM) {
		t.Errorf("exit code %d", got)
	}
}

const serverEnv = "PREFIX_EXPORTER_TEST_SERVER"

// TestServer echoes a connection at a time, until a signal ends it.
func TestServer(t *testing.T) {
	if os.Getenv(serverEnv) == "" {
		t.Skip("for other tests")
	}
	l, err := net.Listen("tcp", "127.0.0.1:7")
	if err != nil {
		t.Fatal(err)
	}
	fmt.Println("listening")
	for {
		c, err := l.Accept()
		if err != nil {
			t.Fatal(err)
		}
		io.Copy(c, c)
		c.Close()
	}
}

func TestMistakesEndTheCommand(t *testing.T) {
	bad := filepath.Join(t.TempDir(), "bad.yml")
	if err := os.WriteFile(bad, []byte("prefixes: [192.0.2.0/24]\nlost: 1"), 0o600); err != nil {
		t.Fatal(err)
	}
	for want, args := range map[string][]string{
		"netsim: required argument 'scenario' not provided": {},
		"netsim: read scenario: open nowhere.yml":           {"nowhere.yml"},
		"bad.yml:2: lost: unknown key":                      {bad},
		`netsim: --publish "70000": must be a port`:         {"--publish", "70000", lively},
	} {
		out, err := command(args...).CombinedOutput()
		if err == nil || !strings.Contains(string(out), want) {
			t.Errorf("%q: %v\n%s", args, err, out)
		}
	}
	netsim.RequireLab(t)
	out, err := command(lively, "--", "/no/such/program").CombinedOutput()
	if err == nil || !strings.Contains(string(out), "netsim: run the command: fork/exec /no/such/program: no such file") {
		t.Errorf("%v\n%s", err, out)
	}
}
