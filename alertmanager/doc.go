// Package alertmanager carries the configuration of Alertmanager and its templates for mail and
// SMS, and the tests that run amtool over them.
package alertmanager
