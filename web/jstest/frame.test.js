// The binary messages of /api/v1/frames.

import { test } from "node:test";
import assert from "node:assert/strict";
import { eachCode, parse, parseLayout, parsePlaces } from "../assets/frame.js";

const BODY = [
  1, 0, 1, 0, 2, 0, 7, 0, 8, 1, // series 1, dense: 7, 264
  2, 0, 2, 0, 1, 0, 200, 9, 0, // series 2, sparse: place 200 is 9
  3, 0, 3, 0, 2, 0, 1, 5, 0, 0, 6, 0, // series 3, runs: two of 5, one of 6
];

/** A message with one chunk of each encoding, in which change has altered some bytes. */
function message(change = (bytes) => bytes) {
  const bytes = [0x50, 0x58, 0x46, 1, 3, 2, 0, 0, 1, 2, 0, 0, 0, 0, 0, 0, 9, 0, 0, 0, BODY.length, 0, 0, 0, ...BODY];
  return Uint8Array.from(change(bytes)).buffer;
}

const set = (index, value) => (bytes) => bytes.with?.(index, value) ?? bytes.map((b, i) => (i === index ? value : b));

function codes(body) {
  const all = [];
  eachCode(body, (...code) => all.push(code));
  return all;
}

test("every encoding of a frame is read", () => {
  const { type, flags, sequence, revision, body } = parse(message());
  assert.deepEqual([type, flags, sequence, revision], [3, 2, 513, 9]);
  assert.deepEqual(codes(body), [[1, 0, 7], [1, 1, 264], [2, 200, 9], [3, 0, 5], [3, 1, 5], [3, 2, 6]]);
});

test("what is no message is refused with what is wrong", () => {
  for (const [buffer, want] of [
    [new ArrayBuffer(3), "frame: 3 bytes: must be at least 24"],
    [message(set(0, 0)), "frame: does not begin with PXF"],
    [message(set(3, 2)), "frame: version 2: must be 1; load the page again"],
    [message((m) => m.slice(0, -1)), "frame: body of 30 bytes: must be 31"],
  ]) {
    assert.throws(() => parse(buffer), { message: want });
  }
});

test("a body with an unknown encoding, or one that ends too early, is refused", () => {
  assert.throws(() => codes(parse(message(set(26, 4))).body), { message: "frame: encoding 4: must be 1, 2 or 3" });
  assert.throws(() => codes(new DataView(Uint8Array.from(BODY.slice(0, -1)).buffer)), RangeError);
});

test("a layout is JSON in UTF-8", () => {
  const view = (text) => new DataView(new TextEncoder().encode(text).buffer);
  assert.deepEqual(parseLayout(view('{"name": "Zürich"}')), { name: "Zürich" });
  assert.throws(() => parseLayout(new DataView(Uint8Array.from([0x22, 0xff, 0x22]).buffer)), TypeError);
});

test("places are written as ranges", () => {
  const flags = parsePlaces("1-3,7,254-255");
  assert.deepEqual([...flags.keys()].filter((i) => flags[i]), [1, 2, 3, 7, 254, 255]);
  assert.equal(parsePlaces("").includes(1), false);
});
