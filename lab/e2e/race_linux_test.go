//go:build race

package e2e

// raceFlag makes the exporter watch for data races when the tests do.
const raceFlag = "-race"
