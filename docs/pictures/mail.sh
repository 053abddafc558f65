#!/usr/bin/env bash
# Makes mail-phone.png: the HTML mail about the alerts in mail.json, as a phone shows it. Needs amtool
# (https://github.com/prometheus/alertmanager) and Chromium, and only reads files.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

# A window is 500 px wide at least, a phone 390: so the mail stands in a frame of that width.
TZ=Europe/Paris amtool template render --template.glob='../../alertmanager/templates/*.tmpl' --template.type=html \
	--template.data=mail.json --template.text='{{ template "prefix.html" . }}' >"$scratch/mail.html"
echo '<!doctype html><body style="margin:0"><iframe src="mail.html" style="border:0;width:390px;height:800px">' >"$scratch/phone.html"
chromium --headless=new --no-sandbox --disable-gpu --hide-scrollbars --window-size=390,800 \
	--screenshot="$PWD/mail-phone.png" "file://$scratch/phone.html"
