#!/usr/bin/env bash
# Makes the pictures of the live page: of an exporter that has probed the lively lab for two minutes, when the
# line of one prefix is cut, and of one that has forty prefixes. Needs what the lab needs (docs/lab.md), and Chromium.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

go build -o "$scratch/" ./cmd/prefix_exporter ./lab/netsim/cmd/netsim ./lab/e2e/pictures
# The browser runs inside the lab, too, where there is no network but the simulated one.
# pictures LAB CONFIGURATION SET
pictures() {
	"$scratch/netsim" "$1" -- bash -euc '
		"$0/prefix_exporter" --config.file="$1" --log.level=warn &
		exporter=$!
		trap "kill $exporter; wait $exporter" EXIT
		sleep 120
		"$0/pictures" --dir=docs/pictures --set="$2"
	' "$scratch" "$2" "$3"
}
pictures lab/netsim/testdata/lively.yml docs/pictures/lively.yml lively
pictures docs/pictures/forty_lab.yml docs/pictures/forty.yml forty
