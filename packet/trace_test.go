package packet

import (
	"bytes"
	"encoding/binary"
	"errors"
	"net/netip"
	"testing"
)

var (
	here4, there4 = netip.MustParseAddr("198.18.0.1"), netip.MustParseAddr("192.0.2.7")
	here6, there6 = netip.MustParseAddr("fd00:c612::1"), netip.MustParseAddr("2001:db8::7")
)

// good says whether a message has a right checksum under a pseudo-header, computed as RFC 1071
// section 4.1 does.
func good(b []byte, pseudo uint32) bool {
	sum := uint64(pseudo)
	for i := 0; i < len(b); i += 2 {
		word := uint64(b[i]) << 8
		if i+1 < len(b) {
			word |= uint64(b[i+1])
		}
		sum += word
	}
	for sum>>16 != 0 {
		sum = sum&0xffff + sum>>16
	}
	return sum == 0xffff
}

func TestPseudoIsTheHeaderOfTheRFCs(t *testing.T) {
	header4 := append(here4.AsSlice(), there4.AsSlice()...)
	header4 = append(header4, 0, ProtocolUDP, 0, TraceLen) // RFC 768
	header6 := append(here6.AsSlice(), there6.AsSlice()...)
	header6 = binary.BigEndian.AppendUint32(header6, TraceLen) // RFC 8200 section 8.1
	header6 = append(header6, 0, 0, 0, ProtocolUDP)
	for _, c := range []struct {
		src, dst netip.Addr
		header   []byte
	}{{here4, there4, header4}, {here6, there6, header6}} {
		if got, want := fold(Pseudo(c.src, c.dst, ProtocolUDP, TraceLen)), ^checksum(c.header); got != want {
			t.Errorf("%s: sum %#x, want %#x", c.src, got, want)
		}
	}
}

func TestAllProbesOfARouteLookAlikeToABalancer(t *testing.T) {
	key := NewKey()
	pseudo6 := Pseudo(here6, there6, ProtocolICMPv6, TraceLen)
	for serial := range uint32(3 << 16) {
		if serial%7 != 0 && serial > 100 { // of the rest, some
			continue
		}
		tag := Tag{Target: 5, Serial: 0xffff_0000 + serial}
		b := make([]byte, TraceLen)
		for _, v6 := range []bool{false, true} {
			kind, pseudo := byte(EchoRequest), uint32(0)
			if v6 {
				kind, pseudo = EchoRequest6, pseudo6
			}
			key.PutTraceEcho(b, kind, 77, 0xbeef, tag, pseudo)
			if !good(b, pseudo) || binary.BigEndian.Uint16(b[2:]) != 0xbeef || binary.BigEndian.Uint16(b[4:]) != 77 {
				t.Fatalf("serial %#x: % x", tag.Serial, b[:balanceAt+2])
			}
			if e, err := key.ParseEcho(b, kind); err != nil || e.Tag != tag || e.Sequence != tag.Sequence() {
				t.Fatalf("%+v %v", e, err)
			}
			n, err := ParseName(b, map[bool]byte{false: ProtocolICMP, true: ProtocolICMPv6}[v6])
			if err != nil || n != (Name{Constant: 77, Own: 0xbeef<<16 | uint32(tag.Sequence())}) {
				t.Fatalf("%+v %v", n, err)
			}
		}
		pseudo := Pseudo(here4, there4, ProtocolUDP, TraceLen)
		key.PutTraceDatagram(b, 4000, 33434, uint16(1+serial%0xfffe), tag, pseudo)
		if !good(b, pseudo) {
			t.Fatalf("serial %#x: % x", tag.Serial, b)
		}
		n, err := ParseName(b, ProtocolUDP)
		if err != nil || n != (Name{Constant: 4000<<16 | 33434, Own: TraceLen<<16 | (1 + serial%0xfffe)}) {
			t.Fatalf("%+v %v", n, err)
		}
		if got, err := key.ParseQuotedTag(b); err != nil || got != tag {
			t.Fatalf("%+v %v", got, err)
		}
	}
}

func TestASYNIsAnsweredByItsNumber(t *testing.T) {
	key := NewKey()
	sequence := key.Sequence(Tag{Target: 1, Serial: 2})
	if sequence == key.Sequence(Tag{Target: 1, Serial: 3}) || sequence == NewKey().Sequence(Tag{Target: 1, Serial: 2}) {
		t.Error("sequence numbers can be guessed")
	}
	b := make([]byte, SYNLen)
	pseudo := Pseudo(here6, there6, ProtocolTCP, SYNLen)
	PutSYN(b, 4000, 80, sequence, pseudo)
	n, err := ParseName(b, ProtocolTCP)
	if err != nil || n != (Name{Constant: 4000<<16 | 80, Own: sequence}) || !good(b, pseudo) {
		t.Errorf("%+v %v: % x", n, err, b)
	}
	segment := func(flags byte, ack uint32) []byte {
		s := make([]byte, 20)
		binary.BigEndian.PutUint16(s, 80)
		binary.BigEndian.PutUint16(s[2:], 4000)
		binary.BigEndian.PutUint32(s[8:], ack)
		s[13] = flags
		return s
	}
	for _, c := range []struct {
		name  string
		b     []byte
		err   error
		which uint32
	}{
		{"a SYN/ACK", segment(flagSYN|flagACK, sequence+1), nil, sequence},
		{"a reset", segment(flagRST|flagACK, sequence+1), nil, sequence},
		{"a number that wraps", segment(flagRST|flagACK, 0), nil, 0xffffffff},
		{"a reset that acknowledges nothing", segment(flagRST, sequence+1), ErrType, 0},
		{"an ACK", segment(flagACK, sequence+1), ErrType, 0},
		{"a SYN", segment(flagSYN, sequence+1), ErrType, 0},
		{"half a header", segment(flagSYN|flagACK, sequence+1)[:19], ErrShort, 0},
	} {
		src, dst, which, err := Acknowledged(c.b)
		if !errors.Is(err, c.err) || err == nil && (src != 80 || dst != 4000 || which != c.which) {
			t.Errorf("%s: %d %d %d %v", c.name, src, dst, which, err)
		}
	}
}

func TestAQuotedTagIsBelievedWithItsCookieOnly(t *testing.T) {
	key := NewKey()
	tag := Tag{Target: 7, Serial: 8}
	whole := make([]byte, TraceLen)
	key.PutTraceEcho(whole, EchoRequest, 1, 2, tag, 0)
	padded := append(append([]byte{}, whole[:HeaderLen]...), make([]byte, 100)...)
	forged := append([]byte{}, whole...)
	forged[HeaderLen+3]++
	for _, c := range []struct {
		name string
		b    []byte
		want error
	}{
		{"all of it", whole, nil},
		{"up to the cookie", whole[:HeaderLen+TagLen], nil},
		{"eight bytes", whole[:HeaderLen], ErrShort},
		{"a cut cookie", whole[:HeaderLen+TagLen-1], ErrShort},
		{"eight bytes and zeros", padded, ErrShort},
		{"another target", forged, ErrCookie},
	} {
		got, err := key.ParseQuotedTag(c.b)
		if !errors.Is(err, c.want) || err == nil && got != tag {
			t.Errorf("%s: %+v, %v, want %v", c.name, got, err, c.want)
		}
	}
	for _, protocol := range []byte{ProtocolICMP, ProtocolICMPv6, ProtocolTCP, ProtocolUDP} {
		if _, err := ParseName(whole[:7], protocol); !errors.Is(err, ErrShort) {
			t.Errorf("protocol %d: %v", protocol, err)
		}
	}
	reply := append([]byte{}, whole...)
	reply[0] = EchoReply
	if _, err := ParseName(reply, ProtocolICMP); !errors.Is(err, ErrType) {
		t.Error(err)
	}
	if _, err := ParseName(whole, 47); !errors.Is(err, ErrType) {
		t.Error(err)
	}
}

// extension makes an extension structure of objects.
func extension(objects ...[]byte) []byte {
	b := []byte{2 << 4, 0, 0, 0}
	for _, o := range objects {
		b = append(b, o...)
	}
	binary.BigEndian.PutUint16(b[2:], checksum(b))
	return b
}

// object makes an extension object.
func object(class, kind byte, data ...byte) []byte {
	b := binary.BigEndian.AppendUint16(nil, uint16(4+len(data)))
	return append(append(b, class, kind), data...)
}

func TestLabelsAreFoundBehindAQuotation(t *testing.T) {
	stack := []byte{0x03, 0xe8, 0x04, 0x01, 0x00, 0x01, 0x13, 0xff}
	labels := object(1, 1, stack...)
	behind := func(n int, x []byte) []byte { return append(make([]byte, n), x...) }
	damaged := extension(labels)
	damaged[9]++
	unsummed := extension(labels)
	unsummed[2], unsummed[3] = 0, 0
	version := extension(labels)
	version[0] = 1 << 4
	for _, c := range []struct {
		name string
		b    []byte
		end  int
		v6   bool
		want []byte
	}{
		{"behind 128 bytes of IPv4", behind(108, extension(labels)), 0, false, stack},
		{"behind 128 bytes of IPv6", behind(88, extension(labels)), 0, true, stack},
		{"where the router says", behind(200, extension(labels)), 200, false, stack},
		{"behind an object of another kind", behind(108, extension(object(2, 7, 1, 2, 3, 4, 5, 6, 7, 8), labels)), 0, false, stack},
		{"of a stack without labels", behind(108, extension(object(1, 1))), 0, false, nil},
		{"of a stack with half a label", behind(108, extension(object(1, 1, stack[:6]...))), 0, false, stack[:4]},
		{"without a checksum", behind(108, unsummed), 0, false, stack},
		{"with a wrong checksum", behind(108, damaged), 0, false, nil},
		{"of another version", behind(108, version), 0, false, nil},
		{"of a longer quotation without extensions", make([]byte, 300), 0, false, nil},
		{"of a short quotation", make([]byte, 8), 0, false, nil},
		{"beyond what was read", behind(108, extension(labels)), 500, false, nil},
		{"in an object that claims more than there is", behind(108, extension([]byte{0, 200, 1, 1, 1, 2, 3, 4})), 0, false, nil},
		{"behind an object of length 0", behind(108, extension([]byte{0, 0, 9, 9}, labels)), 0, false, nil},
		{"behind an object of length 3", behind(108, extension([]byte{0, 3, 9, 9}, labels)), 0, false, nil},
		{"behind a cut object header", behind(108, extension([]byte{0, 4})), 0, false, nil},
	} {
		if got := LabelStack(QuotedExtension(c.b, c.end, c.v6)); !bytes.Equal(got, c.want) {
			t.Errorf("labels %s: % x, want % x", c.name, got, c.want)
		}
	}
	value, class, bottom, ttl := ParseLabel(stack[4:])
	if value != 17 || class != 1 || !bottom || ttl != 255 {
		t.Errorf("label %d, class %d, bottom %v, TTL %d", value, class, bottom, ttl)
	}
}

func TestAResetIsOfTheConnectionThatASYNBegins(t *testing.T) {
	b := make([]byte, ResetLen)
	pseudo := Pseudo(here4, there4, ProtocolTCP, ResetLen)
	PutReset(b, 4000, 80, 0xffffffff, pseudo)
	want := []byte{4000 >> 8, 4000 & 0xff, 0, 80, 0, 0, 0, 0, 0, 0, 0, 0, 5 << 4, flagRST, 0, 0}
	if !bytes.Equal(b[:len(want)], want) || !good(b, pseudo) {
		t.Errorf("% x", b)
	}
	if Opens(b) {
		t.Error("a reset opens a connection")
	}
	if b[13] = flagSYN | flagACK; !Opens(b) {
		t.Error("a SYN/ACK opens no connection")
	}
}

// FuzzQuoted feeds what stands behind the IP header of a quoted packet to all that reads it: nothing
// reads outside of it, and nothing is believed that is not ours.
func FuzzQuoted(f *testing.F) {
	key := NewKey()
	echo, syn := make([]byte, TraceLen), make([]byte, SYNLen)
	key.PutTraceEcho(echo, EchoRequest, 1, 2, Tag{Target: 3, Serial: 4}, 0)
	PutSYN(syn, 1, 2, 3, 4)
	labelled := append(append(append([]byte{}, echo...), make([]byte, 108-TraceLen)...), extension(object(1, 1, 1, 2, 3, 4))...)
	for _, b := range [][]byte{echo, echo[:8], syn, syn[:8], labelled, nil} {
		f.Add(b, byte(ProtocolICMP), 0, false)
		f.Add(b, byte(ProtocolTCP), 108, true)
	}
	f.Fuzz(func(t *testing.T, b []byte, protocol byte, end int, v6 bool) {
		whole := b
		b = b[:len(b):len(b)] // an overrun is a panic
		if _, err := ParseName(b, protocol); (err == nil) && len(b) < 8 {
			t.Error("a name of less than 8 bytes")
		}
		_, _, _, _ = Acknowledged(b)
		// The key is of this process, so what the fuzzer saves of another one is not believed.
		if tag, err := NewKey().ParseQuotedTag(b); err == nil {
			t.Errorf("believed %+v", tag)
		}
		stack := LabelStack(QuotedExtension(b, end, v6))
		if len(stack)%4 != 0 || len(stack) > len(whole) {
			t.Errorf("a stack of %d bytes", len(stack))
		}
		for ; len(stack) > 0; stack = stack[4:] {
			if value, class, _, _ := ParseLabel(stack); value >= 1<<20 || class > 7 {
				t.Errorf("label %d, class %d", value, class)
			}
		}
	})
}

func BenchmarkQuoted(b *testing.B) {
	key := NewKey()
	quote := make([]byte, 108)
	key.PutTraceEcho(quote[:TraceLen], EchoRequest, 1, 2, Tag{Target: 3, Serial: 4}, 0)
	quote = append(quote, extension(object(1, 1, 1, 2, 3, 4, 5, 6, 7, 8))...)
	b.ReportAllocs()
	for b.Loop() {
		_, _ = ParseName(quote, ProtocolICMP)
		_, _ = key.ParseQuotedTag(quote)
		if len(LabelStack(QuotedExtension(quote, 0, false))) != 8 {
			b.Fatal("no labels")
		}
	}
}
