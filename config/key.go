package config

import (
	"fmt"
	"slices"
	"strings"

	"gopkg.in/yaml.v3"
)

// row is what one key of the grammar looks like in the documentation.
type row struct {
	name    string
	typ     string
	allowed string
	def     string // as it would be written; empty: none
	doc     string // one sentence
}

// key is one key of a map that is decoded into a T.
type key[T any] struct {
	row
	json   object // its values in JSON Schema
	decode func(d *decoder, n *yaml.Node, at *place, into *T)
	// preset puts the default into a T; nil when decoding def does it.
	preset func(d *decoder, into *T)
	// show writes the value that a T has; nil: it is a map of further keys. Empty: none.
	show func(from *T) string
}

// one is a key with a single value.
func one[T, E any](name string, c codec[E], def, doc string, field func(*T) *E) key[T] {
	return key[T]{
		row:  row{name, c.typ, c.allowed, def, doc},
		json: orNothing(c.schema.json()),
		decode: func(d *decoder, n *yaml.Node, at *place, into *T) {
			if it, ok := c.read(d, n, at); ok {
				*field(into) = it.value
			}
		},
		show: func(from *T) string { return c.string(*field(from)) },
	}
}

// many is a key with a list of values, none of them twice.
func many[T any, E comparable](name string, c codec[E], least, most int, def, doc string, field func(*T) *[]item[E]) key[T] {
	return key[T]{
		row:  row{name, "list of " + c.typ, fmt.Sprintf("%d to %d; each %s", least, most, c.allowed), def, doc},
		json: orNothing(listOf(c.schema.json(), least, most)),
		decode: func(d *decoder, n *yaml.Node, at *place, into *T) {
			items, seen, count := []item[E]{}, make(map[E]int32), 0
			ok := d.sequence(n, at, "a list", func(v *yaml.Node, at place) {
				count++
				it, ok := c.read(d, v, &at)
				if !ok {
					return
				}
				if first, twice := seen[it.value]; twice {
					d.problems.add(&at, it.text, "is listed twice, first on line %d", first)
					return
				}
				seen[it.value] = at.line
				items = append(items, it)
			})
			if !ok {
				return
			}
			if count < least || count > most {
				d.problems.add(at, "", "has %d elements: must have %d to %d", count, least, most)
			}
			*field(into) = items
		},
		show: func(from *T) string {
			var texts []string
			for _, v := range values(*field(from)) {
				texts = append(texts, c.string(v))
			}
			if texts == nil {
				return ""
			}
			return "[" + strings.Join(texts, ", ") + "]"
		},
	}
}

// choices is what a map may have for its keys, which the user chooses.
type choices struct {
	most    int
	allowed string // for the documentation
	// check says what is wrong with a key, or nothing.
	check func(string) string
	json  object
}

// dictionary is a key with a map whose keys the user chooses.
func dictionary[T, E any](name, typ string, c codec[E], keys choices, doc string, field func(*T) *map[string]item[E]) key[T] {
	return key[T]{
		row: row{name, typ, fmt.Sprintf("at most %d; %s", keys.most, keys.allowed), "", doc},
		json: orNothing(object{
			"type": "object", "maxProperties": keys.most, "propertyNames": keys.json,
			"additionalProperties": object{"anyOf": []object{c.schema.json(), {"type": "null"}}},
		}),
		decode: func(d *decoder, n *yaml.Node, at *place, into *T) {
			all, count := make(map[string]item[E]), 0
			d.mapping(n, at, func(k, v *yaml.Node, at place) {
				count++
				if why := keys.check(at.name); why != "" {
					d.problems.add(at.of(k), "", "%s", why)
					return
				}
				if v = d.resolve(v, &at); v == nil || isNull(v) {
					return
				}
				if it, ok := c.read(d, v, &at); ok {
					all[at.name] = it
				}
			})
			if count > keys.most {
				d.problems.add(at, "", "has %d elements: must have at most %d", count, keys.most)
			}
			*field(into) = all
		},
		show: func(from *T) string {
			var texts []string
			for name, it := range *field(from) {
				texts = append(texts, name+": "+c.string(it.value))
			}
			if texts == nil {
				return ""
			}
			slices.Sort(texts)
			return "{" + strings.Join(texts, ", ") + "}"
		},
	}
}

// section is a key with a map of further keys. When off is not nil, the section can
// be switched: off, or on with the values that it would have had.
func section[T, U any](name, doc string, keys []key[U], field func(*T) (*U, *written), off func(*U) *bool) key[T] {
	k := key[T]{row: row{name, "map", "see `" + name + "`", "", doc}, json: orNothing(reference(name))}
	if off != nil {
		k.allowed += ", or `off`, `on`"
		k.json = orNothing(reference(name), jsonSwitch())
	}
	k.decode = func(d *decoder, n *yaml.Node, at *place, into *T) {
		u, marks := field(into)
		if !d.untagged(n, at) {
			return
		}
		if off != nil && n.Kind == yaml.ScalarNode {
			switch strings.ToLower(n.Value) {
			case "off", "false": // some writers of YAML turn off into false
				*off(u) = true
			case "on", "true":
				*off(u) = false
			default:
				d.problems.add(at, n.Value, "must be a map of settings, off or on")
			}
			return
		}
		if off != nil {
			*off(u) = false
		}
		decodeKeys(d, n, at, keys, u, marks)
	}
	k.preset = func(d *decoder, into *T) {
		u, _ := field(into)
		preset(d, keys, u)
	}
	return k
}

// preset gives a value the defaults of its keys.
func preset[T any](d *decoder, keys []key[T], into *T) {
	for _, k := range keys {
		if k.preset != nil {
			k.preset(d, into)
			continue
		}
		if k.def == "" {
			continue
		}
		var n yaml.Node
		if err := yaml.Unmarshal([]byte(k.def), &n); err != nil {
			panic(fmt.Sprintf("default of %s: %v", k.name, err)) // the table below is wrong, not the user
		}
		k.decode(d, n.Content[0], fileAt("default of "+k.name), into)
	}
}
