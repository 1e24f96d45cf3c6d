"use strict";
// A comparison: methods and budgets against peak memory.

const { question, tensors, cases, timings, format_bits: formatBits } = data;
const isTrained = cases.some((one) => one.trainings.length > 0);
const methods = [...new Set(cases.map((one) => one.method))];
// Without test examples accuracies are of those that were trained on.
const isLoss = cases.some((one) => one.loss);
const accuracyName = (data.accuracy_on === "training" ? "training " : "") + (isLoss ? "loss" : "accuracy");
const measure = (one) => one.accuracy ?? one.loss ?? null;
const shown = (value) => (isLoss ? short(value) : percent(value, 2));
const nameOf = (one) => (one.budget ? `${one.method} at ${one.budget}` : one.method);
const colourOf = (method) => `var(--series-${methods.indexOf(method) % 6})`;
const stepSeconds = (at) => timings?.[at]?.step_seconds ?? null;
const milliseconds = (seconds) => (seconds === null || seconds === undefined ? "–" : `${short(1000 * seconds)} ms`);
const reference = cases.find((one) => one.method === "fp32" && one.fits);

/** What is good about a case, in words. */
function worth(one) {
  if (!isTrained) return one.cost === null ? "cost unknown" : `cost ${short(one.cost)}`;
  const diverged = one.diverged ? `, ${one.diverged} of ${one.trainings.length} diverged` : "";
  if (!measure(one)) return `all ${one.diverged} trainings diverged`;
  const { mean, min, max, count } = measure(one);
  const spread = count > 1 ? ` (${shown(min)} to ${shown(max)} over ${count} seeds)` : "";
  return `${accuracyName} ${shown(mean)}${spread}${diverged}`;
}

/** A case in a sentence. */
function sentence(one, at) {
  const share = reference ? `, ${percent(one.peak / reference.peak)} of FP32's` : "";
  const bits = one.bits_per_element === null ? "" : `; ${one.bits_per_element.toFixed(2)} bits an element`;
  const time = stepSeconds(at) === null ? "" : `; a step takes ${milliseconds(stepSeconds(at))}`;
  return `${nameOf(one)}: ${worth(one)}; peak ${bytes(one.peak)}${share}${bits}${time}${one.front ? "; nothing beats it" : ""}.`;
}

/** Without cases that come to the same assignment as one before: a larger budget need not change anything. */
function distinct(points) {
  const same = (a, b) => a.one.method === b.one.method && a.one.formats.join() === b.one.formats.join() && a.one.peak === b.one.peak;
  return points.filter((point, at) => !points.slice(0, at).some((before) => same(before, point)));
}

/** The marker of a method's points: colours are told apart by shape too. */
function marker(method, x, y, size) {
  const fill = colourOf(method);
  const corners = (points) =>
    svg("polygon", { points: points.map(([dx, dy]) => `${x + dx * size},${y + dy * size}`).join(" "), fill });
  switch (methods.indexOf(method) % 5) {
    case 0: return svg("circle", { cx: x, cy: y, r: size, fill });
    case 1: return corners([[-0.9, -0.9], [0.9, -0.9], [0.9, 0.9], [-0.9, 0.9]]);
    case 2: return corners([[0, -1.3], [1.3, 0], [0, 1.3], [-1.3, 0]]);
    case 3: return corners([[0, -1.2], [1.2, 0.9], [-1.2, 0.9]]);
    default: return corners([[0, 1.2], [1.2, -0.9], [-1.2, -0.9]]);
  }
}

/** The key of the methods, with their markers. */
function methodKey(place, withFront) {
  const item = (method) => el("li", {}, svg("svg", { width: 14, height: 14, "aria-hidden": "true" }, marker(method, 7, 7, 5)), method);
  const ring = () => svg("svg", { width: 26, height: 14, "aria-hidden": "true" },
    svg("path", { d: "M0 7H26", class: "front" }), svg("circle", { cx: 13, cy: 7, r: 5.5, class: "ring" }));
  place.append(el("ul", { class: "key" }, methods.map(item), withFront ? el("li", {}, ring(), "front: nothing beats these") : null));
}

/** Round numbers between two others, at most about so many. */
function between(low, high, count) {
  const raw = (high - low) / count || 1;
  const scale = 10 ** Math.floor(Math.log10(raw));
  const step = [1, 2, 5, 10].map((n) => n * scale).find((n) => n >= raw);
  const found = [];
  for (let at = Math.ceil(low / step - 1e-9); at * step <= high + 1e-9 * step; at += 1) found.push(at * step);
  return found;
}

/**
 * Draws points over peak memory. A point is `{one, at, y, low, high}`; `axis` has `place(y)` from 0 (bottom) to 1, `ticks` as
 * `[y, text]`, `name`, and `line`, a y with a text that is drawn across.
 */
function chart(place, readout, points, axis, withFront) {
  const show = (point) => { readout.textContent = sentence(point.one, point.at); };
  readout.textContent = "Point at a marker, tap it, or give it the focus to read what it is.";
  const most = Math.max(...points.map((point) => point.one.peak));
  drawn(place, (width) => {
    const [left, right, top, bottom] = [56, 34, 14, 40];
    const height = Math.max(260, Math.min(420, Math.round(width * 0.5)));
    const steps = ticks(most, width < 500 ? 4 : 8, true);
    const x = (peak) => left + (peak / steps[steps.length - 1]) * (width - left - right);
    const y = (value) => top + (1 - axis.place(value)) * (height - top - bottom);
    const drawing = svg("svg", { width, height, viewBox: `0 0 ${width} ${height}`, role: "group", "aria-label": `${axis.name} over peak memory` });
    for (const step of steps) {
      drawing.append(
        svg("path", { class: "axis", d: `M${x(step)} ${top}V${height - bottom}` }),
        svg("text", { class: "label", x: x(step), y: height - bottom + 16, "text-anchor": "middle" }, bytes(step)));
    }
    for (const [value, text] of axis.ticks) {
      drawing.append(
        svg("path", { class: "axis", d: `M${left} ${y(value)}H${width - right}` }),
        svg("text", { class: "label", x: left - 6, y: y(value) + 4, "text-anchor": "end" }, text));
    }
    drawing.append(
      svg("text", { class: "label", x: width - right, y: height - 6, "text-anchor": "end" }, "peak memory of a training step"));
    if (axis.line) {
      const [value, text] = axis.line;
      drawing.append(
        svg("path", { class: "reference", d: `M${left} ${y(value)}H${width - right}` }),
        svg("text", { class: "label halo", x: left + 6, y: y(value) - 5 }, text));
    }
    const byPeak = (some) => [...some].sort((a, b) => a.one.peak - b.one.peak);
    const path = (some) => `M${byPeak(some).map((point) => `${x(point.one.peak)} ${y(point.y)}`).join("L")}`;
    for (const method of methods) {
      const own = points.filter((point) => point.one.method === method);
      if (own.length > 1) drawing.append(svg("path", { class: "series", d: path(own), style: `stroke:${colourOf(method)}` }));
    }
    const front = withFront ? points.filter((point) => point.one.front) : [];
    if (front.length > 1) drawing.append(svg("path", { class: "front", d: path(front) }));
    for (const point of points) {
      const [px, py] = [x(point.one.peak), y(point.y)];
      const node = svg("g", {
        class: "point", tabindex: "0", role: "img", "aria-label": sentence(point.one, point.at), "data-case": point.at,
        onpointerenter: () => show(point), onfocus: () => show(point), onclick: () => show(point),
      });
      node.append(svg("circle", { cx: px, cy: py, r: 13, fill: "transparent" }));
      if (point.high > point.low) {
        const style = `stroke:${colourOf(point.one.method)}`;
        const [a, b] = [y(point.low), y(point.high)];
        node.append(svg("path", { class: "spread", style, d: `M${px} ${a}V${b}M${px - 4} ${a}h8M${px - 4} ${b}h8` }));
      }
      node.append(marker(point.one.method, px, py, 5));
      if (withFront && point.one.front) node.append(svg("circle", { cx: px, cy: py, r: 8.5, class: "ring" }));
      drawing.append(node);
    }
    label(drawing, distinct(front), x, y, width - right);
    place.replaceChildren(drawing);
  });
}

/** Names the points of the front, as far as there is room. */
function label(drawing, front, x, y, most) {
  const taken = [];
  for (const point of front) {
    const text = nameOf(point.one);
    const [px, py, length] = [x(point.one.peak), y(point.y), 6.4 * text.length];
    const anchor = px + length + 12 > most ? "end" : "start";
    const begin = anchor === "end" ? px - 12 - length : px + 12;
    const place = [-10, 20, -26, 36].map((dy) => py + dy).find((row) => row > 12 && taken.every(([from, to, other]) =>
      begin > to || begin + length < from || Math.abs(other - row) > 13));
    if (place === undefined) continue;
    taken.push([begin, begin + length, place]);
    drawing.append(svg("text", { class: "halo", x: anchor === "end" ? px - 12 : px + 12, y: place, "text-anchor": anchor }, text));
  }
}

/** Losses: from nothing to a little above the worst. */
function lossAxis(points) {
  const steps = ticks(Math.max(...points.map((point) => point.high)), 6);
  const line = reference?.loss ? [reference.loss.mean, "FP32"] : null;
  return { name: accuracyName, place: (value) => value / steps[steps.length - 1], ticks: steps.map((n) => [n, short(n)]), line };
}

/** Accuracies: from a little below the worst to a little above the best. */
function accuracyAxis(points) {
  const [low, high] = [Math.min(...points.map((point) => point.low)), Math.max(...points.map((point) => point.high))];
  const room = Math.max((high - low) * 0.08, 0.002);
  const [from, to] = [Math.max(0, low - room), Math.min(1, high + room)];
  const all = between(100 * from, 100 * to, 6);
  const digits = all.length > 1 && all[1] - all[0] < 1 ? 1 : 0;
  const line = reference?.accuracy ? [reference.accuracy.mean, "FP32"] : null;
  return { name: accuracyName, place: (value) => (value - from) / (to - from), ticks: all.map((n) => [n / 100, `${n.toFixed(digits)}%`]), line };
}

/** Costs, by powers of ten; nothing at all stands at the bottom. */
function costAxis(points) {
  const some = points.map((point) => point.y).filter((cost) => cost > 0);
  const low = Math.floor(Math.log10(Math.min(...some, 1))) - 1;
  const high = Math.ceil(Math.log10(Math.max(...some, 1)) + 0.05);
  const place = (cost) => (cost > 0 ? (Math.log10(cost) - low) / (high - low) : 0);
  const powers = Array.from({ length: high - low }, (_, i) => low + 1 + i);
  const few = powers.filter((_, i) => powers.length < 9 || i % 2 === 0);
  return { name: "cost", place, ticks: [[0, "0"], ...few.map((power) => [10 ** power, short(10 ** power)])], line: null };
}

function timeAxis(points) {
  const steps = ticks(1000 * Math.max(...points.map((point) => point.y)), 6);
  const most = steps[steps.length - 1] / 1000;
  return { name: "seconds of a step", place: (value) => value / most, ticks: steps.map((n) => [n / 1000, `${short(n)} ms`]), line: null };
}

const placed = cases.map((one, at) => ({ one, at })).filter(({ one }) => one.fits);

function tradeOff() {
  byId("trade-off-title").textContent = isTrained ? `${accuracyName[0].toUpperCase()}${accuracyName.slice(1)} against peak memory` : "Cost against peak memory";
  byId("trade-off-note").textContent = isTrained
    ? "A marker is the mean over the seeds, its bar reaches from the least to the most. " +
      `${isLoss ? "Lower" : "Higher"} and further left is better. ` +
      "Differences that are smaller than the bars say little: another seed may turn them round." +
      (data.accuracy_on === "training" ? " There are no test examples: figures are those of the last epoch on training examples." : "")
    : "Nothing was trained: the cost is the expected harm of rounding and recomputation. Lower and further left is better.";
  const known = placed.filter(({ one }) => (isTrained ? measure(one) : one.cost !== null));
  const points = known.map(({ one, at }) => (isTrained
    ? { one, at, y: measure(one).mean, low: measure(one).min, high: measure(one).max }
    : { one, at, y: one.cost, low: one.cost, high: one.cost }));
  const refused = cases.filter((one) => !one.fits);
  if (refused.length) {
    const item = (one) => el("li", {}, `${nameOf(one)} (${bytes(one.budget_bytes)}): the smallest peak that was found is ${bytes(one.peak)}` +
      `${one.proved ? `, and less than ${bytes(one.proved)} is proved impossible` : ""}.`);
    byId("refused").append(el("p", {}, "These do not fit their budgets:"), el("ul", {}, refused.map(item)));
  }
  if (!points.length) {
    byId("trade-off-readout").textContent = cases.some((one) => one.fits)
      ? "All trainings diverged, so there is nothing to draw."
      : "No case fits its budget, so there is nothing to draw.";
    return;
  }
  methodKey(byId("trade-off-key"), true);
  chart(byId("trade-off-chart"), byId("trade-off-readout"), points, (isTrained ? (isLoss ? lossAxis : accuracyAxis) : costAxis)(points), true);
}

function time() {
  const points = placed.filter(({ at }) => stepSeconds(at) !== null)
    .map(({ one, at }) => ({ one, at, y: stepSeconds(at), low: stepSeconds(at), high: stepSeconds(at) }));
  if (!points.length) {
    byId("time").hidden = true;
    byId("to-time").hidden = true;
    return;
  }
  methodKey(byId("time-key"), false);
  chart(byId("time-chart"), byId("time-readout"), points, timeAxis(points), false);
}

function verdict() {
  const trainings = cases.reduce((sum, one) => sum + one.trainings.length, 0);
  byId("title").textContent = `${question.network}: what less memory costs`;
  const trained = isTrained ? `, trained ${counted(trainings, "time", "times")} on ${question.data}` : "";
  byId("lead").textContent = `${counted(cases.length, "case", "cases")} of ${counted(methods.length, "method", "methods")}${trained}, at batch ${question.batch}.`;
  const figure = (name, value, note) => el("div", {}, el("dt", {}, name), el("dd", {}, value, note ? el("small", {}, note) : null));
  const smallest = [...placed].sort((a, b) => a.one.peak - b.one.peak)[0]?.one;
  const best = [...placed].filter(({ one }) => measure(one))
    .sort((a, b) => (measure(b.one).mean - measure(a.one).mean) * (isLoss ? -1 : 1))[0]?.one;
  byId("figures").append(
    reference ? figure("FP32's peak", bytes(reference.peak), isTrained && worth(reference)) : "",
    smallest ? figure("smallest peak", bytes(smallest.peak), nameOf(smallest)) : "",
    best ? figure(`best ${accuracyName}`, shown(measure(best).mean), nameOf(best)) : "",
    figure("cases that fit", `${placed.length} of ${cases.length}`));
  const front = distinct(placed.filter(({ one }) => one.front).sort((a, b) => a.one.peak - b.one.peak));
  if (front.length) {
    byId("sentences").append(
      el("p", {}, "The best choice by available memory (no other case has as low a peak and is as good):"),
      el("ul", {}, front.map(({ one, at }) => el("li", {}, sentence(one, at).replace("; nothing beats it", "")))));
  }
}

function table() {
  const accuracy = (pick) => (row) => measure(row.one)?.[pick] ?? null;
  const columns = [
    { name: "method", value: ({ one }) => one.method },
    { name: "budget", value: ({ one }) => one.budget_bytes, text: ({ one }) => one.budget || "–", number: true },
    { name: "peak", value: ({ one }) => one.peak, text: ({ one }) => bytes(one.peak), number: true, title: "Where nothing fits, the smallest that was found" },
    { name: "cost", value: ({ one }) => one.cost, text: ({ one }) => (one.fits ? short(one.cost) : "no fit"), number: true },
    { name: "bound", value: ({ one }) => one.bound, text: ({ one }) => short(one.bound), number: true },
    { name: "bits", value: ({ one }) => one.bits_per_element, text: ({ one }) => short(one.bits_per_element), number: true, title: "Mean bits of an element" },
    { name: "recomputed", value: ({ one }) => one.recomputed.length, number: true },
  ];
  if (isTrained) {
    columns.push(
      { name: accuracyName, value: accuracy("mean"), text: (row) => shown(accuracy("mean")(row)), number: true },
      { name: "least", value: accuracy("min"), text: (row) => shown(accuracy("min")(row)), number: true },
      { name: "most", value: accuracy("max"), text: (row) => shown(accuracy("max")(row)), number: true });
    if (cases.some((one) => one.diverged)) columns.push({ name: "diverged", value: ({ one }) => one.diverged, number: true });
  }
  if (timings?.some((timing) => timing.step_seconds !== null)) {
    columns.push({ name: "a step", value: ({ at }) => stepSeconds(at), text: ({ at }) => milliseconds(stepSeconds(at)), number: true });
  }
  columns.push({ name: "front", value: ({ one }) => (one.front ? "yes" : "") });
  sortable(byId("case-table"), columns, cases.map((one, at) => ({ one, at })), { label: "cases", filter: false });
}

function differences() {
  const [first, second] = [byId("first"), byId("second")];
  if (placed.length < 2) {
    byId("differences").hidden = true;
    return;
  }
  const option = ({ one, at }) => el("option", { value: at }, `${nameOf(one)} (${bytes(one.peak)})`);
  for (const select of [first, second]) {
    select.append(...placed.map(option));
    select.addEventListener("change", update);
  }
  // Two methods under one budget say most; else any two.
  const same = placed.flatMap((a) => placed.filter((b) => a.at < b.at && a.one.budget && a.one.budget === b.one.budget).map((b) => [a, b]));
  const [a, b] = same.find(([x, y]) => x.one.formats.join() !== y.one.formats.join()) || [placed[0], placed[1]];
  [first.value, second.value] = [a.at, b.at];

  const size = (row, format) => (row.tensor.elements * formatBits[format]) / 8;
  function update() {
    const [one, two] = [cases[first.value], cases[second.value]];
    const rows = tensors.map((tensor, at) => ({ tensor, a: one.formats[at], b: two.formats[at] })).filter((row) => row.a !== row.b);
    const narrower = rows.filter((row) => formatBits[row.b] < formatBits[row.a]).length;
    const wider = rows.filter((row) => formatBits[row.b] > formatBits[row.a]).length;
    const only = (these, those) => these.recomputed.filter((node) => !those.recomputed.includes(node));
    const again = (case_, nodes) => (nodes.length ? [el("p", {}, `Only ${nameOf(case_)} recomputes: ${nodes.join(", ")}.`)] : []);
    byId("difference-lead").replaceChildren(
      el("p", {}, rows.length === 0
        ? `Both store ${tensors.length === 1 ? "the only tensor" : `all ${grouped(tensors.length)} tensors`} in the same formats.`
        : `${grouped(rows.length)} of ${counted(tensors.length, "tensor", "tensors")} ${rows.length === 1 ? "has another format" : "have other formats"}: ` +
          `in ${nameOf(two)} ${counted(narrower, "is", "are")} narrower and ${grouped(wider)} wider than in ${nameOf(one)}. Peaks are ${bytes(one.peak)} and ${bytes(two.peak)}.`),
      ...again(one, only(one, two)), ...again(two, only(two, one)));
    const place = byId("difference-table");
    place.replaceChildren();
    if (!rows.length) return;
    sortable(place, [
      { name: "name", value: (row) => row.tensor.name },
      { name: "kind", value: (row) => row.tensor.kind },
      { name: nameOf(one), value: (row) => row.a },
      { name: nameOf(two), value: (row) => row.b },
      { name: "bytes", value: (row) => size(row, row.a), text: (row) => bytes(size(row, row.a)), number: true, title: `In ${nameOf(one)}` },
      { name: "difference", value: (row) => size(row, row.b) - size(row, row.a), number: true,
        text: (row) => `${size(row, row.b) > size(row, row.a) ? "+" : ""}${bytes(size(row, row.b) - size(row, row.a))}`, title: `What ${nameOf(two)} takes more` },
      { name: "shape", value: (row) => row.tensor.shape },
      { name: "elements", value: (row) => row.tensor.elements, text: (row) => grouped(row.tensor.elements), number: true },
    ], rows, { label: "tensors", sort: 7, descending: true });
  }
  update();
}

function settings() {
  const facts = [
    ["network", question.network], ["SHA-256 of the network", question.network_hash],
    ...(question.data ? [["data", question.data], ["SHA-256 of the data", question.data_hash]] : []),
    ["examples per step", question.batch], ["threads", question.threads], ...question.settings, ["bitbudget", question.version],
  ];
  byId("facts").append(...facts.flatMap(([name, value]) => [el("dt", {}, name), el("dd", {}, el("code", {}, String(value)))]));
  byId("made").textContent = `Made by bitbudget ${question.version}. Everything but seconds is the same when it is made again.`;
}

verdict();
tradeOff();
time();
table();
differences();
settings();
document.documentElement.dataset.ready = "true";
