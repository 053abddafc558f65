// What the page shows and how: kept in the address bar, so that a link or a reload brings it back. What
// is a matter of the reader's eyes (theme, palette) and habits (pins) is remembered in the browser too.

const KEY = "prefix_exporter";

/** The settings, each with its values; the first one is the default and does not appear in the URL. */
export const CHOICES = {
  view: ["blocks", "strips", "mosaic"],
  ref: ["nominal", "min", "mean", "max", "last", "variation"],
  sort: ["given", "worst", "name", "prefix"],
  theme: ["auto", "dark", "light"],
  palette: ["usual", "safe"],
  tab: ["hour", "minute", "table"],
  probe: null, // free: the name of a probe, such as icmp/0
};

const REMEMBERED = ["theme", "palette"];

export class Settings {
  #listeners = [];

  constructor() {
    this.read();
    addEventListener("popstate", () => {
      this.read();
      this.#tell();
    });
  }

  /** Calls f after every change. */
  watch(f) {
    this.#listeners.push(f);
  }

  /** Reads the address bar. */
  read() {
    const remembered = load();
    const url = new URLSearchParams(location.search);
    for (const [key, values] of Object.entries(CHOICES)) {
      const value = url.get(key) ?? (REMEMBERED.includes(key) ? remembered[key] : null);
      this[key] = values === null ? value ?? "" : values.includes(value) ? value : values[0];
    }
    this.q = url.get("q") ?? "";
    this.prefix = url.get("prefix") ?? "";
    const pins = url.get("pin") ?? remembered.pin ?? "";
    this.pins = new Set(pins.split(",").filter(Boolean));
    const path = location.pathname;
    this.ip = path.startsWith("/ip/") ? decode(path.slice("/ip/".length)) : url.get("ip") ?? "";
  }

  /**
   * Changes settings. A step is what "back" undoes: going to an address or a block; all else replaces
   * the entry of the history. Remembered is what is changed here, and not what a link has asked for.
   */
  set(changes) {
    const step = ["ip", "prefix"].some((key) => key in changes && changes[key] !== this[key]);
    Object.assign(this, changes);
    const url = this.href();
    if (url !== location.pathname + location.search) {
      history[step ? "pushState" : "replaceState"](null, "", url);
    }
    const chosen = REMEMBERED.filter((key) => key in changes).map((key) => [key, changes[key]]);
    if ("pins" in changes) {
      chosen.push(["pin", [...this.pins].join(",")]);
    }
    if (chosen.length > 0) {
      save({ ...load(), ...Object.fromEntries(chosen) });
    }
    this.#tell();
  }

  /** The address of the page with these changes: what a link leads to. */
  href(changes = {}) {
    const all = { ...this, ...changes };
    const url = new URLSearchParams();
    for (const [key, values] of Object.entries(CHOICES)) {
      if (all[key] && all[key] !== values?.[0] && !(REMEMBERED.includes(key))) {
        url.set(key, all[key]);
      }
    }
    for (const key of REMEMBERED) {
      if (new URLSearchParams(location.search).has(key)) {
        url.set(key, all[key]);
      }
    }
    if (all.q) url.set("q", all.q);
    if (all.prefix && !all.ip) url.set("prefix", all.prefix);
    if (all.pins.size) url.set("pin", [...all.pins].join(","));
    // Slashes and commas are legible, and legal, in a query.
    const query = url.toString().replaceAll("%2F", "/").replaceAll("%2C", ",").replaceAll("%3A", ":");
    const path = all.ip ? `/ip/${all.ip}` : "/";
    return query ? `${path}?${query}` : path;
  }

  #tell() {
    for (const f of this.#listeners) {
      f(this);
    }
  }
}

/** The text of a part of a path. What is none stays as it is: no address, and the page says so. */
function decode(part) {
  try {
    return decodeURIComponent(part);
  } catch {
    return part;
  }
}

function load() {
  try {
    return JSON.parse(localStorage.getItem(KEY)) ?? {};
  } catch {
    return {}; // storage is off, or holds something else
  }
}

function save(values) {
  try {
    localStorage.setItem(KEY, JSON.stringify(values));
  } catch {
    // Storage is off: it is remembered until the page is closed.
  }
}
