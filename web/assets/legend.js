// The legend: what each colour means, in words that hold for the reference in force.

import { byId, fill, h } from "./dom.js";

/** What a cell is compared with, by the name of the reference. */
const REFERENCE_TEXTS = {
  nominal: "the nominal RTT of the prefix",
  min: "the address's own minimum of the last hour",
  mean: "the address's own mean of the last hour",
  max: "the address's own maximum of the last hour",
  last: "the RTT before it",
  variation: "how far from its mean, in units of its variation",
};

/** Shows the legend of a reference. */
export function showLegend(reference) {
  const what = reference === "variation" ? "RTT now: " : "RTT now ÷ ";
  fill(byId("legend"),
    h("span", { class: "key what" }, what + REFERENCE_TEXTS[reference]),
    key("ok", "up to 2×"), key("slow1", "over 2×"), key("slow2", "over 4×"), key("slow3", "over 8×"),
    key("red", "over 16×, or an error"), key("lost", "no answer"), key("down", "down"), key("dark", "dark: never answers"),
    h("span", { class: "key" }, h("span", { class: "halves", "aria-hidden": "true" }, h("i"), h("i"), h("i")),
      "left half ping, right half TCP ports from top to bottom"));
}

function key(cls, text) {
  return h("span", { class: "key" }, h("i", { class: "swatch", "data-cls": cls }), text);
}
