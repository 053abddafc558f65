package config

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"

	"prefix_exporter/file"
)

// ReadError says why the main file could not be read.
type ReadError struct {
	Path string
	Err  error
}

// Error names the file.
func (e *ReadError) Error() string {
	if e.Path == "" {
		return `configuration file "": ` + e.Err.Error()
	}
	return fmt.Sprintf("%s: cannot be read: %s", oneLine(e.Path), reason(e.Err))
}

// Unwrap returns what the operating system said.
func (e *ReadError) Unwrap() error { return e.Err }

// loader reads the files of one configuration.
type loader struct {
	ctx      context.Context
	decoder  *decoder
	problems *problems
	confined bool // prefix files outside the folder of the main file are refused
	files    []string
	size     int // of all files, in bytes

	doc     *document
	entries []*entry
}

func newLoader(ctx context.Context, confined bool) *loader {
	p := &problems{}
	return &loader{ctx: ctx, decoder: &decoder{ctx: ctx, schema: newSchema(), problems: p}, problems: p, confined: confined}
}

// load reads and validates the main file and what it names.
func (l *loader) load(path string) (*Config, error) {
	if path == "" {
		return nil, &ReadError{path, errors.New("must be the name of a file")}
	}
	data, err := file.Read(path, maxFileSize)
	if err != nil {
		return nil, &ReadError{path, err}
	}
	return l.parse(path, data)
}

// read reads the main file from elsewhere, under a name for messages.
func (l *loader) read(name string, r io.Reader) (*Config, error) {
	data, err := io.ReadAll(io.LimitReader(r, maxFileSize+1))
	if err != nil {
		return nil, &ReadError{name, err}
	}
	return l.parse(name, data)
}

// parse validates the main file and what it names.
func (l *loader) parse(path string, data []byte) (*Config, error) {
	l.files, l.size = append(l.files, path), len(data)
	l.doc = l.decoder.main(path, data)
	l.entries, l.decoder.limit = l.doc.entries, l.doc.limits.PacketsPerSecond
	for _, part := range l.parts(filepath.Dir(path)) {
		if l.decoder.over() {
			break
		}
		l.readPart(part)
	}
	if !l.problems.full() {
		check(l.problems, l.decoder.enough, l.doc, l.entries)
	}
	if err := l.ctx.Err(); err != nil {
		return nil, &ReadError{path, err}
	}
	if err := l.problems.err(); err != nil {
		return nil, err
	}
	c := l.doc.convert(l.entries, l.files)
	if len(c.Blocks) == 0 {
		c.Warnings = append(c.Warnings, newError(fileAt(path), "", "nothing to probe: %s", l.emptiness()))
	}
	return c, nil
}

// emptiness says what was looked at when there is nothing to probe.
func (l *loader) emptiness() string {
	switch {
	case len(l.doc.files) == 0:
		return "the list of prefixes is empty"
	case len(l.files) == 1:
		return "the patterns of prefix_files match no file"
	}
	return fmt.Sprintf("the lists of prefixes are empty, those of %d prefix_files too", len(l.files)-1)
}

// partFile is one file that prefix_files means.
type partFile struct {
	path string
	by   *item[string]
}

// parts returns the files that prefix_files means, each once. All are found before one is read, so that
// a pattern that matches half of the disk costs nothing.
func (l *loader) parts(dir string) (all []partFile) {
	f := &finder{ctx: l.ctx, problems: l.problems}
	known := make(map[string]bool)
	for _, path := range l.files {
		known[path] = true
	}
	for i := range l.doc.files {
		pattern := &l.doc.files[i]
		if l.confined && !filepath.IsLocal(filepath.FromSlash(pattern.value)) {
			l.problems.add(&pattern.at, pattern.text, "must be inside the folder of the configuration file")
			continue
		}
		for _, path := range f.find(dir, pattern) {
			if !known[path] {
				known[path] = true
				all = append(all, partFile{path, pattern})
			}
		}
		if f.found > maxFound {
			l.problems.add(&pattern.at, pattern.text, "matches too many files: prefix_files must be at most %d files in all", maxFound)
			return nil
		}
	}
	return all
}

// readPart reads a list of prefixes.
func (l *loader) readPart(part partFile) {
	data, err := file.Read(part.path, maxFileSize)
	if err != nil {
		l.problems.add(&part.by.at, part.path, "cannot be read: %s", reason(err))
		return
	}
	if l.size += len(data); l.size > maxSize {
		l.problems.add(&part.by.at, part.path, "is too much: all files together must have at most %d bytes", maxSize)
		l.decoder.enough = true
		return
	}
	l.files = append(l.files, part.path)
	l.entries = append(l.entries, l.decoder.list(part.path, data, &l.doc.defaults)...)
}

// reason returns an error without the path, which stands beside it anyway.
func reason(err error) string {
	if pathErr := (*fs.PathError)(nil); errors.As(err, &pathErr) {
		return pathErr.Err.Error()
	}
	return err.Error()
}
