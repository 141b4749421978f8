"""The verb submit."""

from __future__ import annotations

import json
import os
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from foundations_tui.analysis.cells import cell
from foundations_tui.cli import output
from foundations_tui.cli.params import (
    MANY,
    Duration,
    HostName,
    JobName,
    LocalPath,
    ProjectName,
    Size,
    connecting,
    json_option,
    parse_pair,
    say,
)
from foundations_tui.cli.progress import Line, is_in_window
from foundations_tui.errors import FoundationsError, UsageError
from foundations_tui.store.rows import json_value
from foundations_tui.sweeps import grid
from foundations_tui.text import humanize
from foundations_tui.text.command_line import Typed, literal
from foundations_tui.text.sanitize import one_line
from remote_agent.protocol.jobs import MOST_RETRIES, STOP_SIGNALS

if TYPE_CHECKING:
    from foundations_tui.session import Session
    from foundations_tui.snapshot.freeze import LeftBehind, Snapshot
    from foundations_tui.submit.request import Request, Submitted


@click.command(context_settings={"ignore_unknown_options": False, "allow_interspersed_args": False})
@click.option("--host", default="", type=HostName(("any",)), help="Where: a host, 'a,b', 'tag:x' or 'any'.")
@click.option("--gpus", default=None, type=int, help="Whole GPUs (default 0).")
@click.option("--gpu-memory", default=0, type=Size(), help="Share a GPU: this much of its memory (20G).")
@click.option("--cpus", default=1, type=int, help="CPU slots (default 1).")
@click.option("--ram", default=0, type=Size(), help="Memory of the host to plan with (64G).")
@click.option("--name", default="", help="A name for the job.")
@click.option(
    "--project", default="", type=ProjectName(), help="Its project (default: the config's, else the folder's name)."
)
@click.option(
    "--param",
    "params",
    multiple=True,
    metavar="K=V",
    help="A parameter; V is a JSON literal that writes back as typed, else a string.",
)
@click.option("--params-file", type=click.Path(dir_okay=False), help="Parameters from a JSON file; --param wins.")
@click.option("--env", "env", multiple=True, metavar="K=V", help="An environment variable of the job (no secrets).")
@click.option("--inherit-env", multiple=True, metavar="NAME", help="Give it this variable as it is here (no secrets).")
@click.option("--tag", "tags", multiple=True, metavar="K[=V]", help="A tag.")
@click.option(
    "--dir",
    "folder",
    default=".",
    type=LocalPath("dir"),
    metavar="DIR",
    help="The folder to ship and start in (default: this one).",
)
@click.option("--shell", is_flag=True, help="Run COMMAND through /bin/sh.")
@click.option("--dry-run", is_flag=True, help="Only say what would be shipped.")
@click.option("--wait", "then", flag_value="wait", help="Wait for its end and exit with its exit code.")
@click.option("--follow", "then", flag_value="follow", help="As --wait, and print its log meanwhile.")
@click.option("--detach", "then", flag_value="detach", default="detach", help="Return at once (the default).")
@click.option("--priority", default=0, type=click.IntRange(-MANY, MANY), help="Higher goes first (default 0).")
@click.option("--after", multiple=True, type=JobName(), help="Start when this job has completed (repeatable).")
@click.option("--after-any", multiple=True, type=JobName(), help="Start when this job has ended, however.")
@click.option("--group", default="", help="A group: jobs that are paused and resumed together.")
@click.option("--time-limit", default=0.0, type=Duration(), help="End it after this time (90, 45m, 2h30m).")
@click.option("--retries", default=0, type=click.IntRange(0, MOST_RETRIES), help="More attempts (default 0).")
@click.option("--retry-on", default="lost", help="After which ends: lost,oom,signal,failed (default lost).")
@click.option("--stop-signal", default="TERM", type=click.Choice(STOP_SIGNALS), help="What a stop sends first.")
@click.option("--grace", default=30.0, type=Duration(), help="Time between that and KILL (default 30).")
@click.option("--output", "outputs", multiple=True, metavar="GLOB", help="Files that come back when it has ended.")
@click.option("--log-limit", default=0, type=Size(), help="Most of its log on the host's disk (1G).")
@click.option("--secret", "secrets", multiple=True, metavar="NAME", help="Give it this variable, kept nowhere.")
@click.option("--sweep", "sweeps", multiple=True, metavar="K=VALUES", help="A job for each value (repeatable).")
@click.option("--sweep-file", type=click.Path(dir_okay=False), help="The sweep of a TOML file's table [sweep].")
@click.option("--zip", "is_zip", is_flag=True, help="Sweep the values side by side, not all combinations.")
@click.option("--random", "draws", default=0, type=click.IntRange(0, MANY), help="Draw so many jobs from the sweep.")
@click.option("--seed", default=None, type=int, help="The same seed draws the same jobs.")
@click.option("--yes", is_flag=True, help="Do not ask before a large sweep.")
@json_option
@click.argument("command", nargs=-1, required=True, type=LocalPath(), metavar="-- COMMAND...")
@connecting
def submit(session: Session, command: tuple[str, ...], then: str, dry_run: bool, as_json: bool, **options: Any) -> int:
    """Run a command on a host, on the working tree as it is now: modified and untracked files too.

    \b
      foundations submit -- python train.py --lr 3e-4
      foundations submit --host gpu1 --gpus 1 --name big --follow -- python train.py
      foundations submit --sweep lr=1e-4,3e-4 --sweep bs=32:128:x2 -- python train.py --lr {lr} --bs {bs}

    A sweep's parameters reach its jobs as {name} in the command, as foundations_job_parameters.json, and as
    FOUNDATIONS_PARAM_NAME. VALUES: a,b,c; 0:1:0.25; 32:128:x2; log:1e-5:1e-2:8; with --random 0:1 and log:1e-5:1e-2
    as well.

    The command runs without a shell in between, in a folder of its own. What .gitignore and .foundationsignore
    exclude is not shipped. With --wait or --follow the exit code is the job's own; Ctrl-C there leaves the job running.
    """
    _say_what_atlas_took(command, Path(options["folder"]))
    sweep = _sweep_of(options)
    request = _request(session, command, options)
    _say_what_reaches_nothing(request, sweep)
    if sweep is not None:
        return _submit_sweep(session, request, sweep, then, dry_run, as_json, options["yes"])
    if dry_run:
        _print_dry_run(session, request, as_json)
        return 0
    try:
        submitted = _submit(session, request)
    except FoundationsError as error:
        if then == "detach":
            raise
        return _failed_before(error)
    if as_json:
        output.print_json([_wire(submitted)])
    if then == "detach":
        if not as_json:
            _print_next_steps(submitted)
        return 0
    from foundations_tui.cli.waiting import watch_to_end

    if not as_json:
        say(f"job {submitted.view.spec.job} submitted to {submitted.host}")
    return watch_to_end(session, [submitted.view.spec.job], log=then == "follow", log_to_stderr=as_json)


def _say_what_atlas_took(command: tuple[str, ...], folder: Path) -> None:
    """Tell who comes from Foundations Atlas what to write instead."""
    if command[0] == "scheduler" and len(command) >= 3 and Path(command[1]).is_dir():
        rest = " ".join(command[2:])
        raise UsageError(
            f"'submit scheduler {command[1]} {rest}' is the order of Foundations Atlas",
            f"foundations submit --dir {command[1]} -- python {rest}",
        )
    if (folder / "job.config.yaml").is_file():
        say(
            "note: job.config.yaml is not read; in foundations.toml: project = ..., and on the command line:"
            " --gpus N, --ram 16G, --param K=V or --params-file FILE"
        )


def _say_what_reaches_nothing(request: Request, sweep: grid.Plan | None) -> None:
    """Refuse a parameter that has two values, and say which placeholders and parameters do not meet."""
    axes = list(sweep.axes) if sweep is not None else []
    for key in axes:
        if key in request.params:
            raise UsageError(f"{key!r} is both swept and given by --param or --params-file", "leave one of them out")
    for hole in grid.unfilled(request.command, axes and [*axes, *request.params]):
        name = hole.strip("{}")
        if axes:
            say(f"warning: nothing fills {hole} in the command: it has {', '.join(axes)}")
        elif name in request.params:
            say(f"warning: {hole} in the command is filled by a sweep only: --sweep {name}=VALUE")
    for key in axes:
        if not grid.uses(request.command, key):
            say(
                f"warning: the command has no {{{key}}}: its jobs get {key} only as a parameter"
                f" (foundations.load_parameters(), FOUNDATIONS_PARAM_{key.upper()})"
            )


_ASKED_FROM = 50
"""So many jobs are asked about on a terminal."""


def _sweep_of(options: dict[str, Any]) -> grid.Plan | None:
    """Return the sweep that a command line asks for."""
    if options["sweep_file"] and options["sweeps"]:
        raise UsageError("either --sweep or --sweep-file")
    plan = grid.read(Path(options["sweep_file"])) if options["sweep_file"] else None
    if options["sweeps"]:
        axes = [grid.parse(text) for text in options["sweeps"]]
        twice = [key for number, (key, _) in enumerate(axes) if key in dict(axes[:number])]
        if twice:
            raise UsageError(f"{twice[0]!r} is swept twice", f"--sweep {twice[0]}=A,B,C")
        plan = grid.Plan(dict(axes))
    given = options["is_zip"], options["draws"], options["seed"]
    if plan is None:
        if any(given):
            raise UsageError("--zip, --random and --seed belong to a sweep", "--sweep lr=1e-4,3e-4")
        return None
    if options["is_zip"] and options["draws"]:
        raise UsageError("either --zip or --random")
    mode = "zip" if options["is_zip"] else "random" if options["draws"] else plan.mode
    seed = plan.seed if options["seed"] is None else options["seed"]
    return replace(plan, mode=mode, count=options["draws"] or plan.count, seed=seed)


def _submit_sweep(
    session: Session, request: Request, plan: grid.Plan, then: str, dry_run: bool, as_json: bool, yes: bool
) -> int:
    """Submit one job for each set of parameters, after a word on how many and how long."""
    from foundations_tui.config.project import load_project
    from foundations_tui.snapshot import freeze
    from foundations_tui.submit import pipeline as submission

    found = grid.expand(plan.axes, plan.mode, plan.count, plan.seed)
    typed = grid.typed_words(plan.axes)
    group = request.group or f"sweep-{os.urandom(3).hex()}"
    requests = [
        replace(
            request,
            command=grid.fill(request.command, {**request.params, **params}, typed),
            params={**request.params, **params},
            name=f"{request.name}-{number}" if request.name else "",
            group=group,
        )
        for number, params in enumerate(found, 1)
    ]
    _say_preview(session, request, requests, plan)
    if dry_run:
        if as_json:
            output.print_json([{"params": json_value(r.params), "command": list(r.command)} for r in requests])
        else:
            output.print_table(
                ("N", *plan.axes, "COMMAND"),
                [
                    [str(n), *(cell(r.params[key]) for key in plan.axes), humanize.command(list(r.command))]
                    for n, r in enumerate(requests, 1)
                ],
            )
            project = load_project(request.folder)
            frozen = freeze.take(request.folder, project.max_file, project.include)
            click.echo()
            _say_transfer(frozen, submission.host_wish(session, request, project))
        return 0
    if len(requests) >= _ASKED_FROM and not yes and sys.stdin.isatty() and sys.stderr.isatty():
        click.confirm(f"Submit {len(requests):,} jobs?", abort=True, err=True)
    progress = Line()
    try:
        submitted = submission.submit_all(session, requests, progress)
    except FoundationsError as error:
        if then == "detach":
            raise
        return _failed_before(error)
    finally:
        progress.end()
    if as_json:
        output.print_json(
            [{**_wire(one), "sweep": group, "params": json_value(one.view.spec.params)} for one in submitted]
        )
    elif then == "detach":
        click.echo("\n".join(one.view.spec.job for one in submitted))
    say(f"sweep {group}: {humanize.plural(len(submitted), 'job')} submitted to {_hosts_of(submitted)}")
    if not is_in_window():
        say(f"  foundations sweep show {group}    how far it is, and the best so far")
    if then == "detach":
        return 0
    if then == "follow":
        raise UsageError("--follow follows one job; the sweep is submitted", f"foundations sweep show {group}")
    from foundations_tui.cli.waiting import watch_to_end

    return watch_to_end(session, [one.view.spec.job for one in submitted])


def _hosts_of(submitted: list[Submitted]) -> str:
    hosts = dict.fromkeys(one.host for one in submitted)
    return ", ".join(f"{host} ({sum(one.host == host for one in submitted)})" for host in hosts)


def _say_preview(session: Session, request: Request, requests: list[Request], plan: grid.Plan) -> None:
    from foundations_tui.config.project import load_project
    from foundations_tui.store import queries

    project = request.project or load_project(request.folder).project or request.folder.resolve().name
    axes = {
        "random": ", ".join(plan.axes) + " drawn at random",
        "zip": ", ".join(plan.axes) + " side by side",
        "grid": " x ".join(f"{key} ({len(one.values)})" for key, one in plan.axes.items() if hasattr(one, "values")),
    }[plan.mode]
    usual = queries.usual_duration(session.store.conn, project)
    cost = ""
    if usual is not None:
        what, each = ("GPU", request.gpus) if request.gpus else ("CPU", request.cpus)
        needed = humanize.duration(usual * each * len(requests))
        cost = f"; about {needed} of {what} time, as jobs of {project} took before"
    gpus = f", {humanize.plural(request.gpus, 'GPU')} each" if request.gpus else ""
    say(f"{humanize.plural(len(requests), 'job')}: {axes}{gpus}{cost}")
    unused = [key for key in plan.axes if not grid.uses(request.command, key)]
    if unused and any(grid.uses(request.command, key) for key in plan.axes):
        say(f"note: {', '.join(unused)} stands in no {{placeholder}} of the command; the script has to read it")


def _submit(session: Session, request: Request) -> Submitted:
    from foundations_tui.submit import pipeline as submission

    progress = Line()
    try:
        return submission.submit(session, request, progress)
    finally:
        progress.end()


def _request(session: Session, command: tuple[str, ...], options: dict[str, Any]) -> Request:
    from foundations_tui.submit.request import Request

    folder = Path(options["folder"])
    try:
        os.getcwd()
    except FileNotFoundError:
        raise UsageError("the folder in which you are is not there any more", "cd to another one") from None
    if not folder.is_dir():
        raise UsageError(f"there is no folder {options['folder']!r}", "--dir names the folder to ship")
    shell = options["shell"]
    after, after_any = (_jobs(session, options[key]) for key in ("after", "after_any"))
    return Request(
        command=(" ".join(command),) if shell else command,
        folder=folder,
        shell=shell,
        host=options["host"] or _host_of(session, (*after, *after_any)),
        project=options["project"],
        name=options["name"],
        cpus=options["cpus"],
        gpus=(1 if options["gpu_memory"] else 0) if options["gpus"] is None else options["gpus"],
        gpu_memory=-(-options["gpu_memory"] // (1 << 20)),
        ram=options["ram"],
        priority=options["priority"],
        after=after,
        after_any=after_any,
        group=options["group"],
        time_limit=options["time_limit"],
        retries=options["retries"],
        retry_on=tuple(word.strip() for word in options["retry_on"].split(",") if word.strip()),
        stop_signal=options["stop_signal"],
        grace=options["grace"],
        outputs=options["outputs"],
        log_limit=options["log_limit"],
        secrets=options["secrets"],
        inherit_env=options["inherit_env"],
        params=_params(options["params"], options["params_file"]),
        env=_pairs(options["env"], "--env"),
        tags=_pairs(options["tags"], "--tag", value_needed=False),
    )


def _jobs(session: Session, words: tuple[str, ...]) -> tuple[str, ...]:
    """Return the whole ids of jobs that a user names."""
    from foundations_tui.store import queries

    return tuple(queries.resolve(session.store.conn, word) for word in words)


def _host_of(session: Session, jobs: tuple[str, ...]) -> str:
    """Return the host of the jobs to wait for: there the new one has to be; empty when there are none."""
    from foundations_tui.store import queries

    return queries.job(session.store.conn, jobs[0]).host if jobs else ""


def _params(pairs: tuple[str, ...], file: str | None) -> dict[str, Any]:
    params = _params_of_file(file) if file else {}
    for key, value in _pairs(pairs, "--param").items():
        try:
            params[key] = literal(value, any_json=True)
        except RecursionError:
            raise UsageError(f"--param {key} is nested too deep") from None
    return params


def _pairs(texts: tuple[str, ...], option: str, value_needed: bool = True) -> dict[str, str]:
    """Return what an option that may be repeated gives, by name.

    Raises:
        UsageError: a name is given twice.
    """
    given: dict[str, str] = {}
    for text in texts:
        key, value = parse_pair(text, option, value_needed)
        if key in given:
            raise UsageError(f"{option} {key} is given twice: {given[key]!r} and {value or ''!r}")
        given[key] = value or ""
    return given


def _params_of_file(file: str) -> dict[str, Any]:
    try:
        found = json.loads(Path(file).read_text(encoding="utf-8-sig"), parse_float=Typed.of)
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"--params-file {file}: {getattr(error, 'strerror', None) or error}") from None
    except (ValueError, RecursionError) as error:
        raise UsageError(f"--params-file {file} is no JSON: {error}") from None
    if not isinstance(found, dict):
        raise UsageError(f"--params-file {file} holds a {type(found).__name__}; a JSON object is needed")
    return found


def _say_transfer(frozen: Snapshot, host: str) -> None:
    files, size = humanize.plural(frozen.files, "file"), humanize.size(frozen.size)
    click.echo(f"would ship {files}, {size}, of {one_line(str(frozen.root))} to {host}")
    click.echo("(a host that has some of it already gets only the rest)")


def _say_left_behind(left: LeftBehind) -> None:
    if left.names:
        say(f"{left.words}\n  [snapshot] include in foundations.toml ships them, [data] names what lies on a host")


def _print_dry_run(session: Session, request: Request, as_json: bool) -> None:
    """Say what would be shipped; no host is asked."""
    from foundations_tui.config.project import load_project
    from foundations_tui.snapshot import freeze
    from foundations_tui.submit import pipeline as submission
    from foundations_tui.submit.request import check

    check(request)
    project = load_project(request.folder)
    frozen = freeze.take(request.folder, project.max_file, project.include)
    host = submission.host_wish(session, request, project)
    largest = [(path.decode("utf-8", "replace"), size) for size, path in freeze.largest(frozen)]
    left = freeze.left_behind(frozen, project.include)
    if as_json:
        facts = {"host": host, "folder": str(frozen.root), "snapshot": frozen.tree, "files": frozen.files}
        output.print_json(
            {
                **facts,
                "bytes": frozen.size,
                "largest": [{"path": path, "bytes": size} for path, size in largest],
                "ignored": left.names,
                "ignored_bytes": left.size,
                "empty_folders": list(frozen.empty),
            }
        )
        return
    _say_transfer(frozen, host)
    if frozen.empty:
        click.echo(f"and {humanize.plural(len(frozen.empty), 'empty folder')}: {one_line(', '.join(frozen.empty[:5]))}")
    _say_left_behind(left)
    if largest:
        click.echo()
        output.print_table(("BYTES", "LARGEST FILES"), [[humanize.size(size), path] for path, size in largest])


def _wire(submitted: Submitted) -> dict[str, str]:
    spec = submitted.view.spec
    return {
        "job": spec.job,
        "project": spec.project,
        "host": submitted.host,
        "snapshot": spec.snapshot,
        "state": submitted.view.state.value,
    }


def _print_next_steps(submitted: Submitted) -> None:
    from foundations_tui.config.project import load_project
    from foundations_tui.snapshot.freeze import left_behind

    job, snapshot = submitted.view.spec.job, submitted.snapshot
    assert snapshot is not None
    click.echo(job)
    _say_left_behind(left_behind(snapshot, load_project(snapshot.root / snapshot.subdir).include))
    sent = f"{humanize.size(submitted.shipped.bytes)} sent" if submitted.shipped.objects else "nothing new to send"
    say(f"submitted to {submitted.host} ({humanize.plural(snapshot.files, 'file')}, {sent})")
    if not is_in_window():
        say(f"  foundations logs -f {job[:6]}    follow its log\n  foundations                   watch all jobs")


def _failed_before(error: FoundationsError) -> int:
    """Say why nothing was submitted, where the exit code would have been the job's own."""
    from foundations_tui.cli.stderr import tell

    tell(error)
    return error.exit_code if isinstance(error, UsageError) else 125
