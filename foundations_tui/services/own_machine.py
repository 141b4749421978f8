"""Ports of this machine for its own user alone: neither other users nor web pages of other sites get through."""

from __future__ import annotations

import socket
import urllib.parse
from collections.abc import Callable

import h11

from foundations_serve.front.listener import Connection, Listener
from foundations_serve.front.proxy import by_name
from foundations_tui.services.peers import is_of_another_user

_ADDRESS = "127.0.0.1"
_OURS = ("localhost", "127.0.0.1", "::1")
_OTHER_SITES = "requests of web pages of other sites are not passed on"


def listener(port: int, serve: Callable[[Connection], None], refuse: Callable[[Connection, str], None]) -> Listener:
    """Return a listener of 127.0.0.1 that serves this user alone.

    Args:
        port: which; 0 for any.
        serve: called with each connection.
        refuse: called with one that is not served, and why.
    Raises:
        OSError: the port is taken.
    """
    return Listener(_ADDRESS, port, serve, refuse, _why_not)


def _why_not(connection: socket.socket) -> str:
    return "this port serves another user of this machine" if is_of_another_user(connection) else ""


class Gate:
    """Who may pass a port of this machine: what this user's own programs send.

    The token is added here, so a web page of somebody else must get nothing through a browser: neither by a name that
    it has made lead here, nor by a form or a script.
    """

    is_token_replaced = False

    def __init__(self, port: int) -> None:
        self._port = port

    def why_not(self, request: h11.Request) -> tuple[int, str]:
        """Return the status and the words with which a request is refused; 0 where it passes."""
        words = self._why_foreign(request)
        return (403, words) if words else (0, "")

    def _why_foreign(self, request: h11.Request) -> str:
        if request.method == b"CONNECT":
            return "this is no proxy to other places"
        named = by_name(request.headers)
        try:
            host = urllib.parse.urlsplit("//" + named.get(b"host", b"").decode("latin-1"))
            if host.hostname not in _OURS or host.port not in (self._port, None):
                return f"this is reached as 127.0.0.1:{self._port} or localhost:{self._port}"
            origin = named.get(b"origin", b"").decode("latin-1")
            if origin and urllib.parse.urlsplit(origin).hostname not in _OURS:
                return _OTHER_SITES
        except ValueError:
            return "its Host or Origin makes no sense"
        return _OTHER_SITES if named.get(b"sec-fetch-site") == b"cross-site" else ""
