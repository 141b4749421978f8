"""Two logs line by line: which line of one stands for which of the other, by git's own diff."""

from __future__ import annotations

import os
import re
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from foundations_tui.errors import FoundationsError, NotFoundError
from foundations_tui.snapshot import git_cli

MOST_BYTES = 16 << 20
"""So much of each log is compared, from its beginning."""
_MOST_SECONDS = 60
_CONTEXT = 3
_HUNK = re.compile(rb"^@@ -(\d+)(?:,(\d+))? \+(\d+)(?:,(\d+))? @@", re.MULTILINE)
_NUMBER = re.compile(rb"\d+(?:[.:,]\d+)*(?:e[+-]?\d+)?%?")
_OWN_FOLDER = re.compile(rb"/jobs/[0-9A-Za-z][^/\s]*/attempts/\d+/work")
"""The folder of a job itself: it differs always, and says nothing."""
_COLOURS = re.compile(rb"\x1b\[[0-9;:]*m")


@dataclass(frozen=True, slots=True)
class Pair:
    """A line of each log, or of one where the other has none."""

    left: bytes | None
    right: bytes | None
    differs: bool


def pairs(left_log: Path, other: Path, numbers: bool = False) -> list[Pair]:
    """Return two logs side by side.

    Args:
        left_log: a log.
        other: another one.
        numbers: whether lines differ that are the same but for their numbers: losses, times, progress.
    Raises:
        NotFoundError: one of them is not here. FoundationsError: git cannot compare them.
    """
    left, right = _lines(left_log), _lines(other)
    pairs_so_far: list[Pair] = []
    at_left = at_right = 0
    for start_left, count_left, start_right, count_right in _hunks(left, right, numbers):
        pairs_so_far += _same(left[at_left:start_left], right[at_right:start_right])
        at_left, at_right = start_left + count_left, start_right + count_right
        pairs_so_far += _different(left[start_left:at_left], right[start_right:at_right])
    return pairs_so_far + _same(left[at_left:], right[at_right:])


def is_cut(path: Path) -> bool:
    """Return whether a log is longer than what is compared of it."""
    try:
        return path.stat().st_size > MOST_BYTES
    except OSError:
        return False


def unified(pairs: Sequence[Pair]) -> Iterator[bytes]:
    """Yield what differs as ``diff -u`` shows it: lines with ``-`` and ``+``, and some around them."""
    near = {n + d for n, pair in enumerate(pairs) if pair.differs for d in range(-_CONTEXT, _CONTEXT + 1)}
    left = right = 0
    fresh: list[bytes] = []
    was_near = False
    for number, pair in enumerate(pairs):
        if number in near and not was_near:
            yield b"@@ line %d, line %d @@" % (left + 1, right + 1)
        was_near = number in near
        left, right = left + (pair.left is not None), right + (pair.right is not None)
        if pair.differs:
            if pair.left is not None:
                yield b"-" + pair.left
            if pair.right is not None:
                fresh.append(b"+" + pair.right)
            continue
        yield from fresh
        fresh = []
        if number in near:
            yield b" " + (pair.left or b"")
    yield from fresh


def _lines(path: Path) -> list[bytes]:
    """Return the lines of a log as a terminal would leave them: of a progress bar only what it shows last."""
    try:
        with path.open("rb") as file:
            data = file.read(MOST_BYTES)
            if file.read(1):
                data = data[: data.rfind(b"\n") + 1]
    except OSError:
        raise NotFoundError(f"there is no log {path.parent.name}/{path.name} here", "foundations sync") from None
    lines = _OWN_FOLDER.sub(b"/jobs/JOB/work", _COLOURS.sub(b"", data)).split(b"\n")
    if lines and not lines[-1]:
        lines.pop()
    return [line.rstrip(b"\r").rpartition(b"\r")[2] for line in lines]


def _hunks(left: list[bytes], right: list[bytes], numbers: bool) -> Iterator[tuple[int, int, int, int]]:
    """Yield what differs: (first line, lines) of the one and of the other, from 0."""
    with tempfile.TemporaryDirectory(prefix="foundations-") as folder:
        for name, lines in (("left", left), ("right", right)):
            data = b"".join((line if numbers else _NUMBER.sub(b"0", line)) + b"\n" for line in lines)
            Path(folder, name).write_bytes(data)
        words = ["git", "diff", "--no-index", "--no-color", "--no-ext-diff", "--text", "-U0", "--histogram"]
        env = git_cli.environment({"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1"})
        try:
            command = [*words, "left", "right"]
            done = subprocess.run(command, cwd=folder, env=env, capture_output=True, timeout=_MOST_SECONDS)
        except subprocess.TimeoutExpired:
            raise FoundationsError("the logs are too different to be compared line by line") from None
        except FileNotFoundError:
            raise FoundationsError("git is not installed", "install git, for example: apt install git") from None
    if done.returncode > 1:
        raise FoundationsError(f"git diff failed: {done.stderr.decode(errors='replace').strip()}")
    for match in _HUNK.finditer(done.stdout):
        first, many, second, more = (None if part is None else int(part) for part in match.groups())
        count_left, count_right = 1 if many is None else many, 1 if more is None else more
        # Where one side has no line, git names the line before.
        yield (first or 0) - (count_left > 0), count_left, (second or 0) - (count_right > 0), count_right


def _same(left: list[bytes], right: list[bytes]) -> list[Pair]:
    return [Pair(before, other, False) for before, other in zip(left, right, strict=True)]


def _different(left: list[bytes], right: list[bytes]) -> list[Pair]:
    beside = max(len(left), len(right))
    wide_left: list[bytes | None] = [*left, *[None] * (beside - len(left))]
    wide_right: list[bytes | None] = [*right, *[None] * (beside - len(right))]
    return [Pair(before, other, True) for before, other in zip(wide_left, wide_right, strict=True)]
