"""Where environments lie on a host, and whether one is there.

    environments/HASH/env/          what jobs use; its bin/python is their ``python``
    environments/HASH/complete.json written last: a folder of that name is whole, by rename
    environments/HASH.new-XXXX/     one that is being built
    builds/HASH/N/                  the Nth try: log, progress, builder.json, end.json

Where the root is on a network file system they lie on a local disk: thousands of small files are slow there, and the
locks of package managers do not hold.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import stat
from typing import Any, Iterator, List, Optional, Tuple

from remote_agent.protocol.errors import BadRequest, StorageBroken
from remote_agent.protocol.facts import HASH
from remote_agent.protocol.process_identity import ProcessIdentity
from remote_agent.protocol.recipes import IMAGE, Recipe
from remote_agent.storage import files
from remote_agent.storage.paths import Paths
from remote_agent.system import processes
from remote_agent.system.processes import read_text

_NETWORK = ("nfs", "nfs4", "cifs", "smb3", "smbfs", "afs", "fuse.sshfs", "beegfs", "9p")
_LOCAL_TOP = "/var/tmp"
NEW, AT = ".new-", ".at-"
"""Stand between the hash and a random end: in the name of a folder that is being built, and of the one where packages
stay that know their folder (conda's)."""
PRIVATE = "FOUNDATIONS_BUILD_PRIVATE"
"""Variable in which a builder gets what stands in no file: credentials of indexes, as a JSON table of variables."""


class Environment:
    """The files of one environment, whether it is there or not."""

    def __init__(self, paths: Paths, digest: str) -> None:
        self.digest = digest
        self.folder = os.path.join(folder(paths), digest)
        self.prefix = os.path.join(self.folder, "env")
        self.python = os.path.join(self.prefix, "bin", "python")
        self.image = os.path.join(self.folder, "image.sif")
        self.complete = os.path.join(self.folder, "complete.json")
        self.log = os.path.join(self.folder, "build.log")
        self.used = self.folder + ".used"
        """Touched when a job begins: its time says when the environment was last used."""

    def is_built(self, kind: str) -> bool:
        """Return whether it can be used; that costs one stat.

        A Python that is gone takes its environments with it: they are links to it.
        """
        return os.path.exists(self.complete if kind == IMAGE else self.python)

    def touch(self) -> None:
        """Note that it is used now; a full disk costs only the note."""
        with contextlib.suppress(OSError), open(self.used, "ab"):
            os.utime(self.used)

    def facts(self) -> Any:
        """Return what was written down when it was built; {} for nothing."""
        told = files.read_json(self.complete)
        return told if isinstance(told, dict) else {}


class Try:
    """The files of one try to build."""

    def __init__(self, folder: str) -> None:
        self.folder = folder
        self.recipe = os.path.join(folder, "recipe.json")
        self.log = os.path.join(folder, "log")
        self.progress = os.path.join(folder, "progress")
        self.builder = os.path.join(folder, "builder.json")
        self.end = os.path.join(folder, "end.json")

    def percent(self) -> Optional[int]:
        """Return how far it is; None when that is not known yet."""
        words = read_text(self.progress).strip()
        return int(words) if words.isdigit() and len(words) <= 3 else None

    def is_alive(self) -> bool:
        """Return whether its builder runs."""
        try:
            return processes.is_alive(ProcessIdentity.from_wire(files.read_json(self.builder), "a builder"))
        except BadRequest:
            return False  # it has not said who it is


def folder(paths: Paths) -> str:
    """Return the folder of the environments: below the root, or on a local disk where the root is on none."""
    if not _is_on_network(paths.root):
        return os.path.join(paths.root, "environments")
    return os.path.join(_local_place(paths.root), "environments")


def cache(paths: Paths) -> str:
    """Return the folder in which package managers keep what they have fetched, beside the environments."""
    return os.path.join(os.path.dirname(folder(paths)), "cache")


_PLACES: "dict[str, str]" = {}


def _local_place(root: str) -> str:
    """Return a private folder on a local disk for a root.

    Raises:
        StorageBroken: somebody else has it.
    """
    if root not in _PLACES:
        name = f"foundations-{os.getuid()}-{hashlib.sha256(os.fsencode(root)).hexdigest()[:16]}"
        place = os.path.join(_LOCAL_TOP, name)
        with contextlib.suppress(FileExistsError):
            os.mkdir(place, 0o700)
        told = os.lstat(place)
        if told.st_uid != os.getuid() or not stat.S_ISDIR(told.st_mode) or told.st_mode & 0o077:
            raise StorageBroken(f"{place} is no private folder of this user: environments cannot be kept there")
        _PLACES[root] = place
    return _PLACES[root]


def _is_on_network(path: str) -> bool:
    """Return whether a path lies on a network file system, as /proc/self/mounts says, proc(5)."""
    if path not in _ON_NETWORK:
        kind, longest = "", -1
        for line in read_text("/proc/self/mounts").splitlines():
            fields = line.split(" ")
            if len(fields) < 3:
                continue
            place = fields[1].replace("\\040", " ")
            if (path + "/").startswith(place.rstrip("/") + "/") and len(place) >= longest:
                kind, longest = fields[2], len(place)
        _ON_NETWORK[path] = kind in _NETWORK
    return _ON_NETWORK[path]


_ON_NETWORK: "dict[str, bool]" = {}


def tries(paths: Paths, digest: str) -> List[Tuple[int, Try]]:
    """Return the tries to build an environment that have left something, the first one first."""
    top = os.path.join(paths.builds, digest)
    try:
        numbers = sorted(int(name) for name in os.listdir(top) if name.isdigit())
    except OSError:
        return []
    return [(number, Try(os.path.join(top, str(number)))) for number in numbers]


def all_tries(paths: Paths) -> Iterator[Try]:
    """Yield the last try of each environment."""
    for digest in _names(paths.builds):
        for _, attempt in tries(paths, digest)[-1:]:
            yield attempt


def new_try(paths: Paths, digest: str) -> Try:
    """Make the folder of a new try; the last one that has ended stays, for jobs that it has failed."""
    earlier = tries(paths, digest)
    number = earlier[-1][0] + 1 if earlier else 1
    for _, old in earlier[:-1]:
        shutil.rmtree(old.folder, ignore_errors=True)
    attempt = Try(os.path.join(paths.builds, digest, str(number)))
    os.makedirs(attempt.folder, 0o700)
    return attempt


def last_failure(paths: Paths, digest: str) -> Optional[Try]:
    """Return the last try that has ended without an environment."""
    for _, attempt in reversed(tries(paths, digest)):
        end = files.read_json(attempt.end)
        if isinstance(end, dict) and end.get("words"):
            return attempt
    return None


def remains(paths: Paths, digest: str = "") -> List[str]:
    """Return the folders that builders have left which were killed.

    Args:
        paths: the agent's files.
        digest: of which environment; "" for all of which no builder runs.
    """
    found: List[str] = []
    top = folder(paths)
    for name in _names(top):
        of, separator, _ = name.partition(NEW if NEW in name else AT)
        if not separator or (digest and of != digest) or _is_linked(top, of, name):
            continue
        if not any(attempt.is_alive() for _, attempt in tries(paths, of)):
            found.append(os.path.join(top, name))
    return found


def _is_linked(top: str, digest: str, name: str) -> bool:
    """Return whether an environment lies in the folder of that name, and not in its own."""
    link = os.path.join(top, digest, "env")
    return os.path.islink(link) and os.path.basename(os.readlink(link)) == name


def take_away(environment: Environment) -> List[str]:
    """Move an environment out of the way, at once, and return the folders that may be removed."""
    end = f"{NEW}old-{os.urandom(6).hex()}"
    gone: List[str] = []
    if os.path.islink(environment.prefix):
        gone.append(
            os.path.join(os.path.dirname(environment.folder), os.path.basename(os.readlink(environment.prefix)))
        )
    os.rename(environment.folder, environment.folder + end)
    with contextlib.suppress(OSError):
        os.unlink(environment.used)
    return [environment.folder + end, *gone]


def built(paths: Paths) -> Iterator[Environment]:
    """Yield the environments that are there, whole."""
    for name in _names(folder(paths)):
        if HASH.match(name) and os.path.exists(Environment(paths, name).complete):
            yield Environment(paths, name)


def _names(folder: str) -> List[str]:
    try:
        return sorted(os.listdir(folder))
    except OSError:
        return []


def of(paths: Paths, recipe: Recipe) -> Environment:
    """Return the environment of a recipe."""
    return Environment(paths, recipe.hash)
