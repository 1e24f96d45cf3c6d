"use strict";
// Memory over the instructions of a step, piled up by use.

const useColour = (use) => `var(--use-${use})`;
const sum = (numbers) => numbers.reduce((a, b) => a + b, 0);

/** Bytes that a tensor takes while an instruction runs. */
const bytesAt = (tensor, instruction) =>
  sum((tensor.lives || []).filter(([first, last]) => first <= instruction && instruction <= last).map((life) => life[2]));

/** The tensors that are alive at an instruction with their bytes, the largest first. */
function aliveAt(report, instruction) {
  const alive = report.tensors.map((tensor) => ({ tensor, bytes: bytesAt(tensor, instruction) }));
  return alive.filter((one) => one.bytes > 0).sort((a, b) => b.bytes - a.bytes);
}

/** How many tensors the readout names before it folds the rest away. */
const NAMED = 10;

/** What is alive at an instruction, in words. */
function readout(report, instruction, open) {
  const { memory } = report;
  const { computes, bytes: uses } = memory.instructions[instruction];
  const one = ({ tensor, bytes: size }) =>
    el("li", {}, el("button", { class: "link", type: "button", onclick: () => open(tensor) }, tensor.name),
      ` ${tensor.kind}, ${tensor.format}: ${bytes(size)}`);
  const alive = aliveAt(report, instruction);
  const rest = alive.slice(NAMED);
  const peak = instruction === memory.peak ? ", the peak" : "";
  return [
    el("p", {}, el("strong", {}, `Instruction ${instruction} of ${memory.instructions.length}${peak}: ${bytes(sum(uses))} alive`),
      " while it computes ", computes),
    key(uses.map((size, use) => [useColour(use), `${memory.uses[use]} ${bytes(size)}`])),
    el("ul", { class: "alive" }, alive.slice(0, NAMED).map(one)),
    rest.length === 0 ? null : el("details", {},
      el("summary", {}, `and ${rest.length} more, ${bytes(sum(rest.map((r) => r.bytes)))} together`),
      el("ul", { class: "alive" }, rest.map(one))),
  ].filter(Boolean);
}

/** Draws the chart; `open` shows a tensor. */
function memoryChart(report, place, keyPlace, readoutPlace, open) {
  const { memory, verdict } = report;
  const { instructions } = memory;
  const count = instructions.length;
  const most = Math.max(memory.total, verdict.budget || 0, 1) * 1.08;
  let chosen = -1;
  let marker = null;
  let scale = null;
  keyPlace.append(key(memory.uses.map((name, use) => [useColour(use), name])));

  function choose(instruction) {
    const next = Math.max(0, Math.min(count - 1, instruction));
    if (next === chosen) return;
    chosen = next;
    readoutPlace.replaceChildren(...readout(report, chosen, open));
    mark();
  }

  function mark() {
    if (!marker || chosen < 0) return;
    marker.setAttribute("x", scale.x(chosen));
    marker.setAttribute("width", Math.max(scale.x(chosen + 1) - scale.x(chosen), 1.5));
    const { computes, bytes: uses } = instructions[chosen];
    const drawing = marker.ownerSVGElement;
    drawing.setAttribute("aria-valuenow", chosen);
    drawing.setAttribute("aria-valuetext", `instruction ${chosen}, ${bytes(sum(uses))} alive, ${computes}`);
  }

  function draw(width) {
    const height = width < 500 ? 260 : 340;
    const [left, right, top, bottom] = [64, 8, 22, 34];
    const x = (at) => left + (at / count) * (width - left - right);
    const y = (size) => height - bottom - (size / most) * (height - top - bottom);
    scale = { x, y };
    const base = new Array(count).fill(0);
    const areas = memory.uses.map((name, use) => {
      const lower = base.slice();
      instructions.forEach((instruction, at) => { base[at] += instruction.bytes[use]; });
      const point = (at, size) => `${x(at).toFixed(1)} ${y(size).toFixed(1)}`;
      const up = base.map((size, at) => `${point(at, size)}L${point(at + 1, size)}`);
      const down = lower.map((size, at) => `${point(at + 1, size)}L${point(at, size)}`).reverse();
      return svg("path", { d: `M${up.join("L")}L${down.join("L")}Z`, fill: useColour(use) }, svg("title", {}, name));
    });
    const line = (size, colour, text, above, dashes) => [
      svg("line", { x1: left, x2: width - right, y1: y(size), y2: y(size), stroke: colour, "stroke-width": 1.5, "stroke-dasharray": dashes }),
      svg("text", { class: "halo", x: width - right - 2, y: y(size) + (above ? -5 : 14), "text-anchor": "end" }, text),
    ];
    const across = ticks(count, width < 500 ? 4 : 8).filter((at) => at < count);
    const upward = ticks(most, 6, true).filter((size) => size <= most);
    marker = svg("rect", { class: "cursor", y: top, height: height - top - bottom });
    const { peak, backward } = memory;
    const at = (event) => {
      const box = drawing.getBoundingClientRect();
      choose(Math.floor(((event.clientX - box.left - left) / (width - left - right)) * count));
    };
    const keys = { ArrowLeft: -1, ArrowRight: 1, PageDown: -10, PageUp: 10, Home: -count, End: count };
    const drawing = svg("svg", {
      width, height, viewBox: `0 0 ${width} ${height}`, tabindex: "0", role: "slider", class: "memory",
      "aria-label": "Instruction of the step", "aria-valuemin": 0, "aria-valuemax": count - 1,
      onpointermove: at, onpointerdown: at,
      onkeydown: (event) => {
        if (!(event.key in keys)) return;
        event.preventDefault();
        choose(chosen + keys[event.key]);
      },
    },
    upward.map((size) => [
      svg("line", { class: "axis", x1: left, x2: width - right, y1: y(size), y2: y(size) }),
      svg("text", { class: "label", x: left - 6, y: y(size) + 4, "text-anchor": "end" }, bytes(size)),
    ]),
    areas,
    across.map((number) => svg("text", { class: "label", x: x(number), y: height - bottom + 15, "text-anchor": number ? "middle" : "start" }, grouped(number))),
    svg("text", { class: "label", x: left + (width - left - right) / 2, y: height - 3, "text-anchor": "middle" }, "instruction"),
    backward < count && [
      svg("line", { x1: x(backward), x2: x(backward), y1: top - 12, y2: height - bottom, stroke: "var(--soft)", "stroke-dasharray": "2 3" }),
      svg("text", { class: "label halo", x: x(backward) - 4, y: top - 8, "text-anchor": "end" }, "forward"),
      svg("text", { class: "label halo", x: x(backward) + 4, y: top - 8 }, "backward"),
    ],
    marker,
    line(memory.total, "var(--ink)", `taken ${bytes(memory.total)}`, !verdict.budget || verdict.budget < memory.total, null),
    verdict.budget ? line(verdict.budget, "var(--alarm)", `budget ${bytes(verdict.budget)}`, true, "6 4") : [],
    svg("path", { class: "peak", d: `M${x(peak + 0.5) - 5} ${height - bottom + 8}h10l-5 -8Z` }, svg("title", {}, `the peak, instruction ${peak}`)));
    place.replaceChildren(drawing);
    mark();
  }

  drawn(place, draw);
  choose(memory.peak);
  return { choose };
}
