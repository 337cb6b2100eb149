"""Sessions that get slow or leak are told, sound ones are not."""

from __future__ import annotations

from trace_timing.recording.profiling.session_health import SETTLED_AFTER, SessionHealth

MIB = 1 << 20


def watched(starts_ns: list[int], rss: list[int]) -> list[str]:
    health = SessionHealth()
    for start, held in zip(starts_ns, rss, strict=True):
        health.saw(start, held)
    return [finding.code for finding in health.findings()]


def test_a_slow_first_start_is_usual() -> None:
    assert watched([2_000_000_000, *[1_000_000] * 60], [100 * MIB] * 61) == []


def test_a_restart_of_seconds_is_found() -> None:
    assert watched([80_000_000, 81_000_000, 80_000_000, 1_800_000_000], [0] * 4) == [
        "slow_session_start"
    ]


def test_starts_that_are_all_slow_are_found() -> None:
    assert watched([80_000_000, 900_000_000, 900_000_000], [0] * 3) == ["slow_session_start"]


def test_growth_after_settling_is_found() -> None:
    sessions = 3 * SETTLED_AFTER
    leaking = [100 * MIB + i * 2 * MIB for i in range(sessions)]
    assert watched([1_000_000] * sessions, leaking) == ["memory_growth"]


def test_growth_while_settling_is_not() -> None:
    rss = [i * 50 * MIB for i in range(SETTLED_AFTER)] + [SETTLED_AFTER * 50 * MIB] * 80
    assert watched([1_000_000] * len(rss), rss) == []
