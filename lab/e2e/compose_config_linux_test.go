package e2e

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"gopkg.in/yaml.v3"

	"prefix_exporter/lab/testenv"
)

// repository is the root of the source tree, as the tests see it.
const repository = "../.."

// composeService is what the tests look at of a service.
type composeService struct {
	Image       string
	Build       any
	Command     []string
	User        string
	CapAdd      []string `yaml:"cap_add"`
	CapDrop     []string `yaml:"cap_drop"`
	SecurityOpt []string `yaml:"security_opt"`
	ReadOnly    bool     `yaml:"read_only"`
	NetworkMode string   `yaml:"network_mode"`
	Restart     string
	Ports       []string
	Volumes     []string
	Healthcheck struct{ Test []string }
	Logging     struct{ Options map[string]string }
}

// composeFiles are the ways in which the stack is started.
func composeFiles() map[string][]string {
	return map[string][]string{
		"as it is":                      {"docker-compose.yml"},
		"in the network of the machine": {"docker-compose.yml", "deploy/host.yml"},
		"with raw sockets":              {"docker-compose.yml", "deploy/raw.yml"},
	}
}

// merged returns these files as docker-compose understands them together: one file.
func merged(t *testing.T, files []string) []byte {
	t.Helper()
	var args []string
	for _, f := range files {
		args = append(args, "--file", filepath.Join(repository, filepath.FromSlash(f)))
	}
	cmd := exec.Command(testenv.RequireProgram(t, "docker-compose", "docker-compose"), append(args, "--project-directory", repository, "config")...)
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil || stderr.String() != "" {
		t.Fatalf("%v: %v\n%s", cmd.Args, err, &stderr)
	}
	return out
}

// composed returns the services of these files together.
func composed(t *testing.T, files []string) map[string]composeService {
	t.Helper()
	var project struct{ Services map[string]composeService }
	if err := yaml.Unmarshal(merged(t, files), &project); err != nil {
		t.Fatal(err)
	}
	if len(project.Services) < 4 {
		t.Fatalf("%d services, want exporter, Prometheus, Alertmanager and Grafana", len(project.Services))
	}
	return project.Services
}

// rules of every service, each with what is wrong when it does not hold.
var composeRules = []struct {
	wrong string
	holds func(s composeService) bool
}{
	{"is started with capabilities", func(s composeService) bool { return slices.Equal(s.CapDrop, []string{"ALL"}) }},
	{"may become what it is not", func(s composeService) bool { return slices.Contains(s.SecurityOpt, "no-new-privileges:true") }},
	{"writes to its image", func(s composeService) bool { return s.ReadOnly }},
	{"is not started again", func(s composeService) bool { return s.Restart == "unless-stopped" }},
	{"has no health check without a shell", func(s composeService) bool {
		return len(s.Healthcheck.Test) > 1 && s.Healthcheck.Test[0] == "CMD"
	}},
	{"logs without an end", func(s composeService) bool {
		return s.Logging.Options["max-size"] != "" && s.Logging.Options["max-file"] != ""
	}},
	{"has an image without an exact version", func(s composeService) bool {
		return regexp.MustCompile(`:v?\d+\.\d+\.\d+$`).MatchString(s.Image)
	}},
	{"is published to everybody", func(s composeService) bool {
		return !slices.ContainsFunc(s.Ports, func(p string) bool { return !strings.HasPrefix(p, "127.0.0.1:") })
	}},
}

func TestComposeServicesGiveNothingAway(t *testing.T) {
	for name, files := range composeFiles() {
		t.Run(name, func(t *testing.T) {
			for service, s := range composed(t, files) {
				for _, rule := range composeRules {
					if !rule.holds(s) {
						t.Errorf("%s %s: %+v", service, rule.wrong, s)
					}
				}
			}
		})
	}
}

func TestComposeMountsWhatThereIs(t *testing.T) {
	root, err := filepath.Abs(repository)
	if err != nil {
		t.Fatal(err)
	}
	for name, files := range composeFiles() {
		t.Run(name, func(t *testing.T) {
			mounts := 0
			for service, s := range composed(t, files) {
				for _, volume := range s.Volumes {
					source, target, _ := strings.Cut(volume, ":")
					if !filepath.IsAbs(source) {
						continue // a named volume
					}
					mounts++
					if _, err := os.Stat(source); err != nil {
						t.Errorf("%s: %v", service, err)
					}
					if !strings.HasPrefix(source, root+"/") || !strings.HasSuffix(target, ":ro") {
						t.Errorf("%s mounts %s: must be of this folder, and read-only", service, volume)
					}
				}
			}
			if mounts < 6 {
				t.Errorf("%d files and folders are mounted, the stack has more", mounts)
			}
		})
	}
}

func TestOnlyTheRawVariationHasACapability(t *testing.T) {
	for name, files := range composeFiles() {
		for service, s := range composed(t, files) {
			var want []string
			if name == "with raw sockets" && service == "exporter" {
				want = []string{"NET_RAW"}
			}
			if !slices.Equal(s.CapAdd, want) {
				t.Errorf("%s, %s: cap_add %q, want %q", name, service, s.CapAdd, want)
			}
		}
	}
}

// No secret may be in a repository: what is put into secrets/ must not be seen by git,
// nor get into an image.
func TestSecretsStayWhereTheyAre(t *testing.T) {
	for _, folder := range []string{"alertmanager", "grafana"} {
		ignored, err := os.ReadFile(filepath.Join(repository, "secrets", folder, ".gitignore"))
		if err != nil || !slices.Contains(strings.Split(string(ignored), "\n"), "*") {
			t.Errorf("git does not ignore what is in secrets/%s: %v\n%s", folder, err, ignored)
		}
	}
	context, err := os.ReadFile(filepath.Join(repository, ".dockerignore"))
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(string(context), "\n")
	if !slices.Contains(lines, "*") || strings.Contains(string(context), "!secrets") {
		t.Errorf("secrets are part of the build context:\n%s", context)
	}
}
