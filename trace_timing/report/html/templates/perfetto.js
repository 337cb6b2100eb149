// Convert a run's timeline to a trace, and hand it to Perfetto's page in another tab of the browser.
// Source: https://perfetto.dev/docs/visualization/deep-linking-to-perfetto-ui
"use strict";
const PERFETTO = "https://ui.perfetto.dev", PING_MS = 100, PERFETTO_WAIT_MS = 60_000;

// Trace Event Format: complete events in µs, metadata, and a flow from each launch to its op.
function traceOf(d, title) {
  const HOST = 1, GPU = 2, STAGES = 1, RANGES = 2, CALLS = 3, MARKS = 4, IDLE = 1, STREAMS = 2;
  const events = [];
  const name = (pid, tid, kind, text) => events.push({ ph: "M", pid, tid, name: kind, args: { name: text } });
  const rows = (pid, tid, track, table, label, args = () => undefined) => {
    if (!table.start.length) return;
    name(pid, tid, "thread_name", track);
    table.start.forEach((ns, i) => events.push({ ph: "X", pid, tid,
      ts: ns / 1e3, dur: table.length[i] / 1e3, name: label(i), args: args(i) }));
  };
  const key = (i) => (i < 0 ? "generate" : d.keys[i]);
  const band = bands(d.tiles);
  name(HOST, STAGES, "process_name", title);
  rows(HOST, STAGES, "stages (window)", band, (i) => key(band.key[i]));
  rows(HOST, RANGES, "host ranges", d.ranges, (i) => key(d.ranges.key[i]));
  rows(HOST, CALLS, "launch calls", d.calls, (i) => d.names[d.calls.name[i]]);
  rows(HOST, MARKS, "synchronizing and allocator calls", d.marks, (i) => d.names[d.marks.name[i]]);
  if (!d.ops.start.length) return { traceEvents: events };
  name(GPU, IDLE, "process_name", "GPU");
  rows(GPU, IDLE, "idle because", d.idle, (i) => d.causes[d.idle.cause[i]], (i) => ({ before: key(d.idle.key[i]) }));
  d.lanes.forEach(([device, stream], lane) => name(GPU, STREAMS + lane, "thread_name", `GPU ${device}, stream ${stream}`));
  d.ops.start.forEach((ns, i) => {
    const tid = STREAMS + d.ops.lane[i], call = d.ops.call[i], flow = { cat: "launch", name: "launch", id: i };
    events.push({ ph: "X", pid: GPU, tid, ts: ns / 1e3, dur: d.ops.length[i] / 1e3, name: d.names[d.ops.name[i]], args: { stage: key(d.ops.key[i]) } });
    if (call < 0) return;
    events.push({ ph: "s", pid: HOST, tid: CALLS, ts: d.calls.start[call] / 1e3, ...flow },
      { ph: "f", bp: "e", pid: GPU, tid, ts: ns / 1e3, ...flow });
  });
  return { traceEvents: events };
}
// Perfetto answers PING once it is ready to receive. `say` shows the reader what happens.
function openInPerfetto(d, title, say) {
  const other = window.open(PERFETTO);
  if (!other) { say("The browser did not let the report open another tab."); return; }
  const begun = performance.now();
  const timer = setInterval(() => {
    if (other.closed || performance.now() - begun > PERFETTO_WAIT_MS) { say("Perfetto did not answer."); end(); }
    else other.postMessage("PING", PERFETTO);
  }, PING_MS);
  const hear = (event) => {
    if (event.source !== other || event.origin !== PERFETTO || event.data !== "PONG") return;
    end();
    const buffer = new TextEncoder().encode(JSON.stringify(traceOf(d, title))).buffer;
    other.postMessage({ perfetto: { buffer, title } }, PERFETTO);
    say("Perfetto has the timeline.");
  };
  function end() { clearInterval(timer); removeEventListener("message", hear); }
  addEventListener("message", hear);
}
