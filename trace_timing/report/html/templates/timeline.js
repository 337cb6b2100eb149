// The timeline of one run on a canvas: why each stage takes its time. Times are whole ns since the
// window begins. Rows from the top: stages, host ranges, launch calls, queue, streams, idle causes.
"use strict";
const NAME_FROM_PX = 26, GUTTER = 104, GUTTER_NARROW = 68, LETTER_PX = 6.4;
// Notches of the mouse wheel that zoom from the whole run to a millisecond.
const NOTCHES = 10, MS = 1e6;
const STATE_BUSY = 0, STATE_UNKNOWN = 3;
const MARK_COLOURS = ["#b6486a", "#8563cc"];

// Binary search: the first i with values[i] > at.
function firstAbove(values, at) {
  let low = 0, high = values.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (values[middle] > at) high = middle; else low = middle + 1;
  }
  return low;
}
function duration(ns) {
  if (ns >= MS) return (ns / MS).toLocaleString("en", { maximumFractionDigits: 3 }) + " ms";
  return (ns / 1e3).toLocaleString("en", { maximumFractionDigits: 3 }) + " µs";
}
function inkOn(colour) {
  const part = (i) => { const c = parseInt(colour.slice(i, i + 2), 16) / 255;
    return c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4; };
  return 0.2126 * part(1) + 0.7152 * part(3) + 0.0722 * part(5) < 0.179 ? "#fff" : "#000";
}
const plain = (label) => label.replace(/^(\w+)\[(\d+)\]$/, "$1 $2").replace("_", " ");

// A row of intervals sorted by start. `reach[i]` is the latest end up to i; it never falls, so a
// binary search in it gives the first interval that can reach an instant.
class Row {
  constructor(name, kind, height, table, pick, look) {
    Object.assign(this, { name, kind, height, look });
    this.start = []; this.end = []; this.id = [];
    for (let i = 0; i < table.start.length; i++) {
      if (pick && !pick(i)) continue;
      this.start.push(table.start[i]); this.end.push(table.start[i] + table.length[i]); this.id.push(i);
    }
    this.reach = new Float64Array(this.end.length);
    let latest = -Infinity;
    for (let i = 0; i < this.end.length; i++) this.reach[i] = latest = Math.max(latest, this.end[i]);
  }
  // Index of the interval at an instant, the innermost; the nearest within `slack` if none covers
  // it, so that intervals thinner than a pixel can be hit; else -1.
  at(ns, slack) {
    let best = -1, distance = slack;
    for (let i = firstAbove(this.reach, ns - slack); i < this.start.length && this.start[i] <= ns + slack; i++) {
      const away = Math.max(this.start[i] - ns, ns - this.end[i], 0);
      if (away <= distance) { best = i; distance = away; }
    }
    return best;
  }
}

// Join adjoining tiles of one key into one band.
function bands(tiles) {
  const out = { start: [], length: [], key: [] };
  for (let i = 0; i < tiles.start.length; i++) {
    const last = out.start.length - 1, end = tiles.start[i] + tiles.length[i];
    if (last >= 0 && out.key[last] === tiles.key[i]) out.length[last] = end - out.start[last];
    else { out.start.push(tiles.start[i]); out.length.push(tiles.length[i]); out.key.push(tiles.key[i]); }
  }
  return out;
}
// Number of ops launched and not started, as a step function: depth[i] from time[i] on.
function queueOf(ops, calls) {
  const events = [];
  for (let i = 0; i < ops.start.length; i++) {
    const call = ops.call[i];
    if (call < 0) continue;
    events.push([calls.start[call], 1], [ops.start[i], -1]);
  }
  events.sort((a, b) => a[0] - b[0]);
  const time = [], depth = [];
  let now = 0;
  for (const [at, by] of events) {
    now += by;
    if (time[time.length - 1] === at) depth[depth.length - 1] = now;
    else { time.push(at); depth.push(now); }
  }
  return { time, depth, most: Math.max(1, depth.reduce((a, b) => Math.max(a, b), 0)) };
}

function rowsOfRun(d) {
  const key = (i) => (i < 0 ? "generate" : plain(d.keys[i]));
  const colour = (i) => (i < 0 ? "#9aa3b2" : d.colours[d.stages[i]]);
  const band = bands(d.tiles), rows = [];
  rows.push(new Row("stages", "stage", 26, band, null, (i) => ({ name: key(band.key[i]), colour: colour(band.key[i]) })));
  const deepest = d.ranges.depth.length ? Math.max(...d.ranges.depth) : -1;
  for (let depth = 0; depth <= deepest; depth++) {
    rows.push(new Row(depth ? "" : "host ranges", "range", 18, d.ranges, (i) => d.ranges.depth[i] === depth,
      (i) => ({ name: key(d.ranges.key[i]), colour: colour(d.ranges.key[i]) })));
  }
  if (!d.ops.start.length) return rows;
  const stageOfCall = new Int32Array(d.calls.start.length).fill(-1);
  d.ops.call.forEach((call, i) => { if (call >= 0) stageOfCall[call] = d.ops.key[i]; });
  rows.push(new Row("launch calls", "call", 20, d.calls, null,
    (i) => ({ name: d.names[d.calls.name[i]], colour: colour(stageOfCall[i]) })));
  if (d.marks.start.length) {
    rows.push(new Row("sync, alloc", "mark", 16, d.marks, null,
      (i) => ({ name: d.names[d.marks.name[i]], colour: MARK_COLOURS[d.marks.alloc[i]] })));
  }
  rows.push({ name: "queue", kind: "queue", height: 34, queue: queueOf(d.ops, d.calls), start: [] });
  const devices = new Set(d.lanes.map(([device]) => device)).size;
  d.lanes.forEach(([device, stream], lane) => {
    rows.push(new Row(devices > 1 ? `GPU ${device}, ${stream}` : `stream ${stream}`, "op", 26, d.ops, (i) => d.ops.lane[i] === lane,
      (i) => ({ name: d.names[d.ops.name[i]], colour: colour(d.ops.key[i]) })));
  });
  rows.push(new Row("idle because", "idle", 24, d.idle, null,
    (i) => ({ name: d.idle.name[i] < 0 ? d.causes[d.idle.cause[i]].replace("_", " ") : d.names[d.idle.name[i]],
      colour: d.cause_colours[d.idle.cause[i]] })));
  return rows;
}

// Add to `into` how long a table's intervals lie in [from, to], by group; whole ns, so exact.
function overlap(table, from, to, group, into) {
  for (let i = 0; i < table.start.length; i++) {
    const inside = Math.min(table.start[i] + table.length[i], to) - Math.max(table.start[i], from);
    if (inside > 0) { const name = group(i); if (name) into.set(name, (into.get(name) || 0) + inside); }
  }
}
// Sums of a selection, stage -> column -> ns: busy and idle, and idle by cause.
function sumsOf(d, from, to) {
  const flat = new Map(), out = new Map();
  overlap(d.tiles, from, to, (i) => {
    const stage = d.stages[d.tiles.key[i]], state = d.tiles.state[i];
    if (d.clock === "host") return `${stage}\twindow`;
    return `${stage}\t${state === STATE_BUSY ? "GPU busy" : state === STATE_UNKNOWN ? "not recorded" : "idle"}`;
  }, flat);
  overlap(d.idle, from, to, (i) => `${d.stages[d.idle.key[i]]}\t${d.causes[d.idle.cause[i]]}`, flat);
  for (const [name, ns] of flat) {
    const [stage, column] = name.split("\t");
    if (!out.has(stage)) out.set(stage, new Map());
    out.get(stage).set(column, ns);
  }
  return out;
}

class TimelineView {
  constructor(el, canvas, tip, said) {
    Object.assign(this, { el, canvas, tip, said, picked: null, span: null, drag: null });
    this.context = canvas.getContext("2d");
    new ResizeObserver(() => this.data && this.draw()).observe(canvas.parentElement);
    canvas.addEventListener("wheel", (e) => this.wheel(e), { passive: false });
    canvas.addEventListener("pointerdown", (e) => this.down(e));
    canvas.addEventListener("pointermove", (e) => this.moved(e));
    canvas.addEventListener("pointerup", (e) => this.up(e));
    canvas.addEventListener("pointercancel", () => { this.drag = null; });
    canvas.addEventListener("pointerleave", () => { this.tip.hidden = true; });
    canvas.addEventListener("dblclick", () => this.key("f"));
  }
  show(data) {
    this.data = data;
    this.rows = rowsOfRun(data);
    this.picked = this.span = null;
    this.setRange(0, data.window_ns);
    this.tell();
  }
  // Called once per drawing only, since asking for a width makes the browser lay out the page.
  measure() {
    this.width = this.canvas.clientWidth;
    this.gutter = this.width < 600 ? GUTTER_NARROW : GUTTER;
    this.plot = Math.max(this.width - this.gutter, 10);
  }
  x(ns) { return this.gutter + ((ns - this.from) / (this.to - this.from)) * this.plot; }
  ns(x) { return this.from + ((x - this.gutter) / this.plot) * (this.to - this.from); }
  setRange(from, to) {
    const whole = this.data.window_ns, length = Math.min(Math.max(to - from, 200), whole);
    const begin = Math.min(Math.max(from, 0), whole - length);
    [this.from, this.to] = [begin, begin + length];
    this.draw();
  }
  zoom(factor, at = (this.from + this.to) / 2) {
    this.setRange(at - (at - this.from) / factor, at + (this.to - at) / factor);
  }
  notch() { return Math.max(1.25, (this.data.window_ns / MS) ** (1 / NOTCHES)); }
  wheel(event) {
    event.preventDefault();
    const by = event.deltaMode === 1 ? event.deltaY / 3 : event.deltaY / 100;
    if (event.shiftKey) this.setRange(this.from + by * 0.2 * (this.to - this.from), this.to + by * 0.2 * (this.to - this.from));
    // Not a fixed step per event: a trackpad sends many events that are small parts of a notch.
    else this.zoom(this.notch() ** Math.min(Math.max(-by, -1), 1), this.ns(event.offsetX));
  }
  key(key) {
    const length = this.to - this.from, step = 0.2 * length, at = this.pointer ?? undefined;
    if (key === "a" || key === "ArrowLeft") this.setRange(this.from - step, this.to - step);
    else if (key === "d" || key === "ArrowRight") this.setRange(this.from + step, this.to + step);
    else if (key === "w" || key === "+" || key === "=") this.zoom(this.notch(), at);
    else if (key === "s" || key === "-") this.zoom(1 / this.notch(), at);
    else if (key === "0") this.setRange(0, this.data.window_ns);
    else if (key === "f") this.setRange(...(this.span || [0, this.data.window_ns]));
    else if (key === "Escape") { this.span = this.picked = null; this.tell(); this.draw(); }
    else return false;
    return true;
  }
  // ---- pointer
  down(event) {
    if (event.offsetX < this.gutter) return;
    this.el.focus({ preventScroll: true });
    this.drag = { x: event.offsetX, moves: event.shiftKey, from: this.from, to: this.to, far: false };
    this.canvas.setPointerCapture(event.pointerId);
  }
  moved(event) {
    this.pointer = this.ns(event.offsetX);
    if (!this.drag) return this.hover(event);
    const by = event.offsetX - this.drag.x;
    this.drag.far ||= Math.abs(by) > 4;
    if (!this.drag.far) return;
    if (this.drag.moves) {
      const ns = (by / this.plot) * (this.drag.to - this.drag.from);
      this.setRange(this.drag.from - ns, this.drag.to - ns);
    } else this.select(this.ns(this.drag.x), this.ns(event.offsetX));
  }
  up(event) {
    const { drag } = this;
    this.drag = null;
    if (drag && !drag.far) { this.picked = this.under(event); this.span = null; this.tell(); this.draw(); }
  }
  select(a, b) {
    const whole = this.data.window_ns, ends = [a, b].map((ns) => Math.round(Math.min(Math.max(ns, 0), whole)));
    this.span = ends.sort((x, y) => x - y);
    this.tell();
    this.draw();
  }
  under(event) {
    const row = this.rows.find((r) => event.offsetY >= r.y && event.offsetY < r.y + r.height);
    if (!row || event.offsetX < this.gutter) return null;
    if (row.kind === "queue") return { row, i: -1 };
    const i = row.at(this.ns(event.offsetX), (3 * (this.to - this.from)) / this.plot);
    return i < 0 ? null : { row, i };
  }
  hover(event) {
    const found = this.under(event);
    this.tip.hidden = !found;
    if (!found) return;
    this.tip.textContent = found.i < 0 ? this.queueWords(this.ns(event.offsetX)) : this.words(found);
    const left = Math.min(event.offsetX + 14, this.width - this.tip.offsetWidth - 4);
    this.tip.style.transform = `translate(${Math.max(left, 0)}px, ${event.offsetY + 18}px)`;
  }
  queueWords(ns) {
    const { queue } = this.rows.find((r) => r.kind === "queue"), i = firstAbove(queue.time, ns) - 1;
    const depth = i < 0 ? 0 : queue.depth[i];
    return `${depth} op${depth === 1 ? "" : "s"} launched and not started`;
  }
  words({ row, i }) {
    const id = row.id[i], length = row.end[i] - row.start[i], d = this.data;
    let more = "";
    if (row.kind === "op") {
      const call = d.ops.call[id];
      more = `, ${plain(d.keys[d.ops.key[id]])}` + (call < 0 ? ", its launch is not in the trace"
        : `, launched ${duration(row.start[i] - d.calls.start[call])} before`);
    }
    if (row.kind === "idle") more = `, before ${plain(d.keys[d.idle.key[id]])}: ${d.cause_words[d.idle.cause[id]]}`;
    return `${row.look(id).name}: ${duration(length)} at ${(row.start[i] / MS).toLocaleString("en", { maximumFractionDigits: 4 })} ms${more}`;
  }
  // ---- text about what is picked or selected
  tell() {
    this.said.replaceChildren();
    if (this.picked && this.picked.i >= 0) {
      const p = document.createElement("p");
      p.textContent = this.words(this.picked) + this.flowWords();
      this.said.append(p);
    }
    if (this.span) this.said.append(this.sumTable());
  }
  flowWords() {
    if (this.picked.row.kind !== "call") return "";
    const ops = this.opsOf(this.picked.row.id[this.picked.i]);
    return `; launched ${ops.length} op${ops.length === 1 ? "" : "s"}: ${this.data.names[this.data.ops.name[ops[0]]]}`;
  }
  opsOf(call) {
    this.byCall ??= new Map();
    if (this.byCall.of !== this.data) {
      this.byCall = new Map();
      this.byCall.of = this.data;
      this.data.ops.call.forEach((c, i) => {
        if (this.byCall.has(c)) this.byCall.get(c).push(i); else this.byCall.set(c, [i]);
      });
    }
    return this.byCall.get(call) || [];
  }
  sumTable() {
    const [from, to] = this.span, sums = sumsOf(this.data, from, to), d = this.data;
    const all = ["window", "GPU busy", "idle", "not recorded", ...d.causes];
    const columns = all.filter((c) => [...sums.values()].some((row) => row.has(c)));
    const box = document.createElement("div"), table = document.createElement("table");
    table.className = "numbers sums";
    table.createCaption().textContent = `Selected: ${duration(to - from)} from ${(from / MS).toLocaleString("en", { maximumFractionDigits: 4 })} ms; ms by stage, idle also by cause`;
    const head = table.createTHead().insertRow();
    for (const name of ["stage", ...columns]) {
      const th = document.createElement("th");
      th.scope = "col"; th.textContent = name.replace("_", " ");
      if (d.causes.includes(name)) th.title = d.cause_words[d.causes.indexOf(name)];
      head.append(th);
    }
    const body = table.createTBody();
    const line = (name, row) => {
      const tr = body.insertRow(), th = document.createElement("th");
      th.scope = "row"; th.textContent = name.replace("_", " "); tr.dataset.stage = name; tr.append(th);
      for (const column of columns) {
        const cell = tr.insertCell(), ns = row.get(column) || 0;
        cell.dataset.ns = ns; cell.dataset.column = column; cell.textContent = (ns / MS).toFixed(3);
      }
    };
    const total = new Map();
    for (const stage of Object.keys(d.colours)) {
      const row = sums.get(stage);
      if (!row) continue;
      line(stage, row);
      for (const [column, ns] of row) total.set(column, (total.get(column) || 0) + ns);
    }
    line("all", total);
    box.className = "scroll"; box.tabIndex = 0; box.setAttribute("role", "region"); box.setAttribute("aria-label", "Sums of the selection");
    box.append(table);
    return box;
  }
}
