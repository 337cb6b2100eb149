"""The command line: one file a subcommand, loaded only when it is called.

The only place that prints, exits or draws a progress bar. Each subcommand module has one
click command named `command`.
"""

from __future__ import annotations

import gc
import importlib
import os
import sys
import traceback
from typing import NoReturn

import click

from trace_timing.commands.help_page import fit_page, write_examples
from trace_timing.commands.printing import fit_streams, say
from trace_timing.errors import (
    EXIT_DEFECT,
    EXIT_USAGE,
    TraceTimingError,
    UsageError,
    did_you_mean,
)
from trace_timing.records.encoding import TOOL_VERSION

#: Subcommand → its one-line help: here, so that --help loads none of them.
SUBCOMMANDS = {
    "capture": "Record generate() calls of a model: trace, control and conditions of each.",
    "analyze": "Derive stage latencies from traces; write tables and an HTML report.",
    "compare": "Compare two captures: which stage changed, by how much, how sure.",
    "audit": "Audit existing labels that were made by wall-clock subtraction.",
    "view": "Open a trace in Perfetto or the Chrome trace viewer.",
    "doctor": "Check this machine (profiler, versions, rates), or the integrity of traces.",
}

#: What a shell reports of a program that SIGPIPE ended.
_PIPE_CLOSED = 128 + 13
EXAMPLES = (
    "doctor",
    "capture --model llava-hf/llava-1.5-7b-hf --inputs samples.jsonl -o traces/",
    "analyze traces/ -o report/",
    "COMMAND --help",
)


class LazyGroup(click.Group):
    """Lists subcommands without importing them."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Names in the order of the table above."""
        return list(SUBCOMMANDS)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        """Import and return the subcommand that is called."""
        if name not in SUBCOMMANDS:
            return None
        module = importlib.import_module(f"trace_timing.commands.{name}")
        command: click.Command = module.command
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """As in click, but an unknown command's error names similar ones."""
        if args and args[0] not in SUBCOMMANDS and not args[0].startswith("-"):
            raise UsageError(
                f"there is no command {args[0]}",
                why=f"the commands are {', '.join(SUBCOMMANDS)}",
                remedy=f"{did_you_mean(args[0], SUBCOMMANDS)}see trace-timing --help",
            )
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Help lines from the table, without importing a subcommand."""
        with formatter.section("Commands"):
            formatter.write_dl(list(SUBCOMMANDS.items()))

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Examples: from a model to its latencies."""
        write_examples(formatter, EXAMPLES)

    def get_help(self, ctx: click.Context) -> str:
        """The page, fitted to stdout as a subcommand's."""
        return fit_page(super().get_help(ctx))


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(TOOL_VERSION, prog_name="trace-timing")
@click.option("--debug", is_flag=True, help="Show the traceback of an error.")
@click.pass_context
def cli(ctx: click.Context, debug: bool) -> None:
    """Stage latencies of multimodal generate() calls, from the GPU kernel timeline."""
    ctx.ensure_object(dict)["debug"] = debug


#: Threshold of Python's garbage collector, in new objects: more than a small analysis makes. With
#: the default of 700 it would run some 400 times over imports and tables, which takes a tenth of
#: the time and frees nothing: what an analysis makes and drops holds no cycles.
_COLLECT_AT = 250_000


def main() -> NoReturn:
    """Run the command line, and end the process with its exit code."""
    # Not for a capture, whose garbage can hold device memory.
    reads_only = "capture" not in sys.argv
    if reads_only:
        gc.set_threshold(_COLLECT_AT)
    code = _run()
    if reads_only:
        # Skip the final search for cycles: the process ends anyway.
        gc.freeze()
    sys.exit(code)


def _run() -> int:
    """Run, turning expected failures into one message and an exit code."""
    fit_streams()
    debug = "--debug" in sys.argv
    try:
        code = cli(standalone_mode=False)
    except click.exceptions.Exit as request:
        return request.exit_code
    except BrokenPipeError:  # `trace-timing … | head`: nobody wants the rest
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return _PIPE_CLOSED
    except click.Abort:
        say("stopped", err=True)
        return 130
    except click.ClickException as error:
        show_error(_misused(error))
        return EXIT_USAGE
    except TraceTimingError as error:
        if debug:
            _say_lines(traceback.format_exc())
        show_error(error)
        return error.exit_code
    except Exception as error:
        if debug:
            _say_lines(traceback.format_exc())
        show_error(_unexpected(error))
        return EXIT_DEFECT
    return code if isinstance(code, int) else 0


def _misused(error: click.ClickException) -> UsageError:
    """click's error as one of ours."""
    context = getattr(error, "ctx", None)
    command = f"{context.info_name} " if context is not None and context.parent else ""
    what = error.format_message().rstrip(".")
    return UsageError(what[:1].lower() + what[1:], remedy=f"see trace-timing {command}--help")


def _say_lines(text: str) -> None:
    for line in text.splitlines():
        say(line, err=True)


def _unexpected(error: Exception) -> TraceTimingError:
    """The error shown for an internal error."""
    return TraceTimingError(
        "internal error in trace-timing",
        why=f"{type(error).__name__}: {error}",
        remedy="run the same with `trace-timing --debug …` and report what it shows",
    )


def show_error(error: TraceTimingError) -> None:
    """Print an error as at most three lines on stderr: what, why, what to do."""
    say(f"error: {error.what}", err=True)
    if error.why:
        say(f"  why: {error.why}", err=True)
    if error.remedy:
        say(f"  do:  {error.remedy}", err=True)
