// Drawing of the timeline. Intervals thinner than a pixel are summed by pixel column; a column's
// opacity is the share of it that they cover, so sparse work looks sparse at any zoom.
"use strict";
const FAINTEST = 0.18, AXIS_PX = 22, ROW_GAP = 5;

Object.assign(TimelineView.prototype, {
  layout() {
    let y = AXIS_PX;
    for (const row of this.rows) { row.y = y; y += row.height + ROW_GAP; }
    return y;
  },
  draw() {
    this.measure();
    const height = this.layout(), scale = devicePixelRatio || 1, { canvas, context: c } = this;
    canvas.style.height = height + "px";
    if (canvas.width !== Math.round(this.width * scale) || canvas.height !== Math.round(height * scale)) {
      canvas.width = Math.round(this.width * scale); canvas.height = Math.round(height * scale);
    }
    this.look = { fg: css("--fg"), muted: css("--muted"), line: css("--line"), accent: css("--accent"), soft: css("--soft") };
    c.setTransform(scale, 0, 0, scale, 0, 0);
    c.clearRect(0, 0, this.width, height);
    c.font = "11px system-ui, sans-serif"; c.textBaseline = "middle";
    this.axis(height);
    for (const row of this.rows) {
      c.save();
      c.beginPath(); c.rect(this.gutter, row.y, this.plot, row.height); c.clip();
      if (row.kind === "queue") this.queue(row); else this.row(row);
      c.restore();
      c.fillStyle = this.look.muted; c.textAlign = "right"; c.globalAlpha = 1;
      c.fillText(row.name, this.gutter - 6, row.y + row.height / 2, this.gutter - 8);
    }
    this.selection(height);
    if (this.picked) this.flow();
    this.el.dataset.range = `${this.from},${this.to}`;
  },
  axis(height) {
    const { context: c } = this, rough = (this.to - this.from) / Math.max(this.plot / 90, 2);
    const power = 10 ** Math.floor(Math.log10(rough)), step = [1, 2, 5, 10].map((m) => m * power).find((s) => s >= rough);
    c.textAlign = "center";
    for (let at = Math.ceil(this.from / step) * step; at <= this.to; at += step) {
      const x = this.x(at);
      c.fillStyle = this.look.line; c.fillRect(Math.round(x), AXIS_PX - 4, 1, height);
      c.fillStyle = this.look.muted;
      const digits = Math.max(0, -Math.floor(Math.log10(step / MS)));
      c.fillText((at / MS).toFixed(digits) + " ms", Math.min(Math.max(x, this.gutter + 18), this.width - 24), 9);
    }
  },
  row(row) {
    const { context: c } = this, cover = new Float64Array(Math.ceil(this.plot) + 1), colour = new Array(cover.length);
    const perPx = (this.to - this.from) / this.plot;
    for (let i = firstAbove(row.reach, this.from); i < row.start.length && row.start[i] < this.to; i++) {
      const left = this.x(Math.max(row.start[i], this.from)), right = this.x(Math.min(row.end[i], this.to));
      if (right - left < 1.5) {
        const column = Math.min(Math.max(Math.floor(left - this.gutter), 0), cover.length - 1);
        cover[column] += row.end[i] - row.start[i];
        colour[column] = row.look(row.id[i]).colour;
        continue;
      }
      const { name, colour: fill } = row.look(row.id[i]);
      c.fillStyle = fill;
      // Leave a thin gap between neighbours that are wide enough.
      c.fillRect(left, row.y, right - left - (right - left > 4 ? 0.6 : 0), row.height);
      if (right - left > NAME_FROM_PX) this.write(name, fill, left, right, row);
    }
    for (let x = 0; x < cover.length; x++) {
      if (!cover[x]) continue;
      c.globalAlpha = Math.min(Math.max(cover[x] / perPx, FAINTEST), 1);
      c.fillStyle = colour[x];
      c.fillRect(this.gutter + x, row.y, 1, row.height);
    }
    c.globalAlpha = 1;
  },
  write(name, fill, left, right, row) {
    const { context: c } = this, letters = Math.floor((right - left - 8) / LETTER_PX);
    if (letters < 2) return;
    const text = name.length <= letters ? name : name.slice(0, letters - 1) + "…";
    c.fillStyle = inkOn(fill); c.textAlign = "left";
    c.fillText(text, left + 4, row.y + row.height / 2 + 0.5);
  },
  queue(row) {
    const { context: c } = this, { time, depth, most } = row.queue, high = row.height - 2;
    const deepest = new Float64Array(Math.ceil(this.plot) + 1);
    for (let i = Math.max(firstAbove(time, this.from) - 1, 0); i < time.length && time[i] < this.to; i++) {
      const end = i + 1 < time.length ? time[i + 1] : time[i];
      if (end < this.from || depth[i] <= 0) continue;
      const left = Math.max(Math.floor(this.x(time[i]) - this.gutter), 0);
      const right = Math.min(Math.ceil(this.x(end) - this.gutter), deepest.length - 1);
      for (let x = left; x <= Math.max(right - 1, left); x++) deepest[x] = Math.max(deepest[x], depth[i]);
    }
    c.fillStyle = this.look.accent; c.globalAlpha = 0.75;
    deepest.forEach((value, x) => value && c.fillRect(this.gutter + x, row.y + row.height - (value / most) * high, 1, (value / most) * high));
    c.globalAlpha = 1; c.fillStyle = this.look.muted; c.textAlign = "left";
    c.fillText(`most ${most}`, this.gutter + 4, row.y + 7);
  },
  selection(height) {
    if (!this.span) return;
    const { context: c } = this, [left, right] = this.span.map((ns) => Math.min(Math.max(this.x(ns), this.gutter), this.width));
    c.fillStyle = this.look.accent; c.globalAlpha = 0.16;
    c.fillRect(left, AXIS_PX, right - left, height);
    c.globalAlpha = 1;
    c.fillRect(left, AXIS_PX, 1, height); c.fillRect(right, AXIS_PX, 1, height);
  },
  // Arrows from a picked launch call to its ops, or to a picked op from its launch call.
  flow() {
    const { row, i } = this.picked, d = this.data, { context: c } = this;
    if (i < 0) return;
    this.frame(row, row.start[i], row.end[i]);
    const id = row.id[i];
    if (row.kind === "op" && d.ops.call[id] >= 0) this.arrow(d.ops.call[id], id);
    if (row.kind === "call") this.opsOf(id).slice(0, 200).forEach((op) => this.arrow(id, op));
    c.globalAlpha = 1;
  },
  frame(row, start, end) {
    const { context: c } = this, left = Math.max(this.x(start), this.gutter), right = Math.min(this.x(end), this.width);
    if (right < this.gutter || left > this.width) return;
    c.strokeStyle = this.look.fg; c.lineWidth = 2;
    c.strokeRect(left, row.y - 1, Math.max(right - left, 3), row.height + 2);
  },
  arrow(call, op) {
    const { context: c, data: d } = this, from = this.rows.find((r) => r.kind === "call");
    const streams = this.rows.filter((r) => r.kind === "op"), to = streams[d.ops.lane[op]];
    const [x0, y0] = [this.x(d.calls.start[call]), from.y + from.height], [x1, y1] = [this.x(d.ops.start[op]), to.y];
    this.frame(from, d.calls.start[call], d.calls.start[call] + d.calls.length[call]);
    this.frame(to, d.ops.start[op], d.ops.start[op] + d.ops.length[op]);
    c.save();
    c.beginPath(); c.rect(this.gutter, 0, this.plot, y1 + 2); c.clip();
    c.strokeStyle = this.look.fg; c.lineWidth = 1.5;
    c.beginPath(); c.moveTo(x0, y0);
    c.bezierCurveTo(x0, (y0 + y1) / 2, x1, (y0 + y1) / 2, x1, y1); c.stroke();
    c.beginPath(); c.moveTo(x1, y1); c.lineTo(x1 - 4, y1 - 7); c.lineTo(x1 + 4, y1 - 7);
    c.fillStyle = this.look.fg; c.fill();
    c.restore();
    this.el.dataset.flow = `${call},${op}`;
  },
});
