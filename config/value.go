package config

import (
	"fmt"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"gopkg.in/yaml.v3"
)

// codec is a type of the grammar: how a single value is written, what it may be and
// how it is read.
type codec[E any] struct {
	typ     string // for the documentation: "integer"
	allowed string // for the documentation: "1 to 255"
	want    string // for an error: "an integer between 1 and 255"
	schema  jsonType
	// parse reads what is written, whatever YAML would take it for. It returns false when it is not as
	// wanted, and then, where there is more to say than that, what is the matter.
	parse func(s string) (E, string, bool)
	// show writes a value as it would be written; nil: as fmt does.
	show func(E) string
}

// read decodes n or notes what is wrong with it.
func (c codec[E]) read(d *decoder, n *yaml.Node, at *place) (item[E], bool) {
	n, ok := d.scalar(n, at, c.want)
	if !ok {
		return item[E]{}, false
	}
	v, why, ok := c.parse(n.Value)
	if !ok {
		if text := trimmed(n.Value); text != n.Value {
			if _, _, ok := c.parse(text); ok {
				why = fmt.Sprintf("must not have white space around it: write %s", text)
			}
		}
		if why == "" {
			why = "must be " + c.want
		}
		d.problems.add(at, n.Value, "%s", why)
		return item[E]{}, false
	}
	return item[E]{value: v, text: n.Value, at: *at}, true
}

// string writes a value.
func (c codec[E]) string(v E) string {
	if c.show != nil {
		return c.show(v)
	}
	return fmt.Sprint(v)
}

// integer is a whole number in a range that fits N.
func integer[N ~int | ~uint8 | ~uint16](least, most N) codec[N] {
	return codec[N]{
		typ:     "integer",
		allowed: fmt.Sprintf("%d to %d", least, most),
		want:    fmt.Sprintf("an integer between %d and %d", least, most),
		schema:  jsonNumber{least: float64(least), most: float64(most), whole: true, pattern: `^\+?(?:0|[1-9][0-9]*)$`},
		parse: func(s string) (N, string, bool) {
			v, why, ok := parseInteger(s, int64(least), int64(most), false)
			return N(v), why, ok
		},
	}
}

// hexadecimal is an integer that people also write in hexadecimal.
func hexadecimal[N ~uint8](least, most N) codec[N] {
	c := integer(least, most)
	c.allowed += fmt.Sprintf(", or %#x to %#x", least, most)
	c.schema = jsonNumber{least: float64(least), most: float64(most), whole: true, pattern: `^(?:\+?(?:0|[1-9][0-9]*)|0[xX][0-9A-Fa-f]+)$`}
	c.parse = func(s string) (N, string, bool) {
		v, why, ok := parseInteger(s, int64(least), int64(most), true)
		return N(v), why, ok
	}
	return c
}

// boolean is true or false.
func boolean() codec[bool] {
	return codec[bool]{
		typ: "boolean", allowed: "true, false", want: "true or false",
		schema: jsonChoice{"true", "false", "True", "False", "TRUE", "FALSE"},
		parse: func(s string) (v bool, why string, ok bool) {
			switch s {
			case "true", "True", "TRUE":
				return true, "", true
			case "false", "False", "FALSE":
				return false, "", true
			}
			switch strings.ToLower(s) {
			case "yes", "on", "y", "1":
				return false, "must be true or false: write true", false
			case "no", "off", "n", "0":
				return false, "must be true or false: write false", false
			}
			return false, "", false
		},
	}
}

// durationPattern is what a duration looks like, of Go or of Prometheus.
const durationPattern = `^\+?(?:(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:ns|us|µs|μs|ms|s|m|h|d|w|y))+$`

// duration is a length of time with a unit. zero says what 0 means; empty: 0 is not allowed.
func duration(least, most time.Duration, zero string) codec[time.Duration] {
	c := codec[time.Duration]{
		typ:     "duration",
		allowed: brief(least) + " to " + brief(most),
		want:    fmt.Sprintf("a duration between %s and %s", brief(least), brief(most)),
		schema:  jsonText{pattern: durationPattern, zero: zero != ""},
		show:    brief,
	}
	if zero != "" {
		c.allowed += ", or 0: " + zero
		c.want += ", or 0: " + zero
	}
	c.parse = func(s string) (time.Duration, string, bool) {
		if why, is := withoutUnit(s); is {
			return 0, why + ": must be " + c.want, false
		}
		v, why, ok := readDuration(s)
		return v, why, ok && (v >= least && v <= most || v == 0 && zero != "")
	}
	return c
}

// seconds is a bound of a histogram: a number of seconds or a duration.
func seconds(least, most time.Duration) codec[float64] {
	return codec[float64]{
		typ:     "seconds or duration",
		allowed: brief(least) + " to " + brief(most),
		want:    fmt.Sprintf("a number of seconds or a duration between %s and %s", brief(least), brief(most)),
		schema:  jsonNumber{least: least.Seconds(), most: most.Seconds(), pattern: durationPattern + `|^\+?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?$`},
		parse: func(s string) (float64, string, bool) {
			v, why, ok := parseSeconds(s)
			return v, why, ok && v >= least.Seconds() && v <= most.Seconds()
		},
	}
}

// words is one of a few words.
func words[W fmt.Stringer](all ...W) codec[W] {
	names := make([]string, len(all))
	for i, w := range all {
		names[i] = w.String()
	}
	last := len(names) - 1
	return codec[W]{
		typ:     "word",
		allowed: strings.Join(names, ", "),
		want:    strings.Join(names[:last], ", ") + " or " + names[last],
		schema:  jsonChoice(names),
		parse: func(s string) (w W, why string, ok bool) {
			for i, name := range names {
				if s == name {
					return all[i], "", true
				}
			}
			if near := Nearest(s, names); near != "" {
				why = fmt.Sprintf("must be %s or %s: did you mean %s?", strings.Join(names[:last], ", "), names[last], near)
			}
			return w, why, false
		},
	}
}

// freeText is text on one line, of any characters but those in not. Numbers and the like are taken as they are written.
func freeText(least, most int, not string) codec[string] {
	c := codec[string]{typ: "text", schema: jsonText{least: least, most: most, not: not, free: true}}
	c.allowed = fmt.Sprintf("%d to %d characters", least, most)
	c.want = fmt.Sprintf("%d to %d printable characters", least, most)
	if not != "" {
		c.allowed += " without `" + not + "`"
		c.want += fmt.Sprintf(" without %q", not)
	}
	c.parse = func(s string) (string, string, bool) {
		length := utf8.RuneCountInString(s)
		i := strings.IndexFunc(s, func(r rune) bool { return !unicode.IsGraphic(r) || strings.ContainsRune(not, r) })
		switch {
		case length < least && length == 0:
			return "", "must not be empty: must be " + c.want, false
		case length < least || length > most:
			return "", fmt.Sprintf("has %d characters: must be %s", length, c.want), false
		case i >= 0:
			r, _ := utf8.DecodeRuneInString(s[i:])
			return "", fmt.Sprintf("has the character %q: must be %s", r, c.want), false
		}
		return s, "", true
	}
	return c
}

// device is the name of a network interface: at most 15 bytes (IFNAMSIZ of
// netdevice(7), less its NUL) without a slash or white space, as Linux has it.
func device() codec[string] {
	return codec[string]{
		typ: "text", allowed: "1 to 15 bytes, no `/`, no white space",
		want:   "the name of an interface: 1 to 15 bytes, no slash, no white space",
		schema: jsonText{least: 1, most: 15, not: `/ \t`, free: true},
		parse: func(s string) (string, string, bool) {
			bad := func(r rune) bool { return r == '/' || unicode.IsSpace(r) || !unicode.IsGraphic(r) }
			return s, "", len(s) >= 1 && len(s) <= 15 && strings.IndexFunc(s, bad) < 0
		},
	}
}
