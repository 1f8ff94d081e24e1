// The live chart: draw stacked by cluster and kind, the limit as a step, the forecast's band, the battery below.

import { byId, el } from "./elements.js";
import { tightest } from "./history.js";

const POINTS_MOST = 600;
const REDRAW_MS = 1000;
const HOVERED_REDRAW_MS = 5000; // a redraw takes the hover box away, so it waits while someone reads
const SPAN_S = 1800;
const WATTS = "%{y:.4s}W<extra></extra>";
const CONFIG = { displayModeBar: false, responsive: true, showTips: false, doubleClick: false };

const plotly = new Promise((resolve) => {
  if (window.Plotly) resolve(window.Plotly);
  else byId("plotly").addEventListener("load", () => resolve(window.Plotly), { once: true });
});

let newest = null;
let drawn_ms = -Infinity;
let timer = null;

export function showChart(view, history) {
  newest = { view, history };
  schedule();
}

export function watchTheme() {
  window.matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => draw());
  document.addEventListener("visibilitychange", () => schedule());
  byId("chart").addEventListener("pointerleave", () => schedule());
}

function schedule() {
  if (timer !== null || document.hidden || !newest) return;
  const pause_ms = byId("chart").matches(":hover") ? HOVERED_REDRAW_MS : REDRAW_MS;
  timer = setTimeout(draw, Math.max(0, drawn_ms + pause_ms - performance.now()));
}

async function draw() {
  clearTimeout(timer);
  timer = null;
  if (!newest) return;
  drawn_ms = performance.now();
  const library = await plotly;
  const { view, history } = newest;
  const paint = palette(history.series);
  showLegend(history.series, paint, view);
  await library.react(byId("chart"), traces(view, history, paint), layout(view, paint), CONFIG);
}

// Colours live in page.css, so that one place serves light and dark.
function palette(series) {
  const style = getComputedStyle(document.documentElement);
  const colour = (name) => style.getPropertyValue(`--${name}`).trim();
  const clusters = [...new Set(series.map((one) => one.cluster))];
  const fill = (one) => {
    const kind = colour(`kind-${one.kind.toLowerCase().replace(/[^a-z]/g, "")}`) || colour("kind-other");
    return mix(kind, colour("card"), 1 - 0.27 * Math.min(2, clusters.indexOf(one.cluster)));
  };
  return { colour, fill };
}

function mix(front, back, share) {
  const channels = (hex) => [1, 3, 5].map((at) => parseInt(hex.slice(at, at + 2), 16));
  const [a, b] = [channels(front), channels(back)];
  return `rgb(${a.map((channel, i) => Math.round(channel * share + b[i] * (1 - share))).join(",")})`;
}

// Plotly takes milliseconds for UTC; shifted by the browser's offset they read as local time.
function toAxis(t_s, now_s) {
  const offset_ms = new Date(now_s * 1000).getTimezoneOffset() * 60_000;
  return t_s.map((one_s) => one_s * 1000 - offset_ms);
}

function traces(view, history, paint) {
  const rows = tightest(history, POINTS_MOST);
  const pick = (column) => rows.map((row) => column[row]);
  const past = toAxis(pick(history.t_s), view.now_s);
  const all = history.series.map((series) => stacked(series, past, pick(series.watts_w), paint));
  all.push(...forecastTraces(view, paint));
  all.push(line("Draw", past, pick(history.draw_w), { color: paint.colour("ink"), width: 1.6 }));
  all.push(limitTrace(view, history, past, pick, paint));
  if (view.storage) all.push(chargeTrace(history, past, pick, paint));
  return all;
}

function line(name, x, y, style, more = {}) {
  return { type: "scatter", mode: "lines", name, x, y, line: style, hovertemplate: `${name} ${WATTS}`, ...more };
}

function stacked(series, x, y, paint) {
  const style = { color: paint.fill(series), width: 0 };
  return line(escaped(series.name), x, y, style, { stackgroup: "draw", fillcolor: style.color });
}

function forecastTraces({ forecast, draw_w, now_s }, paint) {
  const joined = (column) => (column.length && draw_w !== null ? [draw_w, ...column] : column);
  const x = toAxis(joined(forecast.t_s).length > forecast.t_s.length ? [now_s, ...forecast.t_s] : forecast.t_s, now_s);
  const quiet = { color: "rgba(0,0,0,0)", width: 0 };
  const fillcolor = paint.colour("band");
  return [
    line("Low (p10)", x, joined(forecast.p10_w), quiet),
    line("High (p90)", x, joined(forecast.p90_w), quiet, { fill: "tonexty", fillcolor }),
    line("Forecast", x, joined(forecast.p50_w), { color: paint.colour("ink-soft"), width: 1.6, dash: "dot" }),
  ];
}

function limitTrace(view, history, past, pick, paint) {
  const x = [...past, ...toAxis([view.now_s, ...view.forecast.t_s], view.now_s)];
  const y = [...pick(history.limit_w), view.limit_w, ...view.forecast.limit_w];
  return line("Limit", x, y, { color: paint.colour("limit"), width: 2.6, shape: "hv" });
}

function chargeTrace(history, past, pick, paint) {
  const color = paint.colour("storage");
  return line("Battery", past, pick(history.soc_frac), { color, width: 1.6 }, {
    yaxis: "y2", fill: "tozeroy", fillcolor: paint.colour("storage-soft"), hovertemplate: "Battery %{y:.0%}<extra></extra>",
  });
}

// Plotly reads a little markup in names; a job's cluster may be called anything.
function escaped(name) {
  return name.replace(/&/g, "&amp;").replace(/</g, "&lt;").replace(/>/g, "&gt;").replace(/%\{/g, "% {");
}

function layout(view, paint) {
  const [from, now, to] = toAxis([view.now_s - SPAN_S, view.now_s, view.now_s + SPAN_S], view.now_s);
  const gap = { ticks: "outside", ticklen: 6, tickcolor: "rgba(0,0,0,0)" };
  const grid = { gridcolor: paint.colour("grid"), zeroline: false, fixedrange: true, automargin: true, ...gap };
  const font = { family: getComputedStyle(document.body).fontFamily, size: 12, color: paint.colour("ink-soft") };
  const ink = { bgcolor: paint.colour("card"), bordercolor: paint.colour("line"), font: { ...font, color: paint.colour("ink") } };
  return {
    paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)", font, hoverlabel: ink, showlegend: false,
    margin: { l: 8, r: 8, t: 18, b: 8 }, hovermode: "x unified", dragmode: false,
    xaxis: { ...grid, type: "date", range: [from, to], tickformat: "%H:%M", hoverformat: "%H:%M:%S", showgrid: false, nticks: 8, anchor: view.storage ? "y2" : "y" },
    yaxis: { ...grid, domain: view.storage ? [0.24, 1] : [0, 1], rangemode: "tozero", tickformat: "~s", ticksuffix: "W", nticks: 6 },
    ...(view.storage && { yaxis2: { ...grid, domain: [0, 0.15], range: [0, 1], tickformat: ".0%", tickvals: [0, 1] } }),
    shapes: [{ type: "line", x0: now, x1: now, y0: 0, y1: 1, yref: "paper", line: { color: paint.colour("ink-soft"), width: 1, dash: "dot" } }],
    annotations: [{ x: now, y: 1, yref: "paper", yanchor: "bottom", text: "now", showarrow: false, font }],
  };
}

function showLegend(series, paint, view) {
  const entries = series.map((one) => [one.name, paint.fill(one), "area"]);
  entries.push(["Draw", paint.colour("ink"), "line"], ["Limit", paint.colour("limit"), "line"]);
  entries.push(["Forecast, 10–90 %", paint.colour("ink-soft"), "area faint"]);
  if (view.storage) entries.push(["Battery", paint.colour("storage"), "line"]);
  const signature = JSON.stringify(entries);
  if (byId("legend").dataset.shown === signature) return;
  byId("legend").dataset.shown = signature;
  byId("legend").replaceChildren(...entries.map(([name, colour, shape]) => {
    const swatch = el("span", { class: `swatch ${shape}` });
    swatch.style.background = colour;
    return el("li", {}, swatch, name);
  }));
}
