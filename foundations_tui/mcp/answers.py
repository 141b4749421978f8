"""Results of the core as short, structured answers: what is not known is left out, what is long is cut."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from foundations_tui.jobs.on_hosts import WaitingJob
from foundations_tui.jobs.outcome import Outcome
from foundations_tui.store.rows import CurvePoint, HostRow, JobRow, iso, json_value
from foundations_tui.submit.pipeline import Preview
from foundations_tui.sweeps.submission import Submission
from foundations_tui.text import humanize
from remote_agent.protocol.wire import JsonTable

_MOST_SHOWN = 20
_LONGEST = 300
"""Characters of a text."""
_NOT_TOLD = ("snapshot", "usage", "data_as_of", "attempts", "uses", "args")
_TEXT_OF_JOBS = ("name", "command", "params", "tags", "metrics", "note", "artifacts", "cause", "reason")
_OF_A_HOST = "host state error running queued cpus cpus_free memory_free disk_free paused problems".split()


def brief(row: JobRow) -> JsonTable:
    """Return one job in a few words."""
    metrics = {key: summary.last for key, summary in list(row.metrics.items())[:_MOST_SHOWN]}
    text = {"name": row.label[:_LONGEST], "why": row.tell(time.time())[:_LONGEST], "params": row.params}
    text |= {"metrics": metrics, "tags": row.tags}
    when = {"created": iso(row.created_at), "as_of": iso(row.data_as_of) if row.is_unsure else None}
    facts = {key: getattr(row, key) for key in ("job", "host", "project", "owner", "exit_code")}
    state = {"state": row.shown_state, "took": humanize.duration(row.duration(time.time()))}
    return known({**facts, **state, **when, "untrusted": known(json_value(text))})


def whole(row: JobRow, spec: Mapping[str, Any]) -> JsonTable:
    """Return one job in full, with its specification, and what it wrote itself apart."""
    facts = {key: value for key, value in row.to_json(time.time()).items() if key not in _NOT_TOLD}
    untrusted = {key: facts.pop(key) for key in _TEXT_OF_JOBS}
    hidden = {*facts, *untrusted, "env"}  # a variable may hold what the user would not show
    options = {key: json_value(value) for key, value in spec.items() if key not in hidden}
    return known({**facts, "options": known(options), "untrusted": known(untrusted)})


def host(name: str, row: HostRow | None) -> JsonTable:
    """Return one host in a few words."""
    if row is None:
        return {"host": name, "state": "unknown"}
    wire = row.to_json()
    gpus = [gpu.get("name") for gpu in wire["gpus"]]
    return known({**{key: wire[key] for key in _OF_A_HOST}, "gpus": gpus})


def preview(submission: Submission, shown: Preview) -> JsonTable:
    """Return what a submit would ship, and what it would cost."""
    commands = [humanize.command(list(request.command)) for request in submission.requests[:_MOST_SHOWN]]
    facts = {"jobs": len(submission.requests), "sweep": submission.words, "commands": commands, "host": shown.host}
    facts |= {"notes": list(submission.notes), "ships": shown.lines[0], "files": shown.files, "bytes": shown.bytes}
    largest = [f"{path} ({humanize.size(size)})" for path, size in shown.largest[:5]]
    left = shown.left_behind.words if shown.left_behind.names else ""
    return known({**facts, "largest": largest, "not_shipped": left})


def waiting(job: WaitingJob) -> JsonTable:
    """Return a job in a queue, with why it waits."""
    facts = {"host": job.host, "job": job.job, "priority": job.priority, "why": job.reason}
    return {**facts, "starts_in": None if job.starts_in is None else round(job.starts_in)}


def outcomes(each: Iterable[Outcome]) -> JsonTable:
    """Return what came of an operation, for each job."""
    facts = [(outcome.row.job, outcome.error is None, outcome.words, str(outcome.error or "")) for outcome in each]
    return {"jobs": [known(dict(zip(("job", "done", "words", "error"), values, strict=True))) for values in facts]}


def thinned(curve: Sequence[CurvePoint], most: int) -> list[JsonTable]:
    """Return at most ``most`` points of a series, evenly spread, with the last one."""
    step = max(1, -(-len(curve) // most))
    kept = curve[(len(curve) - 1) % step :: step]
    return [known({"step": p.step_max, "value": json_value(p.last), "min": p.min, "max": p.max}) for p in kept]


def words_of(pairs: Mapping[str, Any] | None) -> tuple[str, ...]:
    """Return K=V words of a table."""
    return tuple(f"{key}={value}" for key, value in (pairs or {}).items())


def known(facts: Mapping[str, Any]) -> JsonTable:
    """Return what is known."""
    return {key: value for key, value in facts.items() if value not in (None, "", [], {}, ())}
