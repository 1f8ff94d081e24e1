// Numbers as people read them. Unknown is a dash; a minus is a minus.

const SCALES = [[1e9, "GW"], [1e6, "MW"], [1e3, "kW"], [1, "W"]];
const UNKNOWN = "–";

function known(value) {
  return typeof value === "number" && Number.isFinite(value);
}

function fixed(value, digits) {
  const text = Math.abs(value).toFixed(digits);
  return value < 0 && Number(text) !== 0 ? `−${text}` : text;
}

export function watts(value, significant = 4) {
  if (!known(value)) return UNKNOWN;
  const size = Math.abs(value);
  const [scale, unit] = SCALES.find(([least]) => size >= least * 0.9995) ?? [1, "W"];
  const scaled = value / scale;
  const whole = Math.max(1, Math.ceil(Math.log10(Math.abs(scaled) + 1e-9)));
  return `${fixed(scaled, unit === "W" ? 0 : Math.max(0, significant - whole))} ${unit}`;
}

export function percent(fraction, digits = 0) {
  return known(fraction) ? `${fixed(fraction * 100, digits)} %` : UNKNOWN;
}

export function energy(joules) {
  return known(joules) ? watts(joules / 3600, 3).replace(/W$/, "Wh") : UNKNOWN;
}

export function money(value, currency) {
  if (!known(value)) return UNKNOWN;
  try {
    return new Intl.NumberFormat("en", { style: "currency", currency, currencyDisplay: "narrowSymbol" }).format(value);
  } catch {
    return value.toFixed(2); // not a currency that this browser knows
  }
}

const clockFormat = new Intl.DateTimeFormat("en-GB", { hour: "2-digit", minute: "2-digit", second: "2-digit" });
const minuteFormat = new Intl.DateTimeFormat("en-GB", { hour: "2-digit", minute: "2-digit" });

export function clock(seconds) {
  return known(seconds) ? clockFormat.format(seconds * 1000) : UNKNOWN;
}

export function minute(seconds) {
  return known(seconds) ? minuteFormat.format(seconds * 1000) : UNKNOWN;
}

export function ago(seconds) {
  if (seconds < 60) return `${Math.round(seconds)} s`;
  return seconds < 3600 ? `${Math.round(seconds / 60)} min` : `${(seconds / 3600).toFixed(1)} h`;
}
