package probe

import (
	"fmt"
	"os/exec"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"prefix_exporter/lab/testenv"
	"prefix_exporter/route"
)

// hopTimes are the routers of a way and the RTTs measured to each; a probe that got no answer
// counts in sent only.
type hopTimes struct {
	routers []string
	times   [][]time.Duration
	sent    []int
}

func (h *hopTimes) loss(i int) float64 { return 1 - float64(len(h.times[i]))/float64(h.sent[i]) }

func (h *hopTimes) median(i int) time.Duration {
	if i >= len(h.times) || len(h.times[i]) == 0 {
		return 0 // nothing was answered
	}
	s := slices.Clone(h.times[i])
	slices.Sort(s)
	return s[len(s)/2]
}

// tool runs a program of the system and returns what it prints.
func tool(t testing.TB, pack, name string, args ...string) string {
	t.Helper()
	cmd := exec.Command(testenv.RequireProgram(t, name, pack), args...)
	cmd.Env = append(cmd.Environ(), "LC_ALL=C")
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%s %v: %v: %s", name, args, err, out)
	}
	return string(out)
}

// mtr runs the real mtr. Its raw lines are "h POSITION ROUTER", "x POSITION SEQUENCE" of what is sent,
// and "p POSITION MICROSECONDS SEQUENCE" of what is answered.
func mtr(t testing.TB, n int, args ...string) *hopTimes {
	t.Helper()
	out := tool(t, "mtr-tiny", "mtr", append([]string{"-n", "--raw", "-c", strconv.Itoa(n), "-i", "0.05", "-Z", "1", "-G", "1"}, args...)...)
	h := &hopTimes{}
	for line := range strings.Lines(out) {
		f := strings.Fields(line)
		if len(f) < 3 {
			continue
		}
		i, err := strconv.Atoi(f[1])
		if err != nil {
			continue
		}
		for len(h.routers) <= i {
			h.routers, h.times, h.sent = append(h.routers, "*"), append(h.times, nil), append(h.sent, 0)
		}
		switch f[0] {
		case "x":
			h.sent[i]++
		case "h":
			h.routers[i] = f[2]
		case "p":
			us, _ := strconv.Atoi(f[2])
			h.times[i] = append(h.times[i], time.Duration(us)*time.Microsecond)
		}
	}
	// What was asked before the host was known stands behind it.
	n = min(len(h.routers), chainLength)
	h.routers, h.times, h.sent = h.routers[:n], h.times[:n], h.sent[:n]
	return h
}

var (
	tracerouteLine = regexp.MustCompile(`^ *\d+ +(\S+)`)
	tracerouteTime = regexp.MustCompile(`([\d.]+) ms|(\*)`)
)

// traceroute runs the real traceroute.
func traceroute(t testing.TB, args ...string) *hopTimes {
	t.Helper()
	out := tool(t, "traceroute", "traceroute", append([]string{"-n", "-q", "10", "-w", "1", "-m", "8"}, args...)...)
	h := &hopTimes{}
	for line := range strings.Lines(out) {
		m := tracerouteLine.FindStringSubmatch(line)
		if m == nil {
			continue
		}
		var times []time.Duration
		all := tracerouteTime.FindAllStringSubmatch(line, -1)
		for _, one := range all {
			if ms, err := strconv.ParseFloat(one[1], 64); err == nil {
				times = append(times, time.Duration(ms*1e6))
			}
		}
		h.routers, h.times, h.sent = append(h.routers, m[1]), append(h.times, times), append(h.sent, len(all))
	}
	return h
}

// ours traces with the engine.
func ours(t testing.TB, n int, protocol, to string) *hopTimes {
	t.Helper()
	b := newTraceBench(t, nil)
	target := traceTarget(protocol, to)
	target.Interval, target.Timeout, target.MaxHops = 60*time.Millisecond, 45*time.Millisecond, 8
	b.apply(target)
	b.run()
	rounds := b.wait(0, n)
	b.stop()
	h := &hopTimes{}
	for _, r := range rounds {
		for i, a := range r.Answers {
			if i >= chainLength {
				continue // the host answers one TTL later when it loses a probe
			}
			for len(h.routers) <= i {
				h.routers, h.times, h.sent = append(h.routers, "*"), append(h.times, nil), append(h.sent, 0)
			}
			if a.Kind != route.Unasked {
				h.sent[i]++
			}
			if !a.From.IsValid() {
				continue
			}
			if s := a.From.String(); h.routers[i] != "*" && h.routers[i] != s {
				t.Errorf("hop %d: %s and %s", i+1, h.routers[i], s)
			} else {
				h.routers[i] = s
			}
			h.times[i] = append(h.times[i], a.RTT)
		}
	}
	return h
}

// shortest is below what any answer across a veth pair takes.
const shortest = time.Microsecond

// beyond is by how much our median may be longer than that of others. They read the clock in the program, which only adds
// to what the kernel measures.
const beyond = 500 * time.Microsecond

// agree compares what two programs have seen: the same routers, and RTTs that are no longer. A machine that pauses makes
// answers late for one and not for the other: both are asked again, a few times.
func agree(t testing.TB, name string, ours, theirs func() *hopTimes) {
	t.Helper()
	control := testenv.StartControl(t)
	for try := 1; ; try++ {
		control.Reset()
		h, other := ours(), theirs()
		routers := cmp.Diff(other.routers, h.routers)
		late := ""
		if routers == "" {
			late = h.later(t, name, other)
		}
		switch {
		case routers == "" && late == "":
			return
		case try < 4:
		case routers != "":
			t.Fatalf("routers (-%s +ours)\n%s", name, routers)
		default:
			control.Pace(t, "%s", late)
			return
		}
	}
}

// later says at which hop our RTT is longer than that of another program, and checks that it is none that cannot be.
func (h *hopTimes) later(t testing.TB, name string, other *hopTimes) (where string) {
	t.Helper()
	for i := range h.routers {
		own, its := h.median(i), other.median(i)
		t.Logf("%-10s hop %d %-12s median %8v, ours %8v; loss %.1f %%, ours %.1f %%", name, i+1, h.routers[i], its, own, 100*other.loss(i), 100*h.loss(i))
		if own != 0 && own < shortest {
			t.Errorf("hop %d: RTT %v is too short", i+1, own)
		}
		if own > its+beyond {
			where = fmt.Sprintf("hop %d: RTT %v, by %s %v", i+1, own, name, its)
		}
	}
	return where
}
