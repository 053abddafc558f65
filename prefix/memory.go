package prefix

import (
	"bufio"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/netip"
	"slices"
	"strconv"
	"time"
)

// Key names one address under one probe.
type Key struct {
	Addr  netip.Addr
	Probe Probe
}

// Memory is what outlives a restart of a known address.
type Memory struct {
	State      State
	LastAnswer time.Time
}

// recall starts a slot where the last run left it. Nothing has been measured in this run: what the last
// one believed is shown once the first probe agrees.
func (s *Slot) recall(m Memory) {
	if s.rule.Expect == ExpectNone || s.rule.Expect == ExpectSeen && m.LastAnswer.IsZero() {
		return
	}
	s.Known, s.State, s.before, s.untold, s.LastAnswer = true, Unknown, m.State, true, m.LastAnswer
}

// memoryVersion is raised when a file of an older version could be misread.
const memoryVersion = 1

// The file is JSON lines: a header, then one line for each known address and probe.
type memoryHeader struct {
	Format  string `json:"format"`
	Version int    `json:"version"`
}

type memoryLine struct {
	IP    netip.Addr `json:"ip"`
	Probe string     `json:"probe"`
	Port  uint16     `json:"port,omitempty"`
	State string     `json:"state"`
	// LastAnswer is in Unix seconds; as text, so that no number is too large to be read.
	LastAnswer json.Number `json:"last_answer,omitempty"`
}

const memoryFormat = "prefix_exporter known addresses"

// Remember writes all known addresses to w, as JSON lines sorted by address. Those that
// have gone from the table, or that Restore read and no configuration has asked for since,
// are kept: an address that is taken out by mistake is still known when it comes back.
func (t *Table) Remember(w io.Writer) error {
	t.mu.Lock()
	known := t.memory()
	t.mu.Unlock()
	keys := slices.SortedFunc(maps.Keys(known), func(a, b Key) int {
		return cmp.Or(a.Addr.Compare(b.Addr), cmp.Compare(a.Probe.Kind, b.Probe.Kind), cmp.Compare(a.Probe.Port, b.Probe.Port))
	})
	buffered := bufio.NewWriter(w)
	enc := json.NewEncoder(buffered)
	if err := enc.Encode(memoryHeader{memoryFormat, memoryVersion}); err != nil {
		return err
	}
	for _, k := range keys {
		line := memoryLine{IP: k.Addr, Probe: k.Probe.Kind.String(), Port: k.Probe.Port, State: known[k].State.String()}
		if last := known[k].LastAnswer; !last.IsZero() {
			line.LastAnswer = json.Number(strconv.FormatInt(last.Unix(), 10))
		}
		if err := enc.Encode(line); err != nil {
			return err
		}
	}
	return buffered.Flush()
}

// memory returns what is known now, and what was remembered of addresses that are not in the
// table. The caller holds t.mu.
func (t *Table) memory() map[Key]Memory {
	known := maps.Clone(t.remembered)
	if known == nil {
		known = map[Key]Memory{}
	}
	var snap Snapshot
	for _, s := range t.Series() {
		s.Snapshot(&snap)
		for i := range snap.Slots {
			if slot := &snap.Slots[i]; slot.Known && slot.Configured {
				known[Key{snap.Addrs[i], s.probe}] = Memory{slot.believed(), slot.LastAnswer}
			} else if slot.Configured {
				delete(known, Key{snap.Addrs[i], s.probe})
			}
		}
	}
	return known
}

// Restore reads what Remember wrote, for the next Apply to use. A file that cannot
// be read whole changes nothing; the error names the line.
func (t *Table) Restore(r io.Reader) error {
	scanner := bufio.NewScanner(r)
	if !scanner.Scan() {
		return cmp.Or(scanner.Err(), errors.New("line 1: empty file"))
	}
	var header memoryHeader
	if err := json.Unmarshal(scanner.Bytes(), &header); err != nil {
		return fmt.Errorf("line 1: %w", err)
	}
	if header.Format != memoryFormat || header.Version != memoryVersion {
		return fmt.Errorf("line 1: format %q version %d: must be %q version %d", header.Format, header.Version, memoryFormat, memoryVersion)
	}
	known := map[Key]Memory{}
	now := time.Now()
	for n := 2; scanner.Scan(); n++ {
		k, m, err := parseMemory(scanner.Bytes(), now)
		if err != nil {
			return fmt.Errorf("line %d: %w", n, err)
		}
		known[k] = m
	}
	if err := scanner.Err(); err != nil {
		return err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.remembered = known
	return nil
}

// parseMemory reads one line. now is when it is read.
func parseMemory(data []byte, now time.Time) (k Key, m Memory, err error) {
	var line memoryLine
	if err := json.Unmarshal(data, &line); err != nil {
		return k, m, err
	}
	k = Key{Addr: line.IP, Probe: Probe{Port: line.Port}}
	switch line.Probe {
	case ICMP.String():
	case TCP.String():
		k.Probe.Kind = TCP
	default:
		return k, m, fmt.Errorf("probe %q: must be icmp or tcp", line.Probe)
	}
	switch line.State {
	case Dark.String():
	case Up.String():
		m.State = Up
	case Down.String():
		m.State = Down
	default:
		return k, m, fmt.Errorf("state %q: must be dark, up or down", line.State)
	}
	if !line.IP.IsValid() {
		return k, m, errors.New("ip: missing")
	}
	m.LastAnswer = lastAnswer(line.LastAnswer, now)
	return k, m, nil
}

// lastAnswer returns the time of an answer, never a later one than now, or the zero time if there
// was none. The clock may have been wrong when the file was written: an address that is said to
// have answered in the future would be expected until then, and longer.
func lastAnswer(text json.Number, now time.Time) time.Time {
	seconds, _ := strconv.ParseFloat(string(text), 64) // of what is out of range an infinite number, of nothing 0
	switch {
	case !(seconds >= 1): // nothing was probed before 1970
		return time.Time{}
	case seconds >= float64(now.Unix()):
		return now
	}
	return time.Unix(int64(seconds), 0)
}
