// The page: news comes in, every part shows its share of it.

import { showChart, watchTheme } from "./chart.js";
import { showChartText } from "./charttext.js";
import { setUpControls, syncControls } from "./controls.js";
import { byId, setText } from "./elements.js";
import { ago } from "./format.js";
import { append, fromDocument } from "./history.js";
import { setUpJobs, showJobs } from "./jobs.js";
import { follow } from "./live.js";
import { showNow, showPanels } from "./panels.js";

const SHOW_EVERY_MS = 250; // a plant that runs faster than time may tick many times a second

let history = null;
let latest = null;
let timer = null;

function show() {
  timer = null;
  showNow(latest);
  showPanels(latest);
  showJobs(latest);
  syncControls(latest);
  showChart(latest, history);
  showChartText(latest, history);
}

function showSoon(view) {
  latest = view;
  timer ??= setTimeout(show, SHOW_EVERY_MS);
}

function onDocument(view) {
  history = fromDocument(view.history);
  latest = view;
  show();
}

function onTick(tick) {
  if (!history) return;
  append(history, tick.sample);
  showSoon(tick);
}

function onSilence(silent_s) {
  byId("silence").hidden = false;
  setText(byId("silence"), `No news for ${ago(silent_s)}. The numbers below are old; trying to reconnect.`);
}

function onNews() {
  byId("silence").hidden = true;
}

setUpJobs();
setUpControls();
watchTheme();
follow({ onDocument, onTick, onSilence, onNews });
