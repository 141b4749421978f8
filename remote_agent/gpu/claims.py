"""Which GPUs the agents of one machine say that they have, in a folder that all users can see. Advice, not a lock.

A claim is a small file, named by GPU, user and root, whose content is read only as data. One whose agent is dead, or
that has not been touched for long, has expired.
"""

from __future__ import annotations

import hashlib
import json
import os
import pwd
import re
import stat
import time
from typing import Any, Dict, Mapping, Optional

from remote_agent.protocol.checks import END_OF_TIME
from remote_agent.protocol.errors import BadRequest
from remote_agent.protocol.process_identity import ProcessIdentity
from remote_agent.system import processes

FOLDER = "/var/tmp/foundations-claims"
_STALE_SECONDS = 120.0
"""Seconds after which an untouched claim expires if its process cannot be inspected."""
_MOST_BYTES = 4096
_MOST_CLAIMS = 200
"""Most claims of one user to read: a user who makes thousands hides only their own."""
_MOST_NAMES = 100_000
_NEW_FILE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
"""Never a file, a link or a FIFO that somebody has put there."""
_NAME = re.compile(r"(?P<uuid>[A-Za-z0-9-]{1,80})\.(?P<uid>\d{1,10})-(?P<root>[0-9a-f]{8})\.json\Z")


class GpuClaims:
    """The claims of one agent, and its view of the others'."""

    def __init__(self, root: str, folder: str = FOLDER) -> None:
        """Make the folder, when it is not there and can be made.

        Args:
            root: the agent's root: two agents of one user are two.
            folder: where all agents of the machine look.
        """
        self._folder = folder
        self._mark = f"{os.getuid()}-{hashlib.sha256(root.encode()).hexdigest()[:8]}"
        self._held: Dict[str, str] = {}
        try:
            os.mkdir(folder)
            os.chmod(folder, 0o1777)
        except OSError:
            pass
        self._usable = _is_shared(folder)

    def hold(self, leased: Mapping[str, str]) -> None:
        """Say which GPUs we have, and for which job; give up the claims to others."""
        for uuid in set(self._held) - set(leased):
            self._unlink(uuid)
        for uuid, job in leased.items():
            if self._held.get(uuid) != job:
                self._write(uuid, job)
        self._held = dict(leased)

    def touch(self) -> None:
        """Show that our claims still hold."""
        for uuid in self._held:
            try:
                os.utime(self._path(uuid))
            except OSError:
                self._write(uuid, self._held[uuid])

    def others(self) -> Dict[str, str]:
        """Return who else claims which GPU, in words, by UUID."""
        claims: Dict[str, str] = {}
        try:
            names = os.listdir(self._folder) if self._usable else []
        except OSError:
            names = []
        counts: Dict[str, int] = {}
        for name in names[:_MOST_NAMES]:
            match = _NAME.match(name)
            if match is None or name.endswith(f".{self._mark}.json"):
                continue
            counts[match.group("uid")] = counts.get(match.group("uid"), 0) + 1
            if counts[match.group("uid")] <= _MOST_CLAIMS:
                words = self._words(name, int(match.group("uid")))
                if words:
                    claims[match.group("uuid")] = words
        return claims

    def _words(self, name: str, uid: int) -> Optional[str]:
        """Return what a claim says; None when it does not count. Whatever another user wrote there is only data."""
        try:
            fd = os.open(os.path.join(self._folder, name), os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError:
            return None
        try:
            stats = os.fstat(fd)
            if not stat.S_ISREG(stats.st_mode) or stats.st_uid != uid:
                return None  # somebody claims in another's name
            claim = _Claim(json.loads(os.read(fd, _MOST_BYTES)), uid)
        except (OSError, BadRequest, ValueError, TypeError, KeyError, RecursionError):
            return None
        finally:
            os.close(fd)
        if claim.is_stale(stats.st_mtime):
            if uid == os.getuid():
                self._unlink_name(name)  # of an agent of ours that was killed
            return None
        whose = "yours" if uid == os.getuid() else f"{_user(uid)} (uid {uid})"
        return f"another agent of {whose}, since {time.strftime('%H:%M', time.localtime(claim.since))}"

    def _write(self, uuid: str, job: str) -> None:
        if not self._usable or not _NAME.match(f"{uuid}.{self._mark}.json"):
            return
        temporary = os.path.join(self._folder, f".{self._mark}-{os.urandom(8).hex()}")
        claim = {
            "who": processes.identity(os.getpid()).to_wire(),
            "namespace": processes.pid_namespace(),
            "job": job,
            "since": time.time(),
        }
        try:
            fd = os.open(temporary, _NEW_FILE, 0o644)
            with open(fd, "w", encoding="utf-8") as file:
                json.dump(claim, file)
            os.replace(temporary, self._path(uuid))
        except OSError:
            pass  # a full disk: the claim is only advice

    def _unlink(self, uuid: str) -> None:
        self._unlink_name(os.path.basename(self._path(uuid)))

    def _unlink_name(self, name: str) -> None:
        try:
            os.unlink(os.path.join(self._folder, name))
        except OSError:
            pass  # it has gone already

    def _path(self, uuid: str) -> str:
        return os.path.join(self._folder, f"{uuid}.{self._mark}.json")


def _is_shared(folder: str) -> bool:
    """Return whether a folder is one that everybody may write to, each only their own files."""
    try:
        mode = os.lstat(folder).st_mode
    except OSError:
        return False
    return stat.S_ISDIR(mode) and bool(mode & stat.S_ISVTX) and bool(mode & stat.S_IWOTH)


class _Claim:
    """What one claim says, checked."""

    def __init__(self, table: Any, uid: int) -> None:
        """Raise BadRequest, ValueError, TypeError or KeyError when it makes no sense.

        Args:
            table: as it was read.
            uid: whose file it is.
        """
        self._uid = uid
        self._who = ProcessIdentity.from_wire(table["who"])
        self._namespace = str(table["namespace"])
        self.since = float(table["since"])
        if not 0 <= self.since < END_OF_TIME:
            raise ValueError("out of all bounds")

    def is_stale(self, touched: float) -> bool:
        """Return whether its agent is dead, or has not touched it for long."""
        if self._namespace == processes.pid_namespace():
            return not processes.is_alive(self._who) or processes.owner(self._who.pid) != self._uid
        return time.time() - touched > _STALE_SECONDS


def _user(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return "somebody"
