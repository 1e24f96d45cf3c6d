"use strict";
// What all pages share: the data, elements, numbers with units. Texts of the data become text nodes only, never markup.

const data = JSON.parse(document.getElementById("data").textContent);

/** The element with an id. */
const byId = (id) => document.getElementById(id);

function built(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (value === true) element.setAttribute(name, "");
    else if (value !== null && value !== undefined && value !== false) element.setAttribute(name, value);
  }
  element.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

/** An HTML element; attributes that begin with `on` are listeners. */
function el(tag, attributes = {}, ...children) {
  return built(document.createElement(tag), attributes, children);
}

/** The same for a drawing. */
function svg(tag, attributes = {}, ...children) {
  return built(document.createElementNS("http://www.w3.org/2000/svg", tag), attributes, children);
}

/** Bytes in the largest unit in which they are at least one. */
function bytes(n) {
  if (n === null || n === undefined) return "–";
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  const power = Math.abs(n) >= 1 ? Math.min(Math.floor(Math.log2(Math.abs(n)) / 10), units.length - 1) : 0;
  return `${(n / 1024 ** power).toFixed(power > 0 ? 1 : 0)} ${units[power]}`;
}

/** A whole number with its thousands separated. */
const grouped = (n) => String(n).replace(/\B(?=(\d{3})+$)/g, ",");
/** A count with its noun. */
const counted = (n, one, many) => `${grouped(n)} ${n === 1 ? one : many}`;

/** A share in percent. */
const percent = (share, digits = 1) => (share === null || share === undefined ? "–" : `${(100 * share).toFixed(digits)}%`);

/** A number of few digits, whatever its size. */
function short(n) {
  if (n === null || n === undefined) return "–";
  if (n === 0) return "0";
  const size = Math.abs(n);
  return size >= 1e-3 && size < 1e6 ? String(Number(n.toPrecision(4))) : n.toExponential(2);
}

/** At most so many round numbers from 0 to at least `most`, by steps of 1, 2 or 5 (or of powers of two, for bytes). */
function ticks(most, count, binary = false) {
  const steps = binary ? [1, 2, 4, 8, 16, 32, 64, 128, 256, 512] : [1, 2, 5];
  const base = binary ? 1024 : 10;
  if (!(most > 0)) return [0, 1];
  let scale = base ** Math.floor(Math.log(most / count) / Math.log(base));
  for (;;) {
    const fit = steps.map((step) => step * scale).find((step) => Math.ceil(most / step) <= count);
    if (fit) return Array.from({ length: Math.ceil(most / fit) + 1 }, (_, i) => i * fit);
    scale *= base;
  }
}

/** A key of colours: `[colour, text]` each. */
function key(entries) {
  const item = ([colour, text]) => el("li", {}, el("span", { class: "swatch", style: `background:${colour}` }), text);
  return el("ul", { class: "key" }, entries.map(item));
}

/** Calls `draw` with the width of an element in pixels, now and when that changes. */
function drawn(element, draw) {
  let width = 0;
  const update = () => {
    const now = Math.floor(element.clientWidth);
    if (now > 0 && now !== width) draw((width = now));
  };
  update();
  // In the next frame, since drawing changes sizes again.
  new ResizeObserver(() => requestAnimationFrame(update)).observe(element);
}
