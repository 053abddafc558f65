package e2e

import (
	"bytes"
	"debug/buildinfo"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"gopkg.in/yaml.v3"

	"prefix_exporter/lab/e2e/tools"
	"prefix_exporter/lab/netsim"
	"prefix_exporter/lab/testenv"
)

// podmanConfig lets podman work where there is no systemd, and out of the way of whatever
// else uses it on this machine: DIR is a folder of the test.
const podmanConfig = `
[containers]
# Asking for more than the test has itself is refused in a machine without CAP_SYS_RESOURCE.
default_ulimits = ["nofile=4096:4096", "nproc=4096:4096"]
[engine]
runtime = "runc"
cgroup_manager = "cgroupfs"
events_logger = "file"
tmp_dir = "DIR/tmp"
[network]
network_backend = "netavark"
network_config_dir = "DIR/networks"
`

// podmanStorage keeps images and volumes in the same folder. The driver needs nothing of the
// file system, and the images are small.
const podmanStorage = `
[storage]
driver = "vfs"
graphroot = "DIR/root"
runroot = "DIR/run"
`

// podman runs containers in the namespace of the tests, from images that were built here.
type podman struct {
	t   *testing.T
	dir string
	env []string
}

// newPodman prepares podman, or skips the test where containers cannot be had.
func newPodman(t *testing.T) *podman {
	t.Helper()
	netsim.RequireLab(t) // the bridge and its rules vanish with the namespace
	if os.Geteuid() != 0 {
		testenv.Skip(t, "containers are started as root")
	}
	for program, debianPackage := range map[string]string{
		"podman": "podman", "podman-compose": "podman-compose", "runc": "runc", "buildah": "buildah", "iptables": "iptables",
		"/usr/lib/podman/netavark": "netavark", "/usr/lib/podman/aardvark-dns": "aardvark-dns",
	} {
		testenv.RequireProgram(t, program, debianPackage)
	}
	p := &podman{t: t, dir: t.TempDir()}
	for name, text := range map[string]string{"containers.conf": podmanConfig, "storage.conf": podmanStorage} {
		p.write(name, strings.ReplaceAll(text, "DIR", p.dir))
	}
	p.env = append(os.Environ(), "CONTAINERS_CONF="+filepath.Join(p.dir, "containers.conf"),
		"CONTAINERS_STORAGE_CONF="+filepath.Join(p.dir, "storage.conf"))
	t.Cleanup(func() {
		p.must("podman", "rm", "--all", "--force", "--time=1")
		p.must("podman", "volume", "prune", "--force")
	})
	return p
}

func (p *podman) write(name, text string) {
	p.t.Helper()
	path := filepath.Join(p.dir, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		p.t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		p.t.Fatal(err)
	}
}

// copyTo copies a program or a file into the folder of the test.
func (p *podman) copyTo(name, from string) {
	p.t.Helper()
	data, err := os.ReadFile(from)
	if err != nil {
		p.t.Fatal(err)
	}
	p.write(name, string(data))
	if err := os.Chmod(filepath.Join(p.dir, name), 0o755); err != nil {
		p.t.Fatal(err)
	}
}

// run runs a program with podman's environment and returns what it printed.
func (p *podman) run(name string, args ...string) (stdout, stderr string, err error) {
	cmd := exec.Command(name, args...)
	cmd.Env, cmd.Dir = p.env, p.dir
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	err = cmd.Run()
	return strings.TrimSpace(out.String()), strings.TrimSpace(errs.String()), err
}

func (p *podman) must(name string, args ...string) string {
	p.t.Helper()
	stdout, stderr, err := p.run(name, args...)
	if err != nil {
		p.t.Fatalf("%s %q: %v\n%s\n%s", name, args, err, stdout, stderr)
	}
	return stdout
}

// projectName is that of the containers, so that none of another project is meant.
const projectName = "prefix-exporter-e2e"

// compose starts some services of a file. podman-compose tells by its output alone whether
// one did not start; those who use them will notice.
func (p *podman) compose(file string, services ...string) {
	p.t.Helper()
	p.t.Cleanup(func() {
		if p.t.Failed() {
			for _, service := range services {
				stdout, stderr, _ := p.run("podman", "logs", "--tail=20", container(service))
				p.t.Logf("the last words of %s:\n%s\n%s", service, stdout, stderr)
			}
		}
	})
	p.must("podman-compose", append([]string{"--project-name", projectName, "--file", file, "up", "--detach", "--no-build"}, services...)...)
}

// mergedFile writes one file for several: podman-compose 1.0 appends the list of a second file
// where docker-compose replaces it, and wants sysctls as a list where that one writes a map.
func (p *podman) mergedFile(files []string) string {
	p.t.Helper()
	var project map[string]any
	if err := yaml.Unmarshal(merged(p.t, files), &project); err != nil {
		p.t.Fatal(err)
	}
	services, _ := project["services"].(map[string]any)
	for _, s := range services {
		service, _ := s.(map[string]any)
		sysctls, _ := service["sysctls"].(map[string]any)
		if len(sysctls) == 0 {
			continue
		}
		var list []string
		for name, value := range sysctls {
			list = append(list, fmt.Sprintf("%s=%v", name, value))
		}
		service["sysctls"] = list
	}
	text, err := yaml.Marshal(project)
	if err != nil {
		p.t.Fatal(err)
	}
	p.write("docker-compose.yml", string(text))
	return filepath.Join(p.dir, "docker-compose.yml")
}

// container is the name that podman-compose gives.
func container(service string) string { return projectName + "_" + service + "_1" }

// buildExporter builds the image of the exporter from the real Dockerfile. Nothing can be downloaded
// here, so that the image it begins with is one of our own by the same name: a shell,
// the Go of this machine, and its caches.
func (p *podman) buildExporter(image string) {
	p.t.Helper()
	const shell = "golang/bin/busybox"
	p.copyTo(shell, testenv.RequireProgram(p.t, "busybox", "busybox-static"))
	for _, applet := range []string{"sh", "mkdir", "cp"} {
		if err := os.Symlink("busybox", filepath.Join(p.dir, filepath.Dir(shell), applet)); err != nil {
			p.t.Fatal(err)
		}
	}
	p.copyTo("golang/etc/ssl/certs/ca-certificates.crt", "/etc/ssl/certs/ca-certificates.crt")
	p.write("golang/tmp/README", "room for the compiler\n")
	requireModules(p.t)
	caches := strings.Fields(p.must("go", "env", "GOROOT", "GOMODCACHE", "GOCACHE"))
	p.write("golang/Containerfile", "FROM scratch\nCOPY . /\nENV PATH="+caches[0]+"/bin:/bin HOME=/\n")
	dockerfile, err := os.ReadFile(filepath.Join(repository, "Dockerfile"))
	if err != nil {
		p.t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(dockerfile), "FROM --platform=$BUILDPLATFORM ")
	base, _, found := strings.Cut(rest, " AS build\n")
	if !found {
		p.t.Fatal("the Dockerfile does not begin with an image to build in")
	}
	p.must("podman", "build", "--quiet", "--tag", base, filepath.Join(p.dir, "golang"))

	args := []string{"build", "--format=docker", "--env=GOPROXY=off", "--env=GOTOOLCHAIN=local",
		"--env=GOMODCACHE=" + caches[1], "--env=GOCACHE=" + caches[2], "--build-arg=VERSION=1.2.3",
		"--build-arg=TARGETOS=" + runtime.GOOS, "--build-arg=TARGETARCH=" + runtime.GOARCH, "--tag", image}
	for _, folder := range caches {
		args = append(args, "--volume="+folder+":"+folder)
	}
	root, err := filepath.Abs(repository)
	if err != nil {
		p.t.Fatal(err)
	}
	p.must("podman", append(args, root)...)
}

// requireModules makes sure that all modules are in the cache, as the Dockerfile wants them.
func requireModules(t *testing.T) {
	t.Helper()
	cmd := exec.Command("go", "mod", "download")
	cmd.Dir, cmd.Env = repository, append(os.Environ(), "GOPROXY=off")
	if out, err := cmd.CombinedOutput(); err != nil {
		testenv.Skip(t, fmt.Sprintf("needs all modules (go mod download): %s", out))
	}
}

// buildTool makes an image like that of Prometheus or Alertmanager, without a shell: the program and
// its tool, and a folder for its data that belongs to nobody, as there.
func (p *podman) buildTool(image string, programs ...string) {
	p.t.Helper()
	name := programs[0]
	for _, program := range programs {
		p.copyTo(name+"/image/bin/"+program, tools.Require(p.t, program))
	}
	p.write(name+"/image/etc/"+name+"/README", "configuration\n")
	p.write(name+"/data/README", "data\n")
	p.write(name+"/Containerfile", "FROM scratch\nCOPY image /\nCOPY --chown=65534:65534 data /"+name+
		"\nUSER 65534\nWORKDIR /"+name+"\nVOLUME /"+name+"\nENTRYPOINT [\"/bin/"+name+"\"]\n")
	p.must("podman", "build", "--quiet", "--tag", image, filepath.Join(p.dir, name))
}

func TestTheStackRunsInContainers(t *testing.T) {
	p := newPodman(t)
	files := []string{"docker-compose.yml"}
	services := composed(t, files)
	p.buildExporter(services["exporter"].Image)
	p.buildTool(services["prometheus"].Image, "prometheus", "promtool")
	p.buildTool(services["alertmanager"].Image, "alertmanager", "amtool")
	names := []string{"exporter", "prometheus", "alertmanager"} // Grafana cannot be built here
	file, err := filepath.Abs(filepath.Join(repository, files[0]))
	if err != nil {
		t.Fatal(err)
	}
	p.compose(file, names...)

	until(t, "every address answers on the page and in the metrics", func() string {
		return lacks("http://127.0.0.1:10240/metrics", `prefix_targets{prefix="127.0.0.0/24",probe="icmp",state="up"} 256`)
	})
	until(t, "a TCP port answers, too", func() string {
		return lacks("http://127.0.0.1:10240/metrics", `prefix_targets{port="10240",prefix="127.0.0.0/24",probe="tcp",state="up"} 256`)
	})
	// The page itself, one of the files that it is made of, and what it asks for.
	for path, text := range map[string]string{"/": "/assets/main.js", "/assets/main.js": "import", "/api/v1/prefixes": `"127.0.0.0/24"`} {
		if lack := lacks("http://127.0.0.1:10240"+path, text); lack != "" {
			t.Errorf("%s: %s", path, lack)
		}
	}
	until(t, "Alertmanager is ready", func() string { return lacks("http://127.0.0.1:9093/-/ready", "OK") })
	until(t, "Prometheus has scraped the exporter", func() string {
		return lacks(`http://127.0.0.1:9090/api/v1/query?query=up{job="prefix_exporter"}==1`, `"exporter:10240"`)
	})
	until(t, "Prometheus knows Alertmanager", func() string {
		return lacks("http://127.0.0.1:9090/api/v1/alertmanagers", `"http://alertmanager:9093/`)
	})
	rulesAreLoaded(t)
	for _, name := range names {
		t.Run("the health check of "+name, func(t *testing.T) { p.isHealthy(t, name, services[name].Healthcheck.Test[1:]) })
		t.Run("the rights of "+name, func(t *testing.T) { p.hasNoRights(t, name) })
		t.Run("the version of "+name, func(t *testing.T) { p.isOfVersion(t, name, services[name].Image) })
	}
	t.Run("the health check of an exporter that is not there", func(t *testing.T) {
		_, stderr, err := p.run("podman", "exec", container("exporter"), "/prefix_exporter", "healthy", "http://127.0.0.1:1/-/ready")
		if err == nil || !strings.Contains(stderr, "connection refused") {
			t.Errorf("got %v, %q, want a refusal", err, stderr)
		}
	})
}

func TestTheExporterRunsInAContainerWithARawSocket(t *testing.T) {
	p := newPodman(t)
	files := composeFiles()["with raw sockets"]
	p.buildExporter(composed(t, files)["exporter"].Image)
	p.compose(p.mergedFile(files), "exporter")
	until(t, "every address answers", func() string {
		return lacks("http://127.0.0.1:10240/metrics", `prefix_targets{prefix="127.0.0.0/24",probe="icmp",state="up"} 256`)
	})
	if got := p.must("podman", "top", container("exporter"), "capeff"); !slices.Equal(strings.Split(got, "\n")[1:], []string{"NET_RAW"}) {
		t.Errorf("its capabilities are %q, want NET_RAW alone", got)
	}
	// Its storage is written at the end, at the latest.
	p.must("podman", "stop", container("exporter"))
	folder := p.must("podman", "volume", "inspect", "--format={{.Mountpoint}}", projectName+"_exporter-raw")
	known, err := os.ReadFile(filepath.Join(folder, "known.json"))
	if err != nil || !strings.Contains(string(known), `"127.0.0.7"`) {
		t.Errorf("what it knows: %v, %d bytes", err, len(known))
	}
}

// lacks asks a URL and says what is wrong with the answer if it has no such text.
func lacks(url, text string) string {
	answer, err := client.Get(strings.NewReplacer("{", "%7B", "}", "%7D", `"`, "%22", "==", "%3D%3D").Replace(url))
	if err != nil {
		return err.Error()
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	if err != nil {
		return err.Error()
	}
	if answer.StatusCode != http.StatusOK || !strings.Contains(string(body), text) {
		return answer.Status + ", without " + text
	}
	return ""
}

// rulesAreLoaded checks that Prometheus has found our rules and that all of them make sense to it.
func rulesAreLoaded(t *testing.T) {
	t.Helper()
	answer, err := client.Get("http://127.0.0.1:9090/api/v1/rules")
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	var body struct {
		Data struct {
			Groups []struct {
				Name  string
				Rules []struct{ Name, Type, LastError string }
			}
		}
	}
	if err := json.NewDecoder(answer.Body).Decode(&body); err != nil {
		t.Fatal(err)
	}
	number := map[string]int{}
	for _, g := range body.Data.Groups {
		for _, r := range g.Rules {
			number[r.Type]++
			if r.LastError != "" {
				t.Errorf("rule %s of %s: %s", r.Name, g.Name, r.LastError)
			}
		}
	}
	if number["recording"] == 0 || number["alerting"] == 0 {
		t.Errorf("rules by type: %v, want recording and alerting ones", number)
	}
}

// isHealthy runs the health check of the compose file. podman itself runs it by timers of systemd,
// and podman-compose hands it to a shell, so it is tried as Docker runs it.
func (p *podman) isHealthy(t *testing.T, service string, check []string) {
	t.Helper()
	if stdout, stderr, err := p.run("podman", append([]string{"exec", container(service)}, check...)...); err != nil {
		t.Errorf("%q: %v\n%s\n%s", check, err, stdout, stderr)
	}
}

// hasNoRights checks that a container has no capability, no root and no shell.
func (p *podman) hasNoRights(t *testing.T, service string) {
	t.Helper()
	lines := strings.Split(p.must("podman", "top", container(service), "user", "capeff", "capbnd"), "\n")
	if len(lines) < 2 {
		t.Fatalf("nothing runs: %q", lines)
	}
	for _, line := range lines[1:] {
		if f := strings.Fields(line); len(f) != 3 || f[0] == "root" || f[0] == "0" || f[1] != "none" || f[2] != "none" {
			t.Errorf("user and capabilities are %q, want another user and none", f)
		}
	}
	if stdout, _, err := p.run("podman", "exec", container(service), "/bin/sh", "-c", "echo here"); err == nil || stdout != "" {
		t.Errorf("it has a shell: %q", stdout)
	}
}

// isOfVersion checks that the version in the compose file is the one that all tests run.
func (p *podman) isOfVersion(t *testing.T, service, image string) {
	t.Helper()
	if service == "exporter" {
		if got := p.must("podman", "exec", container(service), "/prefix_exporter", "--version"); !strings.Contains(got, "version 1.2.3 ") {
			t.Errorf("the version given at the build is not in %q", got)
		}
		return
	}
	path := tools.Require(t, service)
	_, version, _ := strings.Cut(image, ":v")
	if service == "prometheus" {
		// Its module stays below v1: 3.16.0 is v0.316.0.
		build, err := buildinfo.ReadFile(path)
		var major, minor, patch int
		if _, scanned := fmt.Sscanf(version, "%d.%d.%d", &major, &minor, &patch); err != nil || scanned != nil {
			t.Fatal(err, scanned)
		}
		if want := fmt.Sprintf("v0.%d%02d.%d", major, minor, patch); build.Main.Version != want {
			t.Errorf("the tests run %s, the compose file has %s", build.Main.Version, want)
		}
		return
	}
	if got := p.must(path, "--version"); !strings.Contains(got, "version "+version+" ") {
		t.Errorf("the tests run %q, the compose file has %s", got, image)
	}
}
