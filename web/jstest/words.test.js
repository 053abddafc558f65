// Numbers and causes as people read them.

import { test } from "node:test";
import assert from "node:assert/strict";
import * as format from "../assets/format.js";
import { because, explain, inShort, largest, obstacle, says } from "../assets/words.js";
import { Scale } from "../assets/severity.js";

const ROUTER = "198.51.100.1";

test("a number has three digits and a unit", () => {
  for (const [seconds, want] of [
    [null, "–"], [undefined, "–"], [0.0000012, "1.20 µs"], [0.0000999, "99.9 µs"], [0.000281, "281 µs"], [0.0009996, "1.00 ms"], [0.0123, "12.3 ms"], [0.9996, "1.00 s"], [12.34, "12.3 s"],
  ]) {
    assert.equal(format.rtt(seconds), want);
  }
  for (const [x, want] of [[null, "–"], [0, "0 %"], [0.0004, "0.04 %"], [0.005, "0.50 %"], [0.25, "25.0 %"], [0.9994, "99.9 %"], [1, "100 %"]]) {
    assert.equal(format.ratio(x), want);
  }
  assert.deepEqual([7, 1250, 10240, 1234567].map(format.count), ["7", "1\u202f250", "10\u202f240", "1\u202f234\u202f567"]);
  assert.deepEqual([2.34, 9.96, 16.4].map(format.factor), ["2.3×", "10×", "16×"]);
});

test("an age is said once it is no longer of now", () => {
  assert.deepEqual([[1000, 1009], [1000, 1010], [1000, 1060], [1000, 4600], [1000, 1000 + 2 * 86400], [null, 1010]].map(([then, now]) => format.age(then, now)),
    ["", "10 s ago", "1 min ago", "1 h ago", "2 d ago", ""]);
});

test("the state of an address is said with its cause, and with who says so", () => {
  for (const [probe, want] of [
    [{ state: "up" }, "up"],
    [{ state: "up", cause: "timeout" }, "up, the newest probe was lost: timeout"],
    [{ state: "up", obstacle: "ENOBUFS" }, "up, not measured now: cannot be sent (ENOBUFS)"],
    [{ state: "down", cause: "timeout" }, "down: timeout"],
    [{ state: "down", cause: "net unreachable", by: ROUTER }, "down: net unreachable, says 198.51.100.1"],
    [{ state: "down", cause: "host prohibited", by: "192.0.2.7" }, "down: host prohibited, says the address itself"],
    [{ state: "dark" }, "dark"],
    [{ state: "dark", cause: "timeout" }, "dark"],
    [{ state: "dark", cause: "administratively prohibited", by: ROUTER }, "dark: rejected: administratively prohibited, says 198.51.100.1"],
    [{ state: "unknown", obstacle: "interface_absent" }, "unknown: interface absent"],
    [{ state: "unknown", obstacle: "no_result" }, "unknown: no result yet"],
    [{ state: "dark", left_out: true }, "left out: broadcast address"],
  ]) {
    assert.equal(explain({ cause: "", by: null, obstacle: "", left_out: false, ...probe }, "192.0.2.7"), want);
  }
});

test("a code alone says its state and cause", () => {
  const scale = new Scale({ first: 64, min_seconds: 1e-6, ratio: 1.000275 });
  assert.deepEqual([64, 1, 17, 22, 32, 34, 48].map((code) => inShort(scale, code)),
    ["up", "lost: timeout", "down: timeout", "down: no route from the prober", "dark", "dark: rejected: unreachable", "unknown"]);
});

test("the largest cause of each kind is said, and how many others there are", () => {
  const cause = (count, detail, by = null) => ({ reason: "unreachable", detail, by, count });
  const causes = {
    down: [cause(1250, "net unreachable", ROUTER), cause(2, "timeout"), cause(1, "TTL exceeded", ROUTER)],
    rejected: [cause(3, "connection refused")],
    unknown: [{ reason: "ENODEV", count: 7 }],
  };
  assert.deepEqual(largest({ causes }).map(({ kind, text }) => `${kind}: ${text}`), [
    "down: 1\u202f250 down: net unreachable, says 198.51.100.1; 3 for other reasons", "unknown: 7 unknown: cannot be sent (ENODEV)", "rejected: 3 dark, rejected: connection refused",
  ]);
});

test("an event says its cause unless that goes without saying", () => {
  for (const [event, want] of [
    [{ type: "up", detail: "answered" }, ""],
    [{ type: "down", detail: "timeout", cause: "timeout" }, ""],
    [{ type: "down", detail: "no_route", cause: "no route from the prober" }, "no route from the prober"],
    [{ type: "down", detail: "unreachable", cause: "net unreachable", by: ROUTER }, "net unreachable, says 198.51.100.1"],
    [{ type: "down", detail: "ttl_exceeded" }, "TTL exceeded"],
    [{ type: "unknown" }, ""],
    [{ type: "unknown", detail: "offline" }, "the prober is offline"],
    [{ type: "route", detail: "hop 3 is new" }, "hop 3 is new"],
  ]) {
    assert.equal(because(event), want);
  }
  assert.equal(obstacle("something_new"), "something new");
  assert.equal(obstacle("constructor"), "constructor"); // what every object has is no obstacle
  assert.equal(says("timeout", null, "192.0.2.7"), "timeout");
});
