"""Two sides of a comparison with known differences, as tables and as report directories."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from trace_timing.stats.compared_figures import Tables

TIMES = ["T_vision_encoder", "T_projector", "T_vision_total", "T_LLM_prefill", "T_LLM_decode"]
TIMES += ["T_sampling", "T_rest", "T_total"]


def tables(seed: int, *, decode: float = 1.0, n: int = 24, **change: Any) -> Tables:
    """One side: samples s0 … with two repeats, windows and one kernel a stage."""
    truth, rng = np.random.default_rng(0), np.random.default_rng(seed)
    scale = dict(zip(TIMES, (6.0, 1.0, 7.0, 20.0, 120.0, 4.0, 1.0, 152.0), strict=True))
    samples, kernels = [], []
    for i in range(n):
        size = truth.uniform(0.8, 1.2)
        for repeat in range(2):
            times = {t: v * size * float(np.exp(rng.normal(0, 0.01))) for t, v in scale.items()}
            times["T_LLM_decode"] *= decode
            key = {"sample_id": f"s{i}", "repeat": repeat, "rank": 0}
            row = {**key, "decode_steps": 10, "input_tokens": 600, "clock": "device"}
            row |= {f"{name}_ms": value for name, value in times.items()}
            samples.append(row | change)
            kernel = {"stage": "decode", "name": "ampere_sgemm_32x32", "op": "kernel"}
            kernels.append({**key, **kernel, "total_ns": int(times["T_LLM_decode"] * 1e5)})
    return Tables(f"side {seed}", pd.DataFrame(samples), pd.DataFrame(kernels), {}, {})


def report_directory(folder: Path, side: Tables) -> Path:
    """What `analyze -o` leaves of a side: the tables that `compare` reads, and summary.json."""
    folder.mkdir()
    side.samples.to_parquet(folder / "samples.parquet")
    side.kernels.to_parquet(folder / "kernels.parquet")
    for name in ("runs", "stages", "steps"):
        pd.DataFrame({"sample_id": ["s0"]}).to_parquet(folder / f"{name}.parquet")
    told = {"environment": side.environment, "settings": side.settings}
    (folder / "summary.json").write_text(json.dumps(told))
    return folder
