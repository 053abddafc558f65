package dashboards

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
)

// field is how the values of a panel are shown: all of them, or those that an override names.
type field struct {
	Name     string // of the override; empty: all others
	Unit     string
	Decimals *int
	NoValue  string
	Min      *float64
	Color    struct {
		Mode       string
		FixedColor string
	}
	Thresholds struct{ Steps []step }
	Mappings   []struct {
		Type    string
		Options map[string]json.RawMessage
	}
	Links  []Link
	Custom map[string]any
}

// step is a colour, and from which value on it is used; the base step has no value.
type step struct {
	Color string
	Value *float64
}

// fields returns the defaults of a panel and its overrides. What an override does not say
// is what the defaults say.
func fields(t *testing.T, p Panel) []field {
	t.Helper()
	if p.FieldConfig == nil {
		return nil // text, or a row
	}
	var config struct {
		Defaults  json.RawMessage
		Overrides []struct {
			Matcher    struct{ Options any }
			Properties []struct {
				ID    string
				Value json.RawMessage
			}
		}
	}
	decode := func(b []byte, into any) {
		if err := json.Unmarshal(b, into); err != nil {
			t.Fatalf("panel %d: %v", p.ID, err)
		}
	}
	decode(p.FieldConfig, &config)
	var all field
	decode(config.Defaults, &all)
	list := []field{all}
	for _, o := range config.Overrides {
		own := map[string]json.RawMessage{}
		custom := map[string]json.RawMessage{}
		for _, property := range o.Properties {
			if key, ok := strings.CutPrefix(property.ID, "custom."); ok {
				custom[key] = property.Value
			} else {
				own[property.ID] = property.Value
			}
		}
		b, err := json.Marshal(own)
		if err != nil {
			t.Fatal(err)
		}
		c, err := json.Marshal(custom)
		if err != nil {
			t.Fatal(err)
		}
		var f field
		decode(config.Defaults, &f)
		if own["thresholds"] != nil {
			f.Thresholds.Steps = nil
		}
		decode(b, &f)
		decode(c, &f.Custom)
		f.Name = fmt.Sprint(o.Matcher.Options)
		list = append(list, f)
	}
	return list
}

// eachField runs a check on every field of every panel of every dashboard.
func eachField(t *testing.T, check func(t *testing.T, p Panel, f field)) {
	t.Helper()
	each(t, func(t *testing.T, d Dashboard) {
		for _, p := range d.AllPanels() {
			for _, f := range fields(t, p) {
				check(t, p, f)
			}
		}
	})
}

// panel returns the one panel of a dashboard with this title.
func panel(t *testing.T, uid, title string) Panel {
	t.Helper()
	for _, d := range load(t) {
		for _, p := range d.AllPanels() {
			if d.UID == uid && p.Title == title {
				return p
			}
		}
	}
	t.Fatalf("%s has no panel %q", uid, title)
	return Panel{}
}

// colorOf is the colour of a value by thresholds; nil: of no value.
func (f field) colorOf(value *float64) string {
	color := ""
	for _, s := range f.Thresholds.Steps {
		if s.Value == nil || value != nil && *value >= *s.Value {
			color = s.Color
		}
	}
	return color
}
