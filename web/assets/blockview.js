// One block on the page: its title, its canvas, the ring around the cell that one looks at.

import { h, setText } from "./dom.js";
import { DARK, DOWN, ERROR, LOST, RED, SLOW1, SLOW2, SLOW3, UNKNOWN, WAITING, WEIGHTS } from "./severity.js";
import { paintBlock, PLACES } from "./paint.js";

/** What a badge counts, each with its name: that of which the block has most, by weight. */
const BADGES = [
  { cls: "down", name: "down", classes: [DOWN] },
  { cls: "error", name: "red", classes: [ERROR, RED] },
  { cls: "slow2", name: "slow", classes: [SLOW1, SLOW2, SLOW3] },
  { cls: "unknown", name: "unknown", classes: [UNKNOWN] },
  { cls: "lost", name: "lost", classes: [LOST] },
];

/** What is no trouble and has no badge, but is not well either. */
const SILENT = [{ name: "dark", classes: [DARK] }, { name: "waiting", classes: [WAITING] }];

export class BlockView {
  mask = true; // true, or a flag for each place that the search means
  visible = false; // on the screen, or near it
  #painted = null; // the geometry and palette of the last painting

  /** @param on {{hover, leave, open, unfold, pin, ask}} what is called when something is done to it, or somebody wants to know why */
  constructor(block, on) {
    this.block = block;
    const { info } = block;
    this.canvas = h("canvas", { tabindex: -1, role: "application", "aria-roledescription": "block of addresses" });
    this.context = this.canvas.getContext("2d", { alpha: true });
    this.ring = h("div", { class: "ring", hidden: true });
    this.badge = h("span", { class: "badge" });
    this.pin = h("button", { class: "pin", type: "button", tabindex: -1, title: "Pin to the top (p)", onclick: () => on.pin(this) }, "▲");
    this.title = h("button", {
      class: "title", type: "button", tabindex: -1, "aria-expanded": "false",
      title: [block.title, info.router && `router ${info.router}`, info.tenants?.length && `tenants ${info.tenants.join(", ")}`,
        ...Object.entries(info.labels ?? {}).map(([k, v]) => `${k}: ${v}`)].filter(Boolean).join("\n"),
      onclick: () => on.unfold(this),
    }, info.name ? [h("b", {}, info.name), " ", h("span", { class: "cidr" }, block.prefix.split("/")[0], h("span", { class: "mask" }, `/${block.range.length}`))] : h("b", {}, block.prefix));
    this.element = h("section", { class: "block", role: "group", "aria-label": block.title, "data-prefix": block.prefix },
      h("header", {}, this.title, this.badge, this.pin), h("div", { class: "cells" }, this.canvas, this.ring));
    this.element.querySelector("header").addEventListener("pointerenter", () => on.ask(this));
    this.canvas.addEventListener("pointermove", (e) => on.hover(this, this.under(e), e));
    this.canvas.addEventListener("pointerleave", (e) => on.leave(this, e));
    this.canvas.addEventListener("click", (e) => on.open(this, this.under(e), e));
  }

  /** The place and series under a pointer. */
  under(event) {
    const box = this.canvas.getBoundingClientRect();
    const { place, u, v } = this.geometry.at(
      ((event.clientX - box.left) * this.canvas.width) / box.width,
      ((event.clientY - box.top) * this.canvas.height) / box.height);
    return { place, series: this.geometry.seriesAt(this.block.seriesAt(place), u, v) };
  }

  /** Takes a size; the canvas has one pixel for each of the screen. */
  resize(geometry, ratio) {
    this.geometry = geometry;
    this.ratio = ratio;
    const { canvasWidth: w, canvasHeight: height } = geometry;
    if (this.canvas.width !== w || this.canvas.height !== height) {
      this.canvas.width = w;
      this.canvas.height = height;
      this.canvas.style.width = `${w / ratio}px`;
      this.canvas.style.height = `${height / ratio}px`;
      this.block.stale = true;
    }
  }

  /** Draws what has changed, if anybody can see it. */
  paint(palette) {
    if (!this.visible) {
      return;
    }
    if (this.#painted?.geometry !== this.geometry || this.#painted.palette !== palette) {
      this.#painted = { geometry: this.geometry, palette };
      this.block.stale = true;
    }
    if (this.block.stale || this.block.changed) {
      paintBlock(this.context, this.block, this.geometry, palette, this.mask);
      this.#label();
    }
  }

  /** Shows the worst as a number of addresses beside the title. */
  #label() {
    const { counts } = this.block;
    const weight = (b) => b.classes.reduce((sum, c) => sum + counts[c] * WEIGHTS[c], 0);
    const worst = BADGES.reduce((a, b) => (weight(b) > (a ? weight(a) : 0) ? b : a), null);
    const n = worst ? this.#addresses(worst.classes) : 0;
    setText(this.badge, worst ? String(n) : "");
    this.badge.dataset.cls = worst?.cls ?? "";
    this.#badgeTitle = worst ? `${n} ${n === 1 ? "address" : "addresses"} ${worst.name}` : "";
    this.#tell();
    const silent = SILENT.filter((s) => counts[s.classes[0]] > 0).map((s) => `${this.#addresses(s.classes)} ${s.name}`).join(", ");
    this.canvas.setAttribute("aria-label", `${this.block.title}, ${worst ? `${n} ${worst.name}` : silent || "all well"}. Arrow keys move between addresses.`);
  }

  #badgeTitle = "";
  #causes = []; // lines that say why, as of when somebody wanted to know

  /** Says why, beside the number of addresses. */
  explain(causes) {
    this.#causes = causes;
    this.#tell();
  }

  #tell() {
    this.badge.title = this.#badgeTitle && [this.#badgeTitle, ...this.#causes].join("\n");
  }

  /** How many addresses have a probe of one of these classes. */
  #addresses(classes) {
    let n = 0;
    for (let place = 0; place < PLACES; place++) {
      if (this.block.series.some((s) => classes.includes(s.classes[place]))) {
        n++;
      }
    }
    return n;
  }

  /** Shows which addresses a search means. */
  setMask(mask) {
    const same = mask === this.mask ||
      (mask instanceof Uint8Array && this.mask instanceof Uint8Array && mask.every((flag, i) => flag === this.mask[i]));
    if (!same) {
      this.mask = mask;
      this.block.stale = true;
    }
    this.element.hidden = mask === null;
  }

  /** Puts the ring around a place; -1 takes it away. */
  mark(place) {
    this.ring.hidden = place < 0;
    if (place >= 0) {
      const [x, y, w, height] = this.geometry.rect(place).map((v) => v / this.ratio);
      Object.assign(this.ring.style, { left: `${x}px`, top: `${y}px`, width: `${w}px`, height: `${height}px` });
    }
  }

  /** Shows whether the block is pinned. */
  setPinned(pinned) {
    this.element.classList.toggle("pinned", pinned);
    this.pin.setAttribute("aria-pressed", pinned);
    this.pin.setAttribute("aria-label", `${pinned ? "Unpin" : "Pin"} ${this.block.title}`);
  }

  /** The configured place that is reached from one by so many columns and rows; -1: outside. */
  neighbour(place, dx, dy) {
    const { columns, rows } = this.geometry;
    let column = place % columns;
    let row = Math.floor(place / columns);
    for (let i = 0; i < PLACES; i++) {
      column += dx;
      row += dy;
      if (column < 0 || column >= columns || row < 0 || row >= rows) {
        return -1;
      }
      if (this.block.configured[row * columns + column]) {
        return row * columns + column;
      }
    }
    return -1;
  }

  /** The first configured place from one on, in either direction; -1: none. */
  nearest(place, step = 1) {
    for (let at = place; at >= 0 && at < PLACES; at += step) {
      if (this.block.configured[at]) {
        return at;
      }
    }
    return -1;
  }
}
