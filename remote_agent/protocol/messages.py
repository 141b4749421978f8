"""What each request and each answer consists of: a type, a range and a length for every value. Pure.

Both sides check what they receive by these tables, once, where it comes in. A request that is wrong is refused as a
whole. Of an answer, a wrong entry of a list costs that entry: one bad job must not hide the others.
"""

from __future__ import annotations

from typing import Any, Dict

from remote_agent.protocol import checks
from remote_agent.protocol.checks import (
    Check,
    any_table,
    flag,
    json_table,
    listing,
    moment,
    number,
    one_of,
    optional,
    record,
    row,
    sieve,
    sift,
    sifted_table,
    table,
    text,
    whole,
)
from remote_agent.protocol.errors import BadRequest
from remote_agent.protocol.framing import MOST_OIDS, PAGE_BYTES
from remote_agent.protocol.jobs import JOB_ID, LONGEST_GRACE, MOST_SPEC_BYTES, EndReason

MOST_JOBS = 10_000
"""Jobs in one request or answer."""
MOST_ENTRY_BYTES = 64 << 20
"""A job as a host tells of it is at most so large."""
_JOB = text(64, JOB_ID)
_NAME = text(1000)
_WORDS = text(10_000)
_PATH = text(4096, as_bytes=True)
_OID = text(40)
_ATTEMPT = whole(0, 1_000_000)
_STREAM = text(300)


def _gpu_setting(value: Any, where: str) -> Any:
    if value == "auto":
        return value
    if isinstance(value, list):
        return listing(whole(0, 10_000), 1000)(value, where)
    return whole(0, 10_000)(value, where)


SETTINGS: Check = record({"max_jobs": optional(whole(0, 1_000_000)), "gpus": optional(_gpu_setting)})
"""What hosts.toml says of a host and its agent has to know."""
_OF_A_JOB: Dict[str, Check] = {"job": _JOB}

REQUESTS: Dict[str, Check] = {
    "hello": record({"protocol": whole(0, 10_000), "look": flag, "settings": optional(SETTINGS)}),
    "changes": record({"journal": text(64), "after": whole(), "limit": whole(1)}, ["after"]),
    "entry": record({**_OF_A_JOB, "offset": whole()}, ["job", "offset"]),
    "waits": record({"after": whole()}, ["after"]),
    "watch": record({"seq": whole(), "waits_version": whole(-1), "timeout": number(0, 3600)}, ["seq"]),
    "read": record(
        {**_OF_A_JOB, "attempt": _ATTEMPT, "stream": _STREAM, "offset": whole(), "limit": whole(1)},
        ["job", "attempt", "stream", "offset"],
    ),
    "stream_sizes": record({"after": optional(row(_JOB, _ATTEMPT, _STREAM))}),
    "missing": record(
        {"snapshot": _OID, "base": optional(text(40)), "oids": listing(_OID, MOST_OIDS)}, ["snapshot", "oids"]
    ),
    "put": record({}),
    "submit": record(
        {"spec": any_table, "private": optional(json_table(MOST_SPEC_BYTES)), "protocol": whole(0, 10_000)}
    ),
    "submit_many": record(
        {
            "base": any_table,
            "specs": listing(any_table, 1_000_000),
            "private": optional(json_table(MOST_SPEC_BYTES)),
            "protocol": whole(0, 10_000),
            "version": text(100),
        },
        ["base", "specs"],
    ),
    "stop": record({**_OF_A_JOB, "by": _NAME, "grace": optional(number(0, LONGEST_GRACE))}, ["job", "by"]),
    "resume": record(_OF_A_JOB, ["job"]),
    "delete": record({**_OF_A_JOB, "client": text(64), "files": flag, "force": flag}, ["job"]),
    "prune": record({"jobs": listing(_JOB, MOST_JOBS), "force": flag, "preview": flag}, ["jobs"]),
    "acknowledge": record({"client": text(64), "jobs": listing(_JOB, MOST_JOBS)}, ["client", "jobs"]),
    "received": record({**_OF_A_JOB, "receipt": text(32)}, ["job", "receipt"]),
    "pause": record({"group": _NAME, "paused": flag}, ["paused"]),
    "move": record(
        {
            **_OF_A_JOB,
            "where": one_of("", "first", "last", "before", "after"),
            "other": optional(text(64)),
            "priority": optional(whole(-(2**31), 2**31 - 1)),
        },
        ["job"],
    ),
    "annotate": record({"jobs": table(any_table, MOST_JOBS, _JOB)}, ["jobs"]),
    "queue": record({"offset": whole()}),
    "forgive": record({"gpu": text(200)}, ["gpu"]),
    "claims": record({"gpu": text(200), "ignored": flag}, ["gpu", "ignored"]),
    "samples": record({"offset": whole()}, ["offset"]),
    "list": record({**_OF_A_JOB, "attempt": _ATTEMPT, "path": _PATH, "offset": whole()}, ["job"]),
    "shutdown": record({"replace": flag}),
}
"""What each request may ask."""

_COUNT = optional(number())
_PROCESS = sift(
    {
        "uuid": text(200),
        "pid": whole(0, 2**31),
        "memory": _COUNT,
        "uid": optional(whole(0, 2**32)),
        "user": text(200),
        "since": text(100),
        "job": text(64),
    }
)
_GPU = record(
    {
        "index": whole(0, 10_000),
        "uuid": text(200),
        "name": text(200),
        "memory_total": _COUNT,
        "memory_used": _COUNT,
        "utilization": _COUNT,
        "temperature": _COUNT,
        "power": _COUNT,
        "vendor": text(50),
        "job": optional(text(64)),
        "jobs": listing(text(64), 1000),
        "busy": flag,
        "held": optional(_WORDS),
        "sick": _WORDS,
        "processes": sieve(_PROCESS, 1000),
    },
    ["index", "uuid", "name"],
)
_RESOURCES: Dict[str, Check] = {
    "cpus": _COUNT,
    "cpus_free": optional(number(-1_000_000)),
    "memory": _COUNT,
    "memory_free": optional(number(-float(checks.LARGEST))),
    "disk_free": _COUNT,
    "disk_total": _COUNT,
    "disk_jobs": optional(number(-float(checks.LARGEST))),
    "queued": _COUNT,
    "paused": sieve(_NAME, 10_000),
    "gpus": sieve(_GPU, 1000),
}


def _resources(value: Any, where: str) -> Any:
    """Return what a host has; what it says wrongly counts as nothing."""
    empty: Dict[str, Any] = {name: [] if name in ("gpus", "paused") else 0 for name in _RESOURCES}
    return {**empty, **sift(_RESOURCES)(value, where)}


RESOURCES: Check = _resources
_PROBLEMS = sieve(_WORDS, 100)
_VIEW = record({"job": any_table}, ["job"])
_SIZES = sieve(row(_JOB, _ATTEMPT, _STREAM, whole()), 1_000_000)

ANSWERS: Dict[str, Check] = {
    "hello": record(
        {
            "protocol": whole(0, 10_000),
            "version": text(100),
            "agent": text(100),
            "journal": text(64),
            "seq": whole(),
            "root": _PATH,
            "host": text(1000),
            "python": _PATH,
            "time": moment,
            "active": whole(),
            "gpus_age": number(),
            "problems": _PROBLEMS,
        },
        ["protocol", "version", "agent", "journal"],
    ),
    "changes": record(
        {
            "journal": text(64),
            "seq": whole(),
            "more": flag,
            "jobs": sieve(any_table, MOST_JOBS),
            "earlier": sieve(text(64), 100),
            "large": sieve(row(_JOB, whole(), whole(0, MOST_ENTRY_BYTES)), MOST_JOBS),
            "deleted": sieve(_JOB, MOST_JOBS),
            "resources": RESOURCES,
            "problems": _PROBLEMS,
            "waits_version": whole(),
        },
        ["journal", "seq", "more", "jobs", "deleted", "resources"],
    ),
    "entry": record({"seq": whole(), "size": whole(0, MOST_ENTRY_BYTES)}, ["seq", "size"]),
    "waits": record(
        {
            "version": whole(),
            "groups": sieve(row(_WORDS, sieve(_JOB, MOST_JOBS)), MOST_JOBS),
            "estimates": sifted_table(moment, MOST_JOBS, _JOB),
            "next": optional(whole()),
        },
        ["version", "groups", "estimates"],
    ),
    "watch": record({"seq": whole(), "grown": _SIZES}, ["grown"]),
    "read": record({"size": whole(), "offset": whole()}, ["size"]),
    "stream_sizes": record({"streams": _SIZES, "more": flag}, ["streams"]),
    "missing": record({"missing": listing(_OID, MOST_OIDS), "base_known": flag, "disk_free": whole()}, ["missing"]),
    "put": record({"new": whole()}),
    "submit": _VIEW,
    "submit_many": record({"jobs": listing(row(_JOB, whole(), moment, number(-1e18, 1e18)), 1_000_000)}, ["jobs"]),
    "stop": _VIEW,
    "resume": _VIEW,
    "delete": record({}),
    "prune": record(
        {
            "pruned": sieve(_JOB, MOST_JOBS),
            "kept": sifted_table(_WORDS, MOST_JOBS, _JOB),
            "not_fetched_by": sifted_table(sieve(text(64), 1000), MOST_JOBS, _JOB),
        },
        ["pruned", "kept", "not_fetched_by"],
    ),
    "acknowledge": record({}),
    "received": record({}),
    "pause": record({"paused": sieve(_NAME, 10_000)}),
    "move": _VIEW,
    "annotate": record({"unknown": sieve(_JOB, MOST_JOBS)}),
    "queue": record(
        {
            "jobs": sieve(row(_JOB, whole(-(2**31), 2**31), _WORDS, optional(moment)), MOST_JOBS),
            "more": whole(),
            "paused": sieve(_NAME, 10_000),
        },
        ["jobs", "more", "paused"],
    ),
    "forgive": record({"forgiven": sieve(text(200), 1000)}, ["forgiven"]),
    "claims": record({"ignored": sieve(text(200), 1000)}, ["ignored"]),
    "samples": record({"offset": whole(), "end": whole()}, ["offset"]),
    "list": record(
        {
            "entries": sieve(
                record(
                    {
                        "name": _PATH,
                        "kind": one_of("file", "folder", "link"),
                        "size": whole(),
                        "modified_at": moment,
                    },
                    ["name", "kind", "size", "modified_at"],
                ),
                MOST_JOBS,
            ),
            "truncated": flag,
            "more": flag,
        },
        ["entries"],
    ),
    "shutdown": record({}),
}
"""What each answer may say."""
_REASON = record({"reason_code": one_of(*(reason.value for reason in EndReason))}, ["reason_code"])
_FACTS = sift(
    {
        "reason": _WORDS,
        "exit_code": optional(whole(-(2**31), 2**31)),
        "signal": optional(text(100)),
        "cause": json_table(1 << 16),
        "usage": sifted_table(optional(number()), 100, text(100)),
        "started_at": optional(moment),
        "ended_at": moment,
    }
)


def EXIT(value: Any, where: str) -> Dict[str, Any]:  # noqa: N802 - one of the checks
    """Check what a supervisor says of an attempt's end; the file lies in a folder that the job can write to.

    What is wrong about the end costs only itself: without its reason code there is no end.
    """
    return {**_REASON(value, where), "reason": "", **_FACTS(value, where)}


NEWS: Check = record(
    {
        "type": one_of("preparing", "running", "ended"),
        "pid": whole(0, 2**31),
        "supervisor": whole(0, 2**31),
        "started_at": optional(moment),
    },
    ["type"],
)
"""What a supervisor says while it has an attempt; when it has ended, what ``EXIT`` says, too."""
REFUSAL: Check = record({"code": text(100), "message": text(PAGE_BYTES)}, ["code", "message"])
"""Why a request was refused."""
MOST_BLOB = {"read": PAGE_BYTES, "samples": PAGE_BYTES, "entry": PAGE_BYTES}
"""Bytes that may come with an answer."""


def check_request(method: str, params: Any) -> Dict[str, Any]:
    """Return what a request asks, checked.

    Raises:
        BadRequest: it makes no sense; the words name the field.
    """
    checked: Dict[str, Any] = REQUESTS[method]({} if params is None else params, "")
    return checked


def check_answer(method: str, answer: Any, blob: bytes = b"") -> Dict[str, Any]:
    """Return what an answer says, checked.

    Raises:
        BadRequest: it makes no sense; the words name the field.
    """
    if len(blob) > MOST_BLOB.get(method, 0):
        raise BadRequest(f"{len(blob):,} bytes came with it; at most {MOST_BLOB.get(method, 0):,} were asked for")
    checked: Dict[str, Any] = ANSWERS[method](answer, "")
    if method == "hello":
        checked.update(RESOURCES(answer, ""))
    return checked
