"""A store with many jobs, taken in as a host would have sent them."""

from __future__ import annotations

import time

from foundations_tui.store import writes
from foundations_tui.store.db import Store
from remote_agent.protocol.jobs import JobSpec, JobView
from remote_agent.protocol.messages import ChangesAnswer
from remote_agent.protocol.resources import Resources
from remote_agent.protocol.states import JobState

_PAGE = 1000


def fill(count: int, host: str = "local") -> None:
    """Put ended jobs into the store, "job 0" the oldest."""
    store = Store()
    for first in range(0, count, _PAGE):
        numbers = range(first, min(first + _PAGE, count))
        page = ChangesAnswer("j", numbers[-1] + 1, False, [], [], Resources())
        assert writes.put_changes(store, host, writes.cursor(store, host), page, map(_view, numbers))
    store.close()


def _view(number: int) -> JobView:
    moment = time.time() - 1e6 + number
    spec = JobSpec(
        job=f"{number:012x}",
        command=("python", "train.py", "--lr", str(number / 1000)),
        snapshot="0" * 40,
        project=f"project-{number % 7}",
        name=f"job {number}",
        owner="somebody",
        params={"lr": number / 1000},
        created_at=moment,
    )
    failed = number % 10 == 0
    return JobView(
        spec,
        JobState.FAILED if failed else JobState.COMPLETED,
        seq=number + 1,
        attempt=1,
        reason_code="exit_code" if failed else "finished",
        reason="exit code 1" if failed else "",
        exit_code=int(failed),
        queued_at=moment,
        started_at=moment + 1,
        ended_at=moment + 60,
    )
