// The quiet list of events: the newest on top, each a link to what it is about.

import { byId, h } from "./dom.js";
import { clock, cause, probe as probeName } from "./format.js";

/** How many are kept: what one scrolls through. Older ones are in the log and in Prometheus. */
const KEPT = 200;

/** Causes that the type of an event implies. */
const PLAIN = ["answered", "timeout"];

/** So many at once are not announced one by one. */
const MANY = 5;

export class EventList {
  #list = byId("event-list");
  #known = false;

  constructor(settings, model) {
    this.settings = settings;
    this.model = model;
  }

  /** Takes events, oldest first. */
  take(events) {
    this.#list.setAttribute("aria-live", this.#known && events.length < MANY ? "polite" : "off");
    const scrolled = this.#list.scrollTop;
    for (const row of this.#list.querySelectorAll(".fresh")) {
      row.classList.remove("fresh"); // the newest ones are
    }
    this.#list.prepend(...events.slice(-KEPT).reverse().map((e) => this.row(e, this.#known)));
    if (scrolled > 0) { // whoever reads further down stays there
      this.#list.scrollTop = scrolled + events.length * (this.#list.firstElementChild?.offsetHeight ?? 0);
    }
    while (this.#list.children.length > KEPT) {
      this.#list.lastElementChild.remove();
    }
    this.#known = true;
  }

  /** The row of an event. */
  row(e, fresh = false) {
    if (e.type === "missed") {
      return h("li", { class: "event", "data-type": "missed" }, h("span", {}), h("span", { class: "type" }, "–"), h("span", {}, `${e.missed} events were missed`));
    }
    const time = new Date(e.time);
    const name = this.#name(e);
    const what = e.probe && probeName({ probe: e.probe, port: e.port ?? 0 });
    // What goes without saying is not said: that a probe was answered, or simply was not.
    const why = e.detail && !PLAIN.includes(e.detail) ? cause(e.detail) : "";
    const target = e.ip && e.type !== "route"
      ? h("a", { href: this.settings.href({ ip: e.ip }), "data-ip": e.ip }, e.ip)
      : h("a", { href: this.settings.href({ prefix: e.prefix, ip: "" }), "data-prefix": e.prefix }, e.prefix ?? "");
    const whole = [`${time.toLocaleString()}  ${e.type}`, [e.ip ?? e.prefix, name].filter(Boolean).join("  "),
      [what, e.detail && cause(e.detail)].filter(Boolean).join(": "), e.from && `${e.from} → ${e.to}`];
    return h("li", { class: fresh ? "event fresh" : "event", "data-type": e.type, "data-id": e.id, title: whole.filter(Boolean).join("\n") },
      h("time", { datetime: e.time }, clock(time)), h("span", { class: "type" }, e.type),
      h("span", { class: "to" }, target, what && ` ${what}`, why && h("span", { class: "why" }, ` ${why}`), name && [" ", h("span", { class: "of" }, name)]));
  }

  #name(e) {
    const block = this.model.blocks.find((b) => b.prefix === e.prefix);
    if (!block) {
      return "";
    }
    const place = e.ip ? block.place(e.ip) : -1;
    return (place >= 0 && block.nameOf(place)) || block.info.name || "";
  }
}
