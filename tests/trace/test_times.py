"""Times of every magnitude are read to the nanosecond, by either decoder, or refused by name."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.trace.kineto_files import CALL, KERNEL, RANGE, write
from trace_timing.errors import TraceError
from trace_timing.trace.events import NONE
from trace_timing.trace.kineto import inflating, reader
from trace_timing.trace.kineto.decoding import EXACT_US, ns_from_us, whole
from trace_timing.trace.kineto.reader import read_trace

LIMIT_NS = 2**63
#: A token that JSON does not know sends the whole piece through the loose decoder.
SLOWLY = {"args": {"correlation": 7, "GB/s": float("nan")}}


def us_text(ns: int, *, shortest: bool = False) -> str:
    """Microseconds in digits: three decimals as Kineto writes them, or no more than needed."""
    us, rest = divmod(abs(ns), 1000)
    digits = f"{us}.{rest:03d}"
    return ("-" if ns < 0 else "") + (digits.rstrip("0").rstrip(".") if shortest else digits)


def document(times: list[tuple[int, int]], *, shortest: bool, slowly: bool) -> str:
    """JSON of a call for each (start, duration) in ns."""
    events: list[dict[str, Any]] = []
    for start, dur in times:
        written = {"ts": f"<{us_text(start, shortest=shortest)}>"}
        written["dur"] = f"<{us_text(dur, shortest=shortest)}>"
        events.append({**CALL, **written, **(SLOWLY if slowly else {})})
    return json.dumps(events).replace('"<', "").replace('>"', "")


def magnitudes(bits: int) -> st.SearchStrategy[int]:
    """Nanoseconds of every magnitude alike, up to so many bits; many end in zeros."""
    any_magnitude = st.integers(0, bits).flatmap(lambda b: st.integers(2**b // 2, 2**b - 1))
    return st.tuples(any_magnitude, st.sampled_from([1, 1, 10, 100, 1000])).map(
        lambda drawn: drawn[0] // drawn[1] * drawn[1]
    )


@settings(max_examples=300)
@given(
    times=st.lists(
        st.tuples(magnitudes(63), magnitudes(63)).filter(lambda t: sum(t) < LIMIT_NS // 8),
        min_size=1,
        max_size=8,
    ),
    shortest=st.booleans(),
    slowly=st.booleans(),
)
@example(times=[(4_400_000_000_000_001, 4_400_000_000_000_003)], shortest=False, slowly=False)
@example(times=[(2**43 * 1000 - 1, 2**43 * 1000 + 1)], shortest=False, slowly=False)
@example(times=[(2**52 - 1, 2**52 + 1)], shortest=False, slowly=False)
def test_begins_and_durations_of_every_magnitude_are_exact(
    tmp_path_factory: pytest.TempPathFactory,
    times: list[tuple[int, int]],
    shortest: bool,
    slowly: bool,
) -> None:
    text = document(times, shortest=shortest, slowly=slowly)
    events = read_trace(write(tmp_path_factory.mktemp("times") / "t.json", text)).events
    assert list(zip(events.start_ns.tolist(), events.dur_ns.tolist(), strict=True)) == times


@given(start=magnitudes(63), slowly=st.booleans(), shortest=st.booleans())
def test_a_begin_up_to_63_bits_is_exact(
    tmp_path_factory: pytest.TempPathFactory, start: int, slowly: bool, shortest: bool
) -> None:
    start = min(start, LIMIT_NS - 2**33)
    text = document([(start, 0)], shortest=shortest, slowly=slowly)
    events = read_trace(write(tmp_path_factory.mktemp("times") / "t.json", text)).events
    assert events.start_ns.tolist() == [start]


@given(ns=st.integers(-(2**43) * 1000 + 1, 2**43 * 1000 - 1))
def test_a_float64_below_2_43_us_holds_every_nanosecond(ns: int) -> None:
    assert ns_from_us(np.array([float(us_text(ns))])).tolist() == [ns]


def test_every_nanosecond_around_2_42_us_and_2_52_ns_is_exact() -> None:
    around = [2**42 * 1000, 2**52, int(EXACT_US) * 1000 - 3000]
    expected = np.concatenate([np.arange(at - 2000, at + 2000) for at in around])
    written = np.array([float(us_text(int(ns))) for ns in expected])
    assert np.array_equal(ns_from_us(written), expected)


def test_ranges_that_touch_do_not_cross_at_any_uptime(tmp_path: Path) -> None:
    # 51 to 104 days after the scale's origin; Kineto moves it every three months.
    begins = [4_398_046_511_104_001 + 37 * n for n in range(200)]
    times = [(begin, 37) for begin in begins]
    events = read_trace(
        write(tmp_path / "t.json", document(times, shortest=False, slowly=False))
    ).events
    assert (events.start_ns[1:] == events.end_ns[:-1]).all()


@pytest.mark.parametrize(
    ("field", "text"),
    [
        ("ts", "9223372036854775.808"),
        ("ts", "-9223372036854775.808"),
        ("ts", "9223372036854776"),
        ("ts", "1e400"),
        ("ts", '"1e999999999"'),
        ("dur", "9223372036854775.808"),
        ("dur", "1e17"),
        ("dur", "99999999999999999999.999"),
    ],
)
def test_a_time_beyond_63_bits_is_refused_by_name(tmp_path: Path, field: str, text: str) -> None:
    event = json.dumps([CALL, {**KERNEL, field: 0.125}]).replace("0.125", text)
    with pytest.raises(TraceError) as caught:
        read_trace(write(tmp_path / "t.json", event))
    assert "1 events without usable times" in caught.value.what
    assert f"kernel event 'gemm' has {field} = {text}" in caught.value.why


def test_an_end_beyond_63_bits_is_refused_by_name(tmp_path: Path) -> None:
    since_1970 = {**KERNEL, "ts": 1790000000000000, "dur": 7458000000000000}
    with pytest.raises(TraceError) as caught:
        read_trace(write(tmp_path / "t.json", [CALL, since_1970]))
    assert "has ts + dur = 1790000000000000 + 7458000000000000" in caught.value.why


@pytest.mark.parametrize(
    "times",
    [
        [(0, 2**62), (5, 2**62 + 1)],  # durations sum to 64 bits
        [(-(2**62), 10), (2**62, 10)],  # from the first to the last is 64 bits
    ],
)
def test_times_whose_sums_would_overflow_are_refused(
    tmp_path: Path, times: list[tuple[int, int]]
) -> None:
    with pytest.raises(TraceError, match="do not fit 63 bits") as caught:
        read_trace(write(tmp_path / "t.json", document(times, shortest=False, slowly=False)))
    assert "cudaLaunchKernel" in caught.value.why
    assert caught.value.remedy


def test_an_end_that_does_not_fit_since_1970_is_refused(tmp_path: Path) -> None:
    event = {**KERNEL, "ts": 5000079.0, "dur": 7447680000000000.0}
    written = {"baseTimeNanoseconds": 1790000000000000000, "traceEvents": [CALL, event]}
    with pytest.raises(TraceError, match="do not fit 63 bits") as caught:
        read_trace(write(tmp_path / "t.json", written))
    assert "kernel 'gemm' begins at 5 s and takes 7447680000 s" in caught.value.why


@pytest.mark.parametrize("slowly", [False, True])
def test_small_pieces_of_mixed_magnitude_read_alike(tmp_path: Path, slowly: bool) -> None:
    times = [(2**42 * 1000 + 7 * n if n % 2 else n, 3 * n) for n in range(300)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(reader, "PIECE_BYTES", 1000)
        patch.setattr(inflating, "BLOCK_BYTES", 1000)
        text = document(times, shortest=False, slowly=slowly)
        events = read_trace(write(tmp_path / "t.json", text)).events
    assert list(zip(events.start_ns.tolist(), events.dur_ns.tolist(), strict=True)) == times


def test_times_since_1970_reach_to_the_last_nanosecond_that_sums_can_hold(tmp_path: Path) -> None:
    """99 to 119 µs after a base time; sums are rounded by less than 2³² ns."""
    last = 2**63 - 2**32 - 1 - 119_000
    for base, good in ((last, True), (last + 1, False)):
        document = {"baseTimeNanoseconds": base, "traceEvents": [RANGE]}
        path = write(tmp_path / "trace.json", document)
        if good:
            assert read_trace(path).info.base_time_ns == base
        else:
            with pytest.raises(TraceError, match="do not fit 63 bits"):
                read_trace(path)


@pytest.mark.parametrize(
    ("value", "read_as"),
    [
        (-(2**63), -(2**63)),
        (-(2**63) - 1, NONE),
        (2**63 - 1, 2**63 - 1),
        (2**63, -(2**63)),
        (2**64, NONE),
        ("0x7f", 127),
        ("seven", NONE),
        (None, NONE),
    ],
)
def test_an_integer_is_read_as_64_bits_or_not_at_all(value: Any, read_as: int) -> None:
    assert whole(value) == read_as
