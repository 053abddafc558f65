//go:build !linux

package netsim

// memory is nothing where chunks come from the Go heap.
type memory struct{}

func newMemory[T any](*T) *memory { return nil }

func mapChunk[T any](*memory) []T { return make([]T, chunkLen) }

func unmapChunk[T any](*memory, []T) {}
