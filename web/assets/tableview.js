// A block as a table: for readers of the screen, and for eyes that want numbers. It is always there for
// the block that has the keyboard, unseen unless asked for.

import { byId, fill, h, refill } from "./dom.js";
import { probe as probeName, rtt } from "./format.js";
import { inShort } from "./words.js";

/** The table of a block. A table that is not seen has no links for the Tab key to get lost in. */
export function blockTable(model, block, seen = true) {
  const places = [...block.configured.keys()].filter((place) => block.configured[place]);
  return h("table", { class: "grid" },
    h("caption", {}, block.title),
    h("thead", {}, h("tr", {}, h("th", { scope: "col" }, "address"), h("th", { scope: "col" }, "name"),
      block.series.map((s) => h("th", { scope: "col" }, probeName(s))))),
    h("tbody", {}, places.map((place) => h("tr", { "data-ip": block.ip(place) },
      h("th", { scope: "row" }, h("a", { href: `/ip/${block.ip(place)}`, "data-ip": block.ip(place), tabindex: seen ? 0 : -1 }, block.ip(place))),
      h("td", {}, block.nameOf(place)),
      block.series.map((s) => h("td", { "data-probe": `${s.probe}/${s.port}` }, cellText(model, s, place)))))));
}

/** A cell in words: up 12.3 ms, down: timeout, dark, unknown; nothing, if the address has no such probe. */
export function cellText(model, s, place) {
  if (!s.configured[place]) {
    return "";
  }
  const seconds = model.scale.seconds(s.codes[place]);
  return seconds === null ? inShort(model.scale, s.codes[place]) : `up ${rtt(seconds)}`;
}

/** TableView is the table of the block that has the keyboard. */
export class TableView {
  #element = byId("table-view");
  #prefix = "";
  #revision = 0; // of the layout that the rows are of

  constructor(model) {
    this.model = model;
  }

  /** Shows another block. */
  show(block) {
    if (block.prefix !== this.#prefix) {
      this.#prefix = block.prefix;
      this.#revision = 0;
      this.refresh();
    }
  }

  /** Brings the table up to date: cells only, so that a reader's place in it stays. */
  refresh() {
    const block = this.model.blocks.find((b) => b.prefix === this.#prefix);
    if (!block) { // none yet, or a reload has taken it out
      fill(this.#element);
      return;
    }
    if (this.#revision !== this.model.revision) {
      this.#revision = this.model.revision;
      refill(this.#element, blockTable(this.model, block, this.#element.classList.contains("seen")));
      return;
    }
    for (const row of this.#element.querySelectorAll("tbody tr")) {
      const place = block.place(row.dataset.ip);
      block.series.forEach((s, i) => {
        const cell = row.cells[2 + i];
        const text = cellText(this.model, s, place);
        if (cell && cell.textContent !== text) {
          cell.textContent = text;
        }
      });
    }
  }

  /** Shows it to the eye, or hides it from the eye again. */
  toggle() {
    const seen = this.#element.classList.toggle("seen");
    this.#element.classList.toggle("unseen", !seen);
    for (const link of this.#element.querySelectorAll("a")) {
      link.tabIndex = seen ? 0 : -1;
    }
    if (seen) {
      this.#element.scrollIntoView({ block: "nearest" });
    }
    return seen;
  }
}
