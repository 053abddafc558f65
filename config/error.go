package config

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

const (
	// maxErrors bounds the memory of a hopeless file; nobody reads more than this.
	maxErrors = 10_000
	// maxValue is how many bytes of a wrong value an error repeats: enough to find
	// it again, short enough for one line of a terminal.
	maxValue = 80
)

// Error is one mistake in one file.
type Error struct {
	File string
	Line int // from 1, which also stands for the file as a whole
	// Path is the key, such as prefixes[0].prefix; empty: the file as a whole.
	Path string
	// Value is what is written there, shortened to 80 bytes; empty: not repeated.
	Value string
	// Message says what is wrong and what is allowed.
	Message string
}

// Error returns one line: FILE:LINE: PATH: "VALUE": MESSAGE.
func (e Error) Error() string {
	var b strings.Builder
	b.WriteString(oneLine(e.File) + ":" + strconv.Itoa(e.Line))
	if e.Path != "" {
		b.WriteString(": " + oneLine(e.Path))
	}
	if e.Value != "" {
		b.WriteString(": " + strconv.Quote(e.Value))
	}
	b.WriteString(": " + oneLine(e.Message))
	return b.String()
}

// Errors are all mistakes of a configuration, sorted by file and line.
type Errors []Error

// Error returns one line for each mistake, without a line feed at the end.
func (e Errors) Error() string {
	lines := make([]string, len(e))
	for i, one := range e {
		lines[i] = one.Error()
	}
	return strings.Join(lines, "\n")
}

// Unwrap returns every mistake, so that errors.As finds an Error.
func (e Errors) Unwrap() []error {
	all := make([]error, len(e))
	for i, one := range e {
		all[i] = one
	}
	return all
}

// place is where something is written.
type place struct {
	file string
	line int
	path string
}

// String returns FILE:LINE.
func (p place) String() string {
	return p.file + ":" + strconv.Itoa(p.line)
}

// key returns the place of a key of the map at p. A name that would not read as part
// of a path is quoted.
func (p place) key(name string, line int) place {
	plain := name != "" && strings.IndexFunc(name, func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && !strings.ContainsRune("_-.:/", r)
	}) < 0
	switch {
	case !plain:
		p.path += "[" + strconv.Quote(shorten(name)) + "]"
	case p.path == "":
		p.path = shorten(name)
	default:
		p.path += "." + shorten(name)
	}
	p.line = line
	return p
}

// index returns the place of an element of the list at p.
func (p place) index(i, line int) place {
	p.path += "[" + strconv.Itoa(i) + "]"
	p.line = line
	return p
}

// problems collects the mistakes of all files of one configuration.
type problems struct {
	list    Errors
	dropped int
}

// add notes a mistake at a place.
func (p *problems) add(at place, value, format string, args ...any) {
	if len(p.list) >= maxErrors {
		p.dropped++
		return
	}
	p.list = append(p.list, Error{
		File: at.file, Line: at.line, Path: at.path,
		Value: shorten(value), Message: fmt.Sprintf(format, args...),
	})
}

// err returns everything that was noted, sorted and each once, or nil.
func (p *problems) err() error {
	if len(p.list) == 0 {
		return nil
	}
	slices.SortStableFunc(p.list, func(a, b Error) int {
		return cmp.Or(
			cmp.Compare(a.File, b.File), cmp.Compare(a.Line, b.Line),
			cmp.Compare(a.Path, b.Path), cmp.Compare(a.Message, b.Message), cmp.Compare(a.Value, b.Value))
	})
	list := slices.Compact(p.list)
	if p.dropped > 0 {
		last := list[len(list)-1]
		list = append(list, Error{File: last.File, Line: last.Line, Message: fmt.Sprintf("%d more mistakes are not shown", p.dropped)})
	}
	return list
}

// shorten cuts a value to maxValue bytes, at the border of a character.
func shorten(s string) string {
	if len(s) <= maxValue {
		return s
	}
	cut := maxValue - len("…")
	for cut > 0 && !utf8.RuneStart(s[cut]) {
		cut--
	}
	return s[:cut] + "…"
}

// oneLine keeps the promise that an error is one line, whatever a file is called.
func oneLine(s string) string {
	if strings.IndexFunc(s, func(r rune) bool { return r < ' ' || r == 0x7f }) < 0 {
		return s
	}
	return strconv.Quote(s)
}
