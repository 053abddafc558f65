// What one sees of the address that one looks at: a tip beside the pointer, from the newest frame, and the
// numbers of the last hour of the address, its prefix and everything, from the API.

import { byId, fill, h, refill } from "./dom.js";
import { every, paths } from "./api.js";
import { CLASSES } from "./severity.js";
import * as format from "./format.js";
import { explain, inShort } from "./words.js";

/** The numbers, with their names and how they are written: by value, all numbers, and the Unix second that is now. */
export const NUMBERS = [
  ["samples", "samples", format.count],
  ["last_seconds", "last", (rtt, { last_unix: sent }, now) => withAge(format.rtt(rtt), format.age(sent, now))],
  ["min_seconds", "minimum", format.rtt],
  ["mean_seconds", "mean", format.rtt],
  ["max_seconds", "maximum", format.rtt],
  ["variation_seconds", "variation", format.rtt],
  ["mean_deviation_seconds", "mean deviation", format.rtt],
  ["loss_ratio", "loss", format.ratio],
  ["error", "error", (e) => format.cause(e) || "–"],
];

/** A value and its age, if it has one. */
function withAge(text, age) {
  return age ? [text, h("small", { class: "age" }, ` ${age}`)] : text;
}

/** One looks at an address for so long before it is asked for: not every cell that the pointer passes. */
const PATIENCE_MS = 120;

/** Numbers that are shown are at most so old. */
const FRESH_MS = 1500;

/** Those of prefixes and everything are larger to make and slower to change. */
const SHARED_MS = 4000;

export class Inspector {
  #panel = byId("inspector");
  #tip = byId("tip");
  #look = null; // {block, place, series}
  #timer = 0;
  #turn = 0; // of the newest question; older answers are late
  #told = null; // what the API has told of the address that one looks at, last

  constructor(model, cache, settings) {
    this.model = model;
    this.cache = cache;
    this.settings = settings;
    every(FRESH_MS, () => this.#fetch());
  }

  /** Looks at another cell, or none. event: a pointer's, beside which the tip goes. */
  look(current, event) {
    const changed = current?.block !== this.#look?.block || current?.place !== this.#look?.place || current?.series !== this.#look?.series;
    this.#look = current;
    this.#showTip(current, event);
    if (changed) {
      clearTimeout(this.#timer);
      this.#timer = setTimeout(() => this.#fetch(), PATIENCE_MS);
    }
  }

  /** Forgets what one looks at: a new layout has other blocks. */
  reset() {
    this.#look = null;
    this.#showTip(null, null);
  }

  /** Asks at once for the numbers of what one looks at. */
  again() {
    clearTimeout(this.#timer);
    this.#fetch();
  }

  /** Shows the newest second in the tip. */
  refresh() {
    if (this.#look && !this.#tip.hidden) {
      this.#fillTip(this.#look);
    }
  }

  #showTip(current, event) {
    // A click does not tell its pointer everywhere: of clicks only a touch comes here.
    this.#tip.hidden = !current || !event || (event.pointerType ?? "touch") === "touch";
    if (this.#tip.hidden) {
      return;
    }
    this.#fillTip(current);
    const { width, height } = this.#tip.getBoundingClientRect();
    const x = event.clientX + 16 + width > innerWidth ? event.clientX - width - 12 : event.clientX + 16;
    const y = event.clientY + 18 + height > innerHeight ? event.clientY - height - 12 : event.clientY + 18;
    this.#tip.style.transform = `translate(${Math.max(0, x)}px, ${Math.max(0, y)}px)`;
    this.#tip.style.left = this.#tip.style.top = "0";
  }

  #fillTip({ block, place, series }) {
    const name = block.nameOf(place);
    fill(this.#tip, h("div", {}, h("b", {}, block.ip(place)), name && ` ${name}`),
      h("div", { class: "of" }, block.info.name),
      block.seriesAt(place).map((s, i) => this.#line(s, place, i === series)));
  }

  /** How a place is under a probe, and why: as the API has told, if that is still so, else as the newest frame has it. */
  #why(s, place) {
    const ip = s.block.ip(place);
    const told = this.#told?.ip === ip && this.#told.probes.find((p) => p.probe === s.probe && p.port === s.port);
    const state = s.state(place);
    return told && told.state === state && state !== "up" ? explain(told, ip) : inShort(s.scale, s.codes[place]);
  }

  #line(s, place, on) {
    const seconds = this.model.scale.seconds(s.codes[place]);
    const reference = this.model.referenceSeconds(s, place);
    const factor = seconds && reference ? `${format.factor(seconds / reference)} ${this.model.reference === "variation" ? "mean" : this.model.reference}` : "";
    return h("div", { class: on ? "line on" : "line" },
      h("i", { class: "swatch", "data-cls": CLASSES[s.classes[place]] }), h("span", {}, format.probe(s)),
      seconds === null ? h("span", { class: "why" }, this.#why(s, place)) : [h("span", {}, format.rtt(seconds)), h("span", { class: "of" }, factor)]);
  }

  /** What a screen reader says of a cell. */
  describe({ block, place }) {
    const name = block.nameOf(place);
    const states = block.seriesAt(place).map((s) => {
      const seconds = this.model.scale.seconds(s.codes[place]);
      return `${format.probe(s)} ${seconds === null ? this.#why(s, place) : format.rtt(seconds)}`;
    });
    return `${block.ip(place)}${name ? ` ${name}` : ""}: ${states.join(", ")}`;
  }

  async #fetch() {
    const look = this.#look;
    const turn = ++this.#turn;
    const series = look ? look.block.seriesAt(look.place) : this.model.kinds;
    const probe = series[look ? look.series : this.#kind] ?? series[0];
    if (!probe) {
      return;
    }
    try {
      const [ip, prefixes, summary] = await Promise.all([
        look && this.cache.get(paths.ip(look.block.ip(look.place)), FRESH_MS - 300),
        look && this.cache.get(paths.prefixes(), SHARED_MS),
        this.cache.get(paths.summary(), SHARED_MS),
      ]);
      if (turn === this.#turn) {
        this.#told = ip;
        this.refresh(); // the tip says who says so
        this.#show(look, probe, { ip, prefix: look && prefixes.prefixes.find((p) => p.prefix === look.block.prefix), summary });
      }
    } catch (error) {
      if (turn === this.#turn) {
        this.#fail(look ? look.block.ip(look.place) : "", probe, error);
      }
    }
  }

  /** Says why there are no numbers. Those that there are stay: that the connection is gone is said elsewhere. */
  #fail(ip, probe, error) {
    if (this.#panel.dataset.ip === ip && this.#panel.dataset.probe === `${probe.probe}/${probe.port}`) {
      return;
    }
    delete this.#panel.dataset.ip;
    fill(this.#panel, h("h2", {}, ip || "Everything"), h("p", { class: "bad" }, error.message));
  }

  #kind = 0; // which probe is shown while one looks at nothing

  #show(look, probe, { ip, prefix, summary }) {
    const numbersOf = (o) => o?.probes.find((p) => p.probe === probe.probe && p.port === probe.port)?.numbers;
    const columns = look
      ? [[look.block.label(look.place), numbersOf(ip)], [`/${look.block.range.length}`, numbersOf(prefix)], ["all", numbersOf(summary)]]
      : [["all", numbersOf(summary)]];
    const series = look ? look.block.seriesAt(look.place) : this.model.kinds;
    const pick = (i) => {
      if (look) {
        this.#look = { ...look, series: i };
      } else {
        this.#kind = i;
      }
      this.#fetch();
    };
    const told = ip?.probes.find((p) => p.probe === probe.probe && p.port === probe.port);
    const why = told && explain(told, ip.ip);
    refill(this.#panel,
      h("h2", {}, look ? h("a", { href: this.settings.href({ ip: look.block.ip(look.place) }), "data-ip": look.block.ip(look.place) }, look.block.ip(look.place)) : "Everything",
        h("span", { class: "where" }, look ? look.block.nameOf(look.place) : "")),
      h("p", { class: "where" }, look ? [look.block.info.name, look.block.prefix, look.block.info.router].filter(Boolean).join(" · ")
        : `${format.count(summary.prefixes)} ${summary.prefixes === 1 ? "prefix" : "prefixes"}, ${format.count(summary.addresses)} ${summary.addresses === 1 ? "address" : "addresses"}`),
      h("div", { class: "tabs" }, series.map((s, i) => h("button", {
        type: "button", "aria-pressed": String(s.probe === probe.probe && s.port === probe.port), onclick: () => pick(i),
      }, format.probe(s)))),
      why && why !== "up" && h("p", { class: "why", "data-state": told.state }, why),
      numbersTable(columns, this.model.sequence));
    this.#panel.dataset.ip = look ? look.block.ip(look.place) : "";
    this.#panel.dataset.probe = `${probe.probe}/${probe.port}`;
  }
}

/** A table of numbers, one column for each of [title, numbers], as they are at a Unix second. */
export function numbersTable(columns, now) {
  return h("table", { class: "numbers" },
    h("thead", {}, h("tr", {}, h("th", {}, "last hour"), columns.map(([title]) => h("th", { scope: "col" }, title)))),
    h("tbody", {}, NUMBERS.map(([key, name, write]) => h("tr", { "data-number": key }, h("th", { scope: "row" }, name),
      columns.map(([, numbers]) => h("td", { "data-value": numbers?.[key] ?? "", class: alarming(key, numbers?.[key]) && "bad" },
        numbers ? write(numbers[key], numbers, now) : "–"))))));
}

function alarming(key, value) {
  return (key === "loss_ratio" && value > 0.01) || (key === "error" && Boolean(value));
}
