package netsim

import (
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"
)

// memory is what an arena has mapped.
type memory struct{ maps map[*byte][]byte }

// newMemory returns memory that is given back when owner is garbage.
func newMemory[T any](owner *T) *memory {
	m := &memory{map[*byte][]byte{}}
	runtime.AddCleanup(owner, (*memory).free, m)
	return m
}

func (m *memory) free() {
	for _, b := range m.maps {
		_ = unix.Munmap(b)
	}
}

// mapChunk returns a zeroed chunk.
func mapChunk[T any](m *memory) []T {
	var t T
	b, err := unix.Mmap(-1, 0, chunkLen*int(unsafe.Sizeof(t)), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_ANON|unix.MAP_PRIVATE)
	if err != nil {
		return make([]T, chunkLen)
	}
	m.maps[&b[0]] = b
	return unsafe.Slice((*T)(unsafe.Pointer(&b[0])), chunkLen)
}

func unmapChunk[T any](m *memory, c []T) {
	p := (*byte)(unsafe.Pointer(&c[0]))
	if b, ok := m.maps[p]; ok {
		_ = unix.Munmap(b)
		delete(m.maps, p)
	}
}
