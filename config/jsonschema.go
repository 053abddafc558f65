package config

import (
	"bytes"
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"gopkg.in/yaml.v3"
)

// schemaID names the JSON Schema. It is an identifier, not an address.
const schemaID = "urn:prefix_exporter:configuration"

// object is an object of JSON.
type object = map[string]any

// jsonType is a type of the grammar in JSON Schema, as far as that can tell. YAML has become JSON by
// then, so a number that was quoted is a string.
type jsonType interface{ json() object }

// jsonText is text, with a pattern or with a length.
type jsonText struct {
	pattern     string
	zero        bool // the number 0 is a value as well
	free        bool // numbers and the like are text, too
	least, most int
	not         string // characters that may not occur
}

func (t jsonText) json() object {
	o := object{"type": "string"}
	switch {
	case t.free:
		o["type"] = []string{"string", "number", "boolean"}
		o["minLength"], o["maxLength"] = t.least, t.most
		if t.not != "" {
			o["pattern"] = "^[^" + t.not + "]*$"
		}
	case t.zero:
		return object{"anyOf": []object{{"type": "string", "pattern": t.pattern}, {"enum": []any{0, "0"}}}}
	default:
		o["pattern"] = t.pattern
	}
	return o
}

// jsonNumber is a number, or a text of the pattern.
type jsonNumber struct {
	least, most float64
	whole       bool
	pattern     string
}

func (t jsonNumber) json() object {
	kind := "number"
	if t.whole {
		kind = "integer"
	}
	return object{"anyOf": []object{
		{"type": kind, "minimum": t.least, "maximum": t.most},
		{"type": "string", "pattern": t.pattern},
	}}
}

// jsonChoice is one of some words.
type jsonChoice []string

func (t jsonChoice) json() object {
	all := []any{}
	for _, word := range t {
		all = append(all, word)
	}
	if slices.Contains(t, "true") {
		all = append(all, true, false)
	}
	return object{"enum": all}
}

// nothing is what counts as absent.
func nothing() object { return object{"enum": []any{nil, ""}} }

// orNothing allows a value to be absent.
func orNothing(alternatives ...object) object {
	return object{"anyOf": append(alternatives, nothing())}
}

// reference names a definition.
func reference(name string) object { return object{"$ref": "#/$defs/" + name} }

// listOf is a list of values.
func listOf(element object, least, most int) object {
	return object{"type": "array", "items": element, "minItems": least, "maxItems": most, "uniqueItems": true}
}

// JSONSchema returns the grammar as a JSON Schema (draft 2020-12) of the main file, and of a file of prefixes,
// which is a list. A file that it refuses is wrong; what it accepts may have mistakes still, for it
// knows neither sums nor what overlaps.
func JSONSchema() []byte {
	s := newSchema()
	root := object{
		"$schema": "https://json-schema.org/draft/2020-12/schema",
		"$id":     schemaID,
		"title":   "Configuration of prefix_exporter",
		"if":      object{"type": "array"},
		"then":    reference("prefixes"),
		"else":    reference("configuration"),
		"$defs": object{
			"configuration": ofFile(jsonMap(s.file)),
			"limits":        jsonMap(s.limits),
			"defaults":      withoutTraced(jsonMap(s.defaults)),
			"icmp":          jsonMap(s.icmp),
			"tcp":           jsonMap(s.tcp),
			"trace":         jsonMap(s.trace),
			"histograms":    jsonMap(s.histograms),
			"prefix":        required(jsonMap(s.entry), "prefix"),
			"prefixes":      listOf(object{"anyOf": []object{cidr().schema.json(), reference("prefix")}}, 0, maxTargets),
			"tenant":        jsonMap(s.tenant),
		},
	}
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	if err := e.Encode(root); err != nil {
		panic(fmt.Sprintf("JSON Schema: %v", err)) // it consists of texts and numbers
	}
	return b.Bytes()
}

// jsonMap is a map of known keys.
func jsonMap[T any](keys []key[T]) object {
	properties := object{}
	for _, k := range keys {
		p := k.json
		p["description"] = strings.ReplaceAll(k.doc, "`", "")
		if k.def != "" && !strings.Contains(k.def, "`") {
			p["default"] = jsonValue(k.def)
		}
		properties[k.name] = p
	}
	return object{"type": "object", "properties": properties, "additionalProperties": false}
}

// jsonValue is a default of the grammar as JSON.
func jsonValue(text string) any {
	var v any
	if err := yaml.Unmarshal([]byte(text), &v); err != nil {
		panic(fmt.Sprintf("default %q: %v", text, err)) // the grammar is wrong, not the user
	}
	return v
}

func required(o object, keys ...string) object {
	o["required"] = keys
	return o
}

// ofFile allows the keys that hold anchors, and wants something to probe.
func ofFile(o object) object {
	o["patternProperties"] = object{"^x-": true}
	o["anyOf"] = []object{required(object{}, "prefixes"), required(object{}, "prefix_files")}
	return o
}

// withoutTraced refuses the one key of a trace that the defaults cannot have.
func withoutTraced(o object) object {
	trace := o["properties"].(object)["trace"].(object)
	trace["not"] = object{"required": []string{"addresses"}, "type": "object"}
	return o
}

// jsonSwitch is what switches a section.
func jsonSwitch() object {
	anyCase := regexp.MustCompile(`[a-z]`).ReplaceAllStringFunc("off|on|true|false", func(c string) string {
		return "[" + strings.ToUpper(c) + c + "]"
	})
	return object{"anyOf": []object{{"type": "boolean"}, {"type": "string", "pattern": "^(?:" + anyCase + ")$"}}}
}

// jsonLabels are the names of extra labels, as checkLabel has them.
func jsonLabels() object {
	return object{"pattern": "^[A-Za-z_][A-Za-z0-9_]*$", "not": object{"anyOf": []object{
		{"pattern": "^__"}, {"enum": []string{"prefix", "name", "router", "tenants"}},
	}}}
}
