"use strict";
// Puts the parts of the page together.

/** The figures of the verdict: `[name, value, remark]`. */
function figures({ verdict, training }) {
  const { budget, fp32, predicted, allocated, resident, solver } = verdict;
  const found = [];
  if (budget) {
    const remark = fp32 ? `${percent(budget / fp32)} of fp32's ${bytes(fp32)}` : "";
    found.push(["budget", bytes(budget), remark]);
  }
  found.push(["peak, predicted", bytes(predicted), budget ? `${percent(predicted / budget)} of the budget` : ""]);
  if (allocated !== undefined) found.push(["peak, allocated", bytes(allocated), "by the executor"]);
  if (resident !== undefined) found.push(["peak, resident", bytes(resident), "growth of the process"]);
  if (training && training.test_accuracy !== null) {
    const exact = training.test_accuracy_fp32;
    found.push(["test accuracy", percent(training.test_accuracy, 2), exact === null ? "" : `${percent(exact, 2)} evaluated in fp32`]);
  }
  if (training && training.train_accuracy !== null) {
    found.push(["training accuracy", percent(training.train_accuracy, 2), "of the last epoch"]);
  }
  for (const { name, value, fp32 } of training?.metrics ?? []) {
    found.push([name, value, fp32 === undefined ? "" : `${fp32} evaluated in fp32`]);
  }
  if (solver) {
    found.push(["cost", short(solver.cost), `at least ${short(solver.bound)}`]);
    found.push(["gap", percent(solver.gap), "of the cost is not proven necessary"]);
  }
  found.push(["low ratio", percent(verdict.low_ratio), `${verdict.bits_per_element.toFixed(1)} bits an element`]);
  return found;
}

/** The verdict in sentences. */
function sentences({ verdict, memory, training }) {
  const { budget, predicted, solver, demote, demote_allowed: isAllowed, recomputed, method } = verdict;
  const texts = [];
  const worst = memory.instructions[memory.peak];
  texts.push(`Most memory is taken at instruction ${memory.peak} of ${memory.instructions.length}, ${worst.computes}: ${bytes(memory.total)}, `
    + `of which ${worst.bytes.map((size, use) => [size, memory.uses[use]]).filter((one) => one[0] > 0).sort((a, b) => b[0] - a[0])
      .map(([size, use]) => `${bytes(size)} ${use}`).join(", ")} and ${bytes(memory.gaps)} gaps between tensors.`);
  if (solver) {
    const by = solver.profile ? `costs are those of the profile ${solver.profile}` : "without a profile, the cost counts elements that are rounded coarsely";
    texts.push(`The ${solver.name} solver chose the formats in ${solver.seconds.toFixed(1)} s; ${by}.`
      + (recomputed.length > 0 ? ` ${counted(recomputed.length, "result is", "results are")} recomputed in the backward pass, about ${percent(solver.slowdown)} of a step's time.` : ""));
    if (isAllowed) texts.push(demote
      ? `The paper's demotion on the same budget comes to a low ratio of ${percent(demote.low_ratio)}, a peak of ${bytes(demote.peak)}`
        + `${demote.cost === undefined ? "" : ` and a cost of ${short(demote.cost)} in the same measure`}.`
      : "The paper's demotion does not fit this budget.");
  }
  if (training) {
    const promoted = training.promotions.filter((p) => p.from !== p.to).length;
    const stay = training.promotions.length - promoted;
    texts.push(`Trained for ${counted(training.steps, "step", "steps")} in ${training.seconds.toFixed(1)} s${training.data ? ` on ${training.data}` : ""}: `
      + `${counted(promoted, "tensor was", "tensors were")} promoted${stay > 0 ? `, ${stay} more overflowed, but nothing wider fits the budget` : ""}, `
      + `${counted(training.skipped, "step was", "steps were")} skipped (${percent(training.skipped / Math.max(training.steps, 1))}).`);
  }
  const fits = el("p", {}, budget
    ? el("strong", { class: predicted <= budget ? "good" : "alarm" }, predicted <= budget
      ? `It fits: ${bytes(predicted)} of ${bytes(budget)} (method ${method}).`
      : `It does not fit: ${bytes(predicted)} instead of ${bytes(budget)} (method ${method}).`)
    : el("strong", {}, `It takes ${bytes(predicted)} (method ${method}); no budget was given.`));
  const alarms = [training?.diverged, training?.warning].filter((text) => text)
    .map((text) => el("p", {}, el("strong", { class: "alarm" }, `${text}.`)));
  return [fits, ...alarms, ...texts.map((text) => el("p", {}, text))];
}

function rerunFacts({ rerun }) {
  const facts = [
    ["command", rerun.command], ["seed", rerun.seed], ["version", rerun.version], ["platform", rerun.platform], ["threads", rerun.threads],
  ];
  const given = facts.filter((fact) => fact[1] !== undefined && fact[1] !== "");
  return el("dl", { class: "facts" }, given.map(([name, value]) => [el("dt", {}, name), el("dd", {}, el("code", {}, String(value)))]));
}

function fill(report) {
  const { network, verdict, training, rerun } = report;
  byId("title").textContent = `${network}: memory and precision`;
  byId("lead").textContent = `What a training step of ${network} with ${verdict.batch} examples takes in memory, in which format each of its tensors is `
    + "stored, and why.";
  byId("figures").append(...figures(report).map(([name, value, remark]) =>
    el("div", {}, el("dt", {}, name), el("dd", {}, value, remark ? el("small", {}, remark) : ""))));
  byId("sentences").append(...sentences(report));

  const open = (tensor) => {
    byId("detail").hidden = false;
    byId("detail").replaceChildren(...explanation(tensor, report));
    byId("detail").scrollIntoView({ block: "nearest" });
  };
  const share = (tensor) => tensor.bytes / report.memory.total;
  const ofPeak = { name: "of the peak", number: true, value: share, text: (tensor) => percent(share(tensor)), title: "Its size beside the whole peak" };
  const columns = [...tensorColumns(report, open), ofPeak];
  const brief = ["name", "kind", "bytes", "of the peak", "format", "lifetime", "shape"].map((name) => columns.find((column) => column.name === name));
  sortable(byId("largest"), brief, largest(report, 10), { filter: false, label: "tensors", sort: 2, descending: true });
  const narrow = example(report);
  if (narrow) {
    byId("why-title").textContent = `Why is a tensor stored in ${narrow.bits} bits?`;
    byId("why").append(...explanation(narrow, report), el("p", { class: "soft small" },
      "This is the largest of the fewest bits. For any other choose its name in a table."));
  }
  byId("more").append(...moreMemory(report, open));

  const tensors = sortable(byId("tensor-table"), tensorColumns(report, open), report.tensors, { label: "tensors", sort: 4, descending: true });
  memoryChart(report, byId("memory-chart"), byId("memory-key"), byId("alive"), open);
  networkGraph(report, byId("graph"), byId("graph-key"), (node) => {
    tensors.only((tensor) => tensor.node === node, `only ${report.nodes[node].op} ${report.nodes[node].name}`);
    byId("tensor-table").scrollIntoView({ block: "start" });
  });
  sortable(byId("group-table"), groupColumns(report, (group) => {
    tensors.only((tensor) => tensor.group === group, `only group ${group}`);
    byId("tensor-table").scrollIntoView({ block: "start" });
  }), report.groups, { label: "groups" });

  if (training) {
    byId("training-lead").textContent = `Grey lines mark promotions. Point at a chart or tap it to read a step.`;
    trainingCurves(training, byId("curves"), byId("step"));
    if (training.promotions.length > 0) sortable(byId("promotions"), promotionColumns(), training.promotions, { label: "promotions", filter: training.promotions.length > 10 });
    else byId("promotions").append(el("p", {}, "No tensor overflowed enough to be promoted."));
  } else {
    byId("training").hidden = true;
    byId("to-training").hidden = true;
  }
  byId("rerun-facts").append(rerunFacts(report));
  if (rerun.files.length > 0) sortable(byId("files"), fileColumns(), rerun.files, { filter: false, label: "files" });
  byId("made").textContent = `Made by bitbudget ${rerun.version}. This file holds all of its data and loads nothing.`;
}

fill(data);
// How many milliseconds it took until the page could be used, for those who measure that.
document.documentElement.dataset.interactive = String(performance.now());
