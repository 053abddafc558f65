// The connections to the exporter that stay open: frames by WebSocket, events by a stream of lines. Both
// come back by themselves, and take up where they were.

import { at } from "./api.js";
import { FULL, LAYOUT, SECOND, SKIPPED, TROUBLE, parse, parseLayout } from "./frame.js";

/** There is a frame every second: after so much silence the connection is taken for dead. */
const SILENCE_MS = 6000;

/** The first pause before connecting again, and the longest: twice as long after each failure. */
const FIRST_PAUSE_MS = 500;
const LONGEST_PAUSE_MS = 10000;

/** Pause says how long to wait before the next attempt. */
class Pause {
  #next = FIRST_PAUSE_MS;

  reset() {
    this.#next = FIRST_PAUSE_MS;
  }

  /** The next pause, with a random part so that many pages do not come back at the same instant. */
  take() {
    const ms = this.#next * (0.75 + Math.random() / 2);
    this.#next = Math.min(this.#next * 2, LONGEST_PAUSE_MS);
    return ms;
  }
}

/** Calls a part of the page. What goes wrong there is for the console, and no reason to connect again. */
function tell(call) {
  try {
    call();
  } catch (error) {
    reportError(error);
  }
}

/**
 * Frames keeps a model up to date. It calls
 * - changed(kind) after each message, kind being "layout", "full" or "second",
 * - status({live, skipped, trouble, problem, retry}) when the state of the connection changes.
 */
export class Frames {
  #pause = new Pause();
  #timer = 0;
  #socket = null;
  #revision = 0; // of the layout that the model has
  #layout = ""; // the same as text
  #skipped = 0; // how many seconds were left out, in all
  #trouble = null;
  #refusal = ""; // why the exporter does not want to be asked; empty: it does, or has not said so

  constructor(model, { changed, status }) {
    this.model = model;
    this.changed = changed;
    this.status = status;
    addEventListener("online", () => this.#socket === null && this.connect());
  }

  connect() {
    clearTimeout(this.#timer);
    const url = at("/api/v1/frames");
    url.protocol = url.protocol.replace("http", "ws");
    if (this.model.sequence > 0 && this.#revision > 0) {
      url.searchParams.set("after", this.model.sequence);
    }
    const socket = new WebSocket(url);
    socket.binaryType = "arraybuffer";
    socket.onmessage = (message) => this.#take(message.data);
    socket.onclose = () => this.#lost(socket, "the connection is closed");
    socket.onerror = () => this.#ask();
    this.#socket = socket;
    this.#watch();
  }

  /**
   * Asks why a WebSocket was refused, which no browser tells: what is not GET is refused in the same way. It is
   * shown from the next attempt on.
   */
  async #ask() {
    const answer = await fetch(at("/api/v1/frames"), { method: "POST", cache: "no-store" }).catch(() => null);
    if (answer?.status === 403 || answer?.status === 421) {
      const body = await answer.json().catch(() => ({}));
      this.#refusal = body.error ?? "";
    }
  }

  #watch() {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#lost(this.#socket, "no frame came"), SILENCE_MS);
  }

  #take(buffer) {
    let kind = "";
    try {
      kind = this.#apply(parse(buffer));
    } catch (error) {
      this.#revision = 0; // begin again
      this.#layout = "";
      this.#lost(this.#socket, error.message);
      return;
    }
    this.#pause.reset();
    this.#refusal = "";
    this.#watch();
    if (kind !== "") {
      tell(() => this.changed(kind));
    }
    if (kind === "full" || kind === "second") {
      tell(() => this.status({ live: true, skipped: this.#skipped, trouble: this.#trouble }));
    }
  }

  /** Brings the model up to date. Returns what has changed; "": nothing. */
  #apply({ type, flags, sequence, revision, body }) {
    switch (type) {
      case LAYOUT: {
        const layout = parseLayout(body);
        const text = JSON.stringify(layout);
        this.#revision = revision;
        // Who comes back is told the layout again. If it is the old one, what is known stays.
        if (text === this.#layout) {
          return "";
        }
        this.#layout = text;
        this.model.layout(layout);
        return "layout";
      }
      case FULL:
      case SECOND:
        if (revision !== this.#revision) {
          throw new Error(`frame of layout ${revision}, and not ${this.#revision}`);
        }
        if (flags & SKIPPED && this.model.sequence > 0) {
          this.#skipped += Math.max(1, sequence - this.model.sequence - 1);
        }
        this.#trouble = Boolean(flags & TROUBLE);
        if (type === FULL) {
          this.model.full(sequence, body);
          return "full";
        }
        this.model.second(sequence, body);
        return "second";
      default: // a later version may say more
        return "";
    }
  }

  #lost(socket, problem) {
    if (socket !== this.#socket || socket === null) {
      return; // an earlier one
    }
    this.#socket = null;
    socket.onmessage = socket.onclose = socket.onerror = null;
    socket.close();
    const ms = this.#pause.take();
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.connect(), ms);
    this.status({ live: false, skipped: this.#skipped, trouble: this.#trouble, problem: this.#refusal || problem, retry: Date.now() + ms });
  }
}

/**
 * Events follows /api/v1/events while the page can be seen: a browser has few connections for each
 * server, and a hidden page need not hold one. It calls take(events, fresh), oldest first; fresh: not of those that
 * are asked for at first.
 */
export class Events {
  #pause = new Pause();
  #last = null; // the id of the newest event
  #abort = null;
  #timer = 0;

  constructor({ recent, take }) {
    this.recent = recent; // how many are asked for at first
    this.take = take;
    document.addEventListener("visibilitychange", () => (document.hidden ? this.#stop() : this.#start()));
  }

  /** Begins, or begins again at once. */
  start() {
    if (!document.hidden) {
      this.#start();
    }
  }

  #stop() {
    clearTimeout(this.#timer);
    this.#abort?.abort();
    this.#abort = null;
  }

  async #start() {
    this.#stop();
    const abort = new AbortController();
    this.#abort = abort;
    try {
      if (this.#last === null) {
        await this.#read(`/api/v1/events?follow=false&limit=${this.recent}`, abort.signal, false);
        this.#last ??= 0; // there was none
      }
      await this.#read(`/api/v1/events?after=${this.#last}`, abort.signal, true);
    } catch {
      // The stream of frames says that the connection is gone; here it is only tried again.
    }
    if (this.#abort === abort) {
      this.#timer = setTimeout(() => this.#start(), this.#pause.take());
    }
  }

  async #read(url, signal, fresh) {
    const answer = await fetch(at(url), { signal, headers: { Accept: "application/x-ndjson" }, cache: "no-store" });
    if (!answer.ok) {
      throw new Error(`${url}: ${answer.status}`);
    }
    this.#pause.reset(); // there may be no event for hours
    const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
    let rest = "";
    for (;;) {
      const { done, value } = await reader.read();
      signal.throwIfAborted(); // another has begun, and has the rest
      if (done) {
        return;
      }
      const lines = (rest + value).split("\n");
      rest = lines.pop();
      // An empty line only says that the exporter is there. What has been seen does not count again; "missed" has no id.
      const events = lines.filter(Boolean).map((line) => JSON.parse(line)).filter((e) => !(e.id <= this.#last));
      if (events.length > 0) {
        this.#last = events.reduce((last, e) => Math.max(last, e.id ?? 0), this.#last);
        tell(() => this.take(events, fresh));
      }
    }
  }
}
