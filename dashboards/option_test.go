package dashboards

import (
	"encoding/json"
	"testing"
)

// smallScreen is how many pixels panels have on a laptop of 1,366.
const smallScreen = 1340

// TestOptionsAreSpeltForOldAndNew holds what Grafana 9.4 and its successors call by
// different names, or take for granted differently: both spellings must be there.
func TestOptionsAreSpeltForOldAndNew(t *testing.T) {
	each(t, func(t *testing.T, d Dashboard) {
		for _, p := range d.AllPanels() {
			if p.Type == "row" {
				continue
			}
			var options map[string]any
			if err := json.Unmarshal(p.Options, &options); err != nil {
				t.Fatalf("panel %d: %v", p.ID, err)
			}
			bad := func(format string, args ...any) {
				t.Helper()
				t.Errorf("panel %d %q: "+format, append([]any{p.ID, p.Title}, args...)...)
			}
			switch p.Type {
			case "heatmap":
				// 9.4 reads show, 10 and newer read mode.
				tooltip, _ := options["tooltip"].(map[string]any)
				if tooltip["show"] != true || tooltip["mode"] != "single" {
					bad("tooltip is %v, want show and mode", tooltip)
				}
			case "status-history":
				// Newer ones show 20 rows a page unless told 0. More columns than half its
				// pixels are refused, whatever the version.
				if options["perPage"] != 0.0 {
					bad("perPage is %v, want 0", options["perPage"])
				}
				if p.MaxDataPoints == 0 || p.Interval == "" {
					bad("maxDataPoints is %d, interval %q: want both", p.MaxDataPoints, p.Interval)
				}
				// Steps are rounded, which makes up to half as many columns more.
				if columns, pixels := p.MaxDataPoints*3/2, p.GridPos.W*smallScreen/24; columns > pixels/2 {
					bad("has up to %d columns on %d pixels", columns, pixels)
				}
			case "table":
				checkCells(p, bad)
				if options["cellHeight"] == nil || options["footer"] == nil {
					bad("cellHeight or footer is missing")
				}
			case "stat":
				for _, newer := range []string{"wideLayout", "showPercentChange"} {
					if options[newer] != false {
						bad("%s is %v, want false: newer ones have another default", newer, options[newer])
					}
				}
			case "timeseries", "text":
			default:
				bad("a panel of type %s has been seen in no Grafana", p.Type)
			}
		}
	})
}

// checkCells: 9.4 knows custom.displayMode, 9.5 and newer custom.cellOptions.
func checkCells(p Panel, bad func(string, ...any)) {
	var config struct {
		Defaults struct {
			Custom map[string]any
		}
		Overrides []struct {
			Matcher    struct{ Options any }
			Properties []struct {
				ID    string
				Value any
			}
		}
	}
	if err := json.Unmarshal(p.FieldConfig, &config); err != nil {
		bad("%v", err)
	}
	if config.Defaults.Custom["displayMode"] == nil || config.Defaults.Custom["cellOptions"] == nil {
		bad("displayMode and cellOptions: want both")
	}
	for _, o := range config.Overrides {
		has := map[string]bool{}
		for _, property := range o.Properties {
			has[property.ID] = true
		}
		if has["custom.displayMode"] != has["custom.cellOptions"] {
			bad("column %v: custom.displayMode and custom.cellOptions: want both or none", o.Matcher.Options)
		}
	}
}

// A variable as the least interval of a panel was understood by 9.4; the dashboards of 11 and
// newer take it for a duration. In a target it has always been a variable.
func TestPanelsHaveNoVariableAsInterval(t *testing.T) {
	each(t, func(t *testing.T, d Dashboard) {
		for _, p := range d.AllPanels() {
			if names := References(p.Interval); names != nil {
				t.Errorf("panel %d: interval %q", p.ID, p.Interval)
			}
		}
	})
}

// A shared crosshair makes the heatmap of 9.4 throw at every move of the mouse.
func TestNoDashboardSharesACrosshair(t *testing.T) {
	each(t, func(t *testing.T, d Dashboard) {
		text, err := Text(d.File)
		if err != nil {
			t.Fatal(err)
		}
		var raw struct{ GraphTooltip *int }
		if err := json.Unmarshal(text, &raw); err != nil {
			t.Fatal(err)
		}
		if raw.GraphTooltip == nil || *raw.GraphTooltip != 0 {
			t.Errorf("graphTooltip is %v, want 0", raw.GraphTooltip)
		}
	})
}
