"""Import traces into Chrome's trace viewer, the copy in torch-tb-profiler."""

from __future__ import annotations

import gzip
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

#: Replaces as much of the custom elements of 2014 as the viewer's scripts need to load: Chromium no
#: longer has them. The viewer's importer is unchanged.
SHIM = """
window.CustomElements = {useNative: true, instanceof: (e, kind) => e instanceof kind};
Object.defineProperty(document, "_currentScript", {get: () => document.currentScript});
const kinds = {}, create = document.createElement.bind(document);
const made = (element, kind) => {
  Object.setPrototypeOf(element, kind); kind.createdCallback?.call(element); return element;
};
document.registerElement = (name, {prototype}) => {
  kinds[name] = prototype;
  document.querySelectorAll(name).forEach((element) => made(element, prototype));
  const make = function () { return document.createElement(name); };
  make.prototype = prototype;
  return make;
};
document.createElement = (name) => name in kinds ? made(create(name), kinds[name]) : create(name);
"""
IMPORT = """
(text) => {
  const model = new tr.Model(), options = new tr.importer.ImportOptions();
  options.shiftWorldToZero = false;
  new tr.importer.Import(model, options).importTraces([text]);
  const ours = (slice) => slice && slice.category === "trace-timing";
  const place = (slice) => slice && {title: slice.title, category: slice.category,
    start: slice.start, depth: 0, thread: slice.parentContainer?.name};
  const slices = [], flows = [];
  for (const process of Object.values(model.processes))
    for (const thread of Object.values(process.threads))
      for (const slice of thread.sliceGroup.slices)
        if (ours(slice)) slices.push({thread: thread.name, process: process.name,
          title: slice.title, start: slice.start, duration: slice.duration, top: slice.isTopLevel});
  for (const flow of model.flowEvents)
    if (flow.category === "trace-timing") flows.push({from: place(flow.startSlice),
      to: place(flow.endSlice), at: flow.start, until: flow.start + flow.duration});
  return {warnings: model.importWarnings.map((w) => w.type + ": " + w.message), slices, flows};
}
"""


def viewer_page() -> str:
    """The viewer as one HTML page; the test is skipped without the package."""
    spec = find_spec("torch_tb_profiler")
    if spec is None or not spec.submodule_search_locations:
        pytest.skip("torch-tb-profiler, which carries Chrome's trace viewer, is not installed")
    folder = Path(next(iter(spec.submodule_search_locations)))
    body = (folder / "static" / "trace_viewer_full.html").read_text()
    return f"<!doctype html><meta charset=utf-8><script>{SHIM}</script>{body}"


def imported(page: Any, trace: Path) -> dict[str, Any]:
    """Our tracks in the viewer's model after it imported `trace`.

    `slices` (thread, process, title, start and duration in ms, top), `flows` (from, to: a slice or
    None), `warnings` of the import.
    """
    data = trace.read_bytes()
    text = gzip.decompress(data) if data[:2] == b"\x1f\x8b" else data
    held: dict[str, Any] = page.evaluate(IMPORT, text.decode())
    return held
