package netsim

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"gopkg.in/yaml.v3"
)

// Load reads a scenario file. See Parse.
func Load(file string) (Scenario, error) {
	data, err := os.ReadFile(file)
	if err != nil {
		return Scenario{}, fmt.Errorf("read scenario: %w", err)
	}
	return Parse(file, data)
}

// Parse reads a scenario in YAML, strictly, and validates it. The error is Problems, each with the line
// of the named file, unless the file is no YAML at all.
func Parse(file string, data []byte) (Scenario, error) {
	var s Scenario
	var document yaml.Node
	in := yaml.NewDecoder(bytes.NewReader(data))
	if err := in.Decode(&document); err != nil {
		if errors.Is(err, io.EOF) {
			return s, fmt.Errorf("%s: the file is empty", file)
		}
		return s, fmt.Errorf("%s: %w", file, err)
	}
	if err := in.Decode(new(yaml.Node)); !errors.Is(err, io.EOF) {
		return s, fmt.Errorf("%s: there must be one document only", file)
	}
	d := decoder{file: file, lines: map[string]int{}}
	d.mapping(document.Content[0], "", scenarioKeys(&s))
	if len(d.problems) > 0 {
		return s, d.problems.sorted()
	}
	if problems, wrong := errors.AsType[Problems](s.Validate()); wrong {
		for i := range problems {
			problems[i].File, problems[i].Line = file, d.line(problems[i].Path)
		}
		return s, problems.sorted()
	}
	return s, nil
}

// decoder turns YAML nodes into Go values and keeps the line of every path.
type decoder struct {
	file     string
	lines    map[string]int
	problems Problems
}

// key is one key of a mapping: how to write its value, what it means, and where the value goes.
type key struct {
	name, value, meaning string
	known                bool // what is in it has been said before

	begin  func()             // called first, when the key is there
	scalar func(string) error // takes a scalar; nil: none is allowed
	keys   func() []key       // the keys of a mapping; nil: none is allowed
	item   func(string) error // takes each scalar of a list; nil: no such list
	each   func() []key       // the keys of each mapping of a list; nil: no such list
}

func (d *decoder) add(n *yaml.Node, path, format string, args ...any) {
	d.problems = append(d.problems, Problem{d.file, n.Line, path, fmt.Sprintf(format, args...)})
}

// line finds the line of a path or of the nearest thing around it.
func (d *decoder) line(path string) int {
	for {
		if n, ok := d.lines[path]; ok {
			return n
		}
		cut := strings.LastIndexAny(path, ".[")
		if cut < 0 {
			return 1
		}
		path = path[:cut]
	}
}

func (d *decoder) mapping(n *yaml.Node, path string, keys []key) {
	n = resolve(n)
	if n.Kind != yaml.MappingNode {
		d.add(n, path, "must be a mapping with the keys %s", names(keys))
		return
	}
	seen := map[string]bool{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		name, value := n.Content[i], resolve(n.Content[i+1])
		at := name.Value
		if path != "" {
			at = path + "." + name.Value
		}
		k := find(keys, name.Value)
		switch {
		case k == nil:
			d.add(name, at, "unknown key; known are %s", names(keys))
		case seen[name.Value]:
			d.add(name, at, "the key is there twice")
		default:
			d.lines[at] = name.Line
			d.value(value, at, k)
		}
		seen[name.Value] = true
	}
}

func (d *decoder) value(n *yaml.Node, path string, k *key) {
	if k.begin != nil {
		k.begin()
	}
	switch {
	case n.Kind == yaml.ScalarNode && n.Tag != "!!null" && k.scalar != nil:
		d.scalar(n, path, k.scalar)
	case n.Kind == yaml.ScalarNode && n.Tag != "!!null" && k.item != nil:
		d.scalar(n, path, k.item)
	case n.Kind == yaml.MappingNode && k.keys != nil:
		d.mapping(n, path, k.keys())
	case n.Kind == yaml.SequenceNode && k.item != nil && len(n.Content) == 0:
		d.add(n, path, "must not be an empty list")
	case n.Kind == yaml.SequenceNode && (k.item != nil || k.each != nil):
		for i, c := range n.Content {
			c = resolve(c)
			at := fmt.Sprintf("%s[%d]", path, i)
			d.lines[at] = c.Line
			switch {
			case k.each != nil && (k.item == nil || c.Kind == yaml.MappingNode):
				d.mapping(c, at, k.each())
			case c.Kind == yaml.ScalarNode && c.Tag != "!!null":
				d.scalar(c, at, k.item)
			default:
				d.add(c, at, "must be %s", k.value)
			}
		}
	default:
		d.add(n, path, "must be %s", k.value)
	}
}

func (d *decoder) scalar(n *yaml.Node, path string, take func(string) error) {
	if err := take(n.Value); err != nil {
		d.add(n, path, "%q: %v", n.Value, err)
	}
}

func resolve(n *yaml.Node) *yaml.Node {
	if n.Kind == yaml.AliasNode {
		return n.Alias
	}
	return n
}

func find(keys []key, name string) *key {
	for i := range keys {
		if keys[i].name == name {
			return &keys[i]
		}
	}
	return nil
}

func names(keys []key) string {
	list := make([]string, len(keys))
	for i, k := range keys {
		list[i] = k.name
	}
	return strings.Join(list, ", ")
}

// The functions below make a scalar taker for a Go value.

func takeDuration(to *time.Duration) func(string) error {
	return func(s string) error {
		d, err := time.ParseDuration(s)
		if err != nil {
			return errors.New("must be a duration such as 250us, 20ms or 1m30s")
		}
		*to = d
		return nil
	}
}

func takeProbability(to *float64) func(string) error {
	return func(s string) error {
		number, percent := strings.CutSuffix(s, "%")
		p, err := strconv.ParseFloat(number, 64)
		if err != nil {
			return errors.New("must be a probability such as 0.01 or 1%")
		}
		if percent {
			p /= 100
		}
		*to = p
		return nil
	}
}

func takeInt(to *int) func(string) error {
	return func(s string) error {
		n, err := strconv.Atoi(s)
		if err != nil {
			return errors.New("must be a whole number")
		}
		*to = n
		return nil
	}
}

func takeBool(to *bool) func(string) error {
	return func(s string) error {
		switch s {
		case "true":
			*to = true
		case "false":
			*to = false
		default:
			return errors.New("must be true or false")
		}
		return nil
	}
}

func takeAddr(to *netip.Addr) func(string) error {
	return func(s string) error {
		a, err := netip.ParseAddr(s)
		if err != nil || a.Zone() != "" {
			return errors.New("must be an address")
		}
		*to = a.Unmap()
		return nil
	}
}

// takePrefix takes a prefix or an address, and appends it.
func takePrefix(to *[]netip.Prefix) func(string) error {
	return func(s string) error {
		if a, err := netip.ParseAddr(s); err == nil && a.Zone() == "" {
			*to = append(*to, netip.PrefixFrom(a.Unmap(), a.Unmap().BitLen()))
			return nil
		}
		p, err := netip.ParsePrefix(s)
		if err != nil {
			return errors.New("must be a prefix or an address")
		}
		*to = append(*to, p)
		return nil
	}
}

func takeProtocol(to *[]Protocol) func(string) error {
	return func(s string) error {
		i := slices.Index(protocolNames[:], s)
		if i < 0 {
			return errors.New("must be one of icmp, tcp, udp")
		}
		*to = append(*to, Protocol(i))
		return nil
	}
}

func takePorts(to *[]PortRange) func(string) error {
	return func(s string) error {
		first, last, two := strings.Cut(s, "-")
		if !two {
			last = first
		}
		a, err1 := strconv.ParseUint(first, 10, 16)
		b, err2 := strconv.ParseUint(last, 10, 16)
		if err1 != nil || err2 != nil {
			return errors.New("must be a port, or a range such as 8000-8099")
		}
		*to = append(*to, PortRange{uint16(a), uint16(b)})
		return nil
	}
}

func takeService(to *Service) func(string) error {
	return func(s string) error {
		i := slices.Index(serviceNames[:], s)
		if i < 0 {
			return fmt.Errorf("must be one of %s", strings.Join(serviceNames[:], ", "))
		}
		*to = Service(i)
		return nil
	}
}

// orOff lets the word off stand for the absence of a thing.
func orOff(off *bool, take func(string) error) func(string) error {
	return func(s string) error {
		if s == "off" {
			*off = true
			return nil
		}
		return take(s)
	}
}
