package netsim

import (
	"encoding/hex"
	"encoding/json"
)

// jsonPacket and jsonReply are a line of the truth log as docs/lab.md describes it.
type jsonPacket struct {
	Number  uint64      `json:"number"`
	Arrived int64       `json:"arrived"`
	Read    int64       `json:"read"`
	Src     string      `json:"src"`
	Dst     string      `json:"dst"`
	ID      uint16      `json:"id"`
	Seq     uint16      `json:"seq"`
	TTL     uint8       `json:"ttl"`
	Size    int         `json:"size"`
	Head    string      `json:"head"`
	Verdict string      `json:"verdict"`
	Replies []jsonReply `json:"replies,omitempty"`
}

type jsonReply struct {
	From    string `json:"from"`
	Type    uint8  `json:"type"`
	Code    uint8  `json:"code"`
	Corrupt string `json:"corrupt,omitempty"`
	Delay   int64  `json:"delay"`
	Written int64  `json:"written,omitempty"`
	Hold    int64  `json:"hold,omitempty"`
}

// MarshalJSON writes the packet as one line of the truth log: times are nanoseconds since the epoch,
// delay (programmed) and hold (real) are nanoseconds from arrived, head is hexadecimal.
func (p Packet) MarshalJSON() ([]byte, error) {
	j := jsonPacket{
		Number: p.Number, Arrived: p.Arrived, Read: p.Read, Src: p.Src.String(), Dst: p.Dst.String(), ID: p.ID, Seq: p.Seq,
		TTL: p.TTL, Size: p.Size, Head: hex.EncodeToString(p.Head[:min(p.Size, len(p.Head))]), Verdict: p.Verdict.String(),
	}
	for _, r := range p.Replies {
		line := jsonReply{From: r.From.String(), Type: r.Type, Code: r.Code, Corrupt: r.Corrupt.String(), Delay: r.Due - p.ArrivedMono}
		if r.WrittenMono != 0 {
			line.Written, line.Hold = r.Written, r.WrittenMono-p.ArrivedMono
		}
		j.Replies = append(j.Replies, line)
	}
	return json.Marshal(j)
}
