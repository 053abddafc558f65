// What a code means: its class, a step of the severity scale; the page draws a class, never a
// number. This module knows no colours: those are in style.css, by the names of CLASSES.

/** The classes, in the order of the legend's severity; the index is what is stored. */
export const CLASSES = ["none", "waiting", "dark", "ok", "slow1", "slow2", "slow3", "red", "error", "lost", "down", "unknown"];
export const NONE = 0; // not configured
export const WAITING = 1; // configured, and no result yet
export const DARK = 2; // nothing is expected of it
export const OK = 3; // up to twice the reference
export const SLOW1 = 4;
export const SLOW2 = 5;
export const SLOW3 = 6;
export const RED = 7; // more than 16 times the reference
export const ERROR = 8; // somebody says that it does not work
export const LOST = 9; // the last probe, and the address still counts as up
export const DOWN = 10;
export const UNKNOWN = 11; // nothing has been measured for too long

/** How much a cell of each class counts when blocks are sorted by the worst. */
export const WEIGHTS = [0, 0, 0, 0, 1, 2, 4, 8, 10, 2, 12, 3];

/** The factors at which a step of the scale ends. */
export const STEPS = [2, 4, 8, 16];

/** Why a probe was lost, by the low four bits of its code. */
export const CAUSES = ["", "timeout", "unreachable", "ttl_exceeded", "refused", "reset", "no_route"];

const CAUSE_BITS = 15;
const TIMEOUT = 1;

/** What is added to the code of a loss: the bits of the state of the address since. */
const STATE_BITS = 48;
const DARK_BITS = 32;
const STATES = { 0: "up", 16: "down", [DARK_BITS]: "dark", 48: "unknown" };

/** Scale turns codes into seconds and back, with the numbers that the layout carries. */
export class Scale {
  constructor({ first, min_seconds: min, ratio }) {
    this.first = first;
    this.min = min;
    this.logRatio = Math.log(ratio);
    // A quotient of two RTTs is a difference of codes, so the steps are, too.
    this.steps = STEPS.map((x) => Math.log(x) / this.logRatio);
  }

  /** The RTT of a code in seconds; null: it is not of an answer. */
  seconds(code) {
    return code < this.first ? null : this.min * Math.exp((code - this.first) * this.logRatio);
  }

  /** The code of an RTT in seconds; 0: there is none. */
  code(seconds) {
    return seconds > 0 ? this.first + Math.max(0, Math.round(Math.log(seconds / this.min) / this.logRatio)) : 0;
  }

  /** The state of an address: up, down, dark, unknown, or waiting for its first result. */
  state(code) {
    if (code >= this.first) {
      return "up";
    }
    return code === 0 ? "waiting" : STATES[code & STATE_BITS];
  }

  /** Why the probe was lost; "": it was not. */
  cause(code) {
    return code >= this.first ? "" : CAUSES[code & CAUSE_BITS] ?? "lost";
  }

  /** What a code says of a probe: {rtt} in seconds, or {cause} of a loss; null: nothing, though perhaps of the address. */
  result(code) {
    if (code >= this.first) {
      return { rtt: this.seconds(code) };
    }
    const cause = this.cause(code);
    return cause === "" ? null : { cause };
  }

  /** Whether a probe was lost of an address of which something is expected. */
  counts(code) {
    return code < this.first && (code & CAUSE_BITS) !== 0 && (code & STATE_BITS) !== DARK_BITS;
  }

  /** Whether somebody says why a dark address does not answer: a router on the way, say, or a port that refuses. */
  rejected(code) {
    return code < this.first && (code & STATE_BITS) === DARK_BITS && (code & CAUSE_BITS) > TIMEOUT;
  }

  /** The class of a result against a reference, both as codes. A reference of 0 is unknown. */
  classify(code, reference) {
    if (code >= this.first) {
      return reference < this.first ? OK : this.step(code - reference);
    }
    return lossClass(code);
  }

  /** The class of a quotient, given as a difference of codes. */
  step(difference) {
    const steps = this.steps;
    if (difference <= steps[0]) return OK;
    if (difference <= steps[1]) return SLOW1;
    if (difference <= steps[2]) return SLOW2;
    return difference <= steps[3] ? SLOW3 : RED;
  }

  /** The class by variation: how many variations the RTT is away from the mean. */
  classifyVariation(code, mean, variation) {
    if (code < this.first) {
      return lossClass(code);
    }
    if (mean < this.first || variation < this.first) {
      return OK;
    }
    return stepOf(Math.abs(this.seconds(code) - this.seconds(mean)) / this.seconds(variation));
  }
}

/** The class of a code that is no RTT. */
function lossClass(code) {
  if (code === 0) {
    return WAITING;
  }
  switch (STATES[code & STATE_BITS]) {
    case "dark":
      return DARK;
    case "unknown":
      return UNKNOWN;
    case "down":
      return (code & CAUSE_BITS) === TIMEOUT ? DOWN : ERROR;
    default:
      return (code & CAUSE_BITS) === TIMEOUT ? LOST : ERROR;
  }
}

/** The class of a quotient of an RTT and its reference. */
export function stepOf(x) {
  const i = STEPS.findIndex((step) => x <= step);
  return i < 0 ? RED : OK + i;
}
