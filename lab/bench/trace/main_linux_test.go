package main

import "testing"

func TestOnlyAShareAboveTheCeilingFails(t *testing.T) {
	for _, c := range []struct {
		name          string
		core, ceiling float64
		fails         bool
	}{
		{"no ceiling", 100, 0, false},
		{"below", 1.9, 2, false},
		{"exactly", 2, 2, false},
		{"above", 2.1, 2, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := result{Core: c.core}
			if err := r.under(c.ceiling); (err != nil) != c.fails {
				t.Errorf("error %v", err)
			}
		})
	}
}
