"""Waiting for jobs on this terminal, with the exit code that is theirs."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable
from typing import TYPE_CHECKING

from foundations_tui.cli.log_output import LogWriter
from foundations_tui.cli.params import say
from foundations_tui.cli.stderr import leave

if TYPE_CHECKING:
    from foundations_tui.session import Session
    from foundations_tui.store.rows import JobRow


OURS = 125
"""Exit code, where it is the job's own, for anything that went wrong on our side."""


def watch_to_end(session: Session, ids: list[str], log: bool = False, log_to_stderr: bool = False) -> int:
    """Wait for jobs and return the exit code that is theirs; Ctrl-C detaches.

    Args:
        session: the client's.
        ids: whole ids.
        log: print the log of the (one) job meanwhile.
        log_to_stderr: stdout is taken.
    """
    from foundations_tui.jobs import watch

    try:
        if log:
            _print(watch.follow_log(session, ids[0]), LogWriter(log_to_stderr))
        rows = watch.wait_for(session, ids, lambda row: None)
    except KeyboardInterrupt:
        say(f"\ndetached; the job runs on: foundations logs -f {ids[0][:6]}")
        return 130
    for error in watch.bring_results(session, rows):
        say(f"warning: {error}; foundations sync brings what the jobs made")
    for row in rows:
        if watch.exit_code([row]):
            say(f"{row.job[:6]} {row.state}" + (f": {row.reason}" if row.reason else ""))
            _say_what_lies_here(row)
    return watch.exit_code(rows)


def _print(pages: Iterable[bytes], writer: LogWriter) -> None:
    """Print a log as it comes; where nobody reads it any more, the job's end is waited for all the same."""
    try:
        for page in pages:
            writer.write(page)
        writer.end()
    except BrokenPipeError:
        leave(1)


_QUOTED = re.compile(r"'([^'\n]{1,300})'\s*$|: ([^\s:][^:\n]{0,300}): No such file")


def _say_what_lies_here(row: JobRow) -> None:
    """Say that a file which a failed job did not find lies in the folder that it was submitted from."""
    match = _QUOTED.search(row.cause.line) if row.cause and row.cause.code == "file_missing" else None
    name = (match[1] or match[2]) if match else ""
    if name and not name.startswith(("/", "~")) and os.path.exists(name):
        say(
            f"  {name} lies here and was not shipped: git ignores it, or it is new;"
            f" [snapshot] include = [{json.dumps(name)}] in foundations.toml ships it"
        )
