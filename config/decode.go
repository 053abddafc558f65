package config

import (
	"context"
	"net/netip"
	"strings"

	"gopkg.in/yaml.v3"
)

// maxExpanded bounds the work that the aliases of all files can multiply: settings of four keys for each
// of twenty thousand prefixes are below it.
const maxExpanded = 200_000

// decoder turns the nodes of the files of one configuration into values and notes every mistake.
type decoder struct {
	ctx      context.Context // reading stops with it
	schema   *schema
	problems *problems
	values   int // in all files, as countValues counts
	expanded int // values behind aliases, each as often as it is used
	entries  int
	targets  int64   // addresses of the entries, at least
	echoes   float64 // that they are sent each second, at least
	limit    int     // of what is sent each second
	// enough says that there are so many addresses already that the rest was not read.
	enough bool
}

// item is an element of a list, or the value of a key that the user chose, with
// where and how it is written.
type item[E any] struct {
	value E
	text  string
	at    place
}

// values strips items of where they are written.
func values[E any](items []item[E]) []E {
	if items == nil {
		return nil
	}
	out := make([]E, len(items))
	for i, it := range items {
		out[i] = it.value
	}
	return out
}

// over says that there is no use in reading on.
func (d *decoder) over() bool {
	return d.problems.full() || d.expanded > maxExpanded || d.enough || d.ctx.Err() != nil
}

// resolve follows an alias; it returns nil when the aliases multiply beyond reason.
func (d *decoder) resolve(n *yaml.Node, at *place) *yaml.Node {
	if n.Kind != yaml.AliasNode {
		return n
	}
	if d.expanded > maxExpanded {
		return nil
	}
	if d.expanded += size(n.Alias); d.expanded > maxExpanded {
		d.problems.add(at, "", "the aliases expand to more than %d values: must be fewer", maxExpanded)
		return nil
	}
	return n.Alias
}

// size returns how many nodes there are at and below n. Aliases are one each.
func size(n *yaml.Node) int {
	all := 1
	for _, below := range n.Content {
		all += size(below)
	}
	return all
}

// untagged notes a tag that is not one of YAML's own, which nobody would heed here.
func (d *decoder) untagged(n *yaml.Node, at *place) bool {
	if n.Style&yaml.TaggedStyle == 0 {
		return true
	}
	switch n.Tag {
	case "!!str", "!!int", "!!float", "!!bool", "!!map", "!!seq":
		return true // they say what the value shows anyway
	}
	d.problems.add(at, "", "must not have a tag, %s: write the value itself", shorten(n.Tag))
	return false
}

// mapping calls each for every key of the map n, with the node of the key and the place of its value, and notes
// what is not a map and what is given twice. An empty value counts as an empty map, as when everything
// under a key is commented out. It returns false when n is not a map.
func (d *decoder) mapping(n *yaml.Node, at *place, each func(k, v *yaml.Node, at place)) bool {
	n = d.resolve(n, at)
	if n == nil || !d.untagged(n, at) {
		return false
	}
	if isEmpty(n) {
		return true
	}
	if n.Kind != yaml.MappingNode {
		d.wrongKind(n, at, "a map")
		return false
	}
	seen := newKeySet(len(n.Content) / 2)
	for i := 0; i+1 < len(n.Content) && !d.over(); i += 2 {
		k, v := d.resolve(n.Content[i], at), n.Content[i+1]
		if k == nil {
			return false
		}
		here := at.key(k.Value, n.Content[i])
		switch {
		case k.Kind != yaml.ScalarNode:
			d.problems.add(at.of(n.Content[i]), "", "a key must be text, not %s", describe(k))
		case !d.untagged(k, at.of(n.Content[i])):
		case k.Value == "<<" && k.Style == 0:
			d.problems.add(&here, "", "merge keys are not supported: use defaults, or an alias for the whole value")
		case seen.line(k.Value) != 0:
			d.problems.add(&here, "", "is given twice, first on line %d", seen.line(k.Value))
		default:
			seen.add(k.Value, here.line)
			each(n.Content[i], v, at.key(k.Value, v))
		}
	}
	return true
}

// keySet is the keys of a map and their lines. Most maps have a few keys, and there may be a
// hundred thousand of them: these need no memory.
type keySet struct {
	few [8]struct {
		name string
		line int32
	}
	n    int
	many map[string]int32 // nil: they are few
}

func newKeySet(n int) (s keySet) {
	if n > len(s.few) {
		s.many = make(map[string]int32, n)
	}
	return s
}

func (s *keySet) add(name string, line int32) {
	if s.many != nil {
		s.many[name] = line
		return
	}
	s.few[s.n].name, s.few[s.n].line = name, line
	s.n++
}

// line returns where a key is; 0: nowhere.
func (s *keySet) line(name string) int32 {
	for _, k := range s.few[:s.n] {
		if k.name == name {
			return k.line
		}
	}
	return s.many[name]
}

// sequence calls each for every element of the list n. An empty value counts as an
// empty list. It returns false when n is not a list.
func (d *decoder) sequence(n *yaml.Node, at *place, want string, each func(v *yaml.Node, at place)) bool {
	n = d.resolve(n, at)
	if n == nil || !d.untagged(n, at) {
		return false
	}
	if isEmpty(n) {
		return true
	}
	if n.Kind != yaml.SequenceNode {
		d.wrongKind(n, at, want)
		return false
	}
	for i, v := range n.Content {
		if d.over() {
			break
		}
		each(v, at.element(i, v))
	}
	return true
}

// scalar returns the node of a single value, or notes that it is something else.
func (d *decoder) scalar(n *yaml.Node, at *place, want string) (*yaml.Node, bool) {
	n = d.resolve(n, at)
	if n == nil || !d.untagged(n, at) {
		return nil, false
	}
	if n.Kind != yaml.ScalarNode || isNull(n) {
		d.wrongKind(n, at, want)
		return nil, false
	}
	return n, true
}

// wrongKind notes that n is not what is wanted.
func (d *decoder) wrongKind(n *yaml.Node, at *place, want string) {
	if addr := unquoted(n); addr != "" {
		d.problems.add(at, addr, "must be in quotes, since YAML reads a colon at the end as a key: write %q", addr)
		return
	}
	if n.Kind == yaml.ScalarNode && !isEmpty(n) {
		d.problems.add(at, n.Value, "must be %s", want)
		return
	}
	d.problems.add(at, "", "must be %s, not %s", want, describe(n))
}

// unquoted returns the IPv6 address that somebody wrote who got a map with one empty key: 2001:db8::
func unquoted(n *yaml.Node) string {
	if n.Kind != yaml.MappingNode || len(n.Content) != 2 || !isNull(n.Content[1]) {
		return ""
	}
	text := n.Content[0].Value + ":"
	if addr, err := netip.ParseAddr(text); err != nil || !addr.Is6() {
		return ""
	}
	return text
}

// decodeKeys decodes the map n into a value, in the order of the schema, so that
// defaults are known before the prefixes that inherit them. A key without a value counts as
// absent. It returns false when n is not a map.
func decodeKeys[T any](d *decoder, n *yaml.Node, at *place, keys []key[T], into *T, marks *written) bool {
	var nodes []*yaml.Node
	*marks = nil
	ok := d.mapping(n, at, func(k, v *yaml.Node, here place) {
		name := here.name
		if free, isFile := any(into).(interface{ free(string) bool }); isFile && free.free(name) {
			return
		}
		for _, known := range keys {
			if known.name == name {
				if v = d.resolve(v, &here); v != nil && !isEmpty(v) {
					nodes, *marks = append(nodes, v), append(*marks, here)
				}
				return
			}
		}
		d.unknown(here.of(k), name, keyNames(keys))
	})
	// From here on there are pointers to the marks: they do not move any more.
	for _, k := range keys {
		for i := range *marks {
			if (*marks)[i].name == k.name {
				k.decode(d, nodes[i], &(*marks)[i], into)
			}
		}
	}
	return ok
}

// unknown notes a key that the grammar does not have.
func (d *decoder) unknown(at *place, name string, names []string) {
	if near := Nearest(name, names); near != "" {
		d.problems.add(at, "", "unknown key: did you mean %q?", near)
	} else {
		d.problems.add(at, "", "unknown key: must be one of %s", strings.Join(names, ", "))
	}
}

func keyNames[T any](keys []key[T]) []string {
	names := make([]string, len(keys))
	for i, k := range keys {
		names[i] = k.name
	}
	return names
}

// isNull says whether nothing is written, or YAML's word for it.
func isNull(n *yaml.Node) bool {
	if n.Kind != yaml.ScalarNode || n.Style != 0 {
		return false
	}
	switch n.Value {
	case "", "~", "null", "Null", "NULL":
		return true
	}
	return false
}

// isEmpty says whether nothing is written, or a text of no characters.
func isEmpty(n *yaml.Node) bool {
	return isNull(n) || n.Kind == yaml.ScalarNode && n.Value == "" && n.Style&yaml.TaggedStyle == 0
}

// describe names the kind of a node for an error.
func describe(n *yaml.Node) string {
	switch {
	case n.Kind == yaml.MappingNode:
		return "a map"
	case n.Kind == yaml.SequenceNode:
		return "a list"
	case isEmpty(n):
		return "empty"
	}
	return "a single value"
}
