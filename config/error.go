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
	// maxErrors bounds what a hopeless file costs: reading stops at it. It is two screens of a
	// terminal, and that many mistakes mostly have one cause.
	maxErrors = 50
	// maxValue is how many bytes of a wrong value an error repeats: enough to find
	// it again, short enough for one line of a terminal.
	maxValue = 80
)

// Error is one mistake in one file.
type Error struct {
	File string `json:"file"`
	Line int    `json:"line"` // from 1, which also stands for the file as a whole
	// Column is where in the line, in characters from 1; 0: the line as a whole.
	Column int `json:"column,omitempty"`
	// Path is the key, such as prefixes[0].prefix; empty: the file as a whole.
	Path string `json:"path,omitempty"`
	// Value is what is written there, shortened to 80 bytes; empty: not repeated.
	Value string `json:"value,omitempty"`
	// Message says what is wrong and what is allowed.
	Message string `json:"message"`
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

// problems collects the mistakes of all files of one configuration.
type problems struct {
	list Errors
}

// add notes a mistake at a place.
func (p *problems) add(at *place, value, format string, args ...any) {
	if p.full() {
		return
	}
	p.list = append(p.list, newError(at, value, format, args...))
}

// newError returns what is wrong at a place.
func newError(at *place, value, format string, args ...any) Error {
	return Error{
		File: at.file(), Line: int(at.line), Column: int(at.column), Path: at.path(),
		Value: shorten(value), Message: fmt.Sprintf(format, args...),
	}
}

// full says that no further mistake is noted, so that there is no use in looking for any.
func (p *problems) full() bool { return len(p.list) >= maxErrors }

// err returns everything that was noted, sorted and each once, or nil.
func (p *problems) err() error {
	if len(p.list) == 0 {
		return nil
	}
	list := inFileOrder(p.list)
	if p.full() {
		last := list[len(list)-1]
		list = append(list, Error{File: last.File, Line: last.Line, Message: fmt.Sprintf("stopped after %d mistakes: there may be more", maxErrors)})
	}
	return list
}

// inFileOrder sorts mistakes or warnings, and leaves out what is there twice.
func inFileOrder(list Errors) Errors {
	slices.SortStableFunc(list, func(a, b Error) int {
		return cmp.Or(
			cmp.Compare(a.File, b.File), cmp.Compare(a.Line, b.Line),
			cmp.Compare(a.Path, b.Path), cmp.Compare(a.Message, b.Message), cmp.Compare(a.Value, b.Value))
	})
	return slices.Compact(list)
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
