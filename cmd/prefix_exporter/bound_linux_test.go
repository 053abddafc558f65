package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// The most that a configuration which is wrong may cost.
const (
	mostMemory = 100 << 20
	mostCPU    = 2 * time.Second
)

// A file of a few megabytes cost 2.1 GB and 21 s, which ends a process that has a limit.
func TestWhatAWrongConfigurationCosts(t *testing.T) {
	if raceDetector {
		t.Skip("the race detector costs more than the program")
	}
	lines := func(n int, format string) string {
		var b strings.Builder
		for i := range n {
			fmt.Fprintf(&b, format, i>>16&255, i>>8&255, i&255)
		}
		return b.String()
	}
	many := func(n int, text string) map[string]string {
		all := map[string]string{"main.yml": "prefix_files: ['d/*.yml']\n"}
		for i := range n {
			all[fmt.Sprintf("d/%d.yml", i)] = text
		}
		return all
	}
	one := func(text string) map[string]string { return map[string]string{"main.yml": text} }
	for name, all := range map[string]map[string]string{
		"a list of empty maps":             one("prefixes: [" + strings.Repeat("{},", 1_300_000) + "]\n"),
		"a list of words":                  one("prefixes: [" + strings.Repeat("a,", 2_000_000) + "]\n"),
		"a map of words":                   one("prefixes: {" + strings.Repeat("a,", 2_000_000) + "}\n"),
		"a map of keys":                    one(lines(200_000, "k%d-%d-%d: a\n")),
		"as many empty maps as are read":   one("prefixes: [" + strings.Repeat("{},", 31_000) + "]\n"),
		"as many words as are read":        one("prefixes: [" + strings.Repeat("a,", 79_000) + "]\n"),
		"130,000 /24s":                     one("prefixes:\n" + lines(130_000, "  - prefix: 10.%d.%d.%d/24\n")),
		"as many /24s as are read":         one("prefixes:\n" + strings.ReplaceAll(lines(53_000, "  - prefix: %d.%d.%d.0/24\n"), ": 0.", ": 10.")),
		"prefixes, the last of them wrong": one("prefixes:\n" + lines(53_000, "  - prefix: 10.%d.%d.%d/32\n") + "  - prefix: 10.0.0.0/33\n"),
		"aliases":                          one("prefixes:\n  - {prefix: 10.0.0.0/32, icmp: &a {ttl: 3}}\n" + lines(20_000, "  - {prefix: 10.%d.%d.%d/32, icmp: *a}\n")),
		"aliases of long lists":            one("prefixes:\n  - names: &n {" + lines(15_000, "10.%d.%d.%d: x, ") + "}\n" + strings.Repeat("  - names: *n\n", 20_000)),
		"aliases of aliases":               one("x-0: &a0 [1,2,3,4,5,6,7,8]\n" + "x-1: &a1 [*a0,*a0,*a0,*a0,*a0,*a0,*a0,*a0]\nx-2: &a2 [*a1,*a1,*a1,*a1,*a1,*a1,*a1,*a1]\nprefixes: [*a2,*a2,*a2]\n"),
		"comments":                         one(strings.Repeat("# nothing, of: course\n", 190_000)),
		"a text of many lines":             one("prefixes: \"" + strings.Repeat("x\n", 2_000_000) + "\"\n"),
		"brackets":                         one("prefixes: " + strings.Repeat("[", 4_000_000)),
		"forty files of empty maps":        many(40, "["+strings.Repeat("{},", 1_300_000)+"]\n"),
		"a hundred files of /24s":          many(100, lines(20_000, "- 10.%d.%d.%d/24\n")),
		"forty files of comments":          many(40, strings.Repeat("# nothing\n", 400_000)+"[]\n"),
		"everything below /proc":           one("prefix_files: [/proc/*/*/*]\n"),
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			for path, text := range all {
				path = filepath.Join(dir, path)
				if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			memory, cpu, stderr := cost(t, "check", filepath.Join(dir, "main.yml"))
			if memory > mostMemory || cpu > mostCPU {
				t.Errorf("%d MiB and %s of CPU", memory>>20, cpu)
			}
			if len(stderr) == 0 || len(stderr) > 30_000 || !bytes.HasPrefix(stderr, []byte(dir)) {
				t.Errorf("said %.300s", stderr)
			}
			t.Logf("%d MiB, %s: %.200s", memory>>20, cpu, stderr)
		})
	}
}

// cost runs the program, which must fail, and returns what it took.
func cost(t *testing.T, args ...string) (memory int64, cpu time.Duration, stderr []byte) {
	t.Helper()
	c := command(t, args...)
	peak := filepath.Join(t.TempDir(), "status")
	c.Env = append(c.Env, memoryFile+"="+peak)
	var out bytes.Buffer
	c.Stderr = &out
	if err := c.Run(); err == nil || c.ProcessState == nil {
		t.Fatalf("ended with %v", err)
	}
	status, err := os.ReadFile(peak)
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(status)) {
		if n, _ := fmt.Sscanf(line, "VmHWM: %d kB", &memory); n == 1 {
			return memory << 10, c.ProcessState.UserTime() + c.ProcessState.SystemTime(), out.Bytes()
		}
	}
	t.Fatalf("no VmHWM in %s", status)
	return 0, 0, nil
}
