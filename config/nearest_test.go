package config

import "testing"

func TestNearest(t *testing.T) {
	names := []string{"interval", "timeout", "size", "ttl", "check", "config.file"}
	for typed, want := range map[string]string{
		"interval": "interval", "intervall": "interval", "interavl": "interval", "Interval": "interval", "intrvl": "interval",
		"tll": "ttl", "tlt": "ttl", "sise": "size", "chekc": "check", "config.flie": "config.file", "": "", "x": "", "timer": "", "rate": "",
	} {
		if got := Nearest(typed, names); got != want {
			t.Errorf("%s: got %q, want %q", typed, got, want)
		}
	}
}

func TestDistance(t *testing.T) {
	for pair, want := range map[[2]string]int{
		{"", ""}: 0, {"a", ""}: 1, {"", "ab"}: 2, {"abc", "abc"}: 0, {"abc", "acb"}: 1, {"abcd", "badc"}: 2, {"abc", "xyz"}: 3, {"ca", "abc"}: 3, {"abcdef", "a"}: 3,
	} {
		if got := distance(pair[0], pair[1]); got != want {
			t.Errorf("%q: got %d, want %d", pair, got, want)
		}
	}
}
