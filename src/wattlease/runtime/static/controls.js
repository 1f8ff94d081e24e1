// The demo's controls, built only where the server has them.

import { byId, el, setText } from "./elements.js";
import { watts } from "./format.js";

const FIELDS = { limit_w: "limit-number", depth_frac: "event-depth", duration_s: "event-minutes", ramp_s: "event-ramp", gpus: "job-gpus", kind: "job-kind" };

let synced = false;

export function setUpControls() {
  const ranges = JSON.parse(document.querySelector('meta[name="wattlease-controls"]').content);
  if (!ranges) return;
  const card = byId("controls");
  card.append(head(), el("div", { class: "forms" }, limitForm(ranges), eventForm(), jobForm(ranges)),
    el("p", { id: "controls-answer", role: "status" }));
  card.hidden = false;
}

// The slider shows the limit in force until someone moves it.
export function syncControls(view) {
  if (synced || byId("controls").hidden) return;
  synced = true;
  const kilowatts = String(Math.round(view.limit_w / 1000));
  byId("limit-slider").value = byId("limit-number").value = kilowatts;
}

function head() {
  const reset = el("button", { type: "button", class: "quiet", id: "reset" }, "Reset");
  reset.addEventListener("click", async () => {
    if (await send("reset", {}, "Back to the start.")) synced = false;
  });
  return el("div", { class: "card-head" }, el("h2", { id: "controls-heading" }, "Try it"),
    el("p", { class: "muted" }, "A plant of virtual GPUs: nothing real is changed"), reset);
}

function limitForm({ limit_min_w, limit_max_w }) {
  const range = { min: Math.ceil(limit_min_w / 1000), max: Math.floor(limit_max_w / 1000), step: 1 };
  const slider = el("input", { id: "limit-slider", type: "range", ...range, "aria-label": "Limit in kilowatts" });
  const number = el("input", { id: "limit-number", type: "number", ...range, required: true });
  slider.addEventListener("input", () => { number.value = slider.value; });
  number.addEventListener("input", () => { slider.value = number.value; });
  return form("limit", "Set limit", [labelled("Limit, kW", number), slider], () => {
    const limit_w = Number(number.value) * 1000;
    return [{ limit_w }, `The limit is ${watts(limit_w)} now.`];
  });
}

function eventForm() {
  const depth = el("input", { id: "event-depth", type: "number", min: 1, max: 90, value: 25, required: true });
  const minutes = el("input", { id: "event-minutes", type: "number", min: 1, max: 1440, value: 10, required: true });
  const ramp = el("input", { id: "event-ramp", type: "number", min: 0, max: 3600, value: 60, required: true });
  const parts = [labelled("Depth, %", depth), labelled("For, min", minutes), labelled("Ramp, s", ramp)];
  return form("event", "Start event", parts, () => [
    { depth_frac: Number(depth.value) / 100, duration_s: Number(minutes.value) * 60, ramp_s: Number(ramp.value) },
    `An event asks for ${depth.value} % less for ${minutes.value} min.`,
  ]);
}

function jobForm({ gpus_max, kinds }) {
  const gpus = el("input", { id: "job-gpus", type: "number", min: 1, max: gpus_max, value: Math.max(1, Math.floor(gpus_max / 2)), required: true });
  const kind = el("select", { id: "job-kind" }, ...kinds.map((name) => el("option", {}, name)));
  return form("job", "Submit a huge job", [labelled("GPUs", gpus), labelled("Kind", kind)], () => [
    { gpus: Number(gpus.value), kind: kind.value }, `A job of ${gpus.value} GPUs is in the queue.`,
  ]);
}

function labelled(text, input) {
  return el("label", {}, el("span", {}, text), input);
}

function form(name, label, parts, order) {
  const node = el("form", { id: `${name}-form` }, ...parts, el("button", { type: "submit" }, label));
  node.addEventListener("submit", (event) => {
    event.preventDefault();
    const [body, done] = order();
    send(name, body, done);
  });
  return node;
}

async function send(name, body, done) {
  clearInvalid();
  try {
    const request = { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) };
    const answer = await fetch(`api/controls/${name}`, request);
    const refused = answer.ok ? null : await answer.json();
    if (refused) markInvalid(refused.field);
    say(refused ? `Refused: ${refused.error}; ${refused.fix}.` : done, !refused);
    return answer.ok;
  } catch {
    say("The server did not answer; try again when the page has news.", false);
    return false;
  }
}

function say(text, well) {
  const answer = byId("controls-answer");
  setText(answer, text);
  answer.dataset.well = String(well);
}

function markInvalid(field) {
  byId(FIELDS[field])?.setAttribute("aria-invalid", "true");
}

function clearInvalid() {
  for (const node of byId("controls").querySelectorAll("[aria-invalid]")) node.removeAttribute("aria-invalid");
}
