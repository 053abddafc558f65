package e2e

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"prefix_exporter/lab/netsim"
	"prefix_exporter/lab/testenv"
)

// unitFile is the unit that the project ships.
const unitFile = repository + "/systemd/prefix_exporter.service"

// unit returns the values of the shipped unit by key, in their order.
func unit(t *testing.T) map[string][]string {
	t.Helper()
	data, err := os.ReadFile(unitFile)
	if err != nil {
		t.Fatal(err)
	}
	values := map[string][]string{}
	for line := range strings.Lines(string(data)) {
		key, value, found := strings.Cut(strings.TrimSpace(line), "=")
		if found && !strings.HasPrefix(key, "#") {
			values[key] = append(values[key], value)
		}
	}
	return values
}

func TestSystemdUnderstandsTheUnit(t *testing.T) {
	analyze := testenv.RequireProgram(t, "systemd-analyze", "systemd")
	data, err := os.ReadFile(unitFile)
	if err != nil {
		t.Fatal(err)
	}
	// The program is not installed where these tests run.
	const installed = "/usr/local/bin/prefix_exporter"
	text := strings.ReplaceAll(string(data), installed, os.Getenv(binaryEnv))
	if text == string(data) {
		t.Fatalf("the unit does not start %s", installed)
	}
	file := filepath.Join(t.TempDir(), "prefix_exporter.service")
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command(analyze, "verify", "--man=no", file).CombinedOutput(); err != nil || len(out) > 0 {
		t.Errorf("systemd-analyze verify: %v\n%s", err, out)
	}
	// 2.0 of 10; what is left is the network, which it is for, and the right to use it.
	if out, err := exec.Command(analyze, "security", "--offline=true", "--threshold=20", file).CombinedOutput(); err != nil {
		t.Errorf("systemd-analyze security: %v\n%s", err, out)
	}
}

// The capabilities of capabilities(7) that appear in these tests, as in /proc/PID/status.
const (
	noCapability = "0000000000000000"
	netRaw       = "0000000000002000" // CAP_NET_RAW is number 13
)

func TestTheExporterNeedsOneRightAlone(t *testing.T) {
	netsim.RequireLab(t) // the sysctl is that of the namespace
	setpriv := testenv.RequireProgram(t, "setpriv", "util-linux")
	for _, key := range []string{"AmbientCapabilities", "CapabilityBoundingSet"} {
		if got := unit(t)[key]; !slices.Equal(got, []string{"CAP_NET_RAW"}) {
			t.Fatalf("%s of the unit is %q; this test is about CAP_NET_RAW", key, got)
		}
	}
	const config = "prefixes:\n  - {prefix: 127.0.0.0/30, tcp: {ports: [10240], interval: 1s}, trace: off}\n"
	for name, test := range map[string]struct {
		mayPing      string // net.ipv4.ping_group_range
		capabilities string // as setpriv wants them
		effective    string
		socket       string // what kind it opens; empty: it ends, and says what it lacks
	}{
		"CAP_NET_RAW, as the unit gives it": {"1 0", "-all,+net_raw", netRaw, "raw"},
		"every user may ping":               {"0 2147483647", "-all", noCapability, "dgram"},
		"both":                              {"0 2147483647", "-all,+net_raw", netRaw, "dgram"},
		"neither":                           {"1 0", "-all", noCapability, ""},
	} {
		t.Run(name, func(t *testing.T) {
			mayPing(t, test.mayPing)
			file := filepath.Join(worldReadable(t), "prefix_exporter.yml")
			if err := os.WriteFile(file, []byte(config), 0o644); err != nil {
				t.Fatal(err)
			}
			p := spawn(t, "/", setpriv, "--reuid=65534", "--regid=65534", "--clear-groups", "--no-new-privs",
				"--inh-caps="+test.capabilities, "--ambient-caps="+test.capabilities, "--bounding-set="+test.capabilities,
				runnable(t), "--config.file="+file) // on all addresses: each of them has the port
			if test.socket == "" {
				<-p.done
				if p.exit == nil || !strings.Contains(p.said(), "ping_group_range") || !strings.Contains(p.said(), "CAP_NET_RAW") {
					t.Errorf("it ended with %v, want an error that names both rights", p.exit)
				}
				return
			}
			up := func(labels string) string {
				return "prefix_targets{" + labels + `,state="up"} 4`
			}
			until(t, "all addresses answer", func() string {
				p.alive()
				return lacks("http://"+exporterAddress+"/metrics", up(`prefix="127.0.0.0/24",probe="icmp"`))
			})
			until(t, "all ports answer", func() string {
				return lacks("http://"+exporterAddress+"/metrics", up(`port="10240",prefix="127.0.0.0/24",probe="tcp"`))
			})
			if lack := lacks("http://"+exporterAddress+"/metrics", fmt.Sprintf("prefix_exporter_sockets{kind=%q,probe=\"icmp\"} 1", test.socket)); lack != "" {
				t.Error(lack)
			}
			hasStatus(t, p.cmd.Process.Pid, map[string]string{"Uid": "65534", "CapEff": test.effective, "CapBnd": test.effective, "NoNewPrivs": "1"})
			p.terminate()
			if p.exit != nil {
				t.Errorf("it ended with %v, want exit status 0", p.exit)
			}
		})
	}
}

// mayPing sets who may ping, for the length of the test.
func mayPing(t *testing.T, groups string) {
	t.Helper()
	const sysctl = "/proc/sys/net/ipv4/ping_group_range"
	before, err := os.ReadFile(sysctl)
	if err == nil {
		err = os.WriteFile(sysctl, []byte(groups), 0o644)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.WriteFile(sysctl, before, 0o644); err != nil {
			t.Error(err)
		}
	})
}

// worldReadable is a folder that another user than that of the tests can reach.
func worldReadable(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "prefix_exporter-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	return dir
}

// runnable copies the exporter to where every user may run it.
func runnable(t *testing.T) string {
	t.Helper()
	data, err := os.ReadFile(os.Getenv(binaryEnv))
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(worldReadable(t), "prefix_exporter")
	if err := os.WriteFile(path, data, 0o755); err != nil {
		t.Fatal(err)
	}
	return path
}

// hasStatus compares lines of /proc/PID/status (proc(5)), their first word.
func hasStatus(t *testing.T, pid int, want map[string]string) {
	t.Helper()
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(data)) {
		key, rest, _ := strings.Cut(line, ":")
		if w, asked := want[key]; asked && strings.Fields(rest)[0] != w {
			t.Errorf("%s is %s, want %s", key, strings.TrimSpace(rest), w)
		}
	}
}

// The filter of the unit, with all that the exporter does under it. systemd is not there to
// apply it, but a container runtime takes the same list.
func TestTheSystemCallsOfTheUnitAreEnough(t *testing.T) {
	u := unit(t)
	filter, families := u["SystemCallFilter"], u["RestrictAddressFamilies"]
	if !slices.Equal(filter, []string{"@system-service", "~@privileged @resources"}) || !slices.Equal(families, []string{"AF_INET AF_INET6 AF_NETLINK"}) {
		t.Fatalf("the filter of the unit is %q, %q; this test knows another", filter, families)
	}
	groups := systemCallGroups(t)
	allowed := groups.members("@system-service")
	for _, group := range []string{"@privileged", "@resources"} {
		for name := range groups.members(group) {
			delete(allowed, name)
		}
	}
	if allowed["setpriority"] || !allowed["sendmmsg"] {
		t.Fatalf("the groups of systemd are not understood: %d system calls are allowed", len(allowed))
	}
	p := newPodman(t)
	p.write("seccomp.json", seccompProfile(t, allowed))
	image := composed(t, []string{"docker-compose.yml"})["exporter"].Image
	p.buildExporter(image)
	p.write("configuration/prefix_exporter.yml", "prefixes:\n"+
		"  - {prefix: 127.0.0.0/30, tcp: {ports: [10240], interval: 1s}, trace: {interval: 1s, protocol: icmp}}\n"+
		"  - {prefix: 127.0.1.0/30, interface: lo, source: 127.0.0.1, tcp: {ports: [10240], interval: 1s}, trace: off}\n")
	p.must("podman", "run", "--detach", "--name=exporter", "--network=host", "--cap-drop=ALL", "--user=65532", "--read-only",
		"--security-opt=no-new-privileges", "--security-opt=seccomp="+filepath.Join(p.dir, "seccomp.json"),
		"--volume="+filepath.Join(p.dir, "configuration")+":/etc/prefix_exporter:ro", image)
	mayPing(t, "0 2147483647")
	for _, prefix := range []string{"127.0.0.0/24", "127.0.1.0/24"} {
		for _, labels := range []string{`prefix="` + prefix + `",probe="icmp"`, `port="10240",prefix="` + prefix + `",probe="tcp"`} {
			until(t, "four answer of "+labels, func() string {
				return lacks("http://"+exporterAddress+"/metrics", "prefix_targets{"+labels+`,state="up"} 4`)
			})
		}
	}
	p.must("podman", "stop", "exporter") // storage is written at the end
	stdout, stderr, _ := p.run("podman", "logs", "exporter")
	if log := stdout + stderr; !strings.Contains(log, "msg=Ended") || strings.Contains(log, "level=error") {
		t.Errorf("it did not end in peace:\n%s", log)
	}
}

// systemCalls are the groups of systemd and what is in them, other groups among it.
type systemCalls map[string][]string

// systemCallGroups asks systemd.
func systemCallGroups(t *testing.T) systemCalls {
	t.Helper()
	out, err := exec.Command(testenv.RequireProgram(t, "systemd-analyze", "systemd"), "syscall-filter", "--no-pager").Output()
	if err != nil {
		t.Fatal(err)
	}
	groups, group := systemCalls{}, ""
	for line := range strings.Lines(string(out)) {
		switch word := strings.TrimSpace(line); {
		case word == "" || strings.HasPrefix(word, "#"):
		case strings.HasPrefix(line, "@"):
			group = word
		default:
			groups[group] = append(groups[group], word)
		}
	}
	return groups
}

// members are all system calls of a group, those of its groups included.
func (s systemCalls) members(group string) map[string]bool {
	all := map[string]bool{}
	for _, name := range s[group] {
		if !strings.HasPrefix(name, "@") {
			all[name] = true
			continue
		}
		for inner := range s.members(name) {
			all[inner] = true
		}
	}
	return all
}

// seccompProfile writes the filter as container runtimes read it (OCI runtime specification,
// Linux, seccomp): what is not allowed fails with EPERM, and sockets are those of the internet.
func seccompProfile(t *testing.T, allowed map[string]bool) string {
	t.Helper()
	const errnoEPERM = 1
	type condition struct {
		Index int    `json:"index"`
		Value int    `json:"value"`
		Op    string `json:"op"`
	}
	type rule struct {
		Names  []string    `json:"names"`
		Action string      `json:"action"`
		Args   []condition `json:"args,omitempty"`
	}
	everywhere := rule{Action: "SCMP_ACT_ALLOW"}
	for name := range allowed {
		if name != "socket" {
			everywhere.Names = append(everywhere.Names, name)
		}
	}
	slices.Sort(everywhere.Names)
	rules := []rule{everywhere}
	for _, family := range []int{2, 10, 16} { // AF_INET, AF_INET6, AF_NETLINK
		rules = append(rules, rule{[]string{"socket"}, "SCMP_ACT_ALLOW", []condition{{0, family, "SCMP_CMP_EQ"}}})
	}
	text, err := json.Marshal(map[string]any{"defaultAction": "SCMP_ACT_ERRNO", "defaultErrnoRet": errnoEPERM, "syscalls": rules})
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
