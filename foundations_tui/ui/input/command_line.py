"""The CLI's verbs in the app: what is typed behind ``:``, understood. No widgets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from foundations_tui.errors import UsageError
from foundations_tui.text.options import split_line

CHOSEN = "%"
"""Stands for the marked jobs, or the one under the cursor."""
TAKE_JOBS = tuple(
    "show logs metrics compare diff chart tag note star unstar archive unarchive restore stop delete prune ls get move"
    " export tensorboard wait exec shell".split()
)
"""Verbs that mean the chosen jobs when none is named."""
ONE_JOB = ("logs", "note", "ls", "get", "move", "exec", "shell")
NEED_A_TERMINAL = ("shell", "exec", "demo")
"""Verbs that take over the terminal while they run."""


@dataclass(frozen=True)
class Command:
    """A line of the app's command line, understood."""

    verb: str
    words: tuple[str, ...]

    @property
    def needs_terminal(self) -> bool:
        """Whether it talks to the user."""
        if {"--help", "-h"} & set(self.words):
            return False
        return self.verb in NEED_A_TERMINAL or (self.verb == "note" and len(self.words) < 2)


def parse(line: str, verbs: Mapping[str, object], chosen: Sequence[str]) -> Command:
    """Understand a line: a verb and its words; ``%`` and a missing job stand for the chosen jobs.

    Args:
        line: what was typed.
        verbs: the verbs that there are.
        chosen: whole ids.
    Raises:
        UsageError: it cannot be understood, or no job is chosen.
    """
    words = split_line(line)
    if words[:1] == ["foundations"]:
        words.pop(0)
    if not words:
        raise UsageError("a verb is needed")
    verb, *rest = words
    if verb not in verbs:
        raise UsageError(f"there is no verb {verb!r}", "tab completes them")
    if CHOSEN in rest and not chosen:
        raise UsageError(f"{CHOSEN} stands for the chosen jobs, and none is chosen")
    jobs: list[str] = []
    for word in rest:
        jobs += chosen if word == CHOSEN else [word]
    options_only = all(word.startswith("-") for word in rest)
    if verb in TAKE_JOBS and options_only and chosen and "--where" not in rest and "--help" not in rest:
        jobs = [*(chosen[:1] if verb in ONE_JOB else chosen), *jobs]
    return Command(verb, tuple(jobs))


def suggestions(line: str, verbs: Mapping[str, object], own: Sequence[str]) -> list[str]:
    """Return whole lines that begin with what was typed."""
    return [name for name in sorted([*verbs, *own]) if name.startswith(line)] if " " not in line else []
