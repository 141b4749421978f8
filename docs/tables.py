"""Write the pages of docs/ that are made from the code: ``make docs``. A test holds them to it."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Mapping
from pathlib import Path

import click
from textual.keys import key_to_character

from foundations_tui.cli.main import cli
from foundations_tui.cli.registry import VERBS_BY_HEADING
from foundations_tui.config.schema import FILES, json_schema
from foundations_tui.services.request import SERVICE_OPTIONS
from foundations_tui.services.schedules.request import SCHEDULE_OPTIONS
from foundations_tui.sweeps.submission import ALL_OPTIONS
from foundations_tui.text.options import Kind, Option
from foundations_tui.ui.app import FoundationsApp
from foundations_tui.ui.input.keymap import catalog

assert FoundationsApp  # the keys are those of what was imported

FOLDER = Path(__file__).parent


def options_page() -> str:
    """Return docs/options.md: every option that says what is submitted."""
    lines = [
        "# Options of submit",
        "",
        "Made by `make docs` from the table that the command line, the form of the app and `show` share:",
        "`foundations_tui/submit/request.py`. Options with `...` can be repeated. `foundations submit --help`",
        "also lists `--wait`, `--follow`, `--dry-run` and `--json`.",
        "",
        "| option | takes | |",
        "|---|---|---|",
        *_rows(ALL_OPTIONS),
    ]
    return "\n".join(lines) + "\n"


def serve_options_page() -> str:
    """Return docs/serve-options.md: the options that a service has beside those of a job."""
    lines = [
        "# Options of serve",
        "",
        "Made by `make docs` from `foundations_tui/services/request.py`. `foundations serve` takes these, and those of",
        "[submit](options.md) that say what runs and where, but for names, dependencies, retries and outputs. In",
        "foundations.toml, `[services.NAME]` holds them, with `_` for `-` and the command as a list of words.",
        "",
        "| option | takes | |",
        "|---|---|---|",
        *_rows(SERVICE_OPTIONS),
    ]
    return "\n".join(lines) + "\n"


def schedule_options_page() -> str:
    """Return docs/schedule-options.md: the options that a schedule has beside those of a job."""
    lines = [
        "# Options of schedule add",
        "",
        "Made by `make docs` from `foundations_tui/services/schedules/request.py`. `foundations schedule add` takes",
        "these, and those of [submit](options.md) but for names, dependencies and `--exact`.",
        "",
        "| option | takes | |",
        "|---|---|---|",
        *_rows(SCHEDULE_OPTIONS),
    ]
    return "\n".join(lines) + "\n"


_PLACES = {
    "app": "Anywhere",
    "main": "The main screen",
    "table": "Every table",
    "jobs": "Page 1, jobs",
    "metrics": "Page 2, metrics",
    "log": "Page 3, log",
    "compare": "Page 5, compare",
    "queue": "Page 6, queue",
    "race": "Page 7, race",
    "detail": "A job that is opened",
    "launch": "The form of a job",
    "palette": "The palette",
    "menu": "Menus",
    "difference": "Differences",
    "output": "Output of a verb",
}
"""Where keys mean something, by the first part of their names."""


def keys_page() -> str:
    """Return docs/keys.md: every key of the app, by the name that app.toml gives it another key with."""
    lines = [
        "# Keys of the app",
        "",
        "Made by `make docs` from the code. A key gets others in app.toml, by its name: `[keys]` with",
        '`"main.hosts" = "H"`. `foundations ui --keys` prints this table; `?` in the app explains each page.',
    ]
    bindings = catalog()
    for place, title in _PLACES.items():
        lines += ["", f"## {title}", "", "| key | does | name |", "|---|---|---|"]
        for name, binding in bindings.items():
            if name.partition(".")[0] == place:
                keys = " ".join(f"`{_escaped(_key(key))}`" for key in binding.key.split(","))
                lines.append(f"| {keys} | {_escaped(binding.tooltip or binding.description)} | {name} |")
    return "\n".join(lines) + "\n"


def _key(key: str) -> str:
    """Return a key as it is typed."""
    *modifiers, name = key.split("+")
    typed = {"slash": "/", "space": "space"}.get(name) or key_to_character(name) or name
    return "+".join([*modifiers, typed if typed.isprintable() else name])


def verbs_page() -> str:
    """Return docs/cli.md: every verb of the command line with its help."""
    lines = ["# The command line", "", "Made by `make docs` from the code: what `foundations VERB --help` prints."]
    for heading, verbs in VERBS_BY_HEADING.items():
        lines += ["", f"## {heading}"]
        for name in verbs:
            command = cli.get_command(click.Context(cli), name)
            assert command is not None
            lines += ["", f"### {name}", "", "```", _help(command, name), "```"]
            for below, one in sorted(getattr(command, "commands", {}).items()):
                lines += ["", f"#### {name} {below}", "", "```", _help(one, f"{name} {below}"), "```"]
    return "\n".join(lines) + "\n"


def _help(command: click.Command, name: str) -> str:
    context = click.Context(command, info_name=f"foundations {name}", max_content_width=100, terminal_width=100)
    text = command.get_help(context)
    # Versions of click differ in what they put into brackets.
    text = re.sub(r"\[\[([^\]\n]*)\]\]", r"[\1]", text.replace("[COMMAND] [ARGS]", "COMMAND [ARGS]"))
    return "\n".join(line.rstrip() for line in text.splitlines())


def _rows(options: Mapping[str, Option]) -> list[str]:
    return [f"| `{_usage(one)}` | {one.kind.value} | {_escaped(one.help)} |" for one in options.values()]


def _usage(option: Option) -> str:
    if option.kind is Kind.FLAG:
        return option.flag
    what = option.metavar or ("N" if option.kind is Kind.NUMBER else option.kind.name)
    return f"{option.flag} {what}" + (" ..." if option.repeats else "")


def _escaped(text: str) -> str:
    return text.replace("|", "\\|")


PAGES: dict[str, Callable[[], str]] = {
    "options.md": options_page,
    "serve-options.md": serve_options_page,
    "schedule-options.md": schedule_options_page,
    "keys.md": keys_page,
    "cli.md": verbs_page,
    **{f"schema/{name}.json": functools.partial(json_schema, name) for name in FILES},
}
"""What makes each page, by its name."""

if __name__ == "__main__":
    (FOLDER / "schema").mkdir(exist_ok=True)
    for name, page in PAGES.items():
        (FOLDER / name).write_text(page(), encoding="utf-8")
