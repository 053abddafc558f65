package e2e

import "fmt"

// gone ends the exporter. Prometheus must then say that it is gone, and nothing about
// addresses: not knowing is not down.
func (s *story) gone() {
	s.exporter.end()
	s.prometheus.until(`up{job="prefix_exporter"}`, 0)
	for _, promql := range []string{"prefix_target_up == 0", "prefix_target_up", `prefix_targets{state="down"}`} {
		if v := s.prometheus.query(promql); len(v) != 0 {
			s.t.Errorf("%s: %d series, want none: they are stale", promql, len(v))
		}
	}
}

// restart looks at an exporter that has just started with the storage of the one before,
// after one more address has fallen silent unseen.
func (s *story) restart() {
	first := s.exporter.scrape()
	// What was remembered is no evidence: it is unknown until a probe agrees, which none does here.
	if got := value(first, "prefix_target_up", "ip="+cutUnseen); got != 0 {
		s.t.Errorf("%s begins as up: that is of the time before", cutUnseen)
	}
	const other = "prefix=203.0.113.0/24"
	known := value(first, "prefix_targets", other) - value(first, "prefix_targets", other, "state=dark")
	if dark := value(first, "prefix_targets", other, "state=dark"); known != 129 || dark != 127 {
		s.t.Errorf("of 203.0.113.0/24 %v addresses are known and %v dark, want 129 and 127", known, dark)
	}
	for state, want := range map[string]float64{"up": 65, "down": 64, "dark": 127, "unknown": 0} {
		s.prometheus.until(fmt.Sprintf(`prefix_targets{prefix="203.0.113.0/24",state=%q}`, state), want)
	}

	for _, ip := range []string{cutForGood, cutUnseen} {
		down := fmt.Sprintf(`count(prefix_target_up{ip=%q} == 0 and prefix_target_sent_total > 2)`, ip)
		s.prometheus.until(down, 1)
	}
	s.prometheus.until(`prefix_targets{prefix="`+outage+`",state="down"}`, 2)
	s.prometheus.until(`prefix_targets{prefix="`+outage+`",state="dark"}`, 0)
	s.prometheus.until(`prefix_targets{prefix="`+outage+`",state="up"}`, 254)
}
