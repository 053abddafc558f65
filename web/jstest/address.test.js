// Addresses and prefixes as numbers.

import { test } from "node:test";
import assert from "node:assert/strict";
import { addressAt, contains, overlaps, parseAddress, parsePrefix } from "../assets/address.js";

test("an address is read in all its spellings", () => {
  for (const [text, want] of Object.entries({
    "192.0.2.7": { bits: 32, value: 0xc0000207n },
    "0.0.0.0": { bits: 32, value: 0n },
    "255.255.255.255": { bits: 32, value: 0xffffffffn },
    "::": { bits: 128, value: 0n },
    "::1": { bits: 128, value: 1n },
    "2001:DB8::7": { bits: 128, value: (0x20010db8n << 96n) | 7n },
    "2001:db8:0:0:0:0:0:7": { bits: 128, value: (0x20010db8n << 96n) | 7n },
    "1:2:3:4:5:6:7::": { bits: 128, value: 0x00010002000300040005000600070000n },
  })) {
    assert.deepEqual(parseAddress(text), want, text);
  }
});

test("what is no address is none", () => {
  for (const text of ["", "192.0.2", "192.0.2.256", "192.0.2.7.1", "192.0.2.-1", "192.0.2.x", " 192.0.2.7", ":", ":::", "1::2::3", "1:2:3:4:5:6:7:8:9", "1:2:3:4:5:6:7::8:9", "2001:db8::g", "12345::"]) {
    assert.equal(parseAddress(text), null, text);
  }
});

test("a prefix has its host bits cleared, and an address is one of full length", () => {
  for (const [text, length, value] of [
    ["192.0.2.77/24", 24, 0xc0000200n], ["192.0.2.77", 32, 0xc000024dn], ["0.0.0.0/0", 0, 0n], ["2001:db8::7/126", 126, (0x20010db8n << 96n) | 4n],
  ]) {
    const { length: gotLength, value: gotValue } = parsePrefix(text);
    assert.deepEqual([gotLength, gotValue], [length, value], text);
  }
  for (const text of ["192.0.2.0/33", "192.0.2.0/", "192.0.2.0/x", "2001:db8::/129", "x/24"]) {
    assert.equal(parsePrefix(text), null, text);
  }
});

test("a prefix holds its addresses, and no others", () => {
  const prefix = parsePrefix("192.0.2.64/26");
  for (const [text, want] of [["192.0.2.64", true], ["192.0.2.127", true], ["192.0.2.128", false], ["192.0.2.63", false], ["::c000:240", false]]) {
    assert.equal(contains(prefix, parseAddress(text)), want, text);
  }
});

test("prefixes overlap if one holds the other", () => {
  for (const [a, b, want] of [
    ["192.0.2.0/24", "192.0.2.128/25", true], ["192.0.2.128/25", "192.0.2.0/24", true], ["192.0.2.0/25", "192.0.2.128/25", false], ["0.0.0.0/0", "::/0", false],
  ]) {
    assert.equal(overlaps(parsePrefix(a), parsePrefix(b)), want, `${a} ${b}`);
  }
});

test("the address at an index is written with dots", () => {
  assert.equal(addressAt(parsePrefix("192.0.2.0/24"), 0), "192.0.2.0");
  assert.equal(addressAt(parsePrefix("192.0.2.0/24"), 255), "192.0.2.255");
});
