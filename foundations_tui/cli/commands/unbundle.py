"""The verb unbundle."""

from __future__ import annotations

from pathlib import Path

import click

from foundations_tui.cli import output
from foundations_tui.cli.params import LocalPath, Size, json_option, say
from foundations_tui.cli.progress import ProgressLine
from foundations_tui.text import humanize
from foundations_tui.text.sanitize import one_line

_MOST_SAID = 20


@click.command()
@click.argument("file", type=LocalPath(), metavar="FILE")
@click.option("--limit", default=None, type=Size(), help="Bytes that it may have unpacked at most (default 20G).")
@json_option
def unbundle(file: str, limit: int | None, as_json: bool) -> int:
    """Take the jobs of a bundle into the store, all of them or none.

    They are listed like your own, with "(bundle)" as their host: show, compare, logs, checkout and rerun work. Every
    file is checked before anything is taken; a job that is here already with other content is refused.
    """
    from foundations_tui.jobs import bundle_format, unbundling
    from foundations_tui.store.db import Store

    line = ProgressLine()
    store = Store()
    try:
        with bundle_format.Bundle(Path(file), limit or bundle_format.MOST_BYTES) as bundle:
            taken = unbundling.unbundle(store, bundle, line.stage)
    finally:
        line.end()
        store.close()
    for words in taken.problems[:_MOST_SAID]:
        say(f"warning: {one_line(words)}")
    if as_json:
        output.print_json({"file": file, "new": taken.new, "known": taken.known, "problems": taken.problems})
        return 0
    click.echo("\n".join(taken.new)) if taken.new else None
    parts = [f"{humanize.plural(len(taken.new), 'job')} taken in"]
    parts += [f"{len(taken.known):,} were here already"] if taken.known else []
    say("; ".join(parts))
    return 0
