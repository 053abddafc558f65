package web

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/coder/websocket"
	"github.com/go-kit/log"
	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"

	"prefix_exporter/event"
	"prefix_exporter/frame"
	"prefix_exporter/prefix"
)

// serve serves a handler as the program does, and returns its address and what ends it.
func serve(t *testing.T, h http.Handler) (address string, stop func()) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	server := Server(ctx, h)
	done := make(chan error)
	go func() { done <- server.Serve(l) }()
	stopped := false
	stop = func() {
		if stopped {
			return
		}
		stopped = true
		cancel()
		end, cancel := context.WithTimeout(context.Background(), 3*time.Second) // as package app gives
		defer cancel()
		if err := server.Shutdown(end); err != nil {
			t.Errorf("streams that do not end: %v", err)
			_ = server.Close()
		}
		<-done
	}
	t.Cleanup(stop)
	return l.Addr().String(), stop
}

// open begins a stream.
func open(t *testing.T, address, target string, header ...string) (*bufio.Reader, func()) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), "GET", "http://"+address+target, nil)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	transport := &http.Transport{DisableKeepAlives: true}
	answer, err := transport.RoundTrip(r)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = answer.Body.Close() })
	if answer.StatusCode != 200 {
		body, _ := io.ReadAll(answer.Body)
		t.Fatalf("%s: status %d: %s", target, answer.StatusCode, body)
	}
	return bufio.NewReader(answer.Body), func() { _ = answer.Body.Close() }
}

func lines(t *testing.T, r *bufio.Reader, n int) (all []string) {
	t.Helper()
	for range n {
		line, err := r.ReadString('\n')
		if err != nil {
			t.Fatalf("after %q: %v", all, err)
		}
		all = append(all, strings.TrimSuffix(line, "\n"))
	}
	return all
}

func TestEventStreams(t *testing.T) {
	w := newWorld(t)
	address, stop := serve(t, w.handler)
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	publish := func(ip string) {
		w.events.Publish(event.Event{Time: at, Type: event.TypeUp, Prefix: netip.MustParsePrefix("192.0.2.0/24"), IP: netip.MustParseAddr(ip)})
	}
	line := func(id int, ip string) string {
		return fmt.Sprintf(`{"id":%d,"time":"2026-01-02T03:04:05Z","type":"up","prefix":"192.0.2.0/24","ip":"%s"}`, id, ip)
	}
	check := func(t *testing.T, got []string, want ...string) {
		t.Helper()
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
	}
	publish("192.0.2.1")
	publish("192.0.2.2")
	t.Run("begins with the next event", func(t *testing.T) {
		r, end := open(t, address, "/api/v1/events")
		defer end()
		publish("192.0.2.3")
		check(t, lines(t, r, 1), line(3, "192.0.2.3"))
	})
	t.Run("begins after an ID", func(t *testing.T) {
		r, end := open(t, address, "/api/v1/events?after=1")
		defer end()
		check(t, lines(t, r, 2), line(2, "192.0.2.2"), line(3, "192.0.2.3"))
	})
	t.Run("of one address", func(t *testing.T) {
		r, end := open(t, address, "/api/v1/events?after=0&ip=192.0.2.3")
		defer end()
		check(t, lines(t, r, 1), line(3, "192.0.2.3"))
	})
	t.Run("ends after the limit", func(t *testing.T) {
		r, _ := open(t, address, "/api/v1/events?after=0&limit=2")
		check(t, lines(t, r, 2), line(1, "192.0.2.1"), line(2, "192.0.2.2"))
		if _, err := r.ReadByte(); !errors.Is(err, io.EOF) {
			t.Errorf("goes on: %v", err)
		}
	})
	t.Run("ends with what is kept if it is not to follow", func(t *testing.T) {
		for target, want := range map[string][]string{
			"/api/v1/events?follow=false":                             {line(1, "192.0.2.1"), line(2, "192.0.2.2"), line(3, "192.0.2.3")},
			"/api/v1/events?follow=false&limit=2":                     {line(2, "192.0.2.2"), line(3, "192.0.2.3")}, // the newest
			"/api/v1/events?follow=false&limit=2&after=0":             {line(1, "192.0.2.1"), line(2, "192.0.2.2")}, // the next
			"/api/v1/events?follow=false&prefix=2001:db8::/64":        {},
			"/api/v1/events?follow=false&after=3":                     {},
			"/api/v1/events?follow=false&prefix=192.0.2.0/24&after=2": {line(3, "192.0.2.3")},
		} {
			r, _ := open(t, address, target)
			rest, err := io.ReadAll(r)
			if err != nil {
				t.Error(err)
			}
			got := strings.Split(string(rest), "\n")
			check(t, got[:len(got)-1], want...)
		}
	})
	t.Run("as Server-Sent Events", func(t *testing.T) {
		r, end := open(t, address, "/api/v1/events?after=0", "Accept", "text/event-stream", "Last-Event-ID", "2")
		defer end()
		check(t, lines(t, r, 4), "id: 3", "event: up", "data: "+line(3, "192.0.2.3"), "")
	})
	t.Run("what is no ID in the query is none in the header", func(t *testing.T) {
		for text, status := range map[string]int{
			"0": 200, "3": 200, "9223372036854775807": 200, // 2⁶³ − 1
			"9223372036854775808": 400, "18446744073709551615": 400, "18446744073709551616": 400, "-1": 400, "1.5": 400, "x": 400,
		} {
			byQuery := request(w.handler, "GET", "/api/v1/events?follow=false&after="+text, "")
			byHeader := request(w.handler, "GET", "/api/v1/events?follow=false", "", "Last-Event-ID", text)
			want := strings.Replace(byQuery.Body.String(), "after ", "header Last-Event-ID ", 1)
			if byQuery.Code != status || byHeader.Code != status || byHeader.Body.String() != want {
				t.Errorf("%s: status %d by the query and %d by the header, want %d: %s", text, byQuery.Code, byHeader.Code, status, byHeader.Body)
			}
		}
	})
	t.Run("one that comes back too late is told what it missed", func(t *testing.T) {
		for range 64 {
			publish("192.0.2.1")
		}
		r, end := open(t, address, "/api/v1/events?after=1")
		defer end()
		check(t, lines(t, r, 2), `{"type":"missed","missed":2}`, line(4, "192.0.2.1"))
	})
	t.Run("all end with the program", func(t *testing.T) {
		r, _ := open(t, address, "/api/v1/events")
		stop()
		if rest, err := io.ReadAll(r); err != nil || len(rest) > 0 {
			t.Errorf("%q, %v", rest, err)
		}
	})
}

func TestSingleResults(t *testing.T) {
	w := newWorld(t)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- w.frames.Run(ctx) }()
	defer func() { cancel(); <-done }()
	address, _ := serve(t, w.handler)
	one, _ := open(t, address, "/api/v1/events?probes=1&ip=192.0.2.2")
	all, _ := open(t, address, "/api/v1/events?probes=1&prefix=192.0.2.0/24", "Accept", "text/event-stream")
	for w.frames.Minute() == 0 { // until the first frame, which begins to keep results
		runtime.Gosched()
	}
	w.record(t, "192.0.2.1", ping, prefix.Answered, 1500*time.Microsecond)
	w.record(t, "192.0.2.2", tls, prefix.Refused, 0)
	doc := openAPI(t)
	read := func(line string) (got resultJSON) {
		describeRecord(t, doc, []byte(line))
		var record struct {
			resultJSON
			RTT *float64 `json:"rtt_seconds"`
		}
		if err := json.Unmarshal([]byte(line), &record); err != nil {
			t.Fatal(err)
		}
		if since := time.Since(record.Time); since < 0 || since > time.Minute {
			t.Errorf("sent at %v", record.Time)
		}
		record.Time = time.Time{}
		if record.RTT != nil {
			record.resultJSON.RTT = figure{*record.RTT, true}
		}
		return record.resultJSON
	}
	p := netip.MustParsePrefix("192.0.2.0/24")
	refused := resultJSON{Type: "probe", Prefix: p, IP: netip.MustParseAddr("192.0.2.2"), Probe: "tcp", Port: 443, Outcome: "refused"}
	answered := resultJSON{Type: "probe", Prefix: p, IP: netip.MustParseAddr("192.0.2.1"), Probe: "icmp", Outcome: "answered", RTT: figure{0.0015, true}}
	var got []string
	for len(got) < 2 {
		block := lines(t, all, 3)
		if strings.HasPrefix(block[0], "id: ") { // the event that 192.0.2.1 is up
			lines(t, all, 1)
			continue
		}
		if block[0] != "event: probe" || block[2] != "" {
			t.Fatalf("%q", block)
		}
		got = append(got, strings.TrimPrefix(block[1], "data: "))
	}
	if read(got[0]) != answered || read(got[1]) != refused {
		t.Errorf("got %q", got)
	}
	if line := lines(t, one, 1)[0]; read(line) != refused {
		t.Errorf("got %s", line)
	}
}

func TestASilentStreamHasAHeartbeat(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		for accept, want := range map[string]string{"text/event-stream": ": heartbeat\n\n: heartbeat\n\n", "*/*": "\n\n"} {
			ctx, cancel := context.WithTimeout(t.Context(), 2*heartbeat+time.Second)
			r := httptest.NewRequestWithContext(ctx, "GET", "/api/v1/events", nil)
			r.Header.Set("Accept", accept)
			answer := httptest.NewRecorder()
			w.handler.ServeHTTP(answer, r)
			cancel()
			if diff := cmp.Diff(want, answer.Body.String()); diff != "" {
				t.Errorf("%s: %s", accept, diff)
			}
		}
	})
}

// ahead is a second of a clock that tests move: so far in the future that no frame of it is too old to be shown.
const ahead = 4_000_000_000

func TestFramesByWebSocket(t *testing.T) {
	w := newWorld(t)
	w.frames.Tick(time.Unix(ahead, 0))
	address, stop := serve(t, w.handler)
	dial := func(query string, header http.Header) (*websocket.Conn, error) {
		conn, answer, err := websocket.Dial(t.Context(), "ws://"+address+"/api/v1/frames"+query, &websocket.DialOptions{HTTPHeader: header})
		if answer != nil && answer.Body != nil {
			_ = answer.Body.Close()
		}
		return conn, err
	}
	conn, err := dial("", http.Header{"Origin": {"http://" + address}})
	if err != nil {
		t.Fatal(err)
	}
	next := func(conn *websocket.Conn) frame.Header {
		t.Helper()
		typ, data, err := conn.Read(t.Context())
		if err != nil || typ != websocket.MessageBinary {
			t.Fatalf("%v, %v", typ, err)
		}
		h, err := frame.ParseHeader(data)
		if err != nil || int(h.Length) != len(data)-24 {
			t.Fatalf("%+v, %v of %d bytes", h, err, len(data))
		}
		return h
	}
	for i, want := range []frame.Header{{Type: frame.TypeLayout, Sequence: ahead}, {Type: frame.TypeFull, Sequence: ahead}, {Type: frame.TypeSecond, Sequence: ahead + 1}} {
		if i == 2 {
			w.frames.Tick(time.Unix(ahead+1, 0))
		}
		if got := next(conn); got.Type != want.Type || got.Sequence != want.Sequence || got.Revision != ahead {
			t.Errorf("message %d: %+v", i, got)
		}
	}
	resumed, err := dial(fmt.Sprintf("?after=%d", ahead+1), nil) // a program, which has no origin
	if err != nil {
		t.Fatal(err)
	}
	w.frames.Tick(time.Unix(ahead+2, 0))
	if layout, second := next(resumed), next(resumed); layout.Type != frame.TypeLayout || second.Type != frame.TypeSecond || second.Sequence != ahead+2 {
		t.Errorf("resumed: %+v, %+v", layout, second)
	}
	if _, err := dial("", http.Header{"Origin": {"https://example.net"}}); err == nil || !strings.Contains(err.Error(), "403") {
		t.Errorf("a page of another site: %v", err)
	}
	if _, err := dial("?after=x", nil); err == nil || !strings.Contains(err.Error(), "400") {
		t.Errorf("a wrong query: %v", err)
	}
	_ = resumed.CloseNow() // a client that goes without a word
	stop()
	next(conn)
	if _, _, err := conn.Read(t.Context()); websocket.CloseStatus(err) != websocket.StatusGoingAway {
		t.Errorf("the end: %v", err)
	}
}

// many is a table of forty /24s, all of which answer; each gives it a second of results.
func many(t *testing.T) (table *prefix.Table, each func()) {
	t.Helper()
	table = prefix.NewTable(nil)
	handles := fill(table, 40, ping)
	return table, func() {
		for i, h := range handles {
			table.Record(h, time.Now(), prefix.Answered, time.Duration(i)*time.Microsecond)
		}
	}
}

// fill makes so many /24s, 10.0.0.0/24 and so on, of a table: of each address a handle for each of the probes.
func fill(table *prefix.Table, prefixes int, probes ...prefix.Probe) (handles []prefix.Handle) {
	rules := make([]prefix.TargetProbe, len(probes))
	for i, p := range probes {
		rules[i] = prefix.TargetProbe{Probe: p, DownAfter: 1, UpAfter: 1}
	}
	var blocks []prefix.Block
	for third := range prefixes {
		b := prefix.Block{Prefix: netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 0, byte(third), 0}), 24)}
		for last := range prefix.BlockSize {
			b.Targets = append(b.Targets, prefix.Target{Addr: netip.AddrFrom4([4]byte{10, 0, byte(third), byte(last)}), Probes: rules})
		}
		blocks = append(blocks, b)
	}
	table.Apply(blocks)
	for i := range blocks {
		for _, target := range blocks[i].Targets {
			for _, p := range probes {
				h, _ := table.Handle(target.Addr, p)
				handles = append(handles, h)
			}
		}
	}
	return handles
}

func newHandler(t testing.TB, o Options) http.Handler {
	t.Helper()
	o.Metrics, o.Prober, o.Logger = http.NotFoundHandler(), &prober{}, log.NewNopLogger()
	if o.Events == nil {
		o.Events = event.New(event.Options{Registerer: prometheus.NewRegistry()})
	}
	h, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	return h
}

// TestASlowClientIsSkippedForward lets a client sleep over two minutes of frames, far more
// than the kernel holds for it.
func TestASlowClientIsSkippedForward(t *testing.T) {
	table, each := many(t)
	frames := frame.New(frame.Options{Table: table})
	now := time.Unix(ahead, 0)
	frames.Tick(now)
	address, _ := serve(t, newHandler(t, Options{Table: table, Frames: frames, writeTimeout: time.Minute}))
	stream, _ := open(t, address, "/api/v1/frames")
	for range 120 {
		each()
		now = now.Add(time.Second)
		frames.Tick(now)
	}
	decoder := frame.NewDecoder(stream)
	var before uint64
	skipped := 0
	for {
		m, err := decoder.Next()
		if err != nil {
			t.Fatal(err)
		}
		switch {
		case m.Flags&frame.Skipped != 0:
			skipped += int(m.Sequence - before - 1)
			if m.Type != frame.TypeFull {
				t.Errorf("skipped forward to a message of type %d", m.Type)
			}
		case m.Type == frame.TypeSecond && m.Sequence != before+1:
			t.Errorf("%d seconds are left out without a word", m.Sequence-before-1)
		}
		before = m.Sequence
		if m.Sequence == uint64(now.Unix()) {
			break
		}
	}
	if skipped < 60 {
		t.Errorf("%d of 120 seconds skipped: the client was shown what was minutes ago", skipped)
	}
}

func TestAClientThatNeverReadsIsCutOff(t *testing.T) {
	table, each := many(t)
	frames := frame.New(frame.Options{Table: table, Registerer: prometheus.NewRegistry()})
	events := event.New(event.Options{Registerer: prometheus.NewRegistry()})
	now := time.Unix(ahead, 0)
	frames.Tick(now)
	ended := make(chan string, 3)
	inner := newHandler(t, Options{Table: table, Frames: frames, Events: events, writeTimeout: 200 * time.Millisecond})
	address, _ := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		inner.ServeHTTP(w, r)
		ended <- r.URL.Path + r.Header.Get("Upgrade")
	}))
	for _, text := range []string{
		"GET /api/v1/frames HTTP/1.1\r\nHost: x\r\n\r\n",
		"GET /api/v1/frames HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n",
		"GET /api/v1/events HTTP/1.1\r\nHost: x\r\n\r\n",
	} {
		conn, err := net.Dial("tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		if _, err := io.WriteString(conn, text); err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadFull(conn, make([]byte, 12)); err != nil { // the status: it has begun
			t.Fatal(err)
		}
	}
	got := map[string]bool{}
	for deadline := time.After(30 * time.Second); len(got) < 3; {
		select {
		case which := <-ended:
			got[which] = true
		case <-deadline:
			t.Fatalf("only %v were cut off", got)
		default:
			each()
			now = now.Add(time.Second)
			frames.Tick(now)
			for range 2000 {
				events.Publish(event.Event{Type: event.TypeUp, Prefix: netip.MustParsePrefix("192.0.2.0/24"), Detail: "answered"})
			}
		}
	}
}

// TestASlowReaderOfEventsIsToldHowManyItMissed lets a client sleep over far more events than are
// kept and than the kernel holds for it: what it gets and what it missed must be all of them.
func TestASlowReaderOfEventsIsToldHowManyItMissed(t *testing.T) {
	w := newWorld(t) // keeps 64 events
	address, _ := serve(t, w.handler)
	stream, _ := open(t, address, "/api/v1/events")
	const all = 40_000
	for range all {
		w.events.Publish(event.Event{Type: event.TypeUp, Detail: strings.Repeat("x", 100)})
	}
	var next, missed uint64 = 1, 0
	for next <= all {
		var record struct {
			ID, Missed uint64
			Type       string
		}
		if err := json.Unmarshal([]byte(lines(t, stream, 1)[0]), &record); err != nil {
			t.Fatal(err)
		}
		if record.Type == "missed" {
			missed += record.Missed
			next += record.Missed
			continue
		}
		if record.ID != next {
			t.Fatalf("event %d instead of %d: something is missed without a word", record.ID, next)
		}
		next++
	}
	if missed == 0 {
		t.Error("nothing was missed: the test proves nothing")
	}
}
