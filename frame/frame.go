// Package frame is one second of all prefixes in two bytes per address and probe: the
// format, which docs/frames.md describes, and the Recorder, which makes a frame of what is
// new each second, hands it to whoever subscribes, and keeps an hour of minutes.
package frame

import (
	"encoding/binary"
	"fmt"
	"time"

	"prefix_exporter/prefix"
)

// version is raised when a reader of an older version could misread a message.
const version = 1

// headerSize is the size of the header of each message, in bytes.
const headerSize = 24

// maxBody bounds the body that a decoder takes: 65,536 addresses with three probes make
// a full frame of 0.4 MB, and a layout with a name for each of them one of 4 MB.
const maxBody = 16 << 20

// Type says what a message is.
type Type uint8

// The types of messages.
const (
	TypeLayout    Type = 1 // JSON: what the series and places of the messages after it are
	TypeFull      Type = 2 // the newest code of each place
	TypeSecond    Type = 3 // the codes of what was decided since the message before it
	TypeReference Type = 4 // codes to compare with, such as the mean of each place
)

// Flags say under which circumstances a message was made.
type Flags uint8

// The flags.
const (
	// Skipped says that seconds before this message were left out, because its receiver
	// was too slow.
	Skipped Flags = 1 << iota
	// Troubled says that the prober could not be trusted in this second.
	Troubled
)

// Header is what each message begins with.
type Header struct {
	Type     Type
	Flags    Flags
	Sequence uint64 // the Unix second in which the message was made
	Revision uint32 // of the layout that the body is to be read with
	Length   uint32 // of the body, in bytes; at most 16 MiB
}

var magic = [3]byte{'P', 'X', 'F'}

// appendHeader appends a header whose length setLength fills in.
func appendHeader(dst []byte, h Header) []byte {
	dst = append(dst, magic[0], magic[1], magic[2], version, byte(h.Type), byte(h.Flags), 0, 0)
	dst = binary.LittleEndian.AppendUint64(dst, h.Sequence)
	dst = binary.LittleEndian.AppendUint32(dst, h.Revision)
	return binary.LittleEndian.AppendUint32(dst, h.Length)
}

// setLength writes the length of the body of a whole message into its header.
func setLength(message []byte) {
	binary.LittleEndian.PutUint32(message[20:], uint32(len(message)-headerSize))
}

// withFlags returns a copy of a message with more flags set.
func withFlags(message []byte, f Flags) []byte {
	message = append([]byte(nil), message...)
	message[5] |= byte(f)
	return message
}

// ParseHeader reads the header at the beginning of a message.
func ParseHeader(data []byte) (h Header, err error) {
	if len(data) < headerSize {
		return h, fmt.Errorf("header: %d bytes: must be %d", len(data), headerSize)
	}
	if [3]byte(data) != magic {
		return h, fmt.Errorf("header: begins with %q: must be %q", data[:3], magic)
	}
	if data[3] != version {
		return h, fmt.Errorf("header: version %d: must be %d", data[3], version)
	}
	h = Header{
		Type:     Type(data[4]),
		Flags:    Flags(data[5]),
		Sequence: binary.LittleEndian.Uint64(data[8:]),
		Revision: binary.LittleEndian.Uint32(data[16:]),
		Length:   binary.LittleEndian.Uint32(data[20:]),
	}
	if h.Type < TypeLayout || h.Type > TypeReference {
		return h, fmt.Errorf("header: type %d: must be 1 to 4", h.Type)
	}
	if h.Length > maxBody {
		return h, fmt.Errorf("header: body of %d bytes: must be at most %d", h.Length, maxBody)
	}
	return h, nil
}

// Code is what became of one probe: nothing, a loss with its cause and the state of the
// address, or an RTT on the scale of prefix.Sample; or why there is none. The zero value is None.
type Code uint16

// None is the code of a place that is not configured or has no result.
const None Code = 0

// What is added to the code of a loss, an Outcome, unless the address is up.
const (
	downCodes    = 16
	darkCodes    = 32
	unknownCodes = 48
)

// Codes without a result.
const (
	// LeftOut is the code of an address that is not probed, whatever the configuration says: it is dark.
	LeftOut Code = darkCodes
	// Unmeasured is the code of an address that is unknown, unless its newest result is a loss.
	Unmeasured Code = unknownCodes
)

// NewCode codes a result of an address that is in this state since. An answer that leaves the
// address unknown is too old to be shown, or not enough of them: its RTT is not in the code.
func NewCode(v prefix.Sample, s prefix.State) Code {
	answered := v >= prefix.FirstRTT
	switch {
	case s == prefix.Unknown && answered:
		return Unmeasured
	case answered:
		return Code(v)
	case s == prefix.Unknown:
		return Code(v) + unknownCodes
	case s == prefix.Dark:
		return Code(v) + darkCodes
	case s == prefix.Down && v != prefix.NoSample:
		return Code(v) + downCodes
	}
	return Code(v)
}

// as returns the code of the same result of an address that is dark or unknown since, be it by
// a rule that has changed or by a restart.
func (c Code) as(slot *prefix.Slot) Code {
	o, _, lost := c.Lost()
	switch {
	case slot.LeftOut:
		return LeftOut
	case slot.State == prefix.Unknown: // an RTT does not stay
		return Unmeasured + Code(o)
	case slot.State == prefix.Dark && lost:
		return NewCode(prefix.Sample(o), prefix.Dark)
	case slot.State == prefix.Dark && (c == Unmeasured || c == LeftOut):
		return None
	}
	return c
}

// isUnknown says whether the address is unknown.
func (c Code) isUnknown() bool { return c >= unknownCodes && c < Code(prefix.FirstRTT) }

// isLoss says whether the code is of a loss.
func (c Code) isLoss() bool {
	_, _, ok := c.Lost()
	return ok
}

// RTT returns the round-trip time, and false if the code is not of an answer.
func (c Code) RTT() (time.Duration, bool) { return prefix.Sample(c).RTT() }

// Lost returns why the probe was lost and the state of the address since, and false if
// the code is not of a loss.
func (c Code) Lost() (prefix.Outcome, prefix.State, bool) {
	state := prefix.Up
	switch {
	case c >= Code(prefix.FirstRTT):
		return 0, 0, false
	case c >= unknownCodes:
		state, c = prefix.Unknown, c-unknownCodes
	case c >= darkCodes:
		state, c = prefix.Dark, c-darkCodes
	case c >= downCodes:
		state, c = prefix.Down, c-downCodes
	}
	o, ok := prefix.Sample(c).Lost()
	if !ok {
		return 0, 0, false
	}
	return o, state, true
}
