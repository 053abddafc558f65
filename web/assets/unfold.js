// A block unfolded: its last 60 minutes, its last 60 seconds, or a table, with its numbers and its routes.

import { fill, h, refill } from "./dom.js";
import { ask, every, paths } from "./api.js";
import { count, probe as probeName, rtt } from "./format.js";
import { Heatmap } from "./heatmap.js";
import { blockTable } from "./tableview.js";
import { numbersTable } from "./inspector.js";
import { routeSection } from "./routes.js";
import { largest } from "./words.js";

/** How often the history is asked for again: the minute moves on by frames, and is only put right. */
const HISTORY_MS = 10000;
const NUMBERS_MS = 5000;
const TABLE_MS = 2000;

const TABS = { hour: "60 minutes", minute: "60 seconds", table: "table" };

export class Unfolded {
  #stops = [];
  #heatmap = null;

  constructor(block, { model, settings, wall, close, openIP }) {
    Object.assign(this, { block, model, settings, wall, close, openIP });
    this.body = h("div", { class: "heatmap" });
    this.tip = h("p", { class: "facts", "aria-live": "off" }, "\u00a0");
    this.tabs = h("div", { class: "tabs", role: "group", "aria-label": "What is shown" });
    this.probes = h("div", { class: "tabs", role: "group", "aria-label": "Probe" });
    this.why = h("ul", { class: "causes", hidden: true });
    this.below = h("div", { class: "below" });
    const { info } = block;
    this.element = h("section", { class: "panel", "aria-label": `${block.title}, unfolded`, "data-unfolded": block.prefix },
      h("header", {}, h("h2", {}, block.title),
        h("span", { class: "facts" }, [info.router && `router ${info.router}`, info.tenants?.length && `tenants ${info.tenants.join(", ")}`, ...Object.entries(info.labels ?? {}).map(([k, v]) => `${k}=${v}`)].filter(Boolean).join(" · ")),
        this.tabs, this.probes,
        h("button", { class: "close", type: "button", "aria-label": "Fold (Esc)", onclick: close }, "✕")),
      this.why, this.body, this.tip, this.below);
    this.#resizer = new ResizeObserver(() => this.#draw());
    this.#resizer.observe(this.element);
    this.show();
    this.#stops.push(every(NUMBERS_MS, () => this.#numbers()));
  }

  #resizer;
  #awaited = new Set(["body", "below"]); // what is still empty

  /** Is at least so high until it has something to show, so that the page does not jump. */
  hold(height) {
    this.element.style.minHeight = this.#awaited.size > 0 ? `${height}px` : "";
  }

  #come(what) {
    this.#awaited.delete(what);
    if (this.#awaited.size === 0) {
      this.element.style.minHeight = "";
    }
  }

  /** Shows what the settings say. */
  show() {
    const { tab } = this.settings;
    const series = this.#series();
    this.#shown = `${tab} ${series?.probe}/${series?.port}`;
    refill(this.tabs, Object.entries(TABS).map(([key, text]) => h("button", {
      type: "button", "aria-pressed": String(key === tab), onclick: () => this.settings.set({ tab: key }),
    }, text)));
    refill(this.probes, tab === "table" ? [] : this.block.series.map((s) => h("button", {
      type: "button", "aria-pressed": String(s === series), onclick: () => this.settings.set({ probe: `${s.probe}/${s.port}` }),
    }, probeName(s))));
    this.probes.hidden = tab === "table";
    this.#stopData?.();
    this.#heatmap = null;
    this.canvas = null;
    if (tab === "table") {
      this.#stopData = every(TABLE_MS, () => {
        refill(this.body, blockTable(this.model, this.block));
        this.#come("body");
      });
      return;
    }
    this.canvas = h("canvas", { role: "img", "aria-label": `${this.block.title}, ${probeName(series)}, the last ${TABS[tab]}: one row for each address. The table has the newest values.` });
    this.canvas.addEventListener("pointermove", (e) => this.#hover(e));
    this.canvas.addEventListener("click", (e) => {
      const hit = this.#heatmap?.at(e.offsetX, e.offsetY);
      if (hit) {
        this.openIP(hit.ip);
      }
    });
    fill(this.body, this.canvas);
    this.#stopData = every(HISTORY_MS, () => this.#history(series, tab));
  }

  #stopData = null;
  #shown = "";

  /** Follows the settings, if they ask for something else. */
  follow() {
    const series = this.#series();
    if (this.#shown !== `${this.settings.tab} ${series?.probe}/${series?.port}`) {
      this.show();
    }
  }

  #series() {
    return this.block.series.find((s) => `${s.probe}/${s.port}` === this.settings.probe) ?? this.block.series[0];
  }

  async #history(series, span) {
    const { canvas } = this;
    try {
      const data = await ask(paths.history(this.block.prefix, series, span));
      if (canvas !== this.canvas) {
        return; // another tab or probe is shown by now
      }
      if (this.#heatmap) {
        this.#heatmap.take(data);
      } else {
        this.#heatmap = new Heatmap(canvas, this.model, series, data);
      }
      this.#draw();
      this.#come("body");
    } catch (error) {
      if (canvas === this.canvas) {
        this.tip.textContent = error.message;
      }
    }
  }

  /** Takes the newest second. */
  refresh() {
    if (this.#heatmap && this.settings.tab === "minute") {
      this.#heatmap.push(this.model.sequence);
      this.#draw();
    }
  }

  /** Draws in other colours, or against another reference. */
  restyle() {
    this.#draw();
  }

  #draw() {
    if (this.#heatmap && this.body.clientWidth > 0) {
      this.#heatmap.draw(this.body.clientWidth, this.wall.palette);
    }
  }

  #hover(event) {
    const hit = this.#heatmap?.at(event.offsetX, event.offsetY);
    this.tip.textContent = hit ? [hit.ip, this.block.nameOf(hit.place), hit.text].filter(Boolean).join("  ") : "\u00a0";
  }

  async #numbers() {
    try {
      const prefix = await ask(paths.prefix(this.block.prefix));
      this.#causes(prefix.probes);
      fill(this.below,
        h("div", {}, h("h3", {}, "Numbers"), numbersTable(prefix.probes.map((p) => [`${probeName(p)}`, p.numbers]), this.model.sequence),
          h("p", { class: "facts" }, prefix.nominal_rtt_seconds && `nominal ${rtt(prefix.nominal_rtt_seconds)} · `, prefix.probes.map((p) => `${probeName(p)}: ${states(p)}`).join(" · "))),
        routeSection(prefix.routes));
      this.#come("below");
    } catch (error) {
      fill(this.below, h("p", { class: "bad" }, error.message));
    }
  }

  /** Says why addresses are not up: a line for each probe and kind of cause. */
  #causes(probes) {
    const lines = probes.flatMap((p) => largest(p).map(({ kind, text }) => h("li", { "data-kind": kind }, h("b", {}, probeName(p)), ` ${text}`)));
    refill(this.why, lines);
    this.why.hidden = lines.length === 0;
  }

  /** Ends it. */
  destroy() {
    this.#stopData?.();
    this.#stops.forEach((stop) => stop());
    this.#resizer.disconnect();
    this.element.remove();
  }
}

/** How many addresses are in which state, in words. */
function states({ up, down, dark, unknown, left_out: leftOut }) {
  return [`${count(up)} up, ${count(down)} down, ${count(dark)} dark`, leftOut > 0 && ` (${count(leftOut)} left out)`, unknown > 0 && `, ${count(unknown)} unknown`]
    .filter(Boolean).join("");
}
