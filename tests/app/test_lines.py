"""Widgets that draw themselves line by line: as Textual would, each line once, and soon."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
from rich.segment import Segment
from rich.style import Style
from textual.geometry import Region
from textual.strip import Strip
from textual.widget import Widget

from foundations_tui.config import locations
from foundations_tui.session import Session
from foundations_tui.store import write_streams
from foundations_tui.store.db import Store
from foundations_tui.ui.app import FoundationsApp
from foundations_tui.ui.screens.confirm import Confirm
from foundations_tui.ui.widgets.line_widget import LineWidget
from foundations_tui.ui.widgets.log_view import LogView
from foundations_tui.ui.widgets.virtual_table import VirtualTable
from tests.support import screen
from tests.support.store import fill

_JOB = f"{199:012x}"


def _fill_with_log(lines: int) -> None:
    fill(200)
    path = locations.log_file(_JOB, 1)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"12:00:{n % 60:02} INFO step {n} 世界 {'x' * n} end\n" for n in range(lines)))
    with_points = b"".join(b'{"t":"m","ts":%d.5,"k":"loss","s":%d,"v":%f}\n' % (n, n, 1 / (n + 1)) for n in range(50))
    store = Store()
    write_streams.put_records_page(store, _JOB, 1, "records/loss", 0, with_points)
    store.close()


def _plain(strips: list[Strip]) -> list[list[tuple[str, str]]]:
    """Return lines as they are seen: a blank has no color of its own but its ground."""
    return [[cell for segment in strip for cell in _cells(segment)] for strip in strips]


def _cells(segment: Segment) -> list[tuple[str, str]]:
    style = segment.style or Style()
    of_blank = style if style.reverse or style.underline else Style(bgcolor=style.bgcolor)
    return [(char, str(of_blank if char == " " else style)) for char in segment.text]


@pytest.mark.parametrize("colors", ["", "1"])
async def test_lines_are_those_that_textual_draws(colors: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if colors:
        monkeypatch.setenv("NO_COLOR", colors)
    _fill_with_log(100)
    app = FoundationsApp(Session(), page="overview", follow=False)
    async with app.run_test(size=(160, 50)) as pilot:
        await screen.until(pilot, lambda: "INFO step 99" in screen.text(app))
        await pilot.press("space")
        for theme in ("foundations-dark", "foundations-light", "ansi-dark"):
            app.theme = theme
            await pilot.pause()
            _compare(app)
        app.push_screen(Confirm("sure?"))
        await pilot.pause()
        _compare(app)


def _compare(app: FoundationsApp) -> None:
    widgets = [widget for widget in app.main.query(Widget) if isinstance(widget, LineWidget) and widget.region]
    assert {type(widget).__name__ for widget in widgets} >= {"LogView", "VirtualTable", "Chart"}
    for widget in widgets:
        room = widget.region.size
        for crop in (room.region, Region(0, 1, room.width, 1), Region(3, 0, room.width - 9, 2)):
            assert _plain(widget.render_lines(crop)) == _plain(Widget.render_lines(widget, crop))


async def test_a_log_that_scrolls_draws_only_the_lines_that_come() -> None:
    _fill_with_log(300)
    view = LogView()
    app = screen.OneWidget(view)
    async with app.run_test(size=(80, 24)) as pilot:
        view.show(locations.log_file(_JOB, 1), "")
        await screen.until(pilot, lambda: "INFO step 299" in screen.text(app))
        before = view.render_lines(view.size.region)
        view.action_move(-1)
        await pilot.pause()
        after = view.render_lines(view.size.region)
        assert [id(line) for line in after[1:]] == [id(line) for line in before[:-1]]
        app.theme = "textual-light"
        await pilot.pause()
        assert not {id(line) for line in view.render_lines(view.size.region)} & {id(line) for line in after}


async def test_a_table_draws_the_rows_that_the_cursor_leaves_and_reaches() -> None:
    fill(100)
    app = FoundationsApp(Session(), page="jobs", follow=False)
    async with app.run_test(size=(120, 30)) as pilot:
        table = app.main.query_one("#jobs-table", VirtualTable)
        await screen.until(pilot, lambda: table.count == 100)
        before = table.render_lines(table.size.region)
        await pilot.press("j")
        after = table.render_lines(table.size.region)
        assert [n for n, (line, was) in enumerate(zip(after, before, strict=True)) if line is not was] == [1, 2]
        await pilot.press("C")
        table.set_columns(table._columns[:3])
        assert _plain(table.render_lines(table.size.region)) != _plain(after)


@pytest.mark.parametrize(("env", "expected"), [({}, "120 None"), ({"TEXTUAL_FPS": "30"}, "30 30")])
def test_pictures_a_second_are_told_to_textual_and_not_to_what_the_app_starts(
    env: dict[str, str], expected: str
) -> None:
    code = """
import os
from foundations_tui.cli.commands.ui import _draw_soon
_draw_soon()
from textual.constants import MAX_FPS
print(MAX_FPS, os.environ.get("TEXTUAL_FPS"))
"""
    done = subprocess.run([sys.executable, "-c", code], env={**os.environ, **env}, capture_output=True, text=True)
    assert done.stdout.strip() == expected, done.stderr
