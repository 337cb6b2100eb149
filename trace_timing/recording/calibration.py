"""Measure what profiling costs on this machine: a ladder of small loops, profiled and not.

Each loop is timed by the host's clock unprofiled and in both modes within a tenth of a second, so
that a host whose speed wanders is equally slow in all three, and again in every round; what it
added is regressed on what a trace of it holds. Profiled loops run inside a range, as a model does:
the profiler then records a correlation beside every call. What an op costs on the device is
measured behind a spinning kernel, where the host plays no part.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from time import perf_counter_ns
from typing import Any

import numpy as np
import torch

from trace_timing.costs import CALL_KINDS, Calibration, Estimate, Factor, Ladder, ModeCosts
from trace_timing.errors import CaptureError
from trace_timing.recording.environment import cupti_version, driver_version
from trace_timing.recording.probes import Probe, Spin, device_probes, host_probes
from trace_timing.recording.rates import measure_rates
from trace_timing.recording.recorded import count_recorded
from trace_timing.recording.session import ProfilerSession, open_session
from trace_timing.recording.workloads import model_probes
from trace_timing.records import ProfileMode
from trace_timing.units import NS_PER_MS, FloatArray

MODES: tuple[ProfileMode, ...] = ("ranges", "full")
ROUNDS = 25
#: Rounds in which the device's own costs are measured; they hardly vary.
DEVICE_ROUNDS = 8
SPIN_NS = 40 * NS_PER_MS
BUDGET_S = 60.0
#: Below this the host's clock and a loop's own wandering say nothing (ns per iteration).
RESOLUTION_NS = 5.0
#: Median of absolute deviations → standard deviation, and the standard error of a median over
#: that of a mean, both for normal errors.
_MAD, _MEDIAN = 1.4826, 1.2533


def calibrate(device: torch.device | None = None, *, rounds: int = ROUNDS) -> Calibration:
    """The costs of both profile modes on this machine; takes some 40 to 60 s.

    Rounds stop early when the budget of 60 s is spent; at least three are made.

    Raises:
        CaptureError: no CUDA device, or no profiler session can be opened.
    """
    if not torch.cuda.is_available():
        raise CaptureError(
            "no CUDA device to calibrate",
            why="torch.cuda.is_available() is false",
            remedy="run this on the machine that captures",
        )
    begun = time.monotonic()
    device = device or torch.device("cuda", torch.cuda.current_device())
    bench = _Bench(device)
    bench.run(rounds, begun + 0.75 * BUDGET_S)
    return bench.calibration(begun)


@dataclass
class _Bench:
    """Times of every rung as they come in: ns per iteration by (mode or None, rung), by round."""

    device: torch.device
    host: dict[tuple[str | None, str], list[float]] = field(default_factory=dict)
    behind: dict[tuple[str | None, str], list[float]] = field(default_factory=dict)
    missing: list[str] = field(default_factory=list)
    lasting_frac: float | None = None

    def __post_init__(self) -> None:
        self.sessions = _sessions()
        self.tight = host_probes(self.device)
        self.models = model_probes(self.device)
        self.probes = (*self.tight, *self.models)
        self.spin = Spin(self.device)
        self.bodies = device_probes(self.device)

    def run(self, rounds: int, deadline: float) -> None:
        """Time every loop in every mode, round by round, until the deadline (monotonic, s)."""
        for probe in self.probes:
            self._time(probe, None)
        self._forget()
        before = self._unprofiled()
        for mode in MODES:  # the first session of a process pays for CUPTI's start
            self._time(self.probes[0], mode)
        self._forget()
        for number in range(rounds):
            order = _rotated((None, *MODES), number)
            for probe in self.probes:
                for mode in order:
                    self._time(probe, mode)
            if number < DEVICE_ROUNDS:
                for mode in order:
                    self._time_behind(mode)
            if number >= 2 and time.monotonic() > deadline:
                break
        after = self._unprofiled()
        self.lasting_frac = float(np.median([after[n] / before[n] for n in before]) - 1)

    def _unprofiled(self) -> dict[str, float]:
        """Medians of a few readings of every loop, without a session about."""
        return {
            probe.name: float(np.median([timed_loop(probe, self.device) for _ in range(3)]))
            for probe in self.probes
        }

    def _time(self, probe: Probe, mode: ProfileMode | None) -> None:
        with self._recording(mode):
            ns = timed_loop(probe, self.device, bare=mode is None)
        self._add(self.host, mode, probe.name, ns)

    def _time_behind(self, mode: ProfileMode | None) -> None:
        with self._recording(mode):
            for name, (body, ops) in self.bodies.items():
                self._behind(mode, name, body, ops)

    @contextmanager
    def _recording(self, mode: ProfileMode | None) -> Iterator[None]:
        """A session with a range open in it; nothing for no mode."""
        if mode is None:
            yield
            return
        session = self.sessions[mode]
        session.start()
        try:
            with torch.profiler.record_function("calibration"):
                yield
        finally:
            session.stop()

    def _forget(self) -> None:
        self.host.clear()
        self.behind.clear()

    def _behind(self, mode: ProfileMode | None, name: str, body: Any, ops: int) -> None:
        try:
            self._add(self.behind, mode, name, self.spin.timed(body, SPIN_NS) / ops)
        except BlockingIOError as error:
            self.missing.append(f"{name} ({mode or 'unprofiled'}): {error}")

    def _add(self, into: dict[Any, list[float]], mode: str | None, name: str, ns: float) -> None:
        into.setdefault((mode, name), []).append(ns)

    def calibration(self, begun: float) -> Calibration:
        """Fit the costs of both modes to what was timed."""
        modes: dict[ProfileMode, ModeCosts] = {}
        ladder: list[Ladder] = []
        starts, returns = {}, {}
        for mode in MODES:
            seen = count_recorded(self.probes, self.sessions[mode])
            rungs = [self._rung(probe, mode, seen.counts[probe.name]) for probe in self.probes]
            costs, rungs = fit_costs(rungs[: len(self.tight)], rungs[len(self.tight) :])
            ladder += rungs
            modes[mode] = ModeCosts(
                **costs,
                in_context=context_factor(rungs[len(self.tight) :]),
                device_op=self._added_behind(mode, "device_op"),
                graph_node=self._added_behind(mode, "graph_node"),
            )
            starts[mode], returns[mode] = robust(seen.to_start), robust(seen.to_return)
        return Calibration(
            modes=modes,
            environment=environment(self.device),
            measured_unix_s=int(time.time()),
            took_s=round(time.monotonic() - begun, 2),
            seen_launch_to_start=starts,
            seen_end_to_return=returns,
            roundtrip=robust(self.host[None, "wait"]),
            control_mark=robust(self.host[None, "event"]),
            lasting_frac=self.lasting_frac,
            ladder=tuple(ladder),
            rates=measure_rates(self.device),
            missing=tuple(sorted(set(self.missing))),
        )

    def _rung(self, probe: Probe, mode: ProfileMode, counts: Mapping[str, float]) -> Ladder:
        bare, profiled = self.host[None, probe.name], self.host[mode, probe.name]
        return Ladder(
            probe=probe.name,
            mode=mode,
            unprofiled=robust(bare),
            added=robust(np.subtract(profiled, bare)),
            fitted_ns=0.0,
            counts={**counts, "wait": float(probe.waits)},
        )

    def _added_behind(self, mode: ProfileMode, name: str) -> Estimate | None:
        bare, profiled = self.behind.get((None, name), []), self.behind.get((mode, name), [])
        if min(len(bare), len(profiled)) < 2:
            return None
        one, other = robust(profiled), robust(bare)
        return Estimate(one.value_ns - other.value_ns, float(np.hypot(one.se_ns, other.se_ns)))


def timed_loop(probe: Probe, device: torch.device, *, bare: bool = True) -> float:
    """Nanoseconds per iteration, begun on an idle device after a few iterations to warm up."""
    loop = probe.bare if probe.bare and bare else probe.loop
    loop(max(probe.iterations // 10, 1))
    torch.cuda.synchronize(device)
    begin = perf_counter_ns()
    loop(probe.iterations)
    return (perf_counter_ns() - begin) / probe.iterations


def robust(values: Sequence[float] | FloatArray) -> Estimate:
    """Median, and its standard error from the median absolute deviation.

    Never below the loop's resolution: nine like readings do not make a clock finer.
    """
    data = np.asarray(values, np.float64)
    middle = float(np.median(data))
    spread = _MAD * float(np.median(np.abs(data - middle)))
    error = _MEDIAN * spread / float(np.sqrt(len(data)))
    return Estimate(middle, max(error, RESOLUTION_NS))


def fit_costs(
    rungs: Sequence[Ladder], others: Sequence[Ladder] = ()
) -> tuple[dict[str, Any], list[Ladder]]:
    """Costs of one mode from what each rung added: weighted least squares, no sign imposed.

    Where the rungs scatter about the fit by more than their own errors (a call of one kind does
    not cost quite what another does), the errors are widened by that much (the scale factor of
    the Particle Data Group, Review of Particle Physics, introduction, section 5.2.2).

    Args:
        others: rungs that the fit is applied to and not made from.
    Returns:
        The fields of ModeCosts that the host shows, and all rungs with what the fit gives them.
    """
    terms = [t for t in (*CALL_KINDS, "cpu_op", "range", "wait") if _varies(rungs, t)]
    counts = _counts(rungs, terms)
    added = np.array([rung.added.value_ns for rung in rungs])
    sigma = np.array([rung.added.se_ns for rung in rungs])
    weighted = counts / sigma[:, None]
    covariance = np.linalg.pinv(weighted.T @ weighted)
    values = covariance @ weighted.T @ (added / sigma)
    fitted = counts @ values
    freedom = max(len(rungs) - len(terms), 1)
    scale = max(1.0, float(np.sqrt(np.sum(((added - fitted) / sigma) ** 2) / freedom)))
    errors = scale * np.sqrt(np.diag(covariance))
    found = {t: Estimate(float(v), float(e)) for t, v, e in zip(terms, values, errors, strict=True)}
    costs: dict[str, Any] = {"calls": {kind: found[kind] for kind in CALL_KINDS if kind in found}}
    costs |= {term: found.get(term) for term in ("cpu_op", "range", "wait")}
    every = [*rungs, *others]
    fitted = _counts(every, terms) @ values
    return costs, [
        replace(rung, fitted_ns=float(ns)) for rung, ns in zip(every, fitted, strict=True)
    ]


def context_factor(rungs: Sequence[Ladder]) -> Factor | None:
    """How much more the costs are in model code than the tight loops' fit says.

    A random-effects mean of added ÷ fitted (DerSimonian and Laird, 1986). Its error is that of
    the next model's factor, which differs as these do among themselves, and not of their mean.

    Returns:
        None where fewer than two rungs have anything fitted.
    """
    usable = [r for r in rungs if r.fitted_ns > 0]
    if len(usable) < 2:
        return None
    ratio = np.array([r.added.value_ns / r.fitted_ns for r in usable])
    own = np.array([r.added.se_ns / r.fitted_ns for r in usable]) ** 2
    fixed = 1 / own
    middle = np.sum(fixed * ratio) / np.sum(fixed)
    excess = np.sum(fixed * (ratio - middle) ** 2) - (len(usable) - 1)
    between = max(0.0, excess / (np.sum(fixed) - np.sum(fixed**2) / np.sum(fixed)))
    weight = 1 / (own + between)
    mean = np.sum(weight * ratio) / np.sum(weight)
    return Factor(float(mean), float(np.sqrt(between + 1 / np.sum(weight))))


def _counts(rungs: Sequence[Ladder], terms: Sequence[str]) -> FloatArray:
    return np.array([[rung.counts.get(term, 0.0) for term in terms] for rung in rungs])


def _varies(rungs: Sequence[Ladder], term: str) -> bool:
    return any(rung.counts.get(term, 0.0) for rung in rungs)


def _rotated(modes: Sequence[Any], by: int) -> list[Any]:
    cut = by % len(modes)
    return [*modes[cut:], *modes[:cut]]


def _sessions() -> dict[ProfileMode, ProfilerSession]:
    sessions: dict[ProfileMode, ProfilerSession] = {}
    for mode in MODES:
        session, backend = open_session(mode)
        if mode == "ranges" and backend == "public":
            raise CaptureError(
                "this PyTorch cannot record ranges without CPU ops",
                why="torch.autograd._enable_profiler does not take scopes here",
                remedy="use a PyTorch from 2.4 on",
            )
        sessions[mode] = session
    return sessions


def environment(device: torch.device) -> dict[str, Any]:
    """What the costs hold for: another device, driver or version is another machine."""
    properties = torch.cuda.get_device_properties(device)
    return {
        "device": properties.name,
        "torch": str(torch.__version__),
        "cuda": torch.version.cuda,
        "driver": driver_version(),
        "cupti": cupti_version(),
        "backend": open_session("ranges")[1],
    }
