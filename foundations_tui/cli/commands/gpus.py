"""The verb gpus."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING

import click

from foundations_tui.cli import output
from foundations_tui.cli.params import HostName, connecting, json_option, say
from foundations_tui.cli.stderr import tell
from foundations_tui.errors import UsageError

if TYPE_CHECKING:
    from foundations_tui.jobs.on_hosts import GpuListing
    from foundations_tui.session import Session

_PAUSE = 2.0


@click.command()
@click.argument("names", nargs=-1, type=HostName(), metavar="[HOST...]")
@click.option("--watch", is_flag=True, help="Show them again every 2 seconds.")
@click.option("--release", default="", metavar="HOST:GPU", help="End the quarantine of a GPU (index or UUID).")
@click.option(
    "--ignore-claims",
    default="",
    metavar="HOST:GPU",
    help="Use a GPU that other agents claim: claims are only requests.",
)
@click.option("--heed-claims", default="", metavar="HOST:GPU", help="Respect claims on a GPU again.")
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
    """Show the GPUs of the hosts: memory, load, temperature, and whose they are: a job's, or somebody else's."""
    from foundations_tui.jobs import on_hosts

    if release:
        return _release(session, release)
    if ignore_claims or heed_claims:
        return _overrule(session, ignore_claims, heed_claims)
    hosts = [session.hosts.host(name).name for name in names] or list(session.hosts.hosts)
    while True:
        listing = on_hosts.gpus(session, hosts)
        if watch and sys.stdout.isatty():
            click.echo("\x1b[H\x1b[J", nl=False)
        if as_json:
            output.print_json([{"host": host, **gpu.to_wire()} for host, gpu in listing.gpus])
        else:
            _print(session, listing)
        for error in listing.errors:
            tell(error)
        if not watch:
            return next((error.exit_code for error in listing.errors), 0)
        sys.stdout.flush()
        time.sleep(_PAUSE)


def _print(session: Session, listing: GpuListing) -> None:
    from foundations_tui.jobs import on_hosts

    if listing.gpus:
        cells = [on_hosts.gpu_cells(session.store.conn, host, gpu) for host, gpu in listing.gpus]
        output.print_table(on_hosts.GPU_HEADERS, cells, droppable=("POWER", "TEMP", "NAME", "LOAD"), last_wants=40)
    else:
        say("no GPUs")
    for host, problem in listing.problems:
        say(f"{host}: {problem}")


def _release(session: Session, gpu_name: str) -> int:
    from foundations_tui.jobs import on_hosts

    host, gpu = _named("--release", session, gpu_name)
    if not on_hosts.release_quarantine(session, host, gpu):
        say(f"GPU {gpu} of {host} is not in quarantine")
    return 0


def _overrule(session: Session, ignore: str, heed: str) -> int:
    from foundations_tui.jobs import on_hosts

    option, gpu_name = ("--ignore-claims", ignore) if ignore else ("--heed-claims", heed)
    host, gpu = _named(option, session, gpu_name)
    on_hosts.ignore_claims(session, host, gpu, bool(ignore))
    say(f"GPU {gpu} of {host}: claims of other agents {'do not count' if ignore else 'count again'}")
    return 0


def _named(option: str, session: Session, text: str) -> tuple[str, str]:
    """Return (host, GPU) of HOST:GPU."""
    host, colon, gpu = text.partition(":")
    if not colon or not gpu:
        raise UsageError(f"{option} takes HOST:GPU, for example gpu1:0")
    return session.hosts.host(host).name, gpu
