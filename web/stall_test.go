package web

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"prefix_exporter/frame"
)

// TestABodyThatNeverComesHoldsNoStream asks for streams with a body that is not sent. The server
// reads it before it answers and when it ends, and must not wait longer than it does for others.
func TestABodyThatNeverComesHoldsNoStream(t *testing.T) {
	table, _ := many(t)
	h := newHandler(t, Options{Table: table, Frames: frame.New(frame.Options{Table: table}), writeTimeout: time.Second})
	ctx, cancel := context.WithCancel(t.Context())
	server := httptest.NewUnstartedServer(nil)
	server.Config = Server(ctx, h)
	server.Config.ReadTimeout = 100 * time.Millisecond // instead of half a minute
	server.Start()
	defer server.Close()
	defer cancel()
	for _, request := range []string{
		"GET /api/v1/events?follow=false", "HEAD /api/v1/events", "HEAD /api/v1/frames", "GET /api/v1/summary",
	} {
		t.Run(request, func(t *testing.T) {
			conn, err := net.Dial("tcp", server.Listener.Addr().String())
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			if _, err := fmt.Fprintf(conn, "%s HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\n", request); err != nil {
				t.Fatal(err)
			}
			_ = conn.SetReadDeadline(time.Now().Add(50 * time.Second))
			answer, err := io.ReadAll(conn)
			if err != nil || !strings.HasPrefix(string(answer), "HTTP/1.1 200 OK\r\n") {
				t.Errorf("%v: %.40q", err, answer)
			}
		})
	}
}

// sleeper is a client that reads nothing until it is cut off.
type sleeper struct {
	*httptest.ResponseRecorder
	cut chan struct{}
}

func newSleeper() *sleeper { return &sleeper{httptest.NewRecorder(), make(chan struct{})} }

func (s *sleeper) Write([]byte) (int, error) {
	<-s.cut
	return 0, io.ErrClosedPipe
}

func (s *sleeper) SetWriteDeadline(time.Time) error {
	close(s.cut)
	return nil
}

func TestAnswersThatNobodyReadsAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		all := &answers{most: 100}
		const clients = 10
		ended := make([]bool, clients)
		var last *sleeper
		for i := range clients {
			client := newSleeper()
			go func() {
				_, _ = all.to(client).Write(make([]byte, 30))
				ended[i] = true
			}()
			synctest.Wait()
			last = client
		}
		if all.bytes != 90 {
			t.Errorf("%d bytes wait, want 90", all.bytes)
		}
		want := []bool{true, true, true, true, true, true, true, false, false, false}
		if diff := cmp.Diff(want, ended); diff != "" {
			t.Errorf("cut off (-want +got):\n%s", diff)
		}
		quick := httptest.NewRecorder()
		if n, err := all.to(quick).Write(make([]byte, 1000)); n != 1000 || err != nil { // alone it may be larger
			t.Errorf("somebody who reads: %d bytes, %v", n, err)
		}
		synctest.Wait()
		if all.bytes != 0 || len(all.open) != 0 {
			t.Errorf("%d bytes of %d answers are left", all.bytes, len(all.open))
		}
		select {
		case <-last.cut:
		default:
			t.Error("it had to make room, and has not")
		}
	})
}

// TestClientsThatDoNotReadCostNobodyAnAnswer lets them ask for all that is large, for real.
func TestClientsThatDoNotReadCostNobodyAnAnswer(t *testing.T) {
	table, each := many(t)
	each()
	frames := frame.New(frame.Options{Table: table})
	frames.Tick(time.Now())
	address, _ := serve(t, newHandler(t, Options{Table: table, Frames: frames}))
	paths := []string{"/api/v1/prefixes/10.0.7.0/24", "/api/v1/history/10.0.7.0/24", "/api/v1/references/mean", "/api/v1/prefixes", "/"}
	for _, path := range paths {
		for range 50 {
			conn, err := net.Dial("tcp", address)
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			_ = conn.(*net.TCPConn).SetReadBuffer(4096)
			if _, err := fmt.Fprintf(conn, "GET %s HTTP/1.1\r\nHost: localhost\r\n\r\n", path); err != nil {
				t.Fatal(err)
			}
		}
	}
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	for _, path := range paths {
		answer, err := client.Get("http://" + address + path)
		if err != nil {
			t.Fatal(err)
		}
		_, err = io.Copy(io.Discard, answer.Body)
		answer.Body.Close()
		if err != nil || answer.StatusCode != http.StatusOK {
			t.Errorf("%s: status %d, %v", path, answer.StatusCode, err)
		}
	}
}
