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

// What the files may hold. A YAML value takes about 200 bytes of memory and as little as one byte
// of text, so that their number is bounded before anything is parsed: one file costs 36 MiB while it is
// read, and no configuration more than 100 MiB before its first mistake is found. It has room for 53,000 prefixes,
// or for 300 with a name for each address.
const (
	maxFileSize   = 4 << 20
	maxFileValues = 160_000
	// maxSize and maxValues hold for all files together: enough for a line for each of the 262,144
	// addresses that there may be, with a name and a list of tenants.
	maxSize   = 16 << 20
	maxValues = 4_000_000
)

// document parses data as exactly one YAML document that is not empty. empty says
// what a file must have at least.
func (d *decoder) document(at *place, data []byte, empty string) (*yaml.Node, bool) {
	if len(data) > maxFileSize {
		d.problems.add(at, "", "file is too large: must have at most %d bytes, further prefixes go into prefix_files", maxFileSize)
		return nil, false
	}
	if i := unreadable(data); i >= 0 {
		d.problems.add(at.onLine(lineAt(data, i)), "", "not a text: must be UTF-8 without control characters")
		return nil, false
	}
	n := countValues(data)
	if n > maxFileValues {
		d.problems.add(at, "", "has about %d values: must have at most %d, further prefixes go into prefix_files", n, maxFileValues)
		return nil, false
	}
	if d.values += n; d.values > maxValues {
		d.problems.add(at, "", "has too many values together with the files before it: must be at most %d in all", maxValues)
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
		d.problems.add(at.onLine(second.Line), "", "a second YAML document: a file must hold one")
		return nil, false
	case !errors.Is(err, io.EOF):
		d.syntax(at, data, err)
		return nil, false
	}
	return root.Content[0], true
}

// countValues returns how many nodes a YAML text has at most: never fewer than there are, and not many more in a
// text that people write. It looks at single bytes and knows nothing of quotes and comments, so that nothing hides from
// it. What makes nodes are the indicators of YAML (1.2, section 5.3):
//
//	"- "  an element, which the next indicator counts if it is a map or list in braces
//	":"   a key and a value, if it ends a word
//	"{"   a map, and one key and value, so that the first ":" behind it is no more
//	"["   a list and one element
//	","   an element, or a key without a value; with a ":" behind it a map in a list has three
//	"?"   a key, its value and their map
//	"*"   an alias, behind which a ":" needs no space
func countValues(data []byte) int {
	n := 1 + 1 // the document, and what is in it
	paid := 0  // what the last separator has counted of the next key and value
	for i, c := range data {
		switch c {
		case '{':
			n, paid = n+3, 2
		case '[':
			n, paid = n+2, 0
		case ',':
			n, paid = n+2, 1
		case '}', ']':
			paid = 0
		case '?':
			n += 3
		case '*':
			n += 2
		case '-':
			if next := byteAt(data, i+1); isBlank(next) {
				n++
				if i+2 < len(data) && (data[i+2] == '{' || data[i+2] == '[') {
					n--
				}
			}
		case ':':
			if !inWord(byteAt(data, i-1)) || !inWord(byteAt(data, i+1)) {
				n, paid = n+2-paid, 0
			}
		}
	}
	return n
}

// byteAt returns a byte, or a line feed where there is none.
func byteAt(data []byte, i int) byte {
	if i < 0 || i >= len(data) {
		return '\n'
	}
	return data[i]
}

func isBlank(c byte) bool { return c == ' ' || c == '\t' || c == '\n' || c == '\r' }

// inWord says whether a colon beside this byte may be part of a word, as in an IPv6 address.
func inWord(c byte) bool { return !isBlank(c) && !strings.ContainsRune(`"'{}[],`, rune(c)) }

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
func (d *decoder) syntax(at *place, data []byte, err error) {
	text := err.Error()
	if m := yamlError.FindStringSubmatch(text); m != nil {
		if line, err := strconv.Atoi(m[1]); err == nil {
			if slices.Contains(miscounted, m[2]) {
				line++
			}
			at = at.onLine(line)
		}
		text = m[2]
	}
	if m := yamlAnchor.FindStringSubmatch(text); m != nil {
		at = at.onLine(lineAt(data, max(0, bytes.Index(data, []byte("*"+m[1])))))
	}
	hint := ""
	if bareColons.Match(textOf(data, int(at.line))) {
		hint = "; an IPv6 address that begins or ends with a colon must be in quotes"
	} else if tabIndent.Match(textOf(data, int(at.line))) {
		hint = "; lines must be indented by spaces, not by tabs"
	}
	d.problems.add(at, "", "not valid YAML: %s%s", strings.TrimSpace(text), hint)
}

// bareColons finds an IPv6 address that YAML reads as something else.
var bareColons = regexp.MustCompile(`[0-9A-Fa-f]::(?:[\s,\]}]|$)|(?:^|[\s,\[{])::`)

// tabIndent finds a tab among the white space that a line begins with.
var tabIndent = regexp.MustCompile(`^ *\t`)

// textOf returns one line of data, counted from 1.
func textOf(data []byte, line int) []byte {
	for ; line > 1; line-- {
		_, after, ok := bytes.Cut(data, []byte("\n"))
		if !ok {
			return nil
		}
		data = after
	}
	text, _, _ := bytes.Cut(data, []byte("\n"))
	return text
}
