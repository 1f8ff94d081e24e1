// The last half hour: the columns of the document, to which each tick appends one row.

const SPAN_S = 1800;

const keyOf = (series) => JSON.stringify([series.cluster, series.kind, series.name]);

export function fromDocument(columns) {
  return {
    t_s: [...columns.t_s], limit_w: [...columns.limit_w], draw_w: [...columns.draw_w],
    storage_w: [...columns.storage_w], soc_frac: [...columns.soc_frac],
    series: columns.series.map((series) => ({ ...series, watts_w: [...series.watts_w] })),
  };
}

export function append(history, sample) {
  const last_s = history.t_s.at(-1);
  if (!sample || (last_s !== undefined && sample.t_s <= last_s)) return;
  for (const name of ["t_s", "limit_w", "draw_w"]) history[name].push(sample[name]);
  if (sample.soc_frac !== null) {
    history.storage_w.push(sample.storage_w);
    history.soc_frac.push(sample.soc_frac);
  }
  appendSeries(history, sample.series);
  trim(history, sample.t_s - SPAN_S);
}

function appendSeries(history, rows) {
  const length = history.t_s.length;
  const known = new Map(history.series.map((series) => [keyOf(series), series]));
  for (const row of rows) {
    const series = known.get(keyOf(row)) ?? newSeries(history, row, length - 1);
    series.watts_w.push(row.watts_w);
  }
  for (const series of history.series) if (series.watts_w.length < length) series.watts_w.push(0);
}

function newSeries(history, row, length) {
  const series = { name: row.name, cluster: row.cluster, kind: row.kind, watts_w: new Array(length).fill(0) };
  history.series.push(series);
  return series;
}

function trim(history, from_s) {
  const gone = history.t_s.findIndex((t_s) => t_s >= from_s);
  if (gone <= 0) return;
  const columns = [history.t_s, history.limit_w, history.draw_w, ...history.series.map((series) => series.watts_w)];
  if (history.soc_frac.length === history.t_s.length) columns.push(history.storage_w, history.soc_frac);
  for (const column of columns) column.splice(0, gone);
}

// At most `most` rows: of each stretch of time the row with the least headroom, so that no peak is drawn away,
// and the newest.
export function tightest(history, most) {
  const { t_s, limit_w, draw_w } = history;
  if (t_s.length <= most) return t_s.map((_, row) => row);
  const stretch_s = (t_s.at(-1) - t_s[0]) / (most - 3);
  const rows = [];
  const newest = t_s.length - 1;
  let stretch = null;
  t_s.forEach((now_s, row) => {
    const ours = Math.floor(now_s / stretch_s);
    if (ours !== stretch) rows.push(row);
    else if (limit_w[row] - draw_w[row] < limit_w[rows.at(-1)] - draw_w[rows.at(-1)]) rows[rows.length - 1] = row;
    stretch = ours;
  });
  return rows.at(-1) === newest ? rows : [...rows, newest];
}
