"use strict";
// The tables of tensors, groups, promotions and files.

const STORAGE = {
  kept: "in memory", recomputed: "in memory, recomputed", "in-passing": "computed in passing", shared: "is another tensor",
  "not-computed": "not computed",
};

/** The columns of tensors; `open` explains one. */
function tensorColumns(report, open) {
  const name = (tensor) => el("button", { class: "link", type: "button", onclick: () => open(tensor) }, tensor.name);
  const format = (tensor) => [el("span", { class: "swatch", style: `background:${bitsColour(bitsOf(tensor))}` }), ` ${tensor.format}`];
  const next = (tensor) => (runnerUp(tensor) ? choiceName(runnerUp(tensor)) : null);
  const born = (tensor) => (tensor.lives ? tensor.lives[0][0] : null);
  const columns = [
    { name: "name", value: (tensor) => tensor.name, cell: name },
    { name: "kind", value: (tensor) => tensor.kind },
    { name: "shape", tight: true, value: (tensor) => tensor.shape.reduce((a, b) => a * b, 1), text: (tensor) => tensor.shape.join("×") || "1",
      title: "Dimensions at the batch size; sorts by the number of elements" },
    { name: "format", tight: true, value: (tensor) => tensor.format, cell: format },
    { name: "bytes", number: true, value: (tensor) => tensor.bytes, text: (tensor) => bytes(tensor.bytes),
      title: "The most that it takes at any instruction" },
    { name: "stored", value: (tensor) => STORAGE[tensor.storage] },
    { name: "lifetime", value: born, text: (tensor) => lifetime(tensor, report),
      title: "The instructions from which to which it takes memory" },
    { name: "group", number: true, value: (tensor) => tensor.group ?? null, text: (tensor) => String(tensor.group ?? "–") },
    { name: "sensitivity", number: true, value: (tensor) => tensor.sensitivity ?? null, text: (tensor) => short(tensor.sensitivity),
      title: "By the profile: what rounding it most coarsely does to the loss" },
    { name: "overflow", number: true, value: (tensor) => tensor.overflow ?? null, text: (tensor) => percent(tensor.overflow, 2),
      title: "The largest share of its elements that overflowed in a training step" },
    { name: "runner-up", value: next, text: (tensor) => next(tensor) ?? "–", title: "The best choice that was not taken" },
    { name: "why", value: (tensor) => tensor.why, wide: true },
  ];
  // What nobody measured needs no column.
  return columns.filter((column) => report.tensors.some((tensor) => (column.value(tensor) ?? null) !== null));
}

/** The columns of groups; `open` shows the tensors of one. */
function groupColumns(report, open) {
  const elements = report.groups.reduce((all, group) => all + group.elements, 0);
  const at = (group) => report.groups.indexOf(group);
  const words = (group) => group.nodes.map((node) => report.nodes[node]).map((node) => `${node.op} ${node.name}`);
  const formats = (group) => {
    const found = new Set(report.tensors.filter((tensor) => tensor.group === at(group)).map((tensor) => tensor.format));
    return [...found].join(", ");
  };
  return [
    { name: "group", number: true, value: at, cell: (group) =>
      el("button", { class: "link", type: "button", onclick: () => open(at(group)) }, String(at(group))) },
    { name: "level", value: (group) => group.level },
    { name: "elements", number: true, value: (group) => group.elements, text: (group) => grouped(group.elements) },
    { name: "share", number: true, value: (group) => group.elements / elements, text: (group) => percent(group.elements / elements) },
    { name: "demoted", number: true, value: (group) => group.demoted ?? null,
      text: (group) => (group.demoted === undefined ? "–" : String(group.demoted + 1)), title: "Which one it was in the order of demotion" },
    { name: "formats", value: formats },
    { name: "operators", wide: true, value: (group) => words(group).join(", ") },
  ];
}

const promotionColumns = () => [
  { name: "step", number: true, value: (promotion) => promotion.step, text: (promotion) => grouped(promotion.step) },
  { name: "name", value: (promotion) => promotion.tensor },
  { name: "overflow", number: true, value: (promotion) => promotion.overflow, text: (promotion) => percent(promotion.overflow, 2) },
  { name: "from", value: (promotion) => promotion.from },
  { name: "to", value: (promotion) => promotion.to },
  { name: "peak then", number: true, value: (promotion) => promotion.peak, text: (promotion) => bytes(promotion.peak) },
  { name: "low ratio then", number: true, value: (promotion) => promotion.low_ratio, text: (promotion) => percent(promotion.low_ratio) },
];

const fileColumns = () => [
  { name: "file", value: (file) => file.role },
  { name: "name", value: (file) => file.path },
  { name: "bytes", number: true, value: (file) => file.bytes, text: (file) => grouped(file.bytes) },
  { name: "SHA-256", value: (file) => file.sha256, cell: (file) => el("code", {}, file.sha256) },
];
