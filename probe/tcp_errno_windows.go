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
