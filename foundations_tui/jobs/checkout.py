"""A job restored to a folder: its code, what is known of how it ran, and a script that runs it there."""

from __future__ import annotations

import json
import os
import shlex
import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path

from foundations_tui.config.hosts import HostConfig
from foundations_tui.errors import UsageError
from foundations_tui.session import Session
from foundations_tui.store import queries
from foundations_tui.store.rows import JobRow, json_value
from foundations_tui.submit.earlier_job import own_variables
from foundations_tui.sync import code
from foundations_tui.sync.code import Received, no_progress
from foundations_tui.sync.unpacking import Folder, Refused, Unpacked
from foundations_tui.text.sanitize import one_line
from remote_agent.protocol.facts import Package
from remote_agent.protocol.jobs import JobSpec, chance_variables, data_variable, param_variables
from remote_agent.protocol.recipes import PYLOCK
from remote_agent.protocol.wire import JsonTable


def checkout(session: Session, job: JobRow, target: Path, received: Received = no_progress) -> Unpacked:
    """Restore a job to a folder that is not there yet; it is there whole, or not at all.

    Args:
        session: the client's.
        job: which.
        target: the folder to make.
        received: gets the progress when the code comes from a host.
    Returns:
        What came of its code.
    Raises:
        UsageError: there is something at that place, or no folder to make it in.
        NotFoundError: neither this client nor a host has the code.
        HostError: the hosts that may have it are out of reach.
    """
    if os.path.lexists(target):
        raise UsageError(f"{target} exists already", "name a folder that does not: checkout makes it")
    if not target.parent.is_dir():
        raise UsageError(f"there is no folder {target.parent}", f"mkdir -p {shlex.quote(str(target.parent))}")
    making = target.parent / f".{target.name[:200]}-{os.urandom(6).hex()}"
    making.mkdir()
    try:
        unpacked = code.write(session, job, making / "code", received)
        spec = queries.whole_spec(session.store.conn, job.job)
        _make_empty_folders(making / "code", spec["folders"], unpacked)
        settings = session.hosts.hosts.get(job.host, HostConfig(name=job.host))
        _write_what_is_known(making, spec, settings, queries.recorded(session.store.conn, job))
        lock = queries.lock_of(session.store.conn, job.job)
        _write_lock(making, spec, queries.lock_text(session.store.conn, lock))
        making.rename(target)
    finally:
        shutil.rmtree(making, ignore_errors=True)
    return unpacked


def _make_empty_folders(top: Path, names: Iterable[str], unpacked: Unpacked) -> None:
    """Make the folders that hold nothing: a snapshot has only files."""
    with Folder(top) as folder:
        for name in names:
            try:
                folder.make(name)
            except Refused as error:
                unpacked.refused.append((name, str(error)))


def _write_what_is_known(folder: Path, spec: JsonTable, settings: HostConfig, recorded: queries.Recorded) -> None:
    _write_json(folder / "job.json", {name: json_value(value) for name, value in spec.items()})
    _write_json(folder / "parameters.json", json_value(spec["params"]))
    if recorded.facts is not None:
        _write_json(folder / "facts.json", json_value(recorded.facts.to_wire()))
    if recorded.packages is not None:
        (folder / "packages.txt").write_text("".join(map(_package_line, recorded.packages)), encoding="utf-8")
    script = folder / "run.sh"
    variables = own_variables(JobSpec.from_wire(spec), settings)
    script.write_text(script_of(spec, variables), encoding="utf-8", errors="surrogateescape")
    mode = script.stat().st_mode
    script.chmod(mode | (mode & 0o444) >> 2)  # whoever may read it may run it


def _write_lock(folder: Path, spec: JsonTable, text: str | None) -> None:
    if text is not None:
        (folder / lock_name(spec["environment"])).write_text(text, encoding="utf-8")


def lock_name(environment: JsonTable) -> str:
    """Return what the file of a lock is called, as those who read it expect.

    Args:
        environment: the recipe in a job's specification.
    """
    if environment.get("kind") == "conda":
        return "conda-explicit.txt"
    return "pylock.toml" if environment.get("format") == PYLOCK else "requirements.lock.txt"


def _how_to_build(spec: JsonTable) -> list[str]:
    """Return comments that say how to make the environment of a job."""
    environment = spec["environment"]
    if not environment:
        return []
    if environment.get("image"):
        return [f"# It ran in the image {one_line(str(environment['image']))}."]
    name = lock_name(environment)
    if environment.get("kind") == "conda":
        return [f"# Its packages: conda create --prefix env --file {name}"]
    python = one_line(str(environment.get("python", "3")))
    return [f"# Its packages: uv venv --python {python} env && uv pip sync --python env {name}"]


def _package_line(package: Package) -> str:
    kind, name, version, origin = package
    if kind != "python":
        return f"# {kind}: {name} {version}\n"
    return f"{name}=={version}\n" if not origin else f"# {name} {version} from {one_line(origin)}\n"


def _write_json(path: Path, value: object) -> None:
    path.write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n", encoding="utf-8", errors="backslashreplace")


def script_of(spec: JsonTable, env: Mapping[str, str]) -> str:
    """Return a shell script that runs a job's command in its code, beside it.

    Args:
        spec: its specification, every field of it.
        env: the variables that are its own.
    """
    lines = [
        "#!/bin/sh",
        f"# Runs job {spec['job']} in code/, with the Python and packages of this shell.",
        *_how_to_build(spec),
        "set -eu",
        'here=$(cd "$(dirname "$0")" && pwd)',
        *(f': "${{{name}:?is a secret of this job: export it first}}"' for name in spec["secrets"]),
        f'cd "$here"/code/{shlex.quote(spec["subdir"])}',
        *(['cp "$here/parameters.json" foundations_job_parameters.json'] if spec["params"] else []),
        *(f"export {name}={shlex.quote(value)}" for name, value in _variables(spec, env).items()),
        *_import_lines(spec),
        *_data_lines(spec),
    ]
    if spec["setup"]:
        lines += ["# Its host ran these lines first:", *(f"#   {line}" for line in spec["setup"].splitlines())]
    command = ["/bin/sh", "-c", *spec["command"]] if spec["shell"] else spec["command"]
    return "\n".join([*lines, f'exec {shlex.join(command)} "$@"']) + "\n"


def _import_lines(spec: JsonTable) -> list[str]:
    """Return what has the project's own packages imported from its code."""
    places = [f'"$here"/code/{shlex.quote(folder)}' for folder in spec["import_path"]]
    lines = [f"export PYTHONPATH={':'.join(places)}${{PYTHONPATH:+:$PYTHONPATH}}"] if places else []
    if spec["distributions"]:
        lines.insert(0, "# Its own programs and metadata: pip install --no-deps --editable, with its folder in code/")
    return lines


def _data_lines(spec: JsonTable) -> list[str]:
    """Return what gives the job its data: where it lay on the host, unless the user says otherwise."""
    lines = []
    for name, entry in spec["data"].items():
        variable = data_variable(name)
        path = str(entry.get("path", ""))
        at = f", in the job's folder at {entry['at']}" if entry.get("at") else ""
        lines.append("# " + one_line(f"data {name}: on its host at {path}{at}"))
        lines.append(f'[ -n "${{{variable}:-}}" ] || {variable}={shlex.quote(path)}; export {variable}')
    return lines


def _variables(spec: JsonTable, env: Mapping[str, str]) -> dict[str, str]:
    """Return the variables of a job that are its own, with those of its seed and parameters."""
    of_chance = chance_variables(spec["job_seed"], spec["deterministic"], env)
    return {**env, **of_chance, **param_variables(spec["params"])}
