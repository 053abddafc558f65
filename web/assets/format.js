// How values are written. Everything returns plain text.

/** An RTT: three digits and a unit; null: a dash. */
export function rtt(seconds) {
  if (seconds === null || seconds === undefined) {
    return "–";
  }
  const ms = seconds * 1000;
  if (ms < 0.9995) return `${digits(ms * 1000)} µs`;
  if (ms < 999.5) return `${digits(ms)} ms`;
  return `${digits(seconds)} s`;
}

function digits(x) {
  if (x < 9.995) return x.toFixed(2);
  return x < 99.95 ? x.toFixed(1) : x.toFixed(0);
}

/** A share, such as 0.5 %; null: a dash. */
export function ratio(x) {
  if (x === null || x === undefined) {
    return "–";
  }
  const percent = x * 100;
  if (percent === 0 || percent >= 99.95) return `${percent.toFixed(0)} %`;
  return `${percent < 0.995 ? percent.toFixed(2) : percent.toFixed(1)} %`;
}

/** A count with thin gaps between thousands. */
export function count(n) {
  return String(n).replace(/\B(?=(\d{3})+$)/g, "\u202f");
}

/** A factor, such as 2.3×. */
export function factor(x) {
  return `${x < 9.95 ? x.toFixed(1) : x.toFixed(0)}×`;
}

/** The time of day of a Date, in the reader's zone. */
export function clock(date) {
  return date.toLocaleTimeString(undefined, { hourCycle: "h23" });
}

/** Hours and minutes of Unix seconds. */
export function minute(unix) {
  return new Date(unix * 1000).toLocaleTimeString(undefined, { hourCycle: "h23", hour: "2-digit", minute: "2-digit" });
}

/** So many seconds are of now: probes have their timeouts, and an answer of the API is kept for a moment. */
const NOW_S = 10;

/** How old something is that is not of now, from Unix seconds; "": it is of now, or there is nothing. */
export function age(unix, now) {
  return unix === null || unix === undefined || now - unix < NOW_S ? "" : ago(new Date(unix * 1000), now * 1000);
}

/** How long ago, roughly. */
export function ago(date, now = Date.now()) {
  const s = Math.max(0, Math.round((now - date.getTime()) / 1000));
  if (s < 60) return `${s} s ago`;
  if (s < 3600) return `${Math.floor(s / 60)} min ago`;
  return s < 86400 ? `${Math.floor(s / 3600)} h ago` : `${Math.floor(s / 86400)} d ago`;
}

/** The name of a probe: ping, or tcp/80. */
export function probe({ probe: kind, port }) {
  return kind === "icmp" ? "ping" : `${kind}/${port}`;
}

/** A cause as words. */
export function cause(name) {
  return Object.hasOwn(CAUSES, name) ? CAUSES[name] : name;
}

const CAUSES = { ttl_exceeded: "TTL exceeded", no_route: "no route from the prober" };
