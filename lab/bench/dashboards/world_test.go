package main

import (
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/encoding/protowire"

	"prefix_exporter/docs"
)

// small is a world of every kind of series.
func small() world {
	return world{prefixes: 2, known: 164, ports: 1, span: time.Hour, scrape: 15 * time.Second, end: time.Unix(1.8e9, 0)}
}

func name(s series) string { return s.labels[1] }

func TestTheWorldHasOnlyWhatTheExporterAndItsRulesWrite(t *testing.T) {
	documented, err := docs.ParseMetrics()
	if err != nil {
		t.Fatal(err)
	}
	var rules []byte
	for _, file := range []string{"recording.yml", "alerts.yml"} {
		text, err := os.ReadFile("../../../rules/" + file)
		if err != nil {
			t.Fatal(err)
		}
		rules = append(rules, text...)
	}
	seen := map[string]bool{}
	for _, s := range small().all() {
		key := strings.Join(s.labels, "\x00")
		if seen[key] {
			t.Fatalf("%q is there twice", s.labels)
		}
		seen[key] = true
		switch base := strings.TrimSuffix(strings.TrimSuffix(strings.TrimSuffix(name(s), "_bucket"), "_sum"), "_count"); {
		case name(s) == "up" || name(s) == "ALERTS":
		case strings.Contains(name(s), ":"):
			if !strings.Contains(string(rules), "record: "+name(s)+"\n") {
				t.Errorf("%s: no rule records it", name(s))
			}
		default:
			i := slices.IndexFunc(documented, func(m docs.Metric) bool { return m.Name == base })
			if i < 0 {
				t.Errorf("%s: no such metric", name(s))
				continue
			}
			for l := 6; l < len(s.labels); l += 2 { // behind the name, instance and job
				if label := s.labels[l]; label != "le" && !slices.Contains(documented[i].Labels, label) {
					t.Errorf("%s: has no label %s", name(s), label)
				}
			}
		}
	}
}

func TestCountersNeverFallAndAnswersNeverExceedWhatWasSent(t *testing.T) {
	sent, answered := map[string]float64{}, map[string]float64{}
	for _, s := range small().all() {
		counts := strings.HasSuffix(name(s), "_total") || strings.HasSuffix(name(s), "_count") || strings.HasSuffix(name(s), "_sum") || strings.HasSuffix(name(s), "_bucket")
		before := s.value(0)
		for at := 15.0; counts && at <= 3600; at += 15 {
			now := s.value(at)
			if now < before {
				t.Fatalf("%q falls from %v to %v at %v s", s.labels, before, now, at)
			}
			before = now
		}
		switch key := strings.Join(s.labels[6:], " "); name(s) {
		case "prefix_target_sent_total":
			sent[key] = before
		case "prefix_target_rtt_seconds_count":
			answered[key] = before
		}
	}
	if len(sent) != 2*2*164 {
		t.Errorf("%d probes of known addresses, want %d", len(sent), 2*2*164)
	}
	for key, n := range answered {
		if n > sent[key] || n < 0.9*sent[key] {
			t.Errorf("%s: %v answers to %v probes", key, n, sent[key])
		}
	}
}

func TestSeriesAreWrittenAsRemoteWriteWantsThem(t *testing.T) {
	w := small()
	s := series{[]string{"ip", "192.0.2.1", "__name__", "up", "name", ""}, constant(1)}
	sortPairs(s.labels)
	start := w.end.Add(-w.span)
	b, n := w.encode(s, start, start, start.Add(time.Minute))
	if n != 4 {
		t.Errorf("%d samples in a minute, want 4", n)
	}
	var labels []string
	samples := 0
	for len(b) > 0 {
		field, _, length := protowire.ConsumeTag(b)
		b = b[length:]
		message, length := protowire.ConsumeBytes(b)
		if length < 0 {
			t.Fatal(protowire.ParseError(length))
		}
		b = b[length:]
		if field == 2 {
			samples++
			continue
		}
		for len(message) > 0 {
			_, _, length := protowire.ConsumeTag(message)
			message = message[length:]
			text, length := protowire.ConsumeString(message)
			message = message[length:]
			labels = append(labels, text)
		}
	}
	if want := []string{"__name__", "up", "ip", "192.0.2.1"}; !slices.Equal(labels, want) || samples != 4 {
		t.Errorf("labels %q and %d samples, want %q and 4", labels, samples, want)
	}
}
