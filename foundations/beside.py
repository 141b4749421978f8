"""Jobs of the host that this job runs on, without a client: submitted, watched and read through the host's agent.

It has the functions of the client's ``foundations_tui.api`` that a job needs for the jobs that it submits. They begin
from the snapshot that this job began from: what it wrote or changed since is not part of it.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time

from foundations import encoding

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Dict, Iterator, List

_PATIENCE = 120.0
"""Seconds in which an agent that is being started again has to be there again."""
_PAUSE = 0.5
"""Seconds between two looks at a job that is waited for."""
_FINAL = ("completed", "failed", "stopped", "lost")


def agent() -> str:
    """Return the program of the agent that runs this job; empty where there is none: the SDK lies beside it."""
    path = os.path.join(os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))), "agent.pyz")
    return path if "FOUNDATIONS_JOB_ID" in os.environ and os.path.exists(path) else ""


def submit(command: "List[str]", folder: str, **wanted: "Any") -> str:
    """Submit a job to this host and return its id.

    Args:
        command: the argument vector.
        folder: where it starts, this job's folder or below it.
        **wanted: "host" (this one), "project", "params", "gpus", "ram" (bytes), "name", "tags", "group".
    Raises:
        ValueError: another host, or a folder outside of this job's. RuntimeError: the agent refuses, as it does where
            this job did not begin with the folder.
    """
    if wanted.get("host", "") not in ("", "any"):
        raise ValueError(f"a job on a host without the client submits to that host only; got {wanted['host']!r}")
    own = {name: wanted[name] for name in ("params", "gpus", "ram", "name", "tags", "group") if wanted.get(name)}
    if wanted.get("project"):
        own["project"] = wanted["project"]
    own.update(job=os.urandom(6).hex(), created_at=time.time(), command=list(command), subdir=_below_top(folder))
    return str(_ask("submit", parent=os.environ["FOUNDATIONS_JOB_ID"], spec=own)["job"])


def job(job_id: str, fresh: bool = True) -> "Dict[str, Any]":
    """Return a job of this host: its state, and what it has logged so far.

    Raises:
        RuntimeError: there is none.
    """
    view = _ask("view", job=job_id)["view"]
    spec = view["spec"]
    metrics: "Dict[str, Any]" = {}
    params: "Dict[str, Any]" = dict(spec.get("params") or {})
    tags: "Dict[str, Any]" = dict(spec.get("tags") or {})
    for record in _records(job_id, int(view.get("attempt") or 0)):
        if record.kind == encoding.METRIC:
            metrics[record.key] = _summed(metrics.get(record.key), record.value, record.step)
        elif record.kind in (encoding.PARAM, encoding.TAG):
            (params if record.kind == encoding.PARAM else tags)[record.key] = record.value
    facts = {name: view.get(name) for name in ("state", "reason", "exit_code", "attempt", "started_at", "ended_at")}
    return {
        **facts,
        "job": job_id,
        "command": spec.get("command"),
        "params": params,
        "tags": tags,
        "metrics": metrics,
    }


def wait(names: "List[str]") -> None:
    """Wait until jobs have ended."""
    for name in names:
        while _ask("view", job=name)["view"]["state"] not in _FINAL:
            time.sleep(_PAUSE)


def log(name: str) -> bytes:
    """Return the log of a job's last attempt, as it is now."""
    return _log_from(name, int(_ask("view", job=name)["view"].get("attempt") or 0), 0)


def follow_log(name: str) -> "Iterator[bytes]":
    """Yield a job's log as it grows, to its end."""
    attempt, offset = 1, 0
    while True:
        view = _ask("view", job=name)["view"]
        page = _log_from(name, attempt, offset)
        offset += len(page)
        if page:
            yield page
        elif attempt < int(view.get("attempt") or 0):
            attempt, offset = attempt + 1, 0
        elif view["state"] in _FINAL:
            return
        else:
            time.sleep(_PAUSE)


def _log_from(name: str, attempt: int, offset: int) -> bytes:
    try:
        with open(os.path.join(_root(), "jobs", name, "attempts", str(attempt), "output.log"), "rb") as file:
            file.seek(offset)
            return file.read()
    except OSError:
        return b""


def history(name: str, key: str) -> "List[Dict[str, Any]]":
    """Return all values of a metric of a job's last attempt: "step", "value", "time".

    Raises:
        KeyError: the job has logged no such metric.
    """
    attempt = int(_ask("view", job=name)["view"].get("attempt") or 0)
    values = [
        {"step": record.step, "value": record.value, "time": record.time}
        for record in _records(name, attempt)
        if record.kind == encoding.METRIC and record.key == key
    ]
    if not values:
        raise KeyError(key)
    return values


def __getattr__(name: str) -> object:
    if name in ("artifact", "jobs", "project_rows"):
        raise ImportError("looking at other jobs needs the client: pip install foundations-tui")
    raise AttributeError(name)


def _summed(summary: "Any", value: "Any", step: "Any") -> "Dict[str, Any]":
    """Return the summary of a metric with one value more."""
    is_number = isinstance(value, (int, float)) and value == value
    if summary is None:
        number = value if is_number else None
        return {"first": value, "last": value, "min": number, "max": number, "count": 1, "step": step}
    low, high = summary["min"], summary["max"]
    if is_number:
        low, high = value if low is None else min(low, value), value if high is None else max(high, value)
    return {**summary, "last": value, "min": low, "max": high, "count": summary["count"] + 1, "step": step}


def _records(job_id: str, attempt: int) -> "List[Any]":
    """Return what a job's attempt has logged, in the order of time."""
    from foundations import records

    folder = os.path.join(_root(), "jobs", job_id, "attempts", str(attempt), "records")
    records_read: "List[Any]" = []
    for name in sorted(os.listdir(folder)) if os.path.isdir(folder) else ():
        if name.endswith(".jsonl"):
            with open(os.path.join(folder, name), "rb") as file:
                records_read += records.decode(file.read(), 0)
    return sorted(records_read, key=lambda record: record.time)


def _root() -> str:
    return os.path.dirname(os.path.dirname(os.path.dirname(agent())))


def _below_top(folder: str) -> str:
    """Return a folder of this job below the top of its tree."""
    top = os.path.dirname(os.environ["FOUNDATIONS_RECORDS_DIR"]) + os.sep + "work"
    below = os.path.relpath(os.path.realpath(folder), os.path.realpath(top))
    if below.split(os.sep)[0] == "..":
        raise ValueError(f"a job on a host without the client submits from its own folder; {folder!r} is outside of it")
    return "" if below == "." else below


def _ask(method: str, **request: "Any") -> "Dict[str, Any]":
    """Ask the agent, again where it is just being started again: a job has its id before it is submitted."""
    deadline = time.monotonic() + _PATIENCE
    while True:
        answer = _asked({"method": method, **request})
        error = answer.get("error")
        if error is None:
            return answer
        if error["code"] != "away" or time.monotonic() > deadline:
            raise RuntimeError(error["message"])


def _asked(request: "Dict[str, Any]") -> "Dict[str, Any]":
    nonce = os.urandom(8).hex()
    words = [sys.executable, "-E", agent(), "nested", _root(), nonce]
    asked = subprocess.run(words, input=json.dumps(request).encode(), stdout=subprocess.PIPE)
    line = next((line for line in asked.stdout.splitlines() if line.startswith(nonce.encode())), b"")
    try:
        answer: "Dict[str, Any]" = json.loads(line[len(nonce) :])
    except ValueError:
        raise RuntimeError("the agent of this host gives no answer") from None
    return answer
