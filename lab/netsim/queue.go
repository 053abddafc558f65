package netsim

// queue holds the replies that are not due yet, earliest first and in the order of their coming among
// equals. It is a four-ary heap rather than a timing wheel: exact to the nanosecond, without a horizon,
// and with the 20,000 entries of 65,536 echoes a second at 300 ms a push and a pop together cost some
// 200 ns, which is little beside the system call that writes the packet.
type queue struct {
	heap  []entry
	order uint64
	slots []slot
	free  []uint32
}

type entry struct {
	due   int64 // CLOCK_MONOTONIC, ns
	order uint64
	slot  uint32
}

// slot is one scheduled packet. Slots and their buffers are used again, so that a steady load allocates nothing.
type slot struct {
	packet  []byte
	reply   uint32 // its number in the truth
	host    uint32 // whom it answers
	arrived int64  // CLOCK_REALTIME of the request, for the stamp
	stamp   bool

	protocol Protocol // of the request
	untold   bool     // the truth does not have it: the three fields of numbers mean nothing
}

// bufferLen holds the 84 bytes of an ordinary ping, and IPv6, without growing.
const bufferLen = 128

// take returns a free slot with an empty buffer.
func (q *queue) take() (uint32, *slot) {
	if len(q.free) == 0 {
		q.grow()
	}
	i := q.free[len(q.free)-1]
	q.free = q.free[:len(q.free)-1]
	s := &q.slots[i]
	s.packet = s.packet[:0]
	return i, s
}

// grow doubles the slots.
func (q *queue) grow() {
	old := len(q.slots)
	n := max(1024, old)
	q.slots = append(q.slots, make([]slot, n)...)
	buffers := make([]byte, n*bufferLen)
	for i := range n {
		q.slots[old+i].packet = buffers[i*bufferLen : i*bufferLen : (i+1)*bufferLen]
		q.free = append(q.free, uint32(old+n-1-i))
	}
}

func (q *queue) release(i uint32) { q.free = append(q.free, i) }

func (q *queue) len() int { return len(q.heap) }

func (e *entry) before(o *entry) bool {
	return e.due < o.due || e.due == o.due && e.order < o.order
}

func (q *queue) push(due int64, slot uint32) {
	q.order++
	e := entry{due, q.order, slot}
	q.heap = append(q.heap, e)
	h, i := q.heap, len(q.heap)-1
	for i > 0 {
		parent := (i - 1) / 4
		if !e.before(&h[parent]) {
			break
		}
		h[i] = h[parent]
		i = parent
	}
	h[i] = e
}

// next returns when the earliest entry is due.
func (q *queue) next() (due int64, ok bool) {
	if len(q.heap) == 0 {
		return 0, false
	}
	return q.heap[0].due, true
}

// pop removes the earliest entry of a queue that is not empty.
func (q *queue) pop() entry {
	h := q.heap
	top, last := h[0], h[len(h)-1]
	h = h[:len(h)-1]
	q.heap = h
	if len(h) == 0 {
		return top
	}
	i := 0
	for {
		first := i*4 + 1
		if first >= len(h) {
			break
		}
		least := first
		for c := first + 1; c < min(first+4, len(h)); c++ {
			if h[c].before(&h[least]) {
				least = c
			}
		}
		if !h[least].before(&last) {
			break
		}
		h[i] = h[least]
		i = least
	}
	h[i] = last
	return top
}
