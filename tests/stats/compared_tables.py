"""Two sides of a comparison with known differences, as tables and as report directories."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from trace_timing.stats.comparison.figures import Tables

TIMES = ["T_vision_encoder", "T_projector", "T_vision_total", "T_LLM_prefill", "T_LLM_decode"]
TIMES += ["T_sampling", "T_rest", "T_total"]
MS = dict(zip(TIMES, (6.0, 1.0, 7.0, 20.0, 120.0, 4.0, 1.0, 152.0), strict=True))
#: Of each time, the share that the device works: the host bounds all of them.
BUSY = 0.2


def tables(
    seed: int,
    *,
    decode: float = 1.0,
    host: float = 1.0,
    launches: float = 1.0,
    pressure: float = 2.0,
    n: int = 24,
    **change: Any,
) -> Tables:
    """One capture: samples s0 … with two repeats, one kernel, and two controls each.

    Args:
        decode: how much longer decode takes, the host's part and the device's alike.
        host, launches: how much longer all host times take, and an empty launch.
        pressure: percent of the time in which some task waited for a processor.
        change: columns of the sample table.
    """
    truth, rng = np.random.default_rng(0), np.random.default_rng(seed)
    samples, kernels, state = [], [], []
    for i in range(n):
        size = truth.uniform(0.8, 1.2)
        for repeat in range(2):
            key = {"sample_id": f"s{i}", "repeat": repeat, "rank": 0}
            row = {**key, "decode_steps": 10, "input_tokens": 600, "clock": "device"}
            row["recorded_steps"] = 10
            row["latency_source"] = "control"
            for name, ms in MS.items():
                long = ms * size * (decode if name == "T_LLM_decode" else 1)
                row[f"{name}_ms"] = long * host * float(np.exp(rng.normal(0, 0.01)))
                row[f"{name}_busy_ms"] = BUSY * long * float(np.exp(rng.normal(0, 0.003)))
            step = MS["T_LLM_decode"] / 11 * size * decode * host
            row["T_step_undisturbed_ms"] = step * float(np.exp(rng.normal(0, 0.005)))
            samples.append(row | change)
            kernel = {"stage": "decode", "name": "ampere_sgemm_32x32", "op": "kernel"}
            total = int(row["T_LLM_decode_busy_ms"] * 1e6)
            kernels.append({**key, **kernel, "total_ns": total})
            probe = 5_000 * launches * float(np.exp(rng.normal(0, 0.01)))
            machine = {"load_1m": 1.0, "psi_cpu_some_10s": pressure, "probe_ns": probe}
            state.append({"sample_id": f"s{i}", **machine})
    return Tables(
        f"side {seed}", pd.DataFrame(samples), pd.DataFrame(kernels), {}, {}, pd.DataFrame(state)
    )


def report_directory(folder: Path, side: Tables) -> Path:
    """What `analyze -o` leaves of a side: the tables that `compare` reads, and summary.json."""
    folder.mkdir()
    side.samples.to_parquet(folder / "samples.parquet")
    side.kernels.to_parquet(folder / "kernels.parquet")
    side.state.assign(role="control").to_parquet(folder / "runs.parquet")
    for name in ("stages", "steps"):
        pd.DataFrame({"sample_id": ["s0"]}).to_parquet(folder / f"{name}.parquet")
    conditions = {"environment": side.environment, "settings": side.settings}
    (folder / "summary.json").write_text(json.dumps(conditions))
    return folder
