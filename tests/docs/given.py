"""What a page's Python takes as given: a reader's model, inputs and data, as small stand-ins."""

from __future__ import annotations

import ast
import builtins
from typing import Any


def names_taken(code: str) -> set[str]:
    """Names that the code reads and nowhere sets, imports or defines."""
    tree = ast.parse(code)
    loaded, bound = set[str](), set(dir(builtins)) | {"__file__"}
    for node in ast.walk(tree):
        if isinstance(node, ast.Name):
            (loaded if isinstance(node.ctx, ast.Load) else bound).add(node.id)
        elif isinstance(node, ast.alias):
            bound.add((node.asname or node.name).split(".")[0])
        elif isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            bound.add(node.name)
        elif isinstance(node, ast.arg):
            bound.add(node.arg)
    return loaded - bound


def given(document: str) -> dict[str, Any]:
    """Stand-ins for `document` (its file name without ending), by name."""
    return _molmo() if document == "howto-molmo" else _llava()


def _llava() -> dict[str, Any]:
    from PIL import Image

    from trace_timing.recording.model.loading import ModelChoice, load
    from trace_timing.recording.samples import Sample, prepare

    loaded = load(ModelChoice(name="tiny-llava", device="cpu"))
    sample = Sample(id="x", images=(Image.new("RGB", (30, 20), "red"),), prompt="what is this")
    inputs = {**prepare(sample, loaded.processor, loaded.model).inputs, "max_new_tokens": 4}
    return {"model": loaded.model, "inputs": inputs}


def _molmo() -> dict[str, Any]:
    from tests.recording.molmo import molmo_native

    tiny = molmo_native()
    rows = [{"id": f"q{i}", "crops": 1, **tiny.inputs} for i in range(3)]
    return {"model": tiny.model, "dataset": rows, "collate": lambda rows: dict(rows[0])}
