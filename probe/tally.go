package probe

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strconv"
	"syscall"
	"time"
)

const (
	// healthEvery is how often it is judged how many probes were skipped, refused or dropped.
	healthEvery = time.Second
	// judgedSpan is what the usual judgement looks back on. A second of a small configuration
	// has five probes, of which one that is late is a fifth; what lasts shows in ten seconds, too.
	judgedSpan = 10
	// troubleShare is the share of the probes of judgedSpan, and troubleCount the number of them,
	// above which the prober is in trouble: both, for 1 % of few probes is one that happens to be late, and
	// ten of a hundred thousand change no figure that anybody looks at. A stop of 0.11 s
	// costs 0.1 % of the probes of ten seconds, one of a second 9 %.
	troubleShare = 0.01
	troubleCount = 10
	// rareSpan is what is looked back on where probes are so rare that ten seconds have no ten. There
	// the prober is in trouble if at least rareShare, and at least rareCount, could not be made.
	rareSpan  = 60
	rareShare = 0.5
	rareCount = 4
	// confined is the share of the prefixes up to which refusals are no trouble of the prober as a
	// whole: what cannot be sent to some prefixes is told of these (their states become unknown).
	confined = 0.5
)

// failure is why probes of one prefix could not be sent.
type failure struct {
	block netip.Prefix
	name  string // errorName
}

// span counts what became of the probes of a second, or of some.
type span struct {
	second  int64 // of the monotonic clock
	sent    int   // sent, or known not to be needed: what is no trouble
	skipped int
	dropped int // packets that the kernel dropped
	failed  int
	why     map[failure]int
}

func (s *span) add(o *span) {
	s.sent += o.sent
	s.skipped += o.skipped
	s.dropped += o.dropped
	s.failed += o.failed
	for f, n := range o.why {
		if s.why == nil {
			s.why = map[failure]int{}
		}
		s.why[f] += n
	}
}

// due is how many probes there were.
func (s *span) due() int { return s.sent + s.skipped + s.failed }

// tally counts what became of the probes that were due, and judges the last ten seconds of them.
type tally struct {
	span // since it was judged last

	blocks int // how many prefixes are probed
	began  int64
	past   [rareSpan]span // by second
}

// fail counts a probe that the local system would not send.
func (t *tally) fail(block netip.Prefix, err error) {
	t.failed++
	if t.why == nil {
		t.why = map[failure]int{}
	}
	t.why[failure{block, errorName(err)}]++
}

// judge reports what is too much of the last ten seconds, and goes on at zero. Only what has happened since
// the last call is reported: trouble lasts as long as its cause. now is monotonic, in nanoseconds.
func (t *tally) judge(now int64, report func(Reason, string), note func(detail string)) {
	second := now/int64(time.Second) + 1 // 0 is a place that has never been used
	if t.began == 0 {
		t.began = second - 1
	}
	fresh := t.span
	t.span = span{}
	place := &t.past[second%rareSpan]
	if place.second != second {
		*place = span{second: second}
	}
	place.add(&fresh)
	if fresh.skipped == 0 && fresh.dropped == 0 && fresh.failed == 0 {
		return
	}
	bases := [2]basis{t.back(second, judgedSpan), t.back(second, rareSpan)}
	if b, ok := tooMany(bases, func(s *span) int { return s.skipped }); ok && fresh.skipped > 0 {
		report(ReasonSkipped, b.text(b.span.skipped)+" could not be sent in time")
	}
	if b, ok := tooMany(bases, func(s *span) int { return s.dropped }); ok && fresh.dropped > 0 {
		report(ReasonKernelDrop, fmt.Sprintf("the kernel dropped %s packets in %d s because the receive queue was full", comma(b.span.dropped), b.seconds))
	}
	if b, ok := tooMany(bases, func(s *span) int { return s.failed }); ok && fresh.failed > 0 {
		what, blocks := b.span.concerns()
		detail := b.text(b.span.failed) + " could not be sent: " + what
		if float64(blocks) <= confined*float64(t.blocks) {
			note(detail)
			return
		}
		report(ReasonSendError, detail)
	}
}

// basis is what a judgement rests on.
type basis struct {
	span    *span
	seconds int // how long it is
	whole   int // how long it will be, unless the probing has only just begun
}

// back sums up the seconds up to this one.
func (t *tally) back(second int64, seconds int) basis {
	sum := &span{}
	for i := range t.past {
		if p := &t.past[i]; p.second > second-int64(seconds) && p.second <= second {
			sum.add(p)
		}
	}
	return basis{sum, int(min(int64(seconds), second-t.began)), seconds}
}

// share is n in proportion to the probes of the whole time, also where it is only just beginning: one
// late probe of the first second is not a large share.
func (b *basis) share(n int) float64 {
	return float64(n) / (float64(b.span.due()) * float64(b.whole) / float64(b.seconds))
}

// text says how many of how many probes.
func (b *basis) text(n int) string {
	due := b.span.due()
	return fmt.Sprintf("%s of %s probes of %d s (%s %%)", comma(n), comma(due), b.seconds, percent(float64(n)/float64(due)))
}

// tooMany says whether what count returns of the last ten seconds, or else of the last minute, is trouble, and of which.
func tooMany(bases [2]basis, count func(*span) int) (by basis, ok bool) {
	last, minute := bases[0], bases[1]
	if n := count(last.span); n >= troubleCount && last.share(n) > troubleShare {
		return last, true
	}
	n := count(minute.span)
	return minute, n >= rareCount && minute.share(n) >= rareShare
}

// concerns says why most of the failed probes failed, and to which prefixes those were sent; blocks is how many
// prefixes have failed probes in all.
func (s *span) concerns() (text string, blocks int) {
	why, where := map[string]int{}, map[netip.Prefix]int{}
	for f, n := range s.why {
		why[f.name] += n
		where[f.block] += n
	}
	name := most(why, cmp.Compare[string])
	theirs := map[netip.Prefix]int{}
	for f, n := range s.why {
		if f.name == name {
			theirs[f.block] += n
		}
	}
	text = name + ": " + most(theirs, func(a, b netip.Prefix) int { return a.Addr().Compare(b.Addr()) }).String()
	switch more := len(theirs) - 1; more {
	case 0:
	case 1:
		text += " and 1 more prefix"
	default:
		text += fmt.Sprintf(" and %s more prefixes", comma(more))
	}
	return text, len(where)
}

// most returns the key of the largest number; the least of several.
func most[K comparable](numbers map[K]int, compare func(a, b K) int) K {
	return slices.MinFunc(slices.Collect(maps.Keys(numbers)), func(a, b K) int {
		return cmp.Or(cmp.Compare(numbers[b], numbers[a]), compare(a, b))
	})
}

// comma writes a number as people read it: 2,560.
func comma(n int) string {
	s := strconv.Itoa(n)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

// percent writes a share in percent, with a decimal where it is small.
func percent(share float64) string {
	if share < 0.1 {
		return strconv.FormatFloat(share*100, 'f', 1, 64)
	}
	return strconv.FormatFloat(share*100, 'f', 0, 64)
}

// sendErrors are the reasons for which a system refuses to send, as values of the
// label error. They are few, so that no error text becomes a series.
var sendErrors = []struct {
	errno syscall.Errno
	name  string
}{
	{syscall.EACCES, "EACCES"}, {syscall.EADDRINUSE, "EADDRINUSE"}, {syscall.EADDRNOTAVAIL, "EADDRNOTAVAIL"},
	{syscall.EAFNOSUPPORT, "EAFNOSUPPORT"}, {syscall.EAGAIN, "EAGAIN"}, {syscall.ECONNABORTED, "ECONNABORTED"}, {syscall.EHOSTUNREACH, "EHOSTUNREACH"},
	{syscall.EINVAL, "EINVAL"}, {syscall.EMFILE, "EMFILE"}, {syscall.EMSGSIZE, "EMSGSIZE"},
	{syscall.ENETDOWN, "ENETDOWN"}, {syscall.ENETUNREACH, "ENETUNREACH"}, {syscall.ENFILE, "ENFILE"},
	{syscall.ENOBUFS, "ENOBUFS"}, {syscall.ENODEV, "ENODEV"}, {syscall.ENOMEM, "ENOMEM"}, {syscall.EPERM, "EPERM"},
}

// errorName returns the value of the label error.
func errorName(err error) string {
	if errors.Is(err, errUnsent) {
		return "unsent"
	}
	for _, e := range sendErrors {
		if errors.Is(err, e.errno) {
			return e.name
		}
	}
	return "other"
}

// errUnsent says that the kernel took a packet, but that it did not leave.
var errUnsent = errors.New("did not leave this machine: held back by its firewall, or by a full queue")

// errNoPermission says what to do when no socket can be had.
var errNoPermission = errors.New(`no permission to send ICMP. Do one of these:
  1. let every user ping:        sysctl -w net.ipv4.ping_group_range="0 2147483647"
  2. give the program the right: setcap cap_net_raw=+ep prefix_exporter   (systemd: AmbientCapabilities=CAP_NET_RAW)
  3. run it as root`)
