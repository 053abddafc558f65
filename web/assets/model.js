// The state of every address as the page knows it: layouts and seconds go in, classes come out, with
// notes of what has changed since it was last drawn. This module knows no element of the page.

import { eachCode, parsePlaces } from "./frame.js";
import { addressAt, parseAddress, parsePrefix } from "./address.js";
import { CLASSES, NONE, WAITING, WEIGHTS, Scale } from "./severity.js";

const PLACES = 256;

/** What an RTT can be compared with. */
export const REFERENCES = ["nominal", "min", "mean", "max", "last", "variation"];

/** What must be fetched for each reference; "last" is known from the frames. */
export const NEEDS = { nominal: ["nominal"], min: ["min"], mean: ["mean"], max: ["max"], last: [], variation: ["mean", "variation"] };

/** Series is one probe of one block: the newest code of every place. */
class Series {
  constructor(block, { probe, port, places }, kind, scale) {
    this.block = block;
    this.scale = scale;
    this.probe = probe;
    this.port = port;
    this.configured = places ? parsePlaces(places) : block.configured; // a part of a block may have fewer probes
    this.kind = kind; // counts over all blocks
    this.codes = new Uint16Array(PLACES);
    this.previous = new Uint16Array(PLACES); // the RTT before the newest one, as a code
    this.classes = new Uint8Array(PLACES);
    this.times = new Float64Array(PLACES); // of the newest codes, in Unix seconds; 0: not known
    this.references = new Map(); // by name, as codes
    this.compared = false; // whether what its RTTs are compared with has come; an address of it may have none even so
  }

  /** The state of a place in words; "" if it has no such probe. */
  state(place) {
    return this.configured[place] ? this.scale.state(this.codes[place]) : "";
  }

  /** Whether somebody says why a place, which is dark, does not answer. */
  rejected(place) {
    return this.configured[place] === 1 && this.scale.rejected(this.codes[place]);
  }

  /** Keeps what is known of addresses that a reload has left, until a full frame and references come. */
  keep(old) {
    if (!old) {
      return;
    }
    for (const name of old.references.keys()) {
      this.references.set(name, new Uint16Array(PLACES));
    }
    for (let from = 0; from < PLACES; from++) {
      const to = old.configured[from] ? this.block.place(old.block.ip(from)) : -1;
      if (to >= 0) {
        this.codes[to] = old.codes[from];
        this.previous[to] = old.previous[from];
        this.times[to] = old.times[from];
        this.references.forEach((codes, name) => (codes[to] = old.references.get(name)[from]));
      }
    }
  }
}

/** Block is one prefix. */
class Block {
  constructor(info, index) {
    this.info = info;
    this.index = index;
    this.range = parsePrefix(info.prefix);
    this.configured = parsePlaces(info.places);
    this.places6 = new Map(info.ips?.map((ip, place) => [parseAddress(ip)?.value, place])); // there are many ways to write one
    this.series = [];
    this.counts = new Uint32Array(CLASSES.length);
    this.dirty = new Uint8Array(PLACES); // places whose class has changed since it was drawn
    this.stale = true; // draw all of it
  }

  get prefix() {
    return this.info.prefix;
  }

  /** The title: name and prefix, or the prefix alone. */
  get title() {
    return this.info.name ? `${this.info.name} ${this.prefix}` : this.prefix;
  }

  /** The address at a place, as text. */
  ip(place) {
    return this.info.ips?.[place] ?? addressAt(this.range, place);
  }

  /** The place of an address; -1: it is not of this block, or not configured. */
  place(ip) {
    const place = this.info.ips ? this.#place6(ip) : this.#place4(ip);
    return place >= 0 && this.configured[place] ? place : -1;
  }

  #place4(ip) {
    const a = parsePrefix(ip);
    if (!a || a.bits !== 32 || this.range.bits !== 32) {
      return -1;
    }
    const offset = Number(a.value - this.range.value);
    return offset >= 0 && offset < PLACES ? offset : -1;
  }

  #place6(ip) {
    const a = parseAddress(ip);
    return a?.bits === 128 ? this.places6.get(a.value) ?? -1 : -1;
  }

  /** The name of an address, or "". */
  nameOf(place) {
    return this.info.names?.[place] ?? "";
  }

  /** The probes of an address: those of the block, but for an address that has fewer. */
  seriesAt(place) {
    return this.series.every((s) => s.configured[place]) ? this.series : this.series.filter((s) => s.configured[place]);
  }

  /** The short label of an address: the last octet or group. */
  label(place) {
    const ip = this.ip(place);
    const label = ip.slice(Math.max(ip.lastIndexOf("."), ip.lastIndexOf(":")));
    return label === ":" ? ":0" : label;
  }

  /** How bad it is: what blocks are sorted by. */
  get severity() {
    return this.counts.reduce((sum, n, i) => sum + n * WEIGHTS[i], 0);
  }
}

/** How many addresses there are in each state: none. */
function none() {
  return { up: 0, down: 0, dark: 0, unknown: 0, waiting: 0 };
}

/** Kind is one probe over all blocks. */
class Kind {
  constructor(probe, port) {
    this.probe = probe;
    this.port = port;
    this.states = none();
    this.clear();
  }

  get key() {
    return `${this.probe}/${this.port}`;
  }

  /** Begins a new second. */
  clear() {
    this.sum = 0;
    this.answered = 0;
    this.lost = 0;
  }
}

export class Model {
  constructor() {
    this.blocks = [];
    this.series = [];
    this.kinds = [];
    this.scale = null;
    this.revision = 0;
    this.reference = "nominal";
    this.sequence = 0; // Unix seconds of the newest frame
  }

  /** Takes a layout. The full frame that follows has what is true of it. */
  layout(json) {
    this.revision = json.revision;
    this.scale = new Scale(json.scale);
    const seconds = [0]; // a table is faster than a power for each result
    for (let code = 1; code < 65536; code++) {
      seconds.push(this.scale.seconds(code) ?? 0);
    }
    this.seconds = Float64Array.from(seconds);
    const old = new Map(this.series.map((s) => [`${s.block.prefix} ${s.probe}/${s.port}`, s]));
    this.blocks = json.prefixes.map((info, i) => new Block(info, i));
    const kinds = new Map();
    this.series = json.series.map((s) => {
      const key = `${s.probe}/${s.port}`;
      if (!kinds.has(key)) {
        kinds.set(key, new Kind(s.probe, s.port));
      }
      const block = this.blocks[s.prefix];
      const series = new Series(block, s, kinds.get(key), this.scale);
      block.series.push(series);
      series.keep(old.get(`${block.prefix} ${key}`));
      return series;
    });
    this.kinds = [...kinds.values()].sort((a, b) => a.port - b.port);
    for (const block of this.blocks) {
      block.series.sort((a, b) => a.port - b.port);
    }
    this.#reclassify();
  }

  /** Takes a full frame: the newest code of every place. */
  full(sequence, body) {
    this.sequence = sequence;
    for (const s of this.series) {
      s.codes.fill(0);
    }
    eachCode(body, (i, place, code) => {
      this.series[i].codes[place] = code;
    });
    this.#reclassify();
  }

  /** Takes the news of a second. */
  second(sequence, body) {
    this.sequence = sequence;
    for (const kind of this.kinds) {
      kind.clear();
    }
    const first = this.scale.first;
    eachCode(body, (i, place, code) => {
      if (code === 0) {
        return;
      }
      const s = this.series[i];
      const before = s.codes[place];
      if (before >= first) {
        s.previous[place] = before;
      }
      s.codes[place] = code;
      s.times[place] = sequence;
      s.kind.states[this.scale.state(before)]--;
      s.kind.states[this.scale.state(code)]++;
      if (code >= first) {
        s.kind.sum += this.seconds[code];
        s.kind.answered++;
      } else if (this.scale.counts(code)) {
        s.kind.lost++;
      }
      this.#setClass(s, place, this.#classOf(s, place));
      if (this.scale.rejected(before) !== this.scale.rejected(code)) { // a dot comes or goes
        s.block.dirty[place] = 1;
        s.block.changed = true;
      }
    });
  }

  /** Takes a reference as chunks of codes. */
  setReferences(name, body) {
    for (const s of this.series) {
      s.references.set(name, new Uint16Array(PLACES));
    }
    eachCode(body, (i, place, code) => {
      this.series[i].references.get(name)[place] = code;
    });
    this.#reclassify();
  }

  /** Compares with something else from now on. */
  compareWith(reference) {
    this.reference = reference;
    this.#reclassify();
  }

  /** Whether the reference of all series has come. */
  get compared() {
    return this.series.every((s) => s.compared);
  }

  /** The reference of a place in seconds; null: unknown. Of a variation: the mean. */
  referenceSeconds(series, place) {
    const name = this.reference === "variation" ? "mean" : this.reference;
    return this.scale.seconds(this.#referenceCode(series, place, name));
  }

  /** The block and place of an address; null: it is not probed. */
  find(ip) {
    for (const block of this.blocks) {
      const place = block.place(ip);
      if (place >= 0) {
        return { block, place };
      }
    }
    return null;
  }

  /** The class of an RTT in seconds of a place. */
  classOfSeconds(series, place, seconds) {
    if (this.reference === "variation") {
      return this.scale.classifyVariation(this.scale.code(seconds),
        this.#referenceCode(series, place, "mean"), this.#referenceCode(series, place, "variation"));
    }
    return this.scale.classify(this.scale.code(seconds), this.#referenceCode(series, place, this.reference));
  }

  #referenceCode(series, place, name) {
    if (name === "last") {
      return series.previous[place];
    }
    return series.references.get(name)?.[place] ?? 0;
  }

  #classOf(s, place) {
    if (!s.configured[place]) {
      return NONE;
    }
    const code = s.codes[place];
    if (code >= this.scale.first && !s.compared) {
      return WAITING; // green would say that it is well
    }
    if (this.reference === "variation") {
      return this.scale.classifyVariation(code,
        this.#referenceCode(s, place, "mean"), this.#referenceCode(s, place, "variation"));
    }
    return this.scale.classify(code, this.#referenceCode(s, place, this.reference));
  }

  #setClass(s, place, cls) {
    const before = s.classes[place];
    if (cls === before) {
      return;
    }
    s.classes[place] = cls;
    s.block.counts[before]--;
    s.block.counts[cls]++;
    s.block.dirty[place] = 1;
    s.block.changed = true;
  }

  /** Computes every class again. */
  #reclassify() {
    for (const kind of this.kinds) {
      kind.states = none();
    }
    for (const block of this.blocks) {
      block.counts.fill(0);
      block.stale = block.changed = true;
    }
    for (const s of this.series) {
      s.compared = NEEDS[this.reference].every((name) => s.references.has(name));
      for (let place = 0; place < PLACES; place++) {
        const cls = this.#classOf(s, place);
        s.classes[place] = cls;
        s.block.counts[cls]++;
        if (cls !== NONE) {
          s.kind.states[this.scale.state(s.codes[place])]++;
        }
      }
    }
  }
}
