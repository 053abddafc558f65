package netsim

import (
	"encoding/hex"
	"encoding/json"
)

// jsonPacket and jsonReply are a line of the truth log as docs/lab.md describes it.
type jsonPacket struct {
	Number  uint64 `json:"number"`
	Arrived int64  `json:"arrived"`
	Read    int64  `json:"read"`
	Src     string `json:"src"`
	Dst     string `json:"dst"`

	Protocol    string  `json:"protocol"`
	ID          *uint16 `json:"id,omitempty"`
	Seq         *uint16 `json:"seq,omitempty"`
	SrcPort     uint16  `json:"src_port,omitempty"`
	DstPort     uint16  `json:"dst_port,omitempty"`
	ISN         *uint32 `json:"isn,omitempty"`
	Retransmit  bool    `json:"retransmit,omitempty"`
	Established int64   `json:"established,omitempty"`
	End         string  `json:"end,omitempty"`
	Ended       int64   `json:"ended,omitempty"`

	TTL     uint8       `json:"ttl"`
	Size    int         `json:"size"`
	Head    string      `json:"head"`
	Verdict string      `json:"verdict"`
	Route   int         `json:"route,omitempty"`
	Path    int         `json:"path,omitempty"`
	Hop     int         `json:"hop,omitempty"`
	Replies []jsonReply `json:"replies,omitempty"`
}

type jsonReply struct {
	From    string `json:"from"`
	Type    uint8  `json:"type"`
	Code    uint8  `json:"code"`
	Flags   uint8  `json:"flags,omitempty"`
	Corrupt string `json:"corrupt,omitempty"`
	Delay   int64  `json:"delay"`
	Written int64  `json:"written,omitempty"`
	Hold    int64  `json:"hold,omitempty"`
}

// MarshalJSON writes the packet as one line of the truth log: times are nanoseconds since the epoch,
// delay (programmed), hold (real), established and ended are nanoseconds from arrived, head is hexadecimal.
func (p Packet) MarshalJSON() ([]byte, error) {
	j := jsonPacket{
		Number: p.Number, Arrived: p.Arrived, Read: p.Read, Src: p.Src.String(), Dst: p.Dst.String(), Protocol: p.Protocol.String(), SrcPort: p.SrcPort, DstPort: p.DstPort,
		TTL: p.TTL, Size: p.Size, Head: hex.EncodeToString(p.Head[:min(p.Size, len(p.Head))]), Verdict: p.Verdict.String(),
		Route: p.Route, Path: p.Path, Hop: p.Hop,
	}
	switch p.Protocol {
	case ICMP:
		j.ID, j.Seq = &p.ID, &p.Seq
	case TCP:
		j.ISN, j.Retransmit, j.End = &p.ISN, p.Retransmit, p.End.String()
		if p.Established != 0 {
			j.Established = p.Established - p.ArrivedMono
		}
		if p.Ended != 0 {
			j.Ended = p.Ended - p.ArrivedMono
		}
	}
	for _, r := range p.Replies {
		line := jsonReply{From: r.From.String(), Type: r.Type, Code: r.Code, Flags: r.Flags, Corrupt: r.Corrupt.String(), Delay: r.Due - p.ArrivedMono}
		if r.WrittenMono != 0 {
			line.Written, line.Hold = r.Written, r.WrittenMono-p.ArrivedMono
		}
		j.Replies = append(j.Replies, line)
	}
	return json.Marshal(j)
}
