"""One probe of a server: a connection, and an HTTP request where there is a path; nothing here waits.

The answer's first line is all that is read: RFC 9112, section 4.
"""

from __future__ import annotations

import errno
import os
import re
import selectors
import socket
import time
from typing import Callable, NamedTuple, Optional, Tuple, Union

_STATUS = re.compile(rb"HTTP/1\.[01] (\d{3})(?: |\r?\n)")
_MOST_BYTES = 4096
"""A first line is not longer."""
_MOST_TEXT = 64 << 10
"""An answer of which all is read is not longer."""
Place = Union[str, Tuple[str, int]]
"""Path of a Unix socket, or address and port."""


class Outcome(NamedTuple):
    """What came of a probe."""

    connected: bool
    status: int = 0
    """Of HTTP; 0 where there was no answer."""
    why: str = ""
    """Why there was none, in words."""
    text: str = ""
    """All of the answer, where that was asked for."""


class Probe:
    """A probe on its way; ``done`` is called once."""

    def __init__(
        self,
        selector: selectors.BaseSelector,
        place: Place,
        path: str,
        token: str,
        timeout: float,
        done: Callable[[Outcome], None],
        reads_all: bool = False,
    ) -> None:
        """Begin.

        Args:
            selector: calls the data of what is ready.
            place: where the server listens.
            path: what to ask for.
            token: goes with the request, as ``Authorization: Bearer``.
            timeout: seconds for all of it.
            done: takes what came of it.
            reads_all: whether all of the answer is read, not its first line.
        """
        self.deadline = time.monotonic() + timeout
        self._selector = selector
        self._timeout = timeout
        self._path, self._token = path, token
        self._done: Optional[Callable[[Outcome], None]] = done
        self._is_connected = False
        self._answer = b""
        self._reads_all = reads_all
        family = socket.AF_UNIX if isinstance(place, str) else _family(place[0])
        self._socket = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
        error = self._socket.connect_ex(place)
        if error in (0, _IN_PROGRESS):
            selector.register(self._socket, selectors.EVENT_WRITE, self._connected)
        else:
            self._end(0, f"it takes no connection ({os.strerror(error)})")

    def check(self, now: float) -> None:
        """Give up when the time is over."""
        if self._done is not None and now >= self.deadline:
            self._end(0, f"probe timed out after {self._timeout:g} s")

    def cancel(self) -> None:
        """End it without a result."""
        self._done = None
        self._close()

    def _connected(self) -> None:
        if self._done is None:
            return  # it was cancelled in this very turn of the loop
        error = self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if error:
            return self._end(0, f"it takes no connection ({os.strerror(error)})")
        self._is_connected = True
        bearer = f"Authorization: Bearer {self._token}\r\n" if self._token else ""
        request = f"GET {self._path} HTTP/1.1\r\nHost: localhost\r\n{bearer}Connection: close\r\n\r\n"
        try:
            self._socket.send(request.encode("ascii"))  # a fresh socket's buffer has room for all of it
        except OSError as problem:
            return self._end(0, f"it closed the connection ({problem.strerror})")
        self._selector.modify(self._socket, selectors.EVENT_READ, self._readable)

    def _readable(self) -> None:
        if self._done is None:
            return
        try:
            data = self._socket.recv(_MOST_BYTES)
        except BlockingIOError:
            return
        except OSError as problem:
            return self._end(0, f"it closed the connection ({problem.strerror})")
        self._answer += data
        status = _STATUS.match(self._answer)
        if status and self._reads_all and data:
            if len(self._answer) > _MOST_TEXT:
                self._end(0, "its answer is too long")
            return
        if status:
            return self._end(int(status[1]), "")
        if not data:
            return self._end(0, "it closed the connection without an answer")
        if b"\n" in self._answer or len(self._answer) > _MOST_BYTES:
            return self._end(0, "what it answered is not HTTP")

    def _end(self, status: int, words: str) -> None:
        done, self._done = self._done, None
        self._close()
        if done is not None:
            text = self._answer.decode("utf-8", "replace") if self._reads_all else ""
            done(Outcome(self._is_connected, status, words, text))

    def _close(self) -> None:
        try:
            self._selector.unregister(self._socket)
        except (KeyError, ValueError):
            pass  # it was never registered, or is closed already
        self._socket.close()


_IN_PROGRESS = errno.EINPROGRESS


def _family(address: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in address else socket.AF_INET
