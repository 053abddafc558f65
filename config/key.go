package config

import (
	"fmt"
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
	decode func(d *decoder, n *yaml.Node, at place, into *T)
	// preset puts the default into a T; nil when decoding def does it.
	preset func(d *decoder, into *T)
}

// one is a key with a single value.
func one[T, E any](name string, c codec[E], def, doc string, field func(*T) *E) key[T] {
	return key[T]{
		row: row{name, c.typ, c.allowed, def, doc},
		decode: func(d *decoder, n *yaml.Node, at place, into *T) {
			if it, ok := c.read(d, n, at); ok {
				*field(into) = it.value
			}
		},
	}
}

// many is a key with a list of values, none of them twice.
func many[T any, E comparable](name string, c codec[E], least, most int, def, doc string, field func(*T) *[]item[E]) key[T] {
	return key[T]{
		row: row{name, "list of " + c.typ, fmt.Sprintf("%d to %d; each %s", least, most, c.allowed), def, doc},
		decode: func(d *decoder, n *yaml.Node, at place, into *T) {
			items, seen, count := []item[E]{}, make(map[E]place), 0
			ok := d.sequence(n, at, "a list", func(_ int, v *yaml.Node, at place) {
				count++
				it, ok := c.read(d, v, at)
				if !ok {
					return
				}
				if first, twice := seen[it.value]; twice {
					d.problems.add(at, it.text, "is listed twice, first on line %d", first.line)
					return
				}
				seen[it.value] = at
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
	}
}

// dictionary is a key with a map of at most most keys, which the user chooses. check
// says what is wrong with such a key, or nothing.
func dictionary[T, E any](name, typ string, c codec[E], most int, allowed, doc string, check func(string) string, field func(*T) *map[string]item[E]) key[T] {
	return key[T]{
		row: row{name, typ, fmt.Sprintf("at most %d; %s", most, allowed), "", doc},
		decode: func(d *decoder, n *yaml.Node, at place, into *T) {
			all, count := make(map[string]item[E]), 0
			d.mapping(n, at, func(name string, v *yaml.Node, at place) {
				count++
				if why := check(name); why != "" {
					d.problems.add(at, "", "%s", why)
					return
				}
				if it, ok := c.read(d, v, at); ok {
					all[name] = it
				}
			})
			if count > most {
				d.problems.add(at, "", "has %d elements: must have at most %d", count, most)
			}
			*field(into) = all
		},
	}
}

// section is a key with a map of further keys. When off is not nil, the section can
// be switched: off, or on with the values that it would have had.
func section[T, U any](name, doc string, keys []key[U], field func(*T) (*U, *written), off func(*U) *bool) key[T] {
	k := key[T]{row: row{name, "map", "see `" + name + "`", "", doc}}
	if off != nil {
		k.allowed += ", or `off`, `on`"
	}
	k.decode = func(d *decoder, n *yaml.Node, at place, into *T) {
		u, marks := field(into)
		if n = d.resolve(n, at); n == nil {
			return
		}
		if off != nil && n.Kind == yaml.ScalarNode && !isNull(n) {
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
		k.decode(d, n.Content[0], place{}.key(k.name, 0), into)
	}
}
