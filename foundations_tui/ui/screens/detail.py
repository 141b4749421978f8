"""One job in full."""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import Static

from foundations_tui import words
from foundations_tui.errors import FoundationsError
from foundations_tui.store import queries
from foundations_tui.store.rows import CurvePoint, JobRow, JobSample
from foundations_tui.terminal import one_line, several_lines
from foundations_tui.ui.curves import sparkline
from foundations_tui.ui.look import LOOK
from foundations_tui.ui.reader import Reader

if TYPE_CHECKING:
    from foundations_tui.ui.app import FoundationsApp

_CELLS = 24
_MOST_METRICS = 40


@dataclass(frozen=True)
class _Known:
    row: JobRow
    spec: dict[str, object]
    curves: dict[str, list[CurvePoint]]
    samples: list[JobSample]


class Detail(ModalScreen[None]):
    """Shows all that is known of a job; any way back closes it."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,q,enter", "close", "back", id="detail.close"),
        Binding("x", "act", "actions", id="detail.act"),
        Binding("a", "artifacts", "artifacts", id="detail.artifacts"),
        Binding("f", "files", "files", id="detail.files"),
        Binding("d", "difference", "differences", id="detail.difference"),
        Binding("l", "log", "log", id="detail.log"),
        Binding("j,down", "scroll(1)", "down", show=False, id="detail.down"),
        Binding("k,up", "scroll(-1)", "up", show=False, id="detail.up"),
        Binding("ctrl+d,pagedown", "scroll(12)", "page down", show=False, id="detail.page_down"),
        Binding("ctrl+u,pageup", "scroll(-12)", "page up", show=False, id="detail.page_up"),
        Binding("g,home", "scroll(-9999)", "top", show=False, id="detail.top"),
        Binding("G,end", "scroll(9999)", "bottom", show=False, id="detail.bottom"),
    ]

    def __init__(self, reader: Reader, job: str) -> None:
        super().__init__()
        self._reader = reader
        self._job = job
        self._row: JobRow | None = None

    @property
    def _owner(self) -> FoundationsApp:
        return self.app  # type: ignore[return-value]

    def compose(self) -> ComposeResult:
        """Lay out the box."""
        with VerticalScroll(id="box"):
            yield Static(id="detail-text", markup=False)

    def on_mount(self) -> None:
        """Begin."""
        self.query_one("#box").border_subtitle = "x actions  a artifacts  f files  d differences  l log  esc back"
        self.reload()

    def reload(self) -> None:
        """Show what the store has now."""
        job = self._job

        def read(conn: sqlite3.Connection) -> _Known:
            row = queries.job(conn, job)
            keys = list(row.metrics)[:_MOST_METRICS]
            curves = {key: queries.curve(conn, job, row.attempt, key) for key in keys}
            return _Known(row, queries.spec(conn, job), curves, queries.job_samples(conn, job, row.attempt))

        self._reader.ask(self, read, self._take, self._failed)

    def _take(self, known: _Known) -> None:
        if not self.is_attached:
            return  # it was closed meanwhile
        self._row = known.row
        now = time.time()
        title = f"{known.row.job}  {known.row.name}".strip()
        self.query_one("#box").border_title = Content(one_line(title))
        self.query_one("#detail-text", Static).update(Content("\n").join(_lines(known, now)))

    def _failed(self, error: FoundationsError) -> None:
        if self.is_attached:
            self.query_one("#detail-text", Static).update(Content(several_lines(str(error))))

    def action_scroll(self, lines: int) -> None:
        """Scroll."""
        self.query_one("#box").scroll_relative(y=lines, animate=False)

    def action_act(self) -> None:
        """Offer what can be done with it: stop, tag, note ..."""
        self._owner.deeds.offer_actions([self._job])

    def action_artifacts(self) -> None:
        """Offer its artifacts, to be looked at."""
        if self._row is not None:
            self._owner.looking.offer_artifacts(self._row)

    def action_files(self) -> None:
        """List its files."""
        if self._row is not None:
            self._owner.looking.show_files(self._row)

    def action_difference(self) -> None:
        """Offer to compare its code and its log: with another marked job, the one before it, or its commit."""
        others = [job for job in self._owner.main.chosen if job != self._job]
        self._owner.looking.offer_differences([self._job, *others])

    def action_log(self) -> None:
        """Go to its log."""
        self.dismiss(None)
        self._owner.main.action_page("log")

    def action_close(self) -> None:
        """Go back."""
        self.dismiss(None)


def _lines(known: _Known, now: float) -> Iterator[Content]:
    row = known.row
    state = Content.styled(f"{LOOK.glyph(row.shown_state)} {row.state}", LOOK.style(row.shown_state))
    yield Content.assemble(state, "  ", one_line(row.why))
    if row.cause.get("line"):
        yield Content.styled("  " + one_line(str(row.cause["line"])), LOOK.style("failed"))
    facts = {
        "project": row.project,
        "host": row.host + (" (out of reach)" if row.unreachable_since is not None else ""),
        "owner": row.owner,
        "command": words.command(row.command),
        "exit code": "" if row.exit_code is None else f"{row.exit_code}" + (f" ({row.signal})" if row.signal else ""),
        "attempt": str(row.attempt or "") + (f", {row.retries} retries allowed" if row.retries else ""),
        "group": row.group,
        "GPUs": ", ".join(row.gpus) or (f"{row.gpus_requested} asked for" if row.gpus_requested else ""),
        "snapshot": row.snapshot[:12],
        "note": row.note,
        "tags": "  ".join(key if value == "" else f"{key}={words.number(value)}" for key, value in row.tags.items()),
    }
    for name, value in facts.items():
        if value:
            yield _fact(name, value)
    yield from _timeline(row, now)
    yield from _table("parameters", {key: words.number(value) for key, value in row.params.items()})
    yield from _table("command line", {key: words.number(value) for key, value in row.args.items()})
    yield from _metrics(known)
    yield from _resources(known.samples)
    yield from _table("artifacts", {key: json.dumps(value, ensure_ascii=False) for key, value in row.artifacts.items()})
    yield from _table("environment", _environment(known.spec))
    for past in row.attempts:
        yield _fact(f"attempt {past.get('attempt')}", f"{past.get('state', '')} {past.get('reason', '')}")


def _fact(name: str, value: str) -> Content:
    first, *rest = several_lines(value).split("\n")
    text = "\n".join([first, *(" " * 14 + line for line in rest)])
    return Content.assemble(Content.styled(f"{name:<12}  ", "dim"), text)


def _timeline(row: JobRow, now: float) -> Iterator[Content]:
    moments = [("created", row.created_at), ("started", row.started_at), ("ended", row.ended_at)]
    arrow = " > " if LOOK.ascii else " → "
    yield _fact("timeline", arrow.join(f"{name} {words.clock(moment, now)}" for name, moment in moments if moment))
    waited = row.started_at - row.queued_at if row.queued_at and row.started_at else None
    spans = [("waited", waited), ("ran" if row.is_final else "has run", row.duration(now))]
    known = [f"{name} {words.duration(max(0.0, span))}" for name, span in spans if span is not None]
    if row.gpus and row.duration(now):
        known.append(f"{len(row.gpus) * (row.duration(now) or 0.0) / 3600:.2f} GPU hours")
    if known:
        yield _fact("took", ", ".join(known))


def _heading(words_: str) -> Content:
    return Content.assemble("\n", Content.styled(words_, "bold"))


def _table(name: str, facts: dict[str, str]) -> Iterator[Content]:
    if not facts:
        return
    yield _heading(name)
    wide = min(24, max(len(one_line(key)) for key in facts))
    for key, value in facts.items():
        yield Content.assemble("  ", Content.styled(one_line(key).ljust(wide), "dim"), "  ", one_line(value))


def _metrics(known: _Known) -> Iterator[Content]:
    if not known.row.metrics:
        return
    yield _heading("metrics")
    wide = min(24, max(len(one_line(key)) for key in known.row.metrics))
    for key, metric in known.row.metrics.items():
        line = sparkline([point.last for point in known.curves.get(key, [])], _CELLS)
        ends = "" if metric.min is None else f"min {words.number(metric.min)}  max {words.number(metric.max)}"
        text = f"{words.number(metric.last)}  {ends}  {words.plural(metric.count, 'value')}"
        yield Content.assemble("  ", Content.styled(one_line(key).ljust(wide), "dim"), f"  {line:<{_CELLS}}  ", text)


def _resources(samples: list[JobSample]) -> Iterator[Content]:
    if not samples:
        return
    yield _heading("used over time")
    last = samples[-1]
    rows: list[tuple[str, Sequence[float | None], str]] = [
        ("CPUs", [s.cpus for s in samples], "" if last.cpus is None else f"{last.cpus:.1f}"),
        ("RAM", [s.ram for s in samples], words.size(last.ram)),
        ("GPU %", [s.gpu for s in samples], "" if last.gpu is None else f"{last.gpu}"),
        ("GPU MiB", [s.gpu_memory for s in samples], "" if last.gpu_memory is None else f"{last.gpu_memory}"),
    ]
    for name, values, now in rows:
        if any(value is not None for value in values):
            line = sparkline(values, _CELLS)
            yield Content.assemble("  ", Content.styled(f"{name:<8}", "dim"), f"  {line:<{_CELLS}}  {now}")


def _environment(spec: dict[str, object]) -> dict[str, str]:
    env = spec.get("env")
    return {str(key): str(value) for key, value in env.items()} if isinstance(env, dict) else {}
