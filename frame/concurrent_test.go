package frame

import (
	"bytes"
	"context"
	"errors"
	"net/netip"
	"sync"
	"testing"
	"time"

	"prefix_exporter/prefix"
)

// TestEverythingAtOnce records, reloads, subscribes, taps and asks while frames are made, and
// reads every message with the layout that came before it.
func TestEverythingAtOnce(t *testing.T) {
	places := make([]int, prefix.BlockSize)
	for i := range places {
		places[i] = i
	}
	configurations := func(i int) []prefix.Block {
		list := []prefix.Block{block("192.0.2.0/24", places[:200+i%50], ping, https)}
		if i%2 == 0 {
			list = append(list, block("198.51.100.0/24", places, ping))
		}
		return list
	}
	w := newWorld(t, configurations(0)...)
	ctx, cancel := context.WithCancel(t.Context())
	var all sync.WaitGroup
	forever := func(do func(i int)) {
		all.Go(func() {
			for i := 0; ctx.Err() == nil; i++ {
				do(i)
			}
		})
	}
	forever(func(i int) {
		addr := netip.AddrFrom4([4]byte{192, 0, 2, byte(i)})
		if h, ok := w.table.Handle(addr, []prefix.Probe{ping, https}[i%2]); ok {
			w.table.Record(h, epoch.Add(time.Duration(i)*time.Millisecond), prefix.Outcome(i%prefix.Outcomes), time.Duration(i))
		}
	})
	forever(func(i int) {
		w.table.Apply(configurations(i))
		time.Sleep(time.Millisecond)
	})
	forever(func(int) {
		for _, s := range w.table.Series() {
			w.Numbers(nil, s)
			w.Minutes(nil, s)
		}
		if _, err := w.Reference(Mean); err != nil {
			t.Error(err)
		}
		w.mu.Lock()
		w.drainTapped()
		w.mu.Unlock()
	})
	forever(func(int) {
		tap := w.Tap(netip.MustParsePrefix("192.0.2.0/24"), netip.Addr{})
		defer tap.Close()
		short, end := context.WithTimeout(ctx, time.Millisecond)
		defer end()
		_, _, _ = tap.Read(short, make([]Probe, 10))
	})
	for after := range uint64(3) {
		all.Go(func() { follow(t, ctx, w.Recorder, after) })
	}
	for range 150 {
		w.tick()
		time.Sleep(time.Millisecond)
	}
	cancel()
	all.Wait()
}

// follow reads a stream until the context ends.
func follow(t *testing.T, ctx context.Context, r *Recorder, after uint64) {
	s := r.Subscribe(after)
	defer s.Close()
	var layout Header
	for {
		messages, err := s.Next(ctx)
		if err != nil {
			if !errors.Is(err, context.Canceled) {
				t.Error(err)
			}
			return
		}
		for _, data := range messages {
			m, err := NewDecoder(bytes.NewReader(data)).Next()
			if err != nil {
				t.Error(err)
				return
			}
			if m.Type == TypeLayout {
				layout = m.Header
				continue
			}
			if m.Revision != layout.Revision {
				t.Errorf("a message of layout %d after layout %d", m.Revision, layout.Revision)
			}
			if err := Decode(m.Body, func(int, uint8, Code) {}); err != nil {
				t.Error(err)
			}
		}
	}
}
