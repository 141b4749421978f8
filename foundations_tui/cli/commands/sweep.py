"""The verb sweep: what has become of many jobs that were submitted as one."""

from __future__ import annotations

import sqlite3
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from foundations_tui.analysis import aggregate, comparison
from foundations_tui.analysis.cells import cell
from foundations_tui.cli import output
from foundations_tui.cli.outcomes import exit_code, print_outcome
from foundations_tui.cli.params import (
    HostName,
    connecting,
    json_option,
    need_terminal,
    project_filter,
    reader,
    say,
    sync_option,
)
from foundations_tui.errors import NotFoundError
from foundations_tui.store import expressions, queries, stories
from foundations_tui.store.rows import JobRow, json_value, story_json
from foundations_tui.text import humanize, story
from foundations_tui.text.sanitize import one_line

if TYPE_CHECKING:
    from foundations_tui.session import Session

_BEST_SHOWN = 5


@click.group(invoke_without_command=True)
@json_option
@click.pass_context
def sweep(ctx: click.Context, as_json: bool) -> None:
    """List sweeps; show, stop and resume one. foundations submit --sweep lr=1e-4,3e-4 begins one."""
    if ctx.invoked_subcommand is not None:
        return
    conn = reader(False)
    rows = queries.sweeps(conn)
    now = time.time()
    told = stories.of_sweeps(conn)
    if as_json:
        output.print_json([{**row.to_json(), "story": story_json(told.get(row.group), now)} for row in rows])
        return
    if not rows:
        say("no sweeps yet: foundations submit --sweep lr=1e-4,3e-4 -- python train.py --lr {lr}")
        return
    table = [
        [
            r.group,
            r.project,
            *map(str, (r.jobs, r.running, r.waiting, r.completed, r.failed)),
            humanize.ago(r.created_at, now),
            story.words(told[r.group], now) if r.group in told else "",
        ]
        for r in rows
    ]
    headers = ("SWEEP", "PROJECT", "JOBS", "RUNNING", "WAITING", "COMPLETED", "NOT DONE", "CREATED", "ABOUT")
    output.print_table(headers, table, droppable=("CREATED", "PROJECT", "WAITING"), last_wants=30)


@sweep.command()
@click.argument("sweep_id", metavar="ID")
@click.option("--metric", "metric", default="", metavar="EXPR", help="By which the best are chosen (loss:min).")
@sync_option
@json_option
def show(sweep_id: str, metric: str, sync_first: bool, as_json: bool) -> None:
    """Show how far a sweep is, and the best so far."""
    conn = reader(sync_first)
    rows = _jobs_of(conn, sweep_id)
    which = project_filter(conn, query=f"group='{sweep_id}'", project=rows[0].project)
    best = _best(conn, which, rows, metric)
    counts = {state: sum(row.state == state for row in rows) for state in sorted({row.state for row in rows})}
    told, now = stories.of_sweep(conn, sweep_id), time.time()
    if as_json:
        best_jobs = [{"job": row.job, "params": json_value(row.params), "value": json_value(v)} for row, v in best[1]]
        output.print_json(
            {
                "sweep": sweep_id,
                "project": rows[0].project,
                "jobs": len(rows),
                "states": counts,
                "by": best[0],
                "best": best_jobs,
                "story": story_json(told, now),
            }
        )
        return
    click.echo(f"{humanize.plural(len(rows), 'job')}: " + ", ".join(f"{n} {state}" for state, n in counts.items()))
    if told is not None:
        click.echo(story.words(told, now))
        for one in told.evidence:
            click.echo(f"  {one_line(one.words)}")
    if best[1]:
        click.echo(f"\nbest by {best[0]}")
        varying = comparison.varying(rows)
        short = queries.short_ids(conn, [row.job for row, _ in best[1]])
        table = [
            [short[row.job], row.state, humanize.number(value), *(cell(row.params.get(key)) for key in varying)]
            for row, value in best[1][:_BEST_SHOWN]
        ]
        output.print_table(("ID", "STATE", best[0], *varying), table)
    elif not metric:
        say('which metric is best is not known: --metric loss:min, or [metrics.direction] loss = "min" before a submit')


@sweep.command()
@click.argument("sweep_id", metavar="ID")
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option("--others", is_flag=True, help="Also jobs of other people.")
@connecting
def stop(session: Session, sweep_id: str, yes: bool, others: bool) -> int:
    """Stop all jobs of a sweep that have not ended."""
    from foundations_tui.jobs import operations
    from foundations_tui.jobs.ownership import actor_of
    from foundations_tui.jobs.states import possible

    rows = possible(operations.sweep(session, sweep_id)).stop
    if not rows:
        say(f"all jobs of {sweep_id} have ended")
        return 0
    if not yes:
        need_terminal("sweep stop asks first")
        click.confirm(f"Stop {humanize.plural(len(rows), 'job')} of {sweep_id}?", abort=True, err=True)
    return exit_code(operations.stop_sweep(session, actor_of(session.hosts, others), sweep_id, print_outcome))


@sweep.command()
@click.argument("sweep_id", metavar="ID")
@click.option("--others", is_flag=True, help="Also jobs of other people.")
@json_option
@connecting
def resume(session: Session, sweep_id: str, others: bool, as_json: bool) -> None:
    """Submit again, with the same code, what did not complete: failed, stopped and lost jobs of a sweep."""
    from foundations_tui.jobs import operations
    from foundations_tui.jobs.ownership import actor_of

    again = operations.resume_sweep(session, actor_of(session.hosts, others), sweep_id)
    if as_json:
        output.print_json(
            [{"job": job.spec.job, "host": job.host, "params": json_value(job.spec.params)} for job in again]
        )
        return
    for job in again:
        click.echo(job.spec.job)
    say(f"{humanize.plural(len(again), 'job')} submitted again" if again else "there is nothing to resume")


@sweep.command("run")
@click.argument("file", type=click.Path(dir_okay=False, exists=True))
@click.option("--host", default="", type=HostName(("any",)), help="Where to run: a host, 'a,b', 'tag:x' or 'any'.")
@click.option("--gpus", default=0, type=click.IntRange(0), help="Whole GPUs of each job.")
@click.option("--project", default="", help="Their project.")
@json_option
@connecting
def run_search(session: Session, file: str, host: str, gpus: int, project: str, as_json: bool) -> int:
    """Search adaptively: Optuna proposes parameters, jobs try them, what they measured guides what comes next.

    \b
      [search]
      metric = "val_loss"
      direction = "min"
      trials = 40
      at_once = 4
      command = ["python", "train.py", "--lr", "{lr}"]
      [search.parameters]
      lr = "log:1e-5:1e-2"
      optimizer = ["adam", "sgd"]

    Ctrl-C leaves it; the same command goes on with it. The study is named by the file.
    """
    from foundations_tui.submit.request import JobRequest
    from foundations_tui.sweeps import study

    search = study.read(Path(file))
    base = JobRequest((), Path.cwd(), host=host, gpus=gpus, project=project)
    trials: list[study.Trial] = []

    def told(trial: study.Trial) -> None:
        trials.append(trial)
        value = "failed" if trial.value is None else humanize.number(trial.value)
        say(
            f"{trial.number:>4}  {trial.job[:6]}  {value:>12}  "
            + "  ".join(f"{k}={v}" for k, v in trial.params.items())
        )

    try:
        best = study.run(session, search, base, told)
    except KeyboardInterrupt:
        say(f"\nleft the search; its jobs run on, and foundations sweep run {file} goes on with it")
        return 130
    if as_json:
        output.print_json({"sweep": search.name, "trials": len(trials), "best": None if best is None else vars(best)})
    elif best is not None:
        click.echo(f"best: {best.job[:6]}  {search.metric} {humanize.number(best.value)}  {best.params}")
    else:
        say("no trial has completed")
    return 0 if best is not None else 1


def _jobs_of(conn: sqlite3.Connection, sweep_id: str) -> list[JobRow]:
    rows = queries.jobs_of_group(conn, sweep_id)
    if not rows:
        raise NotFoundError(f"there is no sweep {sweep_id!r}", "foundations sweep lists them")
    return rows


def _best(
    conn: sqlite3.Connection, which: queries.JobFilter, rows: list[JobRow], metric: str
) -> tuple[str, list[tuple[JobRow, Any]]]:
    """Return (what by, jobs with their values, the best first)."""
    if not metric:
        with_direction = [key for key in which.directions if any(key in row.metrics for row in rows)]
        if not with_direction:
            return "", []
        metric = f"{with_direction[0]}:best"
    expression, descending = expressions.parse_sort(metric)
    values = queries.values(conn, which, [expression], [row.job for row in rows])
    if descending is None:
        descending = expression.aggregate == "max" or (
            expression.aggregate in ("best", "") and which.directions.get(expression.name) == "max"
        )
    measured = [(row, values[row.job][0]) for row in rows if aggregate.is_number(values[row.job][0])]
    return metric, sorted(measured, key=lambda one: -one[1] if descending else one[1])
