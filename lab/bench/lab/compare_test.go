//go:build linux

package main

import (
	"math"
	"net/netip"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"prefix_exporter/config"
	"prefix_exporter/lab/netsim"
)

func TestScenarioAndConfigurationAreValid(t *testing.T) {
	for _, prefixes := range []int{1, 7, 40, maxPrefixes} {
		n := newNetwork(prefixes)
		if len(n.kinds) != prefixes {
			t.Errorf("%d prefixes: %d kinds", prefixes, len(n.kinds))
		}
		if _, err := netsim.Parse("scenario.yml", []byte(n.scenario())); err != nil {
			t.Errorf("%d prefixes: %v", prefixes, err)
		}
		c, err := config.Parse("config.yml", []byte(n.configuration(time.Second)))
		if err != nil || len(c.Blocks) != prefixes {
			t.Errorf("%d prefixes: %v", prefixes, err)
		}
	}
}

func TestPacketsAreComparedOneByOne(t *testing.T) {
	n := newNetwork(1)
	a := netip.MustParseAddr("10.64.0.1")
	at := func(s int64) int64 { return s * int64(time.Second) }
	packet := func(sequence uint16, hold time.Duration, copies int) netsim.Packet {
		p := netsim.Packet{Dst: a, Seq: sequence, Read: at(int64(sequence)), Verdict: netsim.Lost}
		for range copies {
			p.Verdict = netsim.Answered
			p.Replies = append(p.Replies, netsim.Reply{Written: p.Read + int64(hold), WrittenMono: int64(hold)})
		}
		return p
	}
	told := func(sequence uint16, e event, rtt time.Duration) note {
		return note{Addr: a.As4(), Sequence: sequence, Event: e, Sent: at(int64(sequence)), RTT: int64(rtt)}
	}
	truth := []netsim.Packet{
		packet(1, time.Millisecond, 1), packet(2, 0, 0), packet(3, time.Millisecond, 2), // told as they are
		packet(4, time.Millisecond, 1), packet(5, 0, 0), // told the other way round
		packet(6, time.Millisecond, 1),      // not told
		packet(8, 1500*time.Millisecond, 2), // late, and twice
		packet(9, time.Millisecond, 1),      // under way at the end
	}
	notes := []note{
		told(1, answered, 3*time.Millisecond), told(2, timedOut, 0), told(3, duplicate, 0), told(3, answered, time.Millisecond),
		told(4, timedOut, 0), told(5, answered, time.Millisecond),
		told(7, answered, time.Millisecond), // never sent
		told(8, timedOut, 0), told(8, late, 0), told(8, duplicate, 0),
	}
	c := compare(n, truth, notes, time.Unix(9, 0))
	want := ledger{addresses: 256, probes: 7, lost: 3, lostSeen: 3, late: 1, copies: 2, copiesSeen: 2, differ: 3, unknown: 1, unexpected: 2}
	if diff := cmp.Diff(want, *c.ledgers["nothing"], cmp.AllowUnexported(ledger{})); diff != "" {
		t.Errorf("ledger (-want +got):\n%s", diff)
	}
	if c.open != 1 || c.phantoms != 1 {
		t.Errorf("%d open, %d phantoms, want 1 and 1", c.open, c.phantoms)
	}
	off, below := c.errors(func(measured) bool { return true })
	if below != 0 {
		t.Errorf("an RTT is %v below the truth", below)
	}
	if diff := cmp.Diff([]time.Duration{0, 2 * time.Millisecond}, off); diff != "" {
		t.Errorf("errors (-want +got):\n%s", diff)
	}
}

func TestTheFullestWindowIsFoundWhereverItBegins(t *testing.T) {
	c := &comparison{network: newNetwork(1)}
	for _, ms := range []int64{0, 5, 9, 11, 12, 14, 21, 40} { // five from 5 to 14, where 2.56 would be even
		c.sent = append(c.sent, ms*int64(time.Millisecond))
	}
	fullest, tooFull := c.evenness(time.Unix(0, 0), time.Unix(1, 0))
	if want := 5 / 2.56; math.Abs(fullest-want) > 1e-9 {
		t.Errorf("the fullest has %v times its share, want %v", fullest, want)
	}
	if tooFull != 0 { // three in each of the first two: 1.17 times their share
		t.Errorf("%v of the windows are too full, want none", tooFull)
	}
}

func TestQuantilesOfAHistogram(t *testing.T) {
	h := histogram{count: 100, bounds: []float64{1, 2, math.Inf(1)}, below: []float64{50, 90, 100}}
	for q, want := range map[float64]float64{0.25: 0.5, 0.5: 1, 0.7: 1.5, 0.95: math.Inf(1)} {
		if got := h.quantile(q); got != want {
			t.Errorf("quantile %v: got %v, want %v", q, got, want)
		}
	}
	if got := h.over(2); math.Abs(got-0.1) > 1e-9 {
		t.Errorf("over 2: %v, want 0.1", got)
	}
}

func TestNotesSurviveTheFile(t *testing.T) {
	p := prober{record: filepath.Join(t.TempDir(), "record"), notes: []note{
		{Addr: [4]byte{10, 64, 0, 1}, Sequence: 65535, Event: late, Sent: 1 << 60, RTT: -1},
		{Addr: [4]byte{10, 64, 0, 2}, Event: answered, RTT: 1},
	}}
	if err := p.write(); err != nil {
		t.Fatal(err)
	}
	got, err := readNotes(p.record)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(p.notes, got, cmp.AllowUnexported(note{})); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
