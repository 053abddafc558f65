// A block over time: one row for each address, one column for each minute or second.

import { DARK, DOWN, ERROR, LOST, NONE, UNKNOWN } from "./severity.js";
import { cause, clock, minute, ratio, rtt } from "./format.js";

const COLUMNS = 60;
const LABEL = 30; // CSS pixels for the label of a row
const AXIS = 18; // below the rows, for the times
const BETWEEN = 16; // from one group of rows to the next
const ROW = 8; // the height of a row
const TALL_ROW = 16; // and of one in a block of few addresses, which has room for the label of each
const FEW = 32; // addresses, and no more groups than that fill so many rows
const LEAST_COLUMN = 3.4; // the width of a column below which the canvas scrolls: four groups fit from 1000 on

/** Whether somebody said that it does not work, other than that nobody said anything. */
function says(why) {
  return Boolean(why) && why !== "timeout";
}

export class Heatmap {
  /** @param data an answer of /api/v1/history */
  constructor(canvas, model, series, data) {
    this.canvas = canvas;
    this.model = model;
    this.series = series;
    this.block = series.block;
    this.take(data);
  }

  /** Takes an answer of the API. */
  take(data) {
    this.data = data;
    this.rows = data.ips.map((ip, i) => ({ ip, place: this.block.place(ip), rtts: data.rtt_seconds[i], losses: data.loss_ratio[i], causes: data.error[i] }))
      .filter((row) => row.place >= 0);
    this.push(this.model.sequence); // the frame that came while the answer was under way
  }

  /** Takes a frame that has just come: it has what was decided in the second before its own. */
  push(sequence) {
    const { data, series, model } = this;
    if (data.step_seconds !== 1) {
      return;
    }
    const shift = Math.max(0, sequence - 1 - (data.from_unix + COLUMNS - 1));
    data.from_unix += shift;
    const column = sequence - 1 - data.from_unix;
    for (const row of this.rows) {
      for (let i = 0; i < Math.min(shift, COLUMNS); i++) {
        row.rtts.shift();
        row.losses.shift();
        row.causes.shift();
        row.rtts.push(null);
        row.losses.push(null);
        row.causes.push("");
      }
      if (series.times[row.place] === sequence && row.losses[column] === null) {
        const result = model.scale.result(series.codes[row.place]);
        if (result) {
          row.rtts[column] = result.rtt ?? null;
          row.losses[column] = result.cause ? 1 : 0;
          row.causes[column] = result.cause ?? "";
        }
      }
    }
  }

  /** Draws all of it in a width of so many CSS pixels. */
  draw(width, palette) {
    const ratio = devicePixelRatio || 1;
    const most = width > 1000 ? 4 : width > 560 ? 2 : 1;
    const groups = Math.min(most, Math.ceil(this.rows.length / FEW) || 1);
    const height = this.rows.length > FEW ? ROW : TALL_ROW;
    const each = Math.ceil(this.rows.length / groups) || 1;
    const group = (width - BETWEEN * (groups - 1)) / groups;
    const column = Math.max(LEAST_COLUMN, (group - LABEL) / COLUMNS);
    const pitch = LABEL + column * COLUMNS + BETWEEN;
    this.geometry = { groups, each, height, column, pitch };
    const w = pitch * groups - BETWEEN;
    const h = each * height + AXIS;
    this.canvas.width = Math.round(w * ratio);
    this.canvas.height = Math.round(h * ratio);
    this.canvas.style.width = `${w}px`;
    this.canvas.style.height = `${h}px`;
    const context = this.canvas.getContext("2d");
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    context.clearRect(0, 0, w, h);
    this.rows.forEach((row, i) => this.#row(context, row, Math.floor(i / each) * pitch, (i % each) * height, palette));
    this.#axes(context, palette);
  }

  #row(context, row, x, y, palette) {
    const { column, height } = this.geometry;
    const gap = column > 5 ? 1 : 0;
    context.fillStyle = palette.quiet;
    context.font = "9px sans-serif";
    context.textAlign = "right";
    context.textBaseline = "middle";
    if (height === TALL_ROW || row.place % 2 === 0) { // each second low row: more would touch each other
      context.fillText(this.block.label(row.place), x + LABEL - 5, y + height / 2);
    }
    const dark = this.series.classes[row.place] === DARK;
    const unknown = this.#unknownFrom(row);
    for (let i = 0; i < COLUMNS; i++) {
      const cls = i >= unknown ? UNKNOWN : this.#classOf(row, i, dark);
      if (cls === NONE) {
        continue;
      }
      // Edges lie on whole pixels, or neighbours would run into each other.
      const left = Math.round(x + LABEL + i * column);
      const width = Math.round(x + LABEL + (i + 1) * column) - left - gap;
      context.fillStyle = palette.classes[cls];
      context.fillRect(left, y, width, height - 1);
      const lost = row.losses[i];
      if (lost > 0 && lost < 1) { // the part of the minute that was lost
        const part = Math.max(1, width * lost);
        context.fillStyle = palette.classes[says(row.causes[i]) ? ERROR : LOST];
        context.fillRect(left + width - part, y, part, height - 1);
      }
    }
  }

  /** The column from which on nothing is known of an address that is unknown now. */
  #unknownFrom(row) {
    if (this.series.classes[row.place] !== UNKNOWN) {
      return COLUMNS;
    }
    return row.losses.findLastIndex((loss) => loss !== null && loss !== undefined) + 1;
  }

  #classOf(row, i, dark) {
    if (row.rtts[i] !== null) {
      return this.model.classOfSeconds(this.series, row.place, row.rtts[i]);
    }
    if (row.losses[i] === null || row.losses[i] === undefined) {
      return dark ? DARK : NONE;
    }
    // An hour counts no loss of an address that was dark then: what it has is of another time than now.
    if (dark && this.data.step_seconds === 1) {
      return DARK;
    }
    if (says(row.causes[i])) {
      return ERROR;
    }
    return this.data.step_seconds > 1 ? DOWN : LOST;
  }

  #axes(context, palette) {
    const { groups, each, height, column, pitch } = this.geometry;
    context.fillStyle = palette.quiet;
    context.font = "10px sans-serif";
    context.textBaseline = "top";
    const every = column * COLUMNS > 360 ? 10 : 20;
    for (let g = 0; g < groups; g++) {
      for (let i = 0; i < COLUMNS; i++) {
        const unix = this.data.from_unix + i * this.data.step_seconds;
        if ((unix / this.data.step_seconds) % every === 0) {
          context.textAlign = i < 3 ? "left" : i > COLUMNS - 4 ? "right" : "center";
          context.fillText(this.data.step_seconds === 60 ? minute(unix) : clock(new Date(unix * 1000)), g * pitch + LABEL + i * column, each * height + 4);
        }
      }
    }
  }

  /** What is under a point in CSS pixels: {ip, place, text}; null: nothing. */
  at(x, y) {
    const { each, height, column, pitch } = this.geometry;
    const g = Math.floor(x / pitch);
    const i = Math.floor((x - g * pitch - LABEL) / column);
    const r = Math.floor(y / height);
    const row = r < each ? this.rows[g * each + r] : undefined;
    if (!row) {
      return null;
    }
    const cell = i >= 0 && i < COLUMNS ? i : -1;
    const text = cell < 0 ? "" : this.#describe(row, cell);
    return { ip: row.ip, place: row.place, text };
  }

  #describe(row, i) {
    const unix = this.data.from_unix + i * this.data.step_seconds;
    const time = this.data.step_seconds === 60 ? minute(unix) : clock(new Date(unix * 1000));
    if (row.losses[i] === null && row.rtts[i] === null) {
      return `${time}: ${i >= this.#unknownFrom(row) ? "unknown" : "no probe"}`;
    }
    const why = says(row.causes[i]) ? ` (${cause(row.causes[i])})` : "";
    const parts = [row.rtts[i] === null ? `no answer${why}` : rtt(row.rtts[i])];
    if (row.losses[i] > 0 && row.losses[i] < 1) {
      parts.push(`${ratio(row.losses[i])} lost${why}`);
    }
    return `${time}: ${parts.join(", ")}`;
  }
}
