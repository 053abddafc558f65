// Layouts and seconds go in; classes, counts and sums come out.

import { test } from "node:test";
import assert from "node:assert/strict";
import { Model } from "../assets/model.js";
import { CLASSES } from "../assets/severity.js";

const SCALE = { first: 64, min_seconds: 1e-6, ratio: 2 ** (26 / 65471) };
const PREFIX = { name: "", router: "", tenants: [], labels: {}, size: 256, places: "0-255", names: {} };

function layout(...prefixes) {
  return {
    revision: 1, scale: SCALE,
    prefixes: prefixes.map((prefix) => ({ ...PREFIX, ...(typeof prefix === "string" ? { prefix } : prefix) })),
    series: prefixes.map((_, i) => ({ prefix: i, probe: "icmp", port: 0 })),
  };
}

/** A body with one chunk: the codes of some places of a series. */
function body(series, codes) {
  const entries = Object.entries(codes);
  return new DataView(Uint8Array.from([series, 0, 2, 0, entries.length, 0, ...entries.flatMap(([place, code]) => [place, code & 255, code >> 8])]).buffer);
}

const classes = (series, ...places) => places.map((place) => CLASSES[series.classes[place]]);

test("nothing is green before there is something to compare with", () => {
  const m = new Model();
  m.layout(layout("192.0.2.0/24"));
  const code = m.scale.code(0.01);
  m.full(1000, body(0, { 7: code, 8: 17 }));
  assert.deepEqual(classes(m.series[0], 6, 7, 8), ["waiting", "waiting", "down"]);
  assert.equal(m.compared, false);
  m.setReferences("nominal", body(0, { 7: m.scale.code(0.002) }));
  assert.deepEqual(classes(m.series[0], 6, 7, 8), ["waiting", "slow2", "down"]);
  assert.equal(m.compared, true);
});

test("a second changes what it speaks of, and its sums begin again", () => {
  const m = new Model();
  m.layout(layout("192.0.2.0/24"));
  m.setReferences("nominal", body(0, {}));
  const code = m.scale.code(0.01);
  m.full(1000, body(0, { 1: code, 2: code, 3: 33 }));
  const [kind] = m.kinds;
  assert.deepEqual(kind.states, { up: 2, down: 0, dark: 1, unknown: 0, waiting: 253 });
  m.second(1001, body(0, { 1: code, 2: 17, 3: 33 }));
  assert.deepEqual([kind.states.up, kind.states.down, kind.answered, kind.lost], [1, 1, 1, 1], "a dark address has nothing to lose");
  assert.ok(Math.abs(kind.sum / 0.01 - 1) < 0.001);
  m.second(1002, body(0, { 2: 48 }));
  assert.deepEqual([kind.states.down, kind.states.unknown, kind.answered, kind.lost], [0, 1, 0, 0]);
  assert.deepEqual(classes(m.series[0], 1, 2, 3), ["ok", "unknown", "dark"]);
});

test("what changed is to be drawn, and nothing else", () => {
  const m = new Model();
  m.layout(layout("192.0.2.0/24"));
  m.setReferences("nominal", body(0, {}));
  m.full(1000, body(0, { 1: 5000, 2: 33 }));
  const [block] = m.blocks;
  block.dirty.fill(0);
  block.changed = block.stale = false;
  m.second(1001, body(0, { 1: 5001 }));
  assert.equal(block.changed, false, "another RTT of the same class");
  m.second(1002, body(0, { 1: 1, 2: 34 }));
  assert.deepEqual([block.changed, block.dirty[1], block.dirty[2], block.dirty[3]], [true, 1, 1, 0], "a loss, and somebody who now rejects");
});

test("the RTT before the newest one can be compared with", () => {
  const m = new Model();
  m.layout(layout("192.0.2.0/24"));
  m.compareWith("last");
  const at = (seconds) => body(0, { 7: m.scale.code(seconds) });
  m.second(1000, at(0.01));
  m.second(1001, at(0.05));
  assert.deepEqual(classes(m.series[0], 7), ["slow2"]);
  assert.ok(Math.abs(m.referenceSeconds(m.series[0], 7) / 0.01 - 1) < 0.001);
});

test("a reload keeps what is known of the addresses that stay", () => {
  const m = new Model();
  m.layout(layout("192.0.2.0/24", "198.51.100.0/24"));
  m.setReferences("nominal", body(1, { 7: 3000 }));
  m.full(1000, body(1, { 7: 5000, 8: 17 }));
  m.layout(layout({ prefix: "198.51.100.0/24", places: "0-7" }, "203.0.113.0/24"));
  assert.equal(m.series[0].codes[7], 5000);
  assert.equal(m.series[0].codes[8], 0, "it is no longer probed");
  assert.equal(m.series[0].references.get("nominal")[7], 3000);
  assert.equal(m.series[1].codes.some(Boolean), false);
});

test("an address is found however it is written", () => {
  const m = new Model();
  m.layout(layout({ prefix: "192.0.2.0/24", places: "0-254" }, { prefix: "2001:db8::/120", size: 3, places: "1-2", ips: ["", "2001:db8::1", "2001:db8::2"] }));
  const found = (ip) => {
    const hit = m.find(ip);
    return hit && [hit.block.prefix, hit.place, hit.block.label(hit.place)];
  };
  assert.deepEqual(found("192.0.2.7"), ["192.0.2.0/24", 7, ".7"]);
  assert.deepEqual(found("2001:DB8:0::2"), ["2001:db8::/120", 2, ":2"]);
  for (const ip of ["192.0.2.255", "192.0.3.1", "2001:db8::3", "nonsense"]) {
    assert.equal(found(ip), null, ip);
  }
});

test("blocks are sorted by the worst", () => {
  const m = new Model();
  m.layout(layout("192.0.2.0/24", "198.51.100.0/24"));
  m.setReferences("nominal", body(0, {}));
  m.full(1000, body(1, { 1: 17, 2: 48 }));
  assert.deepEqual(m.blocks.map((b) => b.severity), [0, 15]);
});
