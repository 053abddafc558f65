package config

import "testing"

func TestRemoved(t *testing.T) {
	for name, tt := range map[string]struct {
		before, after string
		removed, of   int
		many          bool
	}{
		"nothing":                   {"[192.0.2.0/24]", "[192.0.2.0/24, 198.51.100.0/24]", 0, 256, false},
		"everything":                {"[192.0.2.0/24]", "[]", 256, 256, true},
		"half":                      {"[192.0.2.0/24]", "[192.0.2.0/25]", 128, 256, false},
		"more than half":            {"[192.0.2.0/24]", "[{prefix: 192.0.2.0/25, exclude: [192.0.2.0]}]", 129, 256, true},
		"all for others":            {"[192.0.2.0/24]", "[192.0.3.0/24]", 256, 256, true},
		"some of nothing":           {"[]", "[192.0.3.0/24]", 0, 0, false},
		"of several families":       {"[192.0.2.0/30, '2001:db8::/126', 10.0.0.0/30]", "['2001:db8::/127', 10.0.0.1/32]", 9, 12, true},
		"of blocks that change":     {"[{prefix: '2001:db8::/127'}]", "[{prefix: '2001:db8::/126'}]", 0, 2, false},
		"an address among others":   {"[10.0.0.0/29]", "[{prefix: 10.0.0.0/29, exclude: [10.0.0.3]}]", 1, 8, false},
		"what was split is no less": {"[10.0.0.0/22]", "[10.0.0.0/23, 10.0.2.0/24, 10.0.3.0/25, 10.0.3.128/25]", 0, 1024, false},
	} {
		t.Run(name, func(t *testing.T) {
			removed, of := Removed(parse(t, "prefixes: "+tt.before), parse(t, "prefixes: "+tt.after))
			if removed != tt.removed || of != tt.of || Many(removed, of) != tt.many {
				t.Errorf("got %d of %d, %v", removed, of, Many(removed, of))
			}
		})
	}
}
