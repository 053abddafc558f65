package config

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"prefix_exporter/file"
)

// What patterns may cost. A pattern that means more is a slip, such as /proc/*/*/*.
const (
	maxFound   = 4096   // files: sixteen times as many as there are /24s in a /16
	maxVisited = 16_384 // names that are compared with patterns
)

// finder finds the files that patterns mean. Unlike filepath.Glob it reports folders that it could not read, and
// leaves hidden files to patterns that begin with a dot, as a shell does: files that an editor or a tool is still
// writing are mostly hidden.
type finder struct {
	ctx            context.Context
	problems       *problems
	found, visited int
}

// find returns what a pattern means, found from dir, sorted. A pattern may match nothing; a plain path is
// returned whether it exists or not.
func (f *finder) find(dir string, pattern *item[string]) []string {
	path := filepath.FromSlash(pattern.value)
	if _, err := filepath.Match(path, ""); err != nil {
		f.problems.add(&pattern.at, pattern.text, "must be a path or a pattern of *, ? and […]: %s", reason(err))
		return nil
	}
	if filepath.IsAbs(path) {
		dir = filepath.VolumeName(path) + string(filepath.Separator)
		path = path[len(dir):]
	}
	if !hasMeta(path) {
		f.found++
		return []string{filepath.Join(dir, path)}
	}
	found := f.walk(dir, strings.Split(filepath.Clean(path), string(filepath.Separator)), pattern, true)
	slices.Sort(found)
	return found
}

// walk returns what a pattern means below base, which is a folder or, if it is sure, ought to be one.
func (f *finder) walk(base string, parts []string, pattern *item[string], sure bool) (found []string) {
	for len(parts) > 0 && !hasMeta(parts[0]) {
		base, parts = filepath.Join(base, parts[0]), parts[1:]
	}
	if len(parts) == 0 {
		if f.exists(base, pattern) {
			f.found++
			return []string{base}
		}
		return nil
	}
	names, err := file.List(base, maxVisited)
	switch {
	case errors.Is(err, fs.ErrNotExist) && !dangles(base), errors.Is(err, file.ErrNotFolder) && !sure:
		return nil
	case err != nil:
		f.problems.add(&pattern.at, pattern.text, "cannot look into %s: %s", base, reason(err))
		return nil
	}
	if f.visited += len(names); f.visited > maxVisited {
		f.problems.add(&pattern.at, pattern.text, "looks at too many names: prefix_files must be compared with at most %d", maxVisited)
		return nil
	}
	for _, name := range names {
		if f.over() {
			return found
		}
		if !matches(parts[0], name.Name()) {
			continue
		}
		path := filepath.Join(base, name.Name())
		switch {
		case len(parts) == 1:
			f.found++
			found = append(found, path)
		case f.isFolder(path, name, pattern):
			found = append(found, f.walk(path, parts[1:], pattern, false)...)
		}
	}
	return found
}

func (f *finder) over() bool {
	return f.found > maxFound || f.visited > maxVisited || f.problems.full() || f.ctx.Err() != nil
}

// exists says whether a path behind a pattern is there, or notes that this cannot be told.
func (f *finder) exists(path string, pattern *item[string]) bool {
	_, err := os.Lstat(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		f.problems.add(&pattern.at, pattern.text, "cannot look for %s: %s", path, reason(err))
	}
	return err == nil
}

// isFolder says whether a name that matches is a folder, or notes that this cannot be told. A link to nowhere
// may be one whose folder is not mounted.
func (f *finder) isFolder(path string, name fs.DirEntry, pattern *item[string]) bool {
	if name.Type()&fs.ModeSymlink == 0 {
		return name.IsDir()
	}
	info, err := os.Stat(path)
	if err != nil {
		f.problems.add(&pattern.at, pattern.text, "cannot look into %s: %s", path, reason(err))
		return false
	}
	return info.IsDir()
}

// dangles says whether a path that is not there is a link to nowhere.
func dangles(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}

// hasMeta says whether a path is a pattern (filepath.Match).
func hasMeta(path string) bool { return strings.ContainsAny(path, "*?[") }

// matches says whether a name is what one part of a pattern means.
func matches(part, name string) bool {
	if strings.HasPrefix(name, ".") && !strings.HasPrefix(strings.TrimPrefix(part, `\`), ".") {
		return false
	}
	ok, err := filepath.Match(part, name)
	return ok && err == nil
}
