package dashboards

import (
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// Variable is what stands in the line above the panels.
type Variable struct {
	Name       string          `json:"name"`
	Type       string          `json:"type"` // datasource, query or custom
	DataSource *DataSource     `json:"datasource"`
	RawQuery   json.RawMessage `json:"query"` // a string, or an object with one
	Regex      string          `json:"regex"`
	Sort       int             `json:"sort"` // 1: alphabetical, 3: numerical
	AllValue   string          `json:"allValue"`
	IncludeAll bool            `json:"includeAll"`
	Multi      bool            `json:"multi"`
	Options    []Option        `json:"options"`
}

// numerical is the Sort of variables whose values are numbers.
const numerical = 3

// Option is one value of a variable.
type Option struct {
	Text  string `json:"text"`
	Value string `json:"value"`
}

// Query returns what a variable of type query asks, and the values of a custom one.
func (v Variable) Query() string {
	var s string
	if json.Unmarshal(v.RawQuery, &s) == nil {
		return s
	}
	var o struct{ Query string }
	if json.Unmarshal(v.RawQuery, &o) != nil {
		return ""
	}
	return o.Query
}

// LabelQuery takes label_values(SELECTOR, LABEL) apart.
func LabelQuery(query string) (selector, label string, ok bool) {
	inside, ok := call(query, "label_values")
	if !ok {
		return "", "", false
	}
	i := strings.LastIndexByte(inside, ',')
	if i < 0 {
		return "", "", false
	}
	return strings.TrimSpace(inside[:i]), strings.TrimSpace(inside[i+1:]), true
}

// ResultQuery takes query_result(EXPR) apart.
func ResultQuery(query string) (expr string, ok bool) { return call(query, "query_result") }

// call returns what is between the parentheses of a function.
func call(s, function string) (string, bool) {
	s, ok := strings.CutPrefix(s, function+"(")
	if !ok {
		return "", false
	}
	return strings.CutSuffix(s, ")")
}

// ResultText is one result of query_result as Grafana writes it down for Regex to read.
func ResultText(name string, labels map[string]string, value, timestamp string) string {
	var pairs []string
	for l, v := range labels {
		if l != "__name__" {
			pairs = append(pairs, fmt.Sprintf(`%s="%s"`, l, v)) // Grafana escapes nothing either
		}
	}
	slices.Sort(pairs) // Prometheus sends them so
	return name + "{" + strings.Join(pairs, ",") + "} " + value + " " + timestamp
}

// Pick applies Regex to raw values, as Grafana does: what does not match is left out,
// the groups named value and text, or else the first one, are what remains.
func (v Variable) Pick(raw []string) ([]Option, error) {
	var options []Option
	add := func(o Option) {
		if !slices.ContainsFunc(options, func(p Option) bool { return p.Value == o.Value }) {
			options = append(options, o)
		}
	}
	if v.Regex == "" {
		for _, s := range raw {
			add(Option{s, s})
		}
		return options, nil
	}
	re, err := regexp.Compile(strings.TrimSuffix(strings.TrimPrefix(v.Regex, "/"), "/"))
	if err != nil {
		return nil, fmt.Errorf("variable %s: %w", v.Name, err)
	}
	for _, s := range raw {
		m := re.FindStringSubmatch(s)
		if m == nil {
			continue
		}
		o := Option{Text: m[0], Value: m[0]}
		if len(m) > 1 {
			o = Option{Text: m[1], Value: m[1]}
		}
		if i := re.SubexpIndex("value"); i > 0 {
			o = Option{Text: m[i], Value: m[i]}
		}
		if i := re.SubexpIndex("text"); i > 0 {
			o.Text = m[i]
		}
		add(o)
	}
	return options, nil
}

// Value is what a variable stands for at the moment.
type Value struct {
	Options []Option
	// Regex says that more than one may be chosen: then they are written as a regular
	// expression for =~. All says that All is chosen, and AllValue what it then stands for.
	Regex    bool
	All      bool
	AllValue string
}

// Choose makes the value of a variable.
func (v Variable) Choose(options ...Option) Value {
	return Value{Options: options, Regex: v.Multi || v.IncludeAll}
}

// ChooseAll makes the value of a variable when All is chosen; options are all there are.
func (v Variable) ChooseAll(options []Option) Value {
	return Value{Options: options, Regex: true, All: true, AllValue: v.AllValue}
}

// reference is a variable in a query or title: $name, ${name}, ${name:format},
// ${__field.labels.name} or [[name]].
var reference = regexp.MustCompile(`\$(\w+)|\$\{(\w+)([.\[][^:}]*)?(?::(\w+))?\}|\[\[(\w+)(?::(\w+))?\]\]`)

// group is $1 of label_replace, which Grafana leaves alone since no variable is called so.
var group = regexp.MustCompile(`^[0-9]+$`)

// References returns the names of the variables in a text. Those of Grafana begin with __.
func References(text string) (names []string) {
	for _, m := range reference.FindAllStringSubmatch(text, -1) {
		name := m[1] + m[2] + m[5]
		if !group.MatchString(name) && !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	return names
}

// Interpolate puts the values of variables into a query.
func Interpolate(text string, values map[string]Value) (string, error) {
	var unknown []string
	out := reference.ReplaceAllStringFunc(text, func(s string) string {
		m := reference.FindStringSubmatch(s)
		if group.MatchString(m[1]) {
			return s
		}
		v, ok := values[m[1]+m[2]+m[5]]
		if !ok || m[3] != "" {
			unknown = append(unknown, s)
			return s
		}
		return v.format(m[4]+m[6], m[1]+m[2]+m[5])
	})
	if unknown != nil {
		return "", fmt.Errorf("%q: no value for %s", text, strings.Join(unknown, ", "))
	}
	return out, nil
}

// format writes a value as ${name:format} wants it; empty: as a query of Prometheus does.
func (v Value) format(format, name string) string {
	var texts, raw []string
	for _, o := range v.Options {
		texts, raw = append(texts, o.Text), append(raw, o.Value)
	}
	switch {
	case format == "text":
		return strings.Join(texts, " + ")
	case format == "queryparam":
		if v.All {
			raw = []string{"$__all"}
		}
		return "var-" + name + "=" + strings.Join(raw, "&var-"+name+"=")
	case v.All && v.AllValue != "":
		return v.AllValue
	case format == "raw" || !v.Regex:
		return strings.Join(raw, ",")
	}
	for i := range raw {
		raw[i] = special.ReplaceAllString(strings.ReplaceAll(raw[i], `\`, `\\\\`), `\\$0`)
	}
	if len(raw) == 1 {
		return raw[0]
	}
	return "(" + strings.Join(raw, "|") + ")"
}

// special is what means something in a regular expression. It stands inside a string of
// PromQL, so it gets two backslashes.
var special = regexp.MustCompile(`[$^*{}\[\]'+?.()|]`)
