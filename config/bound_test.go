package config

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"gopkg.in/yaml.v3"
)

// nodesOf returns how many nodes the YAML library makes of a text; 0: it makes none.
func nodesOf(data []byte) int {
	var n yaml.Node
	if yaml.Unmarshal(data, &n) != nil {
		return 0
	}
	return size(&n)
}

// shapes are ways to write many values in few bytes.
func shapes() map[string]string {
	return map[string]string{
		"empty maps in a list":        "prefixes: [" + strings.Repeat("{},", 1000) + "]",
		"words in a list":             "[" + strings.Repeat("a,", 1000) + "]",
		"words in a map":              "{" + strings.Repeat("a,", 3) + "b}",
		"keys and values":             "{a: b, c: d,e: f,\"g\":h,'i':j,k: ,l:}",
		"pairs in a list":             "[" + strings.Repeat("a: b,", 1000) + "]",
		"keys without values":         "[" + strings.Repeat("? a,", 1000) + "]",
		"questions":                   strings.Repeat("- ? a\n", 1000),
		"lists in lists":              strings.Repeat("[", 1000) + strings.Repeat("]", 1000),
		"lists in lists, by lines":    strings.Repeat("- ", 1000) + "a",
		"maps in maps":                strings.Repeat("{a: ", 1000) + "b" + strings.Repeat("}", 1000),
		"empty elements":              strings.Repeat("-\n", 1000),
		"maps in lists by lines":      strings.Repeat("- a: b\n", 1000),
		"maps in lists in braces":     strings.Repeat("- {a: b, c: d}\n", 1000),
		"lists behind keys":           "a:\n- b\n- c:\n  - d\n",
		"aliases":                     "[&a b, " + strings.Repeat("*a ,", 1000) + "]",
		"aliases as keys":             "- &a b\n- {*a : b}\n",
		"anchors of nothing":          "[" + strings.Repeat("&a ,", 1000) + "]",
		"addresses":                   "- 2001:db8::1\n- {2001:db8::2: a, '2001:db8::3': b}\n- [2001:db8::, a::1]\n",
		"addresses that become maps":  strings.Repeat("- 2001:db8::\n", 1000),
		"commas in quotes":            `a: ", : - {"` + "\nb: c",
		"a text over several lines":   "a: |\n  b: c\n  - d\ne: f",
		"comments":                    "a: b # c: d, e\n# f: g\nh: i",
		"a line feed of Windows":      "a:\r\n- b\r\n- c: d\r\n",
		"pairs behind pairs in lists": "[{a: b}: c, [d]: e, f]",
	}
}

func TestValuesAreNotUnderestimated(t *testing.T) {
	for name, text := range shapes() {
		if got, nodes := countValues([]byte(text)), nodesOf([]byte(text)); got < nodes {
			t.Errorf("%s: counted %d, there are %d", name, got, nodes)
		} else if nodes == 0 {
			t.Errorf("%s: not YAML", name)
		}
	}
	paths, err := filepath.Glob("testdata/*.yml")
	if err != nil || len(paths) < 50 {
		t.Fatal(err)
	}
	for _, path := range append(paths, "../prefix_exporter.example.yml") {
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if got, nodes := countValues(data), nodesOf(data); got < nodes {
			t.Errorf("%s: counted %d, there are %d", path, got, nodes)
		}
	}
}

// What people write is counted nearly as it is.
func TestValuesAreNotOverestimatedByFar(t *testing.T) {
	for name, line := range map[string]string{
		"prefixes by lines":    "- prefix: 10.0.0.0/24\n  name: PAR-1\n  router: PA2\n",
		"prefixes in braces":   "- {prefix: 10.0.0.0/24, name: PAR-1, router: PA2}\n",
		"prefixes alone":       "- 10.0.0.0/24\n",
		"IPv6 in quotes":       "- \"2001:db8:1:2::1\"\n",
		"names of addresses":   "- names:\n    10.0.0.1: web-1\n    10.0.0.2: web-2\n    10.0.0.3: web-3\n",
		"names in braces":      "- names: {10.0.0.1: web-1, 10.0.0.2: web-2, \"2001:db8::3\": web-3}\n",
		"lists of exclusions":  "- prefix: 10.0.0.0/24\n  exclude: [10.0.0.0, 10.0.0.255]\n",
		"ports of some prefix": "- {prefix: 10.0.0.0/24, tcp: {ports: [22, 443]}}\n",
	} {
		text := []byte(strings.Repeat(line, 100))
		if got, nodes := countValues(text), nodesOf(text); got > nodes*3/2 {
			t.Errorf("%s: counted %d, there are %d", name, got, nodes)
		}
	}
}

// The largest configurations that there may be still load, however they are written.
func TestTheLargestConfigurationsLoad(t *testing.T) {
	if testing.Short() {
		t.Skip("reads 262,144 prefixes, seconds of CPU")
	}
	address := func(i int) string { return fmt.Sprintf("10.%d.%d.%d", i>>16, i>>8&255, i&255) }
	parts := func(each int, line func(i int) string) map[string]string {
		all := map[string]string{"main.yml": "limits: {packets_per_second: 10000000}\nprefix_files: ['d/*.yml']\n"}
		for first := 0; first < maxTargets; first += each {
			var b strings.Builder
			for i := first; i < min(first+each, maxTargets); i++ {
				b.WriteString(line(i))
			}
			all[fmt.Sprintf("d/%06d.yml", first)] = b.String()
		}
		return all
	}
	for name, all := range map[string]map[string]string{
		"as one prefix": {"main.yml": "limits: {packets_per_second: 10000000}\nprefixes: [10.0.0.0/14]\n"},
		"each by itself with a tenant": parts(16_000, func(i int) string {
			return "- {prefix: " + address(i) + "/32, tenants: [a]}\n"
		}),
		"1,024 /24s with a name for each address": parts(300*256, func(i int) string {
			line := "    " + address(i) + ": host-" + fmt.Sprint(i) + "\n"
			if i%256 == 0 {
				line = "- prefix: " + address(i) + "/24\n  names:\n" + line
			}
			return line
		}),
	} {
		t.Run(name, func(t *testing.T) {
			c, text := loadErrors(t, files(t, all), "main.yml")
			if c == nil {
				t.Fatalf("%.1000s", text)
			}
			if got := c.Cost().Addresses; got != maxTargets {
				t.Errorf("%d addresses", got)
			}
		})
	}
}

// What is wrong is found out before it costs anything; what each costs as a process, a test of the command says.
func TestHopelessConfigurationsAreGivenUpEarly(t *testing.T) {
	lines := func(n int, format string) string {
		var b strings.Builder
		for i := range n {
			fmt.Fprintf(&b, format, i>>8, i&255)
		}
		return b.String()
	}
	for name, tt := range map[string]struct {
		all  map[string]string
		want string
	}{
		"a list of a million":   {map[string]string{"main.yml": "prefixes: [" + strings.Repeat("{},", 1_300_000) + "]\n"}, "values: must have at most 160000, further prefixes go into prefix_files"},
		"more /24s than fit":    {map[string]string{"main.yml": "prefixes:\n" + lines(50_000, "  - 10.%d.%d.0/24\n")}, "at least 524288 addresses in all: must be at most 262144; largest: "},
		"twice the packets":     {map[string]string{"main.yml": "prefixes:\n" + lines(45_000, "  - 10.0.%d.%d/32\n")}, "at least 4"},
		"a file of 5 megabytes": {map[string]string{"main.yml": strings.Repeat("# nothing\n", 500_000)}, "file is too large: must have at most 4194304 bytes, further prefixes go into prefix_files"},
		"many large files": {map[string]string{
			"main.yml": "prefix_files: ['d/*.yml']\n", "d/1.yml": strings.Repeat("# nothing\n", 400_000) + "[]", "d/2.yml": strings.Repeat("# nothing\n", 400_000) + "[]",
			"d/3.yml": strings.Repeat("# nothing\n", 400_000) + "[]", "d/4.yml": strings.Repeat("# nothing\n", 400_000) + "[]", "d/5.yml": strings.Repeat("# nothing\n", 400_000) + "[]",
		}, `is too much: all files together must have at most 16777216 bytes`},
		"a mistake in each prefix": {map[string]string{"main.yml": "prefixes:\n" + lines(30_000, "  - 10.%d.%d.0/33\n")}, "stopped after 50 mistakes: there may be more"},
		"a mistake in each file":   {map[string]string{"main.yml": "prefix_files: ['d/*.yml']\n", "d/1.yml": lines(40, "- 10.%d.%d.0/33\n"), "d/2.yml": lines(40, "- 10.%d.%d.0/33\n"), "d/3.yml": "not: read"}, "stopped after 50 mistakes: there may be more"},
		"a mistake between all":    {map[string]string{"main.yml": "prefixes:\n" + lines(300, "  - 10.%d.%d.0/24\n") + lines(300, "  - 10.%d.%d.0/24\n")}, "stopped after 50 mistakes: there may be more"},
		"aliases that multiply": {map[string]string{"main.yml": "x-a: &a {ttl: 64, tos: 0, size: 56, up_after: 1, down_after: 3, interval: 1s, timeout: 1s}\nprefixes:\n" +
			lines(15_000, "  - {prefix: 10.%d.%d.0/32, icmp: *a}\n")}, "the aliases expand to more than 200000 values: must be fewer"},
	} {
		t.Run(name, func(t *testing.T) {
			c, got := loadErrors(t, files(t, tt.all), "main.yml")
			if c != nil || !strings.Contains(got, tt.want) || len(got) > 20_000 || strings.Count(got, "\n") > maxErrors {
				t.Errorf("%d lines, %.500s; want %s", 1+strings.Count(got, "\n"), got, tt.want)
			}
		})
	}
}
