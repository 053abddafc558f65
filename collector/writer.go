package collector

import (
	"io"
	"runtime"
)

// chunkBytes is how much is encoded before it is handed on: large enough that compression and
// system calls are few, small enough that a client which keeps up never has the whole
// exposition stand in memory.
const chunkBytes = 64 << 10

// writer collects what is encoded and hands it on in chunks. Encoders append to buf
// and call flush between metrics. After an error it swallows everything.
type writer struct {
	buf   []byte
	dst   io.Writer
	taker taker // dst, if it is one
	n     int64 // bytes handed on
	err   error // the first one of dst
}

// taker keeps what it is given, instead of copying it, and gives other memory back.
type taker interface {
	take(full []byte) (empty []byte, err error)
}

// reset begins a new exposition.
func (w *writer) reset(dst io.Writer) {
	w.buf, w.dst, w.n, w.err = w.buf[:0], dst, 0, nil
	w.taker, _ = dst.(taker)
}

// flush hands a full chunk on.
func (w *writer) flush() error {
	if len(w.buf) < chunkBytes {
		return w.err
	}
	// A scrape takes as long as many echoes are apart: let those who send them run first.
	runtime.Gosched()
	return w.drain()
}

// drain hands on all that there is.
func (w *writer) drain() error {
	switch {
	case w.err != nil:
	case w.taker != nil:
		w.n += int64(len(w.buf))
		w.buf, w.err = w.taker.take(w.buf)
	default:
		var n int
		n, w.err = w.dst.Write(w.buf)
		w.n += int64(n)
	}
	w.buf = w.buf[:0]
	return w.err
}

// append adds what has been encoded elsewhere.
func (w *writer) append(p []byte) error {
	for len(p) > 0 {
		if err := w.flush(); err != nil {
			return err
		}
		n := min(len(p), chunkBytes-len(w.buf))
		w.buf = append(w.buf, p[:n]...)
		p = p[n:]
	}
	return w.flush()
}
