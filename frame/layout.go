package frame

import (
	"encoding/json"
	"net/netip"
	"strconv"
	"strings"

	"prefix_exporter/prefix"
)

// Layout says what the series and places of the messages are, until the next Layout.
type Layout struct {
	Revision uint32         `json:"revision"`
	Scale    Scale          `json:"scale"`
	Prefixes []LayoutPrefix `json:"prefixes"`
	Series   []LayoutSeries `json:"series"`
}

// Scale says which RTT a code stands for: MinSeconds * Ratio^(code - First), for each
// code from First on.
type Scale struct {
	First      Code    `json:"first"`
	MinSeconds float64 `json:"min_seconds"`
	Ratio      float64 `json:"ratio"`
}

// LayoutPrefix is one block of the table and what is said of it.
type LayoutPrefix struct {
	Prefix  netip.Prefix      `json:"prefix"`
	Name    string            `json:"name"`
	Router  string            `json:"router"`
	Tenants []string          `json:"tenants"`
	Labels  map[string]string `json:"labels"`
	Size    int               `json:"size"` // one more than the last place
	// Places are the configured ones, as ranges: "0-9,12". The place of an IPv4 address is
	// its last octet.
	Places string `json:"places"`
	// Names are those of addresses, by place.
	Names map[int]string `json:"names"`
	// IPs are the addresses by place, of IPv6 only; empty where there is none.
	IPs []string `json:"ips,omitempty"`
}

// LayoutSeries is one probe of one block.
type LayoutSeries struct {
	Prefix int    `json:"prefix"` // index into Layout.Prefixes
	Probe  string `json:"probe"`
	Port   uint16 `json:"port"` // 0 but for tcp
	// Places are those that this probe asks; empty: all of the prefix.
	Places string `json:"places,omitempty"`
}

// newScale is the scale of prefix.Sample.
func newScale() Scale {
	return Scale{First: Code(prefix.FirstRTT), MinSeconds: prefix.SampleFloor.Seconds(), Ratio: prefix.SampleRatio()}
}

// layoutMessage describes the tracks, which are sorted by prefix.
func layoutMessage(h Header, tracks []*track) []byte {
	l := Layout{Revision: h.Revision, Scale: newScale(), Prefixes: []LayoutPrefix{}, Series: []LayoutSeries{}}
	for _, t := range tracks {
		last := len(l.Prefixes) - 1
		if last < 0 || l.Prefixes[last].Prefix != t.info.Prefix {
			l.Prefixes = append(l.Prefixes, newLayoutPrefix(t.info, t.addrs))
			last++
		}
		s := LayoutSeries{Prefix: last, Probe: t.series.Probe().Kind.String(), Port: t.series.Probe().Port}
		if places := ranges(len(t.slots), func(i int) bool { return t.slots[i].configured }); places != l.Prefixes[last].Places {
			s.Places = places
		}
		l.Series = append(l.Series, s)
	}
	body, err := json.Marshal(l)
	if err != nil {
		panic("frame: layout: " + err.Error()) // a struct of strings and numbers can always be written
	}
	h.Type = TypeLayout
	message := append(appendHeader(make([]byte, 0, headerSize+len(body)), h), body...)
	setLength(message)
	return message
}

func newLayoutPrefix(info *prefix.Block, addrs []netip.Addr) LayoutPrefix {
	p := LayoutPrefix{
		Prefix: info.Prefix, Name: info.Name, Router: info.Router, Size: len(addrs),
		Tenants: append([]string{}, info.Tenants...), Labels: map[string]string{}, Names: map[int]string{},
		Places: ranges(len(addrs), func(i int) bool { return addrs[i].IsValid() }),
	}
	for _, label := range info.Labels {
		p.Labels[label.Name] = label.Value
	}
	places := make(map[netip.Addr]int, len(addrs))
	for i, addr := range addrs {
		if addr.IsValid() {
			places[addr] = i
		}
	}
	for _, target := range info.Targets {
		if i, ok := places[target.Addr]; ok && target.Name != "" {
			p.Names[i] = target.Name
		}
	}
	if info.Prefix.Addr().Is4() {
		return p
	}
	for _, addr := range addrs {
		text := ""
		if addr.IsValid() {
			text = addr.String()
		}
		p.IPs = append(p.IPs, text)
	}
	return p
}

// ranges writes which of n places there are, as in "0-9,12".
func ranges(n int, has func(int) bool) string {
	var b strings.Builder
	for i := 0; i < n; i++ {
		if !has(i) {
			continue
		}
		first := i
		for i+1 < n && has(i+1) {
			i++
		}
		if b.Len() > 0 {
			b.WriteByte(',')
		}
		b.WriteString(strconv.Itoa(first))
		if i > first {
			b.WriteString("-" + strconv.Itoa(i))
		}
	}
	return b.String()
}
