"""The verb ui."""

from __future__ import annotations

import re
import sys

import click

from foundations_tui.cli.verbs import VERBS
from foundations_tui.errors import UsageError
from foundations_tui.ui.pages import PAGES

_SMALLEST, _LARGEST = (40, 10), (500, 300)


class _Size(click.ParamType[tuple[int, int]]):
    name = "size"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> tuple[int, int]:
        found = re.fullmatch(r"(\d{1,4})x(\d{1,4})", str(value))
        size = (int(found[1]), int(found[2])) if found else (0, 0)
        if not all(low <= n <= high for low, n, high in zip(_SMALLEST, size, _LARGEST, strict=True)):
            self.fail(
                f"{value} is no size of a terminal; COLUMNSxLINES, from 40x10 to 500x300, like 160x50", param, ctx
            )
        return size


@click.command()
@click.argument("page", required=False, default="", type=click.Choice(("", *PAGES)), metavar="[PAGE]")
@click.option("--once", is_flag=True, help="Print one frame as plain text, from the store alone, and end.")
@click.option("--size", default="120x40", type=_Size(), help="Of that frame: COLUMNSxLINES (default 120x40).")
@click.option("--theme", default="", help="A theme's name; :theme in the app lists them.")
@click.option("--ascii", "ascii_only", is_flag=True, help="Draw states and borders without special characters.")
@click.option("--no-mouse", is_flag=True, help="Leave the mouse to the terminal.")
def ui(page: str, once: bool, size: tuple[int, int], theme: str, ascii_only: bool, no_mouse: bool) -> None:
    """Open the terminal app on all jobs, live.

    \b
      foundations ui                          the pages: overview, jobs, metrics, log, hosts, compare, queue
      foundations ui hosts                    begin with one of them
      foundations ui --once jobs --size 100x30
    """
    if once:
        return _print_frame(page, size, ascii_only)
    open_app(page, theme, ascii_only, mouse=not no_mouse)


def open_app(page: str = "", theme: str = "", ascii_only: bool = False, mouse: bool = True) -> None:
    """Open the terminal app.

    Args:
        page: the page to begin with.
        theme: a theme's name.
        ascii_only: no glyph beyond ASCII.
        mouse: listen to it.
    Raises:
        UsageError: there is no terminal, or no such theme.
    """
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise UsageError(
            "the terminal app needs a terminal",
            "foundations jobs lists jobs; foundations ui --once prints one frame; foundations --help shows more",
        )
    from foundations_tui.session import Session
    from foundations_tui.ui.app import FoundationsApp  # Textual: 190 ms

    app = FoundationsApp(Session(), VERBS, page, theme, ascii_only)
    if theme and theme not in app.available_themes:
        raise UsageError(f"there is no theme {theme!r}", ", ".join(sorted(app.available_themes)))
    app.run(mouse=mouse)


def _print_frame(page: str, size: tuple[int, int], ascii_only: bool) -> None:
    """Print what the app would show, without a terminal and without asking the hosts."""
    import asyncio

    from foundations_tui.session import Session
    from foundations_tui.ui.app import FoundationsApp
    from foundations_tui.ui.frame import frame

    app = FoundationsApp(Session(), VERBS, page, ascii_only=ascii_only, follow=False)
    click.echo(asyncio.run(frame(app, size)))
