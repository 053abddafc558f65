// The running graphs over all addresses: mean RTT and lost probes of each second, one graph for each probe.

import { byId, fill, h, setText } from "./dom.js";
import { count, probe as probeName, rtt } from "./format.js";
import { sparkline } from "./chart.js";

/** How many seconds are kept: ten minutes. */
const SECONDS = 600;

/** How many are shown: the fewest that hold all that there is, so that the first minute is no empty graph. */
const WIDTHS = [60, 150, 300, SECONDS];

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
  }

  /** Makes all graphs anew, in other colours. */
  restyle(palette) {
    for (const [i, graph] of [...this.#graphs.values()].entries()) {
      graph.restyle(palette.series[i % palette.series.length], palette);
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
  #times = [];
  #means = [];
  #lost = [];
  #recent = []; // {sum, answered, lost} of the last SMOOTH seconds
  #chart = null;

  constructor(kind, palette, colour) {
    this.value = h("b", {}, "–");
    this.note = h("span", {});
    this.plot = h("div", { class: "chart" });
    this.element = h("div", { class: "trend", "data-probe": kind.key },
      h("p", {}, h("span", {}, probeName(kind)), this.value, this.note), this.plot);
    this.restyle(colour, palette);
  }

  restyle(colour, palette) {
    this.#chart?.then((chart) => chart.destroy());
    this.plot.style.height = "100%";
    this.#chart = new Promise((done) => requestAnimationFrame(done)).then(() => sparkline(this.plot, colour, palette.classes[7]));
    this.#chart.then(() => this.#draw());
  }

  push(time, kind) {
    this.#recent.push({ sum: kind.sum, answered: kind.answered, lost: kind.lost });
    if (this.#recent.length > (kind.probe === "icmp" ? 1 : SMOOTH)) {
      this.#recent.shift();
    }
    const sum = this.#recent.reduce((s, r) => s + r.sum, 0);
    const answered = this.#recent.reduce((s, r) => s + r.answered, 0);
    const mean = answered > 0 ? sum / answered : null;
    this.#times.push(time);
    this.#means.push(mean);
    this.#lost.push(kind.lost || null);
    for (const list of [this.#times, this.#means, this.#lost]) {
      list.splice(0, list.length - SECONDS);
    }
    const { up, down } = kind.states;
    setText(this.value, rtt(mean));
    setText(this.note, down > 0 ? `${count(up)} up, ${count(down)} down` : `${count(up)} up`);
    this.note.classList.toggle("bad", down > 0);
    this.#draw();
  }

  #draw() {
    this.#chart.then((chart) => {
      const last = this.#times.at(-1);
      if (last === undefined || document.hidden) {
        return;
      }
      chart.batch(() => {
        chart.setData([this.#times, this.#lost, this.#means], true);
        chart.setScale("x", { min: last - WIDTHS.find((w) => w >= last - this.#times[0] || w === SECONDS), max: last });
      });
    });
  }
}
