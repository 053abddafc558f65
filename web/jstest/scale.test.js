// What a code means: its RTT, state, cause and class.

import { test } from "node:test";
import assert from "node:assert/strict";
import { CLASSES, Scale, stepOf } from "../assets/severity.js";

const scale = new Scale({ first: 64, min_seconds: 1e-6, ratio: 2 ** (26 / 65471) });
const reference = scale.code(0.01);
const classOf = (code, against = reference) => CLASSES[scale.classify(code, against)];

test("an RTT survives its code to half a per mille", () => {
  for (const seconds of [1e-6, 3.3e-6, 0.000281, 0.01, 1, 60]) {
    const error = scale.seconds(scale.code(seconds)) / seconds - 1;
    assert.ok(Math.abs(error) < 0.0005, `${seconds} s: ${error}`);
  }
  assert.equal(scale.code(0), 0);
  assert.equal(scale.code(1e-9), 64); // below the scale: the smallest RTT
  assert.equal(scale.seconds(63), null);
});

test("an RTT has the class of its factor to the reference", () => {
  for (const [seconds, want] of [
    [0.001, "ok"], [0.0199, "ok"], [0.0201, "slow1"], [0.0399, "slow1"], [0.0401, "slow2"], [0.0799, "slow2"],
    [0.0801, "slow3"], [0.1599, "slow3"], [0.1601, "red"], [60, "red"],
  ]) {
    assert.equal(classOf(scale.code(seconds)), want, `${seconds} s`);
  }
  assert.equal(classOf(scale.code(1), 0), "ok", "nothing to compare with");
  assert.deepEqual([1, 2, 2.1, 16, 17].map((x) => CLASSES[stepOf(x)]), ["ok", "ok", "slow1", "slow3", "red"]);
});

test("by variation, an RTT has the class of its distance to the mean", () => {
  const variation = (seconds, ...against) => CLASSES[scale.classifyVariation(scale.code(seconds), ...against)];
  assert.equal(variation(0.013, scale.code(0.01), scale.code(0.001)), "slow1");
  assert.equal(variation(0.0075, scale.code(0.01), scale.code(0.001)), "slow1", "faster is as far away as slower");
  assert.equal(variation(0.013, 0, 0), "ok", "nothing to compare with");
  assert.equal(CLASSES[scale.classifyVariation(17, scale.code(0.01), scale.code(0.001))], "down");
});

test("a code without an RTT says how the address is, and what was measured", () => {
  for (const [code, state, cause, cls, ...marks] of [
    [0, "waiting", null, "waiting"],
    [1, "up", "timeout", "lost", "counts"],
    [2, "up", "unreachable", "error", "counts"],
    [4, "up", "refused", "error", "counts"],
    [6, "up", "no_route", "error", "counts"],
    [17, "down", "timeout", "down", "counts"],
    [18, "down", "unreachable", "error", "counts"],
    [22, "down", "no_route", "error", "counts"],
    [32, "dark", null, "dark"],
    [33, "dark", "timeout", "dark"],
    [34, "dark", "unreachable", "dark", "rejected"],
    [38, "dark", "no_route", "dark", "rejected"],
    [48, "unknown", null, "unknown"],
    [49, "unknown", "timeout", "unknown", "counts"],
    [54, "unknown", "no_route", "unknown", "counts"],
  ]) {
    const got = [code, scale.state(code), scale.result(code)?.cause ?? null, classOf(code)];
    if (scale.counts(code)) got.push("counts");
    if (scale.rejected(code)) got.push("rejected");
    assert.deepEqual(got, [code, state, cause, cls, ...marks]);
  }
  assert.deepEqual(scale.result(64), { rtt: 1e-6 });
});
