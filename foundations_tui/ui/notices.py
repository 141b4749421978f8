"""What the user is told though the app is not looked at: bell, the terminal's own notices, a command, a web hook."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping
from typing import Any

from foundations_tui.store.rows import JobRow
from foundations_tui.terminal import one_line

_OSC9 = ("iTerm.app", "WezTerm", "ghostty", "kitty", "WarpTerminal")
"""What TERM_PROGRAM, or TERM, says of terminals that take OSC 9."""
_OSC777 = ("foot", "rxvt-unicode", "VTE", "contour")
"""... and of those that take OSC 777."""


def sequence(how: str, title: str, body: str, environ: Mapping[str, str]) -> str:
    """Return what makes the terminal notify; nothing where it is not known to take that.

    Args:
        how: one of ``settings.TERMINAL``.
        title: a few words.
        body: a line.
        environ: of the process.
    """
    if how == "auto":
        how = _taken(environ)
    title, body = (one_line(text).replace(";", ",")[:200] for text in (title, body))
    if how == "osc9":
        return f"\x1b]9;{title}: {body}\x07"
    return f"\x1b]777;notify;{title};{body}\x07" if how == "osc777" else ""


def _taken(environ: Mapping[str, str]) -> str:
    if environ.get("TMUX") or environ.get("STY"):
        return "off"  # they keep the sequence to themselves
    names = " ".join(environ.get(name, "") for name in ("TERM_PROGRAM", "TERM"))
    if any(name in names for name in _OSC9):
        return "osc9"
    return "osc777" if any(name in names for name in _OSC777) or environ.get("VTE_VERSION") else "off"


def message(row: JobRow, now: float) -> dict[str, Any]:
    """Return what a command or web hook gets: the job as ``show --json`` has it, the event, and a line of text.

    Args:
        row: the job.
        now: seconds since the epoch.
    """
    why = f": {row.why}" if row.why and row.state != "completed" else ""
    event = "job_stalled" if row.stalled_since else "job_ended"
    return {"event": event, "text": f"{row.label} ({row.project}) {row.state} on {row.host}{why}", **row.to_json(now)}


def deliver(wish: Mapping[str, Any], told: Mapping[str, Any], failed: Callable[[str], Any]) -> None:
    """Tell a command and a web hook, in a process that outlives the app.

    Args:
        wish: "url" and "command".
        told: what they get.
        failed: called from a thread when it could not be delivered after several tries.
    """
    process = subprocess.Popen(
        [sys.executable, "-P", "-m", "remote_agent", "notify", "-"],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        cwd=os.path.expanduser("~"),
        start_new_session=True,
    )

    def wait() -> None:
        _, stderr = process.communicate(json.dumps({"wish": dict(wish), "message": dict(told)}).encode())
        if process.returncode:
            failed(stderr.decode("utf-8", "replace").strip().rpartition("\n")[2] or f"exit {process.returncode}")

    threading.Thread(target=wait, daemon=True).start()
