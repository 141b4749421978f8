"""What a fork does that waits for a job: the host says when something changes, nobody polls."""

from __future__ import annotations

import sys
import threading

from foundations_tui.cli.main import main
from foundations_tui.jobs import watch
from foundations_tui.session import Session
from foundations_tui.store.rows import JobRow


class _Reached(Exception):
    """The job is in the state."""


def until_state() -> None:
    """Wait until a job is in a state or a time is over, then print it as ``show --json --sync`` does.

    The words are the job's whole id, the state, and seconds.
    """
    job, state, seconds = sys.argv[1:]

    def look(row: JobRow) -> None:
        if row.state == state:
            raise _Reached

    waiter = threading.Thread(target=_wait, args=(job, look), daemon=True)
    waiter.start()
    waiter.join(float(seconds))
    sys.argv[1:] = ["show", "--json", "--sync", job]
    main()


def _wait(job: str, look: object) -> None:
    try:
        watch.wait_for(Session(), [job], look)  # type: ignore[arg-type]
    except Exception:
        return  # reached; or what cannot be waited for: what `show` says tells why
