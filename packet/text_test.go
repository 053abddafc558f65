package packet

import "testing"

func TestErrorsHaveTheNamesOfPing(t *testing.T) {
	for _, test := range []struct {
		v6         bool
		kind, code uint8
		want       string
	}{
		{false, Unreachable, 0, "net unreachable"},
		{false, Unreachable, 13, "administratively prohibited"},
		{false, Unreachable, 15, "precedence cutoff"},
		{false, Unreachable, 16, "unreachable, code 16"},
		{false, TimeExceed, 0, "TTL exceeded"},
		{false, TimeExceed, 1, "fragment reassembly time exceeded"},
		{false, 12, 0, "ICMP type 12 code 0"},
		{true, Unreachable6, 0, "no route"},
		{true, Unreachable6, 7, "source routing error"},
		{true, Unreachable6, 8, "unreachable, code 8"},
		{true, TooBig6, 0, "packet too big"},
		{true, TimeExceed6, 0, "TTL exceeded"},
		{true, 4, 1, "ICMP type 4 code 1"},
	} {
		if got := ErrorText(test.v6, test.kind, test.code); got != test.want {
			t.Errorf("v6 %v, type %d, code %d: %q, want %q", test.v6, test.kind, test.code, got, test.want)
		}
	}
}
