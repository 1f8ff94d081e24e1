// The jobs: sortable, filterable, one row kept for each job so that focus and selection survive a tick.

import { byId, el, keyed, part, setBar, setText } from "./elements.js";
import { money, percent, watts } from "./format.js";

const PAGE_ROWS = 20;
const NARROW_ROWS = 8;
const RESORT_MS = 10_000; // watts change every second; rows that hop every second cannot be read
const SEVERITY = ["paused", "downsized", "capped", "held", "waiting", "running"];

const COLUMNS = [
  { id: "job", label: "Job", value: (job) => job.name },
  { id: "owner", label: "Owner", value: (job) => job.owner },
  { id: "kind", label: "Kind", value: (job) => job.kind },
  { id: "gpus", label: "GPUs", value: (job) => -job.gpus },
  { id: "power", label: "Power", value: (job) => -job.draw_w },
  { id: "speed", label: "Speed", value: (job) => job.speed_frac ?? 2 },
  { id: "cost", label: "Cost/h", value: (job) => -job.cost_per_h },
  { id: "state", label: "State", value: (job) => SEVERITY.indexOf(job.state) },
  { id: "why", label: "Why", value: (job) => job.reason || "\uffff" },
];

const look = { column: "state", reversed: false, words: [], rows: startRows() };
const sorted = { jobs: "", at_ms: -Infinity, order: new Map() };
let shown = { jobs: [], currency: "USD" };

export function setUpJobs() {
  byId("jobs-head").append(...COLUMNS.map(headCell));
  byId("jobs-filter").addEventListener("input", (event) => {
    look.words = event.target.value.toLowerCase().split(/\s+/).filter(Boolean);
    look.rows = startRows();
    showRows();
  });
  byId("jobs-more").addEventListener("click", () => {
    look.rows += 4 * startRows();
    showRows();
  });
}

export function showJobs(view) {
  shown = view;
  showRows();
}

function startRows() {
  return window.matchMedia("(max-width: 700px)").matches ? NARROW_ROWS : PAGE_ROWS;
}

function headCell(column) {
  const button = el("button", { type: "button" }, column.label);
  button.addEventListener("click", () => sortBy(column.id));
  return el("th", { scope: "col", role: "columnheader", "data-column": column.id, "aria-sort": sortWord(column.id) }, button);
}

function sortWord(id) {
  if (look.column !== id) return "none";
  return look.reversed ? "descending" : "ascending";
}

function sortBy(id) {
  look.reversed = look.column === id && !look.reversed;
  look.column = id;
  sorted.at_ms = -Infinity;
  for (const cell of byId("jobs-head").children) cell.setAttribute("aria-sort", sortWord(cell.dataset.column));
  showRows();
}

function showRows() {
  const matching = inOrder(shown.jobs).filter(matches);
  keyed(byId("jobs-body"), matching.slice(0, look.rows), (job) => job.id, newRow, fillRow);
  showCounts(matching.length);
}

function inOrder(jobs) {
  const signature = jobs.map((job) => `${job.id} ${job.state}`).join("\n");
  if (signature !== sorted.jobs || performance.now() - sorted.at_ms > RESORT_MS) {
    Object.assign(sorted, { jobs: signature, at_ms: performance.now(), order: new Map(rank(jobs)) });
  }
  return [...jobs].sort((a, b) => sorted.order.get(a.id) - sorted.order.get(b.id));
}

function rank(jobs) {
  const { value } = COLUMNS.find((column) => column.id === look.column);
  const sign = look.reversed ? -1 : 1;
  const byValue = (a, b) => sign * compare(value(a), value(b)) || b.draw_w - a.draw_w || compare(a.id, b.id);
  return [...jobs].sort(byValue).map((job, place) => [job.id, place]);
}

function compare(a, b) {
  return typeof a === "string" ? a.localeCompare(b) : a - b;
}

function matches(job) {
  const text = [job.id, job.name, job.owner, job.cluster, job.kind, job.state, job.reason].join(" ").toLowerCase();
  return look.words.every((word) => text.includes(word));
}

function showCounts(matching) {
  const touched = shown.jobs.filter((job) => ["paused", "downsized", "capped"].includes(job.state)).length;
  const waiting = shown.jobs.filter((job) => ["held", "waiting"].includes(job.state)).length;
  setText(byId("jobs-summary"), `${shown.jobs.length} jobs · ${touched} slowed · ${waiting} waiting`);
  setText(byId("jobs-none"), shown.jobs.length ? "No job matches the filter." : "No job runs or waits.");
  byId("jobs-none").hidden = matching > 0;
  byId("jobs-more").hidden = matching <= look.rows;
  setText(byId("jobs-more"), `Show more (${Math.max(0, matching - look.rows)} left)`);
}

function cell(id, label, ...children) {
  return el("td", { role: "cell", class: `cell-${id}`, "data-label": label }, ...children);
}

function newRow() {
  const span = (name, className = null) => el("span", { "data-part": name, class: className });
  const bar = el("span", { class: "bar", "aria-hidden": "true" }, span("fill"));
  const [name, ...cells] = COLUMNS.map(({ id, label }) => cell(id, label, id === "state" ? span("state", "job-state") : span(id)));
  name.append(span("shield", "tag shield"), span("where", "muted where"));
  cells.find((one) => one.classList.contains("cell-power")).append(bar);
  return el("tr", { role: "row" }, name, ...cells);
}

function fillRow(row, job) {
  const texts = {
    job: job.name, where: `${job.id} · ${job.cluster}`, shield: job.protected ? "protected" : "", owner: job.owner,
    kind: job.kind, gpus: String(job.gpus), power: watts(job.draw_w, 3), speed: percent(job.speed_frac),
    cost: money(job.cost_per_h, shown.currency), state: job.state, why: job.reason,
  };
  for (const [name, text] of Object.entries(texts)) setText(part(row, name), text);
  part(row, "shield").hidden = !job.protected;
  part(row, "state").dataset.state = job.state;
  setBar(part(row, "fill"), job.draw_w / job.full_w);
}
