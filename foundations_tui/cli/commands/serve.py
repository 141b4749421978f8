"""The verb serve."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from foundations_tui.cli import output
from foundations_tui.cli.params import LocalPath, connecting_to_submit, json_option, say
from foundations_tui.cli.progress import ProgressLine
from foundations_tui.cli.table_options import NameThenCommand, table_options
from foundations_tui.errors import UsageError
from foundations_tui.services.request import ALL_OPTIONS, model_of, read
from foundations_tui.text.sanitize import one_line
from remote_agent.protocol.wire import JsonTable

if TYPE_CHECKING:
    from collections.abc import Callable

    from foundations_tui.services.operations import Served
    from foundations_tui.services.request import ServiceRequest
    from foundations_tui.session import Session


@click.command(cls=NameThenCommand, options_metavar="[OPTIONS] [-- COMMAND...]")
@click.argument("name", required=False, default="", type=LocalPath())
@table_options(ALL_OPTIONS)
@click.option(
    "--name", "service_name", default="", help="Of a model: what the service is called (default: as the model)."
)
@click.option("--follow", is_flag=True, help="Of a model: go on to what its alias comes to mean.")
@click.option("--trust", is_flag=True, help="Of a model: also run a joblib or pickle file of somebody else.")
@click.option("--detach", is_flag=True, help="Do not wait until it is ready.")
@click.option("--dry-run", is_flag=True, help="Only say what would be served.")
@json_option
@connecting_to_submit
def serve(
    session: Session,
    name: str,
    service_name: str,
    follow: bool,
    trust: bool,
    detach: bool,
    dry_run: bool,
    as_json: bool,
    **values: Any,
) -> int:
    """Keep a command or a model up on a host, so that it answers requests: a service.

    \b
      foundations serve churn@champion  a registered model (foundations model)
      foundations serve -- python -m http.server '{port}' --bind 127.0.0.1
      foundations serve llm --gpus 1 --ready /health -- vllm serve MODEL --port '{port}'
      foundations serve api            as [services.api] of foundations.toml says
      foundations connect llm          reach it from here

    {port} becomes a free port ($PORT has it, too), {socket} the path of a Unix socket that is yours alone; there is no
    shell in between. It is started again when it ends, and after a reboot of its host. The same command again changes
    nothing; another one becomes the next revision: it takes over when it is ready, and what does not get ready leaves
    the old one as it is. Ctrl-C stops waiting, not the service.
    """
    ctx = click.get_current_context()
    given = {
        key: value
        for key, value in values.items()
        if ctx.get_parameter_source(key) not in (ParameterSource.DEFAULT, ParameterSource.DEFAULT_MAP)
    }
    command = ctx.meta["command"]
    model = model_of(name, bool(command), Path(given.get("folder") or "."))
    if not model and (service_name or trust or follow):
        raise UsageError(
            "--name, --follow and --trust are for models: foundations serve MODEL@ALIAS",
            "a service's name stands first",
        )
    line = ProgressLine()

    def make(host: str = "", sends: bool = True) -> ServiceRequest:
        own = {**given, "host": host} if host else given
        if not model:
            return read(session.store.conn, name, command, own, Path())
        from foundations_tui.services.models import serving

        given_name = service_name or ("" if "@" in name else name)
        return serving.read(session, model, given_name, own, Path(), trust, sends, follow, line)

    try:
        request = make(sends=not dry_run)
        if dry_run:
            return _print_dry_run(session, request, as_json)
        hosts = _hosts(session, request, "host" in given)
        if hosts:
            served = _serve_on(session, request.name, hosts, make, detach, line)
        else:
            from foundations_tui.services import operations

            served = [operations.serve(session, request, line)]
    finally:
        line.end()
    for one in served:
        if one.missing:
            say(f"note: after a reboot of {one.host} it comes back only when the agent is started: {one.missing}")
    if not detach and not hosts:
        served = [_wait(session, served[0])]
    _print(served, as_json)
    return 0


def _hosts(session: Session, request: ServiceRequest, has_host: bool) -> list[str]:
    """Return the hosts of a service that is on several."""
    from foundations_tui.services import spread

    hosts = spread.hosts_of(session, request.name, request.hosts)
    if hosts and has_host:
        raise UsageError(
            f"service {request.name} is on {', '.join(hosts)}: --host is for a service of one host",
            f"--hosts {','.join(hosts)}",
        )
    return hosts


def _serve_on(
    session: Session,
    name: str,
    hosts: list[str],
    make: Callable[[str], ServiceRequest],
    detach: bool,
    line: ProgressLine,
) -> list[Served]:
    """Serve on several hosts, one behind the other."""
    from foundations_tui.services import spread

    def told(host: str, words: str) -> None:
        say(f"{name} on {host}: {one_line(words)}")

    try:
        return spread.serve(session, name, hosts, make, not detach, told, line)
    except KeyboardInterrupt:
        say(f"\nleft; the hosts go on with what they have: foundations service roll {name} --resume")
        raise SystemExit(130) from None


def _print_dry_run(session: Session, request: Any, as_json: bool) -> int:
    from foundations_tui.submit import pipeline

    shown = pipeline.preview(session, [request.job])
    if as_json:
        output.print_json(
            {
                "service": request.name,
                "host": shown.host,
                "command": list(request.job.command),
                "replicas": request.replicas,
                "snapshot": shown.snapshot,
                "probes": request.probes.to_wire(),
                "environment": shown.environment.to_json(),
            }
        )
        return 0
    click.echo(f"would serve {request.name} ({request.replicas or 1}): {one_line(shlex.join(request.job.command))}")
    for line in shown.lines:
        click.echo(one_line(line))
    return 0


def _wait(session: Session, served: Served) -> Served:
    import dataclasses

    from foundations_tui.services import operations

    hints = ["  foundations service stop NAME frees what a service holds; Ctrl-C leaves this one waiting"]

    def told(words: str) -> None:
        say(f"{served.view.name}: {one_line(words)}")
        if "held by service" in words and hints:
            say(hints.pop())

    try:
        view = operations.wait_until_ready(session, served.host, served.view.name, told)
    except KeyboardInterrupt:
        say(f"\nleft; the service goes on: foundations service show {served.view.name}")
        raise SystemExit(130) from None
    return dataclasses.replace(served, view=view)


def _print(served: list[Served], as_json: bool) -> None:
    if as_json:
        told = [_served_json(one) for one in served]
        output.print_json({**told[0], **({"members": told} if len(told) > 1 else {})})
        return
    for one in served:
        _say_served(one)
    say(f"  foundations connect {served[0].view.name}    reach it from here")


def _served_json(served: Served) -> JsonTable:
    from foundations_tui.services import state

    view = served.view
    return {
        "service": view.name,
        "host": served.host,
        "revision": view.revision,
        "replicas": view.replicas,
        "ready": state.ready_count(view),
        "changed": served.changed,
        "state": state.code(view),
        "jobs": [replica.job for replica in view.running],
    }


def _say_served(served: Served) -> None:
    from foundations_tui.services import state

    view = served.view
    what = "is served by" if served.changed else "is unchanged on"
    model = f", {state.model_words(view)}" if view.model else ""
    access = state.access_words(view, served.host)
    say(f"{view.name} {what} {served.host}: revision {view.revision}{model}, for {access}")
