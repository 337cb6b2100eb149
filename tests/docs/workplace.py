"""A folder in which a document's commands can run: what the reader is supposed to have."""

from __future__ import annotations

import gzip
import json
import os
import re
import shutil
import sys
from pathlib import Path

from tests.docs.blocks import ROOT

#: What stands in the documents → what stands in for it here. Everything else runs as written.
STAND_INS = {
    # 14 GB from the hub; the same architecture, tiny, with random weights.
    "llava-hf/llava-1.5-7b-hf": "tiny-llava",
    "traces/ SAMPLE": "traces/ short",
}
#: The environment of the tests has what these install.
SKIPPED_COMMANDS = ("pip install ",)
#: Opens the address as a viewer would: reads the trace that the address names.
BROWSER = """
import sys, urllib.parse, urllib.request
address = urllib.parse.unquote(sys.argv[1].split("url=")[1])
print(len(urllib.request.urlopen(address, timeout=20).read()), "bytes read by the browser")
"""


def workplace(folder: Path) -> Path:
    """Fill `folder`: captures, samples, labels, older results, another's trace, a command."""
    samples = ROOT / "sample_traces"
    again = (f"{side}-{k}" for side in ("before", "after") for k in (2, 3))
    for name in ("sample_traces", "before", "after", *again):
        shutil.copytree(samples, folder / name)
    inputs = ROOT / "benchmarks" / "samples"
    for file in inputs.iterdir():
        shutil.copy(file, folder / file.name)
    trace = next((samples / "traces").glob("short*"))
    text = gzip.decompress(trace.read_bytes())
    text = text.replace(b'"generate"', b'"model.generate"').replace(b'"prefill"', b'"llm_prefill"')
    text = re.sub(rb'"decode\[(\d+)\]"', rb'"decode_step_\1"', text)
    (folder / "their_trace.json.gz").write_bytes(gzip.compress(text, 1))
    (folder / "old_results.json").write_text(json.dumps(_older_results()))
    labels = ROOT / "benchmarks" / "results" / "2026-11-26-h200-latency-model"
    shutil.copytree(labels, folder / "latency-model")
    tools = folder / "bin"
    tools.mkdir()
    _executable(tools / "trace-timing", f'exec "{sys.executable}" -m trace_timing "$@"')
    (tools / "browser.py").write_text(BROWSER)
    _executable(tools / "browser", f'exec "{sys.executable}" "{tools}/browser.py" "$1"')
    return folder


def environment(folder: Path) -> dict[str, str]:
    """Of the commands: our own trace-timing, python and browser."""
    path = f"{folder / 'bin'}{os.pathsep}{Path(sys.executable).parent}{os.pathsep}"
    return {
        **os.environ,
        "PATH": path + os.environ["PATH"],
        "PYTHONPATH": str(ROOT),
        "BROWSER": str(folder / "bin" / "browser"),
    }


def runnable(text: str) -> str:
    """Shell text with stand-ins in place."""
    for named, used in STAND_INS.items():
        text = text.replace(named, used)
    lines = [line for line in text.splitlines() if not line.startswith(SKIPPED_COMMANDS)]
    return "\n".join(lines) + "\n"


def _executable(path: Path, command: str) -> None:
    path.write_text(f"#!/bin/sh\n{command}\n")
    path.chmod(0o755)


def _older_results() -> dict[str, object]:
    """Rows in the form of wall-clock experiments: five whole ones, one with a negative decode."""
    rows = [
        {
            "sample_id": i,
            "output_tokens": 5 + i,
            "T_vision_total": 20.0,
            "T_LLM_prefill": 30.0,
            "T_LLM_decode": 10.0 * (4 + i),
            "T_total": 50.0 + 10.0 * (4 + i),
            "T_decode_per_token": 10.0 * (4 + i) / (5 + i),
        }
        for i in range(5)
    ]
    subtracted = {"T_vision_total": 181.28, "T_LLM_prefill": 207.17, "T_total": 335.32}
    rows.append(
        {"sample_id": 5, "output_tokens": 3, "T_LLM_decode": 0.0, "T_decode_per_token": 0.0}
        | subtracted
    )
    return {"tier": "high", "top_k": 8, "num_samples": 6, "per_sample_results": rows}
