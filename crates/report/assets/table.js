"use strict";
// A table to sort by each column and to filter by text.

/** Rows that are shown before someone asks for all. */
const SHOWN = 100;

/**
 * Puts a table into an element. A column is `{name, value, text, number, title, cell, wide, tight}`: `value(row)` is what it sorts by,
 * `text(row)` what it shows (the value if left out), `cell(row)` an element in its place; a wide one shows two lines of its text, a
 * tight one breaks no line. `options` may have `sort` (a column's position; `descending`), `label` (what rows are called, in the plural),
 * `filter: false` for small tables.
 *
 * Returns `{only(test, label), rows()}`: `only` shows the rows that pass a test until that is taken back, `rows()` are those that
 * pass it and the filter, in their order.
 */
function sortable(place, columns, rows, options = {}) {
  const label = options.label || "rows";
  const shown = (column, row) => (column.text ? column.text(row) : String(column.value(row) ?? "–"));
  const texts = new Map();
  const searched = (row) => {
    if (!texts.has(row)) texts.set(row, columns.map((column) => shown(column, row)).join("\n").toLowerCase());
    return texts.get(row);
  };
  let sort = options.sort ?? -1;
  let descending = options.descending ?? false;
  let words = [];
  let test = null;
  let all = false;

  const body = el("tbody");
  const heads = columns.map((column, at) =>
    el("th", { scope: "col", class: column.number && "number", title: column.title },
      el("button", { type: "button", onclick: () => sortBy(at) }, column.name)));
  const count = el("span", { class: "soft small", role: "status" });
  const more = el("button", { class: "plain", type: "button", onclick: () => { all = true; update(); } });
  const input = el("input", {
    type: "search", placeholder: `Filter ${label}: words that must occur`, "aria-label": `Filter ${label}`,
    oninput: () => { words = input.value.toLowerCase().split(/\s+/).filter(Boolean); update(); },
  });
  const chip = el("button", { class: "plain", type: "button", hidden: true, onclick: () => only(null) });
  place.append(
    options.filter === false ? "" : el("div", { class: "tools" }, input, chip, count),
    el("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": label },
      el("table", {}, el("thead", {}, el("tr", {}, heads)), body)),
    el("div", { class: "tools" }, more));

  function sortBy(at) {
    // Numbers are most often wanted with the largest first.
    descending = sort === at ? !descending : Boolean(columns[at].number);
    sort = at;
    update();
  }

  function only(next, text) {
    test = next;
    chip.hidden = !next;
    chip.textContent = next ? `${text} ✕` : "";
    chip.setAttribute("aria-label", next ? `Show all again instead of ${text}` : "");
    update();
  }

  /** Nothing comes last, whatever the direction. */
  function compare(a, b) {
    const none = (x) => x === null || x === undefined || Number.isNaN(x);
    if (none(a) || none(b)) return none(a) - none(b);
    const order = typeof a === "number" ? a - b : String(a).localeCompare(String(b), "en", { numeric: true });
    return descending ? -order : order;
  }

  function found() {
    const fits = (row) => (!test || test(row)) && words.every((word) => searched(row).includes(word));
    const fitting = rows.filter(fits);
    if (sort >= 0) fitting.sort((a, b) => compare(columns[sort].value(a), columns[sort].value(b)));
    return fitting;
  }

  function update() {
    const fitting = found();
    const visible = all ? fitting : fitting.slice(0, SHOWN);
    const cell = (column, row) =>
      el("td", { class: ["number", "wide", "tight"].find((kind) => column[kind]) ?? (column.name === "name" && "name") },
        column.cell ? column.cell(row) : column.wide ? el("div", { class: "clamp", title: shown(column, row) }, shown(column, row)) : shown(column, row));
    body.replaceChildren(...visible.map((row) => el("tr", {}, columns.map((column) => cell(column, row)))));
    heads.forEach((head, at) =>
      head.setAttribute("aria-sort", at === sort ? (descending ? "descending" : "ascending") : "none"));
    const of = fitting.length === rows.length ? "" : ` of ${grouped(rows.length)}`;
    count.textContent = `${grouped(fitting.length)}${of} ${label}`;
    more.hidden = visible.length === fitting.length;
    more.textContent = `Show all ${grouped(fitting.length)} ${label}`;
  }

  update();
  return { only, rows: found };
}
