"""``make screenshot``: the README's picture, of the real app on the demo's jobs while they run."""

from __future__ import annotations

import asyncio
import contextlib
import re
import sys
import time
from pathlib import Path

from foundations_tui.cli import examples
from foundations_tui.cli.commands.demo import end_agent, own_home, submit_sweep
from foundations_tui.session import Session
from foundations_tui.store import queries
from foundations_tui.store.db import open_reader
from foundations_tui.ui.app import FoundationsApp

_FILE = Path(__file__).parent / "screenshot.svg"
_SECONDS = 60


def main(columns: int = 120, lines: int = 32, file: Path = _FILE) -> None:
    """Write the picture.

    Args:
        columns: of the terminal.
        lines: of the terminal.
        file: an SVG.
    """
    with own_home() as home:
        project = home / "digits"
        examples.make_project(project)
        session = Session()
        try:
            submit_sweep(session, project)
            asyncio.run(_take(columns, lines, file))
        finally:
            end_agent(session)
            session.close()
    print(file)


async def _take(columns: int, lines: int, file: Path) -> None:
    app = FoundationsApp(Session())
    async with app.run_test(size=(columns, lines)) as pilot:
        deadline = time.monotonic() + _SECONDS
        while not _some_have_ended() and time.monotonic() < deadline:
            await asyncio.sleep(0.2)
        await pilot.press("j", "j", "j")
        await asyncio.sleep(1)
        await pilot.pause()
        file.write_text(_self_contained(app.export_screenshot(title="foundations", simplify=True)), encoding="utf-8")


def _self_contained(svg: str) -> str:
    """Return the picture without fonts from elsewhere, and with spaces that every viewer keeps."""
    svg = re.sub(r"@font-face \{.*?\}\s*", "", svg, flags=re.DOTALL)
    return svg.replace("<svg ", '<svg xml:space="preserve" ', 1)


def _some_have_ended() -> bool:
    with contextlib.closing(open_reader()) as conn:
        states = [row.state for row in queries.jobs(conn)]
    return states.count("completed") >= 3 and "running" in states


if __name__ == "__main__":
    main(*map(int, sys.argv[1:3]), *map(Path, sys.argv[3:4]))
