// Routing, theme and figures of the report. Data is unpacked when a page first needs it.
const cache = new Map();
function load(name) {
  if (!cache.has(name)) cache.set(name, unpack($("data-" + name).textContent));
  return cache.get(name);
}

let plotlyReady = null;
function plotly() {
  plotlyReady ??= (async () => {
    const packed = $("plotly");
    if (packed) {
      const code = new Blob([await inflate(packed.textContent)], { type: "text/javascript" });
      const script = document.createElement("script");
      script.src = URL.createObjectURL(code);
      await new Promise((done, fail) => {
        script.onload = done; script.onerror = fail; document.head.append(script);
      });
    }
    return window.Plotly;
  })();
  return plotlyReady;
}

// The view of timelines, made when a run is first opened.
let view = null;

// ---- theme
const root = document.documentElement;
function css(name) { return getComputedStyle(root).getPropertyValue(name).trim(); }
function setTheme(theme) {
  root.dataset.theme = theme;
  document.querySelectorAll(".js-plotly-plot").forEach((el) => Plotly.relayout(el, themed(el.layout)));
  if (view?.data) view.draw();
}
const wanted = matchMedia("(prefers-color-scheme: dark)");
setTheme(wanted.matches ? "dark" : "light");
wanted.addEventListener("change", () => setTheme(wanted.matches ? "dark" : "light"));
$("theme").addEventListener("click", () => setTheme(root.dataset.theme === "dark" ? "light" : "dark"));
function themed() {
  return {
    "font.color": css("--fg"), "hoverlabel.bgcolor": css("--soft"),
    "hoverlabel.bordercolor": css("--line"), "hoverlabel.font.color": css("--fg"),
  };
}
function withTheme(layout) {
  const out = structuredClone(layout);
  out.font = { ...out.font, color: css("--fg") };
  out.hoverlabel = { ...out.hoverlabel, bgcolor: css("--soft"), bordercolor: css("--line"),
    font: { ...(out.hoverlabel || {}).font, color: css("--fg") } };
  if (innerWidth < 640) {
    out.margin = { ...out.margin, l: 8, r: 8 };
    if (out.xaxis?.title?.text?.includes("(")) out.xaxis.title.text = out.xaxis.title.text.split("(")[0];
    if (out.meta?.runs) out.xaxis.showticklabels = false;
    if (out.meta?.keys === "below") out.showlegend = false;
    // On a narrow screen a legend above the plot would take more height than the plot.
    out.legend = { ...out.legend, font: { size: 11 }, y: -0.22, yanchor: "top" };
    const names = out.yaxis?.ticktext;
    if (names) out.yaxis.ticktext = names.map((name) => (name.length > 18 ? name.slice(0, 17) + "…" : name));
  }
  return out;
}

// ---- figures
const CONFIG = { responsive: true, displaylogo: false, displayModeBar: false };
async function draw(el, figure, config = {}) {
  const P = await plotly();
  if (!P) {
    el.textContent = "This figure needs the network: the report was written with --cdn. Tables do not.";
    return;
  }
  await P.react(el, figure.data, withTheme(figure.layout), { ...CONFIG, ...config });
  el.dataset.drawn = "yes";
}
// Element -> function that draws it. Opening a page draws what is in sight; what is within NEAR_PX
// below follows when the browser is idle, the rest when it is scrolled near.
const waiting = new Map(), NEAR_PX = 250;
const whenIdle = (run) => (window.requestIdleCallback ?? setTimeout)(run);
function later(el, draws) { waiting.set(el, draws); }
async function drawWaiting(page, isWanted) {
  for (const [el, draws] of [...waiting]) {
    if (!page.contains(el) || !isWanted(el) || !waiting.delete(el)) continue;
    await draws();
  }
}
const isWithin = (el, px) => !el.closest("[hidden]") && el.getBoundingClientRect().top < innerHeight + px;
const drawPage = (page) => drawWaiting(page, (el) => !el.closest("[hidden]"));
const drawInSight = (page) => drawWaiting(page, (el) => isWithin(el, 0));
const drawNear = (page) => drawWaiting(page, (el) => isWithin(el, NEAR_PX));
// Draw a figure out of sight, so that the browser compiles plotly before the first visible figure,
// which would otherwise take three times as long as the next.
async function warmUp() {
  const P = await plotly();
  if (!P || document.querySelector(".js-plotly-plot")) return;
  const el = document.createElement("div"), bar = { type: "bar", x: [1, 2], y: ["a", "b"], orientation: "h" };
  el.className = "unseen"; el.ariaHidden = "true";
  document.body.append(el);
  await P.newPlot(el, [bar, { ...bar, name: "c" }, { type: "scatter", x: [1, 2], y: ["a", "b"] }],
    { barmode: "stack", height: 300, xaxis: { title: { text: "x" }, automargin: true }, legend: { orientation: "h" } }, CONFIG);
  P.purge(el);
  el.remove();
}
let scrolling = false;
addEventListener("scroll", () => {
  if (scrolling || !waiting.size) return;
  scrolling = true;
  requestAnimationFrame(async () => {
    scrolling = false;
    const page = document.querySelector(".page:not([hidden])");
    if (page) await drawNear(page);
  });
}, { passive: true });
async function drawFigure(el) {
  const figure = await load("figure-" + el.dataset.figure);
  await draw(el, figure);
  offerColours(el, figure);
  if (el.dataset.figure === "samples" && el.on) {
    el.on("plotly_click", (event) => openRun(event.points[0].customdata));
  }
}

// Where a figure has traces for several metadata columns, let the reader choose which are shown.
function offerColours(el, figure) {
  const columns = figure.layout.meta?.colour_by ?? [];
  if (columns.length < 2 || !el.layout) return;
  const label = document.createElement("label"), select = document.createElement("select");
  select.append(...columns.map((name) => new Option(name, name)));
  label.append("Colours by ", select);
  el.before(label);
  select.addEventListener("change", () =>
    Plotly.restyle(el, { visible: figure.data.map((trace) => trace.meta.colour_by === select.value) }));
}

// ---- pages
let runs = null, runNames = [];
const runName = (t, i) => t.sample_id[i] + (t.repeat[i] ? ` · repeat ${t.repeat[i]}` : "") +
  (t.rank[i] ? ` · rank ${t.rank[i]}` : "");
async function loadRuns() {
  if (runs) return runs;
  runs = await load("runs");
  runNames = runs.sample_id.map((_, i) => runName(runs, i));
  return runs;
}
// Link to the first recorded run of row i of the sample table.
function runOf(samples, i) {
  const at = runs.sample_id.findIndex((id, j) => id === samples.sample_id[i] && runs.rank[j] === samples.rank[i]);
  return at < 0 ? "" : hashOf(runNames[at]);
}
const hashOf = (name) => "#sample=" + encodeURIComponent(name);
function openRun(name) { location.hash = hashOf(name); }

const builders = {
  async samples() {
    await loadRuns();
    const all = await load("samples");
    const known = informative(all), brief = BRIEF.filter((name) => known.includes(name) && all[name].some((v) => v !== null));
    const table = new Table($("sample-table"), all, { shown: brief, pick: (i) => runOf(all, i) });
    searchable($("filter"), $("filter-count"), table);
    $("all-columns").addEventListener("change", (event) => {
      table.shown = event.target.checked ? Object.keys(all) : brief;
      table.draw();
    });
  },
  async kernels() {
    const table = new Table($("kernel-table"), await load("kernels"));
    searchable($("kernel-filter"), $("kernel-count"), table);
  },
  async steps() { if ($("step-table")) new Table($("step-table"), await load("positions")); },
  async sample() {
    await loadRuns();
    $("choose").replaceChildren(...runNames.map((name) => new Option(name, name)));
    $("choose").addEventListener("change", (event) => openRun(event.target.value));
  },
};
const BRIEF = ["sample_id", "rank", "latency_source", "T_total_ms", "half_width_frac", "T_vision_total_ms", "T_LLM_prefill_ms",
  "T_LLM_decode_ms", "T_sampling_ms", "T_rest_ms", "T_decode_per_token_ms", "T_TTFT_ms",
  "decode_steps", "output_tokens", "usable", "reasons", "clock"];
const built = new Map();
function build(name, page) {
  if (!built.has(name)) {
    built.set(name, (async () => {
      for (const el of page.querySelectorAll("[data-figure]")) later(el, () => drawFigure(el));
      for (const el of page.querySelectorAll("[data-table]")) {
        later(el, async () => new Table(el, await load(el.dataset.table)));
      }
      await builders[name]?.();
    })());
  }
  return built.get(name);
}

// ---- one sample
const rowsOf = (table, at) => {
  const from = table.first[at], to = table.first[at + 1];
  return (name) => table[name].slice(from, to);
};
// The first run whose timeline is in the page: with very many runs not all are.
const runShownFirst = () => runNames.find((_, i) => $("data-detail-" + i)) ?? runNames[0];
async function drawSample(name) {
  const at = Math.max(0, runNames.indexOf(name));
  $("choose").value = runNames[at];
  $("h-sample").textContent = runNames[at];
  const fact = (label, key) => runs[key]?.[at] === null || runs[key]?.[at] === undefined ? [] :
    [`<span><b>${label}</b> ${show(key, runs[key][at])}${key.endsWith("_ms") ? " ms" : ""}</span>`];
  $("sample-facts").innerHTML = [
    ...fact("total while recorded", "T_total_ms"), ...fact("first token", "T_TTFT_ms"),
    ...fact("a decode step", "T_decode_per_token_ms"), ...fact("output tokens", "output_tokens"),
    ...fact("decode steps", "decode_steps"), ...fact("of these recorded", "recorded_steps"),
    ...fact("GPU ops", "gpu_ops"), ...fact("clock", "clock"), ...fact("checks hold", "checks_hold"),
  ].join(" ");
  await drawTimeline(at);
  const templates = await load("templates");
  const stages = await load("stages"), steps = await load("steps");
  later($("run-stages"), () => draw($("run-stages"), fillStages(templates.stages, rowsOf(stages, at))));
  const stepFigure = fillSteps(templates.steps, rowsOf(steps, at));
  $("run-steps-part").hidden = !stepFigure.data.length;
  if (stepFigure.data.length) later($("run-steps"), () => draw($("run-steps"), stepFigure));
}
// Fill a run's numbers into a figure whose traces and layout Python made.
function fillStages(figure, rows) {
  const out = structuredClone(figure), stage = rows("stage"), ORDER = Object.keys(COLOURS);
  for (const trace of out.data) {
    const values = rows(trace.meta.column);
    const present = ORDER.filter((s) => stage.includes(s)), all = trace.y;
    trace.y = present.map((s) => all[ORDER.indexOf(s)]);
    trace.marker = { ...trace.marker, color: present.map((s) => COLOURS[s]) };
    trace.x = present.map((s) => { const v = values[stage.indexOf(s)]; return v === undefined || v === null ? null : v / 1e6; });
  }
  out.data = out.data.filter((trace) => trace.x.some((v) => v !== null));
  const host = out.data.every((trace) => trace.meta.column === "unknown_ns");
  $("h-run-stages").textContent = host ? "How long is each stage?" : "How much of each stage does the GPU work?";
  if (host) for (const trace of out.data) Object.assign(trace, { name: "window", marker: { color: trace.marker.color } });
  return out;
}
function fillSteps(figure, rows) {
  const out = structuredClone(figure);
  for (const trace of out.data) {
    trace.x = rows("step");
    trace.y = rows(trace.meta.column).map((v) => (v === null ? null : v / 1e6));
  }
  out.data = out.data.filter((trace) => trace.y.some((v) => v !== null));
  const x = rows("step"), y = out.data.flatMap((trace) => trace.y).filter((v) => v !== null);
  const few = Math.max(...x) - Math.min(...x) <= 12;
  Object.assign(out.layout.xaxis, few ? { tickformat: "d", dtick: 1 } : { tickformat: "d", nticks: 12, dtick: undefined });
  if (y.length) out.layout.yaxis.range = [0, 1.25 * Math.max(...y)];
  return out;
}
async function drawTimeline(at) {
  const script = $("data-detail-" + at);
  $("timeline-part").hidden = !script;
  $("timeline-missing").hidden = Boolean(script);
  $("run-kernels").replaceChildren();
  $("run-kernels-part").hidden = true;
  if (!script) return;
  const detail = await load("detail-" + at), begun = performance.now();
  $("timeline-note").textContent = detail.note;
  view ??= new TimelineView($("timeline"), $("timeline-canvas"), $("timeline-tip"), $("timeline-said"));
  view.show(detail.timeline);
  $("timeline").dataset.drawnMs = performance.now() - begun;
  showKeys(detail.timeline);
  if (!detail.kernels.name?.length) return;
  $("run-kernels-part").hidden = false;
  later($("run-kernels"), () => new Table($("run-kernels"), detail.kernels));
}
// Legend of the timeline: the stages and causes of idle time that occur.
function showKeys(d) {
  const stages = [...new Set(d.tiles.key.map((key) => d.stages[key]))];
  const causes = [...new Set(d.idle.cause)].sort((a, b) => a - b);
  const chip = (colour, text, title) => {
    const span = document.createElement("span"), key = document.createElement("span");
    key.className = "key"; key.style.background = colour; span.title = title;
    span.append(key, text.replace("_", " "));
    return span;
  };
  $("timeline-keys").replaceChildren(
    ...Object.keys(d.colours).filter((s) => stages.includes(s)).map((s) => chip(d.colours[s], s, "stage")),
    ...causes.map((c) => chip(d.cause_colours[c], `idle: ${d.causes[c]}`, d.cause_words[c])),
  );
}
$("timeline")?.addEventListener("keydown", (event) => {
  if (!event.ctrlKey && !event.metaKey && !event.altKey && view?.data && view.key(event.key)) event.preventDefault();
});
document.querySelectorAll("[data-move]").forEach((button) => {
  button.addEventListener("click", () => view?.data && view.key(button.dataset.move));
});
$("perfetto")?.addEventListener("click", () => {
  openInPerfetto(view.data, $("h-sample").textContent, (words) => { $("timeline-said").textContent = words; });
});

// ---- routes
const first = document.querySelector(".page");
async function route() {
  const [, name, value] = location.hash.match(/^#([\w-]+)(?:=(.*))?$/) || [null, first.id.slice(5)];
  if (name === "main") return;
  const page = $("page-" + name) || first;
  document.querySelectorAll(".page").forEach((el) => { el.hidden = el !== page; });
  document.querySelectorAll("nav a").forEach((a) => {
    if (page.id === "page-" + a.dataset.page) {
      a.setAttribute("aria-current", "page");
      a.scrollIntoView({ block: "nearest", inline: "nearest" });
    }
    else a.removeAttribute("aria-current");
  });
  await build(page.id.slice(5), page);
  if (name === "sample") await drawSample(value ? decodeURIComponent(value) : runShownFirst());
  await drawInSight(page);
  root.dataset.ready = name;
  whenIdle(() => drawNear(page));
}
addEventListener("hashchange", () => { root.dataset.ready = ""; scrollTo(0, 0); route(); });
// ---- printing: the current page in the light theme; the button prints all pages
let themeBefore = null;
addEventListener("beforeprint", () => { themeBefore = root.dataset.theme; setTheme("light"); });
addEventListener("afterprint", () => { if (themeBefore) setTheme(themeBefore); });
async function showAll() {
  root.classList.add("all-pages");
  for (const page of document.querySelectorAll(".page:not(#page-sample)")) {
    await build(page.id.replace("page-", ""), page);
    await drawWaiting(page, () => true);
  }
}
$("print-all").addEventListener("click", async () => {
  await showAll();
  print();
  root.classList.remove("all-pages");
});
// The first screen needs no plotly, so plotly is prepared while the reader looks at it.
addEventListener("DOMContentLoaded", async () => {
  await route();
  whenIdle(async () => {
    await warmUp();
    root.dataset.charts = "ready";
  });
});
// ---- texts to copy
async function copyText(text) {
  if (navigator.clipboard) return navigator.clipboard.writeText(text);
  const area = document.createElement("textarea");
  area.value = text;
  document.body.append(area);
  area.select();
  const done = document.execCommand("copy");
  area.remove();
  if (!done) throw new Error("the browser does not allow it");
}
document.querySelectorAll("[data-copy]").forEach((button) => {
  button.addEventListener("click", async () => {
    try {
      await copyText(button.dataset.text);
      $("copied").textContent = `${button.dataset.copy} copied`;
    } catch (error) {
      $("copied").textContent = `not copied: ${error.message}`;
    }
  });
});
