"""How errors look, whether there are colors, and what happens where nobody listens."""

from __future__ import annotations

import contextlib
import io
import os
import sys
from collections.abc import Iterator
from typing import TextIO

import click

from foundations_tui.errors import FoundationsError
from foundations_tui.text.sanitize import several_lines


def tell(error: FoundationsError) -> None:
    """Print an error and what can be done about it."""
    click.echo(click.style("error: ", fg="red") + several_lines(str(error)), err=True, color=use_color())
    for line in several_lines(error.hint).splitlines():
        click.echo(f"hint: {line}", err=True)


class _Unheard(io.TextIOWrapper):
    """Stderr through a pipe: where its reader has gone, what is said is lost, and the work goes on."""

    def __init__(self, stream: TextIO) -> None:
        super().__init__(stream.buffer, stream.encoding, "backslashreplace", line_buffering=True)
        self._stream = stream  # once nobody holds it, it would close the buffer

    def write(self, text: str) -> int:
        """Write, or not."""
        with self._unheard():
            return super().write(text)
        return len(text)

    def flush(self) -> None:
        """Write what is buffered, or not."""
        with self._unheard():
            super().flush()

    @contextlib.contextmanager
    def _unheard(self) -> Iterator[None]:
        try:
            yield
        except BrokenPipeError:
            leave(self.fileno())


def leave(descriptor: int) -> None:
    """Have what is written to a descriptor from now on be lost: its reader has gone."""
    with open(os.devnull, "wb") as nothing:
        os.dup2(nothing.fileno(), descriptor)


def work_on_unheard() -> None:
    """Have a reader of stderr that goes end nothing but the talk."""
    if hasattr(sys.stderr, "buffer") and not sys.stderr.isatty():
        sys.stderr.flush()
        sys.stderr = _Unheard(sys.stderr)


def use_color() -> bool | None:
    """Return False when the user wants no colors; None leaves it to whether it is a terminal."""
    return False if os.environ.get("NO_COLOR") else None
