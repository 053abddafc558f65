// Package rules carries the recording and alerting rules of Prometheus, and the tests that
// hold them, and prometheus.yml, against promtool and against the metrics that the exporter has.
package rules
