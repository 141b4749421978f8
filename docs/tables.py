"""Write the pages of docs/ that are made from the code: ``make docs``. A test holds them to it."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from pathlib import Path

from foundations_tui.config.schema import FILES, json_schema
from foundations_tui.services.request import SERVICE_OPTIONS
from foundations_tui.services.schedules.request import SCHEDULE_OPTIONS
from foundations_tui.sweeps.submission import ALL_OPTIONS
from foundations_tui.text.options import Kind, Option

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
    **{f"schema/{name}.json": functools.partial(json_schema, name) for name in FILES},
}
"""What makes each page, by its name."""

if __name__ == "__main__":
    (FOLDER / "schema").mkdir(exist_ok=True)
    for name, page in PAGES.items():
        (FOLDER / name).write_text(page(), encoding="utf-8")
