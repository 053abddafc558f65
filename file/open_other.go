//go:build !unix

package file

// nonBlocking is not needed where pipes have no names among the files.
const nonBlocking = 0
