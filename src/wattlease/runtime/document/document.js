"use strict";
// Draws every picture from the JSON beside it, in the colours of the page, and again when the page turns dark or light.

const dark = matchMedia("(prefers-color-scheme: dark)");
const narrow = matchMedia("(max-width: 40rem)");

function colour(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(name).trim();
}

function themed(layout) {
  const all = {
    paper_bgcolor: "rgba(0,0,0,0)",
    plot_bgcolor: "rgba(0,0,0,0)",
    font: { color: colour("--ink"), family: "system-ui, sans-serif", size: narrow.matches ? 11 : 13 },
    margin: { l: narrow.matches ? 46 : 64, r: 12, t: 8, b: 8 },
    legend: { orientation: "h", x: 0, y: 1.02, yanchor: "bottom", traceorder: "normal" },
    hovermode: "x unified",
    hoverlabel: { bgcolor: colour("--card"), bordercolor: colour("--line"), font: { color: colour("--ink") } },
    bargap: 0.3,
    ...structuredClone(layout),
  };
  for (const name of Object.keys(all).filter((key) => /^[xy]axis/.test(key))) {
    const axis = { gridcolor: colour("--line"), linecolor: colour("--line"), zerolinecolor: colour("--line") };
    all[name] = { ...axis, automargin: true, ...all[name] };
  }
  return all;
}

function draw(figure) {
  const { traces, layout } = JSON.parse(figure.querySelector("script").textContent);
  const settings = { responsive: true, displaylogo: false, displayModeBar: false };
  return Plotly.react(figure.querySelector(".plot"), traces, themed(layout), settings);
}

function drawAll() {
  document.querySelectorAll("figure").forEach(draw);
}

if (window.Plotly) {
  drawAll();
  dark.addEventListener("change", drawAll);
  narrow.addEventListener("change", drawAll);
} else {
  document.querySelectorAll("figure details").forEach((details) => { details.open = true; });
}
