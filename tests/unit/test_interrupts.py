"""Ctrl-C that falls where Python drops what is raised."""

from __future__ import annotations

import subprocess
import sys

import pytest

_BEGIN = """
import gc, os, signal, time, weakref
from foundations_tui.cli.interrupts import hear_everywhere
hear_everywhere()
def interrupt(*_):
    os.kill(os.getpid(), signal.SIGINT)
    for _ in range(1000):
        pass
class Thing:
    pass
class Finalized:
    __del__ = interrupt
thing = Thing()
"""
_PLACES = {
    "finalizer": "Finalized()",
    "weak reference": "ref = weakref.ref(thing, interrupt); del thing",
    "garbage collection": "thing.me = thing; ref = weakref.ref(thing, interrupt); del thing; gc.collect()",
}


@pytest.mark.parametrize("place", _PLACES)
def test_an_interrupt_in_a_callback_is_heard(place: str) -> None:
    program = f"{_BEGIN}{_PLACES[place]}\ntime.sleep(20)\nprint('slept')\n"
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False)
    assert "slept" not in ran.stdout and "Exception ignored" not in ran.stderr
    assert ran.stderr.strip().endswith("KeyboardInterrupt")


def test_what_else_a_callback_raises_is_told_as_ever() -> None:
    program = f"{_BEGIN}ref = weakref.ref(thing, lambda _: 1 / 0)\ndel thing\nprint('went on')\n"
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False)
    assert ran.stdout == "went on\n" and "ZeroDivisionError" in ran.stderr
