"""What a user submits: one job, or all jobs of a sweep, understood, looked at before, and sent."""

from __future__ import annotations

import os
import sqlite3
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from foundations_tui.config.project import load_project
from foundations_tui.errors import UsageError
from foundations_tui.store import queries
from foundations_tui.submit import named_files
from foundations_tui.submit.progress import SILENT, Progress
from foundations_tui.submit.request import OPTIONS, PARAMS_FILE, JobRequest, SubmittedJob, request_of
from foundations_tui.sweeps import grid
from foundations_tui.text import humanize
from foundations_tui.text.options import Kind, Option
from foundations_tui.text.sanitize import clip, one_line
from remote_agent.protocol.wire import JsonTable

if TYPE_CHECKING:
    from foundations_tui.session import Session
    from foundations_tui.submit.pipeline import Preview

SWEEP_OPTIONS: dict[str, Option] = {
    "sweeps": Option(
        "--sweep",
        Kind.AXIS,
        "Submit a job for each value (repeatable).",
        metavar="K=VALUES",
        default=(),
        label="sweep",
        hint="lr=1e-4,3e-4 bs=32:128:x2: a job for each combination",
    ),
    "sweep_file": Option("--sweep-file", Kind.FILE, "Read the sweep from the table [sweep] of a TOML file."),
    "is_zip": Option("--zip", Kind.FLAG, "Pair the values instead of combining them all.", default=False),
    "draws": Option("--random", Kind.NUMBER, "Draw this many jobs at random from the sweep.", default=0),
    "seed": Option("--seed", Kind.NUMBER, "The same seed draws the same jobs.", least=-(1 << 63), most=1 << 63),
}
ALL_OPTIONS: dict[str, Option] = {**OPTIONS, "params_file": PARAMS_FILE, **SWEEP_OPTIONS}
"""All that says what is submitted, by the names of the values that ``read`` takes."""
_IDS_SHOWN = 20
_LONGEST_PART = 40
"""Cells of one parameter in a job's name."""
ASKED_FROM = 50
"""Jobs from which the user is asked before they are submitted."""


@dataclass(frozen=True)
class Submission:
    """What a user wants to submit."""

    requests: list[JobRequest]
    """One for each job."""
    group: str = ""
    """The sweep's name; empty for a single job."""
    axes: tuple[str, ...] = ()
    """The parameters that are swept."""
    words: str = ""
    """The sweep in words: "6 jobs: lr (3) x bs (2)"."""
    notes: tuple[str, ...] = ()
    """What may not be meant although it can be submitted."""

    @property
    def is_sweep(self) -> bool:
        """Whether it may be several jobs."""
        return bool(self.group)


def read(
    conn: sqlite3.Connection, command: Sequence[str], values: Mapping[str, Any], params: Mapping[str, Any] | None = None
) -> Submission:
    """Parse what to submit.

    Args:
        conn: a connection of the store, which knows the jobs that are named and how long jobs take.
        command: the words of the command.
        values: by the names of ``ALL_OPTIONS``; what is missing is as by default.
        params: parameters of the job that no command line had to hold; those among the values win.
    Raises:
        UsageError: it cannot be understood. NotFoundError: a job that is named does not exist.
    """
    plan = _plan(values)
    request = request_of(conn, command, values)
    if params:
        request = replace(request, params={**params, **request.params})
    earlier = queries.spec(conn, request.code_of) if request.code_of else {}
    notes = _what_reaches_nothing(request, plan)
    if plan is None:
        return Submission([_filled(request, earlier) if earlier else request], notes=tuple(notes))
    group = request.group or f"sweep-{os.urandom(3).hex()}"
    requests = expand(request, plan, group, _typed_before(earlier))
    notes += _unused(request, plan)
    return Submission(requests, group, tuple(plan.axes), _in_words(conn, request, requests, plan), tuple(notes))


def _typed_before(spec: JsonTable) -> dict[str, dict[str, str]]:
    """Return how the parameters of a job that is run again were written in its command."""
    return grid.typed_before(spec.get("template") or (), spec.get("command") or (), spec.get("params") or {})


def _filled(request: JobRequest, spec: JsonTable) -> JobRequest:
    """Return a request whose parameters fill the placeholders of its command: the earlier job may be one of a sweep."""
    if not spec.get("template") and list(request.command) == spec["command"]:
        return request  # its braces were none to be filled
    command = grid.fill(request.command, request.params, _typed_before(spec))
    if list(request.command) == spec.get("template") and request.params == spec.get("params"):
        command = tuple(spec["command"])  # nothing has changed: to the letter
    return request if command == request.command else replace(request, command=command, template=request.command)


def expand(
    request: JobRequest, plan: grid.SweepPlan, group: str, typed_before: Mapping[str, dict[str, str]] | None = None
) -> list[JobRequest]:
    """Return the request of each job of a sweep.

    Args:
        request: what they share.
        plan: the sweep.
        group: its name.
        typed_before: how parameters were written in an earlier job, see ``grid.typed_before``.
    Raises:
        UsageError: the axes cannot be combined so, or give too many jobs.
    """
    typed = {**(typed_before or {}), **grid.typed_words(plan.axes)}
    fills = any(grid.uses(request.command, key) for key in (*plan.axes, *request.params))
    template = request.command if fills else ()
    return [
        replace(
            request,
            command=grid.fill(request.command, {**request.params, **params}, typed),
            template=template,
            params={**request.params, **params},
            name=f"{request.name}-{number}" if request.name else name_of(params),
            group=group,
        )
        for number, params in enumerate(grid.expand(plan.axes, plan.mode, plan.count, plan.seed), 1)
    ]


def name_of(params: Mapping[str, Any]) -> str:
    """Return what a job of a sweep is called that has no other name: what varies, "lr 0.1  hidden 16"."""
    return "  ".join(clip(one_line(f"{key} {humanize.number(value)}"), _LONGEST_PART) for key, value in params.items())


def preview(session: Session, submission: Submission, progress: Progress = SILENT) -> Preview:
    """Return what would be shipped; a host is asked only for what builds an environment.

    Raises:
        FoundationsError: why it could not be submitted as it is.
    """
    from foundations_tui.submit import pipeline  # 50 ms: it talks to hosts, and --help needs none of it

    _warn(session, submission)
    return pipeline.preview(session, submission.requests, progress)


def submit(session: Session, submission: Submission, progress: Progress = SILENT) -> list[SubmittedJob]:
    """Submit it: all jobs, or none.

    Raises:
        FoundationsError: why not.
    """
    from foundations_tui.submit import pipeline

    _warn(session, submission)
    return pipeline.submit_all(session, submission.requests, progress)


def _warn(session: Session, submission: Submission) -> None:
    """Say which files that the command names would not travel with it."""
    for warning in named_files.warnings(submission.requests[0]):
        session.say(warning)


def submitted_text(submission: Submission, submitted: Sequence[SubmittedJob]) -> str:
    """Return what came of a submit, in words: the ids, where the jobs went, and what travelled."""
    ids = [job.view.spec.job for job in submitted[:_IDS_SHOWN]]
    if len(submitted) > _IDS_SHOWN:
        ids.append(f"and {humanize.plural(len(submitted) - _IDS_SHOWN, 'more job')}")
    last = sweep_words(submission, submitted) if submission.is_sweep else shipped_words(submitted[0])
    return "\n".join([*ids, last])


def sweep_words(submission: Submission, submitted: Sequence[SubmittedJob]) -> str:
    """Return where the jobs of a sweep went."""
    counts = Counter(job.host for job in submitted)
    hosts = ", ".join(f"{host} ({count})" for host, count in counts.items())
    return f"sweep {submission.group}: {humanize.plural(len(submitted), 'job')} submitted to {hosts}"


def shipped_words(submitted: SubmittedJob) -> str:
    """Return where a job went, and what travelled for it."""
    sent = f"{humanize.size(submitted.shipped.bytes)} sent" if submitted.shipped.objects else "nothing new to send"
    files = humanize.plural(submitted.snapshot.files, "file") + ", " if submitted.snapshot is not None else ""
    return f"submitted to {submitted.host} ({files}{sent})"


def _plan(values: Mapping[str, Any]) -> grid.SweepPlan | None:
    """Return the sweep that the options ask for."""
    file, axes_given = values.get("sweep_file"), values.get("sweeps") or ()
    if file and axes_given:
        raise UsageError("either --sweep or --sweep-file")
    plan = grid.read(Path(file)) if file else None
    if axes_given:
        axes = [grid.parse(text) for text in axes_given]
        twice = [key for number, (key, _) in enumerate(axes) if key in dict(axes[:number])]
        if twice:
            raise UsageError(f"{twice[0]!r} is swept twice", f"--sweep {twice[0]}=A,B,C")
        plan = grid.SweepPlan(dict(axes))
    is_zip, draws, seed = values.get("is_zip"), values.get("draws"), values.get("seed")
    if plan is None:
        if is_zip or draws or seed:
            raise UsageError("--zip, --random and --seed belong to a sweep", "--sweep lr=1e-4,3e-4")
        return None
    if is_zip and draws:
        raise UsageError("either --zip or --random")
    mode = "zip" if is_zip else "random" if draws else plan.mode
    return replace(plan, mode=mode, count=draws or plan.count, seed=plan.seed if seed is None else seed)


def _what_reaches_nothing(request: JobRequest, plan: grid.SweepPlan | None) -> list[str]:
    """Refuse a parameter that has two values, and say which placeholders and parameters do not meet."""
    axes = list(plan.axes) if plan is not None else []
    for key in axes:
        if key in request.params:
            raise UsageError(f"{key!r} is both swept and given by --param or --params-file", "leave one of them out")
    notes = []
    for hole in grid.unfilled(request.command, axes and [*axes, *request.params]):
        name = hole.strip("{}")
        if axes:
            notes.append(f"warning: nothing fills {hole} in the command: it has {', '.join(axes)}")
        elif name in request.params and not request.code_of:
            notes.append(f"warning: {hole} in the command is filled by a sweep only: --sweep {name}=VALUE")
    for key in axes:
        if not grid.uses(request.command, key):
            notes.append(
                f"warning: the command has no {{{key}}}: its jobs get {key} only as a parameter"
                f" (foundations.load_parameters(), FOUNDATIONS_PARAM_{key.upper()})"
            )
    return notes


def _unused(request: JobRequest, plan: grid.SweepPlan) -> list[str]:
    unused = [key for key in plan.axes if not grid.uses(request.command, key)]
    if not unused or len(unused) == len(plan.axes):
        return []
    return [f"note: {', '.join(unused)} stands in no {{placeholder}} of the command; the script has to read it"]


def _in_words(
    conn: sqlite3.Connection, request: JobRequest, requests: Sequence[JobRequest], plan: grid.SweepPlan
) -> str:
    """Return how many jobs that are, of which axes, and what they cost as far as that can be known."""
    project = request.project or load_project(request.folder).project or request.folder.resolve().name
    axes = {
        "random": ", ".join(plan.axes) + " drawn at random",
        "zip": ", ".join(plan.axes) + " side by side",
        "grid": " x ".join(f"{key} ({len(axis.values)})" for key, axis in plan.axes.items() if hasattr(axis, "values")),
    }[plan.mode]
    gpus = f", {humanize.plural(request.gpus, 'GPU')} each" if request.gpus else ""
    words = f"{humanize.plural(len(requests), 'job')}: {axes}{gpus}"
    usual = queries.usual_duration(conn, project)
    if usual is None:
        return words
    what, each = ("GPU", request.gpus) if request.gpus else ("CPU", request.cpus)
    needed = humanize.duration(usual * each * len(requests))
    return f"{words}; about {needed} of {what} time, as jobs of {project} took before"
