// The JSON API: what is asked for, once at a time, and kept for a moment.

/**
 * The URL of a path of the exporter. A page that was opened by a link with a password in it has that in what
 * its relative URLs are resolved against, and fetch refuses to ask for such; the origin is without.
 */
export function at(path) {
  return new URL(path, location.origin);
}

/** Asks for JSON; the error has the words of the exporter. */
export async function ask(path, signal) {
  const answer = await fetch(at(path), { signal, cache: "no-store", headers: { Accept: "application/json" } });
  const body = await answer.json().catch(() => ({}));
  if (!answer.ok) {
    throw new Error(body.error ?? `${path}: ${answer.status} ${answer.statusText}`);
  }
  return body;
}

export const paths = {
  summary: () => "/api/v1/summary",
  prefixes: () => "/api/v1/prefixes",
  prefix: (prefix) => `/api/v1/prefixes/${prefix}`,
  ip: (ip) => `/api/v1/ips/${encodeURIComponent(ip)}`,
  history: (prefix, { probe, port }, span) => `/api/v1/history/${prefix}?probe=${probe}&port=${port}&span=${span}`,
  reference: (kind) => `/api/v1/references/${kind}`,
};

/** Cache asks for what it has not, or has not fresh; questions that are under way are shared. */
export class Cache {
  #entries = new Map();

  /** Forgets all answers: a reload may have changed what they are about. */
  clear() {
    this.#entries.clear();
  }

  /** An answer that is at most so many milliseconds old. */
  get(path, maxAge) {
    const entry = this.#entries.get(path);
    if (entry && Date.now() - entry.at < maxAge) {
      return entry.answer;
    }
    const answer = ask(path);
    const fresh = { at: Date.now(), answer };
    this.#entries.set(path, fresh);
    answer.catch(() => this.#entries.get(path) === fresh && this.#entries.delete(path));
    // A visit of many addresses must not grow for ever: the oldest answer goes.
    if (this.#entries.size > 100) {
      this.#entries.delete(this.#entries.keys().next().value);
    }
    return answer;
  }
}

/**
 * Repeats a job, the next time so many milliseconds after the last has ended, and not while the page is
 * hidden. Returns a function that ends it.
 */
export function every(ms, job) {
  let timer = 0;
  let ended = false;
  const turn = async () => {
    try {
      if (!document.hidden) {
        await job();
      }
    } catch (error) {
      reportError(error); // for the console: the next turn may be better
    } finally {
      if (!ended) {
        timer = setTimeout(turn, ms);
      }
    }
  };
  turn();
  return () => {
    ended = true;
    clearTimeout(timer);
  };
}
