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

if TYPE_CHECKING:
    from foundations_tui.services.operations import Served
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
    try:
        if model:
            from foundations_tui.services.models import serving

            given_name = service_name or ("" if "@" in name else name)
            request = serving.read(session, model, given_name, given, Path(), trust, not dry_run, follow, line)
        else:
            request = read(session.store.conn, name, command, given, Path())
        if dry_run:
            return _print_dry_run(session, request, as_json)
        from foundations_tui.services import operations

        served = operations.serve(session, request, line)
    finally:
        line.end()
    if served.missing:
        say(f"note: after a reboot of {served.host} it comes back only when the agent is started: {served.missing}")
    if not detach:
        served = _wait(session, served)
    _print(served, as_json)
    return 0


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


def _print(served: Served, as_json: bool) -> None:
    from foundations_tui.services import state

    view = served.view
    if as_json:
        output.print_json(
            {
                "service": view.name,
                "host": served.host,
                "revision": view.revision,
                "replicas": view.replicas,
                "ready": state.ready_count(view),
                "changed": served.changed,
                "state": state.code(view),
                "jobs": [replica.job for replica in view.running],
            }
        )
        return
    what = "is served by" if served.changed else "is unchanged on"
    model = f", {state.model_words(view)}" if view.model else ""
    access = state.access_words(view, served.host)
    say(f"{view.name} {what} {served.host}: revision {view.revision}{model}, for {access}")
    say(f"  foundations connect {view.name}    reach it from here")
