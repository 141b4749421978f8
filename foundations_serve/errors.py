"""What a request may be answered with instead of a result; each error has its HTTP status."""

from __future__ import annotations

from typing import Optional


class ServeError(Exception):
    """Anything that the server tells its caller; the message is for them, and has no trace in it."""

    status = 500
    retry_after: Optional[int] = None
    """Seconds."""


class BadInput(ServeError):
    """The request makes no sense."""

    status = 400


class Unknown(ServeError):
    """There is no such model, version or function."""

    status = 404


class TooLarge(ServeError):
    """The body has more bytes than are taken."""

    status = 413


class Failed(ServeError):
    """The model has raised an exception; its trace is in the log."""

    status = 500


class Busy(ServeError):
    """Too many requests wait already."""

    status = 503
    retry_after = 1


class CallerLeft(ServeError):
    """Nobody waits for the answer any more."""

    status = 499
    """As nginx counts them."""


class Late(ServeError):
    """The model has not answered before the deadline of the request."""

    status = 504


class CannotLoad(Exception):
    """The model cannot be loaded: for the log, and for who checks it before it is registered."""
