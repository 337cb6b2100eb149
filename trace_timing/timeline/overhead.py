"""The observer effect as a model: what each recorded thing costs, and how far to trust that.

Costs come from a ladder of small loops (`trace-timing doctor --calibrate`); the control/profiled
pairs of a capture then fit one factor over them, for one model's pairs cannot tell them apart.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import msgspec
import numpy as np

from trace_timing.costs import (
    CALIBRATION_VERSION,
    CALL_KINDS,
    Calibration,
    CallKind,
    Estimate,
    Factor,
    ModeCosts,
)
from trace_timing.errors import TraceError
from trace_timing.records import ProfileMode
from trace_timing.units import FloatArray

#: Standard error of the factor where the calibration did not try its costs on model code: on an
#: H200 such code paid 1.3 to 1.9 times what the tight loops did.
LADDER_SE = 0.5
#: Relative error of a factor tried on other model code than the capture's, beyond its own: over
#: eight captures of four models on an H200 the pairs asked for 0.83 to 1.39 times what the
#: calibration had found, part of it their noise. RL-Scope (2021) came within 16 % of its controls.
TRANSFER_SE = 0.15
#: Huber's constant: 95 % of least squares' efficiency on normal errors (Huber, 1981).
HUBER = 1.345
_MAD = 1.4826
Z95 = 1.96


@dataclass(frozen=True)
class Scale:
    """The factor over the ladder's costs that a capture's pairs ask for."""

    value: float = 1.0
    se: float = LADDER_SE
    pairs: int = 0

    @property
    def lo(self) -> float:
        """Lower end of the 95 % interval."""
        return self.value - Z95 * self.se

    @property
    def hi(self) -> float:
        """Upper end of the 95 % interval."""
        return self.value + Z95 * self.se


@dataclass(frozen=True, kw_only=True)
class CostModel:
    """Costs of one profile mode, and the factor that multiplies those of the host."""

    mode: ProfileMode
    costs: ModeCosts
    scale: Scale = field(default_factory=Scale)
    environment: Mapping[str, Any] = field(default_factory=dict)
    #: Whether pauses that the profiler itself recorded are taken out.
    takes_pauses: bool = True

    def call_ns(self, kind: CallKind) -> float:
        """Host time that recording a call of this kind adds.

        A kind that was not measured costs what a query does: to be recorded at all.
        """
        calls = self.costs.calls
        known = calls.get(kind) or calls.get("query") or _typical(calls)
        return known.value_ns * self.scale.value if known else 0.0

    @property
    def cpu_op_ns(self) -> float:
        """Host time per recorded CPU op."""
        return _scaled(self.costs.cpu_op, self.scale)

    @property
    def range_ns(self) -> float:
        """Host time per range."""
        return _scaled(self.costs.range, self.scale)

    @property
    def wait_ns(self) -> float:
        """What a wait for the device takes longer, beyond the costs of its calls."""
        return _scaled(self.costs.wait, self.scale)

    @property
    def device_op_ns(self) -> float:
        """Device time per op; measured on its own, so no factor of the host's applies."""
        return self.costs.device_op.value_ns if self.costs.device_op else 0.0

    @property
    def graph_node_ns(self) -> float:
        """Device time per node of a graph."""
        return self.costs.graph_node.value_ns if self.costs.graph_node else 0.0

    def scaled(self, value: float) -> CostModel:
        """The same costs under another factor, its error dropped: for the ends of an interval."""
        return replace(self, scale=Scale(value, 0.0, self.scale.pairs))


def _scaled(estimate: Estimate | None, scale: Scale) -> float:
    return estimate.value_ns * scale.value if estimate else 0.0


def _typical(calls: Mapping[CallKind, Estimate]) -> Estimate | None:
    known = sorted(calls.values(), key=lambda e: e.value_ns)
    return known[len(known) // 2] if known else None


NO_COST = CostModel(
    mode="ranges", costs=ModeCosts(calls={}), scale=Scale(0.0, 0.0), takes_pauses=False
)


def read_costs(mapping: Mapping[str, Any], mode: ProfileMode = "ranges") -> CostModel:
    """The cost model of one profile mode from `Manifest.calibration`.

    Raises:
        TraceError: not a calibration, of another version, or without this mode.
    """
    calibration = read_calibration(mapping)
    if mode not in calibration.modes:
        raise TraceError(
            f"the calibration has no costs for profile {mode}",
            why=f"it has {', '.join(calibration.modes) or 'none'}",
            remedy="run trace-timing doctor --calibrate again",
        )
    costs = calibration.modes[mode]
    known = costs.in_context
    return CostModel(
        mode=mode,
        costs=costs,
        scale=_transferred(known) if known else Scale(),
        environment=dict(calibration.environment),
    )


def _transferred(factor: Factor) -> Scale:
    return Scale(factor.value, float(np.hypot(factor.se, TRANSFER_SE * factor.value)))


def read_calibration(mapping: Mapping[str, Any]) -> Calibration:
    """A calibration from its JSON form.

    Raises:
        TraceError: a field missing or of another type, or another version.
    """
    again = "run trace-timing doctor --calibrate with this version"
    try:
        calibration = msgspec.convert(mapping, Calibration)
    except msgspec.ValidationError as error:
        raise TraceError(
            "the stored calibration cannot be read", why=str(error), remedy=again
        ) from error
    if calibration.version != CALIBRATION_VERSION:
        raise TraceError(
            f"the calibration is of version {calibration.version}, this reads "
            f"{CALIBRATION_VERSION}",
            remedy=again,
        )
    return calibration


@dataclass(frozen=True, kw_only=True)
class Pair:
    """A profiled run and its control: what profiling added, and what the model says it adds."""

    profiled_ns: int
    control_ns: int
    #: What the factor multiplies: corrected with the factor at 0 less corrected with it at 1.
    predicted_ns: int
    #: What it does not: profiled less corrected with the factor at 0 (pauses, costs on the device).
    fixed_ns: int = 0


def fit_scale(pairs: Sequence[Pair], *, prior: Scale | None = None) -> Scale:
    """The factor over the costs, from pairs: robust regression through the origin.

    Huber's M-estimate of added ÷ predicted, weighted by what is predicted; joined with the
    calibration's own word (`prior`) by inverse variance, so that few or noisy pairs move it
    little. Pairs for which nothing is predicted say nothing and are left out.

    Returns:
        The prior itself where no pair speaks.
    """
    prior = prior or Scale()
    predicted = np.array([p.predicted_ns for p in pairs], np.float64)
    added = np.array([p.profiled_ns - p.control_ns - p.fixed_ns for p in pairs], np.float64)
    speaks = predicted > 0
    if not speaks.any():
        return prior
    value, se = _huber_ratio(added[speaks], predicted[speaks])
    count = int(speaks.sum())
    if count > 1:
        se *= _t95(count - 1) / Z95
    if count < 3:
        # Two pairs show no spread that could be believed: theirs is at best the machine's noise.
        se = max(se, 1.0)
    weight, prior_weight = 1 / se**2, 1 / prior.se**2
    total = weight + prior_weight
    return Scale((value * weight + prior.value * prior_weight) / total, total**-0.5, count)


def _t95(freedom: int) -> float:
    """Student's quantile: few pairs know their own spread badly."""
    from scipy.special import stdtrit

    return float(stdtrit(freedom, 0.975))


def _huber_ratio(added: FloatArray, predicted: FloatArray) -> tuple[float, float]:
    """Slope of added on predicted, and its standard error; at least one entry."""
    values, errors = _huber(predicted[:, None], added)
    return float(values[0]), max(float(errors[0]), 1e-3)


def _huber(design: FloatArray, wanted: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Huber's M-estimate of a linear model by reweighted least squares, and its standard errors.

    The errors are the sandwich's, which hold where the residuals are not of one size.

    Args:
        design: n rows of p predictors. wanted: n values.
    """
    weight = np.ones(len(wanted))
    values: FloatArray = np.zeros(design.shape[1])
    for _ in range(50):
        root = np.sqrt(weight)
        new, *_ = np.linalg.lstsq(design * root[:, None], wanted * root, rcond=None)
        residual = np.abs(wanted - design @ new)
        spread = max(_MAD * float(np.median(residual)), 1e-12)
        weight = np.minimum(1.0, HUBER * spread / np.maximum(residual, 1e-12))
        done = np.allclose(new, values, rtol=1e-9, atol=0)
        values = np.asarray(new, np.float64)
        if done:
            break
    pull = design * (weight * (wanted - design @ values))[:, None]
    bread = np.linalg.pinv(design.T @ (design * weight[:, None]))
    few = len(wanted) / max(len(wanted) - len(values), 1)
    return values, np.sqrt(np.diag(bread @ (pull.T @ pull) @ bread) * few)


@dataclass(frozen=True, kw_only=True)
class Effect:
    """What a profile mode added to a stretch of a known number of recorded things."""

    added_ns: float
    calls: float
    cpu_ops: float = 0.0
    #: Relative size of its error: stretches of different length are weighed by their own size.
    unprofiled_ns: float


def costs_of_effects(effects: Sequence[Effect], mode: ProfileMode = "full") -> CostModel:
    """Cost per API call and per CPU op without a ladder: robust regression over whole models.

    Each stretch is weighed by its unprofiled length (its noise is near to proportional to it).
    Such costs are an average over what these models do and no more.

    Raises:
        TraceError: fewer stretches than costs.
    """
    ops = any(e.cpu_ops for e in effects)
    counts = np.array([[e.calls, e.cpu_ops][: 1 + ops] for e in effects], np.float64)
    if len(effects) < counts.shape[1] + 1:
        raise TraceError(
            f"{len(effects)} stretches cannot tell {counts.shape[1]} costs apart",
            remedy="add models, or run trace-timing doctor --calibrate",
        )
    size = np.array([e.unprofiled_ns for e in effects])
    design, wanted = counts / size[:, None], np.array([e.added_ns for e in effects]) / size
    values, errors = _huber(design, wanted)
    found = [Estimate(float(v), float(e)) for v, e in zip(values, errors, strict=True)]
    costs = ModeCosts(calls=dict.fromkeys(CALL_KINDS, found[0]), cpu_op=found[1] if ops else None)
    return CostModel(mode=mode, costs=costs, scale=Scale(1.0, 0.0))
