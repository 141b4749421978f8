"""Looking again at a job's Python and variables behind the setup lines of its host, from within the job."""

from __future__ import annotations

import os

from remote_agent.storage.paths import Paths
from remote_agent.supervisor import record_facts


def main(root: str, job: str, attempt: str) -> int:
    """Complete the facts of an attempt.

    Args:
        root: the agent's folder.
        job: whole id.
        attempt: its number.
    """
    paths = Paths(root)
    of_job = paths.job(job)
    record_facts.look_again(paths, of_job, of_job.attempt(int(attempt)), os.environ, os.getcwd())
    return 0
