// Routes and their changes, as tables.

import { h, table } from "./dom.js";
import { ago, clock, probe, ratio, rtt } from "./format.js";

/** The section of the routes of a prefix or an address. */
export function routeSection(routes) {
  if (!routes?.length) {
    return h("div", { class: "routes" }, h("h3", {}, "Route"), h("p", { class: "facts" }, "None is followed, or none is known yet."));
  }
  return h("div", { class: "routes" }, routes.map((route) => [
    h("h3", {}, "Route", h("small", {}, [route.ip && `to ${route.ip}`, `by ${probe({ probe: route.protocol, port: route.port })}`,
      route.status !== "no_route" && route.status, route.status_detail, route.last && !route.stale && `traced ${ago(new Date(route.last))}`].filter(Boolean).join(" · "))),
    route.stale && h("p", { class: "doubt" }, route.last ? `Nothing has been traced for a while: this is the path of ${ago(new Date(route.last))}.` : "Nothing has been traced yet."),
    h("div", { class: route.stale ? "scroll stale" : "scroll" }, table({ class: "numbers many hops" }, ["TTL", "router", "last", "best", "mean", "worst", "loss"], route.hops.map(hopCells))),
    changes(route),
  ]));
}

function hopCells(hop) {
  const labels = hop.labels?.map((l) => l.label).join(" ");
  return [String(hop.ttl), [hop.router ?? "*", labels && ` MPLS ${labels}`].filter(Boolean).join(""), rtt(hop.last_seconds), rtt(hop.best_seconds),
    rtt(hop.mean_seconds), rtt(hop.worst_seconds), hop.router ? `${ratio(hop.loss_ratio)}${hop.rate_limited ? " (limits its answers)" : ""}` : "–"];
}

function changes(route) {
  if (!route.changes?.length) {
    return h("p", { class: "facts" }, "No change is known.");
  }
  return [
    h("h3", {}, "Changes", h("small", {}, `${route.changes_total} in all`)),
    h("ul", { class: "changes" }, [...route.changes].reverse().map((change) => {
      const at = new Date(change.time);
      return h("li", { title: `${at.toLocaleString()}\n${path(change.old)}\n→ ${path(change.new)}` },
        `${clock(at)} (${ago(at)}): `, h("span", { class: "facts" }, change.detail));
    })),
  ];
}

function path(hops) {
  return hops.map((router) => router ?? "*").join(" ");
}
