// The running graphs over all addresses: mean RTT and lost probes of each second, one graph for each probe.

import { byId, fill, h, setText } from "./dom.js";
import { count, probe as probeName, rtt } from "./format.js";
import { ChartHolder, sparkline } from "./chart.js";

/** How many seconds are kept: ten minutes. */
const SECONDS = 600;

/** How many are shown: the fewest that hold all that there is, which is a minute at first. */
const WIDTHS = [75, 150, 300, SECONDS];

/** Probes that are sent once a minute by each address are sparse in one second: those are smoothed over so many. */
const SMOOTH = 10;

export class Trends {
  #graphs = new Map(); // by the key of the kind
  #element = byId("trends");

  constructor(model) {
    this.model = model;
  }

  /** Makes the graphs of a new layout; those of probes that stay keep what they have. */
  build(palette) {
    const old = this.#graphs;
    this.#graphs = new Map();
    this.model.kinds.forEach((kind, i) => {
      this.#graphs.set(kind.key, old.get(kind.key) ?? new Graph(kind, palette, palette.series[i % palette.series.length]));
    });
    fill(this.#element, [...this.#graphs.values()].map((g) => g.element));
    for (const [key, graph] of old) {
      if (!this.#graphs.has(key)) {
        graph.destroy();
      }
    }
  }

  /** Makes all graphs again, in other colours. */
  restyle(palette) {
    for (const [i, graph] of [...this.#graphs.values()].entries()) {
      graph.restyle(palette.series[i % palette.series.length], palette);
    }
  }

  /** Fills gaps of the last minute, such as that before the page was opened, from a summary of the API. */
  fill(probes) {
    for (const { probe, port, seconds } of probes) {
      this.#graphs.get(`${probe}/${port}`)?.fill(seconds, this.model.sequence);
    }
  }

  /** Takes the newest second. */
  take() {
    for (const kind of this.model.kinds) {
      this.#graphs.get(kind.key)?.push(this.model.sequence, kind);
    }
  }
}

class Graph {
  #seconds = []; // {time, sum, answered, lost}, oldest first
  #times = [];
  #means = [];
  #lost = [];
  #chart = new ChartHolder();
  #make = null; // makes it

  constructor(kind, palette, colour) {
    this.smooth = kind.probe === "icmp" ? 1 : SMOOTH;
    this.value = h("b", {}, "–");
    this.down = h("span", { class: "bad" });
    this.unknown = h("span", { class: "doubt" });
    this.up = h("span", {});
    this.plot = h("div", { class: "chart" });
    this.element = h("div", { class: "trend", "data-probe": kind.key },
      h("p", {}, h("span", {}, probeName(kind)), this.value, h("span", { class: "note" }, this.down, this.unknown, this.up)), this.plot);
    this.restyle(colour, palette);
  }

  restyle(colour, palette) {
    this.#make = () => sparkline(this.plot, colour, palette.classes[7]);
    this.#begin();
  }

  #begin() {
    this.#chart.put(new Promise((done) => requestAnimationFrame(done)).then(this.#make));
    this.#chart.use(() => this.#draw());
  }

  /** Ends the chart. */
  destroy() {
    this.#chart.drop();
  }

  push(time, kind) {
    const { sum, answered, lost } = kind;
    this.#seconds.push({ time, sum, answered, lost });
    this.#seconds.splice(0, this.#seconds.length - SECONDS);
    this.#add(this.#seconds.length - 1);
    const { up, down, unknown } = kind.states;
    setText(this.value, rtt(this.#means.at(-1)));
    setText(this.down, down > 0 ? `${count(down)} down ` : ""); // first, so that it is what fits
    setText(this.unknown, unknown > 0 ? `${count(unknown)} unknown ` : "");
    setText(this.up, down > 0 || unknown > 0 ? `of ${count(up + down + unknown)}` : `${count(up)} up`);
    this.#draw();
  }

  /**
   * Takes those seconds of the API up to the newest frame that are missing. A frame ends the second before its own,
   * and has one result of each address, a loss before an answer; the API counts all, which are more where an
   * interval is below a second.
   */
  fill({ from_unix: from, mean_seconds: means, answered, lost }, newest) {
    if (this.#chart.empty) { // it could not be made
      this.#begin();
    }
    const known = new Set(this.#seconds.map((s) => s.time));
    const missing = means.map((mean, i) => ({ time: from + i + 1, sum: (mean ?? 0) * answered[i], answered: answered[i], lost: lost[i] }))
      .filter((s) => s.time <= newest && s.answered + s.lost > 0 && !known.has(s.time));
    if (missing.length === 0) {
      return;
    }
    this.#seconds = [...missing, ...this.#seconds].sort((a, b) => a.time - b.time);
    this.#times = [];
    this.#means = [];
    this.#lost = [];
    this.#seconds.forEach((_, i) => this.#add(i));
    this.#draw();
  }

  /** Adds what the graph shows of a second. */
  #add(i) {
    const recent = this.#seconds.slice(Math.max(0, i + 1 - this.smooth), i + 1);
    const answered = recent.reduce((n, s) => n + s.answered, 0);
    this.#times.push(this.#seconds[i].time);
    this.#means.push(answered > 0 ? recent.reduce((n, s) => n + s.sum, 0) / answered : null);
    this.#lost.push(this.#seconds[i].lost || null);
    for (const list of [this.#times, this.#means, this.#lost]) {
      list.splice(0, list.length - SECONDS);
    }
  }

  #draw() {
    this.#chart.use((chart) => {
      const last = this.#times.at(-1);
      if (last === undefined || document.hidden) {
        return;
      }
      this.element.dataset.seconds = this.#times.length;
      chart.update([this.#times, this.#lost, this.#means], { min: last - WIDTHS.find((w) => w >= last - this.#times[0] || w === SECONDS), max: last });
    });
  }
}
