"""The verb demo: a sweep of small trainings on this machine, in a home of its own that is gone afterwards."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from foundations_tui.cli import output
from foundations_tui.cli.params import say
from foundations_tui.errors import FoundationsError
from foundations_tui.text import humanize

if TYPE_CHECKING:
    from foundations_tui.session import Session
    from foundations_tui.store.rows import JobRow

_SWEEP = [{"learning_rate": rate, "hidden": hidden} for hidden in (8, 16) for rate in (0.003, 0.01, 0.03, 0.1)]
_HOST = "local"


@click.command()
@click.option("--no-ui", is_flag=True, help="Do not open the terminal app, even on a terminal.")
def demo(no_ui: bool) -> int:
    """Run a sweep of small trainings on this machine and watch it, without touching your own files.

    It works in a temporary folder with an agent of its own; nothing runs on afterwards. Needs Linux.
    """
    with own_home() as home:
        from foundations_tui.cli import examples
        from foundations_tui.jobs import watch
        from foundations_tui.session import Session

        project = home / "digits"
        examples.make_project(project)
        session = Session(say=say)
        try:
            ids = submit_sweep(session, project)
            if sys.stdin.isatty() and sys.stdout.isatty() and not no_ui:
                _open_app()
                _print_best(_rows(session, ids))  # as far as they came: the user may leave early
                return 0
            rows = _wait(session, ids)
            _print_best(rows)
            return 1 if watch.exit_code(rows) else 0
        finally:
            end_agent(session)
            session.close()


@contextlib.contextmanager
def own_home() -> Iterator[Path]:
    """Give a temporary FOUNDATIONS_HOME; whatever ends the demo, it is removed."""
    home = Path(tempfile.mkdtemp(prefix="foundations-demo-"))
    before = os.environ.get("FOUNDATIONS_HOME")
    os.environ["FOUNDATIONS_HOME"] = str(home)
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _interrupt)
    try:
        yield home
    finally:
        if before is None:
            del os.environ["FOUNDATIONS_HOME"]
        else:
            os.environ["FOUNDATIONS_HOME"] = before
        shutil.rmtree(home, ignore_errors=True)


def _interrupt(number: int, frame: Any) -> None:
    raise KeyboardInterrupt


def submit_sweep(session: Session, project: Path) -> list[str]:
    """Submit the trainings and return their ids."""
    from foundations_tui.snapshot import freeze
    from foundations_tui.submit.pipeline import submit
    from foundations_tui.submit.request import JobRequest

    say(f"submitting {len(_SWEEP)} trainings to this machine")
    frozen = freeze.take(project)
    ids = []
    for params in _SWEEP:
        name = f"lr {params['learning_rate']} hidden {params['hidden']}"
        request = JobRequest(("python", "train.py"), project, host=_HOST, name=name, params=params, tags={"demo": ""})
        ids.append(submit(session, request, frozen=frozen).view.spec.job)
    return ids


def _open_app() -> None:
    from foundations_tui.session import Session
    from foundations_tui.ui.app import FoundationsApp

    FoundationsApp(Session()).run()


def _wait(session: Session, ids: list[str]) -> list[JobRow]:
    """Say what happens until all have ended, and return them with their metrics."""
    from foundations_tui.jobs import watch
    from foundations_tui.sync import pull

    began = time.monotonic()

    def changed(row: JobRow) -> None:
        if row.started_at is not None or row.is_final:
            say(f"{time.monotonic() - began:6.1f} s  {row.name:<22} {row.state}")

    watch.wait_for(session, ids, changed)
    pull.catch_up(session, _HOST)
    return _rows(session, ids)


def _rows(session: Session, ids: list[str]) -> list[JobRow]:
    from foundations_tui.store import queries

    return [queries.job(session.store.conn, job) for job in ids]


def _print_best(rows: list[JobRow]) -> None:
    """Print the table of results, the best first."""
    rows = sorted(rows, key=_best_accuracy, reverse=True)
    cells = []
    for row in rows:
        metrics = [humanize.number(row.metrics[key].last) if key in row.metrics else "" for key in ("loss", "accuracy")]
        cells.append([row.job[:6], row.name, row.state, humanize.duration(row.duration(time.time())), *metrics])
    output.print_table(("ID", "NAME", "STATE", "TOOK", "LOSS", "ACCURACY"), cells)
    best = rows[0]
    if "accuracy" in best.metrics:
        click.echo(f"\nbest: {best.name} ({best.job[:6]}), accuracy {humanize.number(best.metrics['accuracy'].max)}")
    say("\nThe demo's files are gone. Your turn:\n  foundations init digits && cd digits")
    say("  foundations submit --follow -- python train.py")


def _best_accuracy(row: JobRow) -> float:
    accuracy = row.metrics.get("accuracy")
    return accuracy.max or 0.0 if accuracy else -1.0


def end_agent(session: Session) -> None:
    """Stop what still runs and end the demo's own agent."""
    from foundations_tui.jobs import on_hosts, operations, watch
    from foundations_tui.jobs.ownership import Actor
    from foundations_tui.store import queries

    try:
        active = queries.jobs(session.store.conn, queries.JobFilter(("queued", "preparing", "running")))
        operations.stop(session, Actor("the end of the demo", others=True), active, grace=0)
        watch.wait_for(session, [row.job for row in active], lambda row: None)
        on_hosts.end_agent(session, _HOST)
    except FoundationsError as error:
        say(f"warning: the demo's agent may still run: {error}")
