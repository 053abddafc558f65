package config

import (
	"strconv"
	"strings"

	"gopkg.in/yaml.v3"
)

// place is where something is written: a file, or a key or an element of what is at another place.
// There may be hundreds of thousands, so it holds what cannot be found otherwise, and no text of its own.
type place struct {
	above *place // what holds it; nil: it is a file
	name  string // of the key, or of the file; an element of a list has none
	index int32  // of the element, from 0; of a key -1
	line  int32  // from 1
	// column is counted in characters, from 1; 0: not known.
	column int32
}

// fileAt returns the place of a whole file.
func fileAt(name string) *place { return &place{name: name, index: -1, line: 1} }

// key returns the place of a key of the map at p.
func (p *place) key(name string, n *yaml.Node) place {
	return place{above: p, name: name, index: -1, line: int32(n.Line), column: int32(n.Column)}
}

// element returns the place of an element of the list at p.
func (p *place) element(i int, n *yaml.Node) place {
	return place{above: p, index: int32(i), line: int32(n.Line), column: int32(n.Column)}
}

// of returns the same place, moved to a node of the same file.
func (p *place) of(n *yaml.Node) *place {
	moved := *p
	moved.line, moved.column = int32(n.Line), int32(n.Column)
	return &moved
}

// onLine returns the same place, moved to a line.
func (p *place) onLine(line int) *place {
	moved := *p
	moved.line, moved.column = int32(line), 0
	return &moved
}

// file returns the name of the file.
func (p *place) file() string {
	for p.above != nil {
		p = p.above
	}
	return p.name
}

// path returns the keys that lead to a place, such as prefixes[0].prefix; of a file nothing.
func (p *place) path() string {
	if p.above == nil {
		return ""
	}
	before := p.above.path()
	if p.index >= 0 {
		return before + "[" + strconv.Itoa(int(p.index)) + "]"
	}
	// A name that would not read as part of a path is quoted.
	plain := p.name != "" && strings.IndexFunc(p.name, func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && !strings.ContainsRune("_-.:/", r)
	}) < 0
	switch {
	case !plain:
		return before + "[" + strconv.Quote(shorten(p.name)) + "]"
	case before == "":
		return shorten(p.name)
	}
	return before + "." + shorten(p.name)
}

// String returns FILE:LINE.
func (p *place) String() string { return p.file() + ":" + strconv.Itoa(int(p.line)) }

// written are the keys of a map that have a value in the file, and where.
type written []place

// at returns where the value of a key is, or nil.
func (w written) at(name string) *place {
	for i := range w {
		if w[i].name == name {
			return &w[i]
		}
	}
	return nil
}

// has says whether a key has a value.
func (w written) has(name string) bool { return w.at(name) != nil }
