// The legend: what each colour means, in words that hold for the reference in force.

import { byId, fill, h } from "./dom.js";

/** What a cell is compared with, by the name of the reference: short, and in full. */
const REFERENCE_TEXTS = {
  nominal: ["÷ nominal", "the newest RTT, divided by the nominal RTT of the prefix"],
  min: ["÷ minimum", "the newest RTT, divided by the address's own minimum of the last hour"],
  mean: ["÷ mean", "the newest RTT, divided by the address's own mean of the last hour"],
  max: ["÷ maximum", "the newest RTT, divided by the address's own maximum of the last hour"],
  last: ["÷ the one before", "the newest RTT, divided by the one before it"],
  variation: ["off its mean ÷ variation", "how far the newest RTT is from the address's mean, in units of its variation, both of the last hour"],
};

/** Shows the legend of a reference. halves: cells have more than one probe. */
export function showLegend(reference, halves) {
  const [short, full] = REFERENCE_TEXTS[reference];
  fill(byId("legend"),
    h("span", { class: "key what", title: full }, h("span", {}, h("span", { class: "rtt" }, "RTT "), short)),
    key("ok", "≤2×", "up to 2 times"), key("slow1", ">2×", "over 2 times"), key("slow2", ">4×", "over 4 times"), key("slow3", ">8×", "over 8 times"),
    key("red", ">16× or error", "over 16 times, or somebody says that it does not work: unreachable, refused, reset, TTL exceeded, no route"),
    key("lost", "no answer", "the last probe was not answered"), key("down", "down", "so many probes in a row were not answered as down_after says"),
    key("dark", "dark", "has never answered, or not for dark_after; with a dot: somebody says why, such as a router that rejects it"),
    key("unknown", "unknown", "nothing has been measured for down_after + 2 intervals, at least 10 s: what was known is too old to be shown"),
    halves && h("span", { class: "key" }, h("span", { class: "halves", "aria-hidden": "true" }, h("i"), h("i"), h("i")),
      "left ping, right TCP ports"));
}

function key(cls, text, title) {
  return h("span", { class: "key", title }, h("i", { class: "swatch", "data-cls": cls }), text);
}
