"""Facts: what was recorded of an attempt's interpreter, packages, machine and data, before its command ran. Pure.

What is not known is None, and stands in the file as ``null``: a reader can tell "unknown" from "older than this".
Lists of packages are long and nearly always the same, so they are kept once, by the hash of their canonical text.
"""

from __future__ import annotations

import hashlib
import json
import re
from typing import Any, Dict, List, Optional, Sequence, Tuple

from remote_agent.protocol.checks import (
    any_table,
    flag,
    json_table,
    listing,
    moment,
    number,
    one_of,
    optional,
    row,
    sieve,
    table,
    text,
    whole,
)
from remote_agent.protocol.errors import BadRequest
from remote_agent.protocol.wire import TolerantMessage, field, message, nested

VERSION = 1
"""Of the format; readers take what they know of a later one."""
MOST_PACKAGES_BYTES = 4 << 20
"""Bytes of a list of packages at most."""
_MOST_PACKAGES = 20_000
_WORDS = optional(text(10_000))
_PATH = optional(text(4096, as_bytes=True))
HASH = re.compile(r"[0-9a-f]{64}\Z")
_HASH = optional(text(64, HASH, "a SHA-256 digest"))

Package = Tuple[str, str, str, str]
"""Kind ("python" or "conda"), name, version, and where it came from when that is no index ("" otherwise)."""


@message
class Interpreter(TolerantMessage):
    """The Python that ``python`` means in the job."""

    path: Optional[str] = field(_PATH, None)
    implementation: Optional[str] = field(_WORDS, None)
    """"cpython", "pypy"."""
    version: Optional[str] = field(_WORDS, None)
    """"3.11.7"."""
    build: Optional[str] = field(_WORDS, None)
    """What ``sys.version`` says behind the number: build, date, compiler."""
    prefix: Optional[str] = field(_PATH, None)
    """The environment that it belongs to."""


@message
class GpuFacts(TolerantMessage):
    """One leased GPU."""

    uuid: Optional[str] = field(optional(text(100)), None)
    name: Optional[str] = field(optional(text(1000)), None)
    memory: Optional[int] = field(optional(whole()), None)
    """MiB."""


@message
class ControlGroup(TolerantMessage):
    """What the control groups around the agent leave to its jobs, cgroups(7)."""

    cpus: Optional[float] = field(optional(number()), None)
    """CPUs' worth of time."""
    memory: Optional[int] = field(optional(whole()), None)
    """Bytes."""


@message
class Facts(TolerantMessage):
    """What was recorded of one attempt."""

    version: int = field(whole(1), VERSION)
    recorded_at: Optional[float] = field(optional(moment), None)
    interpreter: Optional[Interpreter] = field(optional(nested(Interpreter)), None)
    packages: Optional[str] = field(_HASH, None)
    """Hash of the list of installed packages: ``packages_text``."""
    environment: Optional[str] = field(_HASH, None)
    """Hash of the recipe that its environment was built by."""
    lock: Optional[str] = field(_HASH, None)
    """Hash of the lock that its environment was built from."""
    image: Optional[str] = field(_WORDS, None)
    """Digest of its container image."""
    kernel: Optional[str] = field(_WORDS, None)
    os: Optional[str] = field(_WORDS, None)
    libc: Optional[str] = field(_WORDS, None)
    machine: Optional[str] = field(_WORDS, None)
    """"x86_64"."""
    cpu: Optional[str] = field(_WORDS, None)
    """Model of its CPUs."""
    cpus: Optional[int] = field(optional(whole()), None)
    """CPUs that its processes may use."""
    ram: Optional[int] = field(optional(whole()), None)
    """Bytes of the host."""
    cgroup: Optional[ControlGroup] = field(optional(nested(ControlGroup)), None)
    gpus: Optional[List[GpuFacts]] = field(optional(listing(nested(GpuFacts), 1000)), None)
    driver: Optional[str] = field(_WORDS, None)
    """Version of the GPUs' driver."""
    cuda: Optional[str] = field(_WORDS, None)
    """Newest CUDA that the driver can run."""
    remote: Optional[str] = field(_WORDS, None)
    """URL of the repository that the code came from, without credentials."""
    variables: Optional[Dict[str, str]] = field(optional(table(text(131_071, as_bytes=True), 10_000, text(1000))), None)
    """Those variables of its environment that change what libraries do."""
    seed: Optional[int] = field(optional(whole(0, 2**32 - 1)), None)
    deterministic: Optional[bool] = field(optional(flag), None)
    data: Optional[Dict[str, Any]] = field(optional(json_table(1 << 20)), None)
    """Data by name: "path", and "hash" of what lies there where that is known."""
    agent: Optional[str] = field(_WORDS, None)
    """Version of the agent."""
    agent_hash: Optional[str] = field(_WORDS, None)
    """Content hash of its code."""
    client: Optional[str] = field(_WORDS, None)
    """Version of the client that submitted the job."""


PACKAGE_NAME = re.compile(r"[A-Za-z0-9._+-]{1,200}\Z")
PACKAGE_VERSION = re.compile(r"[!-~]{0,200}\Z")
"""No space and no line break: a version stands in files that other programs read."""
_ON_ONE_LINE = re.compile(r"[^\x00-\x1f\x7f-\x9f\u2028\u2029]*\Z")
_PACKAGE = row(one_of("python", "conda"), text(200, PACKAGE_NAME), text(200, PACKAGE_VERSION), text(4096, _ON_ONE_LINE))
_PACKAGES = sieve(_PACKAGE, _MOST_PACKAGES)


def packages_text(packages: Sequence[Package]) -> bytes:
    """Return a list of packages as it is kept: canonical, so that equal lists have equal hashes."""
    return json.dumps(sorted(packages), separators=(",", ":")).encode()


def packages_hash(data: bytes) -> str:
    """Return the name of a list of packages."""
    return hashlib.sha256(data).hexdigest()


def packages_of(data: bytes, digest: str) -> List[Package]:
    """Return the packages of a list that came from outside.

    Raises:
        BadRequest: it is not the list of that hash, or makes no sense.
    """
    if packages_hash(data) != digest:
        raise BadRequest("a list of packages is not what its hash says")
    try:
        values = json.loads(data)
    except (ValueError, RecursionError):
        raise BadRequest("a list of packages makes no sense") from None
    return [(kind, name, version, origin) for kind, name, version, origin in _PACKAGES(values, "packages")]


def facts_of(line: bytes) -> Optional[Facts]:
    """Return the facts in the line that a host sent; None when it makes no sense."""
    try:
        value = json.loads(line)
        any_table(value, "facts")
        return Facts.from_wire(value, "facts")
    except (BadRequest, ValueError, RecursionError):
        return None
