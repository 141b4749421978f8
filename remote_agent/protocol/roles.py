"""What the short roles of the agent are asked for and answer, on channels of their own. Pure."""

from __future__ import annotations

from typing import Dict, List, Optional, Tuple

from remote_agent.protocol.checks import (
    as_tuple,
    flag,
    listing,
    one_of,
    optional,
    row,
    sieve,
    sifted_table,
    text,
    whole,
)
from remote_agent.protocol.jobs import JOB_ID
from remote_agent.protocol.wire import Message, TolerantMessage, field, message, nested

_NAME = text(100_000, as_bytes=True)
_ATTEMPT = whole(0, 1_000_000)
_MOST_NAMED = 1000


@message
class FilesWanted(Message):
    """Files of a job that are to be sent as a tar stream: the role ``send``."""

    job: str = field(text(64, JOB_ID))
    attempt: int = field(_ATTEMPT)
    what: str = field(one_of("written", "paths", "code", "artifacts", "synced", "outputs", "checkpoints", "data"))
    """What it wrote in its folder, names, its snapshot, artifacts, directories kept in step, patterns, checkpoints, or
    a data set by its hash."""
    snapshot: str = field(text(40), "")
    paths: List[str] = field(listing(_NAME, 100_000), [])
    """Names, or patterns for "outputs"; none for all artifacts."""
    limit: int = field(whole(), 0)
    """Bytes that are sent at most; 0 for any number."""
    base: str = field(_NAME, "")
    """For "outputs": the folder below the job's that patterns begin in."""
    with_git: bool = field(flag, False, name="git")
    """Whether files below a ``.git`` are sent, too."""


@message
class FilesAnnounced(Message):
    """What a host says before it sends files."""

    bytes: int = field(whole())
    files: int = field(whole(), 0)
    left: List[Tuple[str, int]] = field(listing(row(_NAME, whole()), _MOST_NAMED), [])
    """Name and bytes of those that a limit keeps away; the first of them."""
    left_count: int = field(whole(), 0)
    left_bytes: int = field(whole(), 0)
    refused: List[Tuple[str, str]] = field(listing(row(_NAME, text(1000)), _MOST_NAMED), [])
    """Name of those that cannot be sent, and why; the first of them."""
    refused_count: int = field(whole(), 0)
    in_git: int = field(whole(), 0)
    """Files below a ``.git`` that were left out."""
    receipt: str = field(text(64), "")
    """To be sent back when all has arrived."""
    ready: bool = field(flag, True)


@message
class EnterWanted(Message):
    """A command that takes over a channel: the role ``enter``."""

    job: str = field(text(64), "")
    """In whose folder; "" for none."""
    attempt: int = field(_ATTEMPT, 0)
    command: List[str] = field(listing(text(131_071, as_bytes=True), 100_000), [])
    """Empty for a login shell."""


@message
class Survey(Message):
    """Files that a job left on its host only."""

    files: int = field(whole())
    bytes: int = field(whole())
    largest: Optional[Tuple[str, int]] = field(optional(as_tuple(row(text(10_000), whole()))), None)
    """Name and bytes of the largest."""


@message
class SetupTrial(TolerantMessage):
    """How the setup lines of a host ended: the role ``trial``."""

    exit_code: int = field(whole(-(2**31), 2**31), 1)
    output: str = field(text(100_000), "", name="said")
    """The last of it."""


@message
class Autostart(TolerantMessage):
    """What starts the agent when its host boots."""

    by: str = field(text(100), "")
    """"systemd --user" or "cron"; "" for nothing."""
    problem: str = field(text(10_000), "")
    """What is still in the way."""


@message
class HostPython(TolerantMessage):
    """A Python of a host."""

    path: str = field(text(4096, as_bytes=True), "")
    version: str = field(text(100), "")
    """"3.11.7"."""
    implementation: str = field(text(100), "cpython")
    is_base: bool = field(flag, True)
    """Whether it is no virtual environment's."""
    has_venv: bool = field(flag, False)
    """Whether it can make virtual environments by itself."""


@message
class HostTools(TolerantMessage):
    """What a host has to build environments with: the role ``tools``."""

    machine: str = field(text(100), "")
    """"x86_64"."""
    libc: str = field(text(100), "")
    """"glibc-2.36", or "musl"."""
    pythons: List[HostPython] = field(sieve(nested(HostPython), 1000), [])
    """The one that a shell of the user means first."""
    programs: Dict[str, str] = field(sifted_table(text(4096, as_bytes=True), 100, text(100)), {})
    """Paths of uv, conda and the like, by name."""
    versions: Dict[str, str] = field(sifted_table(text(100), 100, text(100)), {})
    """Their versions."""
    cuda: str = field(text(100), "")
    """The newest that its GPUs' driver can run: "12.4"; "" where that is not known."""
    driver: str = field(text(100), "")
    kernel: str = field(text(1000), "")
    built: List[str] = field(sieve(text(64), 1000), [])
    """Those of the environments that were asked about which are there."""
