"use strict";
// The questions that a reader has first.

const MORE = 100 * 2 ** 20;

/** The tensors that take most, the largest first. */
const largest = (report, count) => [...report.tensors].sort((a, b) => b.bytes - a.bytes).slice(0, count);

/** From when to when a tensor takes memory. */
function lifetime(tensor, report) {
  if (!tensor.lives) return "–";
  const whole = report.memory.instructions.length - 1;
  const span = ([first, last]) => (first === 0 && last >= whole ? "always" : first === last ? String(first) : `${first}–${last}`);
  return tensor.lives.map(span).filter((text, at, all) => all.indexOf(text) === at).join(", ");
}

const choiceName = (choice) => choice.format + (choice.recomputed ? ", recomputed" : "")
  + (choice.from_input ? ", rectifier's gradient from its input" : "");

/** The best choice that was not taken; the chosen one comes first. */
const runnerUp = (tensor) => (tensor.choices || []).find((choice) => !choice.chosen);

/** Why a tensor is stored as it is, with its choices. */
function explanation(tensor, report) {
  const storage = tensor.bytes > 0 ? `${bytes(tensor.bytes)}, instructions ${lifetime(tensor, report)}` : "no memory of its own";
  const parts = [
    el("p", {}, el("strong", {}, tensor.name), ` (${tensor.kind}, ${tensor.shape.join("×") || "a number"}): ${tensor.format}, ${storage}.`),
    el("p", { class: "reason" }, tensor.why),
  ];
  if (tensor.choices && tensor.choices.length > 1) {
    const place = el("div");
    const total = (choice) => choice.cost + choice.memory;
    const note = (choice) => (choice.chosen ? "chosen" : choice === runnerUp(tensor) ? "runner-up" : "");
    sortable(place, [
      { name: "choice", value: choiceName },
      { name: "taken", value: note },
      { name: "rounding and time", number: true, value: (choice) => choice.cost, text: (choice) => short(choice.cost) },
      { name: "memory", number: true, value: (choice) => choice.memory, text: (choice) => short(choice.memory) },
      { name: "together", number: true, value: total, text: (choice) => short(total(choice)) },
    ], tensor.choices, { filter: false, label: "choices" });
    parts.push(place);
  }
  return parts;
}

/** The largest tensor of the fewest bits among those that have a choice, as an example. */
function example(report) {
  const stored = report.tensors.filter((tensor) => tensor.bytes > 0 && tensor.group !== undefined);
  const least = Math.min(...stored.map((tensor) => tensor.bits));
  return stored.filter((tensor) => tensor.bits === least).sort((a, b) => b.bytes - a.bytes)[0];
}

/** The tensors that more memory would change first: their next choice takes more of it and costs hardly more at the present prices. */
function nextToChange(report, count) {
  const found = [];
  for (const tensor of report.tensors) {
    const chosen = (tensor.choices || []).find((choice) => choice.chosen);
    if (!chosen) continue;
    const better = tensor.choices.filter((choice) => choice.cost < chosen.cost && choice.memory > chosen.memory);
    const loss = (choice) => choice.cost + choice.memory - chosen.cost - chosen.memory;
    better.sort((a, b) => loss(a) - loss(b));
    if (better.length > 0) found.push({ tensor, to: better[0], loss: loss(better[0]) });
  }
  return found.sort((a, b) => a.loss - b.loss).slice(0, count);
}

/** What 100 MiB more would change, in sentences. */
function moreMemory(report, open) {
  const { budget, fp32, solver, predicted, method } = report.verdict;
  const sentence = (...texts) => el("p", {}, ...texts);
  if (!budget) {
    return [sentence(`Nothing: this assignment (method ${method}) was made without a budget, so that memory did not limit it. `
      + `It takes ${bytes(predicted)}.`)];
  }
  if (!solver) {
    return [sentence(`That is not known: no prices of memory come with this assignment (method ${method}), because no integer program was `
      + "solved for it here, or because it was read from a trainer file or an assignment file. To know it, assign again with that budget.")];
  }
  if (budget + MORE >= fp32) {
    return [sentence(`Everything: fp32 takes ${bytes(fp32)}, ${bytes(fp32 - budget)} more than this budget, so that nothing would have to be `
      + `rounded or recomputed. The cost of ${short(solver.cost)} would become 0.`)];
  }
  const saved = solver.price * MORE;
  const estimate = "a linear estimate from the price of memory at this budget: what the first bytes save, times 100 MiB. "
    + "Each further MiB saves less than the one before, so that the first ones count most";
  const parts = [
    sentence(saved <= 0 ? "The solver ended without a price of memory, so that nothing can be said."
      : saved < solver.cost ? `The cost of ${short(solver.cost)} would fall by about ${short(saved)}, probably a little less. This is ${estimate}.`
      : `Much of the cost of ${short(solver.cost)} would go. The price says ${short(saved)}, more than there is; that is ${estimate}, `
        + "and here 100 MiB are too much for it."),
  ];
  const next = nextToChange(report, 10);
  if (next.length > 0) {
    const name = ({ tensor }) => el("button", { class: "link", type: "button", onclick: () => open(tensor) }, tensor.name);
    const change = ({ tensor, to }) => `${choiceName(tensor.choices[0])} → ${choiceName(to)}`;
    const place = el("div");
    sortable(place, [
      { name: "name", value: (row) => row.tensor.name, cell: name },
      { name: "kind", value: (row) => row.tensor.kind },
      { name: "would become", value: change },
      { name: "costs now", number: true, value: (row) => row.tensor.choices[0].cost, text: (row) => short(row.tensor.choices[0].cost) },
      { name: "would cost", number: true, value: (row) => row.to.cost, text: (row) => short(row.to.cost) },
    ], next, { filter: false, label: "tensors" });
    parts.push(sentence("These tensors are nearest to a change; costs include rounding and recomputation."), place);
  }
  return parts;
}
