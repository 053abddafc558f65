package probe

import (
	"net/netip"
	"time"
)

const (
	// hurryRounds is how many rounds Hurry asks for: what two of them agree on is believed.
	hurryRounds = 2
	// hurryEvery bounds what a prefix that goes down again and again costs.
	hurryEvery = 30 * time.Second
)

// Hurry implements TraceEngine.
func (t *tracer) Hurry(p netip.Prefix) {
	t.mu.Lock()
	defer t.mu.Unlock()
	now := t.clock.monotonic()
	asked := false
	for _, r := range t.byKey {
		if r.target.Key.Prefix == p && (r.hurried == 0 || now-r.hurried >= int64(hurryEvery)) {
			r.hurried, r.extra = now, hurryRounds
			asked = true
		}
	}
	if !asked {
		return
	}
	select {
	case t.changed <- struct{}{}:
	default: // it is awake
	}
}

// beginExtra begins the rounds that Hurry asked for.
func (t *tracer) beginExtra() {
	if t.behind != 0 {
		return
	}
	for _, r := range t.trails {
		if r.extra > 0 && r.used && !r.open {
			r.extra--
			t.begin(r, t.clock.monotonic())
		}
	}
}
