"""Reading what was tracked, from Python; it needs the client (``foundations-tui``) installed."""

from __future__ import annotations

import os

from foundations import artifacts, encoding, run
from foundations.submission import client

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Dict, List


def jobs(where: str = "", sort: str = "created", limit: int = 0) -> "List[Dict[str, Any]]":
    """Return jobs, as ``foundations jobs --json`` prints them.

    Args:
        where: a query (docs/queries.md).
        sort: an expression, with ``:asc`` or ``:desc``.
        limit: most of them; 0 for all.
    Raises:
        ImportError: the client is not installed. foundations_tui.errors.UsageError: the query cannot be understood.
    """
    rows: "List[Dict[str, Any]]" = client().jobs(where, sort, limit)
    return rows


def load_model(name: str, trust: bool = False) -> "Any":
    """Return a registered model that answers in this process: ``load_model("churn@champion").predict(x=...)``.

    Its files and its code are brought here; the libraries that it needs have to be installed.

    Args:
        name: NAME for the champion, NAME@ALIAS or NAME@7.
        trust: whether a joblib or pickle file of somebody else may be read, which runs it.
    Raises:
        ImportError: the client is not installed. foundations_tui.errors.NotFoundError: there is no such version.
    """
    return client().load_model(name, trust)


def history(job: str, key: str) -> "List[Dict[str, Any]]":
    """Return all values of a metric: "step", "value", "time" (seconds since the epoch).

    Args:
        job: an id, a prefix of one, a unique name, @last.
        key: the metric.
    Raises:
        ImportError: the client is not installed. foundations_tui.errors.NotFoundError: there is no such job or metric.
    """
    rows: "List[Dict[str, Any]]" = client().history(job, key)
    return rows


def artifact(job: str, key: str) -> str:
    """Return the path of another job's artifact on this machine, fetched when it is not here.

    A job that uses one keeps that as its lineage.

    Args:
        job: the job that saved it: its id (outside of a job also a prefix, a name, @last).
        key: the artifact's key.
    Raises:
        FileNotFoundError: this host has no such artifact, and there is no client to fetch it.
    """
    path = _beside(job, key) if run.in_job() else ""
    if not path:
        try:
            job, path = client().artifact(job, key)
        except ImportError:
            raise FileNotFoundError(2, "job %s has no artifact %r on this host" % (job, key)) from None
    if run.in_job():
        run.record(encoding.USED, key, job)
    return path


def _beside(job: str, key: str) -> str:
    """Return the path of an artifact of a job of this host; empty when it is not there."""
    own = os.environ.get("FOUNDATIONS_ARTIFACTS_DIR", "")
    if not own or not encoding.is_job_id(job):
        return ""
    path = os.path.join(artifacts.job_beside(os.path.dirname(own), job), "artifacts", artifacts.quoted(key))
    return path if os.path.exists(path) else ""


def get_metrics_for_all_jobs(project_name: str) -> "Any":
    """Return a project's jobs as a pandas DataFrame, or without pandas as a list of dicts with the same names.

    A line each: project_name, job_id, user, status, start_time, completed_time, creation_time, tags, then the
    parameters, the last values of the metrics, and ``tag_<key>`` for each tag.

    Raises:
        ValueError: there is no such project. ImportError: the client is not installed.
    """
    rows = client().project_rows(project_name)
    if not rows:
        raise ValueError("Project `%s` does not exist!" % project_name)
    try:
        import pandas
    except ImportError:
        return rows
    columns = list(dict.fromkeys(name for row in rows for name in row))
    return pandas.DataFrame(rows, columns=columns)
