//go:build race

package testenv

// Race says whether the tests watch for data races, which makes everything many times slower.
const Race = true
