// The search box: words and key:value pairs, all of which must hold. docs/page.md has the grammar.

import { parseAddress, parsePrefix, contains, overlaps } from "./address.js";
import { DOWN, ERROR, LOST, OK, RED, SLOW1, SLOW2, SLOW3, UNKNOWN } from "./severity.js";

/** A probe of a place is in a state, or has one of these classes. */
const inState = (state) => (s, place) => s.state(place) === state;
const ofClass = (...classes) => (s, place) => classes.includes(s.classes[place]);

/** What a probe of a place must be, by what one would type. Who is refused is red, and may be up or down. */
const STATES = {
  up: inState("up"),
  ok: ofClass(OK),
  slow: ofClass(SLOW1, SLOW2, SLOW3, RED),
  red: ofClass(RED, ERROR),
  error: ofClass(ERROR),
  lost: ofClass(LOST),
  down: inState("down"),
  dark: inState("dark"),
  rejected: (s, place) => s.rejected(place),
  no_route: (s, place) => s.configured[place] === 1 && s.scale.cause(s.codes[place]) === "no_route",
  unknown: inState("unknown"),
  waiting: inState("waiting"),
  trouble: ofClass(SLOW1, SLOW2, SLOW3, RED, ERROR, LOST, DOWN, UNKNOWN),
};

/**
 * Reads what was typed.
 * @returns {{terms: Array, problems: string[]}} problems are sentences about what was not understood
 */
export function parseQuery(text) {
  const terms = [];
  const problems = [];
  for (const match of text.matchAll(/(-?)(?:([\w.-]+)[:=])?(?:"([^"]*)"|(\S+))/g)) {
    let [, minus, key = "", quoted, word] = match;
    let value = quoted ?? word;
    // An IPv6 address looks like key:value.
    const whole = match[0].slice(minus.length);
    if (parsePrefix(whole)) {
      key = "prefix";
      value = whole;
    } else if (key === "" && quoted === undefined && parsePrefix(value)) {
      key = "prefix";
    }
    const term = { not: minus === "-", key: key.toLowerCase(), value: value.toLowerCase() };
    const problem = complete(term);
    if (problem) {
      problems.push(problem);
    }
    terms.push(term);
  }
  return { terms, problems };
}

/** Adds what matching needs, and says what is wrong with a term. */
function complete(term) {
  if (term.key === "state") {
    term.holds = Object.hasOwn(STATES, term.value) ? STATES[term.value] : undefined;
    return term.holds ? "" : `state:${term.value}: must be one of ${Object.keys(STATES).join(", ")}`;
  }
  if (term.key === "prefix" || term.key === "ip") {
    term.range = parsePrefix(term.value);
    return term.range ? "" : `${term.key}:${term.value}: must be an address or a prefix such as 192.0.2.0/25`;
  }
  return "";
}

/** The address that a query is, if it is nothing else; "" otherwise. */
export function soleAddress(text) {
  const word = text.trim();
  return parseAddress(word) ? word : "";
}

/**
 * Says what of a block a query means.
 * @returns {null|true|Uint8Array} nothing, all of it, or a flag for each place
 */
export function matchBlock(terms, block) {
  let mask = true;
  for (const term of terms) {
    let hit = matchTerm(term, block);
    if (term.not) {
      hit = invert(hit, block);
    }
    mask = both(mask, hit);
    if (mask === null) {
      return null;
    }
  }
  return mask;
}

function matchTerm(term, block) {
  const { info } = block;
  switch (term.key) {
    case "":
      return matchWord(term.value, block);
    case "name":
      return has(info.name, term.value) || placesNamed(term.value, block);
    case "router":
      return has(info.router, term.value) || null;
    case "tenant":
      return info.tenants?.some((t) => has(t, term.value)) || null;
    case "label":
      return Object.entries(info.labels ?? {}).some(([k, v]) => has(`${k}=${v}`, term.value)) || null;
    case "prefix":
    case "ip":
      return term.range ? matchRange(term.range, block) : null;
    case "state":
      return term.holds ? flags(block, (place) => block.series.some((s) => term.holds(s, place))) : null;
    default: // any other key is a label of the configuration
      return Object.entries(info.labels ?? {}).some(([k, v]) => k.toLowerCase() === term.key && has(v, term.value)) || null;
  }
}

function matchWord(word, block) {
  const { info } = block;
  const texts = [info.name, info.router, info.prefix, ...(info.tenants ?? []), ...Object.values(info.labels ?? {})];
  return texts.some((text) => has(text, word)) || placesNamed(word, block);
}

function placesNamed(word, block) {
  return flags(block, (place) => has(block.nameOf(place), word));
}

function matchRange(range, block) {
  if (!overlaps(range, block.range)) {
    return null;
  }
  if (range.length <= block.range.length) {
    return true;
  }
  return flags(block, (place) => contains(range, parseAddress(block.ip(place))));
}

function has(text, part) {
  return Boolean(text) && text.toLowerCase().includes(part);
}

/** The configured places for which something holds; null: none. */
function flags(block, holds) {
  const set = new Uint8Array(256);
  let any = false;
  for (let place = 0; place < 256; place++) {
    if (block.configured[place] && holds(place)) {
      set[place] = 1;
      any = true;
    }
  }
  return any ? set : null;
}

function invert(hit, block) {
  if (hit === null) return true;
  return hit === true ? null : flags(block, (place) => !hit[place]);
}

function both(a, b) {
  if (a === null || b === null) return null;
  if (a === true) return b;
  if (b === true) return a;
  const set = a.map((flag, i) => flag & b[i]);
  return set.includes(1) ? set : null;
}

/** The states, for the help. */
export const QUERY_STATES = Object.keys(STATES);
