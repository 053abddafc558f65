package probe

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
)

// raised returns the names of the gauges of a Health that are 1, with their labels.
func raised(t *testing.T, h *Health) (list []string) {
	t.Helper()
	registry := prometheus.NewRegistry()
	registry.MustRegister(h)
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			if m.GetGauge().GetValue() != 1 {
				continue
			}
			words := []string{strings.TrimPrefix(f.GetName(), "prefix_exporter_")}
			for _, l := range m.GetLabel() {
				words = append(words, l.GetValue())
			}
			list = append(list, strings.Join(words, " "))
		}
	}
	return list
}

func TestADoubtIsShorterThanATrouble(t *testing.T) {
	type moment struct {
		after time.Duration
		want  []string
	}
	for name, test := range map[string]struct {
		kind   string
		reason Reason
		then   []moment
	}{
		"a stall is doubted for a scrape, and remembered for two minutes": {"icmp", ReasonStalled, []moment{
			{0, []string{"doubt icmp stalled", "unhealthy icmp stalled"}},
			{doubtHold - time.Second, []string{"doubt icmp stalled", "unhealthy icmp stalled"}},
			{doubtHold, []string{"unhealthy icmp stalled"}},
			{healthHold, []string{"healthy"}},
		}},
		"who is offline may see losses of his own":            {"tcp", ReasonOffline, []moment{{0, []string{"doubt tcp offline", "unhealthy tcp offline"}}}},
		"drops of the kernel may hide answers":                {"trace", ReasonKernelDrop, []moment{{0, []string{"doubt trace kernel_drop", "unhealthy trace kernel_drop"}}}},
		"a flood may hide answers":                            {"icmp", ReasonFlood, []moment{{0, []string{"doubt icmp flood", "unhealthy icmp flood"}}}},
		"what is skipped is no loss, and no doubt":            {"icmp", ReasonSkipped, []moment{{0, []string{"unhealthy icmp skipped"}}}},
		"what is refused is no loss, and no doubt":            {"icmp", ReasonSendError, []moment{{0, []string{"unhealthy icmp send_error"}}}},
		"a clock that is set changes no outcome":              {"icmp", ReasonClockStep, []moment{{0, []string{"unhealthy icmp clock_step"}}}},
		"a socket that fails is no reason to doubt an outage": {"tcp", ReasonSocket, []moment{{0, []string{"unhealthy tcp socket"}}}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := NewHealth(time.Now)
				begun := time.Now()
				h.Report(test.kind, test.reason, "…")
				for _, m := range test.then {
					time.Sleep(m.after - time.Since(begun))
					if diff := cmp.Diff(m.want, raised(t, h)); diff != "" {
						t.Errorf("after %v (-want +got):\n%s", m.after, diff)
					}
					if got := h.Troubled(); got != (m.after < healthHold) {
						t.Errorf("after %v it is troubled: %v", m.after, got)
					}
				}
			})
		})
	}
}

func TestEachKindOfProbeHasTroublesOfItsOwn(t *testing.T) {
	now := time.Unix(1_800_000_000, 0)
	h := NewHealth(func() time.Time { return now })
	for kind, isNew := range map[string]bool{"icmp": true, "trace": true} {
		if got := h.Report(kind, ReasonStalled, kind+": …"); got != isNew {
			t.Errorf("%s: new is %v", kind, got)
		}
		if h.Report(kind, ReasonStalled, kind+": …") {
			t.Errorf("%s: it is new twice", kind)
		}
	}
	want := []Trouble{{"icmp", ReasonStalled, "icmp: …", now}, {"trace", ReasonStalled, "trace: …", now}}
	if diff := cmp.Diff(want, h.Troubles()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestThisMachineIsOfflineAsLongAsEchoRequestsSaySo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := NewHealth(time.Now)
		h.Report("tcp", ReasonOffline, "tcp: no port has a way")
		h.Report("icmp", ReasonStalled, "icmp: stopped")
		if h.Offline() {
			t.Error("offline for another reason")
		}
		h.Report("icmp", ReasonOffline, "icmp: no way")
		time.Sleep(2 * healthEvery) // one judgement may be late
		if !h.Offline() {
			t.Error("not offline between two judgements")
		}
		time.Sleep(2 * healthEvery)
		if h.Offline() {
			t.Error("offline although that is not said any more")
		}
	})
}
