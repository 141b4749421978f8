"""``make pictures``: the README's moving picture and one of each page, of the real app on the demo's jobs as they run.

Needs rsvg-convert (Debian: librsvg2-bin) and Pillow. CI does not make them anew.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from PIL import Image

from foundations_tui.cli.commands import demo
from foundations_tui.cli.registry import VERBS
from foundations_tui.session import Session
from foundations_tui.ui.app import FoundationsApp

_FOLDER = Path(__file__).parent / "pictures"
_SIZE = (132, 38)
_ZOOM = "0.62"
_PACE = 0.15
_STORY = (
    *(("1", 2.5), ("7", 16.0), ("F", 3.5), ("escape", 0.5), ("4", 3.5), ("7", 0.5)),
    *(*(("comma", 0.5),) * 3, *(("full_stop", 0.5),) * 3, ("escape", 1.0), ("0", 4.0), ("2", 4.0)),
)
"""Keys of the moving picture, each with the seconds that it is looked at afterwards."""
_PAGES = {"jobs": "1", "metrics": "2", "log": "3", "hosts": "4", "queue": "6", "race": "7", "overview": "0"}
_EVERY = 0.5
"""Seconds of the app from picture to picture."""
_COLORS = 128
_PYTHON = "/home/ada/.venv/bin/python"
"""Stands for that of whoever takes the pictures."""
_MOST_BYTES = 3 << 20


def main() -> None:
    """Write the pictures."""
    _FOLDER.mkdir(exist_ok=True)
    with _running_demo():
        frames = asyncio.run(_film())
    with _running_demo():
        asyncio.run(_stills())
    _write_gif(frames, _FOLDER / "foundations.gif")


@contextlib.contextmanager
def _running_demo() -> Iterator[None]:
    with demo.own_home() as home:
        session = Session()
        try:
            demo.submit_sweep(session, demo.make_project(home), home, _PACE)
            yield
        finally:
            demo.end_agent(session)
            session.close()


async def _film() -> list[tuple[str, float]]:
    """Return pictures with the seconds that each is shown."""
    frames: list[tuple[str, float]] = []
    app = FoundationsApp(Session(), VERBS)
    async with app.run_test(size=_SIZE) as pilot:
        await asyncio.sleep(6)
        for key, seconds in _STORY:
            await pilot.press(key)
            end = time.monotonic() + seconds
            while time.monotonic() < end:
                await asyncio.sleep(_EVERY)
                frames.append((_svg(app), _EVERY))
    return frames


async def _stills() -> None:
    """Write a picture of each page, in the middle of the race."""
    app = FoundationsApp(Session(), VERBS)
    async with app.run_test(size=_SIZE) as pilot:
        await asyncio.sleep(30)
        for page, key in _PAGES.items():
            await pilot.press(key)
            await asyncio.sleep(1)
            (_FOLDER / f"{page}.svg").write_text(_svg(app), encoding="utf-8")


def _svg(app: FoundationsApp) -> str:
    """Return a picture without fonts from elsewhere, and with spaces that every viewer keeps."""
    svg = app.export_screenshot(title="foundations", simplify=True)
    svg = re.sub(r"@font-face \{.*?\}\s*", "", svg, flags=re.DOTALL)
    svg = svg.replace(sys.executable, _PYTHON.ljust(len(sys.executable), "\u00a0"))
    return svg.replace("<svg ", '<svg xml:space="preserve" ', 1)


def _write_gif(frames: list[tuple[str, float]], file: Path) -> None:
    """Write a moving picture; what does not change from one to the next is one that lasts longer."""
    with tempfile.TemporaryDirectory() as folder:
        images: list[Image.Image] = []
        times: list[int] = []
        before = ""
        for number, (svg, seconds) in enumerate(frames):
            if re.sub(r"terminal-\d+", "", svg) == before:
                times[-1] += round(seconds * 1000)
                continue
            before = re.sub(r"terminal-\d+", "", svg)
            source, target = Path(folder, f"{number}.svg"), Path(folder, f"{number}.png")
            source.write_text(svg, encoding="utf-8")
            subprocess.run(["rsvg-convert", "--zoom", _ZOOM, "--output", target, source], check=True)
            images.append(Image.open(target).convert("RGB").quantize(_COLORS, dither=Image.Dither.NONE))
            times.append(round(seconds * 1000))
        images[0].save(file, save_all=True, append_images=images[1:], duration=times, loop=0, optimize=True)
    size = file.stat().st_size
    print(f"{file}: {len(images)} pictures, {size / (1 << 20):.1f} MB")
    if size > _MOST_BYTES:
        sys.exit(f"it is larger than {_MOST_BYTES >> 20} MB")


if __name__ == "__main__":
    main()
