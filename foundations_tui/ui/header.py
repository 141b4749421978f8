"""The first line: the pages, hosts that are out of reach, what runs and waits. No widgets."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import NamedTuple

from textual.content import Content

from foundations_tui.store.rows import HostRow
from foundations_tui.text import humanize
from foundations_tui.ui.pages import KEYS, PAGES
from foundations_tui.ui.theme import LOOK

_TITLE, _TITLE_FROM = " foundations ", 100
"""The app's name, and the columns from which it stands there."""
_COUNTS_CELLS = 14
"""Cells that the counts behind the pages take at least: where less is left, only the page that is shown is named."""
SOMETIMES = ("race", "models", "services")
"""Pages that are named only where there is something to see."""


class _Form(NamedTuple):
    """The words behind the numbers of the first line."""

    away: str
    running: str
    queued: str
    gpus: str


_FORMS = (
    _Form("{hosts} out of reach ", " running", " queued", "  GPU {} free"),
    _Form("{hosts} ", " running", " queued", "  GPU {} free"),
    _Form("{hosts}", "", "", "  GPU {} free"),
    _Form("{count}", "", "", "  GPU {} free"),
    _Form("{count}", "", "", ""),
)
"""From the most words to none: the first that fits is shown; page 4 names the hosts."""


def line(
    page: str,
    room: int,
    offered: Collection[str],
    counts: dict[str, int],
    hosts: Sequence[HostRow],
    moment: str = "",
) -> Content:
    """Return the first line.

    Args:
        page: the one that is shown.
        room: cells.
        offered: pages that are named although they are not always.
        counts: jobs by state.
        hosts: those that are known.
        moment: which earlier moment is shown, in words: then what runs now is not said; empty for now.
    """
    is_wide = room >= _TITLE_FROM
    parts: list[Content | str] = [Content.styled(_TITLE, "bold"), " "] if is_wide else []
    for name, label in _labels(page, room, offered):
        parts += [Content.styled(label, "reverse" if name == page else "dim"), "" if is_wide else " "]
    if moment:
        return Content.assemble(*parts, Content.styled(f" {moment} ", "bold reverse " + LOOK.style("stalled")))
    left = Content.assemble(*parts)
    for words in _FORMS:
        state = _state(counts, hosts, words)
        if left.cell_length + state.cell_length <= room:
            break
    return Content.assemble(left, state)


def _state(counts: dict[str, int], hosts: Sequence[HostRow], words: _Form) -> Content:
    """Return how many hosts are out of reach, which must not be what is cut, how many jobs run and wait, free GPUs."""
    parts: list[Content | str] = []
    away = sum(host.state == "unreachable" for host in hosts)
    if away:
        mark = "x" if LOOK.ascii else "✗"
        hosts_away = words.away.format(hosts=humanize.plural(away, "host"), count=away)
        parts += [Content.styled(f" {mark} {hosts_away}", LOOK.style("failed")), " "]
    running = counts.get("running", 0) + counts.get("preparing", 0)
    waiting = counts.get("queued", 0) + counts.get("submitting", 0)
    parts.append(Content.styled(f" {LOOK.glyph('running')} {running}{words.running}", LOOK.style("running")))
    parts.append(f"  {LOOK.glyph('queued')} {waiting}{words.queued}")
    gpus, free = sum(len(host.gpus) for host in hosts), sum(host.free_gpus for host in hosts)
    if gpus and words.gpus:
        parts.append(words.gpus.format(f"{free}/{gpus}"))
    return Content.assemble(*parts)


def page_at(x: int, page: str, room: int, offered: Collection[str]) -> str | None:
    """Return the page whose name stands at a column of the first line."""
    is_wide = room >= _TITLE_FROM
    start = len(_TITLE) + 1 if is_wide else 0
    for name, label in _labels(page, room, offered):
        if start <= x < start + len(label):
            return name
        start += len(label) + (not is_wide)
    return None


def _labels(page: str, room: int, offered: Collection[str]) -> list[tuple[str, str]]:
    """Return (page, what stands for it); the overview comes last."""
    shown = [name for name in PAGES[1:] if name not in SOMETIMES or name in offered or name == page]
    shown += [name for name in PAGES[:1] if name in offered]
    labels = []
    named = sum(len(f"{KEYS[name]} {name} ") for name in shown)
    is_named = room >= named + _COUNTS_CELLS
    for name in shown:
        label = f"{KEYS[name]} {name}" if is_named or name == page else KEYS[name]
        labels.append((name, f" {label} " if room >= _TITLE_FROM else label))
    return labels
