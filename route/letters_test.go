package route

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"testing"
	"time"
)

// epoch is when the tests take place.
var epoch = time.Unix(1_700_000_000, 0).UTC()

// target is the destination of the tests, D in their notation.
var target = netip.MustParseAddr("192.0.2.1")

// key names the route of the tests.
var key = Key{Prefix: netip.MustParsePrefix("192.0.2.0/24")}

// spec is the route of the tests.
var spec = Spec{Key: key, Protocol: "icmp"}

// letter returns the router that is called so: a is 10.0.0.1.
func letter(l rune) netip.Addr { return netip.AddrFrom4([4]byte{10, 0, 0, byte(l - 'a' + 1)}) }

// answers reads a round, one word for each TTL: a letter is a router, D the destination, * silence, . a
// probe that was not sent, and a letter with an exclamation mark a router that says that
// the destination is unreachable, which may also be D.
func answers(round string) (list []Answer) {
	for i, word := range strings.Fields(round) {
		a := Answer{RTT: time.Duration(i+1) * time.Millisecond}
		switch {
		case word == "*":
			a = Answer{}
		case word == ".":
			a = Answer{Kind: Unasked}
		case word == "D":
			a.Kind, a.From = Arrived, target
		case word == "D!":
			a.Kind, a.From, a.Code = Unreachable, target, 3
		case strings.HasSuffix(word, "!"):
			a.Kind, a.From, a.Code = Unreachable, letter(rune(word[0])), 1
		default:
			a.Kind, a.From = Exceeded, letter(rune(word[0]))
		}
		list = append(list, a)
	}
	return list
}

// letters writes a path in the notation of answers; behind > what follows: the
// hop of which a loop repeats.
func letters(p Path) string {
	var words []string
	for _, h := range p.Hops {
		switch {
		case !h.IsValid():
			words = append(words, "*")
		case h == target:
			words = append(words, "D")
		case h.Is6():
			words = append(words, h.String())
		default:
			words = append(words, string(rune('a'+h.As4()[3]-1)))
		}
	}
	switch p.Status {
	case Blocked:
		words[len(words)-1] += "!"
	case Loop:
		words = append(words, ">"+strconv.Itoa(p.Again))
	case Incomplete:
		words = append(words, "...")
	}
	return strings.Join(words, " ")
}

// rounds reads lines of a round each, #N behind it for N times.
func rounds(text string) (list []string) {
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		if line == "" {
			continue
		}
		n := 1
		if round, times, ok := strings.Cut(line, " #"); ok {
			line = round
			n, _ = strconv.Atoi(times)
		}
		for range n {
			list = append(list, line)
		}
	}
	return list
}

// follower records rounds of one route, a minute apart, and writes down the changes.
type follower struct {
	table   *Table
	n       int
	changes []string
	told    []Change
}

func follow(text string) *follower {
	f := &follower{}
	f.table = NewTable(func(c Change) {
		f.told = append(f.told, c)
		f.changes = append(f.changes, fmt.Sprintf("%d: %s at %d: %s -> %s", f.n, c.Reason, c.TTL, letters(c.Old), letters(c.New)))
	})
	f.table.Apply([]Spec{spec})
	for _, r := range rounds(text) {
		f.record(answers(r))
	}
	return f
}

func (f *follower) record(a []Answer) {
	f.n++
	f.table.Record(key, target, Round{Started: epoch.Add(time.Duration(f.n) * time.Minute), Answers: a})
}

func (f *follower) route(t *testing.T) Route {
	t.Helper()
	all := f.table.Prefix(key.Prefix)
	if len(all) != 1 {
		t.Fatalf("%d routes", len(all))
	}
	return all[0]
}
