package frame

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"slices"

	"prefix_exporter/prefix"
)

// The encodings of a block.
const (
	dense  = 1 // a code for each place from 0 on
	sparse = 2 // a place and a code, for places that have one
	runs   = 3 // a length less one and a code, from place 0 on
)

// blockHeader is the size of what a block begins with: series, encoding, zero, count.
const blockHeader = 6

// appendBlock appends the codes of one series, by place, in the shortest encoding, and
// nothing if there are none.
func appendBlock(dst []byte, series int, codes []Code) []byte {
	some, stretches, end := 0, 0, 0
	before := Code(0)
	for i, c := range codes {
		if i == 0 || c != before {
			stretches++
			before = c
		}
		if c != None {
			some++
			end = i + 1
		}
	}
	if some == 0 {
		return dst
	}
	if end < len(codes) {
		stretches-- // the last one is of nothing
	}
	encoding, count := byte(dense), end
	size := 2 * end
	if 3*some < size {
		encoding, count, size = sparse, some, 3*some
	}
	if 3*stretches < size {
		encoding, count = runs, stretches
	}
	dst = binary.LittleEndian.AppendUint16(dst, uint16(series))
	dst = append(dst, encoding, 0)
	dst = binary.LittleEndian.AppendUint16(dst, uint16(count))
	codes = codes[:end]
	switch encoding {
	case dense:
		for _, c := range codes {
			dst = binary.LittleEndian.AppendUint16(dst, uint16(c))
		}
	case sparse:
		for i, c := range codes {
			if c != None {
				dst = binary.LittleEndian.AppendUint16(append(dst, byte(i)), uint16(c))
			}
		}
	case runs:
		dst = appendRuns(dst, codes)
	}
	return dst
}

func appendRuns(dst []byte, codes []Code) []byte {
	for i := 0; i < len(codes); {
		n := 1
		for i+n < len(codes) && codes[i+n] == codes[i] {
			n++
		}
		dst = binary.LittleEndian.AppendUint16(append(dst, byte(n-1)), uint16(codes[i]))
		i += n
	}
	return dst
}

// Decode reads the body of a message of TypeFull, TypeSecond or TypeReference and calls
// each for every code but None. The error tells at which byte of the body it went wrong;
// what came before has been told.
func Decode(body []byte, each func(series int, place uint8, c Code)) error {
	for at := 0; at < len(body); {
		n, err := decodeBlock(body[at:], each)
		if err != nil {
			return fmt.Errorf("body: block at byte %d: %w", at, err)
		}
		at += n
	}
	return nil
}

// decodeBlock reads one block and returns its size.
func decodeBlock(data []byte, each func(series int, place uint8, c Code)) (int, error) {
	if len(data) < blockHeader {
		return 0, fmt.Errorf("%d bytes: must be at least %d", len(data), blockHeader)
	}
	series := int(binary.LittleEndian.Uint16(data))
	encoding, count := data[2], int(binary.LittleEndian.Uint16(data[4:]))
	width := 3
	if encoding == dense {
		width = 2
	}
	if encoding < dense || encoding > runs {
		return 0, fmt.Errorf("encoding %d: must be 1 to 3", encoding)
	}
	if count > prefix.BlockSize {
		return 0, fmt.Errorf("count %d: must be at most %d", count, prefix.BlockSize)
	}
	size := blockHeader + count*width
	if len(data) < size {
		return 0, fmt.Errorf("%d bytes: must be %d", len(data), size)
	}
	place := 0
	for at := blockHeader; at < size; at += width {
		c := Code(binary.LittleEndian.Uint16(data[at+width-2:]))
		n := 1
		switch encoding {
		case sparse:
			place = int(data[at])
		case runs:
			n = int(data[at]) + 1
		}
		if place+n > prefix.BlockSize {
			return 0, fmt.Errorf("place %d: must be at most %d", place+n-1, prefix.BlockSize-1)
		}
		for ; n > 0; n-- {
			if c != None {
				each(series, uint8(place), c)
			}
			place++
		}
	}
	return size, nil
}

// Message is one message of a stream.
type Message struct {
	Header
	Body []byte
}

// Decoder reads messages that follow each other, as GET /api/v1/frames sends them.
type Decoder struct {
	r      io.Reader
	header [headerSize]byte
	body   []byte
}

// NewDecoder makes a Decoder that reads from r, and never more than it needs.
func NewDecoder(r io.Reader) *Decoder { return &Decoder{r: r} }

// chunk is how much of a body is taken in at a time: memory grows with what has arrived, not
// with what a header promises.
const chunk = 64 << 10

// Next reads one message, whose body is good until the call after it. The error is io.EOF
// after the last one, io.ErrUnexpectedEOF within one, or says what is wrong.
func (d *Decoder) Next() (m Message, err error) {
	if _, err := io.ReadFull(d.r, d.header[:]); err != nil {
		return m, err
	}
	if m.Header, err = ParseHeader(d.header[:]); err != nil {
		return m, err
	}
	d.body = d.body[:0]
	for left := int(m.Length); left > 0; {
		n := min(left, chunk)
		at := len(d.body)
		d.body = slices.Grow(d.body, n)[:at+n]
		if _, err := io.ReadFull(d.r, d.body[at:]); err != nil {
			if errors.Is(err, io.EOF) {
				err = io.ErrUnexpectedEOF
			}
			return m, err
		}
		left -= n
	}
	m.Body = d.body
	return m, nil
}
