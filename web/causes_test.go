package web

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"prefix_exporter/prefix"
)

// stand makes slots in a state by a cause; by x itself is the address.
func stand(n int, state prefix.State, o prefix.Outcome, by string, code uint8) (slots []prefix.Slot) {
	why := prefix.Cause{Outcome: o, Code: code}
	if by != "" {
		why.By, why.Type = netip.MustParseAddr(by), 3
	}
	return slices.Repeat([]prefix.Slot{{Configured: true, State: state, Cause: why}}, n)
}

// blocked makes slots that are unknown for a reason.
func blocked(n int, obstacle string) []prefix.Slot {
	return slices.Repeat([]prefix.Slot{{Configured: true, State: prefix.Unknown, Obstacle: obstacle, Cause: prefix.Cause{Outcome: prefix.Timeout}}}, n)
}

func TestCausesAreCounted(t *testing.T) {
	const router, other = "198.51.100.1", "198.51.100.2"
	eachItself := func() (slots []prefix.Slot) {
		for i := range 20 {
			slots = append(slots, stand(1, prefix.Down, prefix.Unreachable, fmt.Sprintf("192.0.2.%d", i), 10)...)
		}
		return slots
	}
	manyRouters := func() (slots []prefix.Slot) {
		for i := range 20 {
			slots = append(slots, stand(21-i, prefix.Down, prefix.Unreachable, fmt.Sprintf("198.51.100.%d", i), 0)...)
		}
		return slots
	}
	for name, test := range map[string]struct {
		slots []prefix.Slot
		want  []string
	}{
		"all is well":             {stand(3, prefix.Up, prefix.Answered, "", 0), nil},
		"one lost a probe":        {stand(3, prefix.Up, prefix.Unreachable, router, 0), nil},
		"silence":                 {stand(3, prefix.Down, prefix.Timeout, "", 0), []string{"down timeout: timeout ×3"}},
		"the prober has no way":   {stand(2, prefix.Down, prefix.NoRoute, "", 0), []string{"down no_route: no route from the prober ×2"}},
		"a router says so":        {stand(2, prefix.Down, prefix.Unreachable, router, 0), []string{"down unreachable: net unreachable, says 198.51.100.1 ×2"}},
		"a reset":                 {stand(2, prefix.Down, prefix.Refused, "", 0), []string{"down refused: connection refused ×2"}},
		"never heard of":          {stand(2, prefix.Dark, prefix.Timeout, "", 0), nil},
		"not asked yet":           {stand(2, prefix.Dark, prefix.Answered, "", 0), nil},
		"rejected from the start": {stand(2, prefix.Dark, prefix.Unreachable, router, 13), []string{"rejected unreachable: administratively prohibited, says 198.51.100.1 ×2"}},
		"the most frequent one comes first": {
			slices.Concat(stand(1, prefix.Down, prefix.Timeout, "", 0), stand(2, prefix.Down, prefix.Unreachable, other, 1), stand(3, prefix.Down, prefix.Unreachable, router, 1)),
			[]string{"down unreachable: host unreachable, says 198.51.100.1 ×3", "down unreachable: host unreachable, says 198.51.100.2 ×2", "down timeout: timeout ×1"},
		},
		"each says it of itself": {eachItself(), []string{"down unreachable: host prohibited ×20"}},
		"more routers than can be named": {manyRouters(), []string{
			"down unreachable: net unreachable ×90", "down unreachable: net unreachable, says 198.51.100.0 ×21", "down unreachable: net unreachable, says 198.51.100.1 ×20",
			"down unreachable: net unreachable, says 198.51.100.2 ×19", "down unreachable: net unreachable, says 198.51.100.3 ×18", "down unreachable: net unreachable, says 198.51.100.4 ×17",
			"down unreachable: net unreachable, says 198.51.100.5 ×16", "down unreachable: net unreachable, says 198.51.100.6 ×15", "down unreachable: net unreachable, says 198.51.100.7 ×14",
		}},
		"nothing can be measured": {slices.Concat(blocked(1, ""), blocked(2, "ENOBUFS")), []string{"unknown ENOBUFS ×2", "unknown no_result ×1"}},
		"left out, although a router says something": {
			[]prefix.Slot{{Configured: true, LeftOut: true, Cause: prefix.Cause{Outcome: prefix.Unreachable}}}, nil,
		},
	} {
		t.Run(name, func(t *testing.T) {
			c := newCauses()
			for i := range test.slots {
				c.take(netip.AddrFrom4([4]byte{192, 0, 2, byte(i)}), &test.slots[i])
			}
			if diff := cmp.Diff(test.want, lineUp(c.json())); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// lineUp writes causes as lines.
func lineUp(j causesJSON) (lines []string) {
	for _, kind := range []struct {
		name string
		list []causeJSON
	}{{"down", j.Down}, {"rejected", j.Rejected}} {
		for _, c := range kind.list {
			by := ""
			if c.By != nil {
				by = ", says " + c.By.String()
			}
			lines = append(lines, fmt.Sprintf("%s %s: %s%s ×%d", kind.name, c.Reason, c.Detail, by, c.Count))
		}
	}
	for _, c := range j.Unknown {
		lines = append(lines, fmt.Sprintf("unknown %s ×%d", c.Reason, c.Count))
	}
	return lines
}

// TestWhoAsksFirstAfterAPauseIsShownNothingOld stops everything for two hours, as SIGSTOP does, and asks
// before anything else runs.
func TestWhoAsksFirstAfterAPauseIsShownNothingOld(t *testing.T) {
	const last, unknown = `"last_seconds":null,"last_unix":null`, `"state":"unknown","cause":"","by":null,"obstacle":"no_result"`
	for target, want := range map[string][]string{
		"/api/v1/ips/192.0.2.1":         {unknown, last, `"error":""`},
		"/api/v1/ips/192.0.2.2":         {unknown, last, `"error":""`},
		"/api/v1/prefixes/192.0.2.0/24": {`"up":0,"down":0,"dark":1,"unknown":4,`, unknown, last},
		"/api/v1/prefixes":              {`"up":0,"down":0,"dark":1,"unknown":4,`, last},
		"/api/v1/summary":               {`"up":0,"down":0,"dark":1,"unknown":6,`, last},
	} {
		t.Run(target, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				w.live(t)
				time.Sleep(2 * time.Hour)
				got := request(w.handler, "GET", target, "").Body.String()
				for _, part := range want {
					if !strings.Contains(got, part) {
						t.Errorf("no %s in %s", part, got)
					}
				}
			})
		})
	}
}

// TestTheTableMayKnowBeforeTheRecorder asks in the second in which an address has become unknown, and whose
// frame is not made.
func TestTheTableMayKnowBeforeTheRecorder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.live(t)
		for range 10 {
			time.Sleep(time.Second)
			w.frames.Tick(time.Now())
		}
		time.Sleep(900 * time.Millisecond)
		for _, target := range []string{"/api/v1/ips/192.0.2.1", "/api/v1/prefixes/192.0.2.0/24"} {
			var answer struct {
				Probes []measured
				IPs    []struct{ Probes []measured }
			}
			if err := json.Unmarshal(request(w.handler, "GET", target, "").Body.Bytes(), &answer); err != nil {
				t.Fatal(err)
			}
			one := answer.Probes[0]
			if len(answer.IPs) > 0 {
				one = answer.IPs[0].Probes[0]
			}
			if one.State != "unknown" || one.Numbers.Last != nil || one.Numbers.Unix != nil {
				t.Errorf("%s: %+v", target, one)
			}
		}
	})
}

// measured is what the tests read of one probe of an address.
type measured struct {
	State   string
	Numbers struct {
		Last *float64 `json:"last_seconds"`
		Unix *int64   `json:"last_unix"`
	}
}
