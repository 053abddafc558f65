package config

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestWordsAsPeopleWriteThem(t *testing.T) {
	for _, tt := range []struct{ name, key, value, want string }{
		{"text that looks like a boolean", "name", "NO", ""},
		{"text that looks like a switch", "name", "on", ""},
		{"text that looks like a number", "name", "0443", ""},
		{"text that looks like a float", "router", "1e3", ""},
		{"text that looks like a date", "router", "2026-11-28", ""},
		{"text that looks like a merge key", "router", "<<", ""},
		{"text that is the word null in quotes", "router", `"null"`, ""},
		{"text with a tag of YAML", "name", "!!str 7", ""},
		{"text with another tag", "router", "!vault abc", "router: must not have a tag, !vault: write the value itself"},
		{"text with the tag of binary data", "router", "!!binary YWJj", "router: must not have a tag, !!binary: write the value itself"},
		{"a map with a tag", "icmp", "!special {ttl: 3}", "icmp: must not have a tag, !special: write the value itself"},
		{"a list with a tag", "tenants", "!set [a]", "tenants: must not have a tag, !set: write the value itself"},
		{"a switch with a tag", "tcp", "!env TCP", "tcp: must not have a tag, !env: write the value itself"},
		{"a word with a slip", "expect", "sean", `expect: "sean": must be seen, all or none: did you mean seen?`},
		{"a word in capitals", "expect", "ALL", `expect: "ALL": must be seen, all or none: did you mean all?`},
		{"a name that is too long", "name", strings.Repeat("x", 129), `name: "` + strings.Repeat("x", 77) + `…": has 129 characters: must be 0 to 128 printable characters`},
		{"an interface with white space around", "interface", `" eth0"`, `interface: " eth0": must not have white space around it: write eth0`},
		{"a list of one that is no list", "tenants", "a", `tenants: "a": must be a list`},
		{"an element that is empty", "tenants", "[a, ~]", "tenants[1]: must be 1 to 64 printable characters without \",\", not empty"},
		{"a key of a label with a tag", "labels", "{!x a: b}", "labels: must not have a tag, !x: write the value itself"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if diff := cmp.Diff(tt.want, entryMistakes(t, tt.key, tt.value)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
	for value, want := range map[string]string{
		"yes": "write true", "On": "write true", "no": "write false", "0": "write false", "TRUE": "", `"false"`: "", "maybe": "must be true or false",
	} {
		if got := mistakes(t, "tenants: {a: {all: "+value+"}}\nprefixes: [192.0.2.0/24]\n"); !strings.HasSuffix(got, want) {
			t.Errorf("all: %s: got %q, want %q", value, got, want)
		}
	}
}

func TestAddressesAsPeopleWriteThem(t *testing.T) {
	for _, tt := range []struct{ name, value, want string }{
		{"a mask as an address", "10.0.0.0/255.255.255.0", "must have its mask as a number of bits: write 10.0.0.0/24"},
		{"a mask as an address, with host bits", "10.0.0.7/255.255.255.0", "must have its mask as a number of bits: write 10.0.0.0/24"},
		{"a mask behind white space", "10.0.0.0 255.255.255.128", "must have its mask as a number of bits: write 10.0.0.0/25"},
		{"a mask with its bits turned round", "10.0.0.0 0.0.0.255", "must have its mask as a number of bits: write 10.0.0.0/24"},
		{"a mask with holes", "10.0.0.0/255.0.255.0", "mask must be a whole number between 8 and 32"},
		{"an IPv6 mask as an address", `"2001:db8::/ffff:ffff::"`, "must have its mask as a number of bits: write 2001:db8::/32"},
		{"a mask with a leading zero", "10.0.0.0/024", "must not have a leading zero in its mask: write 10.0.0.0/24"},
		{"a mask with a sign", "10.0.0.0/+24", "mask must be a whole number between 8 and 32"},
		{"two masks", "10.0.0.0/24/24", "mask must be a whole number between 8 and 32"},
		{"white space before the mask", `"10.0.0.0/ 24"`, "mask must be a whole number between 8 and 32"},
		{"a mask with a point", "10.0.0.0/24.0", "mask must be a whole number between 8 and 32"},
		{"no mask behind the slash", "10.0.0.0/", "mask must be a whole number between 8 and 32"},
		{"white space behind", `"192.0.2.0/24 "`, "must not have white space around it: write 192.0.2.0/24"},
		{"a mark that nobody sees", `"\uFEFF192.0.2.0/24"`, "must not have white space around it: write 192.0.2.0/24"},
		{"leading zeros", "192.000.002.0/24", "must not have leading zeros: write 192.0.2.0/24"},
		{"a number above 255", "192.0.256.0/24", "each of its four numbers must be between 0 and 255"},
		{"an address cut short", "10.1/16", "must have all four numbers of its address, such as 10.1.0.0/16"},
		{"a range", "192.0.2.1-192.0.2.9", "must not be a range: write prefixes, or list the addresses"},
		{"a port", "192.0.2.1:80", "must not have a port: write 192.0.2.1"},
		{"brackets", `"[2001:db8::1]"`, "must not have brackets: write 2001:db8::1"},
		{"brackets before a mask", `"[2001:db8::]/120"`, "must not have brackets: write 2001:db8::/120"},
		{"a zone before a mask", "fe80::%eth0/120", "must be an address without a zone: write fe80::/120, and interface: eth0 beside the prefix"},
		{"an IPv4 prefix in IPv6", `"::ffff:192.0.2.0/120"`, "must not be an IPv4 address in IPv6: write 192.0.2.0/24"},
		{"a tag", "!env PREFIX", "must not have a tag, !env: write the value itself"},
		{"no address at all", "paris", "must be a prefix, such as 192.0.2.0/24"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			for place, text := range map[string]string{
				"prefixes[0].prefix": "prefixes: [{prefix: " + tt.value + "}]\n",
				"prefixes[0]":        "prefixes:\n  - " + tt.value + "\n",
			} {
				got := mistakes(t, text)
				if !strings.HasPrefix(got, place+": ") || !strings.HasSuffix(got, ": "+tt.want) {
					t.Errorf("got %q, want %s: …: %s", got, place, tt.want)
				}
			}
		})
	}
	t.Run("a mask where an address is due", func(t *testing.T) {
		if diff := cmp.Diff(`source: "192.0.2.1/32": must be an address without a mask, such as 192.0.2.1`, entryMistakes(t, "source", "192.0.2.1/32")); diff != "" {
			t.Error(diff)
		}
	})
}

func TestIPv6WithoutQuotes(t *testing.T) {
	const write = `must be in quotes, since YAML reads a colon at the end as a key: write "2001:db8:0:10::"`
	for name, tt := range map[string]struct{ text, want string }{
		"in a list of lines":          {"prefixes:\n  - prefix: 2001:db8::/32\n    addresses:\n      - 2001:db8:0:10::\n", `prefixes[0].addresses[0]: "2001:db8:0:10::": ` + write},
		"in a list on a line is fine": {"prefixes:\n  - prefix: 2001:db8::/32\n    addresses: [2001:db8:0:10::, 2001:db8::1]\n", ""},
		"as a prefix":                 {"prefixes:\n  - 2001:db8:0:10::\n", `prefixes[0]: "2001:db8:0:10::": ` + write},
		"behind a key":                {"prefixes:\n  - prefix: 2001:db8::/120\n    source: 2001:db8:0:10::\n", "not valid YAML: mapping values are not allowed in this context; an IPv6 address that begins or ends with a colon must be in quotes"},
		"that begins with it":         {"prefixes:\n  - prefix: ::/120\n    exclude: [::]\n", "not valid YAML: did not find expected node content; an IPv6 address that begins or ends with a colon must be in quotes"},
		"with a slash is fine":        {"prefixes: [2001:db8:0:10::/120]\n", ""},
	} {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(tt.want, mistakes(t, tt.text)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// A key without a value is absent, whatever its value would have been.
func TestAKeyWithoutAValueIsAbsent(t *testing.T) {
	for _, nothing := range []string{"", "~", "null", "Null", "NULL", `""`, "''"} {
		var b strings.Builder
		b.WriteString("limits: {packets_per_second: " + nothing + "}\ndefaults:\n")
		section := func(indent string, name string, rows []row) {
			b.WriteString(indent + name + ":\n")
			for _, r := range rows {
				b.WriteString(indent + "  " + r.name + ": " + nothing + "\n")
			}
		}
		s := newSchema()
		for name, rows := range map[string][]row{"icmp": rowsOf(s.icmp), "tcp": rowsOf(s.tcp), "trace": rowsOf(s.trace), "histograms": rowsOf(s.histograms)} {
			section("  ", name, rows)
		}
		b.WriteString("  expect: " + nothing + "\n  dark_after: " + nothing + "\nprefix_files: " + nothing + "\ntenants: {a: {all: " + nothing + ", certificates: " + nothing + "}, b: " + nothing + "}\n")
		b.WriteString("x-anything: " + nothing + "\nprefixes:\n  - prefix: 192.0.2.0/24\n")
		for _, r := range rowsOf(s.entry) {
			if r.name != "prefix" {
				b.WriteString("    " + r.name + ": " + nothing + "\n")
			}
		}
		got := parse(t, b.String())
		want := parse(t, "prefixes: [192.0.2.0/24]\ntenants: {a: {}, b: {}}\n")
		if diff := cmp.Diff(want, got, comparing); diff != "" {
			t.Errorf("%q (-want +got):\n%s", nothing, diff)
		}
		for text, want := range map[string]string{
			"prefixes: [{prefix: " + nothing + "}]\n": "prefixes[0]: prefix is missing: must be a prefix, such as 192.0.2.0/24",
			"prefixes: " + nothing + "\n":             "nothing to probe: must have prefixes or prefix_files; an empty list is []",
		} {
			if diff := cmp.Diff(want, mistakes(t, text)); diff != "" {
				t.Errorf("%s (-want +got):\n%s", text, diff)
			}
		}
	}
	t.Run("a switch leaves off what the defaults switch off", func(t *testing.T) {
		c := parse(t, "defaults: {tcp: off}\nprefixes:\n  - prefix: 192.0.2.0/24\n    tcp:\n")
		if c.Blocks[0].Settings[0].TCP != nil {
			t.Error("it is on")
		}
	})
	t.Run("a name or a label of nothing", func(t *testing.T) {
		c := parse(t, "prefixes: [{prefix: 192.0.2.0/24, names: {192.0.2.1: ~}, labels: {a: , b: ''}}]\n")
		if c.Blocks[0].Targets[1].Name != "" || len(c.Blocks[0].Labels) != 1 {
			t.Errorf("got %v, %v", c.Blocks[0].Targets[1], c.Blocks[0].Labels)
		}
	})
}

func TestAPrefixAlone(t *testing.T) {
	c := parse(t, "defaults: {icmp: {ttl: 9}}\nprefixes:\n  - 192.0.2.0/24\n  - \"198.51.100.0/24\"\n  - prefix: 203.0.113.0/24\n  - 2001:db8::/120\n")
	want := parse(t, "defaults: {icmp: {ttl: 9}}\nprefixes: [{prefix: 192.0.2.0/24}, {prefix: 198.51.100.0/24}, {prefix: 203.0.113.0/24}, {prefix: '2001:db8::/120'}]\n")
	if diff := cmp.Diff(want, c, comparing); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	got := mistakes(t, "prefixes:\n  - 192.0.2.0/24\n  - 192.0.2.0/25\n")
	if want := `prefixes[1]: "192.0.2.0/25": must not overlap 192.0.2.0/24 at x:2: prefixes[0]`; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestKeysThatHoldAnchors(t *testing.T) {
	c := parse(t, `x-gentle: &gentle {interval: 10s, nonsense: [1, {a: !vault b}]}
x-list:
  - &ports [22, 25]
x-: 7
prefixes:
  - {prefix: 192.0.2.0/24, tcp: {ports: *ports}}
`)
	if diff := cmp.Diff([]uint16{22, 25}, c.Blocks[0].Settings[0].TCP.Ports); diff != "" {
		t.Error(diff)
	}
	for text, want := range map[string]string{
		"x-a: 1\nx-a: 2\nprefixes: [192.0.2.0/24]\n":                       `x-a: is given twice, first on line 1`,
		"x_a: 1\nprefixes: [192.0.2.0/24]\n":                               `x_a: unknown key: must be one of limits, defaults, tenants, prefixes, prefix_files`,
		"prefixes: [{prefix: 192.0.2.0/24, x-a: 1}]\n":                     `prefixes[0].x-a: unknown key: must be one of`,
		"defaults: {x-a: 1}\nprefixes: [192.0.2.0/24]\n":                   `defaults.x-a: unknown key: must be one of`,
		"x-a: &a {ttk: 3}\nprefixes: [{prefix: 192.0.2.0/24, icmp: *a}]\n": `prefixes[0].icmp.ttk: unknown key: did you mean "ttl"?`,
	} {
		if got := mistakes(t, text); !strings.HasPrefix(got, want) {
			t.Errorf("%s got %q, want %q", text, got, want)
		}
	}
}

func TestNetmask(t *testing.T) {
	for s, want := range map[string]int{
		"255.255.255.0": 24, "255.255.255.255": 32, "255.0.0.0": 8, "128.0.0.0": 1, "0.0.0.255": 24, "0.0.0.0": 0,
		"255.255.254.0": 23, "0.0.1.255": 23, "255.0.255.0": 0, "0.255.0.0": 0, "::": 0, "24": 0, "": 0,
	} {
		got, ok := netmask(s, netip.MustParseAddr("192.0.2.0"))
		if got != want || ok != (want > 0) {
			t.Errorf("%s: got %d, %v, want %d", s, got, ok, want)
		}
	}
}
