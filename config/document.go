package config

import (
	"bytes"
	"errors"
	"io"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"gopkg.in/yaml.v3"
)

// maxFileSize bounds what one file can cost: a YAML node takes about 200 bytes of
// memory and 2 bytes of text, so this file costs at most 400 MiB, while it has room
// for 40,000 prefixes or 650 prefixes with a name for each address.
const maxFileSize = 4 << 20

// document parses data as exactly one YAML document that is not empty. empty says
// what a file must have at least.
func (d *decoder) document(file string, data []byte, empty string) (*yaml.Node, bool) {
	at := place{file: file, line: 1}
	if len(data) > maxFileSize {
		d.problems.add(at, "", "file is too large: must have at most %d bytes, further prefixes go into prefix_files", maxFileSize)
		return nil, false
	}
	if i := unreadable(data); i >= 0 {
		at.line = lineAt(data, i)
		d.problems.add(at, "", "not a text: must be UTF-8 without control characters")
		return nil, false
	}
	var root, second yaml.Node
	dec := yaml.NewDecoder(bytes.NewReader(data))
	switch err := dec.Decode(&root); {
	case errors.Is(err, io.EOF), err == nil && (len(root.Content) == 0 || isNull(root.Content[0])):
		d.problems.add(at, "", "file is empty: %s", empty)
		return nil, false
	case err != nil:
		d.syntax(at, data, err)
		return nil, false
	}
	switch err := dec.Decode(&second); {
	case err == nil:
		at.line = second.Line
		d.problems.add(at, "", "a second YAML document: a file must hold one")
		return nil, false
	case !errors.Is(err, io.EOF):
		d.syntax(at, data, err)
		return nil, false
	}
	return root.Content[0], true
}

// unreadable returns where data stops being text that YAML allows (YAML 1.2 section
// 5.1); -1: nowhere.
func unreadable(data []byte) int {
	for i := 0; i < len(data); {
		r, size := utf8.DecodeRune(data[i:])
		if r == utf8.RuneError && size == 1 || r < ' ' && r != '\t' && r != '\n' && r != '\r' || r == 0x7f {
			return i
		}
		i += size
	}
	return -1
}

// lineAt returns the number of the line that holds the byte at i.
func lineAt(data []byte, i int) int { return 1 + bytes.Count(data[:i], []byte("\n")) }

var (
	// yamlError takes the line out of a message of the YAML library.
	yamlError = regexp.MustCompile(`^yaml: (?:line (\d+): )?(.*)$`)
	// yamlAnchor takes the name out of the message about an alias without an anchor.
	yamlAnchor = regexp.MustCompile(`^unknown anchor '(.*)' referenced$`)
	// miscounted are the messages for which the library counts lines from 0: those of
	// its parser, not of its scanner (yaml.v3 3.0.1, decode.go, parser.fail).
	miscounted = []string{
		"did not find expected <document start>",
		"did not find expected node content",
		"did not find expected '-' indicator",
		"did not find expected key",
		"did not find expected ',' or ']'",
		"did not find expected ',' or '}'",
	}
)

// syntax notes that a file is not YAML.
func (d *decoder) syntax(at place, data []byte, err error) {
	text := err.Error()
	if m := yamlError.FindStringSubmatch(text); m != nil {
		if line, err := strconv.Atoi(m[1]); err == nil {
			at.line = line
			if slices.Contains(miscounted, m[2]) {
				at.line++
			}
		}
		text = m[2]
	}
	if m := yamlAnchor.FindStringSubmatch(text); m != nil {
		at.line = lineAt(data, max(0, bytes.Index(data, []byte("*"+m[1]))))
	}
	d.problems.add(at, "", "not valid YAML: %s", strings.TrimSpace(text))
}
