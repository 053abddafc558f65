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
	// It takes three lost probes to be down, so this is what was remembered.
	upOf := func(ip string) float64 { return value(first, "prefix_target_up", "ip="+ip) }
	for ip, want := range map[string]float64{cutOff: 1, woken: 1, cutUnseen: 1, cutForGood: 0, dark: 0} {
		if got := upOf(ip); got != want {
			s.t.Errorf("%s begins as %v, want %v", ip, got, want)
		}
	}
	for state, want := range map[string]float64{"up": 65, "down": 64, "dark": 127} {
		if got := value(first, "prefix_targets", "prefix=203.0.113.0/24", "state="+state); got != want {
			s.t.Errorf("%v addresses of 203.0.113.0/24 begin as %s, want %v", got, state, want)
		}
	}

	for _, ip := range []string{cutForGood, cutUnseen} {
		down := fmt.Sprintf(`count(prefix_target_up{ip=%q} == 0 and prefix_target_sent_total > 2)`, ip)
		s.prometheus.until(down, 1)
	}
	s.prometheus.until(`prefix_targets{prefix="`+outage+`",state="down"}`, 2)
	s.prometheus.until(`prefix_targets{prefix="`+outage+`",state="dark"}`, 0)
	s.prometheus.until(`prefix_targets{prefix="`+outage+`",state="up"}`, 254)
}
