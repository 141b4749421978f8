"""The verb model: versions that jobs have made, and what their aliases mean."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from foundations_tui.cli import output
from foundations_tui.cli.params import HostName, JobName, ModelName, connecting, json_option, say
from foundations_tui.cli.progress import ProgressLine
from foundations_tui.cli.stderr import tell
from foundations_tui.errors import UsageError
from foundations_tui.services.models import words
from foundations_tui.text import humanize
from foundations_tui.text.sanitize import one_line
from remote_agent.protocol.models import CHAMPION, FLAVOURS, parse

if TYPE_CHECKING:
    from foundations_tui.services.models.operations import Promoted
    from foundations_tui.services.models.registering import Candidate, Checked
    from foundations_tui.session import Session
    from foundations_tui.store.rows import JobRow
    from remote_agent.protocol.models import Version

name_argument = click.argument("name", type=ModelName())
_number_argument = click.argument("number", type=click.IntRange(1))
_alias_option = click.option("--as", "alias", default=CHAMPION, show_default=True, help="Which alias.")
_MODEL_OPTIONS = (
    click.option("--path", default="", help='Its files in the job: "artifacts/KEY", or below the job\'s folder.'),
    click.option(
        "--flavour",
        type=click.Choice(FLAVOURS),
        callback=lambda context, option, value: value or "",
        metavar="F",
        help="What its files are.",
    ),
    click.option("--predict", default="", metavar="MODULE:FUNCTION", help="What answers."),
    click.option("--load", default="", metavar="MODULE:FUNCTION", help="Makes the model from its path."),
    click.option("--example", default="", metavar="FILE", help="Inputs by name: a JSON file of this machine."),
    click.option("--gpus", default=None, type=click.IntRange(0), help="GPUs for running the example."),
    click.option("--project", default="", help="Where @best looks (default: everywhere)."),
    click.option("--trust", is_flag=True, help="Also run a joblib or pickle file of somebody else."),
)


def _model_options(command: Any) -> Any:
    for option in reversed(_MODEL_OPTIONS):
        command = option(command)
    return command


@click.group()
def model() -> None:
    """Models: versions that jobs have made, registered for a whole team.

    \b
      foundations model register JOB --name churn          or @best:val_loss:min
      foundations model promote churn 3                    makes it the champion
      foundations serve churn@champion                     answers requests
      foundations predict churn@champion IN --out OUT      answers for the rows of a file
    """


@model.command()
@click.argument("job", type=JobName())
@_model_options
@json_option
@connecting
def check(session: Session, job: str, as_json: bool, **given: Any) -> int:
    """Run the example of a job's model where it would be served; nothing is registered."""
    from foundations_tui.services.models import files

    row = _job(session, job, given["project"])
    candidate = _candidate(session, row, given)
    try:
        checked = _checked(session, row, candidate.version, given)
    finally:
        files.let_go(session, candidate.version)
    if as_json:
        output.print_json(_checked_json(checked))
        return 0
    _say_checked(checked)
    say(f"foundations model register {row.job[:6]} registers it")
    return 0


@model.command()
@click.argument("job", type=JobName())
@click.option("--name", default="", help="What the model is called (default: as the project).")
@click.option(
    "--home", default="", type=HostName(), help="Which host keeps the list of a new model (default: the job's)."
)
@click.option("--note", default="", help="What is to be known of this version.")
@click.option("--as", "alias", default="", help="Have this alias mean it at once.")
@_model_options
@json_option
@connecting
def register(
    session: Session, job: str, name: str, home: str, note: str, alias: str, as_json: bool, **given: Any
) -> int:
    """Make a version of what a job has made, after its example was run.

    JOB may be @best:METRIC:min or @best:METRIC:max: the best completed job. The job is kept from then on.
    """
    from foundations_tui.services.models import operations, registering

    row = _job(session, job, given["project"])
    if name:
        registering.checked_name(name)
    if alias:
        operations.checked_alias(alias)
    candidate = _candidate(session, row, given)
    name = registering.checked_name(name or candidate.name)
    checked = _checked(session, row, candidate.version, given)
    line = ProgressLine()
    try:
        new = registering.register(session, row, checked, name, home, note, line)
    finally:
        line.end()
    promoted = operations.promote(session, new.meant.row.name, new.meant.version.number, alias) if alias else None
    following = _follow(session, promoted) if promoted else []
    if as_json:
        told = operations.version_json(promoted.row if promoted else new.meant.row, new.meant.version)
        output.print_json({**told, "changed": new.changed, "check": _checked_json(checked)})
        return 0
    _say_checked(checked)
    what = "is" if new.changed else "was already"
    say(f"job {row.job[:6]} {what} {new.meant.words}; its list is on {new.meant.row.host}")
    if promoted:
        _say_promoted(promoted, following)
    else:
        say(f"  foundations model promote {new.meant.row.name} {new.meant.version.number}    makes it the champion")
        say(f"  foundations serve {new.meant.row.name}@{new.meant.version.number}    serves it")
    return 0


@model.command("list")
@json_option
@connecting
def list_(session: Session, as_json: bool) -> int:
    """List models, what their aliases mean, and which services run them."""
    from foundations_tui.services.models import operations

    rows, errors = operations.listing(session)
    for error in errors.values():
        tell(error)
    if as_json:
        output.print_json([operations.to_json(row) for row in rows])
        return 0
    if not rows:
        say("no host has a model; foundations model register JOB --name NAME makes one")
        return 0
    now = time.time()
    cells = []
    for row in rows:
        latest = row.model.versions[max(row.model.versions)]
        aliases = ", ".join(f"{alias} {number}" for alias, number in sorted(row.model.aliases.items()))
        served = ", ".join(sorted({one.name for one in operations.running(session, row.name)}))
        cells.append([row.name, str(len(row.model.versions)), aliases, served, humanize.ago(latest.at, now), row.host])
    output.print_table(("MODEL", "VERSIONS", "ALIASES", "SERVED BY", "LATEST", "HOME"), cells)
    return 0


@model.command()
@click.argument("name", type=ModelName())
@json_option
@connecting
def show(session: Session, name: str, as_json: bool) -> int:
    """Show a model and its versions; of NAME@ALIAS or NAME@7 one version, with where it comes from and who runs it."""
    from foundations_tui.services.models import operations

    if "@" in name:
        return _show_version(session, name, as_json)
    row = operations.fresh(session, name)
    if as_json:
        output.print_json(operations.to_json(row))
        return 0
    now = time.time()
    click.echo(f"{row.name}: {humanize.plural(len(row.model.versions), 'version')}, its list is on {row.host}")
    cells = [
        [
            str(number),
            ", ".join(row.aliases_of(number)) or ("retired" if version.is_retired else ""),
            version.version.job[:6],
            one_line(words.metrics(version.version, 3)),
            humanize.ago(version.at, now),
            one_line(version.by),
            one_line(version.version.note),
        ]
        for number, version in sorted(row.model.versions.items(), reverse=True)
    ]
    output.print_table(("VERSION", "ALIASES", "JOB", "METRICS", "REGISTERED", "BY", "NOTE"), cells)
    return 0


def _show_version(session: Session, reference: str, as_json: bool) -> int:
    from foundations_tui.services.models import operations

    name, which = parse(reference)
    row = operations.fresh(session, name)
    version = row.version(which)
    lineage = operations.lineage(session, row, version)
    if as_json:
        told = operations.version_json(row, version)
        services = [one.name for one in lineage.services]
        output.print_json({**told, "parents": list(lineage.parents), "services": services})
        return 0
    made = version.version
    lines = {
        "aliases": ", ".join(lineage.aliases) or "none",
        "registered": f"{humanize.ago(version.at, time.time())} by {version.by or 'somebody'}",
        "retired": f"by {version.retired_by or 'somebody'}" if version.is_retired else "",
        "job": f"{made.job[:6]} of project {made.project}" + ("" if lineage.job else " (not known here)"),
        "comes from": ", ".join(parent[:6] for parent in lineage.parents),
        "code": _code_words(made),
        "data": ", ".join(f"{name} {digest[:12]}" for name, digest in sorted(made.data_sets.items())),
        "files": f"{made.path}, {humanize.plural(made.files, 'file')}, {humanize.size(made.bytes)}"
        if made.data
        else "none",
        "answers": words.answers(made),
        "inputs": words.tensors(made, "inputs"),
        "outputs": words.tensors(made, "outputs"),
        "parameters": ", ".join(f"{key}={value}" for key, value in made.params.items()),
        "metrics": words.metrics(made, 20),
        "served by": ", ".join(one.name for one in lineage.services) or "no service",
        "note": made.note,
    }
    click.echo(f"{row.name} {version.number}")
    for name, line in lines.items():
        if line:
            click.echo(f"{name:<11} {one_line(line)}")
    return 0


@model.command()
@name_argument
@click.argument("one", type=click.IntRange(1))
@click.argument("other", type=click.IntRange(1))
@json_option
@connecting
def diff(session: Session, name: str, one: int, other: int, as_json: bool) -> int:
    """Show what differs between two versions; foundations diff shows their jobs' code."""
    from foundations_tui.services.models import operations

    row = operations.fresh(session, name)
    first, second = row.version(str(one)), row.version(str(other))
    found = operations.diff(first, second)
    parts = {"": found.fields, "parameter ": found.params, "metric ": found.metrics}
    if as_json:
        told = {"fields": found.fields, "params": found.params, "metrics": found.metrics}
        output.print_json({"model": name, "versions": [one, other], **told})
        return 0
    cells = [
        [f"{prefix}{key}", _short(pair[0]), _short(pair[1])]
        for prefix, table in parts.items()
        for key, pair in table.items()
    ]
    if cells:
        output.print_table(("", str(one), str(other)), cells)
    else:
        say(f"{name} {one} and {other} differ in nothing that is recorded")
    if first.version.snapshot != second.version.snapshot:
        say(f"foundations diff {first.version.job[:6]} {second.version.job[:6]}    shows what changed in the code")
    return 0


@model.command()
@name_argument
@json_option
@connecting
def history(session: Session, name: str, as_json: bool) -> int:
    """List what the aliases of a model meant, and who has changed that when."""
    from foundations_tui.services.models import operations

    row = operations.fresh(session, name)
    moves = row.model.history
    if as_json:
        output.print_json(
            [
                {"alias": m.alias, "version": m.number or None, "before": m.before or None, "by": m.by, "at": m.at}
                for m in moves
            ]
        )
    elif moves:
        now = time.time()
        cells = [
            [
                humanize.ago(move.at, now),
                move.alias,
                str(move.number or "none"),
                str(move.before or ""),
                one_line(move.by),
            ]
            for move in reversed(moves)
        ]
        output.print_table(("WHEN", "ALIAS", "VERSION", "BEFORE", "BY"), cells)
    else:
        say(f"{name} has no alias yet; foundations model promote {name} N makes one")
    return 0


@model.command()
@name_argument
@_number_argument
@_alias_option
@click.option(
    "--expect",
    default=None,
    type=click.IntRange(0),
    help="Only if the alias still means this version (default: the one known here; 0 for none).",
)
@json_option
@connecting
def promote(session: Session, name: str, number: int, alias: str, expect: int | None, as_json: bool) -> int:
    """Have an alias mean a version, for everybody."""
    from foundations_tui.services.models import operations

    return _print_promoted(session, operations.promote(session, name, number, alias, expect), as_json)


@model.command()
@name_argument
@_alias_option
@json_option
@connecting
def rollback(session: Session, name: str, alias: str, as_json: bool) -> int:
    """Have an alias mean again what it meant before."""
    from foundations_tui.services.models import operations

    return _print_promoted(session, operations.rollback(session, name, alias), as_json)


@model.command()
@name_argument
@_number_argument
@click.option("--undo", is_flag=True, help="Have it used again.")
@connecting
def retire(session: Session, name: str, number: int, undo: bool) -> int:
    """Have a version not be used any more: its job may be deleted then."""
    from foundations_tui.services.models import operations

    operations.retire(session, name, number, undo)
    say(f"{name} {number} is used again" if undo else f"{name} {number} is retired; --undo takes that back")
    return 0


@model.command()
@name_argument
@click.argument("host", type=HostName())
@connecting
def home(session: Session, name: str, host: str) -> int:
    """Have another host keep the list of a model: its versions, aliases and history."""
    from foundations_tui.services.models import operations

    row = operations.move(session, name, host)
    say(f"{name}: {humanize.plural(len(row.model.versions), 'version')}, its list is on {row.host}")
    return 0


def _job(session: Session, name: str, project: str) -> JobRow:
    """Return the job that is meant."""
    from foundations_tui.jobs import watch
    from foundations_tui.services.models import operations
    from foundations_tui.store import queries

    if name.startswith("@best:"):
        return operations.best_job(session, name, project)
    return watch.fresh(session, queries.find(session.store.conn, name))


def _candidate(session: Session, row: JobRow, given: dict[str, Any]) -> Candidate:
    """Return the version that a job would become."""
    from foundations_tui.services.models import registering

    if given["example"]:
        given["example"] = _example(given["example"])
    line = ProgressLine()
    try:
        return registering.candidate(session, row, given, given["trust"], line)
    finally:
        line.end()


def _checked(session: Session, row: JobRow, version: Version, given: dict[str, Any]) -> Checked:
    """Return what came of running a version's example."""
    from foundations_tui.services.models import registering
    from foundations_tui.store import queries

    gpus = given["gpus"]
    if gpus is None:
        gpus = min(1, int(queries.spec(session.store.conn, row.job).get("gpus") or 0))
    line = ProgressLine()
    try:
        return registering.check(session, row, version, gpus, line)
    finally:
        line.end()


def _example(path: str) -> dict[str, Any]:
    try:
        told = json.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise UsageError(f"--example {path}: {error}") from None
    if not isinstance(told, dict):
        raise UsageError(f"--example {path}: a JSON object is needed: inputs by name")
    return told


def _say_checked(checked: Checked) -> None:
    for note in checked.notes:
        say(one_line(note))
    for what in ("inputs", "outputs"):
        told = words.tensors(checked.version, what)
        if told:
            say(f"{what}: {one_line(told)}")
    if checked.result:
        say(f"the example's answer: {one_line(checked.result)[:200]}")


def _checked_json(checked: Checked) -> dict[str, Any]:
    return {
        "job": checked.job or None,
        "signature": checked.version.signature,
        "result": checked.result,
        "notes": list(checked.notes),
        "version": checked.version.to_wire(),
    }


def _print_promoted(session: Session, promoted: Promoted, as_json: bool) -> int:
    following = _follow(session, promoted)
    if as_json:
        output.print_json(
            {
                "model": promoted.row.name,
                "alias": promoted.alias,
                "version": promoted.number or None,
                "before": promoted.before or None,
                "changed": promoted.changed,
                "left_behind": [one.name for one in promoted.left_behind if one.name not in following],
                "following": following,
            }
        )
    else:
        _say_promoted(promoted, following)
    return 0


def _follow(session: Session, promoted: Promoted) -> list[str]:
    """Have services that follow the alias go on; return their names."""
    from foundations_tui.services.models import serving

    line = ProgressLine()
    try:
        return [served.view.name for served in serving.follow(session, promoted, line)]
    finally:
        line.end()


def _say_promoted(promoted: Promoted, following: Sequence[str]) -> None:
    name, alias = promoted.row.name, promoted.alias
    before = f" (before: {promoted.before})" if promoted.before and promoted.before != promoted.number else ""
    say(f"{alias} of {name} means version {promoted.number}{before}")
    for service in following:
        say(f"service {service} follows")
    for one in promoted.left_behind:
        if one.name in following:
            continue
        say(f"service {one.name} still runs version {one.view.version}:")
        say(f"  foundations serve {name}@{alias} --name {one.name} --host {one.host}    replaces it")


def _code_words(version: Version) -> str:
    commit = str(version.git.get("commit") or "")[:10]
    return f"snapshot {version.snapshot[:10]}" + (f", commit {commit}" if commit else "")


def _short(value: object) -> str:
    text = value if isinstance(value, str) else json.dumps(value)
    return one_line(text if len(text) <= 40 else f"{text[:39]}…")
