package web

import (
	"cmp"
	"context"
	"math"
	"net/http"
	"strings"
	"time"

	"github.com/coder/websocket"

	"prefix_exporter/frame"
)

// frames streams what docs/frames.md describes: over a WebSocket if the client asks for
// one, else as the body of the response.
func (a *api) frames(w http.ResponseWriter, r *http.Request) error {
	if err := checkKeys(r, "after"); err != nil {
		return err
	}
	after, err := number(r, "after", 0, 0, math.MaxInt64)
	if err != nil {
		return err
	}
	a.Frames.Fresh(time.Now())
	if strings.EqualFold(r.Header.Get("Upgrade"), "websocket") {
		a.framesByWebSocket(w, r, after)
		return nil
	}
	s, err := a.newStream(w, r, "application/octet-stream")
	if err != nil {
		return nil // the client has gone
	}
	defer s.end()
	if r.Method == http.MethodHead {
		return nil
	}
	sub := a.Frames.Subscribe(after)
	defer sub.Close()
	pass(r.Context(), sub, func(messages [][]byte) error { return s.write(messages...) })
	return nil
}

// framesByWebSocket sends each message as one. Nothing is compressed: it would cost a millisecond
// and 300 kB for each client and save a third of 22 kB.
func (a *api) framesByWebSocket(w http.ResponseWriter, r *http.Request, after uint64) {
	shrink(r)
	conn, err := websocket.Accept(w, r, nil) // of this origin only
	if err != nil {
		return // it has answered
	}
	defer func() { _ = conn.CloseNow() }()
	// Nothing is read but what keeps the connection going; when the client goes, so does its
	// context. The end of the program must not break the connection before the client is told.
	client := conn.CloseRead(context.WithoutCancel(r.Context()))
	ctx, cancel := context.WithCancel(r.Context())
	defer cancel()
	defer context.AfterFunc(client, cancel)()
	sub := a.Frames.Subscribe(after)
	defer sub.Close()
	pass(ctx, sub, func(messages [][]byte) error {
		for _, m := range messages {
			if err := writeMessage(client, conn, m, cmp.Or(a.writeTimeout, writeTimeout)); err != nil {
				return err
			}
		}
		return nil
	})
	if r.Context().Err() != nil {
		_ = conn.Close(websocket.StatusGoingAway, "the exporter ends")
	}
}

func writeMessage(ctx context.Context, conn *websocket.Conn, message []byte, timeout time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	return conn.Write(ctx, websocket.MessageBinary, message)
}

// pass writes what a subscription has until one of the two ends.
func pass(ctx context.Context, sub *frame.Subscription, write func([][]byte) error) {
	for {
		messages, err := sub.Next(ctx)
		if err != nil || write(messages) != nil {
			return // the end of the stream is all that the client can be told
		}
	}
}

// reference answers with what RTTs can be compared with, as one message.
func (a *api) reference(w http.ResponseWriter, r *http.Request) error {
	if err := checkKeys(r); err != nil {
		return err
	}
	a.Frames.Fresh(time.Now())
	kind := r.PathValue("kind")
	message, err := a.Frames.Reference(frame.Reference(kind))
	if err != nil {
		return missing("%v", err)
	}
	h := w.Header()
	h.Set("Content-Type", "application/octet-stream")
	h.Set("Cache-Control", "no-store")
	_, _ = a.answers.to(w).Write(message) // a client that has gone is no error
	return nil
}
