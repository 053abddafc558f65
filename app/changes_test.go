package app

import (
	"context"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"

	"prefix_exporter/event"
	"prefix_exporter/prefix"
)

func TestNewEvent(t *testing.T) {
	addr := netip.MustParseAddr("192.0.2.7")
	at := time.Unix(1000, 0)
	got := newEvent(prefix.Change{
		At: at, Prefix: netip.MustParsePrefix("192.0.2.0/24"), Addr: addr, Probe: prefix.Probe{Kind: prefix.TCP, Port: 443},
		From: prefix.Up, To: prefix.Down, Cause: prefix.Cause{Outcome: prefix.Refused},
	})
	want := event.Event{
		Time: at, Type: event.TypeDown, Prefix: netip.MustParsePrefix("192.0.2.0/24"), IP: addr,
		TargetID: prefix.TargetID(addr), Probe: "tcp", Port: 443, From: "up", To: "down", Detail: "refused", Cause: "connection refused",
	}
	if diff := cmp.Diff(want, got, byValue); diff != "" {
		t.Error(diff)
	}
	for state, want := range map[prefix.State]string{prefix.Up: event.TypeUp, prefix.Down: event.TypeDown, prefix.Dark: event.TypeDark, prefix.Unknown: event.TypeUnknown} {
		if got := newEvent(prefix.Change{To: state}).Type; got != want {
			t.Errorf("%s: got type %s", state, got)
		}
	}
}

func TestFirstEventID(t *testing.T) {
	start := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	first := firstEventID(start)
	if later := firstEventID(start.Add(time.Second)); later <= first+100_000 {
		t.Errorf("a run of a second leaves room for %d events", later-first)
	}
	if got := firstEventID(time.Unix(-1, 0)); got == 0 {
		t.Error("a clock before 1970 gives no ID")
	}
}

// logChanges runs a changeLogger on a fake clock while publish says what happens, and
// returns the lines.
func logChanges(t *testing.T, way string, publish func(l *event.Log)) (lines []string) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		var out buffer
		logger, err := NewLogger(&out, "info", "logfmt")
		if err != nil {
			t.Fatal(err)
		}
		l := event.New(event.Options{Registerer: prometheus.NewRegistry()})
		c := newChangeLogger(logger, l.Subscribe(0), way)
		ended := make(chan error)
		go func() { ended <- c.run(context.Background()) }()
		time.Sleep(10 * time.Second) // whatever happened before does not count
		publish(l)
		l.Close()
		if err := <-ended; err != nil {
			t.Error(err)
		}
		for line := range strings.Lines(out.String()) {
			_, line, _ = strings.Cut(line, "level=")
			lines = append(lines, strings.TrimSpace(line))
		}
	})
	return lines
}

func change(from, to prefix.State) prefix.Change {
	return prefix.Change{
		At: time.Now(), Prefix: netip.MustParsePrefix("192.0.2.0/24"), Addr: netip.MustParseAddr("192.0.2.7"), From: from, To: to,
		Cause: prefix.Cause{Outcome: prefix.Timeout},
	}
}

func TestEachChangeIsOneLine(t *testing.T) {
	got := logChanges(t, LogChangesAddress, func(l *event.Log) {
		l.Publish(newEvent(change(prefix.Up, prefix.Down)))
		c := change(prefix.Down, prefix.Up)
		c.Probe, c.Cause = prefix.Probe{Kind: prefix.TCP, Port: 80}, prefix.Cause{}
		l.Publish(newEvent(c))
	})
	id := prefix.TargetID(netip.MustParseAddr("192.0.2.7"))
	want := []string{
		`info msg="State changed" target_id=` + id + ` ip=192.0.2.7 prefix=192.0.2.0/24 probe=icmp from=up to=down outcome=timeout at=2000-01-01T00:00:10.000Z event=1`,
		`info msg="State changed" target_id=` + id + ` ip=192.0.2.7 prefix=192.0.2.0/24 probe=tcp port=80 from=down to=up outcome=answered at=2000-01-01T00:00:10.000Z event=2`,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

// What is not logged one by one is summed up, so that lines and sums always make the
// number of events.
func TestFloodsAreSummedUp(t *testing.T) {
	const one = `info msg="State changed"`
	const summed = `info msg="Changes of state not logged one by one" `
	count := func(lines []string) (each int, sums []string) {
		for _, line := range lines {
			if sum, ok := strings.CutPrefix(line, summed); ok {
				sums = append(sums, sum)
			} else if strings.HasPrefix(line, one) {
				each++
			}
		}
		return each, sums
	}
	for name, test := range map[string]struct {
		publish func(l *event.Log)
		each    int
		sums    []string
	}{
		"an outage of everything": {
			func(l *event.Log) {
				for range 10_000 {
					l.Publish(newEvent(change(prefix.Up, prefix.Down)))
				}
			},
			300, []string{"changes=9700 up=0 down=9700 dark=0 unknown=0 route=0 missed=0"},
		},
		"a start": {
			func(l *event.Log) {
				for range 1000 {
					l.Publish(newEvent(change(prefix.Dark, prefix.Up)))
				}
			},
			10, []string{"changes=990 up=990 down=0 dark=0 unknown=0 route=0 missed=0"},
		},
		"each second has its own sum, without waiting for the next event": {
			func(l *event.Log) {
				for range 3 {
					for range 301 {
						l.Publish(newEvent(change(prefix.Up, prefix.Down)))
					}
					time.Sleep(time.Minute)
				}
			},
			900, []string{
				"changes=1 up=0 down=1 dark=0 unknown=0 route=0 missed=0",
				"changes=1 up=0 down=1 dark=0 unknown=0 route=0 missed=0",
				"changes=1 up=0 down=1 dark=0 unknown=0 route=0 missed=0",
			},
		},
	} {
		t.Run(name, func(t *testing.T) {
			lines := logChanges(t, LogChangesAddress, test.publish)
			each, sums := count(lines)
			if each != test.each {
				t.Errorf("got %d lines, want %d", each, test.each)
			}
			if diff := cmp.Diff(test.sums, sums); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestWhatTheLoggerMissedIsSaid(t *testing.T) {
	var out buffer
	logger, err := NewLogger(&out, "info", "logfmt")
	if err != nil {
		t.Fatal(err)
	}
	l := event.New(event.Options{Registerer: prometheus.NewRegistry()})
	c := newChangeLogger(logger, l.Subscribe(0), LogChangesAddress)
	for range 2 * event.Capacity {
		l.Publish(newEvent(change(prefix.Down, prefix.Up)))
	}
	l.Close()
	if err := c.run(t.Context()); err != nil {
		t.Error(err)
	}
	if got := strings.Count(out.String(), " missed=10240\n"); got != 1 {
		t.Errorf("said %d times", got)
	}
}

// TestAPrefixIsOneLine is about the default way.
func TestAPrefixIsOneLine(t *testing.T) {
	addr := func(last byte) netip.Addr { return netip.AddrFrom4([4]byte{192, 0, 2, last}) }
	all := func(l *event.Log, n int, c prefix.Change) {
		for i := range n {
			c.Addr = addr(byte(i))
			l.Publish(newEvent(c))
		}
	}
	tcp := func(c prefix.Change, port uint16) prefix.Change {
		c.Probe = prefix.Probe{Kind: prefix.TCP, Port: port}
		return c
	}
	rejected := change(prefix.Up, prefix.Down)
	rejected.Cause = prefix.Cause{Outcome: prefix.Unreachable, By: netip.MustParseAddr("198.51.100.1"), Type: 3}
	unknown := change(prefix.Up, prefix.Unknown)
	unknown.Cause, unknown.Obstacle = prefix.Cause{}, "interface_absent"
	answered := func(from prefix.State) prefix.Change {
		c := change(from, prefix.Up)
		c.Cause = prefix.Cause{}
		return c
	}
	const at = " at=2000-01-01T00:00:10.000Z event=1"
	for _, test := range []struct {
		name    string
		publish func(l *event.Log)
		want    []string
	}{
		{"a first start", func(l *event.Log) {
			all(l, 255, answered(prefix.Dark))
			for second := range 60 {
				time.Sleep(time.Second)
				c := tcp(answered(prefix.Dark), 80+uint16(second%2))
				c.At, c.Addr = time.Now(), addr(byte(second))
				l.Publish(newEvent(c))
			}
			time.Sleep(time.Minute)
		}, []string{
			`info msg="Addresses answer for the first time" prefix=192.0.2.0/24 probe=icmp addresses=255`,
			`info msg="Addresses answer for the first time" prefix=192.0.2.0/24 probe=tcp addresses=60`,
		}},
		{"an outage, and who says so", func(l *event.Log) {
			for i := range 256 {
				c := rejected
				if i >= 200 {
					c = change(prefix.Up, prefix.Down)
				}
				c.At, c.Addr = time.Now(), addr(byte(i))
				l.Publish(newEvent(c))
			}
		}, []string{`info msg="Addresses changed state" prefix=192.0.2.0/24 probe=icmp from=up to=down addresses=256 cause="net unreachable, says 198.51.100.1"` + at}},
		{"nothing can be measured", func(l *event.Log) {
			c := unknown
			c.At = time.Now()
			all(l, 2, c)
		}, []string{`info msg="Addresses changed state" prefix=192.0.2.0/24 probe=icmp from=up to=unknown addresses=2 cause=interface_absent` + at}},
		{"a single address has its name", func(l *event.Log) {
			c := rejected
			c.At = time.Now()
			all(l, 1, c)
		}, []string{`info msg="State changed" target_id=` + prefix.TargetID(addr(0)) +
			` ip=192.0.2.0 prefix=192.0.2.0/24 probe=icmp from=up to=down outcome=unreachable cause="net unreachable" by=198.51.100.1` + at}},
		{"an outage that goes on is written every five seconds", func(l *event.Log) {
			for range 12 {
				c := change(prefix.Up, prefix.Down)
				c.At = time.Date(2000, 1, 1, 0, 0, 10, 0, time.UTC)
				all(l, 2, c)
				time.Sleep(900 * time.Millisecond)
			}
		}, []string{
			`addresses=2 `, `addresses=2 `,
		}},
		{"addresses that flap are counted once", func(l *event.Log) {
			for range 3 {
				all(l, 2, change(prefix.Up, prefix.Down))
				all(l, 2, answered(prefix.Down))
			}
		}, []string{`from=up to=down addresses=2 `, `from=down to=up addresses=2 `}},
		{"an address with two ports is found once", func(l *event.Log) {
			all(l, 2, tcp(answered(prefix.Dark), 80))
			all(l, 2, tcp(answered(prefix.Dark), 443))
			time.Sleep(time.Minute)
		}, []string{`answer for the first time" prefix=192.0.2.0/24 probe=tcp addresses=2`}},
	} {
		t.Run(test.name, func(t *testing.T) {
			got := logChanges(t, LogChangesPrefix, test.publish)
			if len(got) != len(test.want) {
				t.Fatalf("%d lines: %q", len(got), got)
			}
			for i, want := range test.want {
				if !strings.Contains(got[i], want) {
					t.Errorf("got  %s\nwant %s", got[i], want)
				}
			}
		})
	}
}
