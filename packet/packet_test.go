package packet

import (
	"encoding/binary"
	"errors"
	"slices"
	"testing"

	"golang.org/x/net/icmp"
	"golang.org/x/net/ipv4"
)

func request(k *Key, size int, t Tag) []byte {
	b := make([]byte, HeaderLen+size)
	Fill(b, EchoRequest)
	k.PutEcho(b, 0x1234, t)
	PutChecksum(b)
	return b
}

// replyTo turns an echo request into what a host would answer.
func replyTo(request []byte) []byte {
	b := slices.Clone(request)
	b[0] = EchoReply
	PutChecksum(b)
	return b
}

func TestARequestIsWhatOthersRead(t *testing.T) {
	for _, size := range []int{16, 17, 56, 57, 1472} {
		b := request(NewKey(), size, Tag{Target: 7, Serial: 0xabcd1234})
		m, err := icmp.ParseMessage(ProtocolICMP, b)
		if err != nil {
			t.Fatal(err)
		}
		echo := m.Body.(*icmp.Echo)
		if m.Type != ipv4.ICMPTypeEcho || echo.ID != 0x1234 || echo.Seq != 0x1234 || len(echo.Data) != size {
			t.Errorf("size %d: %v %+v", size, m.Type, echo)
		}
		want, err := m.Marshal(nil) // with the library's checksum
		if err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(b, want) {
			t.Errorf("size %d:\n% x, want\n% x", size, b, want)
		}
		if !ChecksumGood(b) {
			t.Errorf("size %d: checksum", size)
		}
		b[size/2] ^= 4
		if ChecksumGood(b) {
			t.Errorf("size %d: a flipped bit passed", size)
		}
	}
}

func TestOnlyOurRepliesAreBelieved(t *testing.T) {
	key := NewKey()
	tag := Tag{Target: 65535, Serial: 3}
	good := replyTo(request(key, 56, tag))
	for name, test := range map[string]struct {
		change func(b []byte) []byte
		want   error
	}{
		"as sent":               {func(b []byte) []byte { return b }, nil},
		"just the tag":          {func(b []byte) []byte { return b[:MinEcho] }, nil},
		"empty":                 {func([]byte) []byte { return nil }, ErrShort},
		"half a header":         {func(b []byte) []byte { return b[:7] }, ErrShort},
		"no tag":                {func(b []byte) []byte { return b[:8] }, ErrShort},
		"half a tag":            {func(b []byte) []byte { return b[:23] }, ErrShort},
		"another target":        {func(b []byte) []byte { b[11] ^= 1; return b }, ErrCookie},
		"another serial":        {func(b []byte) []byte { b[15] ^= 1; return b }, ErrCookie},
		"another cookie":        {func(b []byte) []byte { b[23] ^= 1; return b }, ErrCookie},
		"another's key":         {func([]byte) []byte { return replyTo(request(NewKey(), 56, tag)) }, ErrCookie},
		"a request":             {func(b []byte) []byte { b[0] = EchoRequest; return b }, ErrType},
		"a code that is not 0":  {func(b []byte) []byte { b[1] = 1; return b }, ErrType},
		"all zeros":             {func([]byte) []byte { return make([]byte, 64) }, ErrCookie},
		"behind the tag it may": {func(b []byte) []byte { b[60] ^= 1; return b }, nil},
	} {
		t.Run(name, func(t *testing.T) {
			e, err := key.ParseEcho(test.change(slices.Clone(good)), EchoReply)
			if !errors.Is(err, test.want) {
				t.Fatalf("error %v, want %v", err, test.want)
			}
			if err == nil && (e.Tag != tag || e.Sequence != 3 || e.Identifier != 0x1234) {
				t.Errorf("read %+v", e)
			}
		})
	}
}

// error4 is an ICMPv4 error that quotes a packet to 192.0.2.7.
func error4(icmpType byte, options int, quoted []byte) []byte {
	b := []byte{icmpType, 1, 0, 0, 0, 0, 0, 0}
	ip := make([]byte, 20+options)
	ip[0] = 4<<4 | byte(5+options/4)
	binary.BigEndian.PutUint16(ip[2:], uint16(len(ip)+len(quoted)))
	ip[8], ip[9] = 1, ProtocolICMP
	copy(ip[16:], []byte{192, 0, 2, 7})
	return append(append(b, ip...), quoted...)
}

func TestErrorsAreReadWithTheirQuote(t *testing.T) {
	echo := request(NewKey(), 56, Tag{1, 2})
	for name, test := range map[string]struct {
		packet []byte
		want   error
		quoted int
	}{
		"full quote":            {error4(Unreachable, 0, echo), nil, 64},
		"eight bytes":           {error4(TimeExceed, 0, echo[:8]), nil, 8},
		"options in the header": {error4(Unreachable, 40, echo), nil, 64},
		"seven bytes":           {error4(Unreachable, 0, echo[:7]), ErrShort, 0},
		"no quote":              {error4(Unreachable, 0, nil), ErrShort, 0},
		"half a header":         {error4(Unreachable, 0, nil)[:20], ErrShort, 0},
		"redirect":              {error4(5, 0, echo), ErrType, 0},
		"about a reply":         {error4(Unreachable, 0, replyTo(echo)), ErrType, 0},
		"a bad header length":   {func() []byte { b := error4(Unreachable, 0, echo); b[8] = 0x44; return b }(), ErrShort, 0},
		"about UDP":             {func() []byte { b := error4(Unreachable, 0, echo); b[17] = 17; return b }(), ErrType, 0},
	} {
		t.Run(name, func(t *testing.T) {
			q, err := ParseError4(test.packet)
			if !errors.Is(err, test.want) {
				t.Fatalf("error %v, want %v", err, test.want)
			}
			if err == nil && (len(q.ICMP) != test.quoted || !slices.Equal(q.Dst, []byte{192, 0, 2, 7}) || q.Type != test.packet[0]) {
				t.Errorf("read %+v", q)
			}
		})
	}
}

func TestIPv6ErrorsAreReadWithTheirQuote(t *testing.T) {
	echo := request(NewKey(), 56, Tag{1, 2})
	echo[0] = EchoRequest6
	ip := make([]byte, 40)
	ip[0], ip[6] = 0x60, ProtocolICMPv6
	ip[24], ip[39] = 0x20, 7
	for _, icmpType := range []byte{Unreachable6, TooBig6, TimeExceed6} {
		b := slices.Concat([]byte{icmpType, 0, 0, 0, 0, 0, 0, 0}, ip, echo)
		q, err := ParseError6(b)
		if err != nil || len(q.ICMP) != 64 || q.Dst[0] != 0x20 || q.Dst[15] != 7 {
			t.Errorf("type %d: %+v %v", icmpType, q, err)
		}
		if _, err := ParseError6(b[:50]); !errors.Is(err, ErrShort) {
			t.Errorf("type %d, cut off: %v", icmpType, err)
		}
	}
}

func FuzzParse(f *testing.F) {
	key := NewKey()
	echo := request(key, 56, Tag{1, 2})
	for _, b := range [][]byte{nil, echo, replyTo(echo), error4(Unreachable, 0, echo), error4(TimeExceed, 40, echo[:8])} {
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		before := slices.Clone(b)
		for _, want := range []byte{EchoReply, EchoReply6, EchoRequest} {
			if e, err := key.ParseEcho(b, want); err == nil {
				again := slices.Clone(b)
				key.PutEcho(again, e.Identifier, e.Tag)
				if !slices.Equal(again[8:MinEcho], b[8:MinEcho]) {
					t.Error("a tag was believed that we would not write")
				}
			}
		}
		for _, parse := range []func([]byte) (Quote, error){ParseError4, ParseError6} {
			if q, err := parse(b); err == nil && (len(q.ICMP) < HeaderLen || len(q.Dst) != 4 && len(q.Dst) != 16) {
				t.Errorf("%+v", q)
			}
		}
		SkipIPv4(b)
		SkipIPv6(b)
		ChecksumGood(b)
		if !slices.Equal(b, before) {
			t.Error("the packet was written to")
		}
	})
}

func TestNothingIsAllocated(t *testing.T) {
	key := NewKey()
	b := request(key, 56, Tag{})
	reply, quote := replyTo(b), error4(Unreachable, 0, b)
	if n := testing.AllocsPerRun(1000, func() {
		key.PutEcho(b, 1, Tag{1, 2})
		PutChecksum(b)
		_, _ = key.ParseEcho(reply, EchoReply)
		_, _ = ParseError4(quote)
	}); n != 0 {
		t.Errorf("%v allocations, want 0", n)
	}
}

func BenchmarkPutEcho(b *testing.B) {
	key := NewKey()
	p := request(key, 56, Tag{})
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		key.PutEcho(p, 1, Tag{uint32(i), 2})
	}
}

func BenchmarkParseEcho(b *testing.B) {
	key := NewKey()
	p := replyTo(request(key, 56, Tag{3, 4}))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := key.ParseEcho(p, EchoReply); err != nil {
			b.Fatal(err)
		}
	}
}
