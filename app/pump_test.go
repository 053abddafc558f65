package app

import (
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"prefix_exporter/event"
	"prefix_exporter/prefix"
)

func TestChangesAreToldInOrderAndSoon(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := event.New(event.Options{Registerer: prometheus.NewRegistry()})
		p := &pump{log: log}
		go func() { _ = p.run(t.Context()) }()
		addr := netip.MustParseAddr("192.0.2.0")
		for i := range 1000 {
			addr = addr.Next()
			p.add(prefix.Change{Addr: addr, To: prefix.Up})
			if i == 500 {
				synctest.Wait()
			}
		}
		if got := log.Since(0, 2000); len(got) != 0 {
			t.Errorf("%d events were told by who must not wait", len(got))
		}
		time.Sleep(pumpInterval)
		synctest.Wait()
		got := log.Since(0, 2000)
		if len(got) != 1000 {
			t.Fatalf("%d events, want 1000", len(got))
		}
		for i := 1; i < len(got); i++ {
			if a, b := got[i-1].IP, got[i].IP; b != a.Next() {
				t.Fatalf("%s comes after %s", b, a)
			}
		}
	})
}
