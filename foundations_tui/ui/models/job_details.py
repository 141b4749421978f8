"""What is known of a job, as text: all of it, or a part for the strip below the jobs; read in the store's thread."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from textual.content import Content

from foundations_tui.analysis import facts_words
from foundations_tui.analysis.stories.jobs import by_importance
from foundations_tui.store import history, queries
from foundations_tui.store.rows import CurvePoint, JobRow, JobSample
from foundations_tui.text import humanize, story
from foundations_tui.text.sanitize import clip, one_line, several_lines
from foundations_tui.ui.models import timeline
from foundations_tui.ui.models.curves import sparkline
from foundations_tui.ui.models.timeline import Phase
from foundations_tui.ui.theme import LOOK
from remote_agent.protocol.ends import PastAttempt

_CELLS, _FEW_CELLS = 18, 6
"""Of a sparkline, where there is room and where there is not."""
_WIDE_FROM = 90
_MOST_METRICS = 40
_MOST_ARTIFACTS = 20
_LONGEST_BAR = 72
_INDENT = 14
"""Of the value of a fact."""
TWO_COLUMNS_FROM = 130
"""Cells from which there is room for two columns."""
PARTS = ("summary", "config", "git")
"""What can stand in the log's place."""


@dataclass(frozen=True)
class JobDetails:
    """A job, and what belongs to it."""

    row: JobRow
    spec: dict[str, object]
    curves: dict[str, list[CurvePoint]]
    samples: list[JobSample]
    recorded: queries.Recorded
    lineage: queries.Lineage
    directions: dict[str, str]
    """"min" or "max" of metrics."""
    phases: list[Phase]
    """What it spent its time with."""


def read(conn: sqlite3.Connection, job: str) -> JobDetails:
    """Return what is known of a job.

    Raises:
        NotFoundError: there is no such job.
    """
    row = queries.job(conn, job)
    keys = list(row.metrics)[:_MOST_METRICS]
    curves = {key: queries.curve(conn, job, row.attempt, key) for key in keys}
    samples, recorded = queries.job_samples(conn, job, row.attempt), queries.recorded(conn, row)
    directions = queries.directions(conn, row.project)
    until = time.time() + history.offsets(conn).get(row.host, 0.0)
    phases = timeline.phases(row, queries.transitions(conn, job), until)
    lineage = queries.lineage(conn, job)
    return JobDetails(row, queries.spec(conn, job), curves, samples, recorded, lineage, directions, phases)


def everything(details: JobDetails, room: int) -> list[Content]:
    """Return all of it in one column, or in two where lines have the cells for that."""
    if room < TWO_COLUMNS_FROM:
        return [Content("\n").join(_sections(details, room, _ONE_COLUMN))]
    half = (room - 3) // 2
    return [Content("\n").join(_sections(details, half, names)) for names in _TWO_COLUMNS]


_ONE_COLUMN = ("state", "facts", "timeline", "metrics", "config", "used", "artifacts", "environment", "attempts")
_TWO_COLUMNS = (
    ("state", "facts", "config", "environment", "attempts"),
    ("timeline", "metrics", "used", "artifacts"),
)


def _sections(details: JobDetails, room: int, names: Sequence[str]) -> Iterator[Content]:
    """Yield the lines of parts of it, one part after the other."""
    row = details.row
    sections: dict[str, Iterable[Content]] = {
        "state": _state(row),
        "facts": _facts(details, room),
        "timeline": _timeline(details, room, time.time()),
        "metrics": _metrics(details, room),
        "config": _config(details),
        "used": _resources(details.samples),
        "artifacts": _table("artifacts", _artifacts(row)),
        "environment": _table("environment", _environment(details.spec)),
        "attempts": (_fact(f"attempt {past.attempt}", _how_it_ended(past), room) for past in row.attempts),
    }
    for name in names:
        yield from sections[name]


def part(details: JobDetails, name: str, room: int) -> Content:
    """Return one of the parts, without a head, for lines of so many cells."""
    if name == "summary":
        lines = [*_sections(details, room, ("state", "timeline", "metrics", "used"))]
    elif name == "config":
        lines = [*_sections(details, room, ("config", "environment"))]
    else:
        lines = [_fact(name, value, room) for name, value in _code(details).items() if value]
    text = Content("\n").join(lines or [Content.styled("there is nothing of it", "dim")])
    return text[1:] if text.plain.startswith("\n") else text


def _state(row: JobRow) -> Iterator[Content]:
    told = row.tell(time.time())
    state = Content.styled(f"{LOOK.glyph(row.shown_state)} {row.state}", LOOK.style(row.shown_state))
    yield Content.assemble(state, "  ", one_line(told))
    if row.is_final and row.reason_code != "finished" and row.why != told:
        yield Content.styled("  " + one_line(row.why), "dim")
    if row.story is not None:
        for one in row.story.evidence:
            yield Content.styled("  " + one_line(one.line), "dim")


def _facts(details: JobDetails, room: int) -> Iterator[Content]:
    row = details.row
    facts = {
        "project": row.project,
        "host": row.host + (" (out of reach)" if row.unreachable_since is not None else ""),
        "owner": row.owner,
        "command": humanize.command(row.command),
        "exit code": "" if row.exit_code is None else f"{row.exit_code}" + (f" ({row.signal})" if row.signal else ""),
        "attempt": str(row.attempt or "") + (f", {row.retries} retries allowed" if row.retries else ""),
        "group": row.group,
        "rerun of": details.lineage.rerun_of,
        "reruns": ", ".join(job[:6] for job in details.lineage.reruns),
        "GPUs": ", ".join(row.gpus) or (f"{row.gpus_requested} asked for" if row.gpus_requested else ""),
        **_code(details),
        "packages": facts_words.environment(details.recorded),
        "python": facts_words.python(details.recorded),
        "machine": facts_words.machine(details.recorded.facts),
        "note": row.note,
        "tags": "  ".join(key if value == "" else f"{key}={humanize.number(value)}" for key, value in row.tags.items()),
    }
    yield from (_fact(name, value, room) for name, value in facts.items() if value)


def _code(details: JobDetails) -> dict[str, str]:
    """Return which code it ran."""
    git = details.spec.get("git")
    git = git if isinstance(git, dict) else {}
    changed = ", with changes: d shows them" if git.get("dirty") else ""
    commit = f"{str(git['commit'])[:12]}{changed}" if git.get("commit") else ""
    return {"commit": commit, "branch": str(git.get("branch") or ""), "snapshot": details.row.snapshot[:12]}


def _config(details: JobDetails) -> Iterator[Content]:
    yield from _table("parameters", {key: humanize.number(value) for key, value in details.row.params.items()})
    args = {
        key: value
        for key, value in details.row.args.items()
        if key not in details.row.params or details.row.params[key] != value
    }
    yield from _table("command line", {key: humanize.number(value) for key, value in args.items()})


def _how_it_ended(attempt: PastAttempt) -> str:
    return f"{attempt.state} {attempt.reason or ''}"


def _artifacts(row: JobRow) -> dict[str, str]:
    found = {key: _artifact(facts) for key, facts in list(row.artifacts.items())[:_MOST_ARTIFACTS]}
    more = len(row.artifacts) - len(found)
    return {**found, "...": f"{more} more: a lists them"} if more else found


def _artifact(facts: object) -> str:
    """Return what is known of an artifact: its file and its size."""
    if not isinstance(facts, dict):
        return ""
    name, size = str(facts.get("name") or ""), facts.get("size")
    kind = str(facts.get("kind") or "")
    parts = [name, humanize.size(size) if isinstance(size, int | float) else "", kind if kind != "file" else ""]
    return "  ".join(part for part in parts if part)


def _fact(name: str, value: str, room: int) -> Content:
    """Return a name and a value, which goes on below itself where it is longer than the room, cells."""
    cells = max(1, room - _INDENT)
    lines = [part.plain for line in several_lines(value).split("\n") for part in Content(line).wrap(cells)]
    text = f"\n{' ' * _INDENT}".join(line.rstrip() for line in lines)
    return Content.assemble(Content.styled(f"{name:<12}  ", "dim"), text)


def _timeline(details: JobDetails, room: int, now: float) -> Iterator[Content]:
    row = details.row
    moments = [("created", row.created_at), ("started", row.started_at), ("ended", row.ended_at)]
    arrow = " > " if LOOK.ascii else " → "
    told, shown = [], now  # a date is said once
    for name, moment in moments:
        if moment:
            told.append(f"{name} {humanize.clock(moment, shown, seconds=True)}")
            shown = moment
    yield _fact("timeline", arrow.join(told), room)
    for line in timeline.drawn(details.phases, min(_LONGEST_BAR, room - _INDENT)):
        yield Content.assemble(" " * _INDENT, line)
    took = [humanize.duration(row.duration(now))] if row.duration(now) is not None else []
    if row.gpus and row.duration(now):
        took.append(f"{len(row.gpus) * (row.duration(now) or 0.0) / 3600:.2f} GPU hours")
    if took:
        yield _fact("ran" if row.is_final else "has run", ", ".join(took), room)


def _heading(words_: str) -> Content:
    return Content.assemble("\n", Content.styled(words_, "bold"))


def _table(name: str, facts: dict[str, str]) -> Iterator[Content]:
    if not facts:
        return
    yield _heading(name)
    wide = min(24, max(len(one_line(key)) for key in facts))
    for key, value in facts.items():
        yield Content.assemble("  ", Content.styled(one_line(key).ljust(wide), "dim"), "  ", one_line(value))


def _metrics(details: JobDetails, room: int) -> Iterator[Content]:
    if not details.row.metrics:
        return
    yield _heading("metrics")
    keys = by_importance(list(details.row.metrics), details.directions)
    cells = _CELLS if room >= _WIDE_FROM else _FEW_CELLS
    wide = min(24 if room >= _WIDE_FROM else 16, max(len(one_line(key)) for key in keys))
    head = "".join(f"  {title:>10}" for title in ("last", "min", "max", "values"))
    yield Content.styled(" " * (wide + 4) + " " * cells + head, "dim")
    for key in keys:
        metric = details.row.metrics[key]
        line = sparkline([point.last for point in details.curves.get(key, [])], cells)
        numbers = [story.value(value) if value is not None else "" for value in (metric.last, metric.min, metric.max)]
        text = "".join(f"  {one_line(number)[:20]:>10}" for number in (*numbers, f"{metric.count:,}"))
        yield Content.assemble(
            "  ", Content.styled(clip(one_line(key), wide).ljust(wide), "dim"), f"  {line:<{cells}}", text
        )


def _resources(samples: list[JobSample]) -> Iterator[Content]:
    if not samples:
        return
    yield _heading("used over time")
    last = samples[-1]
    rows: list[tuple[str, Sequence[float | None], str]] = [
        ("CPUs", [s.cpus for s in samples], "" if last.cpus is None else f"{last.cpus:.1f}"),
        ("RAM", [s.ram for s in samples], humanize.size(last.ram)),
        ("GPU %", [s.gpu for s in samples], "" if last.gpu is None else f"{last.gpu}"),
        ("GPU MiB", [s.gpu_memory for s in samples], "" if last.gpu_memory is None else f"{last.gpu_memory}"),
    ]
    for name, values, now in rows:
        if any(value is not None for value in values):
            line = sparkline(values, _CELLS)
            yield Content.assemble("  ", Content.styled(f"{name:<8}", "dim"), f"  {line:<{_CELLS}}  {now}")


def _environment(spec: dict[str, object]) -> dict[str, str]:
    env = spec.get("env")
    table = env if isinstance(env, dict) else {}
    return {str(key): str(value) for key, value in table.items() if key != "PATH"}  # it says much of little
