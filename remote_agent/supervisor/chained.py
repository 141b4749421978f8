"""The second job of a chain: it gets what the first one has made, as the files of a model."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from typing import Iterator

from remote_agent.protocol.chains import VARIABLE, Chain, Made, Summary
from remote_agent.protocol.errors import NotFound
from remote_agent.protocol.jobs import JobSpec
from remote_agent.protocol.models import DATA, FilesToKeep
from remote_agent.storage import files
from remote_agent.storage.paths import AttemptPaths, Paths
from remote_agent.system import kept_files

_MOST_METRICS_BYTES = 12_000
_LONGEST_LINE = 1 << 20


def filled(paths: Paths, spec: JobSpec, own: AttemptPaths) -> JobSpec:
    """Return the specification of a chain's second job with what the first one has made; what that is, is written down.

    Args:
        paths: the agent's files.
        spec: the second job; the first is what it waited for.
        own: its attempt.
    Raises:
        AgentError: the first one has made no such files, or they cannot be kept. OSError: there is no room.
    """
    chain = Chain.from_wire(spec.chain, "chain")
    job = spec.after[0]
    attempt = paths.job(job).last_attempt()
    if not attempt:
        raise NotFound(f"the folder of job {job} is not on this host any more")
    summary = _summary(paths.job(job).attempt(attempt))
    made = Made(metrics=summary.metrics(_MOST_METRICS_BYTES), attempt=attempt)
    path = str(chain.version.get("path", ""))
    if path:
        kept = kept_files.keep(paths, FilesToKeep(job, attempt, _in_job(summary, spec.subdir, path)))
        made = replace(made, data=kept.hash, files=kept.files, bytes=kept.bytes, path=kept.path)
    files.write_json(own.made, made.to_wire())
    if not made.data:
        return spec
    manifest = {**json.loads(spec.env.get(VARIABLE) or "{}"), "hash": made.data}
    data = {**spec.data, DATA: {"path": made.path, "at": "", "hash": made.data}}
    return replace(spec, data=data, env={**spec.env, VARIABLE: json.dumps(manifest)})


def _in_job(summary: Summary, subdir: str, path: str) -> str:
    """Return where a path of a version lies in its job: among the artifacts, or below the folder that it ran in."""
    if path.startswith("artifacts/"):
        return summary.place_of(path)
    return f"{subdir}/{path}" if subdir else path


def _summary(attempt: AttemptPaths) -> Summary:
    summary = Summary()
    for name in sorted(os.listdir(attempt.records)) if os.path.isdir(attempt.records) else ():
        if name.endswith(".jsonl"):
            for line in _lines(os.path.join(attempt.records, name)):
                summary.add(line)
    return summary


def _lines(path: str) -> Iterator[object]:
    """Yield the lines of a records file, decoded; one that is torn or makes no sense is passed over."""
    with files.open_regular(path) as file:
        while True:
            line = file.readline(_LONGEST_LINE)
            if not line:
                return
            try:
                yield json.loads(line)
            except (ValueError, RecursionError):
                continue
