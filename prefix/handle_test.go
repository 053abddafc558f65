package prefix

import (
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

func TestAHandleKnowsItsBlock(t *testing.T) {
	p := netip.MustParsePrefix("192.0.2.0/24")
	addr := netip.MustParseAddr("192.0.2.7")
	table := NewTable(nil)
	table.Apply([]Block{{Prefix: p, Targets: []Target{{Addr: addr, Probes: []TargetProbe{{DownAfter: 3, UpAfter: 1}}}}}})
	h, ok := table.Handle(addr, Probe{})
	if !ok {
		t.Fatal("no handle")
	}
	table.Apply(nil) // it outlives its block
	for name, test := range map[string]struct {
		handle Handle
		want   netip.Prefix
	}{
		"of an address":     {h, p},
		"that names no one": {Handle{}, netip.Prefix{}},
	} {
		if diff := cmp.Diff(test.want, test.handle.Prefix(), cmpopts.EquateComparable(netip.Prefix{})); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}
