"""The verb verify."""

from __future__ import annotations

import time
from pathlib import Path

import click

from foundations_tui.cli import output
from foundations_tui.cli.params import JobName, json_option, reader, sync_option
from foundations_tui.cli.stderr import use_color
from foundations_tui.store import queries
from foundations_tui.text.sanitize import one_line

_COLORS = {"ok": "green", "missing": "yellow", "damaged": "red"}


@click.command()
@click.argument("job", type=JobName(), metavar="JOB|FILE")
@sync_option
@json_option
def verify(job: str, sync_first: bool, as_json: bool) -> int:
    """Check that all that was recorded of a job is on this machine: its code is read and hashed, object by object.

    Of a bundle, every file is hashed. Ends with 1 when something is missing or damaged.
    """
    from foundations_tui.jobs import verification

    if _is_file(job):
        return _verify_bundle(job, as_json)
    conn = reader(sync_first)
    row = queries.find(conn, job)
    checks = verification.verify(conn, row)
    if as_json:
        output.print_json({"job": row.job, "checks": [vars(check) for check in checks]})
    else:
        for check in checks:
            state = click.style(f"{check.state:<12}", fg=_COLORS.get(check.state))
            click.echo(f"{state}  {check.part:<12}  {one_line(check.words)}", color=use_color())
    output.print_age(conn, {row.host}, time.time())
    return 0 if all(check.is_good for check in checks) else 1


def _is_file(word: str) -> bool:
    """Return whether a word means a file, and no job: it has a suffix, or leads into a folder."""
    return ("/" in word or word.endswith(".zip")) and Path(word).is_file()


def _verify_bundle(file: str, as_json: bool) -> int:
    from foundations_tui.jobs.bundle_format import BadBundle, Bundle

    try:
        with Bundle(Path(file)) as bundle:
            words, state = f"{bundle.check_manifest():,} files are what the manifest says", "ok"
    except BadBundle as error:
        words, state = str(error), "damaged"
    if as_json:
        output.print_json({"file": file, "checks": [{"part": "bundle", "state": state, "words": words}]})
    else:
        click.echo(
            f"{click.style(f'{state:<12}', fg=_COLORS[state])}  bundle        {one_line(words)}", color=use_color()
        )
    return 0 if state == "ok" else 1
