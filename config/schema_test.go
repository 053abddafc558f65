package config

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"gopkg.in/yaml.v3"
)

// tables returns the schema as docs/configuration.md shows it, one table a section.
func tables() map[string]string {
	all := make(map[string]string)
	for _, section := range newSchema().rows() {
		var b strings.Builder
		b.WriteString("| key | type | range | default | meaning |\n|---|---|---|---|---|\n")
		for _, r := range section.rows {
			def := r.def
			switch {
			case def == "" && r.typ == "map":
				def = "see there"
			case def == "":
				def = "none"
			case !strings.Contains(def, "`"):
				def = "`" + def + "`"
			}
			fmt.Fprintf(&b, "| `%s` | %s | %s | %s | %s |\n", r.name, r.typ, r.allowed, def, r.doc)
		}
		all[section.name] = b.String()
	}
	return all
}

func TestDocumentationShowsTheSchema(t *testing.T) {
	const path = "../docs/configuration.md"
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	want := tables()
	var out, table strings.Builder
	got, section := make(map[string]string), ""
	flush := func() {
		if section != "" {
			got[section] = table.String()
			out.WriteString(want[section])
		}
		section = ""
		table.Reset()
	}
	for line := range strings.Lines(string(data)) {
		if name, ok := strings.CutPrefix(line, "<!-- schema: "); ok {
			section = strings.TrimSuffix(name, " -->\n")
			out.WriteString(line)
			continue
		}
		if section != "" && strings.HasPrefix(line, "|") {
			table.WriteString(line)
			continue
		}
		flush()
		out.WriteString(line)
	}
	flush()
	if *update {
		if err := os.WriteFile(path, []byte(out.String()), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("tables of %s (-schema +documentation):\n%s", path, diff)
	}
}

func TestReferenceConfigurationHasEveryKey(t *testing.T) {
	const path = "../prefix_exporter.example.yml"
	if _, err := Load(path); err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var root yaml.Node
	if err := yaml.Unmarshal(data, &root); err != nil {
		t.Fatal(err)
	}
	written := make(map[string]bool)
	collect(written, "top level", root.Content[0])
	for _, section := range newSchema().rows() {
		for _, r := range section.rows {
			if !written[section.name+" "+r.name] {
				// What a prefix may change it may change; the defaults show the keys.
				if section.name == "prefixes[]" && written["defaults "+r.name] {
					continue
				}
				t.Errorf("%s does not show %s of %s", path, r.name, section.name)
			}
		}
	}
}

// collect notes the keys of a node and of the sections below it.
func collect(written map[string]bool, section string, n *yaml.Node) {
	if n.Kind == yaml.SequenceNode {
		for _, v := range n.Content {
			collect(written, section, v)
		}
		return
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		name := n.Content[i].Value
		written[section+" "+name] = true
		switch name {
		case "limits", "defaults", "icmp", "tcp", "trace", "histograms":
			collect(written, name, n.Content[i+1])
		case "prefixes":
			collect(written, "prefixes[]", n.Content[i+1])
		case "tenants":
			if section == "top level" {
				for j := 1; j < len(n.Content[i+1].Content); j += 2 {
					collect(written, "tenants.NAME", n.Content[i+1].Content[j])
				}
			}
		}
	}
}

func TestReferenceConfigurationShowsTheDefaults(t *testing.T) {
	want, got := &document{}, &document{}
	d := newLoader(t.Context(), true).decoder
	preset(d, d.schema.file, want)
	data, err := os.ReadFile("../prefix_exporter.example.yml")
	if err != nil {
		t.Fatal(err)
	}
	got = d.main("example.yml", data)
	if err := d.problems.err(); err != nil {
		t.Fatal(err)
	}
	if want.limits.Limits != got.limits.Limits {
		t.Errorf("limits: want %v, got %v", want.limits.Limits, got.limits.Limits)
	}
	block := func(p probing) string {
		e := entry{extras: &extras{}, probing: &p}
		b := e.block(e.prefix)
		s := e.settings()
		return fmt.Sprintf("%+v %+v %+v %+v %+v", b.Block, *b.Trace, s.ICMP, *s.TCP, e.probes())
	}
	if diff := cmp.Diff(block(want.defaults), block(got.defaults)); diff != "" {
		t.Errorf("defaults (-want +got):\n%s", diff)
	}
}

func TestDefaultsAreValid(t *testing.T) {
	d := newLoader(t.Context(), true).decoder
	p := d.problems
	doc := &document{}
	preset(d, d.schema.file, doc)
	d.settle(&doc.defaults, &doc.defaults)
	if err := p.err(); err != nil {
		t.Error(err)
	}
}

func TestExamplesOfTheDocumentationAreValid(t *testing.T) {
	data, err := os.ReadFile("../docs/configuration.md")
	if err != nil {
		t.Fatal(err)
	}
	blocks := strings.Split(string(data), "```yaml\n")[1:]
	parsed := 0
	for _, block := range blocks {
		block, _, _ = strings.Cut(block, "```")
		d := newLoader(t.Context(), true).decoder
		p := d.problems
		switch {
		case strings.HasPrefix(block, "- "):
			entries := d.list("example", []byte(block), &probing{})
			if err := p.err(); err != nil || len(entries) == 0 {
				t.Errorf("%s\n%v", block, err)
			}
		case strings.Contains(block, "prefixes:\n"):
			if _, err := Parse("example", []byte(block)); err != nil {
				t.Errorf("%s\n%v", block, err)
			}
		default: // about other files, which do not exist here
			d.main("example", []byte(block))
			if err := p.err(); err != nil {
				t.Errorf("%s\n%v", block, err)
			}
		}
		parsed++
	}
	if parsed < 8 {
		t.Errorf("only %d examples", parsed)
	}
}
