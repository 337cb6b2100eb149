"""The mutants of the configured modules, and a seeded sample of them.

Cosmic Ray names the mutants. Some places have dozens (`+` becomes any of eleven operators), so the
sample draws places, each as likely as any other, and then one mutant of each.
"""

from __future__ import annotations

import ast
import random
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from cosmic_ray.ast import ast_nodes, get_ast_from_path
from cosmic_ray.modules import filter_paths, find_modules
from cosmic_ray.mutating import mutate_code
from cosmic_ray.plugins import get_operator, operator_names
from parso.tree import Leaf, NodeOrLeaf

#: Module, and where the text that changes begins and ends (line, column).
Place = tuple[str, tuple[int, int], tuple[int, int]]
#: Operator, and which of the places where it applies in the module, as Cosmic Ray counts them.
Site = tuple[str, int]


@dataclass(frozen=True, kw_only=True)
class Mutant:
    """One small change of one module."""

    module: str
    line: int
    column: int
    operator: str
    #: Which of the places where the operator applies in this module; Cosmic Ray's count.
    occurrence: int
    #: Lines of the function that holds the place; of the module where it is in none.
    first_line: int
    last_line: int
    in_function: bool

    @property
    def name(self) -> str:
        """A name that stays the same while the module does."""
        return f"{self.module}:{self.line}:{self.column} {self.operator} {self.occurrence}"


def module_paths(config: Mapping[str, Sequence[str]]) -> list[Path]:
    """The modules that the configuration names, sorted."""
    found = find_modules([Path(p) for p in config["module-path"]])
    return sorted(filter_paths(found, config["excluded-modules"]))


def places(
    modules: Sequence[Path], excluded: Sequence[str], wording: Sequence[str]
) -> dict[Place, list[Site]]:
    """All mutants by place, without those of annotations, strings and wording."""
    barred = re.compile("|".join(excluded))
    names = [name for name in operator_names() if not barred.match(name)]
    operators = [(name, get_operator(name)) for name in names if not get_operator(name).arguments()]
    found: dict[Place, list[Site]] = defaultdict(list)
    for module in modules:
        nodes = list(ast_nodes(get_ast_from_path(module)))
        for name, operator in operators:
            spots = ((n, *spot) for n in nodes for spot in operator().mutation_positions(n))
            for occurrence, (node, begin, end) in enumerate(spots):
                if not _is_left_out(node, begin, wording):
                    found[str(module), begin, end].append((name, occurrence))
    return dict(sorted(found.items()))


def draw(
    found: Mapping[Place, Sequence[Site]], count: int, seed: int
) -> Iterator[tuple[Mutant, str]]:
    """A seeded sample: the mutant and the text of its module."""
    chance = random.Random(seed)
    order = list(found)
    chance.shuffle(order)
    drawn = 0
    for place in order:
        if drawn == count:
            return
        operator, occurrence = chance.choice(sorted(found[place]))
        text = mutated(place[0], operator, occurrence)
        if text is not None:
            drawn += 1
            yield _mutant(place, operator, occurrence), text


def mutated(module: str, operator: str, occurrence: int) -> str | None:
    """The module's text with one mutation; None where it is no Python or says the same."""
    before = Path(module).read_text()
    after = mutate_code(before, get_operator(operator)(), occurrence)
    if after is None:
        return None
    try:
        return after if ast.dump(ast.parse(after)) != ast.dump(ast.parse(before)) else None
    except SyntaxError:
        return None


def _mutant(place: Place, operator: str, occurrence: int) -> Mutant:
    module, (line, column), _ = place
    tree = ast.parse(Path(module).read_text())
    # A decorator is run when the function is made, and is not one of its lines.
    around = [
        node
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef) and node.lineno < line <= (node.end_lineno or 0)
    ]
    inner = max(around, key=lambda node: node.lineno, default=None)
    return Mutant(
        module=module,
        line=line,
        column=column,
        operator=operator,
        occurrence=occurrence,
        first_line=1 if inner is None else inner.body[0].lineno,
        last_line=10**9 if inner is None else inner.end_lineno or 0,
        in_function=inner is not None,
    )


def _is_left_out(node: NodeOrLeaf, begin: tuple[int, int], wording: Sequence[str]) -> bool:
    """Whether a place is in a string, an annotation (never run here) or a message's wording."""
    node = node if isinstance(node, Leaf) else node.get_leaf_for_position(begin)
    while node.parent is not None:
        parent = node.parent
        if node.type == "fstring" or (parent.type == "annassign" and node is parent.children[1]):
            return True
        if parent.type == "tfpdef" and node is parent.children[-1]:
            return True
        if parent.type == "funcdef" and node is parent.annotation:
            return True
        if parent.type == "argument" and parent.children[0].get_code().strip() in wording:
            return True
        node = parent
    return False
