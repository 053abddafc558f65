package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"net/netip"
	"text/tabwriter"
	"time"

	"prefix_exporter/lab/netsim"
)

// summary is the truth in sums per prefix and protocol.
type summary struct {
	rows []row
}

type row struct {
	prefix     netip.Prefix
	protocol   netsim.Protocol
	addresses  map[netip.Addr]struct{}
	verdicts   map[netsim.Verdict]uint64
	requests   uint64
	duplicates uint64
	holds      histogram
}

func newSummary(prefixes []netip.Prefix) *summary {
	s := &summary{}
	for _, p := range prefixes {
		for _, protocol := range []netsim.Protocol{netsim.ICMP, netsim.TCP, netsim.UDP} {
			s.rows = append(s.rows, row{prefix: p, protocol: protocol, addresses: map[netip.Addr]struct{}{}, verdicts: map[netsim.Verdict]uint64{}})
		}
	}
	return s
}

func (s *summary) addAll(packets []netsim.Packet) {
	for i := range packets {
		s.add(&packets[i])
	}
}

// add counts a packet under the first of the most specific prefixes that contain its destination.
func (s *summary) add(p *netsim.Packet) {
	var r *row
	for i := range s.rows {
		if c := &s.rows[i]; c.protocol == p.Protocol && c.prefix.Contains(p.Dst) && (r == nil || c.prefix.Bits() > r.prefix.Bits()) {
			r = c
		}
	}
	if r == nil {
		return
	}
	r.addresses[p.Dst] = struct{}{}
	r.requests++
	r.verdicts[p.Verdict]++
	r.duplicates += uint64(p.Duplicates())
	if p.Verdict == netsim.Answered && p.Hold() > 0 {
		r.holds.add(p.Hold())
	}
}

func (s *summary) print(out io.Writer, stats netsim.Stats) {
	t := tabwriter.NewWriter(out, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(t, "prefix\taddresses\trequests\tanswered\tlost\tsilent\trefused\tunreachable\tlimited\tdamaged\tduplicates\tmean\tp50\tp90\tp99\tmax\t")
	for i := range s.rows {
		r := &s.rows[i]
		name := r.prefix.String()
		if r.protocol != netsim.ICMP {
			if r.requests == 0 {
				continue
			}
			name += " " + r.protocol.String()
		}
		v := r.verdicts
		fmt.Fprintf(t, "%s\t%d\t%d\t%d\t%d\t%d\t%d\t%d\t%d\t%d\t%d\t", name, len(r.addresses), r.requests,
			v[netsim.Answered], v[netsim.Lost], v[netsim.Silent], v[netsim.Refused]+v[netsim.Reset], v[netsim.Unreachable]+v[netsim.TTLExceeded],
			v[netsim.RateLimited], v[netsim.Corrupted]+v[netsim.WrongSource], r.duplicates)
		h := &r.holds
		for _, d := range []time.Duration{h.mean(), h.quantile(0.5), h.quantile(0.9), h.quantile(0.99), h.max} {
			if h.count == 0 {
				fmt.Fprint(t, "-\t")
				continue
			}
			fmt.Fprintf(t, "%s\t", d.Round(10*time.Microsecond))
		}
		fmt.Fprintln(t)
	}
	t.Flush()
	if stats.Dropped+stats.Malformed+stats.Fragments+stats.Stray > 0 {
		fmt.Fprintf(out, "besides: %d packets dropped before the lab read them, %d malformed, %d fragments, %d to addresses outside of the prefixes\n",
			stats.Dropped, stats.Malformed, stats.Fragments, stats.Stray)
	}
}

// histogram has a bucket per 2 % from 1 µs up, which is as exact as a summary has to be.
type histogram struct {
	buckets [1024]uint64 // the last is beyond ten minutes
	count   uint64
	sum     time.Duration
	max     time.Duration
}

const growth = 1.02

func (h *histogram) add(d time.Duration) {
	i := int(math.Log(max(1, float64(d)/1e3)) / math.Log(growth))
	h.buckets[min(i, len(h.buckets)-1)]++
	h.count++
	h.sum += d
	h.max = max(h.max, d)
}

func (h *histogram) mean() time.Duration {
	if h.count == 0 {
		return 0
	}
	return h.sum / time.Duration(h.count)
}

// quantile returns the middle of the bucket in which the quantile lies, never above the maximum.
func (h *histogram) quantile(q float64) time.Duration {
	rank := uint64(math.Ceil(q * float64(h.count)))
	var seen uint64
	for i, n := range h.buckets {
		if seen += n; seen >= rank && n > 0 {
			return min(h.max, time.Duration(1e3*math.Pow(growth, float64(i)+0.5)))
		}
	}
	return 0
}

// truthLog writes packets as JSON lines.
type truthLog struct {
	buffer *bufio.Writer // nil: nowhere
	lines  *json.Encoder
}

func newLog(w io.Writer) *truthLog {
	if w == nil {
		return &truthLog{}
	}
	b := bufio.NewWriterSize(w, 1<<16)
	return &truthLog{b, json.NewEncoder(b)}
}

func (l *truthLog) write(packets []netsim.Packet) error {
	if l.buffer == nil {
		return nil
	}
	for i := range packets {
		if err := l.lines.Encode(packets[i]); err != nil {
			return fmt.Errorf("write the truth: %w", err)
		}
	}
	if err := l.buffer.Flush(); err != nil {
		return fmt.Errorf("write the truth: %w", err)
	}
	return nil
}
