// What is said about the whole: the connection, the prober, how many addresses there are.

import { byId, fill, h, setText } from "./dom.js";
import { ago, clock, count } from "./format.js";

/** So many seconds without a frame, and it is said. */
const LATE_S = 3;

/** What a screen reader is told of each state of the connection. */
const STATES = { live: "live", late: "no new second comes", reconnecting: "reconnecting" };

export class Status {
  #connection = byId("connection");
  #text = byId("connection-text");
  #announcer = byId("connection-announcer");
  #beat = this.#connection.querySelector(".beat");
  #skipped = 0;
  #retry = 0;
  #arrived = 0; // when the newest frame came
  #troubles = null; // those that are shown, as text without their age

  constructor(model) {
    this.model = model;
    setInterval(() => this.#tick(), 1000);
  }

  /** Takes the state of the stream of frames. */
  connection({ live, skipped, problem, retry }) {
    this.#skipped = skipped;
    this.#retry = live ? 0 : retry;
    this.#connection.dataset.state = live ? "live" : "reconnecting";
    this.#connection.title = live ? "" : problem;
    this.#connection.dataset.skipped = skipped;
    this.#tick();
  }

  /** Shows the connection, and tells those who hear the page of its state only: they would hear a clock. */
  #tick() {
    this.#show();
    const state = STATES[this.#connection.dataset.state];
    setText(this.#announcer, state ? `${state}${this.#skipped > 0 ? ", seconds were skipped" : ""}` : "");
  }

  /** A second has come: the heart beats. */
  second() {
    this.#arrived = performance.now();
    this.#beat.classList.toggle("odd", this.model.sequence % 2 === 1);
  }

  #show() {
    const { state } = this.#connection.dataset;
    if (state === "connecting") {
      return;
    }
    if (state === "reconnecting") {
      const seconds = Math.max(0, Math.ceil((this.#retry - Date.now()) / 1000));
      setText(this.#text, seconds > 0 ? `reconnecting in ${seconds} s` : "reconnecting");
      return;
    }
    // By our own clock only: that of the exporter's machine may be another one.
    const late = Math.round((performance.now() - this.#arrived) / 1000);
    const time = clock(new Date(this.model.sequence * 1000));
    this.#connection.dataset.state = late > LATE_S ? "late" : "live";
    const skipped = this.#skipped > 0 ? `, ${this.#skipped} s skipped` : "";
    setText(this.#text, `${late > LATE_S ? `${late} s behind` : "live"} ${time}${skipped}`);
  }

  /** Takes /api/v1/summary. */
  summary(s) {
    const first = s.probes[0];
    fill(byId("totals"),
      h("span", { class: "prefixes" }, h("b", {}, count(s.prefixes)), s.prefixes === 1 ? " prefix " : " prefixes "),
      first && h("span", {}, h("b", {}, count(first.up)), " up "),
      first && h("span", { class: first.down > 0 && "bad" }, h("b", {}, count(first.down)), " down "),
      first && h("span", {}, h("b", {}, count(first.dark)), " dark"),
      first?.unknown > 0 && h("span", { class: "doubt" }, " ", h("b", {}, count(first.unknown)), " unknown"));
    setText(byId("version"), s.version);
    byId("metrics-link").href = s.telemetry_path;
    this.#showTroubles(s.ready, s.troubles);
  }

  /** Shows troubles. They are announced when there are others, and not because they are a few seconds older. */
  #showTroubles(ready, troubles) {
    const element = byId("troubles");
    const text = JSON.stringify([ready, troubles.map((t) => [t.reason, t.detail])]);
    if (text !== this.#troubles) {
      this.#troubles = text;
      element.hidden = ready && troubles.length === 0;
      if (!ready) {
        fill(element, h("b", {}, "Not probing."), " What is shown is what was last known.");
      } else {
        fill(element, troubles.length > 0 && [h("b", {}, "The prober is in trouble: "), "what is measured now may tell of this machine, not of the network. "],
          troubles.map((t) => h("span", { "data-reason": t.reason }, h("b", {}, t.reason), `: ${t.detail} `, h("span", { class: "age", "aria-live": "off" }))));
      }
    }
    for (const [i, age] of [...element.querySelectorAll(".age")].entries()) {
      setText(age, `(${ago(new Date(troubles[i].last))}) `);
    }
  }
}
