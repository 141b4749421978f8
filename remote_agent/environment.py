"""What a job's process finds around it: variables, interpreter, argument vector."""

from __future__ import annotations

import functools
import hashlib
import json
import os
import shlex
import sys
from typing import Any, Dict, List

from remote_agent import files, procs
from remote_agent.errors import AgentError
from remote_agent.jobs import JobSpec, Lease
from remote_agent.paths import JobPaths

PREFIX = "FOUNDATIONS_"
_OF_AN_OUTER_JOB = (
    "CUDA_VISIBLE_DEVICES",
    "CUDA_DEVICE_ORDER",
    "ROCR_VISIBLE_DEVICES",
    "PYTHONPATH",
    "PYTHONUNBUFFERED",
)


def scrubbed(environment: Dict[str, str]) -> Dict[str, str]:
    """Return an environment for an agent, with nothing in it of the job that may have started it."""
    drop = _OF_AN_OUTER_JOB if "FOUNDATIONS_JOB_ID" in environment else ()
    clean = {k: v for k, v in environment.items() if not k.startswith(PREFIX) and k not in drop}
    clean[procs.AGENT_MARK] = "1"
    return clean


def variables(
    spec: JobSpec, attempt: int, lease: Lease, job: JobPaths, sdk: str, python_commands: str
) -> Dict[str, str]:
    """Return the environment of a job's process: the agent's own, then what the user gave, then ours.

    Args:
        spec: the job.
        attempt: which attempt.
        lease: what it holds.
        job: its files.
        sdk: the folder that makes ``import foundations`` work.
        python_commands: the folder in which ``python`` is the job's interpreter.
    """
    env = {**own(), **spec.env}
    env.update(
        PYTHONUNBUFFERED="1",
        PYTHONPATH=os.pathsep.join(filter(None, [sdk, env.get("PYTHONPATH", "")])),
        PATH=os.pathsep.join([python_commands, env.get("PATH") or os.defpath]),
        FOUNDATIONS_GPU_INDICES=",".join(map(str, lease.gpu_indices)),
        FOUNDATIONS_JOB_ID=spec.job,
        FOUNDATIONS_PROJECT_NAME=spec.project,
        FOUNDATIONS_ATTEMPT=str(attempt),
        FOUNDATIONS_RECORDS_DIR=job.attempt(attempt).records,
        FOUNDATIONS_CHECKPOINT_DIR=job.checkpoints,
        FOUNDATIONS_ARTIFACTS_DIR=job.artifacts,
        **_visible_gpus(lease),
    )
    env.update({PREFIX + "PARAM_" + _variable(k): _text(v) for k, v in spec.params.items()})
    for name, entry in spec.data.items():
        env[PREFIX + "DATA_" + name.upper()] = os.path.expanduser(entry["path"])
    return env


@functools.lru_cache(None)
def own() -> Dict[str, str]:
    """Return this process's own environment, as a job may have it."""
    return {k: v for k, v in os.environ.items() if not k.startswith(PREFIX)}


def _visible_gpus(lease: Lease) -> Dict[str, str]:
    """Return the variables by which a process sees just its GPUs: NVIDIA's by UUID, AMD's by index."""
    if lease.vendor == "amd":
        indices = ",".join(map(str, lease.gpu_indices))
        return {"ROCR_VISIBLE_DEVICES": indices, "GPU_DEVICE_ORDINAL": ",".join(map(str, range(len(lease.gpus))))}
    return {"CUDA_DEVICE_ORDER": "PCI_BUS_ID", "CUDA_VISIBLE_DEVICES": ",".join(lease.gpus)}


def secrets(spec: JobSpec, job: JobPaths) -> Dict[str, str]:
    """Return the secret variables of a job.

    Raises:
        AgentError: their file is gone.
    """
    private = files.read_json(job.private) if spec.secrets else {}
    known = private.get("secrets") if isinstance(private, dict) else None
    if spec.secrets and (not isinstance(known, dict) or set(spec.secrets) - set(known)):
        raise AgentError("its secrets are not on this host any more; submit it again")
    return {name: str(known[name]) for name in spec.secrets} if known else {}


def interpreter(spec: JobSpec) -> str:
    """Return the Python that ``python`` means in the job."""
    return os.path.expanduser(spec.python) if spec.python else sys.executable


def python_commands(agents: str, python: str) -> str:
    """Return a folder in which ``python`` and ``python3`` are the interpreter, made when it is not there.

    They are scripts and not links: a link would hide a virtual environment from its own interpreter.
    """
    folder = os.path.join(
        agents, "python-" + hashlib.sha256(python.encode("utf-8", "surrogateescape")).hexdigest()[:16]
    )
    if os.path.exists(os.path.join(folder, "python3")):
        return folder
    os.makedirs(folder, 0o700, exist_ok=True)
    for name in ("python", "python3"):
        temporary = os.path.join(folder, f"{name}.{os.getpid()}")
        with open(temporary, "w", encoding="utf-8", errors="surrogateescape") as file:
            file.write(f'#!/bin/sh\nexec {shlex.quote(python)} "$@"\n')
        os.chmod(temporary, 0o700)
        os.replace(temporary, os.path.join(folder, name))
    return folder


def command(spec: JobSpec, python: str) -> List[str]:
    """Return the argument vector: no shell but where the user asked for one or the host has setup lines."""
    words = ["/bin/sh", "-c", spec.command[0]] if spec.shell else list(spec.command)
    if words[0] in ("python", "python3"):
        words[0] = python
    if spec.setup:
        return (
            ["/bin/sh", "-c", spec.setup + '\nexec "$@"', "sh", *spec.command]
            if not spec.shell
            else [
                "/bin/sh",
                "-c",
                spec.setup + "\n" + spec.command[0],
            ]
        )
    return words


def _variable(key: str) -> str:
    return "".join(c if c.isascii() and c.isalnum() else "_" for c in key).upper()


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)
