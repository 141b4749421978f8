"""One frame of the app as plain text: for scripts, cron and tests."""

from __future__ import annotations

import asyncio
import time

from textual.pilot import Pilot

from foundations_tui.ui.app import FoundationsApp

_PATIENCE = 20.0
_QUIET = 3
"""So often in a row nothing is left to be read before the frame is taken."""


async def frame(app: FoundationsApp, size: tuple[int, int]) -> str:
    """Return what an app shows once everything is read, a line for each of the terminal.

    Args:
        app: not running yet.
        size: columns and lines.
    """
    async with app.run_test(size=size) as pilot:
        await settle(app, pilot)
        return text(app)


async def settle(app: FoundationsApp, pilot: Pilot[None]) -> None:
    """Wait until everything that the panes want to show is read."""
    deadline, quiet = time.monotonic() + _PATIENCE, 0
    while quiet < _QUIET and time.monotonic() < deadline:
        await pilot.pause()
        quiet = quiet + 1 if app.reader.is_idle else 0
        await asyncio.sleep(0.02)


def text(app: FoundationsApp) -> str:
    """Return what an app shows now, without the blanks at the lines' ends."""
    strips = app.screen._compositor.render_strips()
    return "\n".join("".join(segment.text for segment in strip).rstrip() for strip in strips)
