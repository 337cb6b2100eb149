"""False alarm rate and power of `compare`, on captures cut from recorded series.

A capture is a stretch of one recorded series: samples of two controls each, the launch cost before
each, busy times that hardly move. Captures of the same model, from other moments or processes and
from an idle or a loaded host, are held against each other: as they are (every verdict is a false
alarm), and with every host time of B 10 % longer (to be heard). With drift planted, the host of
each capture is faster or slower by a draw of 15 %, in launches and runs alike.

    python -m benchmarks.compare_power            # rates of alarms, of finds, of withheld verdicts
    python -m benchmarks.compare_power --drift    # how far captures stray: what the priors are from
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd

from trace_timing.arrays import FloatArray
from trace_timing.stats.comparison.compare import ComparisonResult, compare
from trace_timing.stats.comparison.figures import Tables
from trace_timing.stats.methods import control_mean
from trace_timing.stats.methods.envelope import undisturbed

SERIES = Path(__file__).resolve().parents[1] / "tests" / "data" / "control_series"
RUNS = 30
A_SAMPLE = 2
#: Of a sample's latency, the share that the device works; and how far that strays.
BUSY, BUSY_SPREAD = 0.2, 0.003
PLANTED_DRIFT = 0.15
SLOWDOWN = 1.10
STAGE_OF = {"prefill": "T_LLM_prefill", "decode": "T_LLM_decode", "sampling": "T_sampling"}
VISION = ("vision_encoder", "projector", "vision")
HEARD = ("undisturbed step", "decode", "total")


@dataclass(frozen=True)
class Stretch:
    """Consecutive controls of one process: stages (n, S) and steps (n, steps) in ns, launches."""

    stages: FloatArray
    names: Sequence[str]
    steps: FloatArray
    launch_ns: FloatArray

    def slowed(self, host: float, launches: float) -> Stretch:
        """This stretch with host times and launches multiplied by a factor each."""
        return replace(
            self,
            stages=self.stages * host,
            steps=self.steps * host,
            launch_ns=self.launch_ns * launches,
        )


@dataclass(frozen=True)
class Setting:
    """Captures of A and of B are drawn from these without repeating any."""

    name: str
    a: Sequence[Stretch]
    b: Sequence[Stretch]
    captures: int
    planted: bool = False


def read_stretches(runs: int = RUNS) -> dict[str, list[Stretch]]:
    """Stretches by the name of their series; a shorter rest of a series is left out."""
    found: dict[str, list[Stretch]] = {}
    for path in sorted(SERIES.glob("*.json")):
        told = json.loads(path.read_text())
        stages, steps, launch = (
            np.array(told[name], np.float64) for name in ("runs", "steps", "launch_ns")
        )
        found[path.stem] = [
            Stretch(
                stages[at : at + runs],
                told["stages"],
                steps[at : at + runs],
                launch[at : at + runs],
            )
            for at in range(0, len(stages) - runs + 1, runs)
        ]
    return found


def tables(stretch: Stretch, rng: np.random.Generator, busy_ns: FloatArray) -> Tables:
    """The stretch as a capture: one sample each A_SAMPLE runs, busy times as given by stage."""
    count = len(stretch.stages) // A_SAMPLE
    ids = [f"s{i:02}" for i in range(count)]
    runs = slice(0, count * A_SAMPLE)
    stages = stretch.stages[runs].reshape(count, A_SAMPLE, -1)
    steps = stretch.steps[runs].reshape(count, -1)
    busy = busy_ns * np.exp(rng.normal(0, BUSY_SPREAD, (count, len(busy_ns))))
    key = {"sample_id": ids, "repeat": 0, "rank": 0, "clock": "device", "input_tokens": 600}
    samples = pd.DataFrame(
        {
            **key,
            "decode_steps": stretch.steps.shape[1],
            "latency_source": "control",
            **_times(stretch.names, control_mean.mean(stages, stages.sum(axis=-1)), "_ms"),
            **_times(stretch.names, busy, "_busy_ms"),
            "T_step_undisturbed_ms": [(undisturbed(row) or 0.0) / 1e6 for row in steps],
        }
    )
    state = pd.DataFrame(
        {
            "sample_id": np.repeat(ids, A_SAMPLE),
            "probe_ns": stretch.launch_ns[runs],
            "load_1m": np.nan,
            "psi_cpu_some_10s": np.nan,
        }
    )
    return Tables("simulated", samples, _no_kernels(), {}, {}, state)


def _times(names: Sequence[str], ns: FloatArray, suffix: str) -> dict[str, FloatArray]:
    by_stage = dict(zip(names, ns.T / 1e6, strict=True))
    times = {column: by_stage[stage] for stage, column in STAGE_OF.items()}
    times["T_vision_total"] = np.sum([by_stage[stage] for stage in VISION], axis=0)
    times["T_rest"] = by_stage["other"]
    times["T_total"] = np.sum([*by_stage.values()], axis=0)
    return {f"{name}{suffix}": ms for name, ms in times.items()}


def _no_kernels() -> pd.DataFrame:
    return pd.DataFrame(
        {name: [] for name in ("sample_id", "repeat", "rank", "stage", "name", "op", "total_ns")}
    )


def trial(setting: Setting, rng: np.random.Generator, slowdown: float = 1.0) -> ComparisonResult:
    """One comparison: captures drawn, drift planted where the setting says, B slowed down."""
    left, right = _drawn(setting, rng)
    busy = BUSY * np.median(np.concatenate([s.stages for s in left]), axis=0)
    sides = []
    for side, factor in ((left, 1.0), (right, slowdown)):
        captures = []
        for stretch in side:
            drift = float(np.exp(rng.normal(0, PLANTED_DRIFT))) if setting.planted else 1.0
            captures.append(tables(stretch.slowed(drift * factor, drift), rng, busy))
        sides.append(captures)
    (a, *also_a), (b, *also_b) = sides
    return compare(a, b, also_a=also_a, also_b=also_b)


def _drawn(setting: Setting, rng: np.random.Generator) -> tuple[list[Stretch], list[Stretch]]:
    if setting.a is not setting.b:
        return tuple(  # type: ignore[return-value]
            [side[i] for i in rng.permutation(len(side))[: setting.captures]]
            for side in (setting.a, setting.b)
        )
    order = [setting.a[i] for i in rng.permutation(len(setting.a))]
    return order[: setting.captures], order[setting.captures : 2 * setting.captures]


def settings(stretches: Mapping[str, Sequence[Stretch]]) -> list[Setting]:
    """The settings: captures of which series are compared."""
    idle = [s for name in ("llava-1b-1", "llava-1b-3", "llava-1b-5") for s in stretches[name]]
    loaded = [s for k in (2, 4, 6) for s in stretches[f"llava-1b-{k}-loaded"]]
    one, olmoe, molmoe = (stretches[n] for n in ("llava-1b", "llava-olmoe", "molmoe"))
    pools = {
        "one process, 1B": (one, one),
        "one process, OLMoE": (olmoe, olmoe),
        "one process, MolmoE": (molmoe, molmoe),
        "processes, idle": (idle, idle),
        "processes, loaded": (loaded, loaded),
        "idle against loaded": (idle, loaded),
        "processes, idle and loaded": ([*idle, *loaded],) * 2,
    }
    return [
        Setting(name, a, b, captures, planted)
        for planted in (False, True)
        for name, (a, b) in pools.items()
        for captures in (1, 2, 3)
        if captures * (2 if a is b else 1) <= min(len(a), len(b))
    ]


@dataclass(frozen=True)
class Rates:
    """Shares of trials: any false alarm; the slowdown found in a host time; its rows withheld."""

    alarms: float
    found: float
    found_undisturbed: float
    withheld: float


def rates(setting: Setting, trials: int, seed: int) -> Rates:
    """Rates of a setting, seeded."""
    rng = np.random.default_rng(seed)
    same = [trial(setting, rng) for _ in range(trials)]
    slowed = [trial(setting, rng, SLOWDOWN) for _ in range(trials)]
    return Rates(
        alarms=float(np.mean([_changed(r) for r in same])),
        found=float(np.mean([_is_any(r, HEARD, "slower") for r in slowed])),
        found_undisturbed=float(np.mean([_is_any(r, HEARD[:1], "slower") for r in slowed])),
        withheld=float(np.mean([_is_any(r, HEARD[:1], "withheld") for r in slowed])),
    )


def _changed(result: ComparisonResult) -> bool:
    return any(row.verdict in ("slower", "faster") for row in result.rows)


def _is_any(result: ComparisonResult, names: Sequence[str], verdict: str) -> bool:
    return any(row.verdict == verdict for row in result.rows if row.name in names)


def print_rates(trials: int, runs: int) -> None:
    """Print a line for each setting."""
    print("alarms  found  by undisturbed step  withheld")
    for setting in settings(read_stretches(runs)):
        r = rates(setting, trials, seed=7)
        drift = ", drift planted" if setting.planted else ""
        print(
            f"{r.alarms:.3f}  {r.found:.3f}  {r.found_undisturbed:.3f}  {r.withheld:.3f}  "
            f"{setting.name}, {setting.captures} a side{drift}",
            flush=True,
        )


def print_drift(runs: int) -> None:
    """Spread of captures' mean logarithms, of totals and undisturbed steps, also per launch."""
    stretches = read_stretches(runs)
    idle = [s for k in (1, 3, 5) for s in stretches[f"llava-1b-{k}"]]
    loaded = [s for k in (2, 4, 6) for s in stretches[f"llava-1b-{k}-loaded"]]
    pools = {
        "one process, 1B": stretches["llava-1b"],
        "one process, OLMoE": stretches["llava-olmoe"],
        "processes, idle": idle,
        "processes, loaded": loaded,
        "processes, idle and loaded": [*idle, *loaded],
    }
    print("total  per launch  undisturbed  per launch")
    for name, pool in pools.items():
        values = np.array([_means(stretch) for stretch in pool])
        print("  ".join(f"{sd:.1%}" for sd in values.std(axis=0, ddof=1)), name)


def _means(stretch: Stretch) -> list[float]:
    side = tables(stretch, np.random.default_rng(0), np.ones(stretch.stages.shape[1]))
    costs = side.state.groupby("sample_id")["probe_ns"]
    by_sample = side.samples.set_index("sample_id")
    total, step = by_sample["T_total_ms"], by_sample["T_step_undisturbed_ms"]
    figures = (total, total / costs.median(), step, step / costs.min())
    return [float(np.log(np.asarray(figure, np.float64)).mean()) for figure in figures]


def main() -> None:
    """Print the results that the command line names."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--drift", action="store_true")
    parser.add_argument("--trials", type=int, default=50)
    parser.add_argument("--runs", type=int, default=RUNS, help="controls of a capture")
    options = parser.parse_args()
    if options.drift:
        print_drift(options.runs)
    else:
        print_rates(options.trials, options.runs)


if __name__ == "__main__":
    main()
