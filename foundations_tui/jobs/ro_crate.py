"""The metadata of a bundle for programs: RO-Crate 1.1 with the Process Run Crate profile, one CreateAction a job.

https://www.researchobject.org/ro-crate/specification/1.1/ and https://w3id.org/ro/wfrun/process/0.5.
"""

from __future__ import annotations

import json
import posixpath
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from foundations_tui.store.rows import JobRow, iso
from foundations_tui.text import humanize

_PROFILE = "https://w3id.org/ro/wfrun/process/0.5"
_STATUS = {"completed": "http://schema.org/CompletedActionStatus"}
_FAILED = "http://schema.org/FailedActionStatus"


@dataclass(frozen=True)
class CrateJob:
    """A job, and its files in the bundle."""

    row: JobRow
    code: str
    """Folder of its code; "" for none."""
    files: Sequence[str]
    locks: Sequence[str]


def metadata(jobs: Sequence[CrateJob], sizes: Mapping[str, int]) -> dict[str, Any]:
    """Return what ``ro-crate-metadata.json`` says.

    Args:
        jobs: the jobs.
        sizes: bytes of the files of the bundle, by name.
    """
    graph: dict[str, dict[str, Any]] = {}

    def add(entity: dict[str, Any]) -> dict[str, str]:
        graph.setdefault(entity["@id"], entity)
        return {"@id": entity["@id"]}

    add(
        {
            "@id": "ro-crate-metadata.json",
            "@type": "CreativeWork",
            "conformsTo": {"@id": "https://w3id.org/ro/crate/1.1"},
            "about": {"@id": "./"},
        }
    )
    root: dict[str, Any] = {
        "@id": "./",
        "@type": "Dataset",
        "conformsTo": {"@id": _PROFILE},
        "hasPart": [],
        "mentions": [],
    }
    root.update(name=f"{humanize.plural(len(jobs), 'job')} of Foundations", license={"@id": "#unknown-license"})
    root["description"] = "Code, records, logs and artifacts of computational jobs."
    root["datePublished"] = iso(max((job.row.ended_at or job.row.created_at for job in jobs), default=0.0))
    add(root)
    add({"@id": "#unknown-license", "@type": "CreativeWork", "name": "not stated"})
    add({"@id": _PROFILE, "@type": "CreativeWork", "name": "Process Run Crate", "version": "0.5"})
    for job in jobs:
        root["mentions"].append(add(_action(job, sizes, add, root["hasPart"])))
    root["hasPart"] = _once(root["hasPart"])
    return {"@context": "https://w3id.org/ro/crate/1.1/context", "@graph": list(graph.values())}


def _action(job: CrateJob, sizes: Mapping[str, int], add: Any, parts: list[dict[str, str]]) -> dict[str, Any]:
    row = job.row
    results: list[dict[str, str]] = []
    inputs: list[dict[str, str]] = []
    for name in [*job.files, *job.locks]:
        file = add(
            {"@id": quote(name), "@type": "File", "name": posixpath.basename(name), "contentSize": str(sizes[name])}
        )
        parts.append(file)
        (inputs if name in job.locks or name.endswith("/job.json") else results).append(file)
    for key, value in row.params.items():
        identity = f"#{row.job}/param/{quote(str(key), safe='')}"
        text = value if isinstance(value, str) else json.dumps(value)
        inputs.append(add({"@id": identity, "@type": "PropertyValue", "name": str(key), "value": text}))
    instrument: dict[str, Any] = {"@id": job.code or f"#{row.job}/command", "name": humanize.command(row.command)}
    if job.code:
        instrument["@type"] = ["Dataset", "SoftwareSourceCode"]
        instrument["name"] = f"code {row.snapshot[:12]}"
        parts.append(add(instrument))
    else:
        instrument["@type"] = "SoftwareApplication"
        add(instrument)
    action: dict[str, Any] = {
        "@id": f"#{row.job}",
        "@type": "CreateAction",
        "name": row.name or row.job,
        "description": humanize.command(row.command),
        "instrument": {"@id": instrument["@id"]},
        "object": inputs,
        "result": results,
        "actionStatus": {"@id": _STATUS.get(row.state, _FAILED)},
    }
    if row.state != "completed" and row.why:
        action["error"] = row.why
    for name, moment in (("startTime", row.started_at), ("endTime", row.ended_at)):
        if moment is not None:
            action[name] = iso(moment)
    if row.owner:
        action["agent"] = add({"@id": f"#person/{quote(row.owner, safe='')}", "@type": "Person", "name": row.owner})
    return action


def _once(entities: Sequence[dict[str, str]]) -> list[dict[str, str]]:
    return [{"@id": identity} for identity in dict.fromkeys(entity["@id"] for entity in entities)]
