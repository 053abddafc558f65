// The circular graph of the last 60 seconds: one sector a second, as on the face of a clock; the radius is
// the RTT, the colour that of the cell, and the hand moves on.

import { LOST } from "./severity.js";
import { rtt } from "./format.js";

const SECTORS = 60;
const TURN = 2 * Math.PI;

/** So old a result is not of now. */
const OLD_S = 10;

/** The inner circle, as a share of the radius: the newest RTT stands in it. */
const HUB = 0.3;

export class Dial {
  seconds = new Map(); // by Unix second: {rtt} or {cause}
  now = 0;
  #told = 0; // the newest second of which the API has told all that was known at its end

  constructor(canvas, size) {
    this.canvas = canvas;
    this.size = size;
    const ratio = devicePixelRatio || 1;
    canvas.width = canvas.height = Math.round(size * ratio);
    canvas.style.width = canvas.style.height = `${size}px`;
    this.context = canvas.getContext("2d");
    this.context.setTransform(ratio, 0, 0, ratio, 0, 0);
  }

  /**
   * Takes the seconds of the API: {from_unix, rtt_seconds, error}. Its results stand where they were sent, those
   * of frames where they were decided, which may be seconds later. So what it has nothing of goes, but for the
   * newest second, which was not over.
   */
  take({ from_unix: from, rtt_seconds: rtts, error }) {
    const newest = from + rtts.length - 1;
    rtts.forEach((value, i) => {
      if (value !== null) {
        this.seconds.set(from + i, { rtt: value });
      } else if (error[i]) {
        this.seconds.set(from + i, { cause: error[i] });
      } else if (from + i < newest) {
        this.seconds.delete(from + i);
      }
    });
    this.now = Math.max(this.now, newest);
    this.#told = Math.max(this.#told, newest - 1);
  }

  /** Takes the result of a second that has just come; null: there was none. */
  push(unix, result) {
    this.now = Math.max(this.now, unix);
    if (result && unix > this.#told) {
      this.seconds.set(unix, result);
    }
    for (const second of this.seconds.keys()) {
      if (second <= unix - SECTORS) {
        this.seconds.delete(second);
      }
    }
  }

  /**
   * Draws it.
   * @param classOf says the class of an RTT in seconds, errorClass that of a cause
   * @param reference in seconds, whose circles are drawn; null: none
   * @param unknown whether nothing is known of now
   */
  draw({ classOf, errorClass, reference, palette, unknown }) {
    const { context: c, size } = this;
    const middle = size / 2;
    const rim = middle - 4;
    const hub = rim * HUB;
    const shown = [...this.seconds].filter(([unix]) => unix > this.now - SECTORS && unix <= this.now).sort(([a], [b]) => a - b);
    const highest = Math.max(...shown.map(([, s]) => s.rtt ?? 0), (reference ?? 0) * 2.2, 1e-6);
    const radius = (seconds) => hub + (rim - hub) * (seconds / highest);
    c.clearRect(0, 0, size, size);
    this.#circles(middle, rim, radius, reference, palette);
    for (const [unix, second] of shown) {
      const lost = second.rtt === undefined;
      const age = (this.now - unix) / SECTORS;
      c.globalAlpha = 1 - 0.6 * age;
      c.fillStyle = palette.classes[lost ? errorClass?.(second.cause) ?? LOST : classOf(second.rtt)];
      this.#sector(middle, hub, lost ? rim : Math.max(hub + 2, radius(second.rtt)), unix, lost ? 0.25 : 0.08);
    }
    c.globalAlpha = 1;
    this.#hand(middle, hub, rim, palette);
    this.#text(middle, shown.at(-1), unknown, palette);
  }

  #circles(middle, rim, radius, reference, palette) {
    const c = this.context;
    c.lineWidth = 1;
    c.strokeStyle = palette.line;
    const all = reference ? [rim, radius(reference), radius(2 * reference)] : [rim];
    all.forEach((r, i) => {
      c.setLineDash(i === 1 ? [3, 3] : []);
      c.beginPath();
      c.arc(middle, middle, Math.min(r, rim), 0, TURN);
      c.stroke();
    });
    c.setLineDash([]);
  }

  #sector(middle, inner, outer, unix, narrow) {
    const c = this.context;
    const at = ((unix % SECTORS) / SECTORS) * TURN - TURN / 4;
    const width = TURN / SECTORS;
    c.beginPath();
    c.arc(middle, middle, outer, at + width * narrow, at + width * (1 - narrow));
    c.arc(middle, middle, inner, at + width * (1 - narrow), at + width * narrow, true);
    c.fill();
  }

  #hand(middle, hub, rim, palette) {
    const c = this.context;
    const at = (((this.now + 1) % SECTORS) / SECTORS) * TURN - TURN / 4;
    c.strokeStyle = palette.text;
    c.lineWidth = 1.5;
    c.beginPath();
    c.moveTo(middle + Math.cos(at) * hub, middle + Math.sin(at) * hub);
    c.lineTo(middle + Math.cos(at) * rim, middle + Math.sin(at) * rim);
    c.stroke();
  }

  /** The newest result, and how old it is if it is not of now. What is unknown has none. */
  #text(middle, newest, unknown, palette) {
    const c = this.context;
    const [unix, result] = newest ?? [this.now, null];
    const age = this.now - unix;
    const old = !unknown && age >= OLD_S;
    const height = Math.round(this.size / 17);
    c.fillStyle = palette.text;
    c.textAlign = "center";
    c.textBaseline = "middle";
    c.font = `600 ${height}px sans-serif`;
    const text = result === null ? "–" : result.rtt === undefined ? "lost" : rtt(result.rtt);
    c.fillText(unknown ? "unknown" : text, middle, middle - (old ? height * 0.6 : 0));
    if (old) {
      c.fillStyle = palette.quiet;
      c.font = `${Math.round(height * 0.9)}px sans-serif`;
      c.fillText(`${age} s ago`, middle, middle + height * 0.7);
    }
  }
}
