"""What a job's process finds around it: variables, interpreter, argument vector."""

from __future__ import annotations

import json
import os
import shlex
import sys
from typing import Any, Dict, List

from remote_agent import procs
from remote_agent.jobs import JobSpec, Lease
from remote_agent.paths import AttemptPaths, JobPaths

PREFIX = "FOUNDATIONS_"
_OF_AN_OUTER_JOB = ("CUDA_VISIBLE_DEVICES", "CUDA_DEVICE_ORDER", "PYTHONPATH", "PYTHONUNBUFFERED")


def scrubbed(environment: Dict[str, str]) -> Dict[str, str]:
    """Return an environment for an agent, with nothing in it of the job that may have started it."""
    drop = _OF_AN_OUTER_JOB if "FOUNDATIONS_JOB_ID" in environment else ()
    clean = {k: v for k, v in environment.items() if not k.startswith(PREFIX) and k not in drop}
    clean[procs.AGENT_MARK] = "1"
    return clean


def variables(
    spec: JobSpec, attempt: int, lease: Lease, token: str, job: JobPaths, files: AttemptPaths, sdk: str
) -> Dict[str, str]:
    """Return the environment of a job's process: the agent's own, then ours, then what the user gave."""
    env = {k: v for k, v in os.environ.items() if not k.startswith(PREFIX)}
    env.update(spec.env)
    env.update(
        PYTHONUNBUFFERED="1",
        PYTHONPATH=os.pathsep.join(filter(None, [sdk, env.get("PYTHONPATH", "")])),
        PATH=os.pathsep.join([files.bin, env.get("PATH") or os.defpath]),
        CUDA_DEVICE_ORDER="PCI_BUS_ID",
        CUDA_VISIBLE_DEVICES=",".join(lease.gpus),
        FOUNDATIONS_GPU_INDICES=",".join(map(str, lease.gpu_indices)),
        FOUNDATIONS_JOB_ID=spec.job,
        FOUNDATIONS_PROJECT_NAME=spec.project,
        FOUNDATIONS_ATTEMPT=str(attempt),
        FOUNDATIONS_RECORDS_DIR=files.records,
        FOUNDATIONS_CHECKPOINT_DIR=job.checkpoints,
        FOUNDATIONS_ARTIFACTS_DIR=job.artifacts,
    )
    env.update({PREFIX + "PARAM_" + _variable(k): _text(v) for k, v in spec.params.items()})
    env[procs.TOKEN_VARIABLE] = token
    return env


def interpreter(spec: JobSpec) -> str:
    """Return the Python that ``python`` means in the job."""
    return os.path.expanduser(spec.python) if spec.python else sys.executable


def write_python_commands(folder: str, python: str) -> None:
    """Make ``python`` and ``python3`` in a folder of PATH mean the interpreter.

    They are scripts and not links: a link would hide a virtual environment from its own interpreter.
    """
    os.mkdir(folder, 0o700)
    for name in ("python", "python3"):
        path = os.path.join(folder, name)
        with open(path, "w", encoding="utf-8") as file:
            file.write(f'#!/bin/sh\nexec {shlex.quote(python)} "$@"\n')
        os.chmod(path, 0o700)


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
