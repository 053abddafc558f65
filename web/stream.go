package web

import (
	"cmp"
	"context"
	"net"
	"net/http"
	"time"
)

// writeTimeout is how long one write of a stream may take: ten frames, after which what
// waits to be sent is of no use any more. It ends clients that have gone without a word.
const writeTimeout = 10 * time.Second

// sendBuffer is what the kernel may hold for one client of a stream, which doubles it
// (socket(7), SO_SNDBUF): six seconds of frames of 10,240 addresses. By default it would hold
// four megabytes, and a slow client would be shown what was minutes ago.
const sendBuffer = 64 << 10

// connKey is the key under which Server puts the connection into the context.
type connKey struct{}

// withConn is for http.Server.ConnContext.
func withConn(ctx context.Context, c net.Conn) context.Context {
	return context.WithValue(ctx, connKey{}, c)
}

// shrink bounds the send buffer of the connection of a request, where that is possible.
func shrink(r *http.Request) {
	conn, _ := r.Context().Value(connKey{}).(net.Conn)
	if c, ok := conn.(interface{ NetConn() net.Conn }); ok { // TLS
		conn = c.NetConn()
	}
	if c, ok := conn.(interface{ SetWriteBuffer(bytes int) error }); ok {
		_ = c.SetWriteBuffer(sendBuffer) // else the client lags more
	}
}

// stream is a response that goes on until its client or the program ends.
type stream struct {
	w       http.ResponseWriter
	control *http.ResponseController
	timeout time.Duration // of one write
}

// newStream begins a response, which end ends. What ends the connections of others in time would
// end this one as well, so it has a deadline for each write instead.
func (a *api) newStream(w http.ResponseWriter, r *http.Request, contentType string) (*stream, error) {
	shrink(r)
	s := &stream{w, http.NewResponseController(w), cmp.Or(a.writeTimeout, writeTimeout)}
	h := w.Header()
	h.Set("Content-Type", contentType)
	h.Set("Cache-Control", "no-store")
	h.Set("X-Accel-Buffering", "no") // nginx would collect it
	w.WriteHeader(http.StatusOK)
	// Before it writes the server reads what a client says that it sends: it must not wait for
	// a body that never comes, so the deadline of the server holds until then.
	if err := s.write(nil); err != nil {
		return nil, err
	}
	_ = s.control.SetReadDeadline(time.Time{}) // of tests without a connection: they have none
	return s, nil
}

// end lets the server end the response. It reads such a body once more, and not for ever.
func (s *stream) end() { _ = s.control.SetReadDeadline(time.Now().Add(s.timeout)) }

// write sends data at once.
func (s *stream) write(data ...[]byte) error {
	_ = s.control.SetWriteDeadline(time.Now().Add(s.timeout))
	for _, d := range data {
		if _, err := s.w.Write(d); err != nil {
			return err
		}
	}
	return s.control.Flush()
}
