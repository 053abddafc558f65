// Why an address is as it is, and who says so, in words: from what the API tells of one address, or counts of
// many. This module knows no element of the page.

import { cause as causeName, count } from "./format.js";

/** Obstacles, as labels and the API have them, in plain words. Others are names of system errors. */
const OBSTACLES = {
  no_result: "no result yet",
  offline: "the prober is offline",
  interface_absent: "interface absent",
  source_absent: "source address absent",
  skipped: "the prober is too busy to send",
  stalled: "the prober was stopped",
  kernel_drop: "replies were dropped by the prober's kernel",
  flood: "more arrives than the prober can read",
  overtaken: "the next probe left before the outcome was known",
};

/** An obstacle in plain words; "": none. */
export function obstacle(name) {
  if (!name) {
    return "";
  }
  return Object.hasOwn(OBSTACLES, name) ? OBSTACLES[name] : /^E[A-Z0-9]+$/.test(name) ? `cannot be sent (${name})` : name.replaceAll("_", " ");
}

/** A cause and who says so: "net unreachable, says 198.51.100.1". ip: the address that it is about. */
export function says(detail, by, ip) {
  return by ? `${detail}, says ${by === ip ? "the address itself" : by}` : detail;
}

/**
 * How an address is, and why: "down: net unreachable, says 198.51.100.1".
 * @param probe {state, cause, by, obstacle, left_out} of the API
 */
export function explain({ state, cause, by, obstacle: name, left_out: leftOut }, ip = "") {
  if (leftOut) {
    return "left out: broadcast address";
  }
  const why = says(cause, by, ip);
  switch (state) {
    case "unknown":
      return `unknown: ${obstacle(name)}`;
    case "dark":
      return cause && cause !== "timeout" ? `dark: rejected: ${why}` : "dark";
    case "down":
      return why ? `down: ${why}` : "down";
    default:
      return [state, why && `the newest probe was lost: ${why}`, name && `not measured now: ${obstacle(name)}`].filter(Boolean).join(", ");
  }
}

/** How an address is by the newest code of a frame, which does not have who says so: "down: unreachable". */
export function inShort(scale, code) {
  const state = scale.state(code);
  const why = causeName(scale.cause(code));
  switch (state) {
    case "up":
      return why ? `lost: ${why}` : state;
    case "down":
      return `down: ${why}`;
    case "dark":
      return scale.rejected(code) ? `dark: rejected: ${why}` : state;
    default: // why a probe was lost is not why nothing is known
      return state;
  }
}

/** The kinds of causes that the API counts, as lines begin. */
const KINDS = { down: "down", unknown: "unknown", rejected: "dark, rejected" };

/**
 * The largest cause of each kind, and how many more there are: {kind, text} such as "250 down: net unreachable, says
 * 198.51.100.1; 6 otherwise".
 * @param tally {down, unknown, causes} of the API
 */
export function largest({ causes }) {
  return Object.entries(KINDS).filter(([kind]) => causes[kind].length > 0).map(([kind, name]) => {
    const [first, ...others] = causes[kind];
    const rest = others.reduce((n, c) => n + c.count, 0);
    const why = kind === "unknown" ? obstacle(first.reason) : says(first.detail, first.by);
    return { kind, text: `${count(first.count)} ${name}: ${why}${rest > 0 ? `; ${count(rest)} for other reasons` : ""}` };
  });
}

/** What decided an event, if it does not go without saying: a cause and who says so, or an obstacle. */
export function because({ type, detail, cause, by, ip }) {
  if (type === "unknown") {
    return obstacle(detail);
  }
  const what = cause || (detail ? causeName(detail) : "");
  return PLAIN.includes(what) ? "" : says(what, by, ip);
}

/** Causes that the type of an event implies: that a probe was answered, or simply was not. */
const PLAIN = ["", "answered", "timeout"];
