// All blocks: which are shown, in which order, how large, and which cell one looks at.

import { byId, fill, h } from "./dom.js";
import { parsePrefix } from "./address.js";
import { BlockView } from "./blockview.js";
import { Geometry, PLACES, colours } from "./paint.js";
import { matchBlock, parseQuery } from "./query.js";

/** What a block needs beside its cells, in CSS pixels, as style.css has it: the title above, and the gaps. */
const CHROME = { blocks: { head: 19, across: 12, down: 10 }, mosaic: { head: 14, across: 6, down: 6 }, strips: { head: 0, across: 3, down: 3 } };

/**
 * The smallest and largest cell, in CSS pixels. Cells become as small as least so that all blocks fit on the
 * screen: what is seen at one glance counts more than single addresses. If they do not fit even so, one has
 * to scroll, and cells are as large as scrolled: the width then has room for a whole number of blocks.
 */
const CELLS = { blocks: { least: 5, scrolled: 7, most: 32 }, mosaic: { least: 2, scrolled: 3, most: 12 }, strips: { least: 1, most: 7 } };

/** A phone scrolls sooner: four blocks side by side still have room for their names. */
const PHONE_SCROLLED = { blocks: 5, mosaic: 2.5 };

/** Blocks of a mosaic so narrow have a dot instead of a number beside the name, or the name alone. */
const SMALL = 90;
const TINY = 56;

/** One more block side by side is worth cells that are so much smaller: no room is left at the right. */
const NEARLY = 0.88;

/** What is left free below the blocks. */
const BELOW = 8;

/** The width of the titles before strips. */
const STRIP_TITLE = 172;
const NARROW_STRIP_TITLE = 88;
const NARROW = 600;

/** A wall that is sorted by the worst is sorted again at most this often: it should stay calm. */
const SORT_MS = 5000;

/** A search for states shows a block so long after its last hit: what comes and goes each second would change the size of all. */
const STAYS_MS = 8000;

/** The mask of such a block: no place of it is meant. */
const NO_PLACE = new Uint8Array(PLACES);

export class Wall {
  views = [];
  #byBlock = new Map();
  #painting = 0;
  #sorted = 0;
  #observer = new IntersectionObserver((entries) => this.#seen(entries), { rootMargin: "300px" });
  #terms = [];
  #hits = new Map(); // when the search has last meant something of a view
  #fitted = ""; // what fit has chosen
  #pointed = null; // the newest event of a pointer that is on a block

  /** @param on what is called: select({block, place, series, view}, event), open, unfold, pin, ask */
  constructor(element, model, settings, on) {
    this.element = element;
    this.model = model;
    this.settings = settings;
    this.on = on;
    this.palette = colours();
    this.current = null; // {view, place, series}: the cell that one looks at
    this.focused = null; // the one that the keyboard has
    const resized = new ResizeObserver(() => this.fit());
    resized.observe(element);
    resized.observe(byId("troubles")); // which comes and goes above the wall
    addEventListener("resize", () => this.fit());
  }

  /** Makes the blocks of a new layout. */
  build() {
    const old = this.focused && { prefix: this.focused.view.block.prefix, ip: this.focused.block.ip(this.focused.place), series: this.focused.series };
    const had = this.element.querySelector("canvas:focus") !== null;
    this.#observer.disconnect();
    this.current = this.focused = null;
    this.#fitted = "";
    this.#hits.clear();
    this.views = this.model.blocks.map((block) => new BlockView(block, {
      hover: (view, { place, series }, event) => {
        this.#pointed = event;
        this.look(view, place, series, event);
      },
      leave: () => {
        this.#pointed = null;
        this.#leave();
      },
      open: (view, { place }, event) => this.on.open(view, place, event),
      unfold: (view) => this.on.unfold(view),
      pin: (view) => this.on.pin(view),
      ask: (view) => this.on.ask(view),
    }));
    this.#byBlock = new Map(this.views.map((v) => [v.element, v]));
    fill(this.element, this.views.map((v) => v.element));
    for (const view of this.views) {
      this.#observer.observe(view.element);
    }
    this.restyle();
    this.filter();
    this.order(true);
    const again = old && this.#shown().find((v) => v.block.prefix === old.prefix);
    const view = again ?? this.#shown()[0] ?? this.views[0];
    this.#rove(view, again ? Math.max(0, view.block.place(old.ip)) : 0, old?.series);
    if (had && view && view.mask !== null) {
      this.focus(view, this.focused.place);
    }
  }

  /** Looks at what is under the pointer now: other blocks may have come there. */
  pointAgain() {
    const event = this.#pointed;
    const view = event && this.views.find((v) => v.canvas === document.elementFromPoint(event.clientX, event.clientY));
    if (view) {
      const { place, series } = view.under(event);
      this.look(view, place, series, event);
    }
  }

  /** The view of a prefix, in whichever way it is written: there are many for IPv6. */
  view(prefix) {
    const range = parsePrefix(prefix);
    return this.views.find((v) => v.block.prefix === prefix) ??
      this.views.find(({ block: { range: r } }) => range && r.bits === range.bits && r.length === range.length && r.value === range.value);
  }

  /** Takes the colours of the theme and palette in force. */
  restyle() {
    this.palette = colours();
    this.paint();
  }

  /** Draws what has changed before the next frame of the screen. */
  paint() {
    if (this.#painting === 0) {
      this.#painting = requestAnimationFrame(() => {
        this.#painting = 0;
        for (const view of this.views) {
          view.paint(this.palette);
        }
      });
    }
  }

  #seen(entries) {
    for (const { target, isIntersecting } of entries) {
      const view = this.#byBlock.get(target);
      if (view) {
        view.visible = isIntersecting;
      }
    }
    this.paint();
  }

  /** Chooses the size of cells so that all blocks fit on the screen, if they can. */
  fit() {
    const { view } = this.settings;
    const width = this.element.clientWidth;
    const n = this.#shown().length;
    if (width === 0 || n === 0) {
      return;
    }
    const ratio = devicePixelRatio || 1;
    const height = Math.max(300, innerHeight - this.element.getBoundingClientRect().top - scrollY - BELOW);
    const { cell, columns } = view === "strips" ? fitStrips(width, ratio) : fitBlocks(view, width, height, n, ratio);
    const stripHeight = Math.round(Math.min(18, Math.max(8, height / n - CHROME.strips.down)) * ratio);
    const fitted = [view, cell, stripHeight, columns, ratio, width, n >= columns].join(" ");
    if (fitted === this.#fitted) {
      return;
    }
    this.#fitted = fitted;
    this.geometry = view === "strips" ? new Geometry(view, cell, stripHeight) : new Geometry(view, cell);
    this.element.dataset.view = view;
    const size = this.geometry.canvasWidth / ratio;
    this.element.classList.toggle("small", view === "mosaic" && size < SMALL);
    this.element.classList.toggle("tiny", view === "mosaic" && size < TINY);
    this.element.style.gridTemplateColumns = view === "strips" ? "minmax(0, 1fr)" : `repeat(${columns}, ${size}px)`;
    this.element.style.setProperty("--across", `${width}px`); // for what is as wide as all blocks together
    this.element.style.columnGap = `${gapOf(view, width, columns, size, n)}px`;
    for (const v of this.views) {
      v.resize(this.geometry, ratio);
    }
    this.#mark();
    this.paint();
  }

  /** Shows what the search means. Returns what was not understood. */
  filter() {
    const { terms, problems } = parseQuery(this.settings.q);
    this.#terms = terms;
    this.refilter();
    this.fit();
    return problems;
  }

  /** Applies the search again: states change. */
  refilter(onlyStates = false) {
    if (onlyStates && !this.#terms.some((t) => t.key === "state")) {
      return;
    }
    const before = this.#shown().length;
    const now = Date.now();
    for (const view of this.views) {
      const mask = this.#terms.length === 0 ? true : matchBlock(this.#terms, view.block);
      if (mask !== null) {
        this.#hits.set(view, now);
      }
      const stays = onlyStates && view.mask !== null && now - (this.#hits.get(view) ?? 0) < STAYS_MS;
      view.setMask(mask === null && stays ? NO_PLACE : mask);
    }
    this.element.classList.toggle("none", this.views.length > 0 && this.#shown().length === 0);
    if (onlyStates && this.#shown().length !== before) {
      this.fit();
    }
    this.paint();
  }

  /** How many blocks the search shows. */
  get shown() {
    return this.#shown().length;
  }

  #shown() {
    return this.views.filter((v) => v.mask !== null);
  }

  /** Puts the blocks in order, pinned ones first. */
  order(now = false) {
    const { sort, pins } = this.settings;
    if (!now && (sort !== "worst" || Date.now() - this.#sorted < SORT_MS || this.element.matches(":hover, :focus-within"))) {
      return;
    }
    this.#sorted = Date.now();
    const keys = new Map(this.views.map((v) => [v, v.block.severity]));
    const by = {
      given: () => 0,
      name: (a, b) => a.block.title.localeCompare(b.block.title, undefined, { numeric: true }),
      prefix: (a, b) => a.block.prefix.localeCompare(b.block.prefix, undefined, { numeric: true }),
      worst: (a, b) => keys.get(b) - keys.get(a),
    }[sort];
    this.views.sort((a, b) => pins.has(b.block.prefix) - pins.has(a.block.prefix) || by(a, b) || a.block.index - b.block.index);
    for (const view of this.views) {
      view.setPinned(pins.has(view.block.prefix));
    }
    this.arrange();
  }

  /** Puts the elements in the order of the views, and the unfolded panel behind its block. */
  arrange() {
    const wanted = this.views.flatMap((v) => (this.panel?.owner === v ? [v.element, this.panel.element] : [v.element]));
    const same = wanted.length === this.element.children.length && wanted.every((e, i) => e === this.element.children[i]);
    if (!same) {
      const had = document.activeElement;
      this.element.replaceChildren(...wanted);
      if (had !== document.activeElement && wanted.some((e) => e.contains(had))) {
        had.focus({ preventScroll: true });
      }
    }
  }

  /** Puts the unfolded panel of a view behind it; null takes it away. */
  unfold(view, element) {
    for (const v of this.views) {
      v.title.setAttribute("aria-expanded", v === view);
      v.element.classList.toggle("unfolded", v === view);
    }
    this.panel = view ? { owner: view, element } : null;
    this.arrange();
  }

  /** Looks at a cell. */
  look(view, place, series = 0, event = null) {
    if (!view.block.configured[place]) {
      this.#leave();
      return;
    }
    const same = this.current?.view === view && this.current.place === place && this.current.series === series;
    this.current = { view, block: view.block, place, series };
    if (!same) {
      this.#mark();
    }
    this.on.select(this.current, event, same);
  }

  #leave() {
    this.current = this.element.matches(":focus-within") ? this.focused : null;
    this.#mark();
    this.on.select(this.current, null, false);
  }

  /** The keyboard has left the wall: nothing is looked at, unless a pointer does. */
  focusLost() {
    if (!this.element.matches(":hover")) {
      requestAnimationFrame(() => !this.element.matches(":focus-within") && this.#leave());
    }
  }

  /** Gives the keyboard to the first address that the search means. */
  focusFirst() {
    const view = this.#shown().find((v) => v.mask !== NO_PLACE);
    if (view) {
      const first = view.mask === true ? 0 : view.mask.indexOf(1);
      this.focus(view, Math.max(0, view.nearest(first)), 0);
    }
  }

  /** Gives the keyboard to an address. */
  focusAddress(ip) {
    const view = this.#shown().find((v) => v.block.place(ip) >= 0);
    if (view) {
      this.focus(view, view.block.place(ip));
    }
  }

  /** Gives the keyboard to a prefix. */
  focusPrefix(prefix) {
    const view = this.view(prefix);
    if (view && view.mask !== null) {
      this.focus(view, this.focused?.view === view ? this.focused.place : Math.max(0, view.nearest(0)));
    }
  }

  #mark() {
    for (const view of this.views) {
      const place = this.current?.view === view ? this.current.place : -1;
      if (view.geometry && (place >= 0 || !view.ring.hidden)) { // one that was never shown has none; fit comes back
        view.mark(place);
      }
    }
  }

  /** Gives the keyboard to a cell; its canvas becomes the one that Tab reaches. */
  focus(view, place, series = this.focused?.series ?? 0) {
    this.#rove(view, place, series);
    view.canvas.focus({ preventScroll: true });
    view.element.scrollIntoView({ block: "nearest" });
    this.look(view, place, Math.min(series, view.block.seriesAt(place).length - 1));
  }

  /** A canvas has the keyboard, perhaps by a pointer: what keys do is about its block from now on. */
  adopt(canvas) {
    const view = this.views.find((v) => v.canvas === canvas);
    if (view && view !== this.focused?.view) {
      this.#rove(view, this.current?.view === view ? this.current.place : 0);
    }
  }

  #rove(view, place, series = 0) {
    if (!view) {
      return;
    }
    if (this.focused) {
      this.focused.view.canvas.tabIndex = -1;
    }
    view.canvas.tabIndex = 0;
    this.focused = { view, block: view.block, place: Math.max(0, view.nearest(place)), series };
  }

  /** Moves the keyboard's cell; at the edge of a block into the next one. */
  move(dx, dy) {
    const { view, place } = this.focused;
    const to = view.neighbour(place, dx, dy);
    if (to >= 0) {
      this.focus(view, to);
      return;
    }
    const next = this.#beside(view, dx, dy);
    if (next) {
      const { columns, rows } = this.geometry;
      const column = dx === 0 ? place % columns : dx > 0 ? 0 : columns - 1;
      const row = dy === 0 ? Math.floor(place / columns) : dy > 0 ? 0 : rows - 1;
      const at = row * columns + column;
      const step = dx + dy > 0 ? 1 : -1;
      this.focus(next, Math.max(0, next.nearest(at, step), next.nearest(at, -step)));
    }
  }

  /** Moves to the next or previous block, to the same place. */
  moveBlock(step) {
    const shown = this.#shown();
    const next = shown[shown.indexOf(this.focused.view) + step];
    if (next) {
      const place = next.nearest(this.focused.place);
      this.focus(next, place >= 0 ? place : next.nearest(0));
    }
  }

  /** The block that lies on one side of another. */
  #beside(view, dx, dy) {
    const columns = getComputedStyle(this.element).gridTemplateColumns.split(" ").length;
    const shown = this.#shown();
    return shown[shown.indexOf(view) + dx + dy * columns];
  }
}

/** The largest cells, in pixels of the screen, with which n blocks fit; and how many fit side by side. */
function fitBlocks(view, width, height, n, ratio) {
  const { head, across, down } = CHROME[view];
  const { least, scrolled, most } = CELLS[view];
  const size = (cell) => (16 * cell) / ratio;
  const columnsOf = (cell) => Math.max(1, Math.floor((width + across) / (size(cell) + across)));
  const rowsFit = (cell) => {
    const rows = Math.ceil(n / columnsOf(cell));
    return rows * (size(cell) + head + down) - down <= height;
  };
  const acrossCell = (columns) => Math.floor((((width + across) / columns - across) * ratio) / 16); // as wide as the page
  const widest = Math.max(1, Math.floor((width * ratio) / 16));
  for (let cell = Math.min(widest, Math.floor(most * ratio)); cell >= least * ratio; cell--) {
    if (rowsFit(cell)) {
      const columns = columnsOf(cell);
      const one = n > columns ? acrossCell(columns + 1) : 0;
      return one >= Math.max(cell * NEARLY, least * ratio) ? { cell: one, columns: columns + 1 } : { cell, columns };
    }
  }
  const wanted = Math.round((width < NARROW ? PHONE_SCROLLED[view] : scrolled) * ratio);
  const columns = columnsOf(wanted);
  return { cell: Math.max(1, acrossCell(columns)), columns };
}

/** The gap between blocks side by side: a little more than is needed, if they then end where the page does. */
function gapOf(view, width, columns, size, n) {
  const { across } = CHROME[view];
  const even = (width - columns * size) / (columns - 1);
  return n >= columns && columns > 1 && even < 2 * across ? Math.max(across, even) : across;
}

function fitStrips(width, ratio) {
  const { least, most } = CELLS.strips;
  const title = width < NARROW ? NARROW_STRIP_TITLE : STRIP_TITLE;
  const cell = Math.floor(((width - title) * ratio) / 256);
  return { cell: Math.min(Math.floor(most * ratio), Math.max(least, cell)), columns: 1 };
}

/** An element for a wall that has nothing to show. */
export function emptyNote(text) {
  return h("p", { class: "note" }, text);
}
