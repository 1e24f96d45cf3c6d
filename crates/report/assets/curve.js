"use strict";
// What was recorded in training, over the steps.

/**
 * A chart of lines over steps. Series are `{name, colour, points: [[step, value]], stairs}`; a value may be null. `options` may have
 * `log`, `format(value)`, `most`. `marks` are steps with a mark; `at(step)` is called where someone points.
 */
function lineChart(place, title, series, steps, marks, options, at) {
  const chart = el("div", { class: "chart" });
  place.append(el("h3", {}, title), series.length > 1 ? key(series.map((one) => [one.colour, one.name])) : "", chart);
  const format = options.format || ((value) => String(Number(value.toPrecision(2))));
  const values = series.flatMap((one) => one.points.map((point) => point[1])).filter((value) => value !== null);
  if (values.length === 0) return { mark() {} };
  const scaled = (value) => (options.log ? Math.log2(value) : value);
  const [largest, smallest] = [Math.max(...values), Math.min(...values)];
  const whole = Math.max(1, steps);
  let cursor = null;
  let x = null;

  function levels() {
    if (!options.log) {
      const round = ticks(options.most || largest || 1, 4);
      return [0, round[round.length - 1], round];
    }
    const [low, high] = [Math.floor(Math.log2(smallest)), Math.max(Math.ceil(Math.log2(largest)), Math.floor(Math.log2(smallest)) + 1)];
    const by = Math.max(1, Math.ceil((high - low) / 4));
    return [low, high, Array.from({ length: Math.floor((high - low) / by) + 1 }, (_, i) => 2 ** (low + i * by))];
  }

  drawn(chart, (width) => {
    const [height, left, right, top, bottom] = [150, 60, 10, 10, 22];
    const [low, high, round] = levels();
    x = (step) => left + (step / whole) * (width - left - right);
    const y = (value) => height - bottom - ((scaled(value) - low) / (high - low)) * (height - top - bottom);
    const path = ({ points, stairs }) => {
      let text = "";
      let pen = false;
      points.forEach(([step, value], i) => {
        if (value === null) { pen = false; return; }
        if (pen && stairs) text += `H${x(step).toFixed(1)}`;
        text += `${pen ? "L" : "M"}${x(step).toFixed(1)} ${y(value).toFixed(1)}`;
        if (stairs && i === points.length - 1) text += `H${x(whole)}`;
        pen = true;
      });
      return text;
    };
    const dots = (one) => (one.points.length > 40 || one.stairs ? [] : one.points.filter((p) => p[1] !== null).map(([step, value]) =>
      svg("circle", { cx: x(step), cy: y(value), r: 2.5, fill: one.colour })));
    const point = (event) => {
      const box = chart.getBoundingClientRect();
      at(((event.clientX - box.left - left) / (width - left - right)) * whole);
    };
    cursor = svg("line", { class: "cursor-line", y1: top, y2: height - bottom, x1: -9, x2: -9 });
    chart.replaceChildren(svg("svg", {
      width, height, viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": `${title} over steps`, onpointermove: point, onpointerdown: point,
    },
    round.map((value) => [
      svg("line", { class: "axis", x1: left, x2: width - right, y1: y(value), y2: y(value) }),
      svg("text", { class: "label", x: left - 6, y: y(value) + 4, "text-anchor": "end" }, format(value)),
    ]),
    marks.map((step) => svg("line", { class: "mark", x1: x(step), x2: x(step), y1: top, y2: height - bottom })),
    series.map((one) => [svg("path", { d: path(one), fill: "none", stroke: one.colour, "stroke-width": 1.8, "stroke-linejoin": "round" }), dots(one)]),
    ticks(whole, width < 500 ? 4 : 8).filter((step) => step <= whole).map((step) =>
      svg("text", { class: "label", x: x(step), y: height - 5, "text-anchor": step === 0 ? "start" : x(step) > width - 30 ? "end" : "middle" }, grouped(step))),
    cursor));
  });
  return { mark: (step) => { if (cursor) { cursor.setAttribute("x1", x(step)); cursor.setAttribute("x2", x(step)); } } };
}

/** A power of two, as one. */
const power = (value) => `2${[...String(Math.round(Math.log2(value)))].map((c) => "⁰¹²³⁴⁵⁶⁷⁸⁹"[c] ?? "⁻").join("")}`;

/** The share of low elements from step to step. */
function lowRatios(training) {
  const stairs = [[0, training.low_ratio]];
  training.promotions.forEach(({ step, low_ratio: ratio }) => stairs.push([step + 1, ratio]));
  return stairs;
}

/** What happened at a step, in words. */
function stepWords(training, step) {
  const { curve } = training;
  const words = [];
  const at = curve && Math.max(0, curve.points.findLastIndex((point) => point.step <= step));
  if (curve && curve.points.length > 0) {
    const { step: first, loss, loss_scale: scale, skipped } = curve.points[at];
    const last = Math.min(first + curve.every, training.steps) - 1;
    words.push(`${last > first ? `Steps ${grouped(first)} to ${grouped(last)}` : `Step ${grouped(first)}`}: loss ${short(loss)}, loss scale ${scale > 0 && Number.isInteger(Math.log2(scale)) ? power(scale) : short(scale)}`);
    if (skipped > 0) words.push(`${skipped} skipped`);
  }
  words.push(`low ratio ${percent(lowRatios(training).findLast((stair) => stair[0] <= step)[1])}`);
  const width = curve ? Math.max(curve.every, training.steps / 100) : training.steps / 100;
  const near = training.promotions.filter((promotion) => Math.abs(promotion.step - step) <= width);
  near.slice(0, 5).forEach((p) => words.push(p.from === p.to
    ? `${p.tensor} overflows (${percent(p.overflow)}) and stays ${p.from}, since nothing wider fits the budget`
    : `${p.tensor} promoted from ${p.from} to ${p.to} (${percent(p.overflow)} overflowed)`));
  if (near.length > 5) words.push(`and ${near.length - 5} more`);
  return words.join("; ");
}

/** Draws the curves of a run and lists its promotions. */
function trainingCurves(training, place, readoutPlace) {
  const marks = training.promotions.filter((p) => p.from !== p.to).map((p) => p.step);
  const { curve, epochs, steps } = training;
  const charts = [];
  const at = (step) => {
    const inside = Math.max(0, Math.min(steps, step));
    readoutPlace.textContent = stepWords(training, inside);
    charts.forEach((chart) => chart.mark(inside));
  };
  const add = (title, series, options = {}) => charts.push(lineChart(place, title, series, steps, marks, options, at));
  const colour = (i) => `var(--series-${i})`;
  if (curve) {
    const losses = curve.points.map((point) => point.loss).filter((loss) => loss > 0);
    const log = losses.length > 0 && Math.max(...losses) > 100 * Math.min(...losses);
    const loss = curve.points.map((point) => [point.step, point.loss > 0 || !log ? point.loss : null]);
    const mean = curve.every > 1 ? `, means of ${curve.every} steps` : "";
    add(`Training loss${mean}`, [{ name: "loss", colour: colour(0), points: loss }], { log });
  }
  if (epochs.length > 0) {
    const line = (name, i, value) => ({ name, colour: colour(i), points: epochs.map((epoch) => [epoch.steps, value(epoch)]) });
    const lines = [];
    if (epochs.some((epoch) => epoch.train_accuracy !== undefined)) lines.push(line("training images", 0, (epoch) => epoch.train_accuracy ?? null));
    if (epochs.some((epoch) => epoch.test_accuracy !== undefined)) lines.push(line("test images", 1, (epoch) => epoch.test_accuracy ?? null));
    if (lines.length > 0) add("Accuracy by epoch", lines, { most: 1, format: (value) => percent(value, 0) });
  }
  if (curve) {
    const scales = curve.points.map((point) => [point.step, point.loss_scale > 0 ? point.loss_scale : null]);
    add("Loss scale", [{ name: "loss scale", colour: colour(2), points: scales, stairs: true }], { log: true, format: power });
  }
  add("Low ratio", [{ name: "low ratio", colour: colour(3), points: lowRatios(training), stairs: true }], { most: 1, format: (value) => percent(value, 0) });
  readoutPlace.hidden = false;
  at(steps);
}
