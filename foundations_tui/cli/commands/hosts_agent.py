"""The verbs below hosts for the agent itself: agent status, stop, uninstall, and autostart."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import click

from foundations_tui.cli import output
from foundations_tui.cli.params import HostName, connecting, json_option, need_terminal, say
from foundations_tui.errors import FoundationsError, UsageError
from foundations_tui.ingest import local_runs
from foundations_tui.store import queries
from foundations_tui.text import humanize
from foundations_tui.text.sanitize import one_line

if TYPE_CHECKING:
    from foundations_tui.session import Session


_MOST_OWNERS = 3
_MOST_SHOWN = 20


@click.group()
def agent() -> None:
    """Look at the agent of a host, end it, or remove it with all that it has there."""


@agent.command()
@click.argument("name", type=HostName())
@json_option
@connecting
def status(session: Session, name: str, as_json: bool) -> None:
    """Say what runs there: version, folder, jobs, what they hold, and whether it starts at boot."""
    from foundations_tui.jobs import operations

    hello = session.agent(session.hosts.host(name).name).hello
    boot = operations.ask_host(session, name, "autostart", "status")
    facts: dict[str, Any] = {
        "host": name,
        "agent_version": hello.version,
        "protocol": hello.protocol,
        "agent": hello.agent,
        "root": hello.root,
        "running": hello.active,
        "queued": hello.resources.queued,
        "paused": hello.resources.paused,
        "disk_jobs": hello.resources.disk_jobs,
        "autostart": boot["by"] or None,
        "problems": [*hello.problems, *([boot["problem"]] if boot["problem"] else [])],
    }
    if as_json:
        output.print_json(facts)
        return
    lines = [
        ("agent", f"{facts['agent_version']} (protocol {facts['protocol']}) in {facts['root']}"),
        ("jobs", f"{facts['running']} running, {facts['queued']} waiting" + _paused(facts["paused"])),
        ("disk", f"folders of ended jobs hold {humanize.size(facts['disk_jobs'])}"),
        ("at boot", f"started by {facts['autostart']}" if facts["autostart"] else "not started: hosts autostart NAME"),
        *(("warning", problem) for problem in facts["problems"]),
    ]
    for key, value in lines:
        click.echo(f"{key:<8} {one_line(value)}")


def _paused(groups: list[str]) -> str:
    names = ["all jobs" if group == "*" else f"group {group}" for group in groups]
    return f", paused: {', '.join(names)}" if names else ""


@agent.command()
@click.argument("name", type=HostName())
@connecting
def stop(session: Session, name: str) -> None:
    """End the agent; it refuses while jobs run or wait. The next contact starts it again."""
    from foundations_tui.jobs import operations

    operations.end_agent(session, session.hosts.host(name).name)
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
    from foundations_tui.config.hosts import owner_name
    from foundations_tui.jobs import operations
    from foundations_tui.jobs.ownership import Actor
    from foundations_tui.sync import pull

    host = session.hosts.host(name).name
    pull.catch_up(session, host)
    rows = queries.ended(session.store.conn, queries.JobFilter(host=host, trashed=True), time.time())
    rows = [row for row in rows if row.kind != local_runs.KIND and not row.pruned]
    actor = Actor(owner_name(session.hosts), others)
    theirs = [row for row in rows if not actor.may_touch(row)]
    if theirs:
        owners = ", ".join(sorted({row.owner or "somebody else" for row in theirs})[:_MOST_OWNERS])
        raise UsageError(f"{name} has {humanize.plural(len(theirs), 'job')} of {owners}", "--others removes them, too")
    files = operations.survey(session, rows)
    kept = operations.prune(session, host, [row.job for row in rows], force=False, preview=True).kept
    lost = {**kept, **{job: left.words for job, left in files.items()}}
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
    say(f"removed {one_line(operations.uninstall(session, host))} from {name}")


@click.command()
@click.argument("name", type=HostName())
@click.option("--off", is_flag=True, help="Start it at boot no more.")
@connecting
def autostart(session: Session, name: str, off: bool) -> None:
    """Have a host start its agent at boot, so that its queue goes on before anybody looks.

    By systemd --user where there is one, else by cron; no root is needed.
    """
    from foundations_tui.jobs import operations

    said = operations.ask_host(session, session.hosts.host(name).name, "autostart", "off" if off else "on")
    if off:
        say(f"{name}: the agent is no longer started at boot")
        return
    if not said["by"]:
        raise FoundationsError(f"{name}: {said['problem']}")
    say(f"{name}: the agent is started at boot by {said['by']}")
    if said["problem"]:
        say(f"warning: {one_line(said['problem'])}")
