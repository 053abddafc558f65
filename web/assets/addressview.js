// One address: its states, the last 60 seconds as dials, the last hour as a chart, its route, its events and
// its numbers beside those of its prefix and of everything.

import { fill, h, refill, setText } from "./dom.js";
import { every, paths } from "./api.js";
import { DOWN, ERROR, LOST, NONE, UNKNOWN, stepOf } from "./severity.js";
import { Dial } from "./dial.js";
import { ChartHolder, RIGHT, hourChart } from "./chart.js";
import { NUMBERS } from "./inspector.js";
import { routeSection } from "./routes.js";
import * as format from "./format.js";
import { explain } from "./words.js";

/** How often the API is asked again: between, the frames move the dials on. */
const REFRESH_MS = 5000;

/** The first probe is the one that is asked every second: its dial is the large one. */
const LARGE = 230;
const SMALL = 122;
const CHART_HEIGHT = 270;
const STRIP_ROW = 20;

const HOUR_NOTE = "mean as a line, minimum to maximum as a band";

export class AddressView {
  #stop = null;
  #dials = [];
  #chart = new ChartHolder();
  #ip = "";
  #shape = ""; // the probes that are shown, and whether there is a nominal RTT

  constructor(element, { model, cache, settings, wall, events }) {
    Object.assign(this, { element, model, cache, settings, wall, events });
  }

  /** Shows an address; "" hides the view. */
  show(ip) {
    if (ip === this.#ip) {
      return;
    }
    this.#end();
    this.#ip = ip;
    this.element.hidden = ip === "";
    if (ip !== "") {
      this.element.dataset.ip = ip;
      fill(this.element, this.#back(), h("p", { class: "note" }, `${ip} …`));
      this.#stop = every(REFRESH_MS, () => this.#fetch(ip));
      this.element.tabIndex = -1;
      this.element.focus({ preventScroll: true });
      scrollTo(0, 0);
    }
  }

  /** Asks at once: a reload may have changed anything, or taken the address out. */
  again() {
    if (this.#ip !== "") {
      this.#fetch(this.#ip);
    }
  }

  #back() {
    return h("p", {}, h("a", { href: this.settings.href({ ip: "" }), "data-home": true }, "← all addresses"), " ", h("kbd", {}, "Esc"));
  }

  #end() {
    this.#stop?.();
    this.#stop = null;
    this.#chart.drop();
    this.#dials = [];
    this.built = false;
  }

  async #fetch(ip) {
    if (this.model.revision > 0 && !this.model.find(ip)) { // or a link may be wrong
      this.#fail(`${ip} is not in the configuration: it is not probed.`);
      return;
    }
    try {
      const [data, prefixes, summary] = await Promise.all([
        this.cache.get(paths.ip(ip), 1000), this.cache.get(paths.prefixes(), REFRESH_MS), this.cache.get(paths.summary(), 2000)]);
      if (ip !== this.#ip) {
        return;
      }
      const prefix = prefixes.prefixes.find((p) => p.prefix === data.prefix);
      const shape = [...data.probes.map(format.probe), data.nominal_rtt_seconds && "nominal"].filter(Boolean).join(" ");
      if (!this.built || shape !== this.#shape) { // a reload may have added a port
        this.#shape = shape;
        this.#chart.drop();
        this.#build(data);
      }
      this.#update(data, prefix, summary);
    } catch (error) {
      // A reload may have taken the address out. Other errors pass: the connection is shown elsewhere.
      if (ip === this.#ip && (!this.built || !this.model.find(ip))) {
        this.#fail(error.message);
      }
    }
  }

  #fail(message) {
    this.#chart.drop();
    this.built = false;
    fill(this.element, this.#back(), h("p", { class: "note bad" }, message));
  }

  #build(data) {
    this.built = true;
    this.states = h("div", { class: "states" });
    this.name = h("span", { class: "name" });
    this.facts = h("p", { class: "facts" });
    this.numbers = h("div", { class: "scroll" });
    this.routes = h("div", {});
    this.list = h("ol", {});
    this.chartBox = h("div", { class: "chart" });
    this.strip = h("canvas", { role: "img", "aria-label": "State by minute of each probe" });
    this.circles = h("small", {});
    this.readout = h("small", {}, HOUR_NOTE);
    this.stripBox = h("div", {}, this.strip);
    this.#dials = data.probes.map((p, i) => {
      const canvas = h("canvas", { role: "img", "aria-label": `${format.probe(p)}, the last 60 seconds` });
      const note = h("figcaption", {}, "");
      return { probe: p, canvas, note, dial: new Dial(canvas, i === 0 ? LARGE : SMALL), element: h("figure", { class: "dial" }, canvas, note) };
    });
    fill(this.element, this.#back(),
      h("header", {}, h("h2", {}, data.ip), this.name, this.states, this.facts),
      h("div", { class: "row" },
        h("section", { class: "card" }, h("h3", {}, "Last 60 seconds", this.circles), h("div", { class: "dials" }, this.#dials.map((d) => d.element))),
        h("section", { class: "card" }, h("h3", {}, "Last hour", this.readout, chartKeys(data)), this.chartBox, this.stripBox)),
      h("section", { class: "card" }, h("h3", {}, "Numbers", h("small", {}, "of the last hour")), this.numbers),
      h("div", { class: "row even" },
        h("section", { class: "card" }, this.routes),
        h("section", { class: "card" }, h("h3", {}, "Events"), this.list)));
    this.element.setAttribute("aria-label", `Address ${data.ip}`);
  }

  #update(data, prefix, summary) {
    this.data = data;
    setText(this.name, data.name);
    refill(this.facts, h("a", { href: this.settings.href({ prefix: data.prefix, ip: "" }), "data-prefix": data.prefix }, data.prefix),
      [prefix?.name, prefix?.router && `router ${prefix.router}`, prefix?.tenants?.length && `tenants ${prefix.tenants.join(", ")}`,
        data.nominal_rtt_seconds && `nominal ${format.rtt(data.nominal_rtt_seconds)}`].filter(Boolean).map((t) => ` · ${t}`).join(""));
    fill(this.states, data.probes.map((p) => h("span", { class: "chip", "data-state": p.state, "data-probe": `${p.probe}/${p.port}` }, `${format.probe(p)} ${explain(p, data.ip)}`)));
    fill(this.numbers, manyNumbers(data, prefix, summary, this.model.sequence));
    fill(this.routes, routeSection(data.routes));
    refill(this.list, data.events?.length ? [...data.events].reverse().map((e) => this.events.row(e)) : h("li", { class: "facts" }, "None is kept."));
    data.probes.forEach((p, i) => this.#dials[i]?.dial.take(p.seconds));
    this.refresh(); // with the frame that came while the answer was under way
    this.redraw();
    this.#drawChart();
  }

  #drawChart() {
    const { data } = this;
    const now = {
      minutes: data.probes.map((p) => p.minutes), loss: data.probes[0].minutes.loss_ratio.map((l) => l || null), nominal: data.nominal_rtt_seconds,
    };
    if (!this.#chart.empty) {
      this.#chart.use((chart) => chart.update(now));
      return;
    }
    this.#chart.put(hourChart(this.chartBox, { // if it fails, the next answer makes it again
      probes: data.probes.map(format.probe), ...now, palette: this.wall.palette, height: CHART_HEIGHT,
      point: (text) => setText(this.readout, text || HOUR_NOTE),
    }));
  }

  /** Takes the newest second. */
  refresh() {
    const found = this.built && this.model.find(this.#ip);
    if (!found) {
      return;
    }
    const { sequence, scale } = this.model;
    for (const { probe, dial } of this.#dials) {
      const s = found.block.series.find((x) => x.probe === probe.probe && x.port === probe.port);
      if (!s) {
        continue;
      }
      // A frame has what was decided in the second before its own.
      dial.push(sequence - 1, s.times[found.place] === sequence ? scale.result(s.codes[found.place]) : null);
    }
    this.#drawDials();
  }

  /** Draws in other colours. */
  restyle() {
    if (!this.built) {
      return;
    }
    this.redraw();
    this.#chart.drop();
    this.#drawChart();
  }

  /** Draws against another reference. */
  redraw() {
    if (this.built) {
      this.#drawDials();
      this.#drawStrip();
    }
  }

  #drawDials() {
    const found = this.model.find(this.#ip);
    for (const { probe, dial, note } of this.#dials) {
      const s = found?.block.series.find((x) => x.probe === probe.probe && x.port === probe.port);
      const reference = s ? this.model.referenceSeconds(s, found.place) : this.data?.nominal_rtt_seconds;
      dial.draw({
        reference, palette: this.wall.palette,
        classOf: (seconds) => (s ? this.model.classOfSeconds(s, found.place, seconds) : stepOf(seconds / (reference || seconds))),
        errorClass: lossClass,
        unknown: s?.state(found.place) === "unknown",
      });
      setText(note, format.probe(probe));
      if (probe === this.#dials[0].probe) {
        setText(this.circles, reference ? `circles at ${format.rtt(reference)} and twice that` : "");
      }
    }
  }

  #drawStrip() {
    const { data, strip } = this;
    const width = this.stripBox.clientWidth;
    if (!data || width === 0) {
      return;
    }
    const ratio = devicePixelRatio || 1;
    const left = 62; // as wide as the axis of the chart above
    const height = data.probes.length * STRIP_ROW;
    Object.assign(strip, { width: Math.round(width * ratio), height: Math.round(height * ratio) });
    Object.assign(strip.style, { width: `${width}px`, height: `${height}px` });
    const c = strip.getContext("2d");
    c.setTransform(ratio, 0, 0, ratio, 0, 0);
    c.textBaseline = "middle";
    c.font = "11px sans-serif";
    const column = (width - left - RIGHT) / 60;
    data.probes.forEach((p, row) => {
      c.fillStyle = this.wall.palette.quiet;
      c.textAlign = "right";
      c.fillText(format.probe(p), left - 8, row * STRIP_ROW + STRIP_ROW / 2);
      const measured = p.minutes.loss_ratio.findLastIndex((loss) => loss !== null);
      p.minutes.rtt_seconds.forEach((seconds, i) => {
        const cls = p.state === "unknown" && i > measured ? UNKNOWN : this.#minuteClass(p, seconds, p.minutes.loss_ratio[i], p.minutes.error[i]);
        if (cls !== NONE) {
          c.fillStyle = this.wall.palette.classes[cls];
          c.fillRect(left + i * column, row * STRIP_ROW + 3, column - 1, STRIP_ROW - 5);
        }
        const lost = p.minutes.loss_ratio[i];
        if (lost > 0 && lost < 1) { // the part of the minute that was lost
          const part = Math.max(1, (column - 1) * lost);
          c.fillStyle = this.wall.palette.classes[lossClass(p.minutes.error[i])];
          c.fillRect(left + (i + 1) * column - 1 - part, row * STRIP_ROW + 3, part, STRIP_ROW - 5);
        }
      });
    });
  }

  #minuteClass(p, seconds, loss, cause) {
    if (seconds === null || seconds === undefined) {
      return loss > 0 ? (cause === "timeout" ? DOWN : ERROR) : NONE;
    }
    const found = this.model.find(this.#ip);
    const s = found?.block.series.find((x) => x.probe === p.probe && x.port === p.port);
    return s ? this.model.classOfSeconds(s, found.place, seconds) : stepOf(seconds / (this.data.nominal_rtt_seconds || seconds));
  }
}

/** The class of a loss: nobody said anything, or somebody said that it does not work. */
function lossClass(cause) {
  return cause === "timeout" ? LOST : ERROR;
}

/** What the lines of the chart are. Losses are those of the first probe; the strip below has all. */
function chartKeys({ probes, nominal_rtt_seconds: nominal }) {
  return h("span", { class: "keys" },
    probes.map((p, i) => h("span", {}, h("i", { "data-series": i % 6 }), format.probe(p))),
    h("span", {}, h("i", { "data-series": "loss" }), `${format.probe(probes[0])} loss`),
    nominal && h("span", {}, h("i", { "data-series": "nominal" }), "nominal"));
}

/** All numbers of all probes: of the address, its prefix, and everything. */
function manyNumbers(data, prefix, summary, now) {
  const rows = data.probes.flatMap((p) => {
    const same = (o) => o?.probes.find((x) => x.probe === p.probe && x.port === p.port)?.numbers;
    return [[format.probe(p), p.numbers], [data.prefix, same(prefix)], ["everything", same(summary)]].filter(([, n]) => n)
      .map(([name, n], i) => ({ name, n, head: i === 0, key: `${p.probe}/${p.port}` }));
  });
  return h("table", { class: "numbers many" },
    h("thead", {}, h("tr", {}, h("th", {}, ""), NUMBERS.map(([, name]) => h("th", { scope: "col" }, name)))),
    h("tbody", {}, rows.map(({ name, n, head, key }) => h("tr", { "data-probe": key, class: head ? "head" : "" },
      h("th", { scope: "row" }, head ? h("b", {}, name) : `\u2003${name}`), NUMBERS.map(([field, , write]) => h("td", { "data-number": field }, write(n[field], n, now)))))));
}
