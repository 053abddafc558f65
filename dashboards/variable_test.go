package dashboards

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestValuesAreWrittenAsGrafanaWritesThem(t *testing.T) {
	one := Value{Options: []Option{{"PAR-1", "192.0.2.0/24"}}}
	many := Variable{Multi: true}.Choose(Option{"a", "192.0.2.0/24"}, Option{"b", "x"})
	all := Variable{AllValue: ".*"}.ChooseAll([]Option{{"PA2", "PA2"}})
	values := map[string]Value{"one": one, "many": many, "all": all, "single": Variable{Multi: true}.Choose(one.Options...)}
	for text, want := range map[string]string{
		`{prefix="$one"}`:                      `{prefix="192.0.2.0/24"}`,
		`{prefix=~"$many"}`:                    `{prefix=~"(192\\.0\\.2\\.0/24|x)"}`,
		`{prefix=~"${single}"}`:                `{prefix=~"192\\.0\\.2\\.0/24"}`,
		`{router=~"$all"}`:                     `{router=~".*"}`,
		`${one:text} ${single:raw} [[one]]`:    `PAR-1 192.0.2.0/24 192.0.2.0/24`,
		`?${one:queryparam}&${all:queryparam}`: `?var-one=192.0.2.0/24&var-all=$__all`,
		`label_replace(x, "a", "0$1", "b")`:    `label_replace(x, "a", "0$1", "b")`,
	} {
		got, err := Interpolate(text, values)
		if err != nil || got != want {
			t.Errorf("%s: %s, %v, want %s", text, got, err, want)
		}
	}
	if _, err := Interpolate(`$nobody`, values); err == nil {
		t.Error("$nobody: no error")
	}
}

func TestVariablesPickTheirValues(t *testing.T) {
	infos := []string{
		ResultText("prefix_info", map[string]string{"name": "PAR-1", "prefix": "192.0.2.0/24", "site_prefix": "no", "t": "PAR-1  192.0.2.0/24", "tenants": ",a,"}, "1", "1700000000000"),
		ResultText("prefix_info", map[string]string{"name": "", "prefix": "2001:db8::/120", "a_prefix": "no", "t": "  2001:db8::/120"}, "1", "1700000000000"),
	}
	addresses := []string{
		ResultText("", map[string]string{"a": ".017", "ip": "192.0.2.17"}, "1", "1700000000000"),
		ResultText("", map[string]string{"a": ":01f", "ip": "2001:db8::1f"}, "1", "1700000000000"),
		ResultText("", map[string]string{"a": ":000", "ip": "2001:db8:1::"}, "1", "1700000000000"),
	}
	find := func(uid, name string) Variable {
		for _, d := range load(t) {
			for _, v := range d.Templating.List {
				if d.UID == uid && v.Name == name {
					return v
				}
			}
		}
		t.Fatalf("%s has no variable %s", uid, name)
		return Variable{}
	}
	for _, c := range []struct {
		uid, name string
		raw       []string
		want      []Option
	}{
		{"prefix-24", "prefix", infos, []Option{{"PAR-1  192.0.2.0/24", "192.0.2.0/24"}, {"  2001:db8::/120", "2001:db8::/120"}}},
		{"prefix-24", "net", []string{"192.0.2.0/24", "2001:db8::/120"}, []Option{{"192.0.2", "192.0.2"}, {"2001:db8:", "2001:db8:"}}},
		{"prefix-ip", "ip", addresses, []Option{{".017", "192.0.2.17"}, {":01f", "2001:db8::1f"}, {":000", "2001:db8:1::"}}},
	} {
		got, err := find(c.uid, c.name).Pick(c.raw)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(c.want, got); diff != "" {
			t.Errorf("%s of %s (-want +got):\n%s", c.name, c.uid, diff)
		}
	}
}

func TestStepsAreThoseOfGrafana(t *testing.T) {
	to := time.Date(2026, 11, 22, 17, 20, 7, 0, time.UTC)
	for name, c := range map[string]struct {
		query      Query
		span       time.Duration
		step, rate time.Duration
	}{
		"an hour in columns of a minute":          {Query{Interval: "1m", MaxDataPoints: 80}, time.Hour, time.Minute, 75 * time.Second},
		"three hours in at most 80 columns":       {Query{Interval: "1m", MaxDataPoints: 80}, 3 * time.Hour, 2 * time.Minute, 135 * time.Second},
		"an hour in as many columns as there are": {Query{}, time.Hour, 15 * time.Second, time.Minute},
		"a week in columns of an hour":            {Query{Interval: "15m", MinStep: "1h", MaxDataPoints: 700}, 7 * 24 * time.Hour, time.Hour, 4 * time.Hour},
		"the last two minutes of a day":           {Query{Interval: "1m", TimeFrom: "2m"}, 24 * time.Hour, time.Minute, 75 * time.Second},
	} {
		w, err := c.query.Window(to.Add(-c.span), to, 15*time.Second)
		if err != nil {
			t.Fatal(err)
		}
		if w.Step != c.step || w.Rate != c.rate {
			t.Errorf("%s: step %v and rate interval %v, want %v and %v", name, w.Step, w.Rate, c.step, c.rate)
		}
		if got := w.To.UnixNano() % int64(c.step); got != 0 {
			t.Errorf("%s: ends %v beyond a step", name, time.Duration(got))
		}
	}
}
