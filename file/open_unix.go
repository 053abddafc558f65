//go:build unix

package file

import "syscall"

// nonBlocking keeps open(2) from waiting for the other end of a pipe.
const nonBlocking = syscall.O_NONBLOCK
