"""What counts as a mutant, and that a seed draws the same ones again."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("cosmic_ray")
pytest.importorskip("coverage")

from tests.mutation.mutants import draw, mutated, places
from tests.mutation.selection import Selection

CODE = '''"""Two and three."""

BOUND: int | None = 5


def worse(a: int | None, b: int = 2) -> int | None:
    """The sum."""
    text = f"{b * 7} of {a}"
    return warning(text, remedy="x" * 3, count=b + 1)
'''


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    Path("made.py").write_text(CODE)
    return Path("made.py")


def texts(module: Path, *, excluded: tuple[str, ...] = ("never",)) -> dict[str, int]:
    """What stands at each place, and how many mutants it has."""
    lines = CODE.splitlines()
    found = places([module], excluded, ["remedy"])
    return {
        f"{line}: {lines[line - 1][column:end]}": len(sites)
        for (_, (line, column), (_, end)), sites in found.items()
    }


def test_annotations_strings_and_wording_are_no_places(module: Path) -> None:
    # The number may go up or down; plus may become any of eleven operators.
    assert texts(module) == {"3: 5": 2, "6: 2": 2, "9: +": 11, "9: 1": 2}


def test_operators_can_be_left_out(module: Path) -> None:
    assert texts(module, excluded=("core/NumberReplacer",)) == {"9: +": 11}


def test_a_seed_draws_the_same_mutants_and_one_of_a_place(module: Path) -> None:
    found = places([module], ["never"], ["remedy"])
    first, again = (list(draw(found, 3, seed=1)) for _ in range(2))
    assert first == again
    assert len({(m.line, m.column) for m, _ in first}) == 3
    assert [m.name for m, _ in first] != [m.name for m, _ in draw(found, 3, seed=2)]
    assert len(list(draw(found, 100, seed=1))) == 4, "there are no more"


def test_a_mutant_is_of_the_function_that_holds_it_or_of_the_module(module: Path) -> None:
    found = places([module], ["never"], ["remedy"])
    lines = {m.line: (m.in_function, m.first_line, m.last_line) for m, _ in draw(found, 4, seed=1)}
    assert lines[9] == (True, 7, 9)
    assert lines[3][0] is False


def test_what_is_no_python_or_says_the_same_is_no_mutant(module: Path) -> None:
    assert mutated("made.py", "core/NumberReplacer", 0) == CODE.replace("= 5", "= 6")
    assert mutated("made.py", "core/NumberReplacer", 99) is None
    Path("made.py").write_text("def f(a, *, b): ...\n")
    assert mutated("made.py", "core/ReplaceBinaryOperator_Mul_Add", 0) is None


def test_near_and_quick_tests_come_first_and_the_rest_is_left_out(module: Path) -> None:
    (mutant, _) = next(
        (m, t) for m, t in draw(places([module], ["never"], []), 9, seed=1) if m.in_function
    )
    moved = type(mutant)(**{**vars(mutant), "module": "trace_timing/stats/made.py"})
    seconds = {"tests/stats/test_made.py::a": 3.0, "tests/stats/test_made.py::b": 1.0}
    seconds |= {"tests/api/test_x.py::c": 2.0, "tests/api/test_x.py::d": 50.0}
    covering = {moved.module: {8: frozenset(seconds), 99: frozenset(["tests/other.py::e"])}}
    chosen = Selection(covering=covering, seconds=seconds)
    assert chosen.stages(moved, budget=40) == [
        ["tests/stats/test_made.py::b", "tests/stats/test_made.py::a"],
        ["tests/api/test_x.py::c"],
    ]
