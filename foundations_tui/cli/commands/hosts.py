"""The verb hosts, with add, test and remove."""

from __future__ import annotations

import time
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from foundations_tui.cli import output
from foundations_tui.cli.commands import hosts_agent
from foundations_tui.cli.params import HostName, connecting, json_option, open_session, say
from foundations_tui.cli.table_options import table_options
from foundations_tui.config.hosts import HostConfig
from foundations_tui.hosts import adding
from foundations_tui.hosts.adding import OPTIONS
from foundations_tui.store import queries
from foundations_tui.store.rows import HostRow
from foundations_tui.text import humanize
from foundations_tui.text.sanitize import one_line

if TYPE_CHECKING:
    from foundations_tui.session import Session


@click.group(invoke_without_command=True)
@click.option("--sync", "sync_first", is_flag=True, help="Ask the hosts first.")
@json_option
@click.pass_context
def hosts(ctx: click.Context, sync_first: bool, as_json: bool) -> None:
    """List hosts with their state, CPUs and GPUs; add, test and remove them."""
    if ctx.invoked_subcommand is not None:
        return
    from foundations_tui.config.hosts import load_hosts
    from foundations_tui.store.db import open_reader

    configured = load_hosts().hosts
    if sync_first:
        from foundations_tui.sync import pull as syncing

        with open_session() as session:
            syncing.catch_up_all(session, list(configured), streams=False)
    by_name = queries.hosts(open_reader())
    rows = [(host, by_name.get(name) or _never_asked(name)) for name, host in configured.items()]
    if as_json:
        output.print_json([{**row.to_json(), "address": host.address or None} for host, row in rows])
        return
    now = time.time()
    output.print_table(_HEADERS, [_cells(host, row, now) for host, row in rows], ("JOB DATA", "ADDRESS", "SEEN"))
    for _, row in rows:
        if words := _words(row, now):
            output.print_wrapped(f"{row.name}: {words}")


@hosts.command()
@click.argument("name")
@click.argument("address")
@table_options(OPTIONS)
def add(name: str, address: str, **values: Any) -> None:
    """Add a host: ADDRESS is user@host, user@host:port or an alias of ~/.ssh/config."""
    path = adding.add(name, address, values)
    say(f"added to {path}\n  foundations hosts test {name}    see whether it works")


@hosts.command()
@click.argument("name", type=HostName())
@json_option
@connecting
def test(session: Session, name: str, as_json: bool) -> None:
    """Connect to a host and show what it has: Python, folder, CPUs, GPUs, and the round-trip time."""
    from foundations_tui.jobs import on_hosts

    report = on_hosts.test(session, name)
    if as_json:
        output.print_json(asdict(report))
        return
    click.echo(f"{name} works")
    for key, value in report.lines:
        click.echo(f"  {key:<13} {one_line(value)}")


@hosts.command()
@click.argument("name", type=HostName())
def remove(name: str) -> None:
    """Remove a host from hosts.toml; its jobs run on, and stay listed here."""
    from foundations_tui.config.hosts import remove_host

    say(f"removed from {remove_host(name)}")


hosts.add_command(hosts_agent.agent)
hosts.add_command(hosts_agent.autostart)


def _never_asked(name: str) -> HostRow:
    return HostRow(name, None, [], None, None, None)


_HEADERS = ("HOST", "ADDRESS", "STATE", "RUNS", "WAIT", "CPUS", "GPUS", "DISK FREE", "JOB DATA", "SEEN")


def _cells(host: HostConfig, row: HostRow, now: float) -> list[str]:
    has = row.resources
    return [
        row.name,
        host.address or "this machine",
        row.state,
        str(row.running),
        str(row.queued),
        f"{has.cpus_free:g}/{has.cpus:g}" if has and has.cpus is not None and has.cpus_free is not None else "",
        f"{row.free_gpus}/{len(row.gpus)}" if has else "",
        humanize.size(has.disk_free if has else None),
        humanize.size(has.disk_jobs if has else None),
        humanize.ago(row.last_contact, now),
    ]


def _words(row: HostRow, now: float) -> str:
    """Return what is wrong with a host, in words."""
    since = f"out of reach since {humanize.clock(row.unreachable_since, now)}: " if row.unreachable_since else ""
    return one_line(since + (row.error or "; ".join(row.problems)))
