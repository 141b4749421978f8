"""The verb service: what is done with services that are there."""

from __future__ import annotations

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
    from foundations_tui.session import Session
    from foundations_tui.store.services import ServiceRow
    from remote_agent.protocol.services import ServiceView


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
    else:
        say("no host has a service; foundations serve -- COMMAND begins one")
    return 0


@service.command()
@name_argument
@json_option
@connecting
def show(session: Session, name: str, as_json: bool) -> int:
    """Show one service: its replicas, its revisions, and who may reach it."""
    from foundations_tui.services import operations, state

    row = operations.fresh(session, name)
    now = time.time()
    if as_json:
        output.print_json(operations.to_json(row, now))
        return 0
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
    return 0


@service.command()
@name_argument
@click.argument("replicas", type=click.IntRange(0, MOST_REPLICAS))
@_others_option
@_wait_option
@connecting
def scale(session: Session, name: str, replicas: int, others: bool, wait: bool) -> int:
    """Have this many replicas of a service; 0 stops it."""
    from foundations_tui.jobs.ownership import actor_of
    from foundations_tui.services import operations

    row = operations.fresh(session, name)
    view = operations.scale(session, actor_of(session.hosts, others), row, replicas)
    return _say_and_wait(session, row, view, f"{row.name}: {humanize.plural(replicas, 'replica')} wanted", wait)


@service.command()
@name_argument
@_others_option
@click.option("--forget", is_flag=True, help="Forget it, too, when it has ended: its revisions and its token.")
@connecting
def stop(session: Session, name: str, others: bool, forget: bool) -> int:
    """Stop a service: each replica gets its stop signal, and KILL after its grace time. It stays listed."""
    from foundations_tui.jobs.ownership import actor_of
    from foundations_tui.services import operations

    row = operations.fresh(session, name)
    actor = actor_of(session.hosts, others)
    if not (row.is_lost and forget):
        operations.scale(session, actor, row, 0)
    if forget:
        operations.forget(session, actor, row)
        say(f"{row.name} is forgotten")
    else:
        say(f"{row.name} is being stopped; foundations service scale {row.name} 1 starts it again")
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

    row = operations.fresh(session, name)
    view = operations.restart(session, actor_of(session.hosts, others), row)
    return _say_and_wait(session, row, view, f"{row.name} begins again", wait)


@service.command()
@name_argument
@_others_option
@_wait_option
@connecting
def roll(session: Session, name: str, others: bool, wait: bool) -> int:
    """Begin a service again replica by replica, as its next revision: some answer all the time."""
    from foundations_tui.jobs.ownership import actor_of
    from foundations_tui.services import operations

    row = operations.fresh(session, name)
    view = operations.restart(session, actor_of(session.hosts, others), row, one_by_one=True)
    return _say_and_wait(session, row, view, f"{row.name} goes to revision {view.revision}", wait)


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
    from foundations_tui.services import operations, state

    row = operations.fresh(session, name)
    view = operations.use_revision(session, actor_of(session.hosts, others), row, revision)
    if view.model:
        say(f"{row.name} serves {state.model_words(view)}; foundations model rollback {view.model} moves its alias")
    return _say_and_wait(session, row, view, f"{row.name} goes to revision {view.revision}", wait)


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


def _say_and_wait(session: Session, row: ServiceRow, view: ServiceView, words: str, wait: bool) -> int:
    from foundations_tui.services import operations

    say(words)
    if wait and view.replicas:
        operations.wait_until_ready(session, row.host, row.name, lambda told: say(f"{row.name}: {one_line(told)}"))
    return 0
