"""The verb schedule: jobs that a host submits by itself, at their times."""

from __future__ import annotations

import shlex
import time
from typing import TYPE_CHECKING, Any

import click

from foundations_tui.cli import output
from foundations_tui.cli.params import LocalPath, ScheduleName, connecting, connecting_to_submit, json_option, say
from foundations_tui.cli.progress import ProgressLine
from foundations_tui.cli.stderr import tell
from foundations_tui.cli.table_options import NameThenCommand, table_options
from foundations_tui.services.schedules.request import ALL_OPTIONS, ScheduleRequest, read, times_words
from foundations_tui.store import queries
from foundations_tui.text import humanize
from foundations_tui.text.sanitize import one_line

if TYPE_CHECKING:
    from foundations_tui.services.schedules.operations import Added
    from foundations_tui.session import Session
    from foundations_tui.store.rows import JobRow
    from foundations_tui.store.schedules import ScheduleRow
    from remote_agent.protocol.schedules import ScheduleView

_name_argument = click.argument("name", type=ScheduleName())
_others_option = click.option("--others", is_flag=True, help="Also schedules of other people.")


@click.group()
def schedule() -> None:
    """Schedules: jobs that a host submits by itself, at their times, with every laptop closed.

    \b
      foundations schedule add retrain --cron '0 3 * * *' --gpus 1 -- python train.py
      foundations schedule add retrain --every 6h --register churn --promote-if accuracy:max -- python train.py
      foundations schedule list
    """


@schedule.command(cls=NameThenCommand, options_metavar="[OPTIONS] -- COMMAND...")
@click.argument("name", type=LocalPath())
@table_options(ALL_OPTIONS)
@click.option("--dry-run", is_flag=True, help="Only say what would be shipped.")
@json_option
@connecting_to_submit
def add(session: Session, name: str, dry_run: bool, as_json: bool, **values: Any) -> int:
    """Have a host submit a job again and again, on the working tree as it is now.

    \b
      foundations schedule add retrain --cron '0 3 * * *' -- python train.py
      foundations schedule add retrain --every 6h --register churn --promote-if accuracy:max -- python train.py

    The five fields are minute, hour, day of the month, month and weekday, as cron has them, by the clock of the host
    (--utc: by UTC's). A time at which the host was off is said, and not made up for. With --register, each job that
    has completed is registered as a version of a model, once the model's example has run ([model] of foundations.toml);
    with --promote-if it becomes the champion if it is better, and services that follow that go on to it. The same name
    again replaces the schedule.
    """
    request = read(session.store.conn, name, click.get_current_context().meta["command"], values)
    line = ProgressLine()
    try:
        if dry_run:
            return _print_dry_run(session, request, as_json)
        from foundations_tui.services.schedules import operations

        added = operations.add(session, request, line)
    finally:
        line.end()
    _print_added(added, as_json)
    return 0


def _print_dry_run(session: Session, request: ScheduleRequest, as_json: bool) -> int:
    from foundations_tui.submit import pipeline

    shown = pipeline.preview(session, [request.job])
    when = times_words(request.cron, request.every, request.utc)
    if as_json:
        told = {"schedule": request.name, "host": shown.host, "command": list(request.job.command), "when": when}
        output.print_json({**told, "snapshot": shown.snapshot, "environment": shown.environment.to_json()})
        return 0
    click.echo(f"would submit {one_line(shlex.join(request.job.command))}: {when}")
    for line in shown.lines:
        click.echo(one_line(line))
    return 0


def _print_added(added: Added, as_json: bool) -> None:
    from foundations_tui.services.schedules import operations
    from foundations_tui.store.schedules import ScheduleRow

    view = added.view
    if as_json:
        output.print_json({**operations.to_json(ScheduleRow(added.host, view, None, None)), "replaced": added.replaced})
        return
    what = "replaces the one before" if added.replaced else "is added"
    say(f"schedule {view.name} {what} on {added.host}; its next times there:")
    for words in view.next_words:
        click.echo(one_line(words))
    if view.then:
        say(f"behind each job: {one_line(view.then)}")
    if added.missing:
        say(f"note: after a reboot of {added.host} it goes on only when the agent is started: {added.missing}")


@schedule.command("list")
@json_option
@connecting
def list_(session: Session, as_json: bool) -> int:
    """List the schedules of all hosts, their next times, and what has come of them."""
    from foundations_tui.services.schedules import operations

    rows, errors = operations.listing(session)
    for error in errors.values():
        tell(error)
    now = time.time()
    conn = session.store.conn
    last = {job.job: job for job in queries.jobs_by_id(conn, [row.view.last_job for row in rows if row.view.last_job])}
    if as_json:
        told = [(operations.to_json(row), last.get(row.view.last_job)) for row in rows]
        output.print_json([{**table, "last_state": job.state if job else None} for table, job in told])
        return 0
    if not rows:
        say("no host has a schedule; foundations schedule add NAME --every 6h -- COMMAND adds one")
        return 0
    cells = [
        [
            row.name,
            row.host,
            one_line(times_words(row.view.cron, row.view.every, row.view.utc)),
            one_line(row.view.next_words[0]) if row.view.next_words else "",
            _last_words(row, last.get(row.view.last_job), now),
            one_line(_words(row, last.get(row.view.last_job), now)),
        ]
        for row in rows
    ]
    output.print_table(("SCHEDULE", "HOST", "WHEN", "NEXT", "LAST JOB", "HOW IT IS"), cells)
    return 0


def _last_words(row: ScheduleRow, job: JobRow | None, now: float) -> str:
    """Return its last job: which, what became of it, when it began."""
    if not row.view.last_job:
        return "never"
    state = f" {job.state}" if job else ""
    return f"{row.view.last_job[:6]}{state}, {humanize.ago(row.view.last_at, now)}"


def _words(row: ScheduleRow, job: JobRow | None, now: float) -> str:
    """Return how a schedule is, in words: what went wrong comes first."""
    view = row.view
    if row.is_lost:
        return f"lost: {row.host} does not know it any more"
    words = [
        "paused" if view.paused else "",
        f"could not submit: {view.problem}" if view.problem else "",
        f"job {job.job[:6]} {job.state}: {job.tell(now)}" if job and job.went_wrong else "",
        view.outcome,
        f"missed {view.missed}, the last {humanize.ago(view.missed_at, now)}" if view.missed else "",
        f"skipped {view.skipped}" if view.skipped else "",
        f"{row.host} is out of reach" if row.unreachable_since else "",
    ]
    return "; ".join(filter(None, words)) or "active"


@schedule.command()
@_name_argument
@_others_option
@connecting
def pause(session: Session, name: str, others: bool) -> int:
    """Submit no further jobs for now; those that run go on."""
    row, _ = _change(session, name, others, "pause")
    say(f"{row.name} is paused; foundations schedule resume {row.name} has it go on")
    return 0


@schedule.command()
@_name_argument
@_others_option
@connecting
def resume(session: Session, name: str, others: bool) -> int:
    """Go on; what was due meanwhile is not made up for."""
    row, view = _change(session, name, others, "resume")
    say(f"{row.name} goes on: {one_line(view.next_words[0] if view.next_words else '')}")
    return 0


@schedule.command()
@_name_argument
@_others_option
@json_option
@connecting
def run(session: Session, name: str, others: bool, as_json: bool) -> int:
    """Submit its job now, too."""
    row, view = _change(session, name, others, "run")
    if as_json:
        output.print_json({"schedule": row.name, "host": row.host, "job": view.last_job})
        return 0
    click.echo(view.last_job)
    say(f"job {view.last_job} submitted by {row.host}")
    return 0


@schedule.command()
@_name_argument
@_others_option
@connecting
def remove(session: Session, name: str, others: bool) -> int:
    """Remove a schedule; jobs that it has submitted stay."""
    row, _ = _change(session, name, others, "remove")
    say(f"{row.name} is removed; its jobs stay")
    return 0


def _change(session: Session, name: str, others: bool, action: str) -> tuple[ScheduleRow, ScheduleView]:
    from foundations_tui.jobs.ownership import actor_of
    from foundations_tui.services.schedules import operations

    row = operations.fresh(session, name)
    return row, operations.change(session, actor_of(session.hosts, others), row, action)
