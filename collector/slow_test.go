package collector

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"

	"prefix_exporter/prefix"
)

// stalled is how many clients do not read: three times as many as scrapes may run at once.
const stalled = 3 * maxInFlight

// TestClientsThatDoNotReadCostNobodyAScrape connects them for real.
func TestClientsThatDoNotReadCostNobodyAScrape(t *testing.T) {
	const scrape = "GET /metrics HTTP/1.1\r\nHost: x\r\n"
	table := largeTableOf(2) // 1.3 MB, or 80 kB if it is compressed
	const tooLittle = 256 << 10
	for name, test := range map[string]struct {
		bytes int // how much of an answer may wait
		start func(*httptest.Server)
		stall func(*testing.T, *httptest.Server)
	}{
		"an answer that waits whole":                 {outboxBytes, (*httptest.Server).Start, stallByTCP(scrape + "\r\n")},
		"an answer that waits whole, compressed":     {outboxBytes, (*httptest.Server).Start, stallByTCP(scrape + "Accept-Encoding: gzip\r\n\r\n")},
		"an answer that is too large":                {tooLittle, (*httptest.Server).Start, stallByTCP(scrape + "\r\n")},
		"a client that sends no body either":         {tooLittle, (*httptest.Server).Start, stallByTCP(scrape + "Content-Length: 9\r\n\r\n")},
		"a client with many streams of a connection": {tooLittle, (*httptest.Server).StartTLS, stallByHTTP2},
	} {
		t.Run(name, func(t *testing.T) {
			h, _ := newHandler(table, Options{})
			h.(*handler).outboxes.bytes = test.bytes
			server := httptest.NewUnstartedServer(h)
			server.EnableHTTP2 = true
			server.Listener = &shortBuffers{server.Listener}
			test.start(server)
			defer server.Close()
			defer server.CloseClientConnections() // or Close waits for those who read nothing
			test.stall(t, server)
			for i := range 3 {
				answer, err := server.Client().Get(server.URL + "/metrics")
				if err != nil {
					t.Fatal(err)
				}
				body, err := io.ReadAll(answer.Body)
				answer.Body.Close()
				if err != nil || answer.StatusCode != http.StatusOK || !bytes.HasPrefix(body, []byte("# HELP ")) {
					t.Fatalf("scrape %d: status %d, %d bytes, %v", i, answer.StatusCode, len(body), err)
				}
			}
		})
	}
}

// shortBuffers is a listener of connections for which the kernel holds little: it must not
// swallow an answer that nobody reads.
type shortBuffers struct{ net.Listener }

func (l *shortBuffers) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err == nil {
		_ = c.(*net.TCPConn).SetWriteBuffer(4096)
	}
	return c, err
}

// stallByTCP asks over connections of their own, and reads nothing.
func stallByTCP(request string) func(*testing.T, *httptest.Server) {
	return func(t *testing.T, server *httptest.Server) {
		for range stalled {
			conn, err := net.Dial("tcp", server.Listener.Addr().String())
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = conn.Close() })
			_ = conn.(*net.TCPConn).SetReadBuffer(4096)
			if _, err := io.WriteString(conn, request); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// stallByHTTP2 asks over one connection, and reads no body.
func stallByHTTP2(t *testing.T, server *httptest.Server) {
	transport := server.Client().Transport.(*http.Transport).Clone()
	transport.HTTP2 = &http.HTTP2Config{MaxReceiveBufferPerStream: 64 << 10}
	t.Cleanup(transport.CloseIdleConnections)
	for range stalled {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, server.URL+"/metrics", nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Accept-Encoding", "identity")
		answer, err := transport.RoundTrip(r)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = answer.Body.Close() })
		if answer.ProtoMajor != 2 || answer.StatusCode != http.StatusOK {
			t.Fatalf("%s, status %d", answer.Proto, answer.StatusCode)
		}
	}
}

// sleepy is a client that takes so long for each part of an answer, unless it is cut off.
type sleepy struct {
	*httptest.ResponseRecorder
	takes time.Duration
	once  sync.Once
	cut   chan struct{}
}

func newSleepy(takes time.Duration) *sleepy {
	return &sleepy{ResponseRecorder: httptest.NewRecorder(), takes: takes, cut: make(chan struct{})}
}

func (s *sleepy) Write(p []byte) (int, error) {
	select {
	case <-time.After(s.takes):
		return len(p), nil
	case <-s.cut:
		return 0, os.ErrDeadlineExceeded
	}
}

func (s *sleepy) SetWriteDeadline(deadline time.Time) error {
	if !deadline.After(time.Now()) {
		s.once.Do(func() { close(s.cut) })
	}
	return nil
}

// TestSlowClientsGiveWay holds all places by clients that read a little from time to time, each
// with an answer that is too large to wait for it.
func TestSlowClientsGiveWay(t *testing.T) {
	table := largeTableOf(2)
	for name, test := range map[string]struct {
		takes  time.Duration // for a part of the answer
		within time.Duration // somebody else has its scrape
	}{
		"at once if they have read nothing for a while": {time.Hour, 0},
		"after a while if they read a little":           {2 * patience / 5, patience}, // no part ends in the moment in which it is looked for
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h, registry := newHandler(table, Options{})
				h.(*handler).outboxes.bytes = 256 << 10
				var clients sync.WaitGroup
				var slow []*sleepy
				for range maxInFlight {
					s := newSleepy(test.takes)
					slow = append(slow, s)
					clients.Go(func() { h.ServeHTTP(s, httptest.NewRequest(http.MethodGet, "/metrics", nil)) })
				}
				time.Sleep(2 * patience)
				begin := time.Now()
				w := newSleepy(0)
				h.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/metrics", nil))
				if took := time.Since(begin); w.Code != http.StatusOK || took > test.within {
					t.Errorf("status %d after %v, want 200 within %v", w.Code, took, test.within)
				}
				if got := value(t, registry, ScrapeErrors, causeWrite); got != 1 {
					t.Errorf("%v of the slow ones were cut off, want the one that had to be", got)
				}
				for _, s := range slow {
					_ = s.SetWriteDeadline(time.Now())
				}
				clients.Wait()
			})
		})
	}
}

func TestAScrapeWaitsForItsTurn(t *testing.T) {
	for name, test := range map[string]struct {
		takes  time.Duration // what runs
		status int
	}{
		"for a while":  {maxWait - time.Second, http.StatusOK},
		"not for ever": {maxWait + time.Second, http.StatusServiceUnavailable},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var wait time.Duration
				slow := prometheus.GathererFunc(func() ([]*dto.MetricFamily, error) { time.Sleep(wait); return nil, nil })
				registry := prometheus.NewRegistry()
				table := smallTable(t, prefix.PerAddressNone, prefix.PerAddressNone)
				h := New(table, nil).Handler(slow, registry, Options{MaxInFlight: 1})
				wait = test.takes
				var first sync.WaitGroup
				first.Go(func() { get(t, h, "", "") })
				synctest.Wait()
				wait = 0
				w, _ := get(t, h, "", "")
				if w.Code != test.status {
					t.Errorf("status %d, want %d", w.Code, test.status)
				}
				first.Wait()
				want := 0.0
				if test.status != http.StatusOK {
					want = 1
				}
				if got := value(t, registry, ScrapeErrors, causeBusy); got != want {
					t.Errorf("%s{cause=%q}: got %v, want %v", ScrapeErrors, causeBusy, got, want)
				}
			})
		})
	}
}

// TestWhatWaitsForClientsIsBounded opens an answer more than may wait.
func TestWhatWaitsForClientsIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		all := &outboxes{most: 3, bytes: outboxBytes}
		open := func(takes time.Duration) *outbox {
			client := newSleepy(takes)
			o := all.to(client.Write, func() { _ = client.SetWriteDeadline(time.Now()) })
			t.Cleanup(o.end)
			return o
		}
		fast, first, second := open(0), open(time.Hour), open(time.Hour)
		for _, o := range []*outbox{fast, first, second} {
			go func() {
				for range 2 * outboxBytes / chunkBytes { // twice as much as may wait
					if _, err := o.take(make([]byte, chunkBytes)); err != nil {
						return
					}
				}
			}()
			time.Sleep(time.Second) // who comes first has waited longer
		}
		if diff := cmp.Diff([]int{0, outboxBytes, outboxBytes}, all.sizes()); diff != "" {
			t.Errorf("bytes that wait (-want +got):\n%s", diff)
		}
		last := open(0)
		synctest.Wait()
		if diff := cmp.Diff([]int{0, 0, outboxBytes, 0}, all.sizes()); diff != "" {
			t.Errorf("bytes that wait after one more has come (-want +got):\n%s", diff)
		}
		if err := first.finish(); !errors.Is(err, errCrowded) {
			t.Errorf("the slowest one: got %v, want %v", err, errCrowded)
		}
		for name, o := range map[string]*outbox{"one that keeps up": fast, "the last one": last} {
			if err := o.finish(); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
	})
}

func (all *outboxes) sizes() (list []int) {
	all.mu.Lock()
	defer all.mu.Unlock()
	for _, o := range all.open {
		list = append(list, o.size)
	}
	return list
}

// TestAnEncoderThatBreaksLeavesNothingBehind lets a gatherer panic, which the server survives.
func TestAnEncoderThatBreaksLeavesNothingBehind(t *testing.T) {
	broken := true
	gatherer := prometheus.GathererFunc(func() ([]*dto.MetricFamily, error) {
		if broken {
			panic("broken")
		}
		return nil, nil
	})
	h := New(smallTable(t, prefix.PerAddressNone, prefix.PerAddressNone), nil).Handler(gatherer, prometheus.NewRegistry(), Options{MaxInFlight: 1})
	func() {
		defer func() { _ = recover() }()
		get(t, h, "", "")
		t.Error("no panic")
	}()
	broken = false
	if w, _ := get(t, h, "", ""); w.Code != http.StatusOK {
		t.Errorf("the next scrape: status %d", w.Code)
	}
}

func TestAScrapeWhoseClientHasGoneDoesNotWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := &handler{places: make(chan struct{}, 1), outboxes: outboxes{most: 1}}
		h.places <- struct{}{}
		ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		defer cancel()
		begin := time.Now()
		if h.enter(ctx) {
			t.Error("there was a place")
		}
		if took := time.Since(begin); took != time.Millisecond {
			t.Errorf("waited for %v", took)
		}
	})
}
