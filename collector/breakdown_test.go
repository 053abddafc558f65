package collector

import (
	"net/netip"
	"testing"
)

func TestCausesAreBounded(t *testing.T) {
	var b breakdown
	for i := range 256 {
		by := netip.AddrFrom4([4]byte{192, 0, 2, byte(i)})
		b.add(cause{"unreachable", "port unreachable", by})
		b.add(cause{"unreachable", "net unreachable", by})
	}
	var sum uint64
	for _, c := range b {
		sum += c.n
	}
	if len(b) > maxCauses+2 || sum != 512 {
		t.Errorf("%d causes of %d addresses: %v", len(b), sum, b)
	}
	for _, c := range b[:maxCauses] {
		if !c.by.IsValid() || c.n != 1 {
			t.Errorf("%+v", c)
		}
	}
	for _, c := range b[maxCauses:] {
		if c.by.IsValid() || c.detail == "" || c.n < 200 {
			t.Errorf("%+v", c)
		}
	}
}
