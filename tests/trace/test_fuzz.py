"""3,000 mutated traces: each is refused in words, or has the plain figures to the nanosecond."""

from __future__ import annotations

import os

import pytest

from benchmarks import fuzz
from tests.plain.figures import Row

CASES = 3000


@pytest.mark.slow
def test_no_mutation_gives_a_wrong_figure_or_ends_otherwise_than_in_words() -> None:
    verdicts = list(fuzz.run_all(0, CASES, min(os.cpu_count() or 1, 4)))
    print(fuzz.tally(verdicts))
    assert len(verdicts) == CASES
    assert [v for v in verdicts if v.ended in fuzz.WRONG] == []
    # Neither all refused nor all left as they were.
    for how in ("refused", "accepted: figures are the plain ones"):
        assert sum(v.ended == how for v in verdicts) > CASES / 10


def test_a_figure_that_differs_by_a_nanosecond_is_found() -> None:
    plain = {(0, "prefill"): Row(10, 5, 5, 1)}
    assert fuzz.same({(0, "prefill"): Row(10, 5, 5, 1), (0, "other"): Row()}, plain)
    for other in (Row(11, 5, 5, 1), Row(10, 4, 5, 1), Row(10, 5, 6, 1), Row(10, 5, 5, 2)):
        assert not fuzz.same({(0, "prefill"): other}, plain)
    assert not fuzz.same({}, plain)
