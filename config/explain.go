package config

import (
	"context"
	"fmt"
	"io"
	"net/netip"
	"slices"
	"strconv"
)

// Written is a valid configuration together with how it is written.
type Written struct {
	*Config
	loader *loader
}

// LoadWritten is LoadContext that remembers how the configuration is written.
func LoadWritten(ctx context.Context, path string) (*Written, error) {
	l := newLoader(ctx, false)
	c, err := l.load(path)
	return &Written{c, l}, err
}

// ReadWritten is LoadWritten for a file that comes from elsewhere. name is its name for messages;
// prefix files are found relative to the folder of name.
func ReadWritten(ctx context.Context, name string, r io.Reader) (*Written, error) {
	l := newLoader(ctx, false)
	c, err := l.read(name, r)
	return &Written{c, l}, err
}

// Source says at which level a setting was made.
type Source string

// The sources of settings.
const (
	SourcePrefix   Source = "prefix"   // in the entry of the prefix, or in one that shares its block
	SourceDefaults Source = "defaults" // in the defaults of the file
	SourceBuiltin  Source = "built in" // nowhere: what the program does by itself
	SourceInterval Source = "interval" // nowhere: a timeout was cut to the interval
)

// Setting is one setting in force for an address.
type Setting struct {
	Key    string `json:"key"`   // such as icmp.interval
	Value  string `json:"value"` // as it would be written
	Source Source `json:"source"`
	File   string `json:"file,omitempty"` // where it is written; empty: nowhere
	Line   int    `json:"line,omitempty"`
}

// From says in a few words where a setting comes from.
func (s Setting) From() string {
	switch s.Source {
	case SourcePrefix:
		return s.File + ":" + strconv.Itoa(s.Line)
	case SourceDefaults:
		return s.File + ":" + strconv.Itoa(s.Line) + ", defaults"
	case SourceInterval:
		return "cut to the interval"
	}
	return "built in"
}

// Explain returns the settings in force for an address, in the order of the manual, those that have no value left
// out. The error says why the address is not probed.
func (w *Written) Explain(addr netip.Addr) ([]Setting, error) {
	e, err := w.entryOf(addr)
	if err != nil {
		return nil, err
	}
	x := &explanation{schema: w.loader.decoder.schema, defaults: &w.loader.doc.defaults, entry: e}
	for _, other := range w.loader.entries {
		if other.around() == e.around() {
			x.group = append(x.group, other)
		}
	}
	x.explain(addr)
	return x.list, nil
}

// entryOf returns the entry that says how an address is probed, or why none does.
func (w *Written) entryOf(addr netip.Addr) (*entry, error) {
	i := slices.IndexFunc(w.loader.entries, func(e *entry) bool { return e.prefix.Contains(addr) })
	if i < 0 {
		return nil, fmt.Errorf("%s is not probed: it is in no prefix of this configuration", addr)
	}
	e := w.loader.entries[i]
	if by, out := e.excluded(addr); out {
		return nil, fmt.Errorf("%s is not probed: %s at %s excludes it", addr, by.text, &by.at)
	}
	listed := func(it item[netip.Addr]) bool { return it.value == addr }
	if len(e.addresses) > 0 && !slices.ContainsFunc(e.addresses, listed) {
		return nil, fmt.Errorf("%s is not probed: the addresses of %s at %s do not name it", addr, e.prefix, e.place("addresses"))
	}
	return e, nil
}

// explanation collects the settings of one address.
type explanation struct {
	schema   *schema
	defaults *probing
	entry    *entry
	group    []*entry // all of the block
	list     []Setting
}

func (x *explanation) add(key, value string, source Source, at *place) {
	if value == "" {
		return
	}
	s := Setting{Key: key, Value: value, Source: source}
	if at != nil {
		s.File, s.Line = at.file(), int(at.line)
	}
	x.list = append(x.list, s)
}

// holder returns the entry that says something of the whole block, or the one of the address.
func (x *explanation) holder(key string) *entry {
	if i := slices.IndexFunc(traits(), func(t trait) bool { return t.key == key }); i >= 0 {
		if j := slices.IndexFunc(x.group, func(e *entry) bool { return e.has(key) }); j >= 0 {
			return x.group[j]
		}
	}
	return x.entry
}

func (x *explanation) explain(addr netip.Addr) {
	for _, k := range x.schema.entry {
		e := x.holder(k.name)
		at := e.written.at(k.name)
		switch k.name {
		case "prefix":
			x.add("prefix", e.prefix.String(), SourcePrefix, e.place("prefix"))
			if block := e.around(); block != e.prefix {
				x.add("block", block.String(), SourceBuiltin, nil)
			}
		case "names":
			for text, it := range e.names {
				if a, _, _ := parseAddr(text); a == addr {
					x.add("names."+addr.String(), it.value, SourcePrefix, &it.at)
				}
			}
		case "addresses", "exclude": // they say whether, not how
		case "icmp":
			explainSection(x, k.name, x.schema.icmp, &e.probing.icmp, ownMarks(e, e.probing.icmp.written), &x.defaults.icmp, x.defaults.icmp.written)
		case "tcp":
			if x.addOff(k.name, e, e.probing.tcp.off) {
				break
			}
			explainSection(x, k.name, x.schema.tcp, &e.probing.tcp, ownMarks(e, e.probing.tcp.written), &x.defaults.tcp, x.defaults.tcp.written)
		case "trace":
			if x.addOff(k.name, e, e.probing.trace.off) {
				break
			}
			trace := e.probing.trace
			trace.Port = e.traceOf(e.around()).Port
			explainSection(x, k.name, x.schema.trace, &trace, ownMarks(e, trace.written), &x.defaults.trace, x.defaults.trace.written)
		case "histograms":
			explainSection(x, k.name, x.schema.histograms, &e.probing.histograms, ownMarks(e, e.probing.histograms.written), &x.defaults.histograms, x.defaults.histograms.written)
		case "expect", "dark_after":
			i := slices.IndexFunc(x.schema.defaults, func(d key[probing]) bool { return d.name == k.name })
			d := x.schema.defaults[i]
			x.addInherited(k.name, d.show(e.probing), at, x.defaults.written.at(k.name))
		default:
			if at != nil {
				x.add(k.name, k.show(e), SourcePrefix, at)
			}
		}
	}
}

// ownMarks returns what an entry has written of a section, and nothing of what it shares with the defaults.
func ownMarks(e *entry, marks written) written {
	if !e.owned {
		return nil
	}
	return marks
}

// addOff adds a probe that is off, and says whether it is.
func (x *explanation) addOff(key string, e *entry, off bool) bool {
	if off {
		x.addInherited(key, "off", e.written.at(key), x.defaults.written.at(key))
	}
	return off
}

func (x *explanation) addInherited(key, value string, own, inherited *place) {
	switch {
	case own != nil:
		x.add(key, value, SourcePrefix, own)
	case inherited != nil:
		x.add(key, value, SourceDefaults, inherited)
	default:
		x.add(key, value, SourceBuiltin, nil)
	}
}

// explainSection adds the keys of a section.
func explainSection[U any](x *explanation, name string, keys []key[U], value *U, own written, inherited *U, marks written) {
	for _, k := range keys {
		shown, full := k.show(value), name+"."+k.name
		if shown == "0" && k.def == "" {
			continue // a number that is not set
		}
		if k.name == "timeout" && !own.has(k.name) {
			before := k.def
			if d, err := parseDuration(k.def); err == nil {
				before = brief(d)
			}
			if marks.has(k.name) {
				before = k.show(inherited)
			}
			if before != shown {
				x.add(full, shown, SourceInterval, nil)
				continue
			}
		}
		x.addInherited(full, shown, own.at(k.name), marks.at(k.name))
	}
}
