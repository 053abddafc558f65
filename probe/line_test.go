package probe

import (
	"bytes"
	"testing"

	"github.com/go-kit/log"
	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
)

func TestLinesThatAreQueuedAtTheEndAreWritten(t *testing.T) {
	var written bytes.Buffer
	l := newLines(log.NewLogfmtLogger(&written), prometheus.NewCounter(prometheus.CounterOpts{Name: "dropped"}))
	end := l.start()
	l.log("line", 1)
	l.log("line", 2)
	end()
	if diff := cmp.Diff("line=1\nline=2\n", written.String()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
