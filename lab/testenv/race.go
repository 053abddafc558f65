//go:build race

package testenv

// race says whether the tests watch for data races, which makes everything many times slower.
const race = true
