package config

import (
	"strings"

	"gopkg.in/yaml.v3"
)

// maxVisits bounds the work that aliases can multiply. A file of maxFileSize without
// aliases stays below it: a value takes two bytes and at most two visits.
const maxVisits = maxFileSize

// decoder turns the nodes of one file into values and notes every mistake.
type decoder struct {
	schema   *schema
	problems *problems
	visits   int
}

// written says which keys of a map are in the file, and where.
type written map[string]place

// has says whether a key was written.
func (w written) has(name string) bool { _, ok := w[name]; return ok }

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

// resolve follows an alias; it returns nil when the aliases of a file multiply
// beyond reason.
func (d *decoder) resolve(n *yaml.Node, at place) *yaml.Node {
	d.visits++
	if d.visits > maxVisits {
		if d.visits == maxVisits+1 {
			d.problems.add(at, "", "the aliases of this file expand to more than %d values", maxVisits)
		}
		return nil
	}
	if n.Kind == yaml.AliasNode {
		return n.Alias
	}
	return n
}

// mapping calls each for every key of the map n, and notes what is not a map and
// what is given twice. An empty value counts as an empty map, as when everything
// under a key is commented out. It returns false when n is not a map.
func (d *decoder) mapping(n *yaml.Node, at place, each func(name string, v *yaml.Node, at place)) bool {
	n = d.resolve(n, at)
	if n == nil {
		return false
	}
	if isNull(n) {
		return true
	}
	if n.Kind != yaml.MappingNode {
		d.wrongKind(n, at, "a map")
		return false
	}
	first := make(map[string]int, len(n.Content)/2)
	for i := 0; i+1 < len(n.Content); i += 2 {
		k, v := d.resolve(n.Content[i], at), n.Content[i+1]
		if k == nil {
			return false
		}
		here := at.key(k.Value, n.Content[i].Line)
		switch {
		case k.Kind != yaml.ScalarNode:
			at.line = n.Content[i].Line
			d.problems.add(at, "", "a key must be text, not %s", describe(k))
		case k.ShortTag() == "!!merge":
			d.problems.add(here, "", "merge keys are not supported: use defaults, or an alias for the whole value")
		case first[k.Value] != 0:
			d.problems.add(here, "", "is given twice, first on line %d", first[k.Value])
		default:
			first[k.Value] = here.line
			here.line = v.Line
			each(k.Value, v, here)
		}
	}
	return true
}

// sequence calls each for every element of the list n. An empty value counts as an
// empty list. It returns false when n is not a list.
func (d *decoder) sequence(n *yaml.Node, at place, want string, each func(i int, v *yaml.Node, at place)) bool {
	n = d.resolve(n, at)
	if n == nil {
		return false
	}
	if isNull(n) {
		return true
	}
	if n.Kind != yaml.SequenceNode {
		d.wrongKind(n, at, want)
		return false
	}
	for i, v := range n.Content {
		each(i, v, at.index(i, v.Line))
	}
	return true
}

// scalar returns the node of a single value, or notes that it is something else.
func (d *decoder) scalar(n *yaml.Node, at place, want string) (*yaml.Node, bool) {
	n = d.resolve(n, at)
	if n == nil {
		return nil, false
	}
	if n.Kind != yaml.ScalarNode || isNull(n) {
		d.wrongKind(n, at, want)
		return nil, false
	}
	return n, true
}

// wrongKind notes that n is not what is wanted.
func (d *decoder) wrongKind(n *yaml.Node, at place, want string) {
	if n.Kind == yaml.ScalarNode && !isNull(n) {
		d.problems.add(at, n.Value, "must be %s", want)
		return
	}
	d.problems.add(at, "", "must be %s, not %s", want, describe(n))
}

// decodeKeys decodes the map n into a value, in the order of the schema, so that
// defaults are known before the prefixes that inherit them. It returns false when n is
// not a map.
func decodeKeys[T any](d *decoder, n *yaml.Node, at place, keys []key[T], into *T, marks *written) bool {
	type pair struct {
		node *yaml.Node
		at   place
	}
	known := make(map[string]bool, len(keys))
	for _, k := range keys {
		known[k.name] = true
	}
	found := make(map[string]pair, len(keys))
	ok := d.mapping(n, at, func(name string, v *yaml.Node, here place) {
		if known[name] {
			found[name] = pair{v, here}
			return
		}
		names := make([]string, len(keys))
		for i, k := range keys {
			names[i] = k.name
		}
		if near := nearest(name, names); near != "" {
			d.problems.add(here, "", "unknown key: did you mean %q?", near)
		} else {
			d.problems.add(here, "", "unknown key: must be one of %s", strings.Join(names, ", "))
		}
	})
	*marks = make(written, len(found))
	for _, k := range keys {
		if p, ok := found[k.name]; ok {
			(*marks)[k.name] = p.at
			k.decode(d, p.node, p.at, into)
		}
	}
	return ok
}

// isNull says whether nothing is written.
func isNull(n *yaml.Node) bool {
	return n.Kind == yaml.ScalarNode && n.ShortTag() == "!!null"
}

// describe names the kind of a node for an error.
func describe(n *yaml.Node) string {
	switch {
	case n.Kind == yaml.MappingNode:
		return "a map"
	case n.Kind == yaml.SequenceNode:
		return "a list"
	case isNull(n):
		return "empty"
	}
	return "a single value"
}

// nearest returns the name that a mistyped key most likely means, or nothing.
func nearest(typed string, names []string) string {
	best, least := "", 3 // more than two slips are another word
	for _, name := range names {
		// A third of the word wrong is no slip of the finger any more.
		if dist := distance(strings.ToLower(typed), name); dist < least && dist <= max(1, len(name)/3) {
			best, least = name, dist
		}
	}
	return best
}

// distance counts the insertions, deletions and replacements that make b of a
// (Levenshtein), at most 3 of them when the lengths alone say so.
func distance(a, b string) int {
	if len(a)-len(b) >= 3 || len(b)-len(a) >= 3 {
		return 3
	}
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost++
			}
			diagonal = row[j+1]
			row[j+1] = min(cost, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
