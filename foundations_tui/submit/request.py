"""What is asked for: one job, with its options; and what has come of it."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from foundations_tui.errors import UsageError
from foundations_tui.snapshot.freeze import Snapshot
from foundations_tui.submit import shipping
from remote_agent.protocol.jobs import JobView

_SECRET = re.compile(r"(TOKEN|KEY|PASSWORD|PASSWD|SECRET|CREDENTIAL)S?(?![A-Z])", re.IGNORECASE)
"""Names of secrets; TOKENIZERS_PARALLELISM is none."""
_MOST = 100_000


_LEAST_LOG = 64 << 10


@dataclass(frozen=True)
class Request:
    """What a user asks for, by command line, form or SDK."""

    command: tuple[str, ...]
    """The argument vector; with ``shell`` one string."""
    folder: Path
    """The folder that the user stands in."""
    shell: bool = False
    host: str = ""
    """Empty for the project's, the default, or any."""
    project: str = ""
    name: str = ""
    cpus: int = 1
    gpus: int = 0
    gpu_memory: int = 0
    """MiB of each GPU; other jobs may share the rest. 0 for whole GPUs."""
    ram: int = 0
    """Bytes of the host's memory to plan with."""
    priority: int = 0
    after: tuple[str, ...] = ()
    """Whole ids of jobs that have to complete first."""
    after_any: tuple[str, ...] = ()
    """Whole ids of jobs that have to end first, however."""
    group: str = ""
    time_limit: float = 0.0
    """Seconds; 0 for none."""
    retries: int = 0
    retry_on: tuple[str, ...] = ("lost",)
    stop_signal: str = "TERM"
    grace: float = 30.0
    """Seconds between that and KILL."""
    outputs: tuple[str, ...] = ()
    """Patterns of files that come back by themselves; empty for the project's."""
    log_limit: int = 0
    """Bytes; 0 for none."""
    secrets: tuple[str, ...] = ()
    """Variables of this process that the job gets, and that are written down nowhere."""
    inherit_env: tuple[str, ...] = ()
    """Variables of this process that the job gets, too."""
    params: dict[str, Any] = field(default_factory=dict)
    env: dict[str, str] = field(default_factory=dict)
    tags: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Submitted:
    """A job that its host has acknowledged."""

    view: JobView
    host: str
    snapshot: Snapshot | None
    """None when the host had the code of an earlier job."""
    shipped: shipping.Shipment


def check(request: Request) -> None:
    """Raise UsageError when a request makes no sense."""
    if not request.command or not request.command[0]:
        raise UsageError("there is no command", "foundations submit -- python train.py")
    if request.cpus < 1:
        raise UsageError("--cpus is at least 1")
    if request.gpus < 0:
        raise UsageError("--gpus is 0 or more")
    if request.gpu_memory and not request.gpus:
        raise UsageError("--gpu-memory is a share of a GPU, and --gpus is 0")
    if request.log_limit and request.log_limit < _LEAST_LOG:
        raise UsageError(f"--log-limit is at least {_LEAST_LOG >> 10} kB")
    if max(request.cpus, request.gpus) > _MOST:
        raise UsageError(f"no host has more than {_MOST:,} CPUs or GPUs")
    refuse_secrets(request.env, "--env")
    refuse_secrets(request.inherit_env, "--inherit-env")


def refuse_secrets(names: Iterable[str], where: str) -> None:
    for name in names:
        if _SECRET.search(name):
            raise UsageError(
                f"{where} {name} looks like a secret: it would be written into the job's specification, readable later",
                "put it into a file on the host (chmod 600) and have the job read that",
            )
