// What RTTs are compared with: fetched from the exporter when another reference is chosen, and again
// from time to time, as minima and means move on.

import { REFERENCE, parse } from "./frame.js";
import { at, paths } from "./api.js";

/** A mean of an hour moves by a part in 240 in so long. */
const REFRESH_MS = 15000;

/** What must be known for each reference; "last" is known from the frames. */
const NEEDS = { nominal: ["nominal"], min: ["min"], mean: ["mean"], max: ["max"], last: [], variation: ["mean", "variation"] };

export class References {
  #timer = 0;
  #reference = "";

  constructor(model, settings, changed) {
    this.model = model;
    this.settings = settings;
    this.changed = changed;
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

  /** Fetches what is needed now, and from time to time. */
  async again() {
    clearTimeout(this.#timer);
    if (this.model.revision > 0 && !document.hidden) {
      const { revision } = this.model;
      try {
        await Promise.all(NEEDS[this.#reference].map((kind) => this.#fetch(kind, revision)));
        this.changed();
      } catch {
        // The connection is shown elsewhere; the old reference holds until the next attempt.
      }
    }
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.again(), REFRESH_MS);
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
