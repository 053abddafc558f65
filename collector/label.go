package collector

import (
	"slices"
	"strconv"
	"strings"
	"sync"

	"google.golang.org/protobuf/encoding/protowire"

	"prefix_exporter/prefix"
)

// cache keeps what is dear to make and changes only with the configuration: the labels
// of series and the identities of addresses. It may be used by any goroutine; what it
// returns is never written again.
type cache struct {
	mu       sync.Mutex
	bySeries map[*prefix.Series]*labels
	byBlock  map[*prefix.Block]*info
}

func newCache() *cache {
	return &cache{bySeries: map[*prefix.Series]*labels{}, byBlock: map[*prefix.Block]*info{}}
}

// labels are the labels of one series: ip differs from address to address, the
// other ones, which sort behind it, do not.
type labels struct {
	generation uint64
	ips        []byte                       // the addresses one after the other
	ends       [prefix.BlockSize + 1]uint16 // by place: where its address ends; 256 of 39 bytes fit
	targets    [prefix.BlockSize]uint8      // by place: the number of its address among the block's targets
	text       []byte                       // ,port="80",prefix="192.0.2.0/24",probe="tcp"
	proto      []byte                       // the same as LabelPair fields of a Metric
}

// ip returns the address at a place.
func (l *labels) ip(place uint8) []byte {
	return l.ips[l.ends[place]:l.ends[int(place)+1]]
}

// info is the description of one block and the identities of its targets.
type info struct {
	block *prefix.Block
	ids   string // idLength bytes for each of the targets
}

// idLength is the length of a UUID in its text form (RFC 9562 section 4).
const idLength = 36

func (i *info) id(target int) string {
	return i.ids[target*idLength : (target+1)*idLength]
}

// labels returns the labels of a series of which a snapshot has just been taken.
func (c *cache) labels(s *prefix.Series, snap *prefix.Snapshot) *labels {
	c.mu.Lock()
	defer c.mu.Unlock()
	l := c.bySeries[s]
	if l == nil || l.generation != snap.Generation {
		l = newLabels(snap)
		c.bySeries[s] = l
	}
	return l
}

func newLabels(snap *prefix.Snapshot) *labels {
	l := &labels{generation: snap.Generation}
	for place := range prefix.BlockSize {
		if place < len(snap.Addrs) && snap.Addrs[place].IsValid() {
			l.ips = snap.Addrs[place].AppendTo(l.ips)
		}
		l.ends[place+1] = uint16(len(l.ips))
	}
	for n, t := range snap.Info.Targets {
		if place := slices.Index(snap.Addrs, t.Addr); place >= 0 {
			l.targets[place] = uint8(n)
		}
	}
	add := func(name, value string) {
		l.text = appendTextLabel(append(l.text, ','), name, value)
		l.proto = appendProtoLabel(l.proto, name, value)
	}
	if snap.Probe.Kind == prefix.TCP {
		add(labelPort, strconv.Itoa(int(snap.Probe.Port)))
	}
	add("prefix", snap.Info.Prefix.String())
	add("probe", snap.Probe.Kind.String())
	return l
}

// infos appends the descriptions of blocks to dst.
func (c *cache) infos(dst []*info, blocks []*prefix.Block) []*info {
	c.mu.Lock()
	defer c.mu.Unlock()
	byBlock := make(map[*prefix.Block]*info, len(blocks))
	for _, b := range blocks {
		i := c.byBlock[b]
		if i == nil {
			var ids strings.Builder
			for _, t := range b.Targets {
				ids.WriteString(prefix.TargetID(t.Addr))
			}
			i = &info{block: b, ids: ids.String()}
		}
		byBlock[b] = i
		dst = append(dst, i)
	}
	c.byBlock = byBlock
	return dst
}

// forget drops what is not of these series.
func (c *cache) forget(all []*prefix.Series) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.bySeries) == len(all) {
		return
	}
	kept := make(map[*prefix.Series]*labels, len(all))
	for _, s := range all {
		if l := c.bySeries[s]; l != nil {
			kept[s] = l
		}
	}
	c.bySeries = kept
}

// valid replaces what is not UTF-8, which no format may carry.
func valid(value string) string { return strings.ToValidUTF8(value, "\uFFFD") }

var textEscaper = strings.NewReplacer(`\`, `\\`, "\n", `\n`, `"`, `\"`)

// appendTextLabel appends name="value" with the value escaped.
func appendTextLabel(dst []byte, name, value string) []byte {
	dst = append(append(dst, name...), `="`...)
	return append(append(dst, textEscaper.Replace(valid(value))...), '"')
}

// appendProtoLabel appends one label of a Metric: field 1, a LabelPair.
func appendProtoLabel(dst []byte, name, value string) []byte {
	value = valid(value)
	size := protowire.SizeTag(1) + protowire.SizeBytes(len(name)) + protowire.SizeTag(2) + protowire.SizeBytes(len(value))
	dst = protowire.AppendTag(dst, 1, protowire.BytesType)
	dst = protowire.AppendVarint(dst, uint64(size))
	dst = protowire.AppendTag(dst, 1, protowire.BytesType)
	dst = protowire.AppendString(dst, name)
	dst = protowire.AppendTag(dst, 2, protowire.BytesType)
	return protowire.AppendString(dst, value)
}
