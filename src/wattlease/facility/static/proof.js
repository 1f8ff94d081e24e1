"use strict";
// Draws the chart from the JSON beside it, in the colours of the page, and again when the page turns dark or light.

const dark = matchMedia("(prefers-color-scheme: dark)");
const narrow = matchMedia("(max-width: 40rem)");

function colour(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(name).trim();
}

function themed(layout) {
  const axis = { gridcolor: colour("--line"), linecolor: colour("--line"), zerolinecolor: colour("--line"), automargin: true };
  return {
    ...layout,
    paper_bgcolor: "rgba(0,0,0,0)",
    plot_bgcolor: "rgba(0,0,0,0)",
    font: { color: colour("--ink"), family: "system-ui, sans-serif", size: narrow.matches ? 11 : 13 },
    margin: { l: narrow.matches ? 46 : 64, r: 12, t: 8, b: 8 },
    legend: { orientation: "h", x: 0, y: 1.02, yanchor: "bottom" },
    hovermode: "x unified",
    hoverlabel: { bgcolor: colour("--card"), bordercolor: colour("--line"), font: { color: colour("--ink") } },
    xaxis: { ...axis, ...layout.xaxis },
    yaxis: { ...axis, ...layout.yaxis },
  };
}

function draw() {
  const figure = document.querySelector("figure");
  const { traces, layout } = JSON.parse(figure.querySelector("script").textContent);
  const settings = { responsive: true, displaylogo: false, displayModeBar: false };
  Plotly.react(figure.querySelector(".plot"), traces, themed(layout), settings);
}

draw();
dark.addEventListener("change", draw);
narrow.addEventListener("change", draw);
