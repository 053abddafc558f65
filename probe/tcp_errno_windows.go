package probe

import (
	"syscall"

	"golang.org/x/sys/windows"

	"prefix_exporter/prefix"
)

// dialErrors are the errors of ConnectEx that are an answer.
var dialErrors = []struct {
	errno   syscall.Errno
	outcome prefix.Outcome
}{
	{windows.WSAECONNREFUSED, prefix.Refused},
	{windows.WSAECONNRESET, prefix.Reset},
	{windows.WSAETIMEDOUT, prefix.Timeout},
	{windows.WSAEHOSTUNREACH, prefix.Unreachable},
	{windows.WSAEHOSTDOWN, prefix.Unreachable},
	// The system's own names for the same, which ConnectEx completes with.
	{windows.ERROR_CONNECTION_REFUSED, prefix.Refused},
	{windows.ERROR_HOST_UNREACHABLE, prefix.Unreachable},
	{windows.ERROR_SEM_TIMEOUT, prefix.Timeout},
}

// noWay are the errors of a destination to which there is no way.
var noWay = []syscall.Errno{windows.WSAENETUNREACH, windows.WSAEHOSTUNREACH, windows.WSAEACCES, windows.WSAEINVAL, windows.WSAEADDRNOTAVAIL, windows.ERROR_NETWORK_UNREACHABLE}

// accessDenied is also what a socket gets that may not send to a broadcast address.
const accessDenied = windows.WSAEACCES

// allowBroadcast sets SO_BROADCAST.
func allowBroadcast(fd uintptr, allow bool) error {
	value := 0
	if allow {
		value = 1
	}
	return windows.SetsockoptInt(windows.Handle(fd), windows.SOL_SOCKET, windows.SO_BROADCAST, value)
}
