package web

import (
	"bytes"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"fmt"
	"io/fs"
	"net/http"
	pathpkg "path"
	"time"
)

// files is the client: modules, styles and the page itself, as they are in the folder.
//
//go:embed all:assets
var files embed.FS

// index is the page. It is the same for all paths at which a picture of it can be found again.
const index = "assets/index.html"

// types are what a browser has to be told of each file. The system's own table of types is
// not asked: it differs from machine to machine, and modules of a wrong type are not run.
var types = map[string]string{
	".css":         "text/css; charset=utf-8",
	".html":        "text/html; charset=utf-8",
	".ico":         "image/vnd.microsoft.icon",
	".js":          "text/javascript; charset=utf-8",
	".json":        "application/json",
	".map":         "application/json",
	".md":          "text/plain; charset=utf-8",
	".mjs":         "text/javascript; charset=utf-8",
	".png":         "image/png",
	".svg":         "image/svg+xml",
	".txt":         "text/plain; charset=utf-8",
	".webmanifest": "application/manifest+json",
	".woff2":       "font/woff2",
}

// asset is one file of the client.
type asset struct {
	name, contentType, tag string
	data                   []byte
}

// assets are the files by their path below /.
type assets map[string]*asset

// newAssets reads all files.
func newAssets() (assets, error) {
	all := assets{}
	err := fs.WalkDir(files, "assets", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		data, err := files.ReadFile(path)
		if err != nil {
			return err
		}
		sum := sha256.Sum256(data)
		f := &asset{name: path, contentType: types[pathpkg.Ext(path)], tag: `"` + hex.EncodeToString(sum[:12]) + `"`, data: data}
		if f.contentType == "" {
			f.contentType = "application/octet-stream"
		}
		all["/"+path] = f
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("assets: %w", err)
	}
	if all["/"+index] == nil {
		return nil, fmt.Errorf("assets: %s is missing", index)
	}
	return all, nil
}

// page serves the page itself.
func (a assets) page(w http.ResponseWriter, r *http.Request) { a["/"+index].serve(w, r) }

// file serves what the page needs.
func (a assets) file(w http.ResponseWriter, r *http.Request) {
	f := a[r.URL.Path]
	if f == nil {
		http.NotFound(w, r)
		return
	}
	f.serve(w, r)
}

// serve sends the file, or says that the browser has it already. A file keeps its name from
// version to version, so a browser has to ask each time, which costs a few bytes.
func (f *asset) serve(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("Content-Type", f.contentType)
	h.Set("Cache-Control", "no-cache")
	h.Set("ETag", f.tag)
	http.ServeContent(w, r, f.name, time.Time{}, bytes.NewReader(f.data))
}
