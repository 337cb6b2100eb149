"""--help of the subcommands: options in groups, each with its default, and examples."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from typing import Any

import click

from trace_timing.commands.printing import fitted

#: Title of the options in no group, such as --help.
_OTHERS = "Other options"
CONTEXT = {"show_default": True, "max_content_width": 100}


class Command(click.Command):
    """A subcommand whose --help has its options in groups.

    Args:
        groups: title → names of parameters, in the order of the page.
        examples: command lines, without `trace-timing` and the command's name.
    """

    def __init__(
        self,
        *arguments: Any,
        groups: Mapping[str, Sequence[str]],
        examples: Sequence[str],
        **settings: Any,
    ) -> None:
        settings["context_settings"] = {**CONTEXT, **settings.get("context_settings", {})}
        super().__init__(*arguments, **settings)
        self.groups = groups
        self.examples = examples

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """One section for each group."""
        options = (p for p in self.get_params(ctx) if isinstance(p, click.Option))
        records = {option.name: option.get_help_record(ctx) for option in options}
        for title, names in self.groups.items():
            self._write_section(formatter, title, [records.pop(name) for name in names])
        self._write_section(formatter, _OTHERS, list(records.values()))

    @staticmethod
    def _write_section(
        formatter: click.HelpFormatter, title: str, records: Sequence[tuple[str, str] | None]
    ) -> None:
        shown = [record for record in records if record is not None]
        if shown:
            with formatter.section(title):
                formatter.write_dl(shown)

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Examples, one a line, never wrapped: they are copied from here."""
        write_examples(formatter, [f"{self.name} {example}" for example in self.examples])

    def get_help(self, ctx: click.Context) -> str:
        """The page, in ASCII if stdout takes nothing else; click would write UTF-8."""
        return fit_page(super().get_help(ctx))


def write_examples(formatter: click.HelpFormatter, examples: Sequence[str]) -> None:
    """Write each command line on a line of its own."""
    with formatter.section("Examples"):
        for example in examples:
            formatter.write(f"  trace-timing {example}".rstrip() + "\n")


def fit_page(page: str) -> str:
    """A help page in characters that stdout can encode."""
    return fitted(page, sys.stdout.encoding or "utf-8", lines=True)
