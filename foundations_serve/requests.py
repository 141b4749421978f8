"""Bodies of requests, read with a limit, and answers."""

from __future__ import annotations

import asyncio
import json
from typing import Any, Dict, Optional

from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from foundations_serve.errors import BadInput, CallerLeft, ServeError, TooLarge

_BODY_SECONDS = 60.0
"""A body that takes longer is given up."""


async def body_of(request: Request, most: int) -> bytes:
    """Return the body of a request.

    Args:
        request: the request.
        most: bytes at most.
    Raises:
        TooLarge: it has more. BadInput: it did not come.
    """
    told = request.headers.get("content-length", "0")
    if is_number(told) and int(told) > most:
        raise TooLarge(f"the body has {int(told):,} bytes; at most {most:,} are taken")
    try:
        return await asyncio.wait_for(_read(request, most), _BODY_SECONDS)
    except asyncio.TimeoutError:
        raise BadInput(f"the body did not come within {_BODY_SECONDS:g} s") from None
    except ClientDisconnect:
        raise CallerLeft("the caller has left") from None


def is_number(text: str) -> bool:
    """Return whether a header is a number of a size that a body may have."""
    return text.isascii() and text.isdigit() and len(text) < 19


async def _read(request: Request, most: int) -> bytes:
    parts, size = [], 0
    async for part in request.stream():
        size += len(part)
        if size > most:
            raise TooLarge(f"the body has more than {most:,} bytes")
        parts.append(part)
    return b"".join(parts)


def parsed(body: bytes) -> Any:
    """Return what a JSON text says.

    Raises:
        BadInput: it is none.
    """
    try:
        return json.loads(body)
    except (ValueError, RecursionError) as error:
        raise BadInput(f"the body is no JSON: {str(error)[:200]}") from None


def json_response(value: Any, status: int = 200, headers: Optional[Dict[str, str]] = None) -> Response:
    """Return an answer as JSON."""
    return Response(encoded(value), status, headers, "application/json")


def encoded(value: Any) -> bytes:
    """Return a value as JSON."""
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode("utf-8", "backslashreplace")


def error_response(error: ServeError) -> Response:
    """Return what a caller is told of an error."""
    headers = {"Retry-After": str(error.retry_after)} if error.retry_after is not None else None
    return json_response({"error": str(error)}, error.status, headers)
