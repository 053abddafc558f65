#!/usr/bin/env bash
# Makes landing.png: the page of an exporter that has probed the lively lab for 130 s, when the line of one
# prefix is cut. Needs what the lab needs (docs/lab.md), and Chromium.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

go build -o "$scratch/" ./cmd/prefix_exporter ./netsim/cmd/netsim
# The browser runs inside the lab, too, where there is no network but the simulated one.
"$scratch/netsim" netsim/testdata/lively.yml -- bash -euc '
	"$0/prefix_exporter" --config.file=docs/pictures/lively.yml --log.level=warn &
	sleep 130
	chromium --headless --no-sandbox --disable-gpu --disable-quic --no-first-run \
		--disable-background-networking --disable-component-update --disable-sync \
		--user-data-dir="$0/profile" --hide-scrollbars --window-size=640,415 --force-device-scale-factor=2 \
		--screenshot=docs/pictures/landing.png http://127.0.0.1:10240/ 2>"$0/chromium.log" || { cat "$0/chromium.log"; exit 1; }
	kill %1
	wait %1
' "$scratch"
