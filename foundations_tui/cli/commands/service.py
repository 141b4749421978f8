"""The verb service: what is done with services that are there."""

from __future__ import annotations

import functools
import time
from typing import TYPE_CHECKING

import click

from foundations_tui.cli import output
from foundations_tui.cli.params import Duration, ServiceName, connecting, json_option, say
from foundations_tui.cli.stderr import tell
from foundations_tui.text import humanize
from foundations_tui.text.sanitize import one_line
from remote_agent.protocol.services import MOST_REPLICAS

if TYPE_CHECKING:
    from collections.abc import Callable

    from foundations_tui.session import Session
    from foundations_tui.store.services import ServiceRow


_LONGEST_VALUES = 100
name_argument = click.argument("name", type=ServiceName())
_others_option = click.option("--others", is_flag=True, help="Also services of other people.")
_wait_option = click.option("--wait", is_flag=True, help="Wait until it is as it is wanted.")


@click.group()
def service() -> None:
    """Services: what stays up on hosts and answers requests.

    \b
      foundations serve NAME -- COMMAND      begins one, or changes it
      foundations connect NAME               reaches it
      foundations logs -f NAME               the logs of its replicas
    """


@service.command("list")
@json_option
@connecting
def list_(session: Session, as_json: bool) -> int:
    """List the services of all hosts, and how they are."""
    from foundations_tui.services import operations, state

    rows, errors = operations.listing(session)
    for error in errors.values():
        tell(error)
    now = time.time()
    if as_json:
        output.print_json([operations.to_json(row, now) for row in rows])
    elif rows:
        cells = [
            [
                row.name,
                row.host,
                str(row.view.revision),
                one_line(state.model_words(row.view)),
                f"{state.ready_count(row.view)}/{row.view.replicas}",
                one_line(state.row_words(row, now)),
            ]
            for row in rows
        ]
        output.print_table(("SERVICE", "HOST", "REVISION", "MODEL", "READY", "HOW IT IS"), cells)
        for name in sorted({row.name for row in rows if _is_halfway(rows, row)}):
            say(f"{name}: not all of its hosts run the same; foundations service roll {name} --resume goes on")
    else:
        say("no host has a service; foundations serve -- COMMAND begins one")
    return 0


def _is_halfway(rows: list[ServiceRow], row: ServiceRow) -> bool:
    """Return whether a service on several hosts runs one thing here, and another one there."""
    others = [one for one in rows if one.view.spread == row.view.spread and one.name == row.name]
    return bool(row.view.spread) and len({one.view.rollout for one in others}) > 1


@service.command()
@name_argument
@json_option
@connecting
def show(session: Session, name: str, as_json: bool) -> int:
    """Show one service: its replicas, its revisions, and who may reach it."""
    from foundations_tui.services import operations

    members = _members(session, name)
    now = time.time()
    if as_json:
        told = [operations.to_json(row, now) for row in members]
        output.print_json({**told[0], **({"members": told} if len(told) > 1 else {})})
        return 0
    for place, row in enumerate(members):
        if place:
            click.echo()
        _show(row, now)
    return 0


def _show(row: ServiceRow, now: float) -> None:
    from foundations_tui.services import state

    view = row.view
    click.echo(f"{one_line(view.name)} on {row.host}: {one_line(state.row_words(row, now))}")
    click.echo(f"owner      {one_line(view.owner or 'unknown')}, project {one_line(view.project)}")
    click.echo(f"serves     {state.access_words(view, row.host)}")
    told = state.traffic_words(view)
    if told:
        click.echo(f"answers    {told}")
    ready = view.probes.ready or "/"
    click.echo(f"probed at  {ready} every {view.probes.period:g} s, within {view.probes.timeout:g} s")
    if view.running:
        click.echo()
        cells = [
            [
                replica.job[:6],
                str(replica.revision),
                str(replica.attempt),
                one_line(state.listens_at(replica)),
                one_line(state.replica_words(replica, now)),
            ]
            for replica in view.running
        ]
        output.print_table(("REPLICA", "REVISION", "ATTEMPT", "LISTENS AT", "HOW IT IS"), cells)
    click.echo()
    cells = [
        [
            f"{head.number}{' *' if head.number == view.revision else ''}",
            humanize.ago(head.at, now) if head.at else "",
            one_line(head.by),
            one_line(state.runs(head)),
        ]
        for head in reversed(view.revisions)
    ]
    output.print_table(("REVISION", "BEGUN", "BY", "RUNS"), cells)


@service.command()
@name_argument
@click.argument("replicas", type=click.IntRange(0, MOST_REPLICAS))
@_others_option
@_wait_option
@connecting
def scale(session: Session, name: str, replicas: int, others: bool, wait: bool) -> int:
    """Have this many replicas of a service, on each of its hosts; 0 stops it."""
    from foundations_tui.jobs.ownership import actor_of
    from foundations_tui.services import operations

    actor = actor_of(session.hosts, others)
    members = _members(session, name)
    for row in members:
        operations.scale(session, actor, row, replicas)
        say(f"{row.name} on {row.host}: {humanize.plural(replicas, 'replica')} wanted")
    return _wait_for(session, members, wait and replicas > 0)


@service.command()
@name_argument
@_others_option
@click.option("--forget", is_flag=True, help="Forget it, too, when it has ended: its revisions and its token.")
@connecting
def stop(session: Session, name: str, others: bool, forget: bool) -> int:
    """Stop a service: each replica gets its stop signal, and KILL after its grace time. It stays listed."""
    from foundations_tui.jobs.ownership import actor_of
    from foundations_tui.services import operations

    members = _members(session, name)
    actor = actor_of(session.hosts, others)
    for row in members:
        if not (row.is_lost and forget):
            operations.scale(session, actor, row, 0)
    for row in members if forget else ():
        operations.forget(session, actor, row)
    name = members[0].name
    if forget:
        say(f"{name} is forgotten")
    else:
        say(f"{name} is being stopped; foundations service scale {name} 1 starts it again")
    return 0


@service.command()
@name_argument
@_others_option
@_wait_option
@connecting
def restart(session: Session, name: str, others: bool, wait: bool) -> int:
    """End what runs of a service and begin it again, all replicas at once."""
    from foundations_tui.jobs.ownership import actor_of
    from foundations_tui.services import operations

    members = _members(session, name)
    for row in members:
        operations.restart(session, actor_of(session.hosts, others), row)
    say(f"{members[0].name} begins again")
    return _wait_for(session, members, wait)


@service.command()
@name_argument
@_others_option
@_wait_option
@click.option("--resume", is_flag=True, help="Of a service on several hosts: have all run what the latest one runs.")
@connecting
def roll(session: Session, name: str, others: bool, wait: bool, resume: bool) -> int:
    """Begin a service again replica by replica, as its next revision: some answer all the time.

    On several hosts, one host behind the other. If that was cut off, --resume goes on with what the first ones run.
    """
    from foundations_tui.jobs.ownership import actor_of
    from foundations_tui.services import operations, spread

    actor = actor_of(session.hosts, others)
    members = _members(session, name)
    if resume:
        for row in members:
            actor.check_owned(f"service {row.name}", row.view.owner)
        served = spread.resume(session, actor, members[0], _told(members[0].name))
        for one in served:
            say(f"{one.view.name} on {one.host}: revision {one.view.revision}")
        say(f"all hosts of {members[0].name} run the same")
        return 0

    def change(row: ServiceRow) -> None:
        view = operations.restart(session, actor, row, one_by_one=True)
        say(f"{row.name} on {row.host} goes to revision {view.revision}")

    spread.one_by_one(session, members, change, _told(members[0].name))
    return _wait_for(session, members, wait)


def _members(session: Session, name: str) -> list[ServiceRow]:
    """Return a service on each of its hosts; of NAME@HOST, its part there."""
    from foundations_tui.services import operations

    row = operations.fresh(session, name)
    return [row] if "@" in name else operations.members(session, row)


def _told(name: str) -> Callable[[str, str], None]:
    """Return what says how a service is on its hosts."""
    return lambda host, words: say(f"{name} on {host}: {one_line(words)}")


@service.command()
@name_argument
@click.option(
    "--revision", default=None, type=click.IntRange(1), help="Which one (default: the one that was wanted before)."
)
@_others_option
@_wait_option
@connecting
def rollback(session: Session, name: str, revision: int | None, others: bool, wait: bool) -> int:
    """Go back to the revision of a service that was wanted before; once more, and it is the later one again."""
    from foundations_tui.jobs.ownership import actor_of
    from foundations_tui.services import operations, spread

    actor = actor_of(session.hosts, others)
    members = _members(session, name)

    def change(row: ServiceRow) -> None:
        view = operations.use_revision(session, actor, row, revision)
        model = f", {view.model} {view.version}" if view.model else ""
        say(f"{row.name} on {row.host} goes to revision {view.revision}{model}")
        if view.model and view.alias and row is members[-1]:
            say(f"  foundations model rollback {view.model}    has its alias mean what it meant before, too")

    spread.one_by_one(session, members, change, _told(members[0].name))
    return _wait_for(session, members, wait)


@service.command()
@name_argument
@click.argument("action", required=False, type=click.Choice(["add", "revoke", "list"]))
@click.argument("person", required=False, default="")
@json_option
@connecting
def token(session: Session, name: str, action: str | None, person: str, as_json: bool) -> int:
    """Print what a service asks of who calls it (Authorization: Bearer TOKEN).

    \b
      foundations service token NAME                  the service's own
      foundations service token NAME add PERSON       one for a person, printed this once: a front lets it pass
      foundations service token NAME revoke PERSON    takes it away
      foundations service token NAME list             who has one
    """
    from foundations_tui.services import operations

    row = operations.fresh(session, name)
    if action is None:
        own = operations.token(session, row)
        click.echo(output.to_json({"token": own}) if as_json else own)
        return 0
    if bool(person) != (action != "list"):
        raise click.UsageError("add and revoke take the name of a person, list takes none")
    told = operations.people(session, row, **({action: person} if person else {}))
    if as_json:
        output.print_json({"people": told.people, "token": told.token or None})
    elif action == "add":
        click.echo(told.token)
        say(f"{person} has a token of {row.name} now; it is shown this once")
    elif action == "revoke":
        say(f"the token of {person} for {row.name} counts no more")
    else:
        for one in told.people:
            click.echo(one_line(one))
    return 0


_since_option = click.option("--since", default=None, type=Duration(), help="Only of the last so long (1h, 2d).")


@service.command("requests")
@name_argument
@_since_option
@click.option("-n", "--last", default=20, show_default=True, type=click.IntRange(1), help="So many, the latest.")
@json_option
@connecting
def requests_(session: Session, name: str, since: float | None, last: int, as_json: bool) -> int:
    """Print requests that a model's server has written down ([model.log] in foundations.toml)."""
    from foundations_tui.services import operations, watching

    row = operations.fresh(session, name)
    _bring(session, row)
    found = watching.requests(session, row, since or 0.0)[-last:]
    if as_json:
        output.print_json(found)
        return 0
    now = time.time()
    cells = [
        [
            humanize.ago(record["time"], now),
            one_line(str(record["route"])),
            one_line(str(record["status"])),
            f"{1000 * record['seconds']:.1f}" if isinstance(record["seconds"], int | float) else "",
            one_line(output.to_json(record["inputs"]))[:_LONGEST_VALUES],
            one_line(output.to_json(record["outputs"]))[:_LONGEST_VALUES],
        ]
        for record in found
    ]
    output.print_table(("WHEN", "ROUTE", "STATUS", "MS", "INPUTS", "OUTPUTS"), cells)
    return 0


@service.command("check")
@name_argument
@click.option("--contract", default="", metavar="FILE|NAME", help="Which (default: the one that the job has kept).")
@_since_option
@json_option
@connecting
def check_(session: Session, name: str, contract: str, since: float | None, as_json: bool) -> int:
    """Compare what a model was asked with its training data, by a data contract; exit with 1 if it differs."""
    from foundations_tui.services import operations, watching

    row = operations.fresh(session, name)
    _bring(session, row)
    report = watching.check(session, row, watching.contract_of(session, row, contract), since or 0.0)
    if as_json:
        output.print_json(report.to_dict())
    else:
        for line in str(report).splitlines():
            click.echo(one_line(line))
    return 0 if report.is_healthy else 1


def _bring(session: Session, row: ServiceRow) -> None:
    """Bring what is new of a request log; without its host, what is here has to do, and that is said."""
    from foundations_tui.errors import HostUnreachable
    from foundations_tui.services import watching

    try:
        watching.bring(session, row)
    except HostUnreachable:
        pass  # said already


def _wait_for(session: Session, members: list[ServiceRow], wait: bool) -> int:
    """Wait until a service is as it is wanted on each of its hosts, if that is asked for."""
    from foundations_tui.services import operations

    for row in members if wait else ():
        told = functools.partial(_told(row.name), row.host)
        operations.wait_until_ready(session, row.host, row.name, told)
    return 0
