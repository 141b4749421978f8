"""The verb submit."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from foundations_tui.analysis.cells import cell
from foundations_tui.cli import output
from foundations_tui.cli.params import LocalPath, connecting_to_submit, json_option, say
from foundations_tui.cli.progress import ProgressLine, is_in_window
from foundations_tui.cli.table_options import table_options
from foundations_tui.errors import FoundationsError, UsageError
from foundations_tui.store.rows import json_value
from foundations_tui.sweeps.submission import (
    ALL_OPTIONS,
    ASKED_FROM,
    preview,
    read,
    shipped_words,
    submit as submit_all,
    sweep_words,
)
from foundations_tui.text import humanize
from foundations_tui.text.sanitize import one_line
from remote_agent.protocol.wire import JsonTable

if TYPE_CHECKING:
    from foundations_tui.session import Session
    from foundations_tui.snapshot.freeze import LeftBehind
    from foundations_tui.submit.pipeline import Preview
    from foundations_tui.submit.request import SubmittedJob
    from foundations_tui.sweeps.submission import Submission


def outcome_options(verb: Callable[..., Any]) -> Callable[..., Any]:
    """Give a verb that submits the options of ``carry_out``."""
    for option in (
        json_option,
        click.option("--yes", is_flag=True, help="Do not ask before a large sweep."),
        click.option("--detach", "then", flag_value="detach", default="detach", help="Return at once (the default)."),
        click.option("--follow", "then", flag_value="follow", help="As --wait, and print its log meanwhile."),
        click.option("--wait", "then", flag_value="wait", help="Wait for its end and exit with its exit code."),
        click.option("--dry-run", is_flag=True, help="Only say what would be shipped."),
    ):
        verb = option(verb)
    return verb


@click.command(context_settings={"ignore_unknown_options": False, "allow_interspersed_args": False})
@table_options(ALL_OPTIONS)
@outcome_options
@click.argument("command", nargs=-1, required=True, type=LocalPath(), metavar="-- COMMAND...")
@connecting_to_submit
def submit(
    session: Session, command: tuple[str, ...], then: str, dry_run: bool, as_json: bool, yes: bool, **values: Any
) -> int:
    """Run a command on a host, on the working tree as it is now: modified and untracked files too.

    \b
      foundations submit -- python train.py --lr 3e-4
      foundations submit --host gpu1 --gpus 1 --name big --follow -- python train.py
      foundations submit --sweep lr=1e-4,3e-4 --sweep bs=32:128:x2 -- python train.py --lr {lr} --bs {bs}

    A sweep's parameters reach its jobs as {name} in the command, as foundations_job_parameters.json, and as
    FOUNDATIONS_PARAM_NAME. VALUES: a,b,c; 0:1:0.25; 32:128:x2; log:1e-5:1e-2:8; with --random 0:1 and log:1e-5:1e-2
    as well.

    The command runs without a shell in between, in a folder of its own. What .gitignore and .foundationsignore
    exclude is not shipped. With --wait or --follow the exit code is the job's own; Ctrl-C there leaves the job running.
    """
    _say_what_atlas_took(command, Path(values["folder"]))
    return carry_out(session, read(session.store.conn, command, values), then, dry_run, as_json, yes)


def carry_out(session: Session, submission: Submission, then: str, dry_run: bool, as_json: bool, yes: bool) -> int:
    """Submit what was asked for and print what came of it; return the exit code.

    Args:
        session: the client's.
        submission: what was asked for.
        then: "detach", "wait" or "follow".
        dry_run: only say what would be shipped.
        as_json: print JSON.
        yes: do not ask before a large sweep.
    """
    for note in submission.notes:
        say(note)
    if submission.is_sweep:
        say(submission.words)
    if dry_run:
        _print_dry_run(session, submission, as_json)
        return 0
    _confirm(submission, yes)
    try:
        submitted = _submit(session, submission)
    except FoundationsError as error:
        if then == "detach":
            raise
        return _failed_before(error)
    print_submitted = _print_sweep if submission.is_sweep else _print_job
    print_submitted(submission, submitted, as_json, detached=then == "detach")
    if then == "detach":
        return 0
    if submission.is_sweep and then == "follow":
        raise UsageError(
            "--follow follows one job; the sweep is submitted", f"foundations sweep show {submission.group}"
        )
    from foundations_tui.cli.waiting import watch_to_end

    ids = [job.view.spec.job for job in submitted]
    return watch_to_end(session, ids, log=then == "follow", log_to_stderr=as_json)


def _say_what_atlas_took(command: tuple[str, ...], folder: Path) -> None:
    """Tell who comes from Foundations Atlas what to write instead."""
    if command[0] == "scheduler" and len(command) >= 3 and Path(command[1]).is_dir():
        rest = " ".join(command[2:])
        raise UsageError(
            f"'submit scheduler {command[1]} {rest}' is the order of Foundations Atlas",
            f"foundations submit --dir {command[1]} -- python {rest}",
        )
    if (folder / "job.config.yaml").is_file():
        say(
            "note: job.config.yaml is not read; in foundations.toml: project = ..., and on the command line:"
            " --gpus N, --ram 16G, --param K=V or --params-file FILE"
        )


def _confirm(submission: Submission, yes: bool) -> None:
    """Ask before many jobs are submitted, where there is somebody to ask."""
    count = len(submission.requests)
    if count >= ASKED_FROM and not yes and sys.stdin.isatty() and sys.stderr.isatty():
        click.confirm(f"Submit {count:,} jobs?", abort=True, err=True)


def _submit(session: Session, submission: Submission) -> list[SubmittedJob]:
    progress = ProgressLine()
    try:
        return submit_all(session, submission, progress)
    finally:
        progress.end()


def _failed_before(error: FoundationsError) -> int:
    """Say why nothing was submitted, where the exit code would have been the job's own."""
    from foundations_tui.cli.stderr import tell

    tell(error)
    return error.exit_code if isinstance(error, UsageError) else 125


# --- what was submitted -----------------------------------------------------------------------------------------


def _print_sweep(submission: Submission, submitted: list[SubmittedJob], as_json: bool, detached: bool) -> None:
    if as_json:
        output.print_json(
            [{**_wire(job), "sweep": submission.group, "params": json_value(job.view.spec.params)} for job in submitted]
        )
    elif detached:
        click.echo("\n".join(job.view.spec.job for job in submitted))
    say(sweep_words(submission, submitted))
    if not is_in_window():
        say(f"  foundations sweep show {submission.group}    how far it is, and the best so far")


def _print_job(submission: Submission, submitted: list[SubmittedJob], as_json: bool, detached: bool) -> None:
    (job,) = submitted
    if as_json:
        output.print_json([_wire(job)])
    elif detached:
        _print_next_steps(job)
    else:
        say(f"job {job.view.spec.job} submitted to {job.host}")


def _wire(submitted: SubmittedJob) -> dict[str, str]:
    spec = submitted.view.spec
    return {
        "job": spec.job,
        "project": spec.project,
        "host": submitted.host,
        "snapshot": spec.snapshot,
        "state": submitted.view.state.value,
    }


def _print_next_steps(submitted: SubmittedJob) -> None:
    from foundations_tui.config.project import load_project
    from foundations_tui.snapshot.freeze import left_behind

    job, snapshot = submitted.view.spec.job, submitted.snapshot
    assert snapshot is not None
    click.echo(job)
    if not submitted.view.spec.code_of:
        _say_left_behind(left_behind(snapshot, load_project(snapshot.root / snapshot.subdir).include))
    say(shipped_words(submitted))
    if not is_in_window():
        say(f"  foundations logs -f {job[:6]}    follow its log\n  foundations                   watch all jobs")


# --- what would be submitted ------------------------------------------------------------------------------------


def _print_dry_run(session: Session, submission: Submission, as_json: bool) -> None:
    """Say what would be submitted and shipped; a host is asked only for what builds an environment."""
    if submission.is_sweep and as_json:
        output.print_json([{"params": json_value(r.params), "command": list(r.command)} for r in submission.requests])
        return
    shown = preview(session, submission)
    if as_json:
        output.print_json(_preview_wire(shown))
        return
    if submission.is_sweep:
        headers = ("N", *submission.axes, "COMMAND")
        output.print_table(headers, [_sweep_cells(submission, number) for number in range(len(submission.requests))])
        click.echo()
    for line in shown.lines:
        click.echo(one_line(line))
    if submission.is_sweep:
        return
    _say_left_behind(shown.left_behind)
    if shown.largest:
        click.echo()
        table = [[humanize.size(size), path] for path, size in shown.largest]
        output.print_table(("BYTES", "LARGEST FILES"), table)


def _sweep_cells(submission: Submission, number: int) -> list[str]:
    request = submission.requests[number]
    values = [cell(request.params[key]) for key in submission.axes]
    return [str(number + 1), *values, humanize.command(list(request.command))]


def _preview_wire(shown: Preview) -> JsonTable:
    return {
        "host": shown.host,
        "folder": str(shown.folder),
        "snapshot": shown.snapshot,
        "files": shown.files,
        "bytes": shown.bytes,
        "largest": [{"path": path, "bytes": size} for path, size in shown.largest],
        "ignored": shown.left_behind.names,
        "ignored_bytes": shown.left_behind.size,
        "empty_folders": list(shown.empty_folders),
        "environment": shown.environment.to_json(),
    }


def _say_left_behind(left: LeftBehind) -> None:
    if left.names:
        say(f"{left.words}\n  [snapshot] include in foundations.toml ships them, [data] names what lies on a host")
