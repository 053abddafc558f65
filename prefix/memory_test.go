package prefix

import (
	"bytes"
	"errors"
	"strings"
	"testing"
	"testing/iotest"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

const memoryHead = `{"format":"prefix_exporter known addresses","version":1}` + "\n"

func remembered(t *testing.T, table *Table) string {
	t.Helper()
	var b bytes.Buffer
	if err := table.Remember(&b); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func TestKnownAddressesOutliveARestart(t *testing.T) {
	blocks := func() []Block {
		return []Block{
			blockOf("192.0.2.0/24", []string{"192.0.2.1", "192.0.2.2", "192.0.2.10"}, rule(ping, ExpectSeen), rule(http, ExpectSeen)),
			blockOf("2001:db8::/64", []string{"2001:db8::1"}, rule(ping, ExpectSeen)),
		}
	}
	before := NewTable(nil)
	before.Apply(blocks())
	record := func(addr string, p Probe, story string) {
		for i, o := range outcomes(story) {
			before.Record(handle(t, before, addr, p), epoch.Add(time.Duration(i)*time.Second), o, time.Millisecond)
		}
	}
	record("192.0.2.10", ping, "..")
	record("192.0.2.2", ping, ".ttt")
	record("192.0.2.1", ping, "ttt")
	record("192.0.2.2", http, ".")
	record("2001:db8::1", ping, ".")

	file := remembered(t, before)
	want := memoryHead +
		`{"ip":"192.0.2.2","probe":"icmp","state":"down","last_answer":1700000040}
{"ip":"192.0.2.2","probe":"tcp","port":80,"state":"up","last_answer":1700000040}
{"ip":"192.0.2.10","probe":"icmp","state":"up","last_answer":1700000041}
{"ip":"2001:db8::1","probe":"icmp","state":"up","last_answer":1700000040}
`
	if diff := cmp.Diff(want, file); diff != "" {
		t.Errorf("file (-want +got):\n%s", diff)
	}

	after := NewTable(nil)
	if err := after.Restore(strings.NewReader(file)); err != nil {
		t.Fatal(err)
	}
	after.Apply(blocks())
	if got := slot(t, after, "192.0.2.2", ping); !got.Known || got.State != Unknown || got.believed() != Down || got.Sent() != 0 || got.LastAnswer.Unix() != epoch.Unix() {
		t.Errorf("known %v, %v, sent %d, last answer %v", got.Known, got.State, got.Sent(), got.LastAnswer)
	}
	if got := slot(t, after, "192.0.2.1", ping); got.Known || got.State != Dark {
		t.Errorf("an address that never answered: known %v, %v", got.Known, got.State)
	}
	if diff := cmp.Diff(file, remembered(t, after)); diff != "" {
		t.Errorf("written again (-want +got):\n%s", diff)
	}
}

func TestAnAddressThatIsNotConfiguredIsStillRemembered(t *testing.T) {
	file := memoryHead + `{"ip":"198.51.100.1","probe":"icmp","state":"up","last_answer":1}` + "\n"
	table := NewTable(nil)
	if err := table.Restore(strings.NewReader(file)); err != nil {
		t.Fatal(err)
	}
	table.Apply([]Block{blockOf("192.0.2.0/24", []string{"192.0.2.1"}, rule(ping, ExpectSeen))})
	if diff := cmp.Diff(file, remembered(t, table)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	table.Apply([]Block{blockOf("198.51.100.0/24", []string{"198.51.100.1"}, rule(ping, ExpectSeen))})
	if got := slot(t, table, "198.51.100.1", ping); !got.Known || got.State != Unknown || got.believed() != Up {
		t.Errorf("when it comes back: known %v, %v", got.Known, got.State)
	}
}

func TestWhatIsRememberedIsHeldAgainstTheConfiguration(t *testing.T) {
	file := memoryHead +
		`{"ip":"192.0.2.1","probe":"icmp","state":"down"}
{"ip":"192.0.2.2","probe":"icmp","state":"up","last_answer":1700000000}
`
	for _, test := range []struct {
		name         string
		expect       Expect
		never, known bool // whether the one that never answered, and the one that did, are known
	}{
		{"seen: an address that never answered was only expected before", ExpectSeen, false, true},
		{"all: both are known", ExpectAll, true, true},
		{"none: nothing is expected of either", ExpectNone, false, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			table := NewTable(nil)
			if err := table.Restore(strings.NewReader(file)); err != nil {
				t.Fatal(err)
			}
			table.Apply([]Block{blockOf("192.0.2.0/24", []string{"192.0.2.1", "192.0.2.2"}, rule(ping, test.expect))})
			if got := slot(t, table, "192.0.2.1", ping); got.Known != test.never {
				t.Errorf("never answered: known %v", got.Known)
			}
			if got := slot(t, table, "192.0.2.2", ping); got.Known != test.known {
				t.Errorf("answered: known %v", got.Known)
			}
		})
	}
}

// TestATimeThatCannotBeIsNoReasonToWait reads files of a machine whose clock was wrong: an address
// that is down must be forgotten as soon as dark_after says.
func TestATimeThatCannotBeIsNoReasonToWait(t *testing.T) {
	const darkAfter = time.Hour
	for name, test := range map[string]struct {
		text  string
		known bool          // at first
		left  time.Duration // until it is forgotten
	}{
		"now":                        {"946684800", true, darkAfter}, // when synctest begins: 2000-01-01
		"half of the time ago":       {"946683000", true, darkAfter / 2},
		"with a fraction":            {"946683000.9", true, darkAfter / 2},
		"an hour ahead":              {"946688400", true, darkAfter},
		"a century ahead":            {"4102444800", true, darkAfter},
		"the year 9999":              {"253402300799", true, darkAfter},
		"nanoseconds":                {"946684800000000000", true, darkAfter},
		"the largest number":         {"9223372036854775807", true, darkAfter},
		"one more":                   {"9223372036854775808", true, darkAfter},
		"far more":                   {"1e400", true, darkAfter},
		"long ago":                   {"1", true, 0},
		"the beginning":              {"0", false, 0},
		"before the beginning":       {"-1", false, 0},
		"the year 1, Go's zero time": {"-62135596800", false, 0},
		"the smallest number":        {"-9223372036854775808", false, 0},
		"far less":                   {"-1e400", false, 0},
		"next to nothing":            {"1e-400", false, 0},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				table := NewTable(nil)
				file := memoryHead + `{"ip":"192.0.2.1","probe":"icmp","state":"down","last_answer":` + test.text + "}\n"
				if err := table.Restore(strings.NewReader(file)); err != nil {
					t.Fatal(err)
				}
				probe := rule(ping, ExpectSeen)
				probe.DarkAfter = darkAfter
				table.Apply([]Block{blockOf("192.0.2.0/24", []string{"192.0.2.1"}, probe)})
				lose := func() bool {
					table.Record(handle(t, table, "192.0.2.1", ping), time.Now(), Timeout, 0)
					return slot(t, table, "192.0.2.1", ping).Known
				}
				first := slot(t, table, "192.0.2.1", ping)
				if first.Known != test.known || first.LastAnswer.After(time.Now()) {
					t.Errorf("known %v, last answer %v, want known %v", first.Known, first.LastAnswer, test.known)
				}
				if test.left > 0 {
					time.Sleep(test.left)
					if !lose() {
						t.Errorf("forgotten before %v", test.left)
					}
					time.Sleep(2 * time.Second) // the file has whole seconds
				}
				if lose() {
					t.Errorf("not forgotten after %v", test.left)
				}
			})
		})
	}
}

func TestAFileThatCannotBeReadChangesNothing(t *testing.T) {
	good := `{"ip":"192.0.2.1","probe":"icmp","state":"up","last_answer":1}` + "\n"
	for _, test := range []struct{ name, file, want string }{
		{"empty", "", "line 1: empty file"},
		{"no JSON", "hello\n", "line 1: invalid character 'h' looking for beginning of value"},
		{"another format", `{"format":"x","version":1}`, `line 1: format "x" version 1: must be "prefix_exporter known addresses" version 1`},
		{"a later version", `{"format":"prefix_exporter known addresses","version":2}`, `line 1: format "prefix_exporter known addresses" version 2: must be "prefix_exporter known addresses" version 1`},
		{"half a line", memoryHead + good + `{"ip":"192.0.`, "line 3: unexpected end of JSON input"},
		{"no address", memoryHead + `{"probe":"icmp","state":"up"}`, "line 2: ip: missing"},
		{"an impossible address", memoryHead + `{"ip":"192.0.2.256","probe":"icmp","state":"up"}`, `line 2: ParseAddr("192.0.2.256"): IPv4 field has value >255`},
		{"an unknown probe", memoryHead + `{"ip":"192.0.2.1","probe":"udp","state":"up"}`, `line 2: probe "udp": must be icmp or tcp`},
		{"an unknown state", memoryHead + `{"ip":"192.0.2.1","probe":"icmp","state":"?"}`, `line 2: state "?": must be dark, up or down`},
	} {
		t.Run(test.name, func(t *testing.T) {
			table := NewTable(nil)
			if err := table.Restore(strings.NewReader(memoryHead + good)); err != nil {
				t.Fatal(err)
			}
			err := table.Restore(strings.NewReader(test.file))
			if err == nil || err.Error() != test.want {
				t.Errorf("got error %v, want %s", err, test.want)
			}
			if got := remembered(t, table); got != memoryHead+good {
				t.Errorf("remembers\n%s", got)
			}
		})
	}
	broken := errors.New("the disk is gone")
	if err := NewTable(nil).Restore(iotest.ErrReader(broken)); !errors.Is(err, broken) {
		t.Errorf("got error %v, want that of the reader", err)
	}
	if err := NewTable(nil).Remember(failingWriter{broken}); !errors.Is(err, broken) {
		t.Errorf("got error %v, want that of the writer", err)
	}
}

type failingWriter struct{ err error }

func (w failingWriter) Write([]byte) (int, error) { return 0, w.err }
