"""What a login shell of the user has as PATH: jobs begin with it, whoever connected first and from wherever.

The shell is asked once, when the daemon starts: it reads the user's and the site's own files, so it may take long,
print anything, or never answer.
"""

from __future__ import annotations

import os
import pwd
import signal
import subprocess
import tempfile
import time
from typing import IO, Dict, Optional

from remote_agent.storage import files

DEADLINE = 5.0
"""Seconds that the shell may take."""
_MOST_BYTES = 1 << 20
USUAL_PATH = "/usr/local/bin:/usr/bin:/bin"


class LoginQuestion:
    """The question, asked in a child."""

    def __init__(self, path: str) -> None:
        """Ask.

        Args:
            path: the file that the answer is kept in.
        """
        self._path = path
        self._nonce = os.urandom(12).hex()
        self._began = time.monotonic()
        self._output: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 - read when the child has ended
        self._child: Optional["subprocess.Popen[bytes]"] = None
        self.problem = ""
        """Why it is not known, in words."""
        who = identity()
        script = f'exec /bin/sh -c \'printf "\\n%s %s\\n" {self._nonce} "$PATH"\''
        try:
            self._child = subprocess.Popen(
                [who["SHELL"], "-lc", script],
                env={**who, "PATH": USUAL_PATH},
                cwd=home(who),
                stdin=subprocess.DEVNULL,
                stdout=self._output,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
            )
        except OSError as error:
            self._end(f"the login shell {who['SHELL']} cannot be run: {error.strerror}")

    @property
    def is_open(self) -> bool:
        """Whether the answer is still to come."""
        if self._child is None:
            return False
        if self._child.poll() is None:
            if time.monotonic() - self._began < DEADLINE:
                return True
            try:
                os.killpg(self._child.pid, signal.SIGKILL)
            except (ProcessLookupError, PermissionError):
                pass
            self._child.poll()
            self._end(f"the login shell did not answer within {DEADLINE:.0f} s: jobs have the usual PATH of a system")
            return False
        self._take()
        return False

    def _take(self) -> None:
        self._output.seek(0)
        marker = f"\n{self._nonce} ".encode()
        _, marker_seen, rest = self._output.read(_MOST_BYTES).rpartition(marker)
        found_path = rest.partition(b"\n")[0].decode("utf-8", "surrogateescape")
        if not marker_seen or not found_path or "\0" in found_path:
            return self._end("the login shell does not say its PATH: jobs have the usual one of a system")
        try:
            files.write_bytes(self._path, os.fsencode(found_path), durable=False)
        except OSError:
            pass  # a full disk: what was known before still holds
        self._end("")

    def _end(self, problem: str) -> None:
        self.problem = problem
        self._child = None
        self._output.close()


OF_THE_USER = ("HOME", "USER", "LOGNAME")
"""Variables that every job of a user has alike, unless it is given others."""


def identity() -> Dict[str, str]:
    """Return who the user is, as variables: HOME, USER, LOGNAME, SHELL."""
    try:
        account = pwd.getpwuid(os.getuid())
        name, home, shell = account.pw_name, account.pw_dir, account.pw_shell
    except KeyError:  # a container that was given a user without a name
        name, home, shell = os.environ.get("USER", ""), os.environ.get("HOME", "/"), ""
    name = name or str(os.getuid())
    return {"HOME": home, "USER": name, "LOGNAME": name, "SHELL": shell or "/bin/sh"}


def home(who: Dict[str, str]) -> str:
    """Return where a shell of the user begins: at home, where there is one."""
    return who["HOME"] if os.path.isdir(who["HOME"]) else "/"


def path(file: str) -> str:
    """Return the PATH of a login shell, as it was last found."""
    try:
        with open(file, "rb") as reader:
            return os.fsdecode(reader.read(_MOST_BYTES)) or USUAL_PATH
    except OSError:
        return USUAL_PATH
