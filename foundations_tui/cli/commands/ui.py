"""The verb ui."""

from __future__ import annotations

import dataclasses
import gc
import os
import re
import sys
import threading

import click

from foundations_tui.cli.registry import VERBS
from foundations_tui.config import app
from foundations_tui.config.app import Settings
from foundations_tui.errors import UsageError
from foundations_tui.ui.pages import PAGES

_SWITCH_SECONDS = 0.0005
"""For how long a thread of the app may keep another one waiting: SQLite gives way after each row."""
_START_SECONDS = 1.0
_PICTURES_A_SECOND = 120
"""At most: what a key does is drawn with the next one. Textual's own 60 keep it waiting for twice as long."""
_SMALLEST, _LARGEST = (40, 10), (500, 300)


class _Size(click.ParamType[tuple[int, int]]):
    name = "size"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> tuple[int, int]:
        match = re.fullmatch(r"(\d{1,4})x(\d{1,4})", str(value))
        size = (int(match[1]), int(match[2])) if match else (0, 0)
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
@click.option("--slow-link", is_flag=True, help="Draw what changes every three seconds only.")
@click.option("--keys", is_flag=True, help="List the keys, by the names that app.toml can give others to.")
def ui(
    page: str,
    once: bool,
    size: tuple[int, int],
    theme: str,
    ascii_only: bool,
    no_mouse: bool,
    slow_link: bool,
    keys: bool,
) -> None:
    """Open the terminal app on all jobs, live.

    \b
      foundations ui                          the pages: overview, jobs, metrics, log, hosts, compare, queue, race
      foundations ui hosts                    begin with one of them
      foundations ui --once jobs --size 100x30
    """
    if keys:
        return _print_keys()
    settings = _settings(theme, ascii_only, no_mouse, slow_link)
    if once:
        return _print_frame(page, size, settings)
    open_app(page, settings)


def _settings(theme: str, ascii_only: bool = False, no_mouse: bool = False, slow_link: bool = False) -> Settings:
    """Return what app.toml says, and the options before that."""
    settings = app.load()
    mouse = settings.mouse and not no_mouse
    return dataclasses.replace(
        settings,
        theme=theme or settings.theme,
        ascii=settings.ascii or ascii_only,
        mouse=mouse,
        slow_link=settings.slow_link or slow_link,
    )


def check_settings(theme: str) -> None:
    """Say what is wrong with app.toml or a theme before the app is opened elsewhere.

    Raises:
        ConfigError: a wrong setting.
    """
    from foundations_tui.session import Session
    from foundations_tui.ui.app import FoundationsApp

    FoundationsApp(Session(), VERBS, settings=_settings(theme))


def open_app(page: str = "", settings: Settings | None = None) -> None:
    """Open the terminal app.

    Args:
        page: the page to begin with.
        settings: the settings; those of app.toml when they are not given.
    Raises:
        UsageError: there is no terminal. ConfigError: a wrong setting.
    """
    if not (sys.stdin.isatty() and sys.stdout.isatty()) and not os.environ.get("TEXTUAL_DRIVER"):
        raise UsageError(
            "the terminal app needs a terminal",
            "foundations jobs lists jobs; foundations ui --once prints one frame; foundations --help shows more",
        )
    settings = settings or app.load()
    start_fast(settings.slow_link)
    from foundations_tui.session import Session
    from foundations_tui.ui import kept
    from foundations_tui.ui.app import FoundationsApp  # Textual: 190 ms

    FoundationsApp(Session(), VERBS, page, settings, left=kept.read()).run(mouse=settings.mouse)


def start_fast(slow_link: bool = False) -> None:
    """Prepare Python and Textual for the app, before that is imported.

    No garbage is collected for a moment: what the start makes stays, and looking takes a tenth of its time.

    Args:
        slow_link: draw no more often than Textual does by itself.
    """
    gc.disable()
    later = threading.Timer(_START_SECONDS, _collect_garbage)
    later.daemon = True
    later.start()
    sys.setswitchinterval(_SWITCH_SECONDS)
    if not slow_link:
        _draw_soon()


def _draw_soon() -> None:
    """Tell Textual how often to draw, if the user's environment does not; it reads that when it is imported."""
    if "TEXTUAL_FPS" in os.environ:
        return
    os.environ["TEXTUAL_FPS"] = str(_PICTURES_A_SECOND)
    try:
        import textual.constants  # noqa: F401
    finally:
        del os.environ["TEXTUAL_FPS"]  # it is not for what the app starts


def _collect_garbage() -> None:
    """Collect garbage from now on, among what comes from now on."""
    gc.freeze()
    gc.enable()


def _print_keys() -> None:
    from foundations_tui.cli import output
    from foundations_tui.ui.app import FoundationsApp
    from foundations_tui.ui.input.keymap import keymap

    own = keymap(app.load().keys)
    rows = [[name, own.get(name, key.key), key.description] for name, key in FoundationsApp.catalog().items()]
    output.print_table(["NAME", "KEYS", "DOES"], rows)


def _print_frame(page: str, size: tuple[int, int], settings: Settings) -> None:
    """Print what the app would show, without a terminal and without asking the hosts."""
    import asyncio

    from foundations_tui.session import Session
    from foundations_tui.ui.app import FoundationsApp
    from foundations_tui.ui.render_once import frame

    app = FoundationsApp(Session(), VERBS, page, settings, follow=False)
    click.echo(asyncio.run(frame(app, size)))
