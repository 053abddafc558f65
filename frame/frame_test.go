package frame

import (
	"bytes"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"prefix_exporter/prefix"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestCodes(t *testing.T) {
	for name, test := range map[string]struct {
		sample prefix.Sample
		state  prefix.State
		want   Code
		lost   prefix.Outcome // Answered: not lost
		rtt    time.Duration
	}{
		"nothing":                         {prefix.NoSample, prefix.Down, None, 0, 0},
		"a timeout of an address":         {prefix.Sample(prefix.Timeout), prefix.Up, 1, prefix.Timeout, 0},
		"a reset of one that is up":       {prefix.Sample(prefix.Reset), prefix.Up, 5, prefix.Reset, 0},
		"a timeout of one that is down":   {prefix.Sample(prefix.Timeout), prefix.Down, 17, prefix.Timeout, 0},
		"a refusal of one that is dark":   {prefix.Sample(prefix.Refused), prefix.Dark, 36, prefix.Refused, 0},
		"an answer of one that is up":     {prefix.NewSample(prefix.Answered, time.Microsecond), prefix.Up, 64, 0, time.Microsecond},
		"an answer of one that is down":   {prefix.NewSample(prefix.Answered, time.Microsecond), prefix.Down, 64, 0, time.Microsecond},
		"no route to one that is up":      {prefix.Sample(prefix.NoRoute), prefix.Up, 6, prefix.NoRoute, 0},
		"no route to one that is down":    {prefix.Sample(prefix.NoRoute), prefix.Down, 22, prefix.NoRoute, 0},
		"no route to one that is dark":    {prefix.Sample(prefix.NoRoute), prefix.Dark, 38, prefix.NoRoute, 0},
		"one that is left out":            {prefix.NoSample, prefix.Dark, LeftOut, 0, 0},
		"one that has become unknown":     {prefix.NoSample, prefix.Unknown, Unmeasured, 0, 0},
		"a timeout of one still unknown":  {prefix.Sample(prefix.Timeout), prefix.Unknown, 49, prefix.Timeout, 0},
		"no route to one still unknown":   {prefix.Sample(prefix.NoRoute), prefix.Unknown, 54, prefix.NoRoute, 0},
		"an answer of one still unknown":  {prefix.NewSample(prefix.Answered, time.Second), prefix.Unknown, Unmeasured, 0, 0},
		"the longest RTT that can be had": {prefix.NewSample(prefix.Answered, time.Hour), prefix.Up, 65535, 0, 67108864 * time.Microsecond},
	} {
		t.Run(name, func(t *testing.T) {
			c := NewCode(test.sample, test.state)
			if c != test.want {
				t.Errorf("code %d, want %d", c, test.want)
			}
			if rtt, ok := c.RTT(); rtt != test.rtt || ok != (test.rtt > 0) {
				t.Errorf("RTT %v, %v; want %v", rtt, ok, test.rtt)
			}
			o, state, ok := c.Lost()
			if o != test.lost || ok != (test.lost > 0) || ok && state != test.state {
				t.Errorf("lost %v, %v, %v; want %v, %v", o, state, ok, test.lost, test.state)
			}
		})
	}
	for _, c := range []Code{None, 7, 15, 16, 23, 31, LeftOut, 39, 47, Unmeasured, 55, 63} { // without a result, and what later versions may use
		if o, _, ok := c.Lost(); ok {
			t.Errorf("code %d is a loss by %v", c, o)
		}
	}
}

// codesOf reads a body into the codes of each series.
func codesOf(t *testing.T, body []byte) map[int][]Code {
	t.Helper()
	all := map[int][]Code{}
	err := Decode(body, func(series int, place uint8, c Code) {
		if all[series] == nil {
			all[series] = make([]Code, prefix.BlockSize)
		}
		all[series][place] = c
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func TestTheShortestEncodingIsTaken(t *testing.T) {
	fill := func(n int, code func(i int) Code) []Code {
		codes := make([]Code, n)
		for i := range codes {
			codes[i] = code(i)
		}
		return codes
	}
	for name, test := range map[string]struct {
		codes    []Code
		encoding byte // 0: no block
		size     int
	}{
		"nothing new":             {fill(256, func(int) Code { return None }), 0, 0},
		"no places":               {nil, 0, 0},
		"all different":           {fill(256, func(i int) Code { return Code(1000 + i) }), dense, 6 + 512},
		"all the same":            {fill(256, func(int) Code { return 33 }), runs, 6 + 3},
		"one":                     {fill(256, func(i int) Code { return map[int]Code{200: 1000}[i] }), sparse, 6 + 3},
		"the first":               {fill(256, func(i int) Code { return map[int]Code{0: 1000}[i] }), dense, 6 + 2},
		"the last":                {fill(256, func(i int) Code { return map[int]Code{255: 1000}[i] }), sparse, 6 + 3},
		"two halves":              {fill(256, func(i int) Code { return Code(33 + i/128) }), runs, 6 + 6},
		"the upper half":          {fill(256, func(i int) Code { return Code(i / 128 * 33) }), runs, 6 + 6},
		"the lower half":          {fill(256, func(i int) Code { return Code((1 - i/128) * 33) }), runs, 6 + 3},
		"ten of a small prefix":   {fill(10, func(i int) Code { return Code(100 + i) }), dense, 6 + 20},
		"every fourth is too far": {fill(256, func(i int) Code { return Code((i%4)/3) * Code(100+i) }), sparse, 6 + 64*3},
	} {
		t.Run(name, func(t *testing.T) {
			block := appendBlock(nil, 7, test.codes)
			if len(block) != test.size || test.size > 0 && block[2] != test.encoding {
				t.Fatalf("%d bytes, want %d in encoding %d: %v", len(block), test.size, test.encoding, block[:min(len(block), 6)])
			}
			want := map[int][]Code{}
			if test.size > 0 {
				want[7] = make([]Code, prefix.BlockSize)
				copy(want[7], test.codes)
			}
			if diff := cmp.Diff(want, codesOf(t, block)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestWhatIsWrittenIsRead(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for range 2000 {
		want := map[int][]Code{}
		var body []byte
		for series := range r.IntN(4) {
			codes := make([]Code, r.IntN(prefix.BlockSize+1))
			share, kinds := r.IntN(4), 1+r.IntN(300)
			for i := range codes {
				if r.IntN(4) >= share {
					codes[i] = Code(r.IntN(kinds) * 65535 / 300)
				}
			}
			body = appendBlock(body, series, codes)
			if slices.ContainsFunc(codes, func(c Code) bool { return c != None }) {
				want[series] = append(codes, make([]Code, prefix.BlockSize-len(codes))...)
			}
		}
		if diff := cmp.Diff(want, codesOf(t, body)); diff != "" {
			t.Fatal(diff)
		}
	}
}

func TestBodiesThatAreWrong(t *testing.T) {
	for name, test := range map[string]struct {
		body string
		want string
	}{
		"the beginning of a header": {"\x00\x00\x01\x00\x00", "body: block at byte 0: 5 bytes: must be at least 6"},
		"an unknown encoding":       {"\x00\x00\x04\x00\x00\x00", "body: block at byte 0: encoding 4: must be 1 to 3"},
		"more codes than places":    {"\x00\x00\x01\x00\x01\x01" + strings.Repeat("aa", 257), "body: block at byte 0: count 257: must be at most 256"},
		"codes that are missing":    {"\x00\x00\x01\x00\x02\x00aa", "body: block at byte 0: 8 bytes: must be 10"},
		"a run over the end":        {"\x00\x00\x03\x00\x02\x00\xfeaa\x01aa", "body: block at byte 0: place 256: must be at most 255"},
		"a second block":            {"\x00\x00\x01\x00\x01\x00aa\x00", "body: block at byte 8: 1 bytes: must be at least 6"},
	} {
		t.Run(name, func(t *testing.T) {
			err := Decode([]byte(test.body), func(int, uint8, Code) {})
			if err == nil || err.Error() != test.want {
				t.Errorf("got %v, want %s", err, test.want)
			}
		})
	}
}

func message(h Header, body string) string {
	m := append(appendHeader(nil, h), body...)
	setLength(m)
	return string(m)
}

func TestDecoder(t *testing.T) {
	second := Header{Type: TypeSecond, Flags: Skipped | Troubled, Sequence: 1 << 40, Revision: 1 << 31}
	long := strings.Repeat("x", 3*chunk+1)
	want := second
	want.Length = uint32(len(long))
	for name, test := range map[string]struct {
		stream string
		want   []Header
		err    string
	}{
		"nothing":          {"", nil, "EOF"},
		"one message":      {message(second, long), []Header{want}, "EOF"},
		"two messages":     {message(second, long) + message(second, long), []Header{want, want}, "EOF"},
		"half a header":    {"PXF\x01", nil, "unexpected EOF"},
		"half a body":      {message(second, long)[:5000], nil, "unexpected EOF"},
		"something else":   {strings.Repeat("GIF8", 10), nil, `header: begins with "GIF": must be "PXF"`},
		"a later version":  {"PXF\x02" + strings.Repeat("\x00", 20), nil, "header: version 2: must be 1"},
		"an unknown type":  {message(Header{Type: 5}, ""), nil, "header: type 5: must be 1 to 4"},
		"no type":          {message(Header{}, ""), nil, "header: type 0: must be 1 to 4"},
		"a promise of all": {string(appendHeader(nil, Header{Type: TypeFull, Length: 1 << 31})), nil, "header: body of 2147483648 bytes: must be at most 16777216"},
	} {
		t.Run(name, func(t *testing.T) {
			d := NewDecoder(strings.NewReader(test.stream))
			var got []Header
			for {
				m, err := d.Next()
				if err != nil {
					if err.Error() != test.err {
						t.Errorf("got %v, want %s", err, test.err)
					}
					break
				}
				if string(m.Body) != long {
					t.Error("another body")
				}
				got = append(got, m.Header)
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
	if _, err := ParseHeader([]byte("PXF")); err == nil || err.Error() != "header: 3 bytes: must be 24" {
		t.Errorf("got %v", err)
	}
}

// FuzzDecoder holds that no input makes the decoder panic or take more memory than it was
// given, and that what it accepts means the same when it is written anew.
func FuzzDecoder(f *testing.F) {
	f.Add([]byte(message(Header{Type: TypeFull}, "\x00\x00\x01\x00\x01\x00aa\x01\x00\x02\x00\x01\x00\xffaa\x02\x00\x03\x00\x01\x00\xffaa")))
	f.Add([]byte(message(Header{Type: TypeSecond}, "") + message(Header{Type: TypeLayout}, "{}")))
	f.Fuzz(func(t *testing.T, data []byte) {
		d := NewDecoder(bytes.NewReader(data))
		for {
			m, err := d.Next()
			if err != nil {
				break
			}
			got := map[int][]Code{}
			if Decode(m.Body, func(series int, place uint8, c Code) {
				if got[series] == nil {
					got[series] = make([]Code, prefix.BlockSize)
				}
				got[series][place] = c
			}) != nil {
				continue
			}
			var body []byte
			for series, codes := range got {
				body = appendBlock(body, series, codes)
			}
			if diff := cmp.Diff(got, codesOf(t, body)); diff != "" {
				t.Error(diff)
			}
		}
		if cap(d.body) > 2*len(data)+2*chunk {
			t.Errorf("%d bytes of memory for %d bytes of input", cap(d.body), len(data))
		}
	})
}
