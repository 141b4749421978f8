"""The verb show."""

from __future__ import annotations

import shlex
import sqlite3
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

from foundations_tui.analysis import facts_words
from foundations_tui.cli import output
from foundations_tui.cli.looking import looking_option, looking_reader
from foundations_tui.cli.params import job_argument, json_option
from foundations_tui.cli.stderr import use_color
from foundations_tui.store import queries
from foundations_tui.store.rows import JobRow, json_value
from foundations_tui.submit.request import words_of
from foundations_tui.text import humanize
from foundations_tui.text.sanitize import one_line
from remote_agent.protocol.ends import Usage
from remote_agent.protocol.facts import Facts
from remote_agent.protocol.wire import JsonTable

if TYPE_CHECKING:
    from foundations_tui.store.models import Meant


@click.command()
@job_argument
@looking_option
@json_option
def show(job: str, sync_first: bool | None, as_json: bool) -> None:
    """Show one job in full."""
    conn = looking_reader(sync_first, as_json)
    row = queries.find(conn, job)
    now = time.time()
    if as_json:
        output.print_json(_wire(conn, row, now))
    else:
        click.echo("\n".join(_show_lines(conn, row, now)), color=use_color())
    output.print_age(conn, {row.host}, now)


def _wire(conn: sqlite3.Connection, row: JobRow, now: float) -> JsonTable:
    recorded = queries.recorded(conn, row)
    wire = {**row.to_json(now), "spec": queries.whole_spec(conn, row.job), "facts": _facts_wire(recorded.facts)}
    names = ("kind", "name", "version", "origin")
    wire["packages"] = recorded.packages and [dict(zip(names, one, strict=True)) for one in recorded.packages]
    lineage = queries.lineage(conn, row.job)
    wire.update(rerun_of=lineage.rerun_of or None, reruns=lineage.reruns)
    wire["models"] = [{"model": one.row.name, "version": one.version.number} for one in _versions(conn, row)]
    wire["attempts"] = [
        {**past, "facts": _facts_wire(queries.facts(conn, row.job, past["attempt"]))} for past in wire["attempts"]
    ]
    return {name: json_value(value) for name, value in wire.items()}


def _versions(conn: sqlite3.Connection, row: JobRow) -> list[Meant]:
    """Return the versions of models that a job has made."""
    from foundations_tui.store import models

    return models.versions_of_job(conn, row.job) if queries.are_any(conn, "registry") else []


def _facts_wire(facts: Facts | None) -> JsonTable | None:
    return None if facts is None else facts.to_wire()


def _attempt_words(row: JobRow) -> str | None:
    if not row.attempt:
        return None
    return f"{row.attempt} of at most {row.retries + 1}" if row.retries else str(row.attempt)


def _usage_words(usage: Usage) -> str:
    parts = [
        f"{humanize.duration(usage.cpu_seconds)} of CPU" if usage.cpu_seconds is not None else "",
        f"{humanize.size(usage.peak_memory)} RAM at most" if usage.peak_memory else "",
        f"{humanize.size(usage.peak_gpu_memory)} GPU memory at most" if usage.peak_gpu_memory else "",
        f"{humanize.size(usage.disk)} on disk" if usage.disk else "",
    ]
    return ", ".join(filter(None, parts))


def _artifact_words(facts: Any) -> str:
    size = facts.get("size") if isinstance(facts, dict) else None
    return humanize.size(size) if isinstance(size, int) else ""


def _outputs_words(row: JobRow) -> str | None:
    outputs = row.outputs
    if not outputs:
        return None
    left = f"; {humanize.size(outputs['left_bytes'])} stayed on the host" if outputs.get("left_bytes") else ""
    if not outputs.get("folder"):
        return f"none: {outputs.get('error')}"
    count, size = humanize.plural(outputs["files"], "file"), humanize.size(outputs["bytes"])
    return f"{count}, {size}, in {outputs['folder']}{left}"


_SHOWN_APART = ("name", "code_of", "project", "gpus", "params", "tags", "priority", "group")


def _options_words(spec: JsonTable) -> str:
    """Return the options of submit that the job got, beside those that have a line of their own."""
    words = words_of(spec)
    return shlex.join([word for name in words if name not in _SHOWN_APART for word in words[name]])


def _marks(row: JobRow) -> str:
    marks = {"starred": row.starred, "archived": row.archived, "deleted": row.trashed_at}
    return ", ".join(mark for mark, is_set in marks.items() if is_set)


def _moment(moment: float | None, now: float) -> str | None:
    """Return a time as people read it: local, to the second."""
    return None if moment is None else f"{humanize.clock(moment, now, seconds=True)} ({humanize.ago(moment, now)})"


def _show_lines(conn: sqlite3.Connection, row: JobRow, now: float) -> list[str]:
    recorded, lineage = queries.recorded(conn, row), queries.lineage(conn, row.job)
    facts: list[tuple[str, Any]] = [
        ("job", row.job),
        ("name", row.name),
        ("project", row.project),
        ("owner", row.owner),
        ("marks", _marks(row)),
        ("host", row.host + (" (out of reach)" if row.unreachable_since is not None else "")),
        ("state", output.state_words(row.state)),
        ("story", row.tell(now)),
        ("reason", row.why),
        ("cause", (row.cause and row.cause.line) or ("unknown" if row.lacks_cause else None)),
        ("exit code", row.exit_code),
        ("attempt", _attempt_words(row)),
        ("group", row.group),
        ("priority", row.priority or None),
        ("after", ", ".join(job[:6] for job in (*row.after, *row.after_any))),
        ("starts", humanize.ahead(row.starts_at, now)),
        ("used", _usage_words(row.usage)),
        ("command", humanize.command(row.command)),
        ("options", _options_words(queries.spec(conn, row.job))),
        ("rerun of", lineage.rerun_of),
        ("reruns", ", ".join(lineage.reruns)),
        ("model", ", ".join(one.words for one in _versions(conn, row))),
        ("GPUs", ", ".join(row.gpus) or (f"{row.gpus_requested} requested" if row.gpus_requested else None)),
        ("packages", facts_words.environment(recorded)),
        ("python", facts_words.python(recorded)),
        ("machine", facts_words.machine(recorded.facts)),
        ("created", _moment(row.created_at, now)),
        ("started", _moment(row.started_at, now)),
        ("ended", _moment(row.ended_at, now)),
        ("took", humanize.duration(row.duration(now))),
        ("snapshot", row.snapshot),
        ("outputs", _outputs_words(row)),
        ("folder", "removed from the host (pruned)" if row.pruned else None),
    ]
    safe: Callable[[Any], str] = lambda value: one_line(str(value))  # noqa: E731
    lines = [f"{key:<10} {value if key == 'state' else safe(value)}" for key, value in facts if value not in (None, "")]
    for title, pairs in (("params", row.params), ("arguments", row.args), ("tags", row.tags)):
        if pairs:
            lines += ["", title, *(f"  {safe(k)} = {safe(v)}" for k, v in pairs.items())]
    if row.artifacts:
        lines += [
            "",
            "artifacts",
            *(f"  {safe(key)}  {_artifact_words(facts)}" for key, facts in row.artifacts.items()),
        ]
    if row.uses:
        lines += ["", "uses", *(f"  {safe(key)} of {safe(job)}" for key, job in row.uses.items())]
    if row.note:
        lines += ["", "note", *(f"  {safe(line)}" for line in row.note.splitlines())]
    if row.story is not None and row.story.evidence:
        lines += ["", "the story stands on", *(f"  {safe(one.line)}" for one in row.story.evidence)]
    if row.attempts:
        lines += ["", "earlier attempts"]
        for past in row.attempts:
            why = ": ".join(filter(None, [past.reason, past.cause.words if past.cause else None]))
            lines.append(f"  {past.attempt}  {past.state}  {safe(why)}".rstrip())
    if row.metrics:
        lines += ["", "metrics (last, min, max, values)"]
        for key, m in sorted(row.metrics.items()):
            numbers = "  ".join(humanize.number(x) for x in (m.last, m.min, m.max) if x is not None)
            lines.append(f"  {safe(key)}  {safe(numbers)}  {m.count}")
    return lines
