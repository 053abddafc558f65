package prefix

import (
	"bytes"
	"net/netip"
	"sync"
	"testing"
	"time"
)

// fullBlock is a /24 with every address probed.
func fullBlock(third byte, per PerAddress, probes ...TargetProbe) Block {
	b := Block{Prefix: netip.PrefixFrom(netip.AddrFrom4([4]byte{192, 0, third, 0}), 24), Buckets: []float64{0.001, 0.1}, PerAddress: per}
	for i := range BlockSize {
		b.Targets = append(b.Targets, Target{Addr: netip.AddrFrom4([4]byte{192, 0, third, byte(i)}), Probes: probes})
	}
	return b
}

// TestSnapshotsAddUpWhileResultsComeIn records from several goroutines, reloads, and
// holds the sums of every snapshot against each other.
func TestSnapshotsAddUpWhileResultsComeIn(t *testing.T) {
	probes := []TargetProbe{rule(ping, ExpectAll), rule(http, ExpectAll)}
	table := NewTable(func(Change) {})
	table.Apply([]Block{fullBlock(2, PerAddressNative, probes...)})
	stop := make(chan struct{})
	var wg sync.WaitGroup
	for worker := range 4 {
		wg.Go(func() {
			for i := worker; ; i++ {
				select {
				case <-stop:
					return
				default:
				}
				h, ok := table.Handle(netip.AddrFrom4([4]byte{192, 0, 2, byte(i)}), probes[i%2].Probe)
				if ok {
					table.Record(h, epoch.Add(time.Duration(i)*time.Millisecond), Outcome(i%Outcomes), time.Duration(i)*time.Microsecond)
				}
			}
		})
	}
	wg.Go(func() {
		for i := 0; ; i++ {
			select {
			case <-stop:
				return
			case <-time.After(time.Millisecond):
			}
			b := fullBlock(2, PerAddressNative, probes[:1+i%2]...)
			b.Targets = b.Targets[:BlockSize-i%3]
			table.Apply([]Block{b})
			var file bytes.Buffer
			if err := table.Remember(&file); err != nil {
				t.Error(err)
			}
		}
	})
	var snap Snapshot
	for range 300 {
		for _, s := range table.Series() {
			s.Snapshot(&snap)
			checkSnapshot(t, &snap)
		}
	}
	close(stop)
	wg.Wait()
}

func checkSnapshot(t *testing.T, snap *Snapshot) {
	t.Helper()
	var slots [Outcomes]uint64
	for i := range snap.Slots {
		for o, n := range snap.Slots[i].Counts {
			slots[o] += n
		}
		if len(snap.PerAddress) == 0 || snap.PerAddress[i] == nil {
			continue
		}
		h := snap.PerAddress[i]
		native := h.Zero
		for _, n := range h.Native {
			native += n
		}
		if answered := snap.Slots[i].Counts[Answered]; h.Count != answered || native != answered || h.Sum != snap.Slots[i].RTTSum {
			t.Errorf("place %d: answered %d, histogram of %d with %d in buckets", i, answered, h.Count, native)
		}
	}
	for o, n := range slots {
		if n > snap.Counts[o] { // less is right: addresses that were removed
			t.Errorf("%v: %d in slots, %d in the sum", Outcome(o), n, snap.Counts[o])
		}
	}
	if snap.Counts[Answered] != snap.Histogram.Count {
		t.Errorf("answered %d, histogram of %d", snap.Counts[Answered], snap.Histogram.Count)
	}
}

func TestRecordAllocatesNothing(t *testing.T) {
	for _, per := range []PerAddress{PerAddressNone, PerAddressNative, PerAddressClassic} {
		table := NewTable(nil)
		table.Apply([]Block{fullBlock(2, per, rule(ping, ExpectSeen))})
		h := handle(t, table, "192.0.2.7", ping)
		table.Record(h, epoch, Answered, time.Millisecond) // its histogram begins
		i := 0
		allocs := testing.AllocsPerRun(1000, func() {
			i++
			table.Record(h, epoch.Add(time.Duration(i)*time.Second), Outcome(i%Outcomes), time.Millisecond)
		})
		if allocs > 0 {
			t.Errorf("per_address: %v: %v allocations", per, allocs)
		}
	}
}

func BenchmarkRecord(b *testing.B) {
	for _, per := range []PerAddress{PerAddressNone, PerAddressNative, PerAddressClassic} {
		b.Run("histograms="+per.String(), func(b *testing.B) {
			var blocks []Block
			for third := range 40 {
				blocks = append(blocks, fullBlock(byte(third), per, rule(ping, ExpectSeen)))
			}
			table := NewTable(nil)
			table.Apply(blocks)
			var handles []Handle
			for place := range BlockSize { // as the scheduler does: from block to block
				for third := range 40 {
					h, _ := table.Handle(netip.AddrFrom4([4]byte{192, 0, byte(third), byte(place)}), ping)
					table.Record(h, epoch, Answered, 20*time.Millisecond)
					handles = append(handles, h)
				}
			}
			b.ReportAllocs()
			b.ResetTimer()
			for i := 0; b.Loop(); i++ {
				n := i % len(handles)
				at := epoch.Add(time.Duration(i) * time.Second / time.Duration(len(handles)))
				table.Record(handles[n], at, Answered, 20*time.Millisecond)
			}
		})
	}
}

func BenchmarkSnapshot(b *testing.B) {
	table := NewTable(nil)
	table.Apply([]Block{fullBlock(2, PerAddressNone, rule(ping, ExpectSeen))})
	s := table.Series()[0]
	var snap Snapshot
	b.ReportAllocs()
	for b.Loop() {
		s.Snapshot(&snap)
	}
}
