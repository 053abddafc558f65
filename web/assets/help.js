// The help: keys, search, and what is where.

import { byId, fill, h } from "./dom.js";
import { QUERY_STATES } from "./query.js";

const KEYS = [
  ["← ↑ → ↓", "move between addresses, and from block to block at the edges"],
  ["Page up, Page down", "previous and next block"],
  ["Enter", "open the address"],
  ["u", "unfold the block: 60 minutes, 60 seconds, table"],
  ["p", "pin the block: it stays on top"],
  ["s", "the next probe of the address: ping, tcp/80, tcp/443"],
  ["t", "show the table of the block"],
  ["r", "the next reference"],
  ["/", "search"],
  ["Esc", "back: from the search, an address, a block"],
  ["?", "this help"],
];

const SEARCH = [
  ["mail", "a word: in names of prefixes and addresses, routers, tenants, labels, prefixes"],
  ["192.0.2.0/25", "a prefix or an address; Enter opens an address"],
  ["router:PA2  name:par  tenant:team-a", "one field"],
  ["site:paris  label:site=paris", "a label of your configuration"],
  ["state:down", QUERY_STATES.join(", ")],
  ["state:unknown", "addresses of which nothing has been measured for too long"],
  ["state:rejected  state:no_route", "dark, and somebody says why; the prober has no way there"],
  ["-router:PA2", "not"],
  ['name:"two words"', "several words must all hold; quotes keep a space"],
];

/** Makes the help once; returns a function that opens it. */
export function makeHelp() {
  const dialog = byId("help");
  const list = (rows, name) => h("dl", {}, rows.flatMap(([term, text]) => [h("dt", {}, h(name, {}, term)), h("dd", {}, text)]));
  fill(dialog,
    h("header", {}, h("h2", { id: "help-title" }, "Every address of every prefix, second by second"),
      h("button", { type: "button", "aria-label": "Close (Esc)", onclick: () => dialog.close() }, "✕")),
    h("p", {}, "Each block is a prefix, each cell an address. Its left half is ping, its right half the TCP ports, from top to bottom. The colour compares the newest round-trip time with the reference that the legend names. Point at a cell for its numbers, click it for its last hour, click a title to unfold the block."),
    h("h3", {}, "Keys"), list(KEYS, "kbd"),
    h("h3", {}, "Search"), list(SEARCH, "code"),
    h("p", {}, "The address bar always has what you see: copy it to show it to somebody."));
  return () => dialog.showModal();
}
