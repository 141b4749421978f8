"""The app in a browser: textual-serve on loopback, behind a token in the address."""

from __future__ import annotations

import asyncio
import ipaddress
import logging
import re
import secrets
import socket
from collections.abc import Awaitable, Callable
from contextvars import ContextVar
from pathlib import Path

from aiohttp import web
from textual_serve.server import Server

LOOPBACK = "127.0.0.1"
_SHUTDOWN_SECONDS = 5
_PAGE = Path(__file__).parent / "page"
"""Our own: that of the library shows its logo, and loads a font from elsewhere."""
_ORIGIN: ContextVar[str] = ContextVar("origin", default="")
"""Scheme, host and port as the browser calls them: a port that SSH forwards has another number there."""
_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'self'; script-src 'self' 'unsafe-inline'; style-src 'self' 'unsafe-inline'; img-src 'self' data:;"
        " font-src 'self' data:; connect-src 'self' ws: wss:; frame-ancestors 'none'; form-action 'none'"
    ),
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-store",
}
"""Nothing is loaded from elsewhere, and the address, which holds the token, goes nowhere."""

_Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class WebServer(Server):
    """Serves one app process to each browser window that knows the token."""

    def __init__(self, command: str, listener: socket.socket, title: str, ready: Callable[[str], None]) -> None:
        """Make the server.

        Args:
            command: starts the app, a shell's line.
            listener: bound to loopback.
            title: of the page.
            ready: gets the address when the server takes connections.
        """
        super().__init__(command, LOOPBACK, listener.getsockname()[1], title, public_url="", templates_path=_PAGE)
        self._listener = listener
        self._ready = ready
        self._windows: set[asyncio.Task[object]] = set()
        self._token = secrets.token_urlsafe(32)

    @property
    def public_url(self) -> str:
        """Where the browser finds us, as it says itself."""
        return _ORIGIN.get()

    @public_url.setter
    def public_url(self, _: str) -> None:
        """The base class sets one; the browser knows better."""

    @property
    def address(self) -> str:
        """The page, with its token."""
        return f"http://{LOOPBACK}:{self.port}/{self._token}/"

    async def _make_app(self) -> web.Application:
        app = web.Application(middlewares=[_guard])
        app.add_subapp(f"/{self._token}/", await super()._make_app())
        return app

    async def on_startup(self, app: web.Application) -> None:
        """Say where the page is."""
        self._ready(self.address)

    async def handle_websocket(self, request: web.Request) -> web.WebSocketResponse:
        """Run an app for a window of the browser."""
        task = asyncio.current_task()
        assert task is not None
        self._windows.add(task)
        try:
            return await super().handle_websocket(request)
        finally:
            self._windows.discard(task)

    async def on_shutdown(self, app: web.Application) -> None:
        """End the apps of all windows."""
        windows = list(self._windows)
        for window in windows:
            window.cancel()
        if windows:
            await asyncio.wait(windows, timeout=_SHUTDOWN_SECONDS)

    def initialize_logging(self) -> None:
        """Log nothing of requests: their paths hold the token."""
        logging.getLogger("aiohttp.access").disabled = True
        logging.getLogger("asyncio").setLevel(logging.ERROR)  # an app that ends as we do is none of its warnings

    def run(self) -> None:
        """Serve until the process is interrupted."""
        self.initialize_logging()
        web.run_app(self._make_app(), sock=self._listener, print=lambda *_: None, access_log=None)


def _is_of_this_machine(host: str) -> bool:
    """Return whether a Host is loopback's: a name of somebody else's that leads here (DNS rebinding) is not."""
    match = _HOST.match(host)
    if match is None or int(match["port"] or 0) > 65535:
        return False
    if match["name"] == "localhost":
        return True
    try:
        return ipaddress.ip_address(match["name"].strip("[]")).is_loopback
    except ValueError:
        return False


_HOST = re.compile(r"(?P<name>localhost|[0-9.]{7,15}|\[[0-9A-Fa-f:.]{2,45}\])(:(?P<port>[0-9]{1,5}))?\Z")
"""What a browser of this machine calls it, and the port."""


@web.middleware
async def _guard(request: web.Request, handler: _Handler) -> web.StreamResponse:
    """Let in only pages of this machine, though the token alone would do: it is a second line of defence."""
    own = f"{request.scheme}://{request.host}"
    if not _is_of_this_machine(request.host) or request.headers.get("Origin", own) != own:
        raise web.HTTPForbidden(text="this page is for a browser of this machine, at 127.0.0.1 or localhost")
    _ORIGIN.set(own)
    response = await handler(request)
    if not response.prepared:
        response.headers.update(_HEADERS)
    return response


def listen(port: int) -> socket.socket:
    """Return a socket on loopback.

    Args:
        port: 0 for any that is free.
    Raises:
        OSError: it is taken.
    """
    listener = socket.create_server((LOOPBACK, port))
    listener.set_inheritable(False)
    return listener
