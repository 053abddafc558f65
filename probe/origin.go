package probe

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/go-kit/log/level"
)

// socketKey tells which targets share a socket: a family, and what the configuration names of where
// their probes leave from.
type socketKey struct {
	v6     bool
	source netip.Addr
	device string
}

// named says whether there is anything behind a name that may come and go.
func (k socketKey) named() bool { return k.source.IsValid() || k.device != "" }

func keyOf(t *Target) socketKey {
	return socketKey{v6: !t.Addr.Is4(), source: t.Source, device: t.Interface}
}

func (k socketKey) protocol() string {
	if k.v6 {
		return "IPv6"
	}
	return "IPv4"
}

// The obstacles of targets whose interface or source address is not there (Recorder.Unmeasured).
const (
	interfaceAbsent = "interface_absent"
	sourceAbsent    = "source_absent"
)

// absence says what an origin lacks.
type absence struct {
	obstacle string // interfaceAbsent, sourceAbsent, or the name of the error that is in the way
	what     string // interface "eth0"
	err      error  // what the system says
}

var _ error = (*absence)(nil)

// Error implements error.
func (a *absence) Error() string { return a.what + ": " + a.err.Error() }

// Unwrap lets errors.Is find what the system says.
func (a *absence) Unwrap() error { return a.err }

func noInterface(name string, err error) *absence {
	return &absence{interfaceAbsent, fmt.Sprintf("interface %q", name), err}
}

func noSource(addr netip.Addr, err error) *absence {
	return &absence{sourceAbsent, fmt.Sprintf("source %q", addr), err}
}

// noSocket says that a socket could not be made again, whatever is behind the names.
func noSocket(err error) *absence { return &absence{errorName(err), "a socket", err} }

// absenceOf returns what is absent by the error of a system call; nil: the error is about something else.
func absenceOf(k socketKey, err error) *absence {
	switch {
	case errors.Is(err, syscall.ENODEV) && k.device != "":
		return noInterface(k.device, syscall.ENODEV)
	case errors.Is(err, syscall.EADDRNOTAVAIL) && k.source.IsValid():
		return noSource(k.source, syscall.EADDRNOTAVAIL)
	case errors.Is(err, syscall.EAFNOSUPPORT):
		return &absence{errorName(err), k.protocol(), syscall.EAFNOSUPPORT}
	}
	return nil
}

// Absent says that this machine does not have an interface, or a source address, now: what the engines
// wait for. Nil if it has both, or if that cannot be told. An empty device and the zero Addr are always there.
func Absent(source netip.Addr, device string) error {
	if _, gone, _ := look(socketKey{v6: source.Is6(), source: source, device: device}); gone != nil {
		return gone
	}
	return nil
}

// origin is where the probes of some targets leave from. What stands behind its names may not be there
// yet, may go, and may come back as something else: a device that is deleted and made again has the same
// name and another index, to which no socket is bound.
type origin struct {
	key    socketKey
	index  int      // of the interface, when it was there last; 0: none is named
	gone   *absence // nil: all of it is there
	moved  bool     // something else is there than what the sockets were made for
	looked int64    // when it was looked at last
	users  []string // the prefixes that leave from it, for the log
	told   string   // what the log was told of it last; empty: nothing is missing
}

// away returns why nothing can be sent now; nil: it can.
func (o *origin) away() *absence {
	if o.gone == nil && o.moved {
		return noInterface(o.key.device, errMoved)
	}
	return o.gone
}

// obstacleOf is what becomes of the probes that are in flight when an origin is not what it was any more.
func obstacleOf(o *origin) string {
	if o.gone != nil {
		return o.gone.obstacle
	}
	return interfaceAbsent // it was, for a moment
}

// errMoved is told of probes that meet a socket of an interface that has been replaced.
var errMoved = fmt.Errorf("another one has its name: %w", syscall.ENODEV)

// use notes that a prefix leaves from here. Targets of one prefix follow each other.
func (o *origin) use(prefix string) {
	if n := len(o.users); n == 0 || o.users[n-1] != prefix {
		o.users = append(o.users, prefix)
	}
}

const (
	// lookEvery is how often each origin is looked at: probing goes on a second after it has come
	// back, also where the kernel does not tell of changes.
	lookEvery = time.Second
	// maxLooks bounds how many are looked at in one turn of a loop; each costs some 5 µs.
	maxLooks = 32
)

// origins are the origins of an engine. It is used with the lock of the engine held, but for close.
type origins struct {
	report *reporter
	// silent leaves it to the engine for echo requests to tell of what is missing: the probes of all
	// engines leave from the same places.
	silent  bool
	byKey   map[socketKey]*origin
	watched []*origin // those that may come and go
	next    int       // whose turn it is to be looked at
	changed []*origin // to be returned by watch
	told    int64     // when health was told last that nothing can be sent
	notices notices
}

func newOrigins(r *reporter, silent bool) *origins {
	return &origins{report: r, silent: silent, byKey: map[socketKey]*origin{}}
}

// of returns the origin of a key. A new one is looked at.
func (o *origins) of(key socketKey, now int64) *origin {
	if og := o.byKey[key]; og != nil {
		return og
	}
	og := &origin{key: key, looked: now}
	og.index, og.gone, _ = look(key) // what cannot be told, the socket will
	o.byKey[key] = og
	if key.named() || og.gone != nil {
		o.watched = append(o.watched, og)
		o.notices.open()
	}
	return og
}

// keep forgets the origins that nothing leaves from any more.
func (o *origins) keep(used func(socketKey) bool) {
	drop := func(og *origin) bool { return !used(og.key) }
	o.watched = slices.DeleteFunc(o.watched, drop)
	o.changed = slices.DeleteFunc(o.changed, drop)
	for key := range o.byKey {
		if !used(key) {
			delete(o.byKey, key)
		}
	}
}

// begin and end stand around the calls of origin.use of a new set of targets.
func (o *origins) begin() {
	for _, og := range o.byKey {
		og.users = og.users[:0]
	}
}

func (o *origins) end() {
	for _, og := range o.watched {
		o.tell(og)
	}
}

func (o *origins) close() { o.notices.close() }

// watch looks at the origins whose turn it is, or at all when the kernel tells of a change. It returns
// those of which something else is there than before: their sockets are to be made again, or closed, and
// then it is to be told.
func (o *origins) watch(now int64) (changed []*origin) {
	if len(o.watched) == 0 {
		return nil
	}
	if o.notices.any() {
		for _, og := range o.watched {
			og.looked = now - int64(lookEvery)
		}
	}
	for range min(maxLooks, len(o.watched)) {
		o.next = (o.next + 1) % len(o.watched)
		if og := o.watched[o.next]; now-og.looked >= int64(lookEvery) {
			o.see(og, now)
		}
	}
	o.judge(now)
	changed, o.changed = o.changed, nil
	for _, og := range changed {
		og.moved = false
	}
	return changed
}

// see looks at an origin. What cannot be told changes nothing.
func (o *origins) see(og *origin, now int64) {
	og.looked = now
	index, gone, err := look(og.key)
	if err != nil || gone == nil && og.gone == nil && index == og.index {
		return
	}
	if gone != nil && og.gone != nil && gone.obstacle == og.gone.obstacle {
		return
	}
	o.set(og, index, gone)
}

// set notes what is there now. That all of it is, the engine tells once it has its sockets.
func (o *origins) set(og *origin, index int, gone *absence) {
	if og.gone = gone; gone == nil {
		og.index = index
	} else {
		o.tell(og)
	}
	if !og.moved {
		og.moved = true
		o.changed = append(o.changed, og)
	}
}

// lack notes that a socket could not be made although all seems to be there: that is tried again.
func (o *origins) lack(og *origin, err error) {
	if og.gone = absenceOf(og.key, err); og.gone == nil {
		og.gone = noSocket(err)
	}
	o.tell(og)
}

// suspect looks at an origin from which the system would not send, unless that was done at the same
// moment, and returns what it lacks; nil: the reason is another one.
func (o *origins) suspect(og *origin, now int64) *absence {
	if og.away() == nil && og.key.named() && og.looked != now {
		o.see(og, now)
	}
	return og.away()
}

// maxUsers is how many prefixes are named in one line.
const maxUsers = 5

// tell logs, once, who waits for what, and when it is there.
func (o *origins) tell(og *origin) {
	if o.silent || len(og.users) == 0 {
		return
	}
	switch {
	case og.gone != nil:
		if s := og.waits(); s != og.told {
			og.told = s
			o.report.lines.log(level.Key(), level.WarnValue(), "msg", "Not probed for now", "detail", s)
		}
	case og.told != "":
		og.told = ""
		o.report.lines.log(level.Key(), level.InfoValue(), "msg", "Probed again", "detail", og.who()+" "+og.verb()+" no longer: "+og.names()+" is there")
	}
}

// waits says who waits for what.
func (o *origin) waits() string { return o.who() + " " + o.verb() + " for " + o.gone.Error() }

func (o *origin) verb() string {
	if len(o.users) == 1 {
		return "waits"
	}
	return "wait"
}

// who names the prefixes that leave from here.
func (o *origin) who() string {
	word, rest := "prefix ", ""
	if len(o.users) > 1 {
		word = "prefixes "
	}
	if more := len(o.users) - maxUsers; more > 0 {
		rest = fmt.Sprintf(" and %d more", more)
	}
	return word + strings.Join(o.users[:min(maxUsers, len(o.users))], ", ") + rest
}

// names is what the configuration names.
func (o *origin) names() string {
	var list []string
	if o.key.device != "" {
		list = append(list, fmt.Sprintf("interface %q", o.key.device))
	}
	if o.key.source.IsValid() {
		list = append(list, fmt.Sprintf("source %q", o.key.source))
	}
	if len(list) == 0 {
		return "what it needs"
	}
	return strings.Join(list, ", ")
}

// judge tells Health when nothing at all can be sent. What only some prefixes lack is told of these: their
// addresses are unknown, with the reason.
func (o *origins) judge(now int64) {
	if o.silent || len(o.watched) < len(o.byKey) || now-o.told < int64(healthEvery) {
		return
	}
	for _, og := range o.watched {
		if og.gone == nil || len(og.users) == 0 {
			return
		}
	}
	o.told = now
	o.report.trouble(ReasonSendError, "nothing can be sent: "+o.watched[0].waits())
}
