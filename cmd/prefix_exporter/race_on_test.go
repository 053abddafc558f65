//go:build race

package main

// raceDetector says that memory and CPU are those of the race detector, several times the program's own.
const raceDetector = true
