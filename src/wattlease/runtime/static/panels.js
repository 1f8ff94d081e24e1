// The cards beside the chart: what binds and what does not, the battery, feeds and racks, figures, events.

import { byId, el, keyed, part, setBar, setNumber, setText } from "./elements.js";
import { clock, energy, minute, percent, watts } from "./format.js";

const EVENTS_MOST = 40;
const STATES = {
  within: "Within the limit", preparing: "Preparing", shedding: "Shedding",
  releasing: "Releasing", over: "Over the limit", blind: "Blind",
};

let announced = null;

export function showNow(view) {
  setText(byId("site"), view.site);
  setText(byId("clock"), clock(view.now_s));
  setText(byId("state"), STATES[view.state]);
  byId("state").dataset.state = view.state;
  setText(byId("state-text"), view.state_text);
  for (const name of ["draw", "limit", "headroom"]) setNumber(byId(name), watts(view[`${name}_w`]));
  setText(byId("binding"), view.binding);
  setBar(byId("gauge-fill"), view.draw_w / view.limit_w);
  byId("gauge-fill").dataset.state = view.draw_w > view.limit_w ? "over" : view.state;
  document.title = `${watts(view.draw_w)} of ${watts(view.limit_w)} · ${STATES[view.state]} · ${view.site}`;
  showMode(view.mode);
  announce(view);
}

function showMode(mode) {
  byId("mode").hidden = false;
  byId("mode").dataset.mode = mode;
  setText(byId("mode"), mode === "Shadow" ? "Shadow: watches, changes nothing" : mode);
}

// Only a change of state is spoken: a number read out each second is noise.
function announce(view) {
  if (announced !== null && announced !== view.state) {
    setText(byId("announcer"), `${STATES[view.state]}. ${view.state_text}`);
  }
  announced = view.state;
}

export function showPanels(view) {
  showLimits(view.limits);
  showStorage(view.storage);
  showScopes(view.scopes);
  showFigures(view.figures);
  showEvents(view.events);
}

function showLimits(limits) {
  const key = (row) => JSON.stringify([row.scope, row.source, row.from_s]);
  const ordered = [...limits].sort((a, b) => b.binds - a.binds || a.limit_w - b.limit_w);
  keyed(byId("limits"), ordered, key, newLimit, (node, row) => {
    node.classList.toggle("binds", row.binds);
    fill(node, { name: row.source, scope: row.scope, watts: watts(row.limit_w), text: row.text, when: span(row) });
    part(node, "binds").hidden = !row.binds;
  });
}

function newLimit() {
  const head = el("div", { class: "row" }, bit("name", "strong"), bit("binds", "tag binds-tag", "binds"), bit("watts", "amount"));
  return el("li", {}, head, el("p", {}, bit("text")), el("p", { class: "muted" }, bit("scope"), bit("when")));
}

function span({ from_s, until_s }) {
  if (from_s === null && until_s === null) return "";
  if (from_s === null) return ` · until ${minute(until_s)}`;
  return until_s === null ? ` · from ${minute(from_s)}` : ` · ${minute(from_s)} to ${minute(until_s)}`;
}

function showStorage(storage) {
  byId("storage-card").hidden = byId("charge-number").hidden = !storage;
  if (!storage) return;
  setNumber(byId("charge"), percent(storage.soc_frac));
  setBar(byId("storage-fill"), storage.soc_frac);
  byId("storage-reserve").style.left = `${100 * storage.reserve_frac}%`;
  setText(byId("storage-line"), `${flow(storage.power_w)} · ${energy(storage.soc_frac * storage.capacity_j)} of ${energy(storage.capacity_j)}`);
  setText(byId("storage-text"), `${storage.text} The reserve of ${percent(storage.reserve_frac)} stays for an outage.`.trim());
}

function flow(power_w) {
  if (Math.abs(power_w) < 1) return "Idle";
  return power_w > 0 ? `Gives ${watts(power_w, 3)}` : `Takes ${watts(-power_w, 3)}`;
}

function showScopes(scopes) {
  byId("scopes-card").hidden = scopes.length === 0;
  const depths = new Map();
  const ordered = [];
  const walk = (parent, depth) => {
    for (const scope of scopes) {
      if (scope.parent !== parent || depths.has(scope.id)) continue;
      depths.set(scope.id, depth);
      ordered.push(scope);
      walk(scope.id, depth + 1);
    }
  };
  walk(null, 0);
  ordered.push(...scopes.filter((scope) => !depths.has(scope.id))); // their parent is not shown
  keyed(byId("scopes"), ordered, (scope) => scope.id, newScope, (node, scope) => {
    node.style.paddingInlineStart = `${0.9 * Math.min(3, depths.get(scope.id) ?? 0)}rem`;
    fill(node, { name: scope.id, watts: `${watts(scope.draw_w, 3)} of ${watts(scope.limit_w, 3)}`, text: scope.binding });
    setBar(part(node, "fill"), scope.draw_w / scope.limit_w);
    part(node, "fill").dataset.state = scope.draw_w > scope.limit_w ? "over" : "";
  });
}

function newScope() {
  const bar = el("span", { class: "bar", "aria-hidden": "true" }, bit("fill"));
  return el("li", {}, el("div", { class: "row" }, bit("name", "strong"), bit("watts", "amount")), bar, el("p", { class: "muted" }, bit("text")));
}

function showFigures(figures) {
  byId("figures-card").hidden = figures.length === 0;
  keyed(byId("figures"), figures, (figure) => figure.label, newFigure, (node, figure) => {
    fill(node, { name: figure.label, value: figure.value, text: figure.text });
  });
}

function newFigure() {
  return el("div", {}, el("dt", {}, bit("name")), el("dd", {}, bit("value", "strong"), bit("text", "muted")));
}

function showEvents(events) {
  const rows = events.slice(0, EVENTS_MOST);
  const key = (event) => JSON.stringify([event.t_s, event.kind, event.text]);
  keyed(byId("events"), rows, key, newEvent, (node, event) => {
    fill(node, { time: clock(event.t_s), kind: event.kind, text: event.text });
  });
}

function newEvent() {
  return el("li", {}, el("div", { class: "row" }, bit("kind", "strong"), bit("time", "amount muted")), el("p", {}, bit("text")));
}

function bit(name, className = null, ...children) {
  return el("span", { "data-part": name, class: className }, ...children);
}

function fill(node, texts) {
  for (const [name, text] of Object.entries(texts)) setText(part(node, name), text);
}
