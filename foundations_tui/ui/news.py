"""What happened to jobs, told once each: since the user looked last, at an end, and when one goes silent."""

from __future__ import annotations

import os
import sqlite3
import threading
import time
from collections.abc import Callable
from typing import Any, Protocol

from foundations_tui.config.app import Notify
from foundations_tui.store import queries
from foundations_tui.store.rows import JobRow
from foundations_tui.text import humanize
from foundations_tui.ui.messages import ActionEnded
from foundations_tui.ui.models.store_reader import Reader
from foundations_tui.ui.theme import LOOK

_NEWS_SECONDS = 60.0
"""After that an end is no news."""
_TOGETHER_SECONDS = 1.0
"""Jobs that end within this time share one notification: a sweep's jobs end together."""
_MOST_NAMED = 3
"""Jobs that are named one by one."""

SinceLastLook = tuple[float, list[JobRow], int]
"""When the user looked last, what ended since, and how many jobs wait."""


class Teller(Protocol):
    """The app, as far as news needs it."""

    reader: Reader

    def say(self, text: str, failed: bool = False) -> None:
        """Say something in a corner for a while."""

    def set_timer(self, delay: float, callback: Callable[[], Any]) -> Any:
        """Call something after a delay in seconds."""

    def bell(self) -> None:
        """Ring the terminal's bell."""

    def write_to_terminal(self, text: str) -> None:
        """Write an escape sequence past the screen."""

    def post_message(self, message: ActionEnded) -> bool:
        """Send the app a message, from any thread."""


class News:
    """Tells the user, and whom the settings name, what happened to jobs."""

    def __init__(self, teller: Teller, notify: Notify, is_kept: bool) -> None:
        """Make it.

        Args:
            teller: the app.
            notify: whom to tell, and of what.
            is_kept: whether the user's look is remembered and notifications are sent; not for a single frame.
        """
        self._teller = teller
        self._notify = notify
        self._is_kept = is_kept
        self._began_at = time.time()
        self._told: set[tuple[str, int, float | None]] = set()
        """By job and attempt: its end, or since when it is silent."""
        self._ended: list[JobRow] = []
        """Jobs that have ended and are announced together."""

    def begin(self) -> None:
        """Tell what happened while nobody looked."""
        self._teller.reader.ask("since", _since_last_look, self._tell_since)

    def look(self) -> None:
        """Look for news."""
        since = max(self._began_at, time.time() - _NEWS_SECONDS)
        self._teller.reader.ask("stalled", queries.stalled, self._tell_stalled)
        self._teller.reader.ask("ended", lambda conn: queries.changed_since(conn, since), self._collect_ended)

    def _tell_since(self, last_look: SinceLastLook) -> None:
        since, ended, waiting = last_look
        failed = [row for row in ended if row.went_wrong]
        if ended:
            text = f"since you looked {humanize.ago(since, time.time())}: {humanize.plural(len(ended), 'job')} ended"
            text += f", {len(failed)} failed or lost" if failed else ""
            text += f", {waiting} wait" if waiting else ""
            names = [f"{LOOK.glyph(row.state)} {row.job[:6]} {row.label}" for row in failed[-_MOST_NAMED:]]
            self._teller.say("\n".join([text, *names]), bool(failed))
        self._remember_look()

    def _remember_look(self) -> None:
        if self._is_kept:
            threading.Thread(target=_put_look, args=(time.time(),), daemon=True).start()

    def _collect_ended(self, rows: list[JobRow]) -> None:
        """Take in what has ended since the last time, each end once."""
        rows = [row for row in rows if (row.job, row.attempt, None) not in self._told]
        if not rows:
            return
        self._told.update((row.job, row.attempt, None) for row in rows)
        if not self._ended:
            self._teller.set_timer(_TOGETHER_SECONDS, self._tell_ended)
        self._ended += rows
        self._remember_look()
        self._tell_others([row for row in rows if row.state in self._notify.on])

    def _tell_ended(self) -> None:
        rows, self._ended = self._ended, []
        rows.sort(key=lambda row: not row.went_wrong)
        lines = [
            f"{LOOK.glyph(row.state)} {row.job[:6]} {row.label} {_how_it_ended(row)}" for row in rows[:_MOST_NAMED]
        ]
        if len(rows) > _MOST_NAMED:
            lines.append(f"and {humanize.plural(len(rows) - _MOST_NAMED, 'more job')} ended")
        self._teller.say("\n".join(lines), rows[0].went_wrong)

    def _tell_stalled(self, rows: list[JobRow]) -> None:
        """Tell of jobs that went silent, each once."""
        rows = [row for row in rows if (row.job, row.attempt, row.stalled_since) not in self._told]
        self._told.update((row.job, row.attempt, row.stalled_since) for row in rows)
        for row in rows[:_MOST_NAMED]:
            self._teller.say(f"{LOOK.glyph('stalled')} {row.job[:6]} {row.label} {row.tell(time.time())}", failed=True)
        if len(rows) > _MOST_NAMED:
            more = humanize.plural(len(rows) - _MOST_NAMED, "more job")
            self._teller.say(f"{more} went silent: / is:stalled", failed=True)
        if "stalled" in self._notify.on:
            self._tell_others(rows)

    def _tell_others(self, rows: list[JobRow]) -> None:
        """Tell of jobs beyond the app: the terminal once, a command or web hook of each."""
        if not rows or not self._is_kept:
            return
        from foundations_tui.ui import notifications  # many tell nobody, and nothing ends at the start

        if self._notify.bell:
            self._teller.bell()
        words = f"{rows[0].label} {rows[0].shown_state}" + (f" and {len(rows) - 1} more" if len(rows) > 1 else "")
        self._teller.write_to_terminal(notifications.sequence(self._notify.terminal, "foundations", words, os.environ))
        if self._notify.target is not None:
            notifications.deliver(self._notify.target, rows, time.time(), self._not_delivered)

    def _not_delivered(self, problem: str) -> None:
        self._teller.post_message(ActionEnded(f"[notify] of app.toml does not work: {problem}", failed=True))


def _how_it_ended(row: JobRow) -> str:
    told = row.tell(time.time())
    return told if told.startswith(row.state) else f"{row.state} {told}"


def _since_last_look(conn: sqlite3.Connection) -> SinceLastLook:
    since, counts = queries.looked_at(conn), queries.state_counts(conn)
    ended = queries.changed_since(conn, since) if since else []
    return since, ended, counts.get("queued", 0) + counts.get("submitting", 0)


def _put_look(now: float) -> None:
    from foundations_tui.store import writes

    writes.put_looked_at(now)
