"""What is on a screen: of the app under Textual's pilot, and of a real terminal in tmux."""

from __future__ import annotations

import asyncio
import itertools
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from textual.app import App, ComposeResult
from textual.css.query import NoMatches
from textual.pilot import Pilot
from textual.widget import Widget

from tests.support.paths import ROOT


def text(app: App[None]) -> str:
    """Return what the app shows, line by line."""
    return "\n".join("".join(segment.text for segment in strip) for strip in app.screen._compositor.render_strips())


async def until(pilot: Pilot[None], condition: Callable[[], bool], seconds: float = 30) -> None:
    """Let the app work until something holds; it fails only after a time that means a hang."""
    deadline = time.monotonic() + seconds

    def holds() -> bool:
        try:
            return condition()
        except NoMatches:
            return False  # a screen that was just opened has no widgets yet

    while not holds():
        assert time.monotonic() < deadline, text(pilot.app)
        await pilot.pause()
        await asyncio.sleep(0.05)


class OneWidget(App[None]):
    """An app of one widget, which looks as it does in ours."""

    CSS_PATH = ROOT / "foundations_tui" / "ui" / "app.tcss"

    def __init__(self, widget: Widget) -> None:
        super().__init__()
        self._widget = widget

    def compose(self) -> ComposeResult:
        yield self._widget


class Tmux:
    """A terminal of its own: one tmux server with one window, ended by ``close``."""

    def __init__(self, folder: Path, columns: int, lines: int) -> None:
        self._folder = folder
        self._sockets = itertools.count()  # a server that is told to end still answers for a moment
        self._socket = self._code = folder / "none"
        self._size = (columns, lines)

    def start(self, command: list[str], env: dict[str, str], cwd: Path) -> None:
        """Run a command in the window; what it left on the screen stays."""
        self.close()
        self._socket = self._folder / f"tmux-{next(self._sockets)}"
        self._code = self._socket.with_suffix(".exit-code")
        # tmux 3.3 does not always collect its child, so the exit code comes by a file
        keeping_code = ["sh", "-c", 'code=$1; shift; "$@"; echo $? >"$code"; exec sleep 600', "sh", str(self._code)]
        size = ["-x", str(self._size[0]), "-y", str(self._size[1])]
        self._run("-f", "/dev/null", "new-session", "-d", *size, "-c", str(cwd), *keeping_code, *command, env=env)

    def send(self, *keys: str) -> None:
        """Press keys."""
        self._run("send-keys", *keys)

    def type(self, words: str) -> None:
        """Type a text as it is."""
        self._run("send-keys", "-l", words)

    def resize(self, columns: int, lines: int) -> None:
        """Change the size of the window."""
        self._size = (columns, lines)
        self._run("resize-window", "-x", str(columns), "-y", str(lines))

    def shown(self, *options: str) -> str:
        """Return what the window shows."""
        return self._run("capture-pane", "-p", *options)

    def title(self) -> str:
        """Return the window's title, which programs can set."""
        return self._run("display-message", "-p", "#{pane_title}").strip()

    def exit_code(self, seconds: float = 60) -> int:
        """Wait until the command has ended, and return its exit code."""
        deadline = time.monotonic() + seconds
        while not (self._code.exists() and (code := self._code.read_text())):
            assert time.monotonic() < deadline, self.shown()
            time.sleep(0.1)
        return int(code)

    def until(self, condition: Callable[[str], bool], seconds: float = 30, pressing: Sequence[str] = ()) -> str:
        """Wait until the screen is as it should be, and return it.

        Args:
            condition: what it should be like.
            seconds: a time that means a hang.
            pressing: keys that are pressed once a second meanwhile: a shell that is busy passes over some.
        """
        began = time.monotonic()
        presses = 0
        while not condition(shown := self.shown()):
            waited = time.monotonic() - began
            assert waited < seconds, shown
            if pressing and waited >= presses:
                presses += 1
                self.send(*pressing)
            time.sleep(0.1)
        return shown

    def close(self) -> None:
        """End the server and what runs in it."""
        subprocess.run(["tmux", "-S", self._socket, "kill-server"], capture_output=True)

    def _run(self, *words: str, env: dict[str, str] | None = None) -> str:
        done = subprocess.run(["tmux", "-S", self._socket, *words], capture_output=True, text=True, env=env)
        assert done.returncode == 0, f"tmux {words}: {done.stderr}"
        return done.stdout
