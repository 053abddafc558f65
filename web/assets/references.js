// What RTTs are compared with: fetched from the exporter when another reference is chosen, and again
// from time to time, as minima and means move on.

import { REFERENCE, parse } from "./frame.js";
import { at, paths } from "./api.js";
import { NEEDS } from "./model.js";

/** A mean of an hour moves by a part in 240 in so long. */
const REFRESH_MS = 15000;

/** Cells wait for a reference of which nothing has come: it is asked for again as soon as frames come. */
const RETRY_MS = 1000;

export class References {
  #timer = 0;
  #reference = "";

  constructor(model, settings, changed) {
    this.model = model;
    this.settings = settings;
    this.changed = changed;
    document.addEventListener("visibilitychange", () => this.again());
  }

  /** Takes the reference of the settings, if it is another one. */
  follow() {
    if (this.settings.ref !== this.#reference) {
      this.#reference = this.settings.ref;
      this.model.compareWith(this.#reference);
      this.changed();
      this.again();
    }
  }

  /** Fetches what is needed now, and from time to time. It is called again for a layout, and when somebody looks. */
  async again() {
    clearTimeout(this.#timer);
    const { revision } = this.model;
    if (revision === 0 || document.hidden) {
      return;
    }
    try {
      await Promise.all(NEEDS[this.#reference].map((kind) => this.#fetch(kind, revision)));
      this.changed();
    } catch {
      // The connection is shown elsewhere; the old reference holds until the next attempt.
    }
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.again(), this.model.compared ? REFRESH_MS : RETRY_MS);
  }

  async #fetch(kind, revision) {
    const answer = await fetch(at(paths.reference(kind)), { cache: "no-store" });
    if (!answer.ok) {
      throw new Error(`reference ${kind}: ${answer.status}`);
    }
    const message = parse(await answer.arrayBuffer());
    // A reload in between has changed what the series are.
    if (message.type === REFERENCE && message.revision === revision && this.model.revision === revision) {
      this.model.setReferences(kind, message.body);
    }
  }
}
