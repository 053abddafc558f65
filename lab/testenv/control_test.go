package testenv

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

// recorder is a test that only notes what is said of it.
type recorder struct {
	testing.TB
	errors, lines []string
}

func (r *recorder) Helper() {}
func (r *recorder) Errorf(format string, args ...any) {
	r.errors = append(r.errors, fmt.Sprintf(format, args...))
}
func (r *recorder) Logf(format string, args ...any) {
	r.lines = append(r.lines, fmt.Sprintf(format, args...))
}

func TestPaceIsAnErrorOnlyWhereTheMachineKeptTime(t *testing.T) {
	for name, test := range map[string]struct {
		overslept time.Duration
		fails     bool
	}{
		"on time":          {0, true},
		"at the tolerance": {Tolerance, true},
		"a pause":          {Tolerance + 1, false},
	} {
		t.Run(name, func(t *testing.T) {
			c, r := &Control{}, &recorder{}
			c.note(test.overslept)
			c.note(0)
			c.Pace(r, "%d probes were late", 3)
			said := strings.Join(append(r.errors, r.lines...), "\n")
			fails := test.fails && !Race
			if failed := len(r.errors) == 1; failed != fails || !strings.HasSuffix(said, "3 probes were late") {
				t.Errorf("errors %q, lines %q, want a failure: %v", r.errors, r.lines, fails)
			}
		})
	}
}

func TestTheControlSleepsAndEnds(t *testing.T) {
	t.Run("beside a test", func(t *testing.T) {
		c := StartControl(t)
		c.Reset()
		time.Sleep(3 * controlTick)
		if c.Worst() < 0 {
			t.Errorf("overslept by %v", c.Worst())
		}
	})
}
