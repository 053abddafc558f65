package web

import (
	"net/http"
	"slices"
	"sync"
	"time"
)

// maxAnswers is how many bytes of answers stand in memory until their clients have read them:
// of 200 prefixes with all that is known of their addresses.
const maxAnswers = 32 << 20

// answers are those that are being written. Clients that do not read must not fill the memory:
// when there is too much, the one that has been written for the longest time is cut off.
type answers struct {
	most int

	mu    sync.Mutex
	bytes int
	open  []*answer // the oldest first
}

// answer is a response whose body comes in one piece.
type answer struct {
	http.ResponseWriter
	all   *answers
	bytes int
}

// to returns the writer for an answer.
func (all *answers) to(w http.ResponseWriter) http.ResponseWriter {
	return &answer{ResponseWriter: w, all: all}
}

// Write writes the body. It blocks until the client has read, or is cut off.
func (a *answer) Write(body []byte) (int, error) {
	a.bytes = len(body)
	a.all.add(a)
	defer a.all.remove(a)
	return a.ResponseWriter.Write(body)
}

func (all *answers) add(a *answer) {
	all.mu.Lock()
	defer all.mu.Unlock()
	all.bytes += a.bytes
	all.open = append(all.open, a)
	for all.bytes > all.most && len(all.open) > 1 {
		slow := all.open[0]
		all.drop(0)
		control := http.NewResponseController(slow.ResponseWriter)
		_ = control.SetWriteDeadline(time.Unix(1, 0)) // long ago
		_ = control.SetReadDeadline(time.Unix(1, 0))  // the server reads what the client should have sent before it writes
	}
}

// drop forgets the answer at a place. The caller holds all.mu.
func (all *answers) drop(i int) {
	all.bytes -= all.open[i].bytes
	all.open = slices.Delete(all.open, i, i+1)
}

func (all *answers) remove(a *answer) {
	all.mu.Lock()
	defer all.mu.Unlock()
	if i := slices.Index(all.open, a); i >= 0 {
		all.drop(i)
	}
}
