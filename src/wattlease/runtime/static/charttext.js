// The chart in words: a sentence for everyone, a table for who cannot see it, both renewed calmly.

import { byId, el, setText } from "./elements.js";
import { minute, percent, watts } from "./format.js";

const TABLE_EVERY_S = 10;
const PAST_MINUTES = 10;
const AHEAD_STEPS = 6;

let tableAt_s = -Infinity;

export function showChartText(view, history) {
  setText(byId("chart-text"), sentence(view));
  if (Math.abs(view.now_s - tableAt_s) < TABLE_EVERY_S) return;
  tableAt_s = view.now_s;
  byId("chart-table").replaceChildren(...[...pastRows(view, history), ...aheadRows(view.forecast)].map(row));
}

function sentence({ draw_w, limit_w, forecast }) {
  const now = `The site draws ${watts(draw_w)} of ${watts(limit_w)}.`;
  if (!forecast.p90_w.length) return now;
  const peak = forecast.p90_w.reduce((best, value, at) => (value > forecast.p90_w[best] ? at : best), 0);
  const when = minute(forecast.t_s[peak]);
  return `${now} In the next half hour it peaks at ${watts(forecast.p90_w[peak])} at most (9 times in 10), about ${when}.`;
}

function pastRows(view, history) {
  const rows = [];
  for (let back = 0; back < PAST_MINUTES; back += 1) {
    const at = history.t_s.findLastIndex((t_s) => t_s <= view.now_s - 60 * back);
    if (at < 0) break;
    rows.unshift([minute(history.t_s[at]), watts(history.draw_w[at]), watts(history.limit_w[at]), percent(history.soc_frac[at])]);
  }
  return rows;
}

function aheadRows(forecast) {
  const step = Math.max(1, Math.ceil(forecast.t_s.length / AHEAD_STEPS));
  const picked = forecast.t_s.map((_, at) => at).filter((at) => at % step === step - 1);
  return picked.map((at) => {
    const range = `${watts(forecast.p10_w[at])} to ${watts(forecast.p90_w[at])} (forecast)`;
    return [minute(forecast.t_s[at]), range, watts(forecast.limit_w[at]), "–"];
  });
}

function row([time, ...cells]) {
  return el("tr", {}, el("th", { scope: "row" }, time), ...cells.map((text) => el("td", {}, text)));
}
