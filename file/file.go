// Package file reads regular files and nothing else. A pipe, device or socket in the place of a
// file is an error at once; reading it could block for ever.
package file

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"time"
)

// ErrNotRegular says that a name stands for a folder, a pipe, a device or a socket.
var ErrNotRegular = errors.New("not a regular file")

// patience is how long a file may take that looks regular and is not on a disk: some of those below
// /proc wait for something to happen. Files on disks and over the network have no deadline.
const patience = 5 * time.Second

// Open opens a regular file for reading. It does not wait for a writer of a pipe, and returns
// an *fs.PathError around ErrNotRegular for anything else. It blocks as long as the
// file system does.
func Open(path string) (*os.File, error) {
	// Opening alone may have an effect on a device (a tape is rewound), so look first.
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, notRegular(path, info)
	}
	f, err := os.OpenFile(path, os.O_RDONLY|nonBlocking, 0)
	if err != nil {
		return nil, err
	}
	// Another file may have taken its name since: what counts is the file that is open.
	if info, err = f.Stat(); err == nil && !info.Mode().IsRegular() {
		err = notRegular(path, info)
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	_ = f.SetReadDeadline(time.Now().Add(patience)) // refused for what is on a disk, and not needed there
	return f, nil
}

// Read returns the content of a regular file, or the first most+1 bytes of a larger one.
func Read(path string, most int) ([]byte, error) {
	f, err := Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, int64(most)+1))
}

// notRegular names what a path stands for.
func notRegular(path string, info fs.FileInfo) error {
	what := "a device"
	switch mode := info.Mode(); {
	case mode.IsDir():
		what = "a folder"
	case mode&fs.ModeNamedPipe != 0:
		what = "a pipe"
	case mode&fs.ModeSocket != 0:
		what = "a socket"
	}
	return &fs.PathError{Op: "open", Path: path, Err: fmt.Errorf("%w, but %s", ErrNotRegular, what)}
}

// ErrNotFolder says that a name stands for something that holds no others.
var ErrNotFolder = errors.New("not a folder")

// List returns the names in a folder, in no order, or the first most+1 of more.
func List(path string, most int) ([]fs.DirEntry, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if !info.IsDir() {
		return nil, &fs.PathError{Op: "open", Path: path, Err: ErrNotFolder}
	}
	f, err := os.OpenFile(path, os.O_RDONLY|nonBlocking, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	names, err := f.ReadDir(most + 1)
	if errors.Is(err, io.EOF) { // of an empty folder
		err = nil
	}
	return names, err
}
