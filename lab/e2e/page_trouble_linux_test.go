package e2e

import (
	"testing"

	"github.com/chromedp/chromedp/kb"
)

// troubleSource is an address that the machine has, until it has not.
const troubleSource = "10.99.0.1"

// troubleConfig sends to one of three prefixes from that address.
const troubleConfig = `
defaults: {tcp: off, trace: off}
prefixes:
  - {prefix: 192.0.2.0/24, name: PAR-1, nominal_rtt: 4ms, source: ` + troubleSource + `}
  - {prefix: 203.0.113.0/24, name: PAR-2, nominal_rtt: 4ms}
  - {prefix: 198.51.100.0/24, name: NYC-1, nominal_rtt: 20ms}
`

// TestPageTellsOfTrouble takes the exporter an address away from which it sends, as happens when an
// interface goes down: that is told of the prefix. Then the firewall of the machine refuses two of three prefixes:
// that is told of the prober.
func TestPageTellsOfTrouble(t *testing.T) {
	startLab(t, pageScenario)
	address(t, "add")
	e := startExporter(t, troubleConfig)
	b := startBrowser(t)
	b.open("/")
	b.untilClass(near, 9, pingHalf, "ok")
	b.untilClass(far, 9, pingHalf, "ok")
	// A machine that is busy may have other troubles.
	said := `(document.querySelector("#troubles").hidden ? "" : document.querySelector("#troubles [data-reason=send_error]")?.textContent ?? "")`
	b.until("nothing is said of it", said+` === ""`)

	address(t, "delete")
	// What could not be sent is neither an answer nor a loss: after a while nothing is known.
	for place := range 16 {
		b.untilClass(near, 9+place, pingHalf, "unknown")
	}
	b.untilClass(far, 9, pingHalf, "ok")
	b.until("one prefix is no trouble of the prober", said+` === ""`)
	address(t, "add")
	b.untilClass(near, 9, pingHalf, "ok")

	allow := refuse(t, "192.0.2.0/24", "203.0.113.0/24")
	b.until("the page says what is wrong, and why", `/^send_error: icmp: .* probes of .* could not be sent: EPERM: 192\.0\.2\.0\/24 and 1 more prefix \(\d+ s ago\) $/.test(`+said+`) || `+said)
	b.picture("trouble")
	b.untilClass(far, 9, pingHalf, "ok")
	b.open("/ip/198.51.100.9")
	b.until("so it does beside an address", said+` !== ""`)
	allow()

	// The exporter remembers it for two minutes; one that begins anew has no trouble.
	e.end()
	b.until("the connection is gone", `document.querySelector("#connection").dataset.state === "reconnecting"`)
	startExporter(t, troubleConfig)
	b.live()
	b.press(kb.Escape)
	b.untilClass(near, 9, pingHalf, "ok")
	b.until("the page says that it is over", said+` === ""`)
	b.quiet("ERR_CONNECTION_REFUSED", "WebSocket connection")
}

// address adds an address to the machine, or deletes it.
func address(t *testing.T, what string) {
	t.Helper()
	ip(t, "address", what, troubleSource+"/32", "dev", "lo")
}
