"""Notifications outside of the app's screen: bell, the terminal's own notices, a command, a web hook."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from foundations_tui.errors import FoundationsError
from foundations_tui.store import writes
from foundations_tui.store.rows import JobRow
from foundations_tui.text.sanitize import one_line
from remote_agent.protocol.notices import Delivery, NotifyTarget
from remote_agent.protocol.wire import JsonTable

_OSC9 = ("iTerm.app", "WezTerm", "ghostty", "kitty", "WarpTerminal")
"""What TERM_PROGRAM, or TERM, says of terminals that take OSC 9."""
_OSC777 = ("foot", "rxvt-unicode", "VTE", "contour")
"""... and of those that take OSC 777."""
_MOST_TOLD = 20
"""How many jobs get a notification each when many end at once."""


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


def message(row: JobRow, now: float) -> JsonTable:
    """Return what a command or web hook gets: the job as ``show --json`` has it, the event, and a line of text.

    Args:
        row: the job.
        now: seconds since the epoch.
    """
    told = row.tell(now)
    event = "job_stalled" if row.stalled_since else "job_ended"
    text = f"{row.label} ({row.project}) {row.state} on {row.host}" + (f": {told}" if told else "")
    return {"event": event, "text": text, **row.to_json(now)}


def deliver(target: NotifyTarget, rows: Sequence[JobRow], now: float, failed: Callable[[str], Any]) -> None:
    """Tell a command and a web hook of jobs, in a process that outlives the app; each event once, whoever notices it.

    Args:
        target: who is notified.
        rows: the jobs.
        now: seconds since the epoch.
        failed: called from a thread when delivery fails after several tries.
    """

    def run() -> None:
        try:
            problem = _deliver(target, rows, now)
        except (OSError, FoundationsError) as error:
            problem = str(error)
        if problem:
            failed(problem)

    threading.Thread(target=run, daemon=True).start()


def _deliver(target: NotifyTarget, rows: Sequence[JobRow], now: float) -> str:
    """Return what went wrong."""
    told = [message(row, now) for row in rows]
    new = writes.claim_notices(
        [(row.job, row.attempt, notice["event"]) for row, notice in zip(rows, told, strict=True)]
    )
    told = [notice for notice, is_new in zip(told, new, strict=True) if is_new]
    if len(told) > _MOST_TOLD:
        rest = told[_MOST_TOLD:]
        more = {
            "event": "more",
            "text": f"and {len(rest)} more jobs",
            "jobs": [notice["job"] for notice in rest],
        }
        told = [*told[:_MOST_TOLD], more]
    if not told:
        return ""
    process = subprocess.Popen(
        [sys.executable, "-P", "-m", "remote_agent", "notify", "-"],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        cwd=os.path.expanduser("~"),
        start_new_session=True,
    )
    _, stderr = process.communicate(json.dumps(Delivery(target, told).to_wire()).encode())
    if not process.returncode:
        return ""
    return stderr.decode("utf-8", "replace").strip().rpartition("\n")[2] or f"exit {process.returncode}"
