package probe

import (
	"fmt"
	"net/netip"
	"testing"
	"time"

	"github.com/go-kit/log"
	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"prefix_exporter/packet"
	"prefix_exporter/prefix"
)

// trial plays what may happen to the probes of one address, on a clock of its own.
type trial struct {
	*prefix.Table // the rest of a Recorder

	t      *testing.T
	clock  *handClock
	batch  *batch
	slot   *slot
	socket *socket
	said   []string // what was recorded
}

func newTrial(t *testing.T) *trial {
	t.Helper()
	tr := &trial{Table: prefix.NewTable(nil), t: t, clock: newHandClock()}
	b, err := newBatchEngine(Options{
		Recorder: tr, Logger: log.NewNopLogger(), Registerer: prometheus.NewRegistry(), Health: NewHealth(time.Now),
	}, tr.clock.read)
	if err != nil {
		t.Fatal(err)
	}
	tr.batch = b
	tr.socket = &socket{fd: -1}
	tr.slot = &slot{
		target: mended(netip.MustParseAddr("192.0.2.7"), eachSecond), used: true, socket: tr.socket, serial: 41,
		queue: &deadlines{timeout: int64(time.Second), targets: 1},
	}
	b.slots, b.list = []*slot{tr.slot}, []*socket{tr.socket}
	b.byAddr[tr.slot.target.Addr] = tr.slot
	b.queues[time.Second] = tr.slot.queue
	return tr
}

// Record implements Recorder.
func (tr *trial) Record(_ prefix.Handle, _ time.Time, o prefix.Outcome, rtt time.Duration) {
	if o == prefix.Answered {
		tr.said = append(tr.said, fmt.Sprint("answered in ", rtt))
		return
	}
	tr.said = append(tr.said, o.String())
}

// Reject implements Recorder.
func (tr *trial) Reject(_ prefix.Handle, _ time.Time, why prefix.Cause) {
	tr.said = append(tr.said, why.String())
}

// pass lets time go by, and turns the loop at its end.
func (tr *trial) pass(d time.Duration) {
	tr.clock.pass(d)
	tr.batch.clock.update()
	tr.batch.settle(tr.batch.clock.now)
	tr.batch.expire(tr.batch.clock.now)
}

func (tr *trial) send() {
	tr.batch.overtake(tr.slot)
	tr.slot.launch(tr.slot.next(), tr.batch.clock.now, tr.socket.drops)
}

// leave lets the newest probe leave so long after it was handed to the kernel.
func (tr *trial) leave(after time.Duration) {
	tr.clock.pass(after)
	tr.batch.clock.update()
	if !tr.slot.stamp(tr.batch.clock.now, 0) {
		tr.t.Fatal("its stamp belongs to no probe")
	}
}

// request is the echo request of the probe that is so many before the newest.
func (tr *trial) request(age uint32) []byte {
	b := make([]byte, packet.HeaderLen+tr.slot.target.Size)
	packet.Fill(b, packet.EchoRequest)
	tr.batch.key.PutEcho(b, 0, packet.Tag{Serial: tr.slot.serial - age})
	return b
}

// refuse has a router say of a probe that its host is unreachable (code 1) or prohibited (10).
func (tr *trial) refuse(by string, code byte, age uint32, quoted int) {
	tr.batch.icmpError(tr.socket, tr.request(age)[:quoted], tr.slot.target.Addr,
		prefix.Cause{By: netip.MustParseAddr(by), Type: packet.Unreachable, Code: code})
}

func (tr *trial) reply(age uint32) {
	b := tr.request(age)
	b[0] = packet.EchoReply
	e, err := tr.batch.key.ParseEcho(b, packet.EchoReply)
	if err != nil {
		tr.t.Fatal(err)
	}
	tr.batch.reply(tr.socket, 0, e, len(b), tr.slot.target.Addr, tr.batch.clock.now)
}

func (tr *trial) drop() { tr.socket.drops++ }

const (
	brief = packet.HeaderLen // what a router quotes by RFC 792
	full  = packet.MinEcho   // with the cookie
)

func TestAnICMPErrorIsAReasonAndNoVerdict(t *testing.T) {
	const ms = time.Millisecond
	for _, test := range []struct {
		name string
		play func(tr *trial)
		want []string
		// errors are those that turn out to be the reason for no loss.
		errors, late, duplicates float64
	}{
		{"no answer at all is a timeout", func(tr *trial) {
			tr.send()
			tr.pass(time.Second)
		}, []string{"timeout"}, 0, 0, 0},
		{"an error says nothing before the deadline", func(tr *trial) {
			tr.send()
			tr.refuse("10.0.0.1", 1, 0, full)
			tr.pass(999 * ms)
		}, nil, 0, 0, 0},
		{"an error is the reason at the deadline", func(tr *trial) {
			tr.send()
			tr.refuse("10.0.0.1", 1, 0, full)
			tr.pass(time.Second)
		}, []string{"host unreachable, says 10.0.0.1"}, 0, 0, 0},
		{"an error that quotes 8 bytes is one too", func(tr *trial) {
			tr.send()
			tr.refuse("10.0.0.1", 10, 0, brief)
			tr.pass(time.Second)
		}, []string{"host prohibited, says 10.0.0.1"}, 0, 0, 0},
		{"a reply wins over an error before it", func(tr *trial) {
			tr.send()
			tr.refuse("10.0.0.1", 1, 0, full)
			tr.pass(20 * ms)
			tr.reply(0)
			tr.pass(time.Second)
		}, []string{"answered in 20ms"}, 1, 0, 0},
		{"a reply wins over an error behind it", func(tr *trial) {
			tr.send()
			tr.pass(20 * ms)
			tr.reply(0)
			tr.refuse("10.0.0.1", 1, 0, brief)
			tr.pass(time.Second)
		}, []string{"answered in 20ms"}, 1, 0, 0},
		{"an error after a reply that is recorded changes nothing", func(tr *trial) {
			tr.send()
			tr.pass(20 * ms)
			tr.reply(0)
			tr.pass(20 * ms)
			tr.refuse("10.0.0.1", 1, 0, full)
			tr.pass(time.Second)
		}, []string{"answered in 20ms"}, 1, 0, 0},
		{"of two errors the one with the cookie gives the reason", func(tr *trial) {
			tr.send()
			tr.refuse("10.0.0.1", 1, 0, brief)
			tr.refuse("10.0.0.2", 10, 0, full)
			tr.pass(time.Second)
		}, []string{"host prohibited, says 10.0.0.2"}, 1, 0, 0},
		{"also if it comes first", func(tr *trial) {
			tr.send()
			tr.refuse("10.0.0.2", 10, 0, full)
			tr.refuse("10.0.0.1", 1, 0, brief)
			tr.pass(time.Second)
		}, []string{"host prohibited, says 10.0.0.2"}, 1, 0, 0},
		{"of two equal errors the first gives the reason", func(tr *trial) {
			tr.send()
			tr.refuse("10.0.0.1", 1, 0, brief)
			tr.refuse("10.0.0.2", 10, 0, brief)
			tr.pass(time.Second)
		}, []string{"host unreachable, says 10.0.0.1"}, 1, 0, 0},
		{"a reply after the timeout does not undo a loss", func(tr *trial) {
			tr.send()
			tr.refuse("10.0.0.1", 1, 0, full)
			tr.pass(time.Second)
			tr.reply(0)
			tr.pass(time.Second)
		}, []string{"host unreachable, says 10.0.0.1"}, 0, 1, 0},
		{"a reply that is too late, read before the deadline is judged, leaves the reason", func(tr *trial) {
			tr.send()
			tr.refuse("10.0.0.1", 1, 0, full)
			tr.clock.pass(time.Second + ms)
			tr.batch.clock.update()
			tr.reply(0)
			tr.pass(0)
		}, []string{"host unreachable, says 10.0.0.1"}, 0, 1, 0},
		{"an error after the timeout is about nothing", func(tr *trial) {
			tr.send()
			tr.pass(time.Second)
			tr.refuse("10.0.0.1", 1, 0, full)
			tr.pass(time.Second)
		}, []string{"timeout"}, 1, 0, 0},
		{"a second reply after an error is a duplicate", func(tr *trial) {
			tr.send()
			tr.refuse("10.0.0.1", 1, 0, brief)
			tr.reply(0)
			tr.reply(0)
			tr.pass(20 * ms)
			tr.reply(0)
		}, []string{"answered in 0s"}, 1, 0, 2},
		{"what our kernel dropped makes a silent probe unknown", func(tr *trial) {
			tr.send()
			tr.drop()
			tr.pass(time.Second)
		}, []string{"discarded"}, 0, 0, 0},
		{"what our kernel dropped does not silence an error", func(tr *trial) {
			tr.send()
			tr.refuse("10.0.0.1", 1, 0, brief)
			tr.drop()
			tr.pass(time.Second)
		}, []string{"host unreachable, says 10.0.0.1"}, 0, 0, 0},
		{"more to read than can be read does not silence an error", func(tr *trial) {
			tr.send()
			tr.refuse("10.0.0.1", 1, 0, full)
			tr.batch.blind = true
			tr.pass(time.Second)
		}, []string{"host unreachable, says 10.0.0.1"}, 0, 0, 0},
		{"an answer waits until the refused probe before it is judged", func(tr *trial) {
			tr.send()
			tr.refuse("10.0.0.1", 1, 0, full)
			tr.pass(999 * ms)
			tr.send()
			tr.reply(0)
			tr.batch.settle(tr.batch.clock.now)
			if len(tr.said) != 0 {
				tr.t.Errorf("recorded before its predecessor: %v", tr.said)
			}
			tr.pass(ms)
		}, []string{"host unreachable, says 10.0.0.1", "answered in 0s"}, 0, 0, 0},
		{"the reply to a refused probe is recorded before the next one", func(tr *trial) {
			tr.send()
			tr.refuse("10.0.0.1", 1, 0, full)
			tr.pass(990 * ms)
			tr.send()
			tr.reply(0)
			tr.reply(1)
			tr.pass(ms)
		}, []string{"answered in 990ms", "answered in 0s"}, 1, 0, 0},
		{"the error of one probe is not that of the next", func(tr *trial) {
			tr.send()
			tr.refuse("10.0.0.1", 1, 0, full)
			tr.pass(time.Second)
			tr.send()
			tr.pass(time.Second)
			tr.send()
			tr.pass(time.Second)
		}, []string{"host unreachable, says 10.0.0.1", "timeout", "timeout"}, 0, 0, 0},
		{"a refused probe that is not judged in time is lost when the one behind the next leaves", func(tr *trial) {
			tr.send()
			tr.refuse("10.0.0.1", 1, 0, full)
			tr.clock.pass(time.Second) // more to read than can be: nothing is judged
			tr.batch.clock.update()
			tr.send()
			tr.clock.pass(time.Second)
			tr.batch.clock.update()
			tr.send()
		}, []string{"host unreachable, says 10.0.0.1"}, 0, 0, 0},
		{"a probe that left late has its time from then on", func(tr *trial) {
			tr.send()
			tr.leave(300 * ms)
			tr.pass(900 * ms) // 1.2 s after it was handed to the kernel
			tr.reply(0)
			tr.pass(0)
		}, []string{"answered in 900ms"}, 0, 0, 0},
		{"and is lost at the end of it", func(tr *trial) {
			tr.send()
			tr.leave(300 * ms)
			tr.pass(999 * ms)
			if len(tr.said) != 0 {
				tr.t.Errorf("recorded before its time was over: %v", tr.said)
			}
			tr.pass(ms)
		}, []string{"timeout"}, 0, 0, 0},
		{"an answer waits for the probe before it that left late", func(tr *trial) {
			tr.send()
			tr.leave(300 * ms)
			tr.pass(700 * ms)
			tr.send()
			tr.reply(0)
			tr.pass(299 * ms)
			if len(tr.said) != 0 {
				tr.t.Errorf("recorded before its predecessor: %v", tr.said)
			}
			tr.pass(ms)
		}, []string{"timeout", "answered in 0s"}, 0, 0, 0},
		{"a refused probe that is overtaken before its deadline is unknown", func(tr *trial) {
			tr.send()
			tr.refuse("10.0.0.1", 1, 0, full)
			tr.send()
			tr.send()
		}, []string{"discarded"}, 0, 0, 0},
	} {
		t.Run(test.name, func(t *testing.T) {
			tr := newTrial(t)
			tr.batch.clock.update()
			test.play(tr)
			m := tr.batch.metrics
			for _, reason := range []string{discardKernelDrop, discardFlood, discardOvertaken} {
				for range int(testutil.ToFloat64(m.discarded.WithLabelValues(reason))) {
					tr.said = append(tr.said, "discarded")
				}
			}
			if diff := cmp.Diff(test.want, tr.said); diff != "" {
				t.Errorf("recorded (-want +got)\n%s", diff)
			}
			got := [3]float64{testutil.ToFloat64(m.unmatchedError), testutil.ToFloat64(m.late), testutil.ToFloat64(m.duplicate)}
			if diff := cmp.Diff([3]float64{test.errors, test.late, test.duplicates}, got); diff != "" {
				t.Errorf("errors without a loss, late replies, duplicates (-want +got)\n%s", diff)
			}
		})
	}
}
