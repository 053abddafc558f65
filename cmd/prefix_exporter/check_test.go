package main

import (
	"encoding/json"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"prefix_exporter/config"
)

func TestCheckPrintsTheCost(t *testing.T) {
	file := filepath.Join("testdata", "valid.yml")
	c, err := config.Load(file)
	if err != nil {
		t.Fatal(err)
	}
	got := execute(t, "check", file)
	if diff := cmp.Diff(result{Stdout: c.Cost().String() + "\n"}, got); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(result{}, execute(t, "check", "--quiet", file)); diff != "" {
		t.Errorf("quiet: %s", diff)
	}
}

func TestCheckReadsStandardInput(t *testing.T) {
	for name, test := range map[string]struct {
		text string
		want result
	}{
		"that is right":   {"prefixes: [192.0.2.0/24]\n", result{}},
		"with mistakes":   {"prefixes: [192.0.2.0/33]\n", result{Status: 1, Stderr: "-:1: prefixes[0]: \"192.0.2.0/33\": mask must be between 8 and 32\n"}},
		"that is empty":   {"", result{Status: 1, Stderr: "-:1: file is empty: it must have at least prefixes or prefix_files\n"}},
		"that names more": {"prefix_files: [testdata/list.yml]\n", result{}},
	} {
		t.Run(name, func(t *testing.T) {
			c := command(t, "check", "--quiet", "-")
			c.Stdin = strings.NewReader(test.text)
			if diff := cmp.Diff(test.want, finish(t, c)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestCheckWarns(t *testing.T) {
	nothing := filepath.Join("testdata", "nothing.yml")
	valid := filepath.Join("testdata", "valid.yml")
	const warning = "testdata/nothing.yml:1: warning: nothing to probe: the list of prefixes is empty\n"
	const gone = "testdata/nothing.yml:1: warning: 4 of the 4 addresses of testdata/valid.yml are not probed any more\n"
	for name, test := range map[string]struct {
		args []string
		want result
	}{
		"of nothing to probe":                   {[]string{nothing}, result{Stderr: warning}},
		"of it, and strictly":                   {[]string{"--strict", nothing}, result{Status: 1, Stderr: warning}},
		"of nothing":                            {[]string{"--strict", valid}, result{}},
		"of what the file in force has":         {[]string{"--against=" + valid, nothing}, result{Stderr: warning + gone}},
		"of what it has, and strictly":          {[]string{"--strict", "--against=" + valid, nothing}, result{Status: 1, Stderr: warning + gone}},
		"of nothing if there is more":           {[]string{"--strict", "--against=" + nothing, valid}, result{}},
		"of nothing if there is as much":        {[]string{"--strict", "--against=" + valid, valid}, result{}},
		"of a file in force that is not there":  {[]string{"--against=testdata/absent.yml", valid}, result{Status: 1, Stderr: "testdata/absent.yml: cannot be read: no such file or directory\n"}},
		"of standard input that is there twice": {[]string{"--against=-", "-"}, result{Status: 1, Stderr: "against \"-\": standard input is FILE already\n"}},
	} {
		t.Run(name, func(t *testing.T) {
			got := execute(t, append([]string{"check", "--quiet"}, test.args...)...)
			got.Stderr = filepath.ToSlash(got.Stderr)
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestCheckWarnsOfWhatThisMachineDoesNotHave(t *testing.T) {
	const text = `prefixes:
  - {prefix: 192.0.2.0/24, interface: nosuch0, source: 203.0.113.99}
  - prefix: 198.51.100.0/24
    source: 203.0.113.99
  - {prefix: 127.0.0.0/24, source: 127.0.0.1}
`
	const want = `-:2: prefixes[0].interface: "nosuch0": warning: not on this machine: no such device: the prefix is not probed until it is
-:4: prefixes[1].source: "203.0.113.99": warning: not on this machine: cannot assign requested address: the prefix is not probed until it is
`
	if runtime.GOOS != "linux" {
		t.Skip("other systems say it in other words")
	}
	c := command(t, "check", "--quiet", "-")
	c.Stdin = strings.NewReader(text)
	if diff := cmp.Diff(result{Stderr: want}, finish(t, c)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestCheckAsJSON(t *testing.T) {
	for name, test := range map[string]struct {
		args   []string
		status int
		want   report
	}{
		"a file that is right": {[]string{"testdata/valid.yml"}, 0, report{File: "testdata/valid.yml", Valid: true, Mistakes: config.Errors{}, Warnings: config.Errors{}, Cost: costOf(t, "testdata/valid.yml")}},
		"mistakes": {[]string{"testdata/mistakes.yml"}, 1, report{File: "testdata/mistakes.yml", Warnings: config.Errors{}, Mistakes: config.Errors{
			{File: "testdata/mistakes.yml", Line: 2, Column: 13, Path: "prefixes[0].prefix", Value: "192.0.2.0/33", Message: "mask must be between 8 and 32"},
			{File: "testdata/mistakes.yml", Line: 4, Column: 5, Path: "prefixes[1].nam", Message: `unknown key: did you mean "name"?`},
		}}},
		"warnings": {[]string{"--strict", "testdata/nothing.yml"}, 1, report{File: "testdata/nothing.yml", Valid: true, Mistakes: config.Errors{}, Warnings: config.Errors{
			{File: "testdata/nothing.yml", Line: 1, Message: "nothing to probe: the list of prefixes is empty"},
		}, Cost: costOf(t, "testdata/nothing.yml")}},
		"a file that is absent": {[]string{"testdata/absent.yml"}, 1, report{File: "testdata/absent.yml", Warnings: config.Errors{}, Mistakes: config.Errors{
			{File: "testdata/absent.yml", Line: 1, Message: "testdata/absent.yml: cannot be read: no such file or directory"},
		}}},
	} {
		t.Run(name, func(t *testing.T) {
			out := execute(t, append([]string{"check", "--json"}, test.args...)...)
			var got report
			if err := json.Unmarshal([]byte(out.Stdout), &got); err != nil || out.Stderr != "" || out.Status != test.status {
				t.Fatalf("status %d, %v: %s%s", out.Status, err, out.Stdout, out.Stderr)
			}
			if diff := cmp.Diff(test.want, got, cmp.Comparer(func(a, b config.Cost) bool { return a.String() == b.String() })); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func costOf(t *testing.T, file string) *config.Cost {
	t.Helper()
	c, err := config.Load(file)
	if err != nil {
		t.Fatal(err)
	}
	cost := c.Cost()
	return &cost
}

func TestCheckExplainsOneAddress(t *testing.T) {
	for name, test := range map[string]struct {
		args []string
		want result
	}{
		"of the file":      {[]string{"--explain=192.0.2.7", "testdata/explain.yml"}, result{}},
		"in no prefix":     {[]string{"--explain=203.0.113.7", "testdata/explain.yml"}, result{Status: 1, Stderr: "203.0.113.7 is not probed: it is in no prefix of this configuration\n"}},
		"that is excluded": {[]string{"--explain=192.0.2.0", "testdata/explain.yml"}, result{Status: 1, Stderr: "192.0.2.0 is not probed: 192.0.2.0 at testdata/explain.yml:6 excludes it\n"}},
		"that is none":     {[]string{"--explain=paris", "testdata/explain.yml"}, result{Status: 1, Stderr: "explain \"paris\": must be an IPv4 or IPv6 address\n"}},
	} {
		t.Run(name, func(t *testing.T) {
			got := execute(t, append([]string{"check"}, test.args...)...)
			if test.want.Status == 0 {
				golden(t, "explain.txt", got.Stdout)
				test.want.Stdout = got.Stdout
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
	var got report
	if err := json.Unmarshal([]byte(execute(t, "check", "--json", "--explain=192.0.2.7", "testdata/explain.yml").Stdout), &got); err != nil {
		t.Fatal(err)
	}
	want := config.Setting{Key: "icmp.interval", Value: "500ms", Source: config.SourceDefaults, File: "testdata/explain.yml", Line: 2}
	if len(got.Settings) < 10 || got.Settings[3] != want {
		t.Errorf("got %+v, want %+v among them", got.Settings, want)
	}
}
