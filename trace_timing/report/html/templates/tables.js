// Tables: sorting, filtering, paging, and what is shown for a figure that is not known.
"use strict";
const $ = (id) => document.getElementById(id);
const COLOURS = JSON.parse($("colours").textContent);
const TEXT = (v) => typeof v === "string";
const DEFINITIONS = JSON.parse($("definitions").textContent);
const FIGURE = /_(ms|ns|us|frac)$|^(ours|hta|would_tell)$|^ratio(_lo|_hi)?$/;
// Text and tooltip of an empty cell: the figure does not exist, or is not known and why.
function absent(column, columns, i) {
  if (!FIGURE.test(column)) return ["", ""];
  const of = (name) => (name in columns ? columns[name][i] : undefined);
  if (of("decode_steps") === 0 && /decode|step/.test(column)) {
    return ["no step", "One output token comes from prefill alone: no decode step."];
  }
  const steps = of("decode_steps"), recorded = of("recorded_steps");
  if (/_estimate(_ms)?$/.test(column) && recorded >= steps) return ["", "Every step was recorded: it is measured."];
  if (/_(busy|recorded)_ms$/.test(column) && recorded < steps) {
    return ["cannot tell", "Not every step was recorded: see the estimate, or a decode step's."];
  }
  if (column.startsWith("call_") && of("call") === null) return ["", ""];
  if (column.startsWith("negative_") && of("negative") === 0) return ["none", "No row is negative."];
  if (TEXT(of("reason"))) return ["cannot tell", of("reason")];
  const why = /_(lo|hi)_ms$|half_width/.test(column) ? "Too few runs for an interval."
    : /_(busy|recorded)_ms$/.test(column) && of("recorded_runs") === 0 ? "No run of it was recorded."
    : of("clock") === "host" ? "The trace has no GPU timeline." : "What was recorded does not tell.";
  return ["cannot tell", why];
}
// Made once, since making a formatter takes longer than formatting a row.
const FIXED = new Intl.NumberFormat("en", { minimumFractionDigits: 3, maximumFractionDigits: 3 });
const DIGITS = new Intl.NumberFormat("en", { maximumSignificantDigits: 3 });
const LARGE = new Intl.NumberFormat("en", { maximumFractionDigits: 1 });
const SMALL = new Intl.NumberFormat("en", { maximumFractionDigits: 4 });
function show(column, v) {
  if (v === null || v === undefined) return "";
  if (typeof v === "boolean") return v ? "yes" : "no";
  if (TEXT(v)) return v;
  if (/(^|_)frac$/.test(column)) return (100 * v).toFixed(1) + " %";
  // Less than a nanosecond is a rounding error.
  if (column.endsWith("_ms") && Math.abs(v) >= 1e-6 && Math.abs(v) < 0.1) return DIGITS.format(v);
  if (/_(ms|us)$/.test(column)) return FIXED.format(v);
  return (Math.abs(v) >= 100 ? LARGE : SMALL).format(v);
}
// Test of a row by the text of the filter: conditions (`column > 3`, `stage = decode`), or words
// that must all occur in the row.
function predicate(text, columns) {
  const tests = text.split(/\s+and\s+|,/).map((part) => part.trim()).filter(Boolean).map((part) => {
    const match = part.match(/^(\w+)\s*(<=|>=|!=|=|<|>)\s*(.+)$/);
    if (!match || !(match[1] in columns)) {
      const words = part.toLowerCase().split(/\s+/);
      const texts = Object.values(columns).filter((c) => c.some(TEXT));
      return (i) => words.every((w) => texts.some((c) => String(c[i] ?? "").toLowerCase().includes(w)));
    }
    const [, name, op, raw] = match, values = columns[name];
    const number = Number(raw), numeric = raw.trim() !== "" && !Number.isNaN(number);
    const order = (v) => (numeric && !TEXT(v) ? v - number : String(v).localeCompare(raw));
    return (i) => {
      const v = values[i];
      if (v === null || v === undefined) return false;
      const d = order(v);
      return { "<": d < 0, ">": d > 0, "<=": d <= 0, ">=": d >= 0, "=": d === 0, "!=": d !== 0 }[op];
    };
  });
  return (i) => tests.every((test) => test(i));
}
// Columns to show: repeat and rank only where some row has one other than 0.
function informative(columns) {
  return Object.keys(columns).filter((name) => !["repeat", "rank"].includes(name) || columns[name].some((v) => v));
}
class Table {
  constructor(el, columns, options = {}) {
    Object.assign(this, { el, columns, options, from: 0, size: 50, sort: null, down: false });
    this.shown = options.shown || informative(columns);
    this.count = Object.values(columns)[0]?.length || 0;
    this.filter("");
  }
  filter(text) {
    const keep = predicate(text, this.columns);
    this.rows = Array.from({ length: this.count }, (_, i) => i).filter(keep);
    this.from = 0;
    this.order();
    return this.rows.length;
  }
  order() {
    if (this.sort) {
      const values = this.columns[this.sort], sign = this.down ? -1 : 1;
      this.rows.sort((a, b) => {
        const x = values[a], y = values[b];
        if (x === null || y === null) return (x === null) - (y === null);
        return sign * (TEXT(x) ? x.localeCompare(y, "en", { numeric: true }) : x - y);
      });
    }
    this.draw();
  }
  draw() {
    const head = document.createElement("thead"), body = document.createElement("tbody");
    const headRow = head.insertRow();
    for (const name of this.shown) {
      const th = document.createElement("th"), button = document.createElement("button");
      th.scope = "col"; button.type = "button"; button.textContent = name;
      if (DEFINITIONS[name]) th.title = DEFINITIONS[name];
      if (this.columns[name].some(TEXT)) th.className = "text";
      if (this.sort === name) th.ariaSort = this.down ? "descending" : "ascending";
      button.addEventListener("click", () => {
        this.down = this.sort === name ? !this.down : !TEXT(this.columns[name][0]);
        this.sort = name; this.from = 0; this.order();
        this.el.querySelectorAll("thead button")[this.shown.indexOf(name)].focus();
      });
      th.append(button); headRow.append(th);
    }
    for (const i of this.rows.slice(this.from, this.from + this.size)) body.append(this.row(i));
    this.el.replaceChildren(head, body);
    this.pager();
  }
  row(i) {
    const tr = document.createElement("tr");
    this.shown.forEach((name, at) => {
      const value = this.columns[name][i], cell = document.createElement(at ? "td" : "th");
      if (!at) cell.scope = "row";
      cell.textContent = show(name, value);
      if (value === null || value === undefined) {
        [cell.textContent, cell.title] = absent(name, this.columns, i);
        cell.classList.add("muted");
      }
      if (TEXT(value)) { cell.className = name === "name" ? "text name" : "text"; cell.title = value; }
      if (name === "stage" && COLOURS[value]) cell.prepend(swatch(value));
      tr.append(cell);
    });
    const target = this.options.pick?.(i);
    if (target) {
      const link = document.createElement("a");
      link.href = target; link.textContent = tr.cells[0].textContent;
      tr.cells[0].replaceChildren(link);
      tr.className = "pick";
      tr.addEventListener("click", () => { location.hash = link.hash; });
    }
    return tr;
  }
  pager() {
    const el = document.querySelector(`.pager[data-for="${this.el.id}"]`);
    if (!el) return;
    el.replaceChildren();
    if (this.rows.length <= this.size) return;
    const step = (label, by) => {
      const button = document.createElement("button");
      button.type = "button"; button.textContent = label;
      button.disabled = by < 0 ? this.from === 0 : this.from + this.size >= this.rows.length;
      button.addEventListener("click", () => { this.from += by * this.size; this.draw(); });
      return button;
    };
    const words = document.createElement("span");
    words.textContent = `${this.from + 1}–${Math.min(this.from + this.size, this.rows.length)} of ${LARGE.format(this.rows.length)}`;
    el.append(step("Previous", -1), words, step("Next", 1));
  }
}
function swatch(stage) {
  const key = document.createElement("span");
  key.className = "key"; key.style.background = COLOURS[stage];
  return key;
}
function searchable(input, count, table) {
  const apply = () => { count.textContent = `${LARGE.format(table.filter(input.value))} of ${LARGE.format(table.count)} rows`; };
  input.addEventListener("input", apply);
  apply();
}
