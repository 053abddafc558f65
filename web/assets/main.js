// The live page: every address of every prefix, second by second. This module puts the others together.
// docs/page.md says how the page is used, docs/api.md what it asks for.

import { AddressView } from "./addressview.js";
import { Cache, every, paths } from "./api.js";
import { byId, fill, h, setText } from "./dom.js";
import { probe as probeName } from "./format.js";
import { EventList } from "./eventlist.js";
import { Events, Frames } from "./stream.js";
import { Inspector } from "./inspector.js";
import { Model, REFERENCES } from "./model.js";
import { References } from "./references.js";
import { Settings } from "./settings.js";
import { Status } from "./status.js";
import { TableView } from "./tableview.js";
import { Trends } from "./trends.js";
import { Unfolded } from "./unfold.js";
import { Wall, emptyNote } from "./wall.js";
import { followTheme } from "./theme.js";
import { largest } from "./words.js";
import { listenToKeys } from "./keys.js";
import { makeChoices } from "./choices.js";
import { makeHelp } from "./help.js";
import { parsePrefix } from "./address.js";
import { showLegend } from "./legend.js";
import { soleAddress } from "./query.js";

/** How many events are asked for at first: some rows are made of hundreds, one for each address and probe. */
const RECENT_EVENTS = 2000;

/** A summary goes through all addresses: not more often than one reads it. */
const SUMMARY_MS = 4000;

/** Causes that are shown are at most so old. */
const CAUSES_MS = 2000;

/** The table of the block that has the keyboard is for reading, not for watching. */
const TABLE_MS = 2000;

class Page {
  constructor() {
    this.settings = new Settings();
    this.model = new Model();
    this.cache = new Cache();
    this.model.compareWith(this.settings.ref);
    this.wall = new Wall(byId("wall"), this.model, this.settings, {
      select: (current, event, same) => this.select(current, event, same),
      open: (view, place, event) => this.click(view, place, event),
      unfold: (view) => this.toggle(view.block.prefix),
      pin: (view) => this.pin(view),
      ask: (view) => this.explain(view),
    });
    this.inspector = new Inspector(this.model, this.cache, this.settings);
    this.trends = new Trends(this.model);
    this.status = new Status(this.model);
    this.eventList = new EventList(this.settings, this.model);
    this.tableView = new TableView(this.model);
    this.address = new AddressView(byId("address"), {
      model: this.model, cache: this.cache, settings: this.settings, wall: this.wall, events: this.eventList,
    });
    this.references = new References(this.model, this.settings, () => this.referenceChanged());
    this.unfolded = null;
    this.frames = new Frames(this.model, { changed: (kind) => this.changed(kind), status: (s) => this.connection(s) });
    this.events = new Events({ recent: RECENT_EVENTS, take: (events, fresh) => this.eventList.take(events, fresh) });
  }

  start() {
    followTheme(this.settings, () => this.restyle());
    this.controls();
    this.settings.watch(() => this.follow());
    this.follow();
    this.frames.connect();
    every(SUMMARY_MS, () => this.summary(SUMMARY_MS - 500));
    every(TABLE_MS, () => this.tableView.refresh());
    new ResizeObserver(() => reachable(byId("trends"))).observe(byId("trends"));
  }

  /** Shows a summary that is at most so many milliseconds old. That there is none, the connection says. */
  async summary(maxAge) {
    try {
      const summary = await this.cache.get(paths.summary(), maxAge);
      this.status.summary(summary);
      this.trends.fill(summary.probes);
    } catch {
      // The frames say that the connection is gone.
    }
  }

  /** Connects the controls with the settings, and links with what they mean. */
  controls() {
    for (const key of ["view", "ref", "sort", "palette", "theme"]) {
      byId(key).addEventListener("change", (e) => this.settings.set({ [key]: e.target.value }));
    }
    const q = byId("q");
    q.addEventListener("input", () => this.settings.set({ q: q.value, ip: "" }));
    byId("search").addEventListener("submit", (event) => {
      event.preventDefault();
      this.submit(q.value);
    });
    makeChoices();
    const help = makeHelp();
    byId("help-button").addEventListener("click", help);
    listenToKeys({
      wall: this.wall,
      onWall: (target) => target.matches("#wall canvas") && target.closest(".block") !== null && this.wall.focused !== null,
      search: () => q.focus(),
      help,
      back: () => this.back(),
      open: () => this.go({ ip: this.wall.focused.block.ip(this.wall.focused.place) }),
      unfold: () => this.toggle(this.wall.focused.block.prefix),
      pin: () => this.pin(this.wall.focused.view),
      nextProbe: () => this.nextProbe(),
      nextReference: () => this.settings.set({ ref: REFERENCES[(REFERENCES.indexOf(this.settings.ref) + 1) % REFERENCES.length] }),
      table: () => this.tableView.toggle(),
    });
    byId("wall").before(this.#gone);
    byId("wall").addEventListener("focusin", (event) => this.focused(event.target));
    byId("wall").addEventListener("focusout", () => this.wall.focusLost());
    byId("wall").addEventListener("pointerdown", (event) => {
      this.#pointer = event.pointerType;
      if (!byId("inspector").classList.contains("sheet")) {
        this.#touched = ""; // it has been closed since
      }
    });
    // On a phone the numbers cover the page: a touch beside the cells closes them.
    document.addEventListener("click", (event) => {
      if (!event.target.closest("#wall canvas, #inspector")) {
        byId("inspector").classList.remove("sheet");
      }
    });
    // Links within the page change what it shows, and do not load it again.
    document.addEventListener("click", (event) => {
      const link = event.target.closest("a[data-ip], a[data-prefix], a[data-home], #home");
      if (!link || event.button !== 0 || event.ctrlKey || event.metaKey || event.shiftKey) {
        return;
      }
      event.preventDefault();
      this.go({ ip: link.dataset.ip ?? "", prefix: link.dataset.prefix ?? (link.id === "home" ? "" : this.settings.prefix) });
    });
  }

  /** Goes somewhere. */
  go(changes) {
    this.settings.set(changes);
  }

  /** What Enter in the search does: open an address, or go to the first hit. */
  submit(text) {
    const ip = soleAddress(text);
    const found = ip && this.model.find(ip);
    if (found) {
      this.settings.set({ q: "", ip });
    } else {
      this.wall.focusFirst();
    }
  }

  /** One step back, as far as there is one. */
  back() {
    const q = byId("q");
    if (document.activeElement === q && q.value !== "") {
      this.settings.set({ q: "" });
    } else if (this.settings.ip) {
      const { ip } = this.settings;
      this.settings.set({ ip: "" });
      this.wall.focusAddress(ip);
    } else if (this.settings.prefix) {
      const { prefix } = this.settings;
      this.settings.set({ prefix: "" });
      this.wall.focusPrefix(prefix);
    } else if (document.activeElement === q) {
      q.blur();
    } else if (this.settings.q) {
      this.settings.set({ q: "" });
    }
  }

  toggle(prefix) {
    this.settings.set({ prefix: this.settings.prefix === prefix ? "" : prefix });
  }

  pin(view) {
    const pins = new Set(this.settings.pins);
    const { prefix } = view.block;
    if (!pins.delete(prefix)) {
      pins.add(prefix);
    }
    this.settings.set({ pins });
  }

  /** Says why addresses of a block are not up: counts by cause are older by what the cache allows. */
  async explain(view) {
    try {
      const { prefixes } = await this.cache.get(paths.prefixes(), CAUSES_MS);
      const told = prefixes.find((p) => p.prefix === view.block.prefix);
      view.explain((told?.probes ?? []).flatMap((p) => largest(p).map(({ text }) => `${probeName(p)}: ${text}`)));
    } catch {
      view.explain([]); // that the connection is gone is said elsewhere
    }
  }

  nextProbe() {
    const { view, place, series } = this.wall.focused;
    this.wall.focus(view, place, (series + 1) % view.block.seriesAt(place).length);
  }

  #pointer = ""; // the type of the pointer that was last down: a click does not tell everywhere
  #touched = ""; // the cell whose numbers a touch has shown

  /** A click on a cell. The first touch only looks at it: there is no pointer that hovers. */
  click(view, place, event) {
    const cell = `${view.block.prefix} ${place}`;
    if ((event.pointerType ?? this.#pointer) === "touch" && this.#touched !== cell) {
      this.#touched = cell;
      this.wall.look(view, place, 0, event);
      byId("inspector").classList.add("sheet");
      return;
    }
    if (view.block.configured[place]) {
      this.go({ ip: view.block.ip(place) });
    }
  }

  select(current, event, same) {
    this.inspector.look(current, event);
    if (!current) {
      byId("inspector").classList.remove("sheet");
    }
    if (!same && !event && current) {
      setText(byId("announcer"), this.inspector.describe(current));
      this.tableView.show(current.block);
    }
  }

  focused(target) {
    this.wall.adopt(target);
    if (target.matches("canvas") && this.wall.focused?.view.canvas === target && this.wall.current === null) {
      this.wall.look(this.wall.focused.view, this.wall.focused.place, this.wall.focused.series);
    }
  }

  /** Brings the page in line with the settings. */
  follow() {
    const { settings } = this;
    for (const key of ["view", "ref", "sort", "palette", "theme"]) {
      byId(key).value = settings[key];
    }
    const q = byId("q");
    if (q.value !== settings.q) {
      q.value = settings.q;
    }
    showLegend(settings.ref, this.model.kinds.length > 1);
    this.references.follow();
    const away = settings.ip !== "";
    byId("wall").hidden = away;
    byId("legend").hidden = away;
    if (away) {
      this.inspector.look(null, null);
    }
    if (!away) {
      this.wall.fit(); // what a reload brought while the wall was hidden has no size yet
    }
    this.address.show(settings.ip);
    this.#search();
    if (this.model.blocks.length > 0) {
      this.wall.order(true);
      this.#unfold();
    }
    document.title = [settings.ip || settings.prefix, "prefix_exporter"].filter(Boolean).join(" · ");
  }

  #searched = null;

  #search() {
    const { q, view } = this.settings;
    if (this.model.blocks.length === 0 || this.#searched === `${view} ${q}`) {
      return;
    }
    this.#searched = `${view} ${q}`;
    this.#problems = this.wall.filter();
    this.#searchNote();
  }

  #problems = []; // what was not understood

  #searchNote() {
    const note = byId("search-note");
    const { blocks } = this.model;
    const problems = this.#problems;
    note.classList.toggle("bad", problems.length > 0);
    setText(note, problems.length > 0 ? problems.join("; ") : this.settings.q ? `${this.wall.shown} of ${blocks.length}` : "");
  }

  #gone = h("p", { class: "note", role: "status", hidden: true }); // a link may be of such a prefix, or a reload has come

  #sayGone(prefix) {
    const isNew = prefix !== "" && this.#gone.hidden;
    this.#gone.hidden = prefix === "";
    setText(this.#gone, prefix && (parsePrefix(prefix) ? `${prefix} is not in the configuration: nothing of it is probed.` : `"${prefix}" is no prefix: it must be one such as 192.0.2.0/24.`));
    if (isNew) {
      this.#gone.scrollIntoView({ block: "center" });
    }
  }

  #unfold() {
    const { prefix, ip } = this.settings;
    const view = ip ? null : this.wall.view(prefix) ?? null;
    this.#sayGone(ip || view ? "" : prefix);
    if (view) {
      this.settings.prefix = view.block.prefix; // a link may write it in another way
    }
    if (this.unfolded && this.unfolded.block !== view?.block) {
      this.unfolded.destroy();
      this.unfolded = null;
      this.wall.unfold(null);
    }
    if (view && !this.unfolded) {
      this.unfolded = new Unfolded(view.block, {
        model: this.model, settings: this.settings, wall: this.wall, close: () => this.back(), openIP: (address) => this.go({ ip: address }),
      });
      this.wall.unfold(view, this.unfolded.element);
      if (this.#unfolded !== view.block.prefix) { // not after a reload
        view.element.scrollIntoView({ block: "start", behavior: "auto" });
      }
    }
    this.#unfolded = view?.block.prefix ?? "";
    this.unfolded?.follow();
  }

  #unfolded = ""; // the prefix that is

  #live = false;
  #trouble = false;

  /** The state of the connection. When it comes back, so do events: they cannot tell that theirs is dead. */
  connection(state) {
    this.status.connection(state);
    if (state.live && !this.#live) {
      this.events.start();
      this.summary(0); // the graphs lack what was before
    }
    this.#live = state.live;
    if (Boolean(state.trouble) !== this.#trouble) { // the frame says that, the summary says why
      this.#trouble = Boolean(state.trouble);
      this.summary(0);
    }
  }

  /** A message has changed the model. */
  changed(kind) {
    if (kind === "layout") {
      this.#rebuild();
      return;
    }
    this.wall.refilter(true);
    this.#searchNote();
    this.wall.order(kind === "full");
    this.wall.paint();
    if (kind === "second") {
      this.trends.take();
    }
    this.inspector.refresh();
    this.unfolded?.refresh();
    this.address.refresh();
    this.status.second();
  }

  /** Makes everything again for another layout. Who reads, points or types stays where that is. */
  #rebuild() {
    const { scrollX, scrollY } = window;
    const unfolded = this.#unfolded;
    const button = this.unfolded?.element.contains(document.activeElement) ? document.activeElement.textContent : "";
    const height = this.unfolded?.element.offsetHeight;
    this.#searched = null;
    this.cache.clear();
    this.unfolded?.destroy();
    this.unfolded = null;
    this.inspector.reset();
    this.wall.build();
    this.trends.build(this.wall.palette);
    reachable(byId("trends"));
    this.references.again();
    if (this.model.blocks.length === 0) {
      fill(byId("wall"), emptyNote("No prefix is configured."));
    }
    this.follow();
    this.address.again();
    if (height) {
      this.unfolded?.hold(height);
    }
    if (button && this.unfolded) {
      [...this.unfolded.element.querySelectorAll("button")].find((b) => b.textContent === button)?.focus({ preventScroll: true });
    }
    if (this.#unfolded === unfolded) {
      scrollTo(scrollX, scrollY);
    }
    this.wall.pointAgain();
    this.inspector.again();
    this.summary(0);
  }

  referenceChanged() {
    this.wall.paint();
    this.unfolded?.restyle();
    this.address.redraw();
  }

  restyle() {
    this.wall.restyle();
    this.trends.restyle(this.wall.palette);
    this.unfolded?.restyle();
    this.address.restyle();
  }
}

/** Lets the Tab key come to an element as long as there is something to scroll. */
function reachable(element) {
  if (element.scrollWidth > element.clientWidth) {
    element.tabIndex = 0;
  } else {
    element.removeAttribute("tabindex");
  }
}

new Page().start();
