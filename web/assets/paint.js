// Drawing cells: geometry and colours of one block on a canvas. A cell has an ICMP half on the left and
// a TCP half on the right, which the ports share from top to bottom.

import { CLASSES, ERROR, LOST, RED, UNKNOWN } from "./severity.js";

/** The shapes of a block: columns and rows. */
export const SHAPES = { blocks: [16, 16], mosaic: [16, 16], strips: [256, 1] };

/** Below this many pixels a cell has no gap: it would cost too much of it. */
const GAP_FROM = 6;

/** From this many pixels on, red cells of the safe palette carry a mark. */
const MARK_FROM = 7;

/** From this many pixels on, what is unknown is hatched, and what is dark and rejected has a dot. */
const HATCH_FROM = 7;

/** How many places a strip or block has. */
export const PLACES = 256;

/** Reads the colours of all classes from the style sheet, for the current theme and palette. */
export function colours(element = document.documentElement) {
  const style = getComputedStyle(element);
  const read = (name) => style.getPropertyValue(name).trim();
  return {
    classes: CLASSES.map((name) => read(`--${name}`)),
    faded: CLASSES.map((name) => read(`--${name}-faded`) || read("--faded")),
    text: read("--text"),
    quiet: read("--quiet"),
    line: read("--line"),
    accent: read("--accent"),
    surface: read("--surface"),
    series: [1, 2, 3, 4, 5, 6].map((i) => read(`--series-${i}`)),
    marks: read("--marks") === "1",
  };
}

/** Geometry of one block, in pixels of the canvas. */
export class Geometry {
  /**
   * @param {string} view a key of SHAPES
   * @param {number} cell width of a cell, gap included
   * @param {number} height of a cell, gap included
   */
  constructor(view, cell, height = cell) {
    [this.columns, this.rows] = SHAPES[view];
    this.cell = cell;
    this.height = height;
    this.gap = cell >= GAP_FROM && view !== "mosaic" ? 1 : 0;
    this.rowGap = this.rows > 1 ? this.gap : 0;
  }

  get canvasWidth() {
    return this.columns * this.cell - this.gap;
  }

  get canvasHeight() {
    return this.rows * this.height - this.rowGap;
  }

  /** The corner and size of a cell. */
  rect(place) {
    const column = place % this.columns;
    const row = Math.floor(place / this.columns);
    return [column * this.cell, row * this.height, this.cell - this.gap, this.height - this.rowGap];
  }

  /** The place under a point of the canvas, and in which part of the cell it is (0 to 1 each way). */
  at(x, y) {
    const column = Math.min(this.columns - 1, Math.max(0, Math.floor(x / this.cell)));
    const row = Math.min(this.rows - 1, Math.max(0, Math.floor(y / this.height)));
    return { place: row * this.columns + column, u: x / this.cell - column, v: y / this.height - row };
  }

  /** The part of a cell that one of n series has: ICMP the left half, the others share the right one. */
  part([x, y, w, h], series, i) {
    const icmp = series[0]?.probe === "icmp";
    if (series.length === 1) {
      return [x, y, w, h];
    }
    const left = icmp ? Math.ceil(w / 2) : 0;
    if (icmp && i === 0) {
      return [x, y, left, h];
    }
    const n = series.length - (icmp ? 1 : 0);
    const k = i - (icmp ? 1 : 0);
    const top = Math.round((k * h) / n);
    return [x + left, y + top, w - left, Math.round(((k + 1) * h) / n) - top];
  }

  /** Which series is at a point of a cell. */
  seriesAt(series, u, v) {
    const icmp = series[0]?.probe === "icmp";
    if (series.length === 1 || (icmp && u < 0.5)) {
      return 0;
    }
    const n = series.length - (icmp ? 1 : 0);
    return Math.min(n - 1, Math.max(0, Math.floor(v * n))) + (icmp ? 1 : 0);
  }
}

/** Draws what has changed of a block since the last time; all of it if it is stale. */
export function paintBlock(context, block, geometry, palette, mask) {
  if (block.stale) {
    context.clearRect(0, 0, context.canvas.width, context.canvas.height);
  }
  for (let place = 0; place < PLACES; place++) {
    if (block.stale || block.dirty[place]) {
      paintCell(context, block, geometry, palette, place, mask && mask !== true && !mask[place]);
    }
  }
  block.dirty.fill(0);
  block.stale = block.changed = false;
}

function paintCell(context, block, geometry, palette, place, faded) {
  if (!block.configured[place]) {
    return;
  }
  const rect = geometry.rect(place);
  const series = block.seriesAt(place);
  for (let i = 0; i < series.length; i++) {
    const cls = series[i].classes[place];
    const [x, y, w, h] = geometry.part(rect, series, i);
    context.fillStyle = (faded ? palette.faded : palette.classes)[cls];
    context.fillRect(x, y, w, h);
    if (palette.marks && (cls === RED || cls === ERROR) && geometry.cell >= MARK_FROM) {
      dot(context, palette.surface, x, y, w, h);
    } else if (!faded && geometry.cell >= HATCH_FROM && series[i].rejected(place)) {
      dot(context, palette.classes[LOST], x, y, w, h);
    } else if (!faded && cls === UNKNOWN && geometry.cell >= HATCH_FROM) {
      hatch(context, palette.surface, x, y, w, h);
    }
  }
}

function dot(context, colour, x, y, w, h) {
  context.fillStyle = colour;
  context.fillRect(x + Math.floor(w / 2) - 1, y + Math.floor(h / 2) - 1, 2, 2);
}

/** A stroke from the lower left to the upper right, which is seen without colours. */
function hatch(context, colour, x, y, w, h) {
  context.save();
  context.beginPath();
  context.rect(x, y, w, h);
  context.clip();
  context.strokeStyle = colour;
  context.lineWidth = Math.max(1, w / 8);
  context.beginPath();
  context.moveTo(x, y + h);
  context.lineTo(x + w, y);
  context.stroke();
  context.restore();
}
