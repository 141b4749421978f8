"""What a job spent its time with, drawn as a bar: how long it waited, was prepared and ran, each attempt by itself."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from textual.content import Content

from foundations_tui.store.rows import FINAL_STATES, JobRow, TransitionRow
from foundations_tui.text import humanize
from foundations_tui.text.sanitize import one_line
from foundations_tui.ui.theme import LOOK

_FILL = {"queued": "░", "preparing": "▒", "running": "█"}
_ASCII_FILL = {"queued": ".", "preparing": "=", "running": "#"}
_WORTH_A_WORD = 0.05
"""Seconds from which a phase is named; a shorter one is only drawn."""
_MOST_PHASES = 12
"""Of a job that was tried often, the last ones."""


@dataclass(frozen=True)
class Phase:
    """A time in which a job was in one state."""

    kind: str
    """"queued", "preparing" or "running"."""
    attempt: int
    seconds: float
    ended: str = ""
    """The state that an attempt ended in, where another one came after it."""


def phases(row: JobRow, transitions: Sequence[TransitionRow], until: float) -> list[Phase]:
    """Return what a job spent its time with, in order.

    Args:
        row: the job.
        transitions: the states that it came into, in order; empty where its host recorded none.
        until: the last moment of one that has not ended, by the clock of its host.
    """
    known = list(transitions) or _of_its_times(row)
    if not known:
        return []  # no host has it yet
    ends = [one.time for one in known[1:]] + [row.ended_at if row.is_final and row.ended_at is not None else until]
    found: list[Phase] = []
    for one, end in zip(known, ends, strict=True):
        is_last = one is known[-1]
        if one.state in FINAL_STATES and is_last:
            break
        state = one.state if one.state in _FILL else "queued"
        seconds = max(0.0, end - one.time)
        before = found[-1] if found else None
        if before is not None and one.state in FINAL_STATES:
            found[-1] = replace(before, ended=one.state)
            before = None
        if before is not None and (before.kind, before.attempt) == (state, one.attempt):
            found[-1] = replace(before, seconds=before.seconds + seconds)
        elif math.isfinite(seconds):
            found.append(Phase(state, one.attempt, seconds))
    return found[-_MOST_PHASES:]


def _of_its_times(row: JobRow) -> list[TransitionRow]:
    """Return the transitions of a job as its own times have them."""
    found = [("queued", row.queued_at), ("running", row.started_at), (row.state, row.ended_at)]
    return [TransitionRow(time, row.attempt, state, None, None) for state, time in found if time is not None]


def drawn(found: Sequence[Phase], cells: int) -> Iterator[Content]:
    """Yield the bar and what its parts are; nothing for a job that spent no time.

    Args:
        found: in order.
        cells: the length of the bar.
    """
    if not found or cells < len(found):
        return
    fill = _ASCII_FILL if LOOK.ascii else _FILL
    lengths = shares([phase.seconds for phase in found], cells)
    bar = [
        Content.styled(fill[phase.kind] * length, LOOK.style(phase.kind))
        for phase, length in zip(found, lengths, strict=True)
    ]
    yield Content.assemble(*bar)
    several = len({phase.attempt for phase in found if phase.attempt}) > 1  # 0 before the first
    told: list[Content] = []
    for phase in [phase for phase in found if phase.seconds >= _WORTH_A_WORD] or found:
        attempt = f" ({phase.attempt})" if several and phase.kind == "running" else ""
        words = f" {phase.kind} {humanize.duration(phase.seconds)}{attempt}" + f", {phase.ended}" * bool(phase.ended)
        told += [Content.styled(fill[phase.kind], LOOK.style(phase.kind)), Content(one_line(words)), Content("  ")]
    yield Content.assemble(*told[:-1])


def shares(seconds: Sequence[float], cells: int) -> list[int]:
    """Return how many of so many cells each span gets: at least one, all together all of them."""
    whole = sum(seconds)
    left = cells - len(seconds)
    exact = [(span / whole if whole > 0 else 1 / len(seconds)) * left for span in seconds]
    given = [math.floor(share) for share in exact]
    by_remainder = sorted(range(len(exact)), key=lambda n: given[n] - exact[n])
    for n in by_remainder[: left - sum(given)]:
        given[n] += 1
    return [1 + share for share in given]
