"""`python -m tests.mutation.codes [CODE …]`: silence each warning code; a test must notice.

A code is silenced by another word in its place, in a copy of the repository; the test modules that
name it are run. Exit code 1 where any of them pass all the same.
"""

from __future__ import annotations

import ast
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from queue import Queue

from tests.mutation.mutants import Mutant
from tests.mutation.trial import Outcome, make_copy, run_mutant
from tests.paths import REPOSITORY

PROCESSES = 2
TIMEOUT_S = 400.0


def silenced(code: str, module: str) -> tuple[Mutant, str]:
    """The module with every text that is this code replaced."""
    path = REPOSITORY / "trace_timing" / module
    text = path.read_text()
    mutant = Mutant(
        module=str(path.relative_to(REPOSITORY)),
        line=text[: text.index(f'"{code}"')].count("\n") + 1,
        column=0,
        operator=f"silence {code}",
        occurrence=0,
        first_line=1,
        last_line=1,
        in_function=False,
    )
    return mutant, text.replace(f'"{code}"', f'"{code}_silenced"')


def tests_of(code: str) -> list[str]:
    """Test modules that name a code, by name."""
    return sorted(
        str(path.relative_to(REPOSITORY))
        for path in (REPOSITORY / "tests").rglob("test_*.py")
        if path.name != "test_codes.py" and code in set(_texts(path))
    )


def _texts(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value


def main() -> int:
    """0 where every silenced code is noticed."""
    # Not at the top: forked trials import this module, and the package is to be the mutant's.
    from tests.test_codes import all_codes

    wanted = sys.argv[1:]
    codes = {c: module for c, module in all_codes().items() if not wanted or c in wanted}
    with tempfile.TemporaryDirectory(prefix="codes-") as folder:
        copies: Queue[Path] = Queue()
        for number in range(PROCESSES):
            copies.put(make_copy(REPOSITORY, Path(folder, str(number))))

        def attempt(code: str) -> Outcome:
            copy = copies.get()
            try:
                mutant, text = silenced(code, codes[code])
                return run_mutant(copy, mutant, text, [[t] for t in tests_of(code)], TIMEOUT_S)
            finally:
                copies.put(copy)

        unnoticed = []
        with ThreadPoolExecutor(PROCESSES) as pool:
            for code, outcome in zip(codes, pool.map(attempt, codes), strict=True):
                print(f"{outcome.fate:9} {code}: {outcome.by or outcome.mutant.module}", flush=True)
                if outcome.fate == "survived":
                    unnoticed.append(code)
    print(f"{len(codes) - len(unnoticed)} of {len(codes)} codes are missed when they are silent")
    return 1 if unnoticed else 0


if __name__ == "__main__":
    sys.exit(main())
