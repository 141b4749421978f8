"""A difference of code as pairs of lines, the old one and the new one, out of what ``git diff`` prints. Pure."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

_HUNK = re.compile(r"@@ -\d+(?:,(\d{1,9}))? \+\d+(?:,(\d{1,9}))? @@")
_HEADS = ("diff --git", "index ", "--- ", "\\")
"""Lines between hunks that say nothing that is not said elsewhere."""


@dataclass(frozen=True)
class CodePair:
    """A line before and after; None where there is none."""

    left: str | None
    right: str | None
    file: str = ""
    """The file that it is of, by which its language is known."""
    is_head: bool = False
    """Whether it names a file, or a place in one; then it is no code."""

    @property
    def differs(self) -> bool:
        """Whether the lines do."""
        return not self.is_head and self.left != self.right


def pairs(difference: str) -> list[CodePair]:
    """Return a difference as pairs: what went beside what came in its place.

    Args:
        difference: unified, as ``git diff`` prints it.
    """
    found: list[CodePair] = []
    gone: list[str] = []
    come: list[str] = []
    file, left, right = "", 0, 0
    for line in difference.removesuffix("\n").split("\n"):  # no other sign ends a line of git's
        sign, text = line[:1], line[1:]
        if sign == "-" and left:
            gone.append(text)
            left -= 1
            continue
        if sign == "+" and right:
            come.append(text)
            right -= 1
            continue
        found += _beside(gone, come, file)
        gone, come = [], []
        if left and right and sign in (" ", ""):
            found.append(CodePair(text, text, file))
            left, right = left - 1, right - 1
        elif hunk := _HUNK.match(line):
            left, right = (1 if count is None else int(count) for count in hunk.groups())
            found.append(CodePair(line, line, file, is_head=True))
        elif line.startswith(("--- ", "+++ ")) and text[3:].strip() != "/dev/null":
            file = re.sub("^[ab]/", "", text[3:].strip())
            found += [CodePair(file, file, file, is_head=True)] if line.startswith("+++ ") else []
        elif line.startswith("+++ "):  # it is deleted
            found.append(CodePair(file, file, file, is_head=True))
        elif not line.startswith(_HEADS):
            found.append(CodePair(line, line, file, is_head=True))
    return [*found, *_beside(gone, come, file)]


def _beside(gone: Iterable[str], come: Iterable[str], file: str) -> Iterator[CodePair]:
    for left, right in itertools.zip_longest(gone, come):
        yield CodePair(left, right, file)
