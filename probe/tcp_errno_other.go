//go:build !windows

package probe

import (
	"syscall"

	"prefix_exporter/prefix"
)

// dialErrors are the errors of connect(2) that are an answer.
var dialErrors = []struct {
	errno   syscall.Errno
	outcome prefix.Outcome
}{
	{syscall.ECONNREFUSED, prefix.Refused},
	{syscall.ECONNRESET, prefix.Reset},
	{syscall.ETIMEDOUT, prefix.Timeout},
	{syscall.EHOSTUNREACH, prefix.Unreachable},
	{syscall.EHOSTDOWN, prefix.Unreachable},
}

// noWay are the errors that a route, or its absence, makes of connect(2) and sendto(2): of a host or network without
// one; of the types unreachable, prohibit and blackhole (ip-route(8)); of an address family without addresses.
var noWay = []syscall.Errno{syscall.ENETUNREACH, syscall.EHOSTUNREACH, syscall.EACCES, syscall.EINVAL, syscall.EADDRNOTAVAIL}

// accessDenied is also what a socket gets that may not send to a broadcast address (SO_BROADCAST, socket(7)).
const accessDenied = syscall.EACCES

// allowBroadcast sets SO_BROADCAST.
func allowBroadcast(fd uintptr, allow bool) error {
	value := 0
	if allow {
		value = 1
	}
	return syscall.SetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_BROADCAST, value)
}
