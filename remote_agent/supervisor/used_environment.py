"""The environment of an attempt: looked up by one stat, never built here."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Dict, List, Optional, Sequence, Tuple

from remote_agent.protocol.errors import AgentError
from remote_agent.protocol.facts import HASH
from remote_agent.protocol.jobs import JobSpec
from remote_agent.protocol.lease import Lease
from remote_agent.protocol.recipes import IMAGE, recipe_of
from remote_agent.storage import files
from remote_agent.storage.paths import Paths

if TYPE_CHECKING:
    from remote_agent.environments.setup_lines import SetupVariables

_MOST_LOG_BYTES = 4 << 20
_BOXES = re.compile("[\u2500-\u257f\u25b6\u00d7]+ *")
"""What uv draws around its words."""
_LONGEST_WORDS = 2000


class NoEnvironment(AgentError):
    """The environment of a job is not on this host."""


@dataclass(frozen=True)
class Used:
    """What an attempt uses of an environment; nothing where it has none."""

    prefix: str = ""
    """Folder whose bin/python is its ``python``."""
    lock: Optional[str] = None
    """SHA-256 of the lock that it was built from."""
    image: str = ""
    """Digest of the container image that it runs in."""
    setup: Optional[SetupVariables] = None
    """What its setup lines left when it was built; None where they run before each job."""
    log: bytes = b""
    """What the builder has printed, where the job has waited for it."""


def use(paths: Paths, spec: JobSpec) -> Used:
    """Return the environment of a job, and note that it is used.

    Raises:
        NoEnvironment: it is not there.
    """
    if not spec.environment:
        return Used()
    from remote_agent.environments import places  # most jobs have none

    environment = places.Environment(paths, spec.environment_hash)
    is_image = spec.environment.get("kind") == IMAGE
    if not environment.is_built(str(spec.environment.get("kind"))):
        raise NoEnvironment("its environment is not on this host any more; submit it again")
    environment.touch()
    told = environment.facts()
    lock, built_at = told.get("lock"), told.get("built_at")
    has_waited = isinstance(built_at, float) and built_at > spec.created_at
    return Used(
        prefix="" if is_image else environment.prefix,
        lock=lock if isinstance(lock, str) and HASH.match(lock) else None,
        image=str(told.get("image") or "") if is_image else "",
        setup=_left_by_setup(told.get("setup")),
        log=_read(environment.log) if has_waited else b"",
    )


def _left_by_setup(told: Any) -> Optional[SetupVariables]:
    if not told:
        return None
    from remote_agent.environments import setup_lines

    return setup_lines.of_told(told)


def prefix_of(paths: Paths, spec: JobSpec) -> str:
    """Return the folder of a job's environment, for someone looking around in a job's folder; "" where it has none."""
    if not spec.environment or spec.environment.get("kind") == IMAGE:
        return ""
    from remote_agent.environments import places

    environment = places.Environment(paths, spec.environment_hash)
    return environment.prefix if environment.is_built(str(spec.environment.get("kind"))) else ""


def failure(paths: Paths, spec: JobSpec) -> Tuple[str, bytes]:
    """Return why the environment of a job could not be built, in the words of who built it, and the builder's log."""
    from remote_agent.environments import places

    attempt = places.last_failure(paths, spec.environment_hash)
    if attempt is None:
        return "", b""
    told = files.read_json(attempt.end) or {}
    lines = [_BOXES.sub("", line).strip() for line in str(told.get("words", "")).splitlines()]
    return " ".join(filter(None, lines))[:_LONGEST_WORDS], _read(attempt.log)


def in_image(
    used: Used,
    paths: Paths,
    spec: JobSpec,
    lease: Lease,
    argv: Sequence[str],
    env: Dict[str, str],
    cwd: str,
    sdk: str,
) -> List[str]:
    """Return what runs a command inside the image of a job.

    Args:
        used: the environment.
        paths: the agent's files.
        spec: the job.
        lease: what it holds.
        argv: the command.
        env: its variables; paths of the host's programs are taken out of them.
        cwd: where it starts.
        sdk: the folder that makes ``import foundations`` work.
    """
    from remote_agent.environments import images, places

    recipe = recipe_of(spec.environment)
    assert recipe is not None
    folders = [paths.job(spec.job).folder, sdk, *(str(entry["path"]) for entry in spec.data.values())]
    environment = places.Environment(paths, spec.environment_hash)
    return images.command(recipe, environment, used.image, argv, env, cwd, folders, lease.gpus, lease.vendor)


def _read(path: str) -> bytes:
    try:
        with files.open_regular(path) as file:
            return file.read(_MOST_LOG_BYTES)
    except OSError:
        return b""
