"""The verb demo: a sweep of small trainings on this machine, in a home of its own that is gone afterwards."""

from __future__ import annotations

import contextlib
import itertools
import math
import os
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from importlib import resources
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

_LANES: list[dict[str, Any]] = [
    *(
        {"lr": rate, "hidden": hidden}
        for hidden, rates in ((8, (0.03, 0.1, 0.3)), (24, (0.1, 0.3, 1.0)))
        for rate in rates
    ),
    {"lr": 2.0, "hidden": 24},  # diverges, and says so
    {"lr": 2.0, "hidden": 24, "precision": "half"},  # diverges, and goes on
]
_HOST = "local"
_GROUP = "digits"
_PACE = 0.27
"""Seconds that a step takes where somebody watches: 400 of them take two minutes."""


@click.command()
@click.option("--no-ui", is_flag=True, help="Do not open the terminal app, even on a terminal.")
def demo(no_ui: bool) -> int:
    """Race eight small trainings on this machine and watch them, without touching your own files.

    It works in a temporary folder with an agent of its own; nothing runs on afterwards. The trainings are real, in two
    minutes; the GPUs that the app shows are pretended. Needs Linux.
    """
    is_watched = sys.stdin.isatty() and sys.stdout.isatty() and not no_ui
    with own_home() as home:
        from foundations_tui.jobs import watch
        from foundations_tui.session import Session

        project = make_project(home)
        session = Session(say=say)
        try:
            ids = submit_sweep(session, project, home, _PACE if is_watched else 0.0)
            if is_watched:
                _open_app()
                _print_best(_rows(session, ids))  # as far as they came: the user may leave early
                return 0
            rows = _wait(session, ids)
            _print_best(rows)
            return 0 if any(row.has_completed for row in rows) else watch.exit_code(rows)
        finally:
            end_agent(session)
            session.close()


def make_project(home: Path) -> Path:
    """Make the demo's project, its pretended GPUs, and a host that runs all lanes at once; return the project."""
    package = resources.files("foundations_tui")
    project, programs = home / "demo", home / "bin"
    for folder in (project, programs, home / "gpus"):
        folder.mkdir()
    for source, target in (
        ("demo/train.py", project / "train.py"),
        ("demo/foundations.toml", project / "foundations.toml"),
        ("template/digits.csv.gz", project / "digits.csv.gz"),
        ("demo/nvidia-smi", programs / "nvidia-smi"),
    ):
        target.write_bytes(package.joinpath(source).read_bytes())
    (programs / "nvidia-smi").chmod(0o755)
    (home / "agent").mkdir(mode=0o700)
    (home / "agent" / "temporary").touch()  # nobody has to be told that it goes
    (home / "hosts.toml").write_text(f"[hosts.{_HOST}]\nmax_jobs = {len(_LANES)}\n", encoding="utf-8")
    os.environ["PATH"] = os.pathsep.join((str(programs), os.environ.get("PATH", os.defpath)))
    return project


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


def submit_sweep(session: Session, project: Path, home: Path, pace: float) -> list[str]:
    """Submit the trainings and return their ids.

    Args:
        session: of the demo.
        project: as ``make_project`` made it.
        home: the demo's.
        pace: seconds that a step takes at least.
    """
    from foundations_tui.snapshot import freeze
    from foundations_tui.submit.pipeline import submit_all
    from foundations_tui.submit.request import JobRequest

    say(f"submitting {len(_LANES)} trainings to this machine; its GPUs are pretended")
    env = {"PACE": str(pace), "PRETENDED_GPUS": str(home / "gpus")}
    requests = [
        JobRequest(
            ("python", "train.py"),
            project,
            host=_HOST,
            name="  ".join(f"{key} {value:g}" if key != "precision" else value for key, value in params.items()),
            gpus=1,
            params=params,
            env=env,
            group=_GROUP,
            tags={"demo": ""},
        )
        for params in _LANES
    ]
    return [job.view.spec.job for job in submit_all(session, requests, frozen=freeze.take(project))]


def _open_app() -> None:
    from foundations_tui.cli.commands.ui import start_fast
    from foundations_tui.cli.registry import VERBS

    start_fast()
    from foundations_tui.session import Session
    from foundations_tui.ui.app import FoundationsApp

    FoundationsApp(Session(), VERBS, tour=True).run()


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
    """Print the table of results, the best first, and how to go on."""
    rows = sorted(rows, key=_best_loss)
    cells = []
    for row in rows:
        metrics = [
            humanize.number(row.metrics[key].last) if key in row.metrics else "" for key in ("val/loss", "val/accuracy")
        ]
        cells.append([row.job[:6], row.name, row.state, humanize.duration(row.duration(time.time())), *metrics])
    output.print_table(("ID", "NAME", "STATE", "TOOK", "VAL/LOSS", "VAL/ACCURACY"), cells)
    best = rows[0]
    if "val/loss" in best.metrics:
        click.echo(f"\nbest: {best.name} ({best.job[:6]}), val/loss {humanize.number(best.metrics['val/loss'].min)}")
    say("\nThe demo's files are gone. Your turn:")
    for command in _next_commands():
        say(f"  {command}")


def _next_commands() -> list[str]:
    """Return how to go on, as it works from where the user stands."""
    ours = Path(sys.argv[0]).resolve()
    program = "foundations" if shutil.which("foundations") or not ours.is_file() else humanize.command([str(ours)])
    names = itertools.chain(["digits"], (f"digits-{number}" for number in itertools.count(2)))
    name = next(name for name in names if not Path(name).exists())
    return [f"{program} init {name} && cd {name}", f"{program} submit --follow -- python train.py", program]


def _best_loss(row: JobRow) -> float:
    loss = row.metrics.get("val/loss")
    return loss.min if loss is not None and loss.min is not None and not row.went_wrong else math.inf


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
