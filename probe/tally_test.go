package probe

import (
	"fmt"
	"net/netip"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// seconds lets a tally judge second by second what each fills in, and returns what it reports and notes.
func seconds(t *tally, n int, fill func(second int, t *tally)) (reports []string) {
	for i := range n {
		fill(i, t)
		t.judge(int64(time.Hour)+int64(i)*int64(healthEvery),
			func(r Reason, detail string) { reports = append(reports, fmt.Sprintf("%s: %s", r, detail)) },
			func(detail string) { reports = append(reports, "note: "+detail) })
	}
	return slices.Compact(reports)
}

func block(i int) netip.Prefix {
	return netip.PrefixFrom(netip.AddrFrom4([4]byte{192, 0, byte(i), 0}), 24)
}

func TestTroubleIsANumberAndAShareOfTenSeconds(t *testing.T) {
	steady := func(sent int) func(int, *tally) { return func(_ int, t *tally) { t.sent += sent } }
	for name, test := range map[string]struct {
		blocks int
		fill   func(second int, t *tally)
		want   []string
	}{
		"nothing is wrong":                                {1, steady(256), nil},
		"nothing is probed":                               {0, steady(0), nil},
		"one late probe of eight":                         {1, func(i int, t *tally) { t.sent += 8; t.skipped += at(i, 15, 1) }, nil},
		"one late probe of TCP's nine a second":           {1, func(i int, t *tally) { t.sent += 9; t.skipped += at(i, 15, 1) }, nil},
		"one late probe a second of TCP's nine":           {1, func(i int, t *tally) { t.sent += 8; t.skipped++ }, []string{"skipped: 10 of 90 probes of 10 s (11 %) could not be sent in time"}},
		"a stop of 0.11 s of 8 addresses":                 {1, func(i int, t *tally) { t.sent += 8 - at(i, 15, 1); t.skipped += at(i, 15, 1) }, nil},
		"a stop of 0.11 s of 10,240 addresses":            {40, func(i int, t *tally) { t.sent += 10240 - at(i, 15, 110); t.skipped += at(i, 15, 110) }, nil},
		"a stop of 0.2 s of 10,240 addresses":             {40, func(i int, t *tally) { t.sent += 10240 - at(i, 15, 1100); t.skipped += at(i, 15, 1100) }, []string{"skipped: 1,100 of 102,400 probes of 10 s (1.1 %) could not be sent in time"}},
		"the first second is late":                        {1, func(i int, t *tally) { t.sent += 256 - at(i, 0, 20); t.skipped += at(i, 0, 20) }, nil},
		"an on-link /26 with one address of another kind": {1, func(i int, t *tally) { t.sent += 63; t.fail(block(0), syscall.EACCES) }, []string{"send_error: 10 of 640 probes of 10 s (1.6 %) could not be sent: EACCES: 192.0.0.0/24"}},
		"one probe of a thousand is refused":              {1, func(i int, t *tally) { t.sent += 999; t.fail(block(0), syscall.ENOBUFS) }, nil},
		"a queue that is full for four of five prefixes": {5, func(i int, t *tally) {
			t.sent += 256 - 32
			for k := range 32 {
				t.fail(block(k%4), syscall.ENOBUFS)
			}
		}, []string{"send_error: 32 of 256 probes of 1 s (12 %) could not be sent: ENOBUFS: 192.0.0.0/24 and 3 more prefixes"}},
		"a firewall for one of three prefixes": {3, func(i int, t *tally) {
			t.sent += 512
			for range 256 {
				t.fail(block(7), syscall.EPERM)
			}
		}, []string{"note: 256 of 768 probes of 1 s (33 %) could not be sent: EPERM: 192.0.7.0/24"}},
		"a firewall for two of three prefixes": {3, func(i int, t *tally) {
			t.sent += 256
			for k := range 512 {
				t.fail(block(k%2), syscall.EPERM)
			}
		}, []string{"send_error: 512 of 768 probes of 1 s (67 %) could not be sent: EPERM: 192.0.0.0/24 and 1 more prefix"}},
		"the only address is refused, once a second": {1, func(i int, t *tally) { t.fail(block(0), syscall.ENOBUFS) },
			[]string{"send_error: 10 of 10 probes of 10 s (100 %) could not be sent: ENOBUFS: 192.0.0.0/24"}},
		"the only port is refused, every ten seconds": {1, func(i int, t *tally) {
			if i%10 == 0 {
				t.fail(block(0), syscall.EMFILE)
			}
		}, nil}, // told by the states: there are too few for a verdict within these 20 s
		"one packet is dropped":     {1, func(i int, t *tally) { t.sent += 256; t.dropped += at(i, 15, 1) }, nil},
		"hundreds are dropped once": {1, func(i int, t *tally) { t.sent += 256; t.dropped += at(i, 15, 300) }, []string{"kernel_drop: the kernel dropped 300 packets in 10 s because the receive queue was full"}},
	} {
		t.Run(name, func(t *testing.T) {
			got := seconds(&tally{blocks: test.blocks}, 20, test.fill)
			if len(got) > len(test.want) && len(test.want) > 0 {
				got = got[:len(test.want)] // it goes on, with other numbers
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// at returns n in one of the seconds, and nothing in the others.
func at(second, in, n int) int {
	if second == in {
		return n
	}
	return 0
}

func TestRareProbesAreJudgedOverAMinute(t *testing.T) {
	got := seconds(&tally{blocks: 1}, 60, func(i int, t *tally) {
		if i%10 == 0 { // six a minute
			t.fail(block(0), syscall.EMFILE)
		}
	})
	want := []string{"send_error: 4 of 4 probes of 31 s (100 %) could not be sent: EMFILE: 192.0.0.0/24"}
	if diff := cmp.Diff(want, got[:1]); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// TestTroubleEndsWithItsCause has a second of trouble, which is in what is looked back on for nine seconds more.
func TestTroubleEndsWithItsCause(t *testing.T) {
	var when []int
	now := 0
	y := &tally{blocks: 1}
	for ; now < 40; now++ {
		y.sent += 256 - at(now, 20, 200)
		y.skipped += at(now, 20, 200)
		y.judge(int64(now)*int64(time.Second), func(Reason, string) { when = append(when, now) }, nil)
	}
	if diff := cmp.Diff([]int{20}, when); diff != "" {
		t.Errorf("reported in the seconds (-want +got):\n%s", diff)
	}
}

func TestAPauseIsNoTroubleOfTheSecondsBeforeIt(t *testing.T) {
	y := &tally{blocks: 1}
	report := func(r Reason, detail string) { t.Errorf("%s: %s", r, detail) }
	y.sent, y.skipped = 256, 9
	y.judge(int64(time.Second), report, nil)
	y.sent, y.skipped = 256, 9
	y.judge(int64(time.Hour), report, nil) // the same place among the seconds, or another: long ago
}
