"""The verb gpus."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, Any

import click

from foundations_tui.cli import output
from foundations_tui.cli.params import HostName, connecting, json_option, say
from foundations_tui.cli.stderr import tell
from foundations_tui.errors import FoundationsError, NotFoundError, UsageError
from foundations_tui.store import queries
from remote_agent.protocol.messages import Hello

if TYPE_CHECKING:
    import sqlite3

    from foundations_tui.session import Session
    from foundations_tui.store.rows import HostRow

_PAUSE = 2.0
_TOOLS = ("nvidia-smi", "rocm-smi", "amd-smi")
_FRESH, _PATIENCE = 1.0, 5.0
"""Seconds: a look that old is shown; so long a newer one is waited for."""


@click.command()
@click.argument("names", nargs=-1, type=HostName(), metavar="[HOST...]")
@click.option("--watch", is_flag=True, help="Show them anew every 2 seconds.")
@click.option("--release", default="", metavar="HOST:GPU", help="End the quarantine of a GPU (index or UUID).")
@click.option(
    "--ignore-claims", default="", metavar="HOST:GPU", help="Use a GPU whatever other agents claim: they only ask."
)
@click.option("--heed-claims", default="", metavar="HOST:GPU", help="Leave it again to whoever claims it.")
@json_option
@connecting
def gpus(
    session: Session,
    names: tuple[str, ...],
    watch: bool,
    release: str,
    ignore_claims: str,
    heed_claims: str,
    as_json: bool,
) -> int:
    """Show the GPUs of the hosts: memory, load, heat, and whose they are: a job of ours, or somebody else's process."""
    from foundations_tui.sync import pull

    if release:
        return _release(session, release)
    if ignore_claims or heed_claims:
        return _overrule(session, ignore_claims, heed_claims)
    wanted = [session.hosts.host(name).name for name in names] or list(session.hosts.hosts)
    while True:
        for host in wanted:
            _have_looked(session, host)
        problems = pull.catch_up_all(session, wanted, streams=False)
        known = queries.hosts(session.store.conn)
        rows = [(host, gpu) for host in wanted if host in known for gpu in known[host].resources.get("gpus", [])]
        if watch and sys.stdout.isatty():
            click.echo("\x1b[H\x1b[J", nl=False)
        if as_json:
            output.print_json([{"host": host, **gpu} for host, gpu in rows])
        elif rows:
            cells = [_cells(session.store.conn, host, gpu) for host, gpu in rows]
            headers = ("HOST", "GPU", "NAME", "MEMORY", "LOAD", "HEAT", "POWER", "HELD BY")
            output.print_table(headers, cells, droppable=("POWER", "HEAT", "NAME", "LOAD"), last_wants=40)
        else:
            say("no GPUs")
        for host in wanted if not as_json else ():
            _say_why(known.get(host))
        for error in problems.values():
            tell(error)
        if not watch:
            return next((error.exit_code for error in problems.values()), 0)
        sys.stdout.flush()
        time.sleep(_PAUSE)


def _say_why(host: HostRow | None) -> None:
    """Say what is wrong with a host's GPUs, where its tool told."""
    for problem in host.problems if host else ():
        if any(tool in problem for tool in _TOOLS) or "GPU" in problem:
            say(f"{host.name if host else ''}: {problem}")


def _have_looked(session: Session, host: str) -> None:
    """Wait a moment until a host has looked at its GPUs: while nothing runs there it does so only when it is asked."""
    deadline = time.monotonic() + _PATIENCE
    try:
        age = session.agent(host).call(Hello(look=True)).gpus_age
        while age > _FRESH and time.monotonic() < deadline:
            time.sleep(0.05)
            age = session.agent(host).call(Hello()).gpus_age
    except FoundationsError:
        return  # it is said by the sync that follows


def _release(session: Session, wish: str) -> int:
    from foundations_tui.jobs import operations

    host, gpu = _named("--release", session, wish)
    if not operations.forgive(session, host, gpu):
        say(f"GPU {gpu} of {host} is not in quarantine")
    return 0


def _overrule(session: Session, ignore: str, heed: str) -> int:
    from foundations_tui.jobs import operations

    option, wish = ("--ignore-claims", ignore) if ignore else ("--heed-claims", heed)
    host, gpu = _named(option, session, wish)
    operations.ignore_claims(session, host, gpu, bool(ignore))
    say(f"GPU {gpu} of {host}: claims of other agents {'do not count' if ignore else 'count again'}")
    return 0


def _named(option: str, session: Session, wish: str) -> tuple[str, str]:
    """Return (host, GPU) of HOST:GPU."""
    host, found, gpu = wish.partition(":")
    if not found or not gpu:
        raise UsageError(f"{option} takes HOST:GPU, for example gpu1:0")
    return session.hosts.host(host).name, gpu


def _cells(conn: sqlite3.Connection, host: str, gpu: dict[str, Any]) -> list[str]:
    used, total = gpu.get("memory_used"), gpu.get("memory_total")
    memory = f"{(used or 0) / 1024:.1f} of {total / 1024:.0f} GB" if total else ""
    return [
        host,
        str(gpu["index"]),
        gpu["name"],
        memory,
        _with_unit(gpu.get("utilization"), "%"),
        _with_unit(gpu.get("temperature"), "°C"),
        _with_unit(gpu.get("power"), "W"),
        _holder(conn, gpu),
    ]


def _holder(conn: sqlite3.Connection, gpu: dict[str, Any]) -> str:
    jobs = gpu.get("jobs") or []
    if not jobs:
        return str(gpu.get("held") or gpu.get("sick") or "free")
    return ", ".join(_job_words(conn, job) for job in jobs)


def _job_words(conn: sqlite3.Connection, job: str) -> str:
    try:
        row = queries.job(conn, job)
    except NotFoundError:
        return f"job {job[:6]}"
    return f"{job[:6]} {row.label}" + (f" ({row.owner})" if row.owner else "")


def _with_unit(value: int | None, unit: str) -> str:
    return "" if value is None else f"{value} {unit}"
