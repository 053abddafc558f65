// The binary messages of /api/v1/frames and /api/v1/references: bytes in, chunks of codes out.
// This module knows neither the page nor the network.

/** The types of messages. */
export const LAYOUT = 1;
export const FULL = 2;
export const SECOND = 3;
export const REFERENCE = 4;

/** The flags of a message. */
export const SKIPPED = 1; // seconds were left out before this one: the page was too slow
export const TROUBLE = 2; // the prober was in trouble in this second

const HEADER_BYTES = 24;
const VERSION = 1;

// How the codes of a chunk are written.
const DENSE = 1;
const SPARSE = 2;
const RUNS = 3;

/**
 * Reads one message.
 * @param {ArrayBuffer} buffer exactly one message
 * @returns {{type: number, flags: number, sequence: number, revision: number, body: DataView}}
 * @throws {Error} if it is none, or of another version
 */
export function parse(buffer) {
  const view = new DataView(buffer);
  if (view.byteLength < HEADER_BYTES) {
    throw new Error(`frame: ${view.byteLength} bytes: must be at least ${HEADER_BYTES}`);
  }
  if (view.getUint8(0) !== 0x50 || view.getUint8(1) !== 0x58 || view.getUint8(2) !== 0x46) {
    throw new Error("frame: does not begin with PXF");
  }
  if (view.getUint8(3) !== VERSION) {
    throw new Error(`frame: version ${view.getUint8(3)}: must be ${VERSION}; load the page again`);
  }
  const length = view.getUint32(20, true);
  if (view.byteLength !== HEADER_BYTES + length) {
    throw new Error(`frame: body of ${view.byteLength - HEADER_BYTES} bytes: must be ${length}`);
  }
  return {
    type: view.getUint8(4),
    flags: view.getUint8(5),
    sequence: Number(view.getBigUint64(8, true)),
    revision: view.getUint32(16, true),
    body: new DataView(buffer, HEADER_BYTES, length),
  };
}

/** Reads the JSON of a layout. */
export function parseLayout(body) {
  return JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(body));
}

/**
 * Calls visit(series, place, code) for every code of the chunks in a body, zeros included.
 * @throws {Error} if the body ends too early or has an unknown encoding
 */
export function eachCode(body, visit) {
  let at = 0;
  while (at < body.byteLength) {
    const series = body.getUint16(at, true);
    const encoding = body.getUint8(at + 2);
    const count = body.getUint16(at + 4, true);
    at += 6;
    switch (encoding) {
      case DENSE:
        for (let place = 0; place < count; place++, at += 2) {
          visit(series, place, body.getUint16(at, true));
        }
        break;
      case SPARSE:
        for (let i = 0; i < count; i++, at += 3) {
          visit(series, body.getUint8(at), body.getUint16(at + 1, true));
        }
        break;
      case RUNS:
        for (let i = 0, place = 0; i < count; i++, at += 3) {
          const code = body.getUint16(at + 1, true);
          for (let n = body.getUint8(at); n >= 0; n--, place++) {
            visit(series, place, code);
          }
        }
        break;
      default:
        throw new Error(`frame: encoding ${encoding}: must be 1, 2 or 3`);
    }
  }
}

/**
 * Reads places such as "1-5,7".
 * @returns {Uint8Array} 256 flags: 1 where an address is configured
 */
export function parsePlaces(text) {
  const set = new Uint8Array(256);
  for (const part of text.split(",")) {
    if (part === "") {
      continue;
    }
    const [low, high = low] = part.split("-").map(Number);
    set.fill(1, low, high + 1);
  }
  return set;
}
