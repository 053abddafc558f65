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
