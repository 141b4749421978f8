"""The entry point, and where errors become messages and exit codes."""

from __future__ import annotations

import contextlib
import importlib
import os
import signal
import sys
from typing import Any

import click

from foundations_tui import __version__
from foundations_tui.cli.interrupts import hear_everywhere
from foundations_tui.cli.registry import VERBS, VERBS_BY_HEADING
from foundations_tui.cli.stderr import leave, tell, work_on_unheard
from foundations_tui.errors import FoundationsError, UsageError, as_ours

_FUNCTIONS = {"clear-queue": "clear_queue", "exec": "exec_", "import": "import_"}
"""Verbs whose function cannot be called like them."""
_MEANT = {
    "run": "submit",
    "cancel": "stop",
    "kill": "stop",
    "list": "jobs",
    "ps": "jobs",
    "rm": "delete",
    "tail": "logs",
    "ssh": "shell",
    "nvidia-smi": "gpus",
    "gc": "prune",
}
"""What other tools call our verbs."""


class LazyGroup(click.Group):
    """A group that imports a verb's module only when the verb is used."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(VERBS)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        if name not in VERBS:
            return None
        module = importlib.import_module(f"foundations_tui.cli.commands.{VERBS[name][0]}")
        command: click.Command = getattr(module, _FUNCTIONS.get(name, name))
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args[0] not in VERBS:
            import difflib

            near = [_MEANT[args[0]]] if args[0] in _MEANT else difflib.get_close_matches(args[0], VERBS, 1)
            ctx.fail(f"there is no verb {args[0]!r}" + (f"; did you mean {near[0]!r}?" if near else ""))
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        widest = max(map(len, VERBS))
        for heading, verbs in VERBS_BY_HEADING.items():
            with formatter.section(heading):
                formatter.write_dl([(name.ljust(widest), words) for name, (_, words) in verbs.items()])


@click.group(
    cls=LazyGroup,
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="A job is named by its id (6 characters are enough), its name, @last or @last-failed.",
)
@click.version_option(__version__, message="foundations %(version)s")
@click.option("--debug", is_flag=True, help="Show tracebacks, and the log as it is written (anywhere before '--').")
@click.pass_context
def cli(ctx: click.Context, debug: bool) -> None:
    """Run machine-learning jobs on your own GPU hosts over SSH, track them, and fetch what they made.

    \b
      foundations demo                                      see it work, on this machine
      foundations hosts add gpu1 user@gpu1.example.org      your first host
      foundations submit --host gpu1 -- python train.py     run the working tree there
      foundations                                           watch it
    """
    if ctx.invoked_subcommand is None:
        from foundations_tui.cli.commands.ui import open_app

        open_app()


def main() -> None:
    """Run the command line and exit."""
    sys.stdout = sys.stdout or open(os.devnull, "w")  # noqa: SIM115  closed by the caller (>&-)
    sys.stderr = sys.stderr or open(os.devnull, "w")  # noqa: SIM115
    work_on_unheard()
    hear_everywhere()
    arguments, debug = _take_debug(sys.argv[1:])
    code = (_start_log() if debug else 0) or run(arguments, debug)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # what is left is the interpreter's own way out
    sys.exit(code)


def _start_log() -> int:
    """Start the log that ``--debug`` shows; return an exit code when its folder is out of reach."""
    from foundations_tui.config import client_log

    try:
        client_log.start(debug=True)
    except (FoundationsError, OSError) as error:
        return _told(error)
    return 0


def run(arguments: list[str], debug: bool = False) -> int:
    """Run the command line and return the exit code; no exception leaves, unless ``debug``."""
    try:
        code = _invoke(arguments)
        sys.stdout.flush()
        return code
    except click.ClickException as error:
        tell(_ours(error))
        return error.exit_code
    except (KeyboardInterrupt, click.Abort):
        click.echo("interrupted", err=True)
        return 130
    except BrokenPipeError:
        # The reader has gone (a pipe into head): print nothing more, not even at exit.
        leave(1)
        return 0
    except Exception as error:
        if debug:
            raise
        return _told(error)


def _invoke(arguments: list[str]) -> int:
    """Do what the words say: as ``click.Group.main`` does, but its own handling of a reader that has gone."""
    if "_FOUNDATIONS_COMPLETE" in os.environ:
        cli.main(args=arguments, prog_name="foundations")
    try:
        with cli.make_context("foundations", list(arguments)) as context:
            code = cli.invoke(context)
    except click.exceptions.Exit as end:
        return end.exit_code
    return code if isinstance(code, int) else 0


def _ours(error: click.ClickException) -> UsageError:
    """Return what click has to say of the words of the command line, as one of our errors."""
    context = error.ctx if isinstance(error, click.UsageError) else None
    words = error.format_message()
    return UsageError(words[:1].lower() + words[1:], f"{context.command_path} --help" if context is not None else "")


def _told(error: Exception) -> int:
    """Say what went wrong, and return the exit code."""
    if isinstance(error, UnicodeEncodeError):
        ours: FoundationsError = UsageError("a word of the command line is not valid UTF-8")
    elif isinstance(error, FileNotFoundError) and not _has_folder():
        ours = UsageError("the current folder is not there any more", "cd to another one")
    else:
        ours = as_ours(error)
    if not isinstance(ours, UsageError):
        _log(ours, error)
    tell(ours)
    if isinstance(error, OSError) and error.filename is None:
        leave(1)  # stdout itself may be what failed: not once more at exit
    return ours.exit_code


def _log(ours: FoundationsError, error: Exception) -> None:
    import logging

    from foundations_tui.config import client_log

    with contextlib.suppress(FoundationsError, OSError):  # where even the data folder is out of reach
        client_log.start()
        trace = error if ours is not error else None
        logging.getLogger(__name__).error(
            "%s", ours, exc_info=trace, extra={"action": sys.argv[1] if sys.argv[1:] else ""}
        )


def _has_folder() -> bool:
    try:
        return bool(os.getcwd())
    except FileNotFoundError:
        return False


def _take_debug(arguments: list[str]) -> tuple[list[str], bool]:
    """Take ``--debug`` out of the words before ``--``, wherever it stands."""
    end = arguments.index("--") if "--" in arguments else len(arguments)
    ours: list[Any] = [word for word in arguments[:end] if word != "--debug"]
    return ours + arguments[end:], len(ours) < end or bool(os.environ.get("FOUNDATIONS_DEBUG"))
