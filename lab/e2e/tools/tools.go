// Package tools has the real Prometheus and Alertmanager programs that the tests
// run: it finds them in a cache of the project, and builds them there, at pinned
// versions and from the Go module proxy alone, when it is asked to.
package tools

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"

	"prefix_exporter/lab/testenv"
)

const (
	// DirEnv names the environment variable that replaces the cache: the programs
	// are then taken from exactly that directory, under their plain names and
	// whatever their version, and are built there when they are missing.
	DirEnv = "PREFIX_EXPORTER_TOOLS_DIR"

	// BuildCommand is what a developer runs once, in the root of the module, to
	// have every program. It is part of the message of a skipped test.
	BuildCommand = "go run ./lab/e2e/tools/cmd/tools"
)

// module is a Go module at the one version that the tests are written for.
type module struct {
	path    string
	version string
	// release is what the program itself says to --version.
	release string
}

// name is the last element of the module path, "prometheus".
func (m module) name() string {
	return m.path[strings.LastIndexByte(m.path, '/')+1:]
}

// tool is one program and how it is built.
type tool struct {
	name   string
	module module
	// tags are the build tags that leave out what no test uses.
	tags string
	// stubUI says that the module embeds web assets which it does not carry, so
	// that the program is built from a copy of the module with a page put in.
	stubUI string
}

// pkg is the import path of the program within its module.
func (t tool) pkg() string { return t.module.path + "/cmd/" + t.name }

// all returns every program in the order in which they are worth building: promtool
// before prometheus, because they share most packages and more tests need the first.
func all() []tool {
	// Prometheus keeps its module below v1, so 3.16.0 is v0.316.0. Alertmanager 0.34
	// is the oldest with the route labels and JSON payloads of our receivers.
	prometheus := module{"github.com/prometheus/prometheus", "v0.316.0", "3.16.0"}
	alertmanager := module{"github.com/prometheus/alertmanager", "v0.34.2", "0.34.2"}
	return []tool{
		// Without the service discoveries the build takes half as long; the tests
		// use static and file targets only.
		{name: "promtool", module: prometheus, tags: "remove_all_sd"},
		{name: "prometheus", module: prometheus, tags: "remove_all_sd"},
		{name: "amtool", module: alertmanager},
		// The published module lacks the compiled web page since 0.32.
		{name: "alertmanager", module: alertmanager, stubUI: "ui/app/dist/index.html"},
	}
}

// Names returns the names that Path, Find and Require accept.
func Names() []string {
	var names []string
	for _, t := range all() {
		names = append(names, t.name)
	}
	return names
}

func lookup(name string) (tool, error) {
	tools := all()
	i := slices.IndexFunc(tools, func(t tool) bool { return t.name == name })
	if i < 0 {
		return tool{}, fmt.Errorf("tool %q: must be one of %s", name, strings.Join(Names(), ", "))
	}
	return tools[i], nil
}

// dir returns the directory that holds the program, which may not exist yet.
func (t tool) dir() (string, error) {
	if dir := os.Getenv(DirEnv); dir != "" {
		return filepath.Abs(dir)
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", fmt.Errorf("no cache directory, set %s: %w", DirEnv, err)
	}
	return filepath.Join(cache, "prefix_exporter-tools", t.module.name()+"-"+t.module.version), nil
}

// path returns where the program is or would be.
func (t tool) path() (string, error) {
	dir, err := t.dir()
	if err != nil {
		return "", err
	}
	name := t.name
	if runtime.GOOS == "windows" {
		name += ".exe"
	}
	return filepath.Join(dir, name), nil
}

// Find returns the absolute path of a program that has been built before. It never
// builds; the error says how to, and wraps fs.ErrNotExist, when it is missing.
func Find(name string) (string, error) {
	t, err := lookup(name)
	if err != nil {
		return "", err
	}
	path, err := t.path()
	if err != nil {
		return "", err
	}
	if _, err := os.Stat(path); err != nil {
		return "", fmt.Errorf("%s %s has not been built (%s %s): %w", name, t.module.version, BuildCommand, name, err)
	}
	return path, nil
}

// Path returns the absolute path of a program and builds it first where that has
// not been done, which takes minutes with empty caches and needs the Go command.
// What the Go command says goes to log. It blocks while another process builds the
// same program; cancelling the context ends the wait and the build.
func Path(ctx context.Context, name string, log io.Writer) (string, error) {
	path, err := Find(name)
	if err == nil || !errors.Is(err, fs.ErrNotExist) {
		return path, err
	}
	t, err := lookup(name)
	if err != nil {
		return "", err
	}
	if err := t.buildLocked(ctx, log); err != nil {
		return "", fmt.Errorf("building %s@%s: %w", t.pkg(), t.module.version, err)
	}
	return Find(name)
}

// TB is the part of testing.TB that Require needs.
type TB interface {
	Helper()
	Skipf(format string, args ...any)
	Fatalf(format string, args ...any)
}

// Require returns the path of a program that the test cannot do without. Where it
// has not been built, the test is skipped with the command that builds it, or
// fails when testenv.NoSkipEnv is 1. It never builds: `go test ./...` stays quick.
func Require(tb TB, name string) string {
	tb.Helper()
	path, err := Find(name)
	switch {
	case err == nil:
	case errors.Is(err, fs.ErrNotExist) && os.Getenv(testenv.NoSkipEnv) != "1":
		tb.Skipf("needs a program: %v", err)
	default:
		tb.Fatalf("needs a program: %v", err)
	}
	return path
}
