package web

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"time"

	"prefix_exporter/event"
	"prefix_exporter/frame"
	"prefix_exporter/prefix"
)

// heartbeat is how long an event stream may be silent: proxies give up after 60 s.
const heartbeat = 15 * time.Second

// batch is how many events are taken at a time; each subscriber has memory for so many.
const batch = 16

// resultBatch is the same of single results, of which a prefix has 26 in a tenth of a second: 12 kB.
const resultBatch = 64

// maxLimit is far more than anybody waits for, and fits into an int everywhere.
const maxLimit = 1_000_000_000

// eventQuery is what a client wants to be told.
type eventQuery struct {
	after   uint64
	since   bool // after was given
	prefix  netip.Prefix
	ip      netip.Addr
	probes  bool
	follow  bool
	limit   uint64 // 0: none
	browser bool   // Server-Sent Events instead of lines of JSON
}

// eventQuery reads the query. What is not a target of this exporter is an error: nothing would
// ever be told of it.
func (a *api) eventQuery(r *http.Request) (q eventQuery, err error) {
	if err := checkKeys(r, "after", "prefix", "ip", "probes", "follow", "limit"); err != nil {
		return q, err
	}
	if q.after, q.since, err = eventsAfter(r); err != nil {
		return q, err
	}
	if q.limit, err = number(r, "limit", 0, 1, maxLimit); err != nil {
		return q, err
	}
	follow, err := oneOf(r, "follow", "true", "false")
	if err != nil {
		return q, err
	}
	probes, err := oneOf(r, "probes", "0", "1")
	if err != nil {
		return q, err
	}
	q.follow, q.probes = follow == "true", probes == "1"
	q.browser = strings.Contains(r.Header.Get("Accept"), "text/event-stream")
	if err := a.eventTarget(r, &q); err != nil {
		return q, err
	}
	switch {
	case q.probes && !q.prefix.IsValid():
		return q, invalid(`probes "1": must come with prefix or ip, which say whose`)
	case q.probes && !q.follow:
		return q, invalid(`probes "1": must come with follow=true, single results are not kept`)
	}
	return q, nil
}

// eventsAfter reads after. A browser that comes back sends the old address of the page and
// the ID that it has seen, which is the newer one.
func eventsAfter(r *http.Request) (after uint64, given bool, err error) {
	if text := r.Header.Get("Last-Event-ID"); text != "" {
		after, err = whole("header Last-Event-ID", text, 0, math.MaxInt64)
		return after, true, err
	}
	after, err = number(r, "after", 0, 0, math.MaxInt64)
	return after, r.URL.Query().Has("after"), err
}

// eventTarget reads prefix and ip. The prefix of an address is found if it is not given.
func (a *api) eventTarget(r *http.Request, q *eventQuery) (err error) {
	query := r.URL.Query()
	if query.Has("prefix") {
		if q.prefix, err = parsePrefix(query.Get("prefix")); err != nil {
			return err
		}
		if _, err = a.known(q.prefix); err != nil {
			return err
		}
	}
	if !query.Has("ip") {
		return nil
	}
	if q.ip, err = parseIP(query.Get("ip")); err != nil {
		return err
	}
	for _, s := range a.Table.Series() {
		if _, ok := a.place(s, q.ip); ok && (!q.prefix.IsValid() || q.prefix == s.Prefix()) {
			q.prefix = s.Prefix()
			return nil
		}
	}
	if q.prefix.IsValid() {
		return missing("ip %q: is not a target of this exporter in prefix %s", q.ip, q.prefix)
	}
	return missing("ip %q: is not a target of this exporter", q.ip)
}

// wants says whether the client is to be told of an event.
func (q *eventQuery) wants(e *event.Event) bool {
	if q.ip.IsValid() {
		return e.IP == q.ip
	}
	return !q.prefix.IsValid() || e.Prefix == q.prefix
}

// events streams events, and single results to those who ask for them.
func (a *api) events(w http.ResponseWriter, r *http.Request) error {
	q, err := a.eventQuery(r)
	if err != nil {
		return err
	}
	contentType := "application/x-ndjson"
	if q.browser {
		contentType = "text/event-stream"
	}
	// Before the response begins: whoever has seen its header misses nothing after it.
	sub, gone := a.subscribe(&q)
	defer sub.Close()
	var tap *frame.Tap
	if q.probes {
		tap = a.Frames.Tap(q.prefix, q.ip)
		defer tap.Close()
	}
	s, err := a.newStream(w, r, contentType)
	if err != nil {
		return nil // the client has gone
	}
	defer s.end()
	if r.Method == http.MethodHead {
		return nil
	}
	out := &eventWriter{stream: s, query: &q, encoding: a.encoding, left: q.limit}
	// Whatever ends these, the end of the stream is all that the client can be told.
	if !q.follow {
		_ = out.past(a.Events, gone)
		return nil
	}
	ctx, cancel := context.WithCancel(r.Context())
	defer cancel()
	var results sync.WaitGroup
	if tap != nil {
		results.Go(func() {
			defer cancel()
			_ = out.probes(ctx, tap)
		})
	}
	_ = out.events(ctx, sub, gone)
	cancel()
	results.Wait()
	return nil
}

// subscribe begins where the client wants to, and returns how many events are gone since.
func (a *api) subscribe(q *eventQuery) (sub *event.Subscription, gone uint64) {
	if !q.since {
		return a.Events.Subscribe(0), 0
	}
	gone = a.Events.Gone(q.after)
	return a.Events.SubscribeSince(q.after, 0), gone
}

// errDone ends a stream that has all that was asked for.
var errDone = errors.New("done")

// eventWriter writes records to one client.
type eventWriter struct {
	query    *eventQuery
	encoding chan struct{} // see api.encoding

	mu     sync.Mutex
	stream *stream
	left   uint64 // of the limit; 0: none
	done   bool   // the limit is reached
	buffer bytes.Buffer
}

type missedJSON struct {
	Type   string `json:"type"`
	Missed uint64 `json:"missed"`
}

type resultJSON struct {
	Type    string       `json:"type"`
	Time    time.Time    `json:"time"`
	Prefix  netip.Prefix `json:"prefix"`
	IP      netip.Addr   `json:"ip"`
	Probe   string       `json:"probe"`
	Port    uint16       `json:"port"`
	Outcome string       `json:"outcome"`
	RTT     figure       `json:"rtt_seconds"`
}

// past writes the newest events that are kept, or those after the one that was asked for.
func (w *eventWriter) past(log *event.Log, gone uint64) error {
	if !w.query.since {
		return w.tell(log.Last(int(cmp.Or(w.query.limit, event.Capacity)), w.query.wants), 0)
	}
	if err := w.tell(nil, gone); err != nil {
		return err
	}
	for after := w.query.after; ; {
		events := log.Since(after, batch)
		if len(events) == 0 {
			return nil
		}
		if err := w.tell(events, 0); err != nil {
			return err
		}
		after = events[len(events)-1].ID
	}
}

// events writes events until the limit, the log or the context ends.
func (w *eventWriter) events(ctx context.Context, sub *event.Subscription, gone uint64) error {
	if err := w.tell(nil, gone); err != nil {
		return err
	}
	var events [batch]event.Event
	for {
		wait, cancel := context.WithTimeout(ctx, heartbeat)
		n, missed, err := sub.Read(wait, events[:])
		cancel()
		switch {
		case err == nil:
			err = w.tell(events[:n], missed)
		case ctx.Err() == nil && errors.Is(err, context.DeadlineExceeded):
			err = w.beat()
		}
		if err != nil {
			return err
		}
	}
}

// tell writes those of the events that the client wants.
func (w *eventWriter) tell(events []event.Event, missed uint64) error {
	return w.write(missed, len(events), func(i int) error {
		if !w.query.wants(&events[i]) {
			return nil
		}
		return w.record(events[i].ID, events[i].Type, encode(&events[i]))
	})
}

// probes writes single results until the limit, the tap or the context ends.
func (w *eventWriter) probes(ctx context.Context, tap *frame.Tap) error {
	results := make([]frame.Probe, resultBatch)
	for {
		n, missed, err := tap.Read(ctx, results)
		if err != nil {
			return err
		}
		err = w.write(missed, n, func(i int) error {
			return w.record(0, typeResult, results[i].Text(w.query.result))
		})
		if err != nil {
			return err
		}
	}
}

// typeResult is the type of a single result.
const typeResult = "probe"

// result writes one as JSON. It is the same for all who are told of the prefix.
func (q *eventQuery) result(p *frame.Probe) []byte {
	return encode(resultJSON{
		typeResult, p.Sent.UTC(), q.prefix, p.Addr, p.Probe.Kind.String(), p.Probe.Port,
		p.Outcome.String(), seconds(p.RTT, p.Outcome == prefix.Answered),
	})
}

// write sends what was missed, if anything, and n records that one adds to the buffer.
func (w *eventWriter) write(missed uint64, n int, one func(i int) error) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.done { // by the other who writes
		return errDone
	}
	w.buffer.Reset()
	end := w.fill(missed, n, one)
	if w.buffer.Len() > 0 {
		if err := w.stream.write(w.buffer.Bytes()); err != nil {
			return err
		}
	}
	return end
}

// fill fills the buffer, when it is this stream's turn.
func (w *eventWriter) fill(missed uint64, n int, one func(i int) error) (end error) {
	if missed == 0 && n == 0 {
		return nil
	}
	w.encoding <- struct{}{}
	defer func() { <-w.encoding }()
	if missed > 0 {
		const typ = "missed"
		w.append(0, typ, encode(missedJSON{typ, missed}))
	}
	for i := 0; i < n && end == nil; i++ {
		end = one(i)
	}
	return end
}

// record adds one record to the buffer, and returns errDone if it was the last one.
func (w *eventWriter) record(id uint64, typ string, data []byte) error {
	w.append(id, typ, data)
	switch w.left {
	case 0: // no limit
	case 1:
		w.done = true
		return errDone
	default:
		w.left--
	}
	return nil
}

func (w *eventWriter) append(id uint64, typ string, data []byte) {
	if !w.query.browser {
		w.buffer.Write(data) // which others may read: nothing can be appended to it
		w.buffer.WriteByte('\n')
		return
	}
	if id > 0 {
		fmt.Fprintf(&w.buffer, "id: %d\n", id)
	}
	fmt.Fprintf(&w.buffer, "event: %s\ndata: %s\n\n", typ, data)
}

// encode writes a record as JSON.
func encode(v any) []byte {
	data, err := json.Marshal(v)
	if err != nil {
		panic("web: record: " + err.Error()) // a struct of strings and numbers can always be written
	}
	return data
}

// beat tells the client, and whatever is between, that the stream lives.
func (w *eventWriter) beat() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.query.browser {
		return w.stream.write([]byte("\n"))
	}
	return w.stream.write([]byte(": heartbeat\n\n"))
}
