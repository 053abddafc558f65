package route

import (
	"encoding/json"
	"net/netip"
	"testing"
)

func TestPathsInWords(t *testing.T) {
	hops := []netip.Addr{letter('a'), {}, letter('c')}
	six := netip.MustParseAddr("2001:db8::1")
	for want, p := range map[string]Path{
		"not asked yet":                                            {},
		"then silence":                                             {Status: Incomplete},
		"10.0.0.1 * 10.0.0.3":                                      {Status: Reached, Hops: hops},
		"10.0.0.1 * 10.0.0.3: then silence":                        {Status: Incomplete, Hops: hops},
		"10.0.0.1 * 10.0.0.3: loops back to hop 2, *":              {Status: Loop, Hops: hops, Again: 2},
		"10.0.0.1 * 10.0.0.3: 10.0.0.3 says host unreachable":      {Status: Blocked, Hops: hops, By: letter('c'), Code: 1},
		"10.0.0.1 * 10.0.0.3: 10.0.0.3 says unreachable, code 200": {Status: Blocked, Hops: hops, By: letter('c'), Code: 200},
		"2001:db8::1: 2001:db8::1 says no route":                   {Status: Blocked, Hops: []netip.Addr{six}, By: six},
		"2001:db8::1: 2001:db8::1 says source routing error":       {Status: Blocked, Hops: []netip.Addr{six}, By: six, Code: 7},
		"loops": {Status: Loop}, "Status(9)": {Status: 9},
	} {
		if got := p.String(); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

func TestChangesInWords(t *testing.T) {
	for rounds, want := range map[string]string{
		"a b D \n a x D #2":         "hop 2 of the path to 192.0.2.1 is 10.0.0.24 instead of 10.0.0.2",
		"a b D \n a b c D #2":       "the path to 192.0.2.1 is longer and another one from hop 3 on: 4 hops instead of 3",
		"a b D \n a b c * #2":       "the path to 192.0.2.1 is longer and another one from hop 3 on",
		"a b c D \n a b D #2":       "the path to 192.0.2.1 is shorter and another one from hop 3 on: 3 hops instead of 4",
		"a b c D \n a b c b c b #2": "the path to 192.0.2.1 loops back to hop 2, 10.0.0.2",
		"a b c b c b \n a b c D #2": "the path to 192.0.2.1 no longer loops back to hop 2, 10.0.0.2",
		"a b c D \n a b! b! b! #2":  "192.0.2.1 is unreachable: 10.0.0.2 says host unreachable",
		"a b! \n a b c D #2":        "192.0.2.1 is no longer unreachable",
	} {
		f := follow(rounds)
		if len(f.told) == 0 {
			t.Errorf("%q: no change", rounds)
			continue
		}
		if got := f.told[0].String(); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

func TestWordsAreWhatJSONSays(t *testing.T) {
	for want, v := range map[string]any{
		`"silent"`: Silent, `"unasked"`: Unasked, `"exceeded"`: Exceeded, `"arrived"`: Arrived, `"unreachable"`: Unreachable, `"Kind(9)"`: Kind(9),
		`"pending"`: Pending, `"reached"`: Reached, `"incomplete"`: Incomplete, `"blocked"`: Blocked, `"loop"`: Loop,
		`"new_router"`: NewRouter, `"longer"`: Longer, `"shorter"`: Shorter, `"loop_began"`: LoopBegan, `"loop_ended"`: LoopEnded,
		`"block_began"`: BlockBegan, `"block_ended"`: BlockEnded, `"Reason(9)"`: Reason(9),
	} {
		got, err := json.Marshal(v)
		if err != nil || string(got) != want {
			t.Errorf("got %s, %v, want %s", got, err, want)
		}
	}
	if got := (Label{Value: 16001, Class: 3, Bottom: true, TTL: 1}).String(); got != "L=16001,E=3,S=1,T=1" {
		t.Errorf("a label: %q", got)
	}
}
