// The quiet list of events: the newest on top, each a link to what it is about. What happens to many addresses
// of a prefix at once is one row.

import { byId, h, refill } from "./dom.js";
import { clock, count, probe as probeName } from "./format.js";
import { because } from "./words.js";

/** How many are kept: what one scrolls through. Older ones are in the log and in Prometheus. */
const KEPT = 200;

/** So many at once are not announced one by one. */
const MANY = 5;

/** So many addresses of a prefix to which the same happens within so long after the first become one row. */
const FOLDED = 4;
const FOLD_MS = 10_000;

/** So many of them are named when one points at the row. */
const NAMED = 20;

export class EventList {
  #list = byId("event-list");
  #log = byId("events");
  #groups = new Map(); // of what happens now: by what its events have in common, {since, ips, items}

  constructor(settings, model) {
    this.settings = settings;
    this.model = model;
  }

  /** Takes events, oldest first. fresh: they happen now, and are not what was before the page was opened. */
  take(events, fresh) {
    this.#log.setAttribute("aria-live", fresh && events.length < MANY ? "polite" : "off");
    const scrolled = this.#list.scrollTop;
    for (const row of this.#list.querySelectorAll(".fresh")) {
      row.classList.remove("fresh"); // the newest ones are
    }
    const height = this.#list.scrollHeight;
    for (const item of this.#fold(events)) {
      this.#show(item, fresh);
    }
    if (scrolled > 0) { // whoever reads further down stays there
      this.#list.scrollTop = scrolled + this.#list.scrollHeight - height;
    }
    while (this.#list.children.length > KEPT) {
      this.#list.lastElementChild.remove();
    }
  }

  /** Puts an item on top: in the row that it has, or a new one. The keyboard stays in a row that it is in. */
  #show(item, fresh) {
    const row = this.row(item.event, fresh, [...item.ips]);
    if (!item.row) {
      item.row = row;
      this.#list.prepend(row);
      return;
    }
    const had = hasKeyboard(item.row);
    for (const { name, value } of row.attributes) {
      item.row.setAttribute(name, value);
    }
    refill(item.row, [...row.children]);
    if (this.#list.firstElementChild !== item.row) {
      this.#list.prepend(item.row);
    }
    if (had && !hasKeyboard(item.row)) {
      item.row.querySelector("a").focus({ preventScroll: true });
    }
  }

  /** What gets a row, oldest first: {event, ips, row}, with ips only where one row stands for many addresses. */
  #fold(events) {
    const items = new Set();
    for (const event of events) {
      const item = { event, ips: [], row: null };
      const group = this.#groupOf(event);
      if (group?.ips.add(event.ip).size >= FOLDED) {
        const old = group.items.splice(0);
        const rows = old.map((o) => o.row).filter(Boolean);
        item.ips = group.ips;
        item.row = rows.find(hasKeyboard) ?? rows.at(-1) ?? null;
        rows.filter((row) => row !== item.row).forEach((row) => row.remove());
        old.forEach((o) => items.delete(o));
      }
      group?.items.push(item);
      items.add(item);
    }
    this.#forget(Date.parse(events.findLast((e) => e.time)?.time));
    return [...items].slice(-KEPT);
  }

  /** The group of an event, which begins with it if there is none. What is not of an address, and a route, stands alone: null. */
  #groupOf(e) {
    if (!e.ip || e.type === "route") {
      return null;
    }
    const key = [e.type, e.prefix, e.probe, e.port, e.detail, e.cause, e.by].join(" ");
    const time = Date.parse(e.time);
    let group = this.#groups.get(key);
    if (!group || Math.abs(time - group.since) > FOLD_MS) {
      group = { since: time, ips: new Set(), items: [] };
      this.#groups.set(key, group);
    }
    return group;
  }

  /** Drops the groups that no event of this time would join, in milliseconds. */
  #forget(time) {
    for (const [key, group] of this.#groups) {
      if (Math.abs(time - group.since) > FOLD_MS) {
        this.#groups.delete(key);
      }
    }
  }

  /** The row of an event, or of the newest one of those that have happened to more addresses. */
  row(e, fresh = false, ips = []) {
    if (e.type === "missed") {
      return h("li", { class: "event", "data-type": "missed" }, h("span", {}), h("span", { class: "type" }, "–"), h("span", {}, `${e.missed} events were missed`));
    }
    const time = new Date(e.time);
    const many = ips.length > 0 && `${count(ips.length)} addresses`;
    const name = this.#name(many ? { prefix: e.prefix } : e);
    const what = [many, e.probe && probeName({ probe: e.probe, port: e.port ?? 0 })].filter(Boolean).join(" ");
    const why = because(e); // but for what goes without saying
    const target = e.ip && !many && e.type !== "route"
      ? h("a", { href: this.settings.href({ ip: e.ip }), "data-ip": e.ip }, e.ip)
      : h("a", { href: this.settings.href({ prefix: e.prefix, ip: "" }), "data-prefix": e.prefix }, (many && name) || (e.prefix ?? ""));
    const whole = [`${time.toLocaleString()}  ${e.type}`, [many ? e.prefix : e.ip ?? e.prefix, name].filter(Boolean).join("  "),
      [what, why || e.cause || e.detail].filter(Boolean).join(": "), !many && e.from && `${e.from} → ${e.to}`, ...ips.slice(0, NAMED), ips.length > NAMED && "…"];
    return h("li", { class: fresh ? "event fresh" : "event", "data-type": e.type, "data-id": e.id, "data-count": ips.length || 1, title: whole.filter(Boolean).join("\n") },
      h("time", { datetime: e.time }, clock(time)), h("span", { class: "type" }, e.type),
      h("span", { class: "to" }, target, what && ` ${what}`, why && h("span", { class: "why" }, ` ${why}`), name && !many && [" ", h("span", { class: "of" }, name)]));
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

/** Says whether the keyboard is in an element. */
function hasKeyboard(element) {
  return element.contains(document.activeElement);
}
