package probe

import (
	"errors"
	"fmt"
	"syscall"
	"time"
)

const (
	// healthEvery is how often shares of skipped and failed probes are judged.
	healthEvery = time.Second
	// troubleShare is the share of skipped or failed probes in a second above which
	// the prober is unhealthy: one broadcast address in a /24 is below it.
	troubleShare = 0.01
)

// tally counts what became of the probes that were due since it was judged last.
type tally struct {
	sent, skipped, failed int
	lastError             error
}

// judge reports when too many probes were skipped or refused by the local system, and
// begins anew.
func (t *tally) judge(report func(Reason, string)) {
	total := float64(t.sent + t.skipped + t.failed)
	if share := float64(t.skipped) / total; t.skipped > 0 && share > troubleShare {
		report(ReasonSkipped, fmt.Sprintf("%.1f %% of the probes of a second could not be sent in time", share*100))
	}
	if share := float64(t.failed) / total; t.failed > 0 && share > troubleShare {
		report(ReasonSendError, fmt.Sprintf("%.1f %% of the probes of a second could not be sent: %v", share*100, t.lastError))
	}
	*t = tally{}
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
