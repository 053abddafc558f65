package config

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// loader reads the files of one configuration.
type loader struct {
	decoder  *decoder
	problems *problems
	confined bool // prefix files outside the folder of the main file are refused
	files    []string
}

func newLoader(confined bool) *loader {
	p := &problems{}
	return &loader{decoder: &decoder{schema: newSchema(), problems: p}, problems: p, confined: confined}
}

// load reads and validates the main file and what it names.
func (l *loader) load(path string) (*Config, error) {
	data, err := readFile(path)
	if err != nil {
		return nil, fmt.Errorf("reading the configuration: %w", err)
	}
	return l.parse(path, data)
}

// parse validates the main file and what it names.
func (l *loader) parse(path string, data []byte) (*Config, error) {
	l.files = append(l.files, path)
	doc := l.decoder.main(path, data)
	entries := doc.entries
	for _, pattern := range doc.files {
		for _, file := range l.match(filepath.Dir(path), pattern) {
			data, err := readPart(file)
			if err != nil {
				l.problems.add(pattern.at, file, "cannot be read: %s", reason(err))
				continue
			}
			l.files = append(l.files, file)
			entries = append(entries, l.decoder.list(file, data, &doc.defaults)...)
		}
	}
	check(l.problems, doc, entries)
	if err := l.problems.err(); err != nil {
		return nil, err
	}
	return doc.convert(entries, l.files), nil
}

// match returns the files that a pattern of prefix_files means and that were not read
// yet. As in Prometheus, a pattern may match nothing, a plain path must exist.
func (l *loader) match(dir string, pattern item[string]) []string {
	path := filepath.FromSlash(pattern.value)
	if l.confined && !filepath.IsLocal(path) {
		l.problems.add(pattern.at, pattern.text, "must be inside the folder of the configuration file")
		return nil
	}
	if !filepath.IsAbs(path) {
		path = filepath.Join(dir, path)
	}
	found := []string{path}
	if strings.ContainsAny(pattern.value, "*?[") {
		var err error
		if found, err = filepath.Glob(path); err != nil {
			l.problems.add(pattern.at, pattern.text, "must be a path or a pattern of *, ? and […]: %s", reason(err))
			return nil
		}
	}
	slices.Sort(found)
	return slices.DeleteFunc(found, func(file string) bool { return slices.Contains(l.files, file) })
}

// readPart reads a prefix file. Only a regular file will do: a pipe or a device that
// a pattern happens to match could block for ever.
func readPart(path string) ([]byte, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, errors.New("not a regular file")
	}
	return readFile(path)
}

// readFile reads at most one byte more than a file may have.
func readFile(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, maxFileSize+1))
}

// reason returns an error without the path, which stands beside it anyway.
func reason(err error) string {
	if pathErr := (*fs.PathError)(nil); errors.As(err, &pathErr) {
		return pathErr.Err.Error()
	}
	return err.Error()
}
