// Package e2e tests the whole program from outside: the real binary, in a simulated
// internet that knows the truth (package netsim), scraped by the real Prometheus
// (package lab/e2e/tools). It has no code of its own beside the tests, which need Linux.
package e2e
