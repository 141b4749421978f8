"""The verb connect."""

from __future__ import annotations

import contextlib
import signal
import threading
import types
from typing import TYPE_CHECKING

import click

from foundations_tui.cli import output
from foundations_tui.cli.params import ServiceName, connecting, json_option, say
from foundations_tui.errors import UsageError

if TYPE_CHECKING:
    from foundations_tui.session import Session


@click.command()
@click.argument("name", type=ServiceName(), metavar="NAME | JOB:PORT")
@click.option("--port", default=None, type=click.IntRange(1, 65535), help="The local port (default: one that stays).")
@json_option
@connecting
def connect(session: Session, name: str, port: int | None, as_json: bool) -> int:
    """Reach a service, or a port of a running job, at a port of this machine, until Ctrl-C.

    \b
      foundations connect llm           a service: each request goes to the replica with the least to do
      foundations connect 3f2a91:8888   any port of a job, byte for byte: a notebook, a debugger

    A service's token is added to requests that bring none. Requests of other sites' web pages are refused.
    """
    job, _, number = name.rpartition(":")
    if job:
        return _connect_job(session, job, number, port, as_json)
    return _connect_service(session, name, port, as_json)


def _connect_job(session: Session, job: str, number: str, local: int | None, as_json: bool) -> int:
    from foundations_tui.services.raw import RawForward
    from foundations_tui.store import queries

    if not number.isdigit() or not 0 < int(number) < 65536:
        raise UsageError(f"JOB:PORT takes a port of 1 to 65535; got {number!r}")
    row = queries.find(session.store.conn, job)
    try:
        forward = RawForward(session, row, int(number), local or 0)
    except OSError as error:
        raise UsageError(f"port {local} of this machine cannot be used: {error.strerror}") from None
    ended = _interrupted()
    with contextlib.closing(forward):
        if as_json:
            output.print_json({"job": row.job, "host": row.host, "port": int(number), "local_port": forward.port})
        else:
            click.echo(f"127.0.0.1:{forward.port}")
            say(f"leads to port {number} of job {row.job[:6]} on {row.host}; Ctrl-C ends it")
        ended.wait()
    return 0


def _connect_service(session: Session, name: str, local: int | None, as_json: bool) -> int:
    from foundations_tui.services import operations
    from foundations_tui.services.connections import Connections

    row = operations.fresh(session, name)
    connections = Connections(session)
    ended = _interrupted()
    try:
        url = connections.open(row, local)
        if as_json:
            port = int(url.rpartition(":")[2])
            output.print_json({"service": row.name, "host": row.host, "url": url, "local_port": port})
        else:
            click.echo(url)
            say(connections.words(row))
            if row.view.model:
                say(f'  curl -d "$(curl -s {url}/example)" {url}/predict')
                example = f"u.urlopen('{url}/example').read()"
                say(f"  python -c \"import urllib.request as u; print(u.urlopen('{url}/predict', {example}).read())\"")
            else:
                say(f"  curl {url}/")
                say(f"  python -c \"import urllib.request as u; print(u.urlopen('{url}/').read())\"")
            say("Ctrl-C ends it; the service goes on")
        ended.wait()
    finally:
        connections.close_all()
    return 0


def _interrupted() -> threading.Event:
    """Return what is set by Ctrl-C, or by who ends this process, from now on."""
    ended = threading.Event()

    def end(number: int, frame: types.FrameType | None) -> None:
        ended.set()

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, end)
    return ended
