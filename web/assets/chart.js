// Charts over time, by uPlot, which is loaded when the first picture stands.

import { LOST } from "./severity.js";
import { minute, ratio, rtt } from "./format.js";

let library = null;
let failures = 0;

/** The uPlot class. If it cannot be had, the next call asks again, by another name: browsers remember failures. */
export function plot() {
  const name = `./vendor/uplot/uPlot.esm.js${failures > 0 ? `?again=${failures}` : ""}`;
  library ??= import(name).then((module) => module.default, (error) => {
    library = null;
    failures++;
    throw error;
  });
  return library;
}

/** Holds a chart that is being made, or is there, or could not be made: then the console is told. */
export class ChartHolder {
  #chart = null; // a promise of it

  /** Whether there is no chart, and none is being made. */
  get empty() {
    return this.#chart === null;
  }

  /** Takes the promise of a chart, in place of the one before. */
  put(chart) {
    this.drop();
    this.#chart = chart;
    chart.catch((error) => {
      console.error(error);
      this.#chart = this.#chart === chart ? null : this.#chart;
    });
  }

  /** Calls with the chart, as soon as it is there. */
  use(call) {
    this.#chart?.then(call, () => {}); // that it failed has been said
  }

  /** Ends the chart. */
  drop() {
    this.use((chart) => chart.destroy());
    this.#chart = null;
  }
}

/** A sparkline: mean RTT of each second, lost probes as bars from below; data is [times, lost, means]. */
export async function sparkline(element, colour, bad) {
  const Plot = await plot();
  const size = () => ({ width: element.clientWidth, height: element.clientHeight });
  const chart = new Plot({
    ...size(),
    padding: [3, 0, 2, 0],
    cursor: { show: false },
    legend: { show: false },
    scales: { x: { time: true }, y: { range: (_, low, high) => spread(low, high) }, lost: { range: (_, __, high) => [0, Math.max(high * 3, 10)] } },
    axes: [{ show: false }, { show: false }],
    series: [{},
      { scale: "lost", stroke: bad, fill: bad, width: 1, points: { show: false }, paths: Plot.paths.bars({ size: [1, 3], align: 0 }) },
      { scale: "y", stroke: colour, width: 1.25, points: { show: false }, spanGaps: true }],
  }, [[], [], []], element);
  const observer = new ResizeObserver(() => chart.setSize(size()));
  observer.observe(element);
  return {
    update: (data, x) => chart.batch(() => {
      chart.setData(data, true);
      chart.setScale("x", x);
    }),
    destroy: () => {
      observer.disconnect();
      chart.destroy();
    },
  };
}

/** Room around a line, so that a quiet one lies in the middle and noise does not look like trouble. */
function spread(low, high) {
  if (low === null || high === null) {
    return [0, 1];
  }
  const middle = (low + high) / 2;
  const half = Math.max((high - low) / 2, middle * 0.15);
  return [Math.max(0, middle - half * 1.15), middle + half * 1.15];
}

/** What is free at the right of the hour: half of the time that may stand below its end. */
export const RIGHT = 18;

/** Axes in the colours of the theme. */
function axes(palette) {
  const common = { stroke: palette.quiet, grid: { stroke: palette.line, width: 1 }, ticks: { show: false }, font: "11px sans-serif" };
  return [
    { ...common, space: 70, values: (_, ticks) => ticks.map(minute) },
    { ...common, size: 62, space: 26, filter: roundOnly, grid: { ...common.grid, filter: roundOnly }, values: (_, ticks) => ticks.map((v) => (v === null ? "" : rtt(v))) },
  ];
}

/** Of the lines of a logarithmic scale those at 1, 2 and 5 times a power of ten: all would be a mesh. */
function roundOnly(_, splits) {
  return splits.map((v) => (v > 0 && ["1", "2", "5"].includes(v.toExponential(0)[0]) ? v : null));
}

/**
 * The last hour of an address: of each probe the mean as a line and minimum to maximum as a band, the
 * lost share of the first one as bars, the nominal RTT as a dashed line. The scale is logarithmic, as the
 * severity scale is: one slow answer does not flatten all others. An update is {minutes, loss, nominal},
 * with a nominal RTT if there was one at first.
 * @param point is called with what is under the pointer, in words
 */
export async function hourChart(element, { probes, minutes, loss, nominal, palette, height, point }) {
  const Plot = await plot();
  const { data, series, bands } = hourSeries(Plot, { probes, minutes, loss, nominal, palette });
  let shown = { minutes, loss };
  const size = () => ({ width: Math.max(200, element.clientWidth), height });
  const chart = new Plot({
    ...size(),
    padding: [8, RIGHT, 0, 0],
    scales: { y: { distr: 3, range: (_, low, high) => (low > 0 ? [low / 1.25, high * 1.25] : [0.001, 1]) }, loss: { range: () => [0, 1] } },
    axes: axes(palette), series, bands,
    legend: { show: false },
    cursor: { y: false, points: { show: false } },
    hooks: { setCursor: [({ cursor }) => point(cursor.idx === null || cursor.idx === undefined ? "" : words(probes, shown, cursor.idx))] },
  }, data, element);
  const observer = new ResizeObserver(() => chart.setSize(size()));
  observer.observe(element);
  return {
    update: (now) => {
      shown = now;
      chart.setData(hourSeries(Plot, { probes, palette, ...now }).data);
    },
    destroy: () => {
      observer.disconnect();
      chart.destroy();
    },
  };
}

/** One minute in words. */
function words(probes, { minutes, loss }, i) {
  const parts = probes.map((name, k) => {
    const { rtt_seconds: mean, min_seconds: low, max_seconds: high } = minutes[k];
    return mean[i] === null ? `${name} –` : `${name} ${rtt(mean[i])} (${rtt(low[i])} to ${rtt(high[i])})`;
  });
  return [minute(minutes[0].from_unix + i * 60), ...parts, loss[i] && `${probes[0]} ${ratio(loss[i])} lost`].filter(Boolean).join(", ");
}

/** Which values have none beside them: a line does not show those. */
function alone(values) {
  return values.flatMap((v, i) => (v !== null && (values[i - 1] ?? null) === null && (values[i + 1] ?? null) === null ? [i] : []));
}

function hourSeries(Plot, { probes, minutes, loss, nominal, palette }) {
  const from = minutes[0].from_unix;
  const data = [Array.from({ length: minutes[0].rtt_seconds.length }, (_, i) => from + i * 60), loss];
  const grey = palette.classes[LOST];
  const series = [{}, { scale: "loss", stroke: grey, fill: `${grey}66`, width: 0, points: { show: false }, paths: Plot.paths.bars({ size: [0.8, 14], align: 1 }) }];
  const bands = [];
  probes.forEach((name, i) => {
    const colour = palette.series[i % palette.series.length];
    bands.push({ series: [data.length, data.length + 1], fill: `${colour}2b` });
    series.push({ stroke: "transparent", points: { show: false } }, { stroke: "transparent", points: { show: false } },
      { stroke: colour, width: 1.75, points: { show: false, size: 4, fill: colour, filter: (chart, k) => alone(chart.data[k]) } });
    data.push(minutes[i].max_seconds, minutes[i].min_seconds, minutes[i].rtt_seconds);
  });
  if (nominal) {
    series.push({ stroke: palette.quiet, dash: [5, 5], width: 1, points: { show: false } });
    data.push(data[0].map(() => nominal));
  }
  return { data, series, bands };
}
