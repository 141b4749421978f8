"""Ctrl-C is heard wherever it falls."""

from __future__ import annotations

import signal
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sys import UnraisableHookArgs

_AGAIN_SECONDS = 0.01


def hear_everywhere() -> None:
    """Have an interrupt come again that fell into a finalizer or a weak reference's callback.

    Python drops what is raised there, after a message: a wait would go on as if Ctrl-C had not been pressed.
    """
    signal.signal(signal.SIGALRM, lambda *_: signal.raise_signal(signal.SIGINT))
    sys.unraisablehook = _come_again


def _come_again(dropped: UnraisableHookArgs) -> None:
    if isinstance(dropped.exc_value, KeyboardInterrupt):
        signal.setitimer(signal.ITIMER_REAL, _AGAIN_SECONDS)  # by then, the callback has been left
    else:
        sys.__unraisablehook__(dropped)
