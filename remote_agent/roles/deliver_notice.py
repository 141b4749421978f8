"""The process that delivers notices: an HTTP POST of JSON each, or a command that gets the JSON on standard input."""

from __future__ import annotations

import http.client
import json
import shlex
import subprocess
import sys
import time
import urllib.error
import urllib.request
from typing import Any, List

from remote_agent.protocol.notices import Delivery, NotifyTarget
from remote_agent.protocol.wire import JsonTable

_PAUSES = (0, 1, 4, 15, 60)
"""Seconds before each try."""
_TIMEOUT = 15


def main() -> int:
    """Deliver what standard input says; 1 when it could not be delivered after all tries."""
    order = Delivery.from_wire(json.load(sys.stdin))
    delivered = [_tell(order.target, message) for message in order.messages]
    return 0 if all(delivered) else 1


def _tell(target: NotifyTarget, message: JsonTable) -> bool:
    body = json.dumps(message).encode()
    url, command = target.url, target.command
    delivered = [_try_all(lambda: _post(url, body))] if url else []
    if command:
        words = shlex.split(command) if isinstance(command, str) else command
        delivered.append(_try_all(lambda: _run(words, body)))
    return all(delivered)


def _try_all(deliver: Any) -> bool:
    for pause in _PAUSES:
        time.sleep(pause)
        problem = deliver()
        if not problem:
            return True
        sys.stderr.write(f"a notice was not taken: {problem}\n")
        sys.stderr.flush()
    return False


def _post(url: str, body: bytes) -> str:
    """Return what went wrong, never with the address: it may bear a secret."""
    try:
        request = urllib.request.Request(url, body, {"Content-Type": "application/json"})
        with urllib.request.urlopen(request, timeout=_TIMEOUT):
            return ""
    except urllib.error.HTTPError as error:
        return f"HTTP {error.code}"
    except (OSError, ValueError, http.client.HTTPException) as error:
        return type(error).__name__


def _run(words: List[str], body: bytes) -> str:
    try:
        done = subprocess.run(words, input=body, timeout=_TIMEOUT * 4, stdout=subprocess.DEVNULL)
    except (OSError, subprocess.SubprocessError) as error:
        return type(error).__name__
    return f"exit code {done.returncode}" if done.returncode else ""
