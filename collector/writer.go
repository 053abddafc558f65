package collector

import (
	"io"
	"runtime"
	"unicode/utf8"
)

// chunk is how much is encoded before it is handed on: large enough that compression
// and system calls are few, small enough that the whole exposition never is in memory.
const chunk = 64 << 10

// writer collects what is encoded and hands it on in chunks. Encoders append to buf
// and call flush between metrics. After an error it swallows everything.
type writer struct {
	buf []byte
	dst io.Writer
	n   int64 // bytes handed on
	err error // the first one of dst
}

// reset begins a new exposition.
func (w *writer) reset(dst io.Writer) { w.buf, w.dst, w.n, w.err = w.buf[:0], dst, 0, nil }

// flush hands a full chunk on.
func (w *writer) flush() error {
	if len(w.buf) < chunk {
		return w.err
	}
	// A scrape takes as long as many echoes are apart: let those who send them run first.
	runtime.Gosched()
	return w.drain()
}

// drain hands on all that there is.
func (w *writer) drain() error {
	if w.err == nil {
		var n int
		n, w.err = w.dst.Write(w.buf)
		w.n += int64(n)
	}
	w.buf = w.buf[:0]
	return w.err
}

// The methods below are what expfmt asks for so that it does not buffer on its own.

func (w *writer) Write(p []byte) (int, error) {
	w.buf = append(w.buf, p...)
	return len(p), nil
}

func (w *writer) WriteString(s string) (int, error) {
	w.buf = append(w.buf, s...)
	return len(s), nil
}

func (w *writer) WriteByte(c byte) error {
	w.buf = append(w.buf, c)
	return nil
}

func (w *writer) WriteRune(r rune) (int, error) {
	n := len(w.buf)
	w.buf = utf8.AppendRune(w.buf, r)
	return len(w.buf) - n, nil
}
