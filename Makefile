# What one runs by hand; docs/develop.md has more. `make` is `make check`.

export GOFLAGS := -buildvcs=false

.PHONY: check timed all bench pictures

# Before each commit: format, vet, the linter where it is installed, all tests that need neither root nor time.
check:
	@unformatted=$$(gofmt -l .); [ -z "$$unformatted" ] || { echo "not formatted:" $$unformatted >&2; exit 1; }
	go vet ./...
	@if command -v golangci-lint >/dev/null; then golangci-lint run ./...; else echo "golangci-lint is not installed: the linter is left out"; fi
	go test ./...

# What sends real packets, starts real programs and browsers, on an otherwise idle machine. Best as root.
timed:
	go run ./lab/e2e/tools/cmd/tools
	PREFIX_EXPORTER_TEST_TIMED=1 go test -p 1 -count=1 -timeout 30m ./probe ./cmd/... ./lab/...

# Everything that has to hold before a change is taken. Debian 12 and root; installs what it lacks.
all:
	.ci/run

# The program beside the floor and other tools, in turns. Linux and root.
bench:
	go run ./lab/bench/compare --ratio

# The pictures of the documentation. Linux, root and Chromium.
pictures:
	docs/pictures/make.sh
