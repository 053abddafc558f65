package main

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// unit returns the values of the systemd unit that is shipped, by key, in their order.
func unit(t *testing.T) map[string][]string {
	t.Helper()
	data, err := os.ReadFile("../../systemd/prefix_exporter.service")
	if err != nil {
		t.Fatal(err)
	}
	values := map[string][]string{}
	for line := range strings.Lines(string(data)) {
		if key, value, found := strings.Cut(strings.TrimSpace(line), "="); found && !strings.HasPrefix(key, "#") {
			values[key] = append(values[key], value)
		}
	}
	return values
}

// line returns the arguments of a command of the unit, as systemd makes them (systemd.service(5), "Command lines").
func line(t *testing.T, command string, env map[string]string) []string {
	t.Helper()
	words := strings.Fields(command)
	if words[0] != "/usr/local/bin/prefix_exporter" {
		t.Fatalf("%s is not the exporter", words[0])
	}
	var args []string
	for _, word := range words[1:] {
		if name, ok := strings.CutPrefix(word, "$"); ok && !strings.HasPrefix(name, "{") {
			args = append(args, strings.Fields(env[name])...)
			continue
		}
		args = append(args, os.Expand(word, func(name string) string { return env[name] }))
	}
	return args
}

// `systemctl reload` fails for a file that is wrong, a start with one is not tried again, and both mean the same file.
func TestTheUnitTellsAMistakeFromTrouble(t *testing.T) {
	u := unit(t)
	if got := u["RestartPreventExitStatus"]; !slices.Equal(got, []string{fmt.Sprint(statusConfig)}) || statusConfig == statusError {
		t.Errorf("RestartPreventExitStatus is %q", got)
	}
	reload := u["ExecReload"]
	if len(reload) != 2 || reload[1] != "/bin/kill -HUP $MAINPID" {
		t.Fatalf("ExecReload is %q, want a check and the signal", reload)
	}
	dir := t.TempDir()
	env := map[string]string{"CONFIGURATION_DIRECTORY": dir, "STATE_DIRECTORY": t.TempDir(), "ARGS": "--web.listen-address=127.0.0.1:0 --log.level=error"}
	file := filepath.Join(dir, "prefix_exporter.yml")
	start := line(t, u["ExecStart"][0], env)
	if !slices.Contains(start, "--config.file="+file) || !slices.Contains(start, "--log.level=error") {
		t.Fatalf("it is started with %q", start)
	}
	check := line(t, reload[0], env)
	for text, want := range map[string]struct{ check, start int }{
		"prefixes: [127.0.1.0/30]\n": {statusOK, -1},
		"prefixes: []\n":             {statusOK, -1},
		"prefixes: [127.0.1.0/33]\n": {statusError, statusConfig},
		"":                           {statusError, statusConfig},
	} {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if got := execute(t, check...); got.Status != want.check || got.Stdout != "" {
			t.Errorf("%q: check: %+v, want status %d", text, got, want.check)
		}
		if want.start < 0 {
			continue
		}
		if got := execute(t, start...); got.Status != want.start || got.Stderr == "" {
			t.Errorf("%q: start: %+v, want status %d", text, got, want.start)
		}
	}
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	if got := execute(t, start...); got.Status != statusConfig {
		t.Errorf("without a file: %+v", got)
	}
}
