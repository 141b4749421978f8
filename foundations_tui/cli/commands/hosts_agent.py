"""The verbs below hosts for the agent itself: agent status, stop, uninstall, and autostart."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from foundations_tui.cli import output
from foundations_tui.cli.params import HostName, connecting, json_option, need_terminal, say
from foundations_tui.errors import FoundationsError
from foundations_tui.text import humanize
from foundations_tui.text.sanitize import one_line

if TYPE_CHECKING:
    from foundations_tui.session import Session


_MOST_SHOWN = 20


@click.group()
def agent() -> None:
    """Show the agent of a host, end it, or remove it with all that it has there."""


@agent.command()
@click.argument("name", type=HostName())
@json_option
@connecting
def status(session: Session, name: str, as_json: bool) -> None:
    """Say what runs there: version, folder, jobs, what they hold, and whether it starts at boot."""
    from foundations_tui.jobs import on_hosts

    report = on_hosts.agent_status(session, name)
    if as_json:
        output.print_json(asdict(report))
        return
    for key, value in report.lines:
        click.echo(f"{key:<8} {one_line(value)}")


@agent.command()
@click.argument("name", type=HostName())
@connecting
def stop(session: Session, name: str) -> None:
    """End the agent; it refuses while jobs run or wait. The next contact starts it again."""
    from foundations_tui.jobs import on_hosts

    on_hosts.end_agent(session, session.hosts.host(name).name)
    say(f"the agent of {name} has ended")


@agent.command()
@click.argument("name", type=HostName())
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option("--force", is_flag=True, help="With --yes: also what nobody has fetched.")
@click.option("--others", is_flag=True, help="Also jobs of other people.")
@connecting
def uninstall(session: Session, name: str, yes: bool, force: bool, others: bool) -> None:
    """Remove the agent with all jobs' folders and files from a host; it refuses while jobs run or wait.

    What was fetched stays here. Jobs whose files, logs or metrics were not fetched lose them.
    """
    from foundations_tui.jobs import on_hosts
    from foundations_tui.jobs.ownership import actor_of

    host = session.hosts.host(name).name
    lost = on_hosts.what_uninstall_loses(session, actor_of(session.hosts, others), host)
    for job, why in list(lost.items())[:_MOST_SHOWN]:
        say(f"{job[:6]}: {why}")
    if len(lost) > _MOST_SHOWN:
        say(f"and {len(lost) - _MOST_SHOWN:,} more jobs")
    if lost and yes and not force:
        raise FoundationsError(
            f"{humanize.plural(len(lost), 'job')} on {name} would lose what was not fetched", "--force removes them"
        )
    if not yes:
        need_terminal("uninstall asks before it removes anything")
        root = session.agent(host).place.root
        click.confirm(f"Remove {root} on {name}, with all jobs' files?", abort=True, err=True)
    say(f"removed {one_line(on_hosts.uninstall(session, host))} from {name}")


@click.command()
@click.argument("name", type=HostName())
@click.option("--off", is_flag=True, help="Disable start at boot.")
@connecting
def autostart(session: Session, name: str, off: bool) -> None:
    """Start the agent of a host at boot, so that its queue continues by itself.

    By systemd --user where there is one, else by cron; no root is needed.
    """
    from foundations_tui.jobs import on_hosts

    by, missing = on_hosts.set_autostart(session, name, enabled=not off)
    if off:
        say(f"{name}: the agent is no longer started at boot")
        return
    say(f"{name}: the agent is started at boot by {by}")
    if missing:
        say(f"warning: {one_line(missing)}")
