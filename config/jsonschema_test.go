package config

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/santhosh-tekuri/jsonschema/v6"
	"gopkg.in/yaml.v3"
)

// schemaFile is shipped, so that an editor can use it without the program.
const schemaFile = "../prefix_exporter.schema.json"

func TestTheSchemaThatIsShippedIsTheGrammar(t *testing.T) {
	if *update {
		if err := os.WriteFile(schemaFile, JSONSchema(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	data, err := os.ReadFile(schemaFile)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(data), string(JSONSchema())); diff != "" {
		t.Errorf("%s (-file +grammar; prefix_exporter schema prints it):\n%s", schemaFile, diff)
	}
}

// compiled returns the schema as a validator has it, which also checks that it is one.
func compiled(t *testing.T) *jsonschema.Schema {
	t.Helper()
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(JSONSchema()))
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	if err := c.AddResource(schemaID, doc); err != nil {
		t.Fatal(err)
	}
	s, err := c.Compile(schemaID)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// core turns YAML into JSON as editors do, by the core schema of YAML 1.2 (section 10.3). It
// returns false for what is not YAML.
func core(data []byte) (any, bool) {
	var n yaml.Node
	if yaml.Unmarshal(data, &n) != nil {
		return nil, false
	}
	if n.Kind == 0 {
		return nil, true
	}
	return coreNode(n.Content[0], 0), true
}

func coreNode(n *yaml.Node, depth int) any {
	if depth > 20 {
		return nil // aliases in a circle
	}
	switch n.Kind {
	case yaml.AliasNode:
		return coreNode(n.Alias, depth+1)
	case yaml.SequenceNode:
		list := []any{}
		for _, v := range n.Content {
			list = append(list, coreNode(v, depth+1))
		}
		return list
	case yaml.MappingNode:
		m := map[string]any{}
		for i := 0; i+1 < len(n.Content); i += 2 {
			m[n.Content[i].Value] = coreNode(n.Content[i+1], depth+1)
		}
		return m
	}
	if n.Style != 0 {
		return n.Value
	}
	if isNull(n) {
		return nil
	}
	switch n.Value {
	case "true", "True", "TRUE":
		return true
	case "false", "False", "FALSE":
		return false
	}
	if decimalNumber.MatchString(n.Value) {
		if v, err := strconv.ParseFloat(n.Value, 64); err == nil {
			return v
		}
	}
	if v, err := strconv.ParseInt(n.Value, 0, 64); err == nil && otherBase.MatchString(n.Value) {
		return float64(v)
	}
	return n.Value
}

func TestTheSchemaAcceptsWhatIsRight(t *testing.T) {
	s := compiled(t)
	paths, err := filepath.Glob("testdata/valid-*.yml")
	if err != nil || len(paths) < 2 {
		t.Fatal(paths, err)
	}
	texts := map[string]string{
		"a list of prefixes":       "- prefix: 192.0.2.0/24\n- 198.51.100.0/24\n",
		"an empty list":            "[]",
		"numbers in quotes":        "limits: {packets_per_second: \"30000\"}\nprefixes: [{prefix: 192.0.2.0/24, tcp: {ports: ['443', 80]}, histograms: {buckets: ['0.5', 1e0, 2s]}}]\n",
		"nothing behind keys":      "limits:\ndefaults: {icmp: , tcp: ~, expect: ''}\ntenants: {a: }\nprefixes: [{prefix: 192.0.2.0/24, name: , names: {192.0.2.1: }, labels: ~, source: ''}]\n",
		"switches":                 "defaults: {tcp: off, trace: False}\nprefixes: [{prefix: 192.0.2.0/24, tcp: ON, trace: true}]\n",
		"text that is no text":     "prefixes: [{prefix: 192.0.2.0/24, name: 7, router: true, tenants: [1e3], labels: {a: 2026-11-28}}]\n",
		"keys that hold anchors":   "x-a: {b: [c]}\nprefixes: []\n",
		"a type of service":        "prefixes: [{prefix: 192.0.2.0/24, icmp: {tos: 0xb8}}, {prefix: 198.51.100.0/24, icmp: {tos: '0xb8'}}]\n",
		"durations of all kinds":   "prefixes: [{prefix: 192.0.2.0/24, icmp: {interval: 1m30s, timeout: 1.5s}, dark_after: 0}, {prefix: 198.51.100.0/24, dark_after: '0', nominal_rtt: 1250us}, {prefix: 203.0.113.0/24, dark_after: 1w2d}]\n",
		"addresses of two kinds":   "prefixes: [{prefix: '2001:db8::/64', addresses: ['2001:db8::1', '2001:db8::'], exclude: []}, {prefix: 192.0.2.0/24, exclude: [192.0.2.1, 192.0.2.128/25]}]\n",
		"one prefix, nothing else": "prefixes: [192.0.2.0/24]\n",
	}
	for _, path := range append(paths, "../prefix_exporter.example.yml") {
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		texts[path] = string(data)
	}
	for name, text := range texts {
		v, ok := core([]byte(text))
		if !ok {
			t.Fatalf("%s: not YAML", name)
		}
		if err := s.Validate(v); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		// A list is a file of prefixes; the rest must be right for the program as well.
		if _, isList := v.([]any); isList || strings.HasSuffix(name, ".yml") {
			continue
		}
		if got := mistakes(t, text); got != "" {
			t.Errorf("%s: the schema accepts what the program does not: %s", name, got)
		}
	}
}

// beyondSchema are the mistakes that JSON Schema has no words for: sums, ranges of durations and addresses, what depends
// on another value or on another file, and what YAML that has become JSON does not show any more.
func beyondSchema() []string {
	return strings.Fields(`addresses-excluded addresses-link-local addresses-multicast addresses-outside addresses-twice buckets-order dark-after-short duplicate-key
		exclude-everything exclude-host-bits exclude-outside fragments interval-short list-at-top name-control-character
		names-excluded names-not-listed names-outside names-twice nominal-rtt prefix-duplicate prefix-files-duplicate prefix-files-empty
		prefix-files-folder prefix-files-map prefix-files-missing prefix-files-pattern prefix-host-bits prefix-ipv6-host-bits
		prefix-ipv6-link-local prefix-ipv6-mapped prefix-ipv6-mask prefix-ipv6-multicast prefix-ipv6-unspecified prefix-multicast
		prefix-overlap prefix-overlap-around prefix-overlap-nested prefix-reserved prefix-this-network shared-block
		shared-block-histograms slip-of-the-mask source-family source-mapped source-multicast tenant-unknown
		timeout-in-defaults timeout-over-inherited-interval timeout-over-interval too-many-addresses too-many-packets
		trace-addresses-outside trace-port-with-icmp two-documents`)
}

func TestTheSchemaRefusesWhatIsWrongInItself(t *testing.T) {
	s := compiled(t)
	paths, err := filepath.Glob("testdata/invalid-*.yml")
	if err != nil || len(paths) < 50 {
		t.Fatal(len(paths), err)
	}
	var accepted []string
	for _, path := range paths {
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if v, ok := core(data); ok && s.Validate(v) == nil {
			accepted = append(accepted, strings.TrimSuffix(strings.TrimPrefix(filepath.Base(path), "invalid-"), ".yml"))
		}
	}
	slices.Sort(accepted)
	if diff := cmp.Diff(beyondSchema(), accepted); diff != "" {
		t.Errorf("accepted (-want +got):\n%s", diff)
	}
	for name, text := range map[string]string{
		"an unknown key of a prefix in a list":   "- {prefix: 192.0.2.0/24, nam: x}\n",
		"a prefix without prefix":                "prefixes: [{name: x}]\n",
		"a prefix without a mask":                "prefixes: [192.0.2.1]\n",
		"a trace of the defaults with address":   "defaults: {trace: {addresses: [192.0.2.1]}}\nprefixes: []\n",
		"a label that is one of ours":            "prefixes: [{prefix: 192.0.2.0/24, labels: {tenants: x}}]\n",
		"a port above 65535":                     "prefixes: [{prefix: 192.0.2.0/24, tcp: {ports: [65536]}}]\n",
		"a duration without a unit":              "prefixes: [{prefix: 192.0.2.0/24, nominal_rtt: 5}]\n",
		"a number with an underscore":            "prefixes: [{prefix: 192.0.2.0/24, icmp: {ttl: '6_4'}}]\n",
		"a number with a leading zero in quotes": "prefixes: [{prefix: 192.0.2.0/24, icmp: {ttl: '064'}}]\n",
		"a netmask":                              "prefixes: [10.0.0.0/255.255.255.0]\n",
		"a map where a list is due":              "prefixes: {prefix: 192.0.2.0/24}\n",
	} {
		v, ok := core([]byte(text))
		if !ok || s.Validate(v) == nil {
			t.Errorf("%s: accepted, or not YAML: %v", name, ok)
		}
		if !strings.HasPrefix(text, "-") && mistakes(t, text) == "" {
			t.Errorf("%s: the program accepts it", name)
		}
	}
}
