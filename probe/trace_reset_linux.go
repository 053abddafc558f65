package probe

import (
	"slices"

	"golang.org/x/sys/unix"

	"prefix_exporter/packet"
)

// reset ends a connection that a SYN has begun on the other side, where the kernel cannot: its reset of what it does
// not know of leaves by the routing table, whatever interface the segment has come by. A connection that is
// left half open keeps the place of the next SYN of the same flow, which is then not answered.
func (t *tracer) reset(s *traceSocket, in reception, n packet.Name) {
	if s.key.device == "" || !in.at.IsValid() ||
		!slices.ContainsFunc(t.byAddr[in.from], func(r *trail) bool { return r.socket == s && r.constant() == n.Constant }) {
		return
	}
	b := make([]byte, packet.ResetLen)
	packet.PutReset(b, s.port, uint16(n.Constant), n.Own, packet.Pseudo(in.at, in.from, s.protocol, len(b)))
	// Without a transmit stamp, which would be taken for that of a probe.
	control := appendControl(make([]byte, 0, outControlLen), unix.SOL_SOCKET, unix.SO_TIMESTAMPING, 0)
	_, _ = unix.SendmsgN(s.fd, b, appendSource(control, in.at), sockaddr(in.from, 0, s.index), 0) // the next one may get through
}
