// Addresses as numbers: parsing, writing, and prefixes that hold them. IPv4 and IPv6 alike are
// {bits, value}, with the value as a BigInt.

/** Reads an address; null: it is none. */
export function parseAddress(text) {
  return text.includes(":") ? parse6(text) : parse4(text);
}

function parse4(text) {
  const parts = text.split(".");
  if (parts.length !== 4 || parts.some((p) => !/^\d{1,3}$/.test(p) || Number(p) > 255)) {
    return null;
  }
  return { bits: 32, value: parts.reduce((v, p) => (v << 8n) | BigInt(p), 0n) };
}

function parse6(text) {
  const halves = text.split("::");
  if (halves.length > 2) {
    return null;
  }
  const groups = halves.map((half) => (half === "" ? [] : half.split(":")));
  const missing = 8 - groups.flat().length;
  if (halves.length === 2 ? missing < 1 : missing !== 0) {
    return null;
  }
  const all = halves.length === 2 ? [...groups[0], ...Array(missing).fill("0"), ...groups[1]] : groups[0];
  if (all.some((g) => !/^[0-9a-f]{1,4}$/i.test(g))) {
    return null;
  }
  return { bits: 128, value: all.reduce((v, g) => (v << 16n) | BigInt(`0x${g}`), 0n) };
}

/** Reads a prefix, or an address as one of full length; null: it is none. */
export function parsePrefix(text) {
  const [address, length] = text.split("/");
  const a = parseAddress(address);
  if (!a || (length !== undefined && !/^\d{1,3}$/.test(length))) {
    return null;
  }
  const n = length === undefined ? a.bits : Number(length);
  if (n > a.bits) {
    return null;
  }
  const host = BigInt(a.bits - n);
  return { bits: a.bits, length: n, value: (a.value >> host) << host };
}

/** Says whether a prefix holds an address. */
export function contains(prefix, address) {
  const host = BigInt(prefix.bits - prefix.length);
  return prefix.bits === address.bits && prefix.value >> host === address.value >> host;
}

/** Says whether two prefixes have an address in common. */
export function overlaps(a, b) {
  const host = BigInt(a.bits - Math.min(a.length, b.length));
  return a.bits === b.bits && a.value >> host === b.value >> host;
}

/** The address at a place of an IPv4 /24, as text. */
export function addressAt(prefix, place) {
  const v = prefix.value + BigInt(place);
  return [24n, 16n, 8n, 0n].map((shift) => String((v >> shift) & 255n)).join(".");
}
