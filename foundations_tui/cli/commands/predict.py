"""The verb predict."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from foundations_tui.cli import output
from foundations_tui.cli.params import HostName, LocalPath, ModelName, connecting_to_submit, json_option, say
from foundations_tui.cli.progress import ProgressLine
from foundations_tui.text import humanize

if TYPE_CHECKING:
    from foundations_tui.session import Session
    from foundations_tui.store.rows import JobRow


@click.command()
@click.argument("model", type=ModelName())
@click.argument("source", metavar="IN", type=LocalPath())
@click.option("--out", required=True, type=LocalPath(), help="A .jsonl, .csv or .parquet file.")
@click.option("--shards", default=1, show_default=True, type=click.IntRange(1, 1000), help="Parts, a job each.")
@click.option("--host", default="", type=HostName(), help="Where (default: where the version's job ran).")
@click.option("--gpus", default=None, type=click.IntRange(0), help="GPUs of each part.")
@click.option("--trust", is_flag=True, help="Also run a joblib or pickle file of somebody else.")
@click.option("--detach", is_flag=True, help="Only submit; the same command later waits and writes the file.")
@json_option
@connecting_to_submit
def predict(
    session: Session,
    model: str,
    source: str,
    out: str,
    shards: int,
    host: str,
    gpus: int | None,
    trust: bool,
    detach: bool,
    as_json: bool,
) -> int:
    """Answer for each row of a file with a registered model.

    \b
      foundations predict churn@champion customers.csv --out answers.jsonl --shards 8

    IN is CSV with a first line of names, JSON lines, or Parquet. Each part is a job; one that is lost goes on where it
    stopped. Ctrl-C leaves them running: the same command again waits for them.
    """
    from foundations_tui.services.models import prediction

    prediction.check_target(Path(out))
    line = ProgressLine()
    try:
        begun = prediction.begin(session, model, Path(source), shards, host, gpus, trust, line)
    finally:
        line.end()
    what = "goes on with" if begun.is_resumed else "is asked in"
    say(f"{begun.meant.words} {what} {humanize.plural(len(begun.jobs), 'job')} on {begun.host}")
    if detach:
        _print(begun.jobs, None, out, as_json)
        return 0

    def changed(row: JobRow) -> None:
        if not row.is_waiting:
            say(f"part {row.params.get('shard')}: {row.state}")

    try:
        rows = prediction.finish(session, begun, Path(out), changed)
    except KeyboardInterrupt:
        say("\nleft; the jobs go on: the same command again waits for them")
        raise SystemExit(130) from None
    say(f"{rows:,} rows are in {out}")
    _print(begun.jobs, rows, out, as_json)
    return 0


def _print(jobs: tuple[str, ...], rows: int | None, out: str, as_json: bool) -> None:
    if as_json:
        output.print_json({"jobs": list(jobs), "rows": rows, "out": out if rows is not None else None})
    else:
        for job in jobs if rows is None else ():
            click.echo(job)
