"""What is left of many items is of every kind that takes its turn among them."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise

import pytest

from trace_timing.stats.methods.thinning import thinned, thinned_places


def test_few_items_are_all_kept() -> None:
    assert thinned("abc", 3) == ["a", "b", "c"]
    assert thinned("abc", 10) == ["a", "b", "c"]
    assert thinned("", 10) == []


def test_many_are_cut_to_the_number_and_stay_in_order() -> None:
    places = thinned_places(2000, 200).tolist()
    assert len(places) == 200
    assert places == sorted(set(places))
    assert max(b - a for a, b in pairwise(places)) <= 2 * 2000 / 200


@pytest.mark.parametrize("period", [2, 3, 5, 7, 10, 11, 12, 27, 50])
def test_each_of_the_kinds_that_take_turns_is_there_as_often(period: int) -> None:
    kinds = Counter(thinned([i % period for i in range(2000)], 500))
    assert set(kinds) == set(range(period))
    assert all(0.8 <= number / (500 / period) <= 1.2 for number in kinds.values())
