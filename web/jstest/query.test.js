// The search box: docs/page.md has its grammar.

import { test } from "node:test";
import assert from "node:assert/strict";
import { matchBlock, parseQuery, soleAddress } from "../assets/query.js";
import { Model } from "../assets/model.js";

/** An IPv4 and an IPv6 block, of which nothing has been measured. */
function model() {
  const m = new Model();
  m.layout({
    revision: 1, scale: { first: 64, min_seconds: 1e-6, ratio: 1.000275 },
    prefixes: [
      { prefix: "192.0.2.0/24", name: "PAR-1", router: "PA2", tenants: ["team-a"], labels: { site: "paris", Rack: "B7" }, size: 256, places: "0-254", names: { 10: "mail server" } },
      { prefix: "2001:db8::/120", name: "LAB", router: "NY1", tenants: [], labels: {}, size: 4, places: "1-3", names: {}, ips: ["", "2001:db8::1", "2001:db8::2", "2001:db8::3"] },
    ],
    series: [{ prefix: 0, probe: "icmp", port: 0 }, { prefix: 1, probe: "icmp", port: 0 }],
  });
  return m;
}

/** How many addresses of each block a search means, and what was not understood. */
function search(m, text) {
  const { terms, problems } = parseQuery(text);
  const hits = m.blocks.map((block) => {
    const hit = matchBlock(terms, block);
    return hit === null ? "none" : hit === true ? "all" : hit.reduce((a, v) => a + v, 0);
  });
  return [...hits, ...problems];
}

const ONE_OF = "must be one of up, ok, slow, red, error, lost, down, dark, rejected, no_route, unknown, waiting, trouble";

test("a search means what docs/page.md says", () => {
  const m = model();
  for (const [text, ...want] of [
    ["", "all", "all"],
    ["par", "all", "none"],
    ["mail", 1, "none"],
    ['"mail server"', 1, "none"],
    ['name:"mail s"', 1, "none"],
    ["router:ny", "none", "all"],
    ["-router:ny", "all", "none"],
    ["tenant:team-a", "all", "none"],
    ["site:paris", "all", "none"],
    ["label:site=par", "all", "none"],
    ["rack:b7", "all", "none"],
    ["192.0.2.0/25", 128, "none"],
    ["192.0.2.255", "none", "none"], // not configured
    ["192.0.0.0/16", "all", "none"],
    ["2001:db8::2", "none", 1],
    ["2001:db8::2/127", "none", 2],
    ["state:waiting -mail", 254, 3],
    ["par 192.0.2.0/30", 4, "none"],
    // What every object of the language has is no label and no state.
    ["constructor:o", "none", "none"],
    ["state:constructor", "none", "none", `state:constructor: ${ONE_OF}`],
    ["state:gone", "none", "none", `state:gone: ${ONE_OF}`],
    ["ip:nonsense", "none", "none", "ip:nonsense: must be an address or a prefix such as 192.0.2.0/25"],
  ]) {
    assert.deepEqual(search(m, text), want, text);
  }
});

test("a state is that of the newest code", () => {
  const m = model();
  const sparse = (series, ...codes) => [series, 0, 2, 0, codes.length, 0, ...codes.flatMap(([place, code]) => [place, code & 255, code >> 8])];
  m.full(1000, new DataView(Uint8Array.from(sparse(0, [1, 5000], [2, 1], [3, 17], [4, 22], [5, 33], [6, 34], [7, 48])).buffer));
  m.setReferences("nominal", new DataView(new ArrayBuffer(0)));
  for (const [text, want] of [
    ["state:up", 2], ["state:ok", 1], ["state:lost", 1], ["state:down", 2], ["state:dark", 2], ["state:rejected", 1], ["state:no_route", 1], ["state:unknown", 1], ["state:error", 1], ["state:waiting", 248], ["state:trouble", 4],
  ]) {
    assert.deepEqual(search(m, `${text} 192.0.2.0/24`), [want, "none"], text);
  }
});

test("a search that is one address and nothing else goes there", () => {
  assert.deepEqual([" 192.0.2.7 ", "2001:db8::2", "192.0.2.0/25", "192.0.2.7 par", ""].map(soleAddress), ["192.0.2.7", "2001:db8::2", "", "", ""]);
});
