"""The first line: the pages, hosts that are out of reach, what runs and waits. No widgets."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from textual.content import Content

from foundations_tui.store.rows import HostRow
from foundations_tui.text.sanitize import one_line
from foundations_tui.ui.pages import KEYS, PAGES
from foundations_tui.ui.theme import LOOK

_TITLE, _TITLE_FROM = " foundations ", 100
"""The app's name, and the columns from which it stands there."""
_COUNTS_CELLS = 14
"""Cells that the counts behind the pages take at least: where less is left, only the page that is shown is named."""
_WORDS_FROM = 130
SOMETIMES = ("race", "models", "services")
"""Pages that are named only where there is something to see."""


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
    away = [host.name for host in hosts if host.state == "unreachable"]
    if away:  # before the counts: it must not be what is cut
        mark = "x" if LOOK.ascii else "✗"
        away_text = f" {mark} {len(away)}" + (" out of reach " if room >= _WORDS_FROM else "")  # page 4 names them
        parts.append(Content.styled(one_line(away_text), LOOK.style("failed")))
    gpus, free = sum(len(host.gpus) for host in hosts), sum(host.free_gpus for host in hosts)
    running = counts.get("running", 0) + counts.get("preparing", 0)
    waiting = counts.get("queued", 0) + counts.get("submitting", 0)
    brief = bool(away) and room < _WORDS_FROM
    shown = f" {LOOK.glyph('running')} {running}{'' if brief else ' running'}"
    parts += [" " * bool(away), Content.styled(shown, LOOK.style("running"))]
    parts += [f"  {LOOK.glyph('queued')} {waiting}{'' if brief else ' queued'}"]
    parts += [f"  GPU {free}/{gpus} free"] if gpus and not (brief and not is_wide) else []
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
