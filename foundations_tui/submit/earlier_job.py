"""An earlier job as what is run again: its code, and what its project said when it was submitted."""

from __future__ import annotations

import os
from dataclasses import replace

from foundations_tui.config.hosts import HostConfig
from foundations_tui.config.project import ProjectConfig, Runtime
from foundations_tui.errors import NotFoundError
from foundations_tui.session import Session
from foundations_tui.snapshot import freeze
from foundations_tui.snapshot.freeze import Snapshot
from foundations_tui.store import queries
from foundations_tui.sync import code
from remote_agent.protocol.jobs import JobSpec

_OF_A_SHELL = (
    *("PATH", "VIRTUAL_ENV", "CONDA_PREFIX", "CONDA_DEFAULT_ENV", "LD_LIBRARY_PATH"),
    *("LANG", "LANGUAGE", "TZ", "FOUNDATIONS_HOME"),
)
OF_AN_ENVIRONMENT = ("VIRTUAL_ENV", "CONDA_PREFIX", "CONDA_DEFAULT_ENV")
"""Those of them that belong to the environment which is active in the shell."""


def is_of_a_shell(name: str) -> bool:
    """Return whether a job on this machine takes a variable over from the shell that submits it."""
    return name in _OF_A_SHELL or name.startswith("LC_")


def code_of(session: Session, job: str) -> Snapshot:
    """Return the snapshot of a job, brought here when this client has it not.

    Args:
        session: the client's.
        job: whole id.
    Raises:
        NotFoundError: neither this client nor a host has it. HostError: the hosts that may have it are out of reach.
    """
    row, spec = queries.job(session.store.conn, job), _spec(session, job)
    code.keep_here(session, [row])
    frozen = freeze.kept(row.snapshot)
    if frozen is None:
        raise NotFoundError(f"the code of job {job} is not here whole, nor does a host have it")
    return replace(frozen, subdir=spec.subdir, empty=spec.folders, git=spec.git)


def project(session: Session, job: str) -> ProjectConfig:
    """Return what the project of a job said when it was submitted.

    Variables of the shell that submitted it, and those that its host gives to all jobs, are those of today.
    """
    spec, host = _spec(session, job), queries.job(session.store.conn, job).host
    settings = session.hosts.hosts.get(host, HostConfig(name=host))
    own = own_variables(spec, settings)
    return ProjectConfig(
        project=spec.project,
        host=host if host in session.hosts.hosts else "",
        env=own,
        data={name: {**entry, "at": _below(spec.subdir, entry.get("at", ""))} for name, entry in spec.data.items()},
        outputs=spec.outputs,
        output_limit=spec.output_limit,
        directions=dict(spec.metrics.get("direction", {})),
        patterns=tuple(spec.metrics.get("patterns", ())),
        tensorboard=bool(spec.metrics.get("tensorboard")),
        runtime=Runtime(setup=spec.own_setup, setup_each_job=not spec.environment.get("setup")),
    )


def own_variables(spec: JobSpec, settings: HostConfig) -> dict[str, str]:
    """Return the variables of a job that are neither those of a shell nor those that its host gives to all jobs.

    Args:
        spec: the job.
        settings: its host's.
    """
    taken = spec.from_shell
    if settings.is_local and not spec.client_version:  # older clients did not say which
        taken = tuple(filter(is_of_a_shell, spec.env))
    return {name: value for name, value in spec.env.items() if name not in taken and settings.env.get(name) != value}


def _below(subdir: str, place: str) -> str:
    """Return a place of data as a project names it: as seen from its own folder."""
    return os.path.relpath(place, subdir or ".") if place else ""


def _spec(session: Session, job: str) -> JobSpec:
    return JobSpec.from_wire(queries.spec(session.store.conn, job))
