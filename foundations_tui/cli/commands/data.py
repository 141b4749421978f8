"""The verb data: data sets on hosts."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from foundations_tui.cli import output
from foundations_tui.cli.params import HostName, LocalPath, connecting, json_option, need_terminal, say
from foundations_tui.cli.progress import ProgressLine
from foundations_tui.cli.stderr import tell
from foundations_tui.errors import FoundationsError
from foundations_tui.text import humanize
from foundations_tui.text.sanitize import one_line

if TYPE_CHECKING:
    from foundations_tui.session import Session

_host_option = click.option("--host", required=True, type=HostName(), help="On which host.")
_MOST_SAID = 20


@click.group()
def data() -> None:
    """Data sets: sent to a host once, read-only there, shared by jobs.

    \b
      foundations data put cifar10 ~/data/cifar10 --host gpu1
    and in foundations.toml:
    \b
      [data]
      cifar10 = { path = "data:cifar10", at = "data" }
    """


@data.command()
@click.argument("name")
@click.argument("path", type=LocalPath())
@_host_option
@json_option
@connecting
def put(session: Session, name: str, path: str, host: str, as_json: bool) -> int:
    """Send a file or folder to a host as a data set.

    What is there already is not sent again, and a transfer that was cut goes on where it stopped.
    """
    from foundations_tui.submit import data_sets

    line = ProgressLine()

    def progress(what: str, done: int, total: int) -> None:
        line.bar(what, done, total, f"{humanize.size(done)} of {humanize.size(total)}")

    try:
        sent = data_sets.put(session, host, name, Path(path), progress)
    finally:
        line.end()
    if as_json:
        output.print_json({"name": name, "host": host, **vars(sent)})
    else:
        count = humanize.plural(sent.files, "file")
        click.echo(f"{name} is on {host}: {count}, {humanize.size(sent.bytes)}, {sent.hash[:12]}")
        say(f'  [data] {name} = "data:{name}" in foundations.toml gives it to jobs')
    return 0


@data.command()
@click.option("--host", default="", type=HostName(), help="Only on this host.")
@json_option
@connecting
def ls(session: Session, host: str, as_json: bool) -> int:
    """List the data sets of hosts."""
    from foundations_tui.submit import data_sets

    rows, failed = [], 0
    for name in [session.hosts.host(host).name] if host else list(session.hosts.hosts):
        try:
            rows += [(name, one) for one in data_sets.listed(session, name)]
        except FoundationsError as error:
            tell(error)
            failed = error.exit_code
    if as_json:
        output.print_json([{"host": name, **one.to_wire()} for name, one in rows])
    elif rows:
        now = time.time()
        cells = [
            [one.name, name, one.hash[:12], f"{one.files:,}", humanize.size(one.bytes), humanize.ago(one.put_at, now)]
            + [f"{one.in_use} jobs" if one.in_use else ""]
            for name, one in rows
        ]
        output.print_table(("NAME", "HOST", "HASH", "FILES", "SIZE", "PUT", "USED BY"), cells, droppable=("HASH",))
    else:
        say("no data sets: foundations data put NAME PATH --host HOST")
    return failed


@data.command()
@click.argument("name")
@_host_option
@click.option("--yes", is_flag=True, help="Do not ask.")
@connecting
def rm(session: Session, name: str, host: str, yes: bool) -> int:
    """Remove a data set from a host; refused while a job uses it."""
    from foundations_tui.submit import data_sets

    if not yes:
        need_terminal("data rm asks before it removes anything", "say --yes")
        click.confirm(f"Remove data {name} from {host}?", abort=True, err=True)
    data_sets.remove(session, host, name)
    say(f"removed {name} from {host}")
    return 0


@data.command()
@click.argument("name")
@_host_option
@json_option
@connecting
def verify(session: Session, name: str, host: str, as_json: bool) -> int:
    """Hash every file of a data set on its host; ends with 1 when one is not what was sent."""
    from foundations_tui.submit import data_sets

    digest, wrong = data_sets.check(session, host, name)
    if as_json:
        output.print_json({"name": name, "host": host, "hash": digest, "wrong": wrong})
    else:
        for words in wrong[:_MOST_SAID]:
            click.echo(one_line(words))
        say(f"{name} on {host}: {humanize.plural(len(wrong), 'file')} wrong" if wrong else f"{name} on {host} is whole")
    return 1 if wrong else 0
