"""How far a job is, read from the last lines of its log: bars of tqdm, Keras and Lightning, ``step 40/200``. Pure.

A line shows what it shows last: a bar writes over itself. What says no total says no share.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Progress:
    """How far a job is, as its log says."""

    unit: str
    """"epoch", "step" and the like; empty where it is not said what is counted."""
    done: int
    total: int
    share: float
    """What is done of the whole, from 0 to 1; 0 where it is not known."""
    left: float | None
    """Seconds that the bar itself says are left of the whole; None where it says nothing, or speaks of a part."""
    lines: tuple[int, ...]
    """Which lines say so."""


_UNITS = r"epochs?|steps?|iterations?|iters?|batch(?:es)?|updates?|rounds?|episodes?|folds?|trials?|generations?"
_OUTER = ("epoch", "round", "episode", "fold", "trial", "generation")
"""Units of which one holds many of the others."""
_NAMED = re.compile(
    rf"(?:^|[^\w/])(?P<unit>{_UNITS})\b\W{{0,3}}(?P<done>\d[\d,_]*)\s*(?:/|\bof\b)\s*(?P<total>\d[\d,_]*)(?![\d.]*[/\w%])",
    re.IGNORECASE,
)
"""``Epoch 6/30``, ``epoch: [6/30]``, ``step 400 of 2,000``."""
_ALONE = re.compile(rf"(?:^|[^\w/])(?P<unit>{_UNITS})\b\W{{0,3}}(?P<done>\d[\d,_]*)(?![\d.]*[\w/.%])", re.IGNORECASE)
"""``Epoch 6``, ``step 400: loss ...``: it says how far the job is where a parameter says the total."""
_BAR = re.compile(
    r"\d{1,3}%\|[^|]*\|\s*(?P<done>\d+)/(?P<total>\d+)\s*\[(?:\d+:)?\d+:\d\d<(?P<left>(?:\d+:)?\d+:\d\d|\?)"
)
"""tqdm's bar, and Lightning's: ``45%|####  | 450/1000 [00:12<00:15, 36.1it/s]``."""
_KERAS = re.compile(r"^\s*(?P<done>\d+)/(?P<total>\d+)\s+(?:\[[=>.]+\]|[━╸\s\d;m\x1b\[]{5,})")
"""``12/100 ━━━━━━━━━━ 3s 20ms/step``, and the older ``[=====>....]``."""
_BRACKETS = re.compile(r"[\[(]\s*(?P<done>\d[\d,_]*)/\s*(?P<total>\d[\d,_]*)[\])]")
"""``[400/2000]``, as many scripts print it in front of a loss."""
_TOTALS = {
    "epoch": ("epochs", "num_epochs", "n_epochs", "max_epochs", "num_train_epochs", "nb_epochs", "total_epochs"),
    "step": ("steps", "max_steps", "num_steps", "n_steps", "total_steps", "train_steps", "max_iters", "iters"),
    "iteration": ("iterations", "max_iters", "num_iterations", "n_iterations", "iters", "max_iterations"),
    "round": ("rounds", "num_rounds", "num_boost_round", "n_rounds"),
    "episode": ("episodes", "num_episodes", "n_episodes", "max_episodes"),
    "generation": ("generations", "n_generations", "num_generations"),
}
"""What parameters call the total of a unit."""
_MOST = 1 << 53


@dataclass(frozen=True)
class _Count:
    """One counter in one line."""

    unit: str
    done: int
    total: int
    left: float | None
    line: int
    is_bar: bool = False
    """Whether it counts what is done; ``Epoch 6/30`` says which one runs."""
    within: str = ""
    """"epoch 3", where it counts within that and nobody says how many of those there are."""

    @property
    def share(self) -> float:
        return self.done / self.total

    @property
    def is_outer(self) -> bool:
        return self.unit in _OUTER


def read(lines: Sequence[str], params: Mapping[str, Any]) -> Progress | None:
    """Return how far a job is, as the last of its lines say.

    Args:
        lines: the last lines of its log, without escape sequences, a bar as it was drawn last.
        params: what it was given: a total may stand there, ``--epochs 30``.
    """
    outer: _Count | None = None
    inner: _Count | None = None
    for number in range(len(lines) - 1, -1, -1):
        for count in _counts(lines[number], number, params):
            if count.is_outer and outer is None:
                outer = count
            elif not count.is_outer and inner is None:
                inner = count
        if outer is not None:
            break
    return _together(outer, inner)


def _together(outer: _Count | None, inner: _Count | None) -> Progress | None:
    """Return the progress of a counter and the one within it: epochs, and the steps of the one that runs."""
    if outer is None and (inner is None or inner.done == inner.total):
        return None  # a bar that is full was of something else: a download, the data
    if outer is None or inner is None:
        count = outer or inner
        assert count is not None
        if count.within:
            return Progress(f"{count.within}, {count.unit}", count.done, count.total, 0.0, None, (count.line,))
        return Progress(count.unit, count.done, count.total, count.share, count.left, (count.line,))
    begun = outer.done if outer.is_bar else max(0, outer.done - 1)  # the one that runs has its own counter
    share = min(1.0, (begun + inner.share) / outer.total)
    return Progress(outer.unit, outer.done, outer.total, share, None, (outer.line, inner.line))


def _counts(line: str, number: int, params: Mapping[str, Any]) -> list[_Count]:
    """Return the counters of a line, the outer one last."""
    bar = _BAR.search(line)
    found = [
        count
        for named in _NAMED.finditer(line)
        for count in _count(_unit(named["unit"]), named["done"], named["total"], None, number)
    ]
    within = ""
    if not found and (alone := _ALONE.search(line)):
        unit = _unit(alone["unit"])
        total = _total(unit, params)
        within = f"{unit} {alone['done']}" if unit in _OUTER and not total else ""
        found += _count(unit, alone["done"], str(total), None, number)
    if bar is not None:
        unit = _unit_before(line, bar.start())
        found += _count(unit, bar["done"], bar["total"], _seconds(bar["left"]), number, is_bar=True)
    elif keras := _KERAS.match(line):
        found += _count("step", keras["done"], keras["total"], None, number)
    elif all(count.is_outer for count in found) and (brackets := _BRACKETS.search(_NAMED.sub("", line))):
        found += _count("step" if found else "", brackets["done"], brackets["total"], None, number)
    return sorted((dataclasses.replace(count, within=within) for count in found), key=lambda count: count.is_outer)


def _count(unit: str, done: str, total: str, left: float | None, line: int, is_bar: bool = False) -> list[_Count]:
    """Return a counter, unless its numbers make none: more done than there is, or more than anybody counts."""
    ends = [int(text.replace(",", "").replace("_", "")[:20]) for text in (done, total)]
    if not 0 < ends[1] <= _MOST or ends[0] > ends[1]:
        return []
    return [_Count(unit, ends[0], ends[1], left, line, is_bar)]


def _unit(word: str) -> str:
    word = word.lower()
    if word in ("batch", "batches"):
        return "batch"
    word = word.removesuffix("s")
    return "iteration" if word == "iter" else word


def _unit_before(line: str, place: int) -> str:
    """Return what a bar counts: what stands before it says so, else steps."""
    words = re.findall(rf"\b({_UNITS})\b", line[:place], re.IGNORECASE)
    said = [_unit(word) for word in words]
    # "Epoch 3: 45%|...": the bar counts the steps within that epoch. "Epochs: 45%|...": it counts epochs.
    if said and not re.search(r"\d[\d,]*\W*$", line[:place]) and said[-1] in _OUTER:
        return said[-1]
    return "step"


def _total(unit: str, params: Mapping[str, Any]) -> int:
    """Return the total that a parameter names; 0 for none, and where two disagree."""
    names = _TOTALS.get(unit, ())
    values = {
        value
        for key, value in params.items()
        if key.replace("-", "_").rpartition(".")[2].lower() in names and type(value) is int and value > 0
    }
    return values.pop() if len(values) == 1 else 0


def _seconds(text: str) -> float | None:
    """Return the seconds in a bar's "1:02:03"; None for "?"."""
    if text == "?":
        return None
    seconds = 0
    for part in text.split(":"):
        seconds = seconds * 60 + int(part)
    return float(seconds)


def remaining(progress: Progress, seen: tuple[float, float], now: float) -> float | None:
    """Return how many seconds are left, as fast as it went since it was first seen; None where nothing tells.

    Args:
        progress: as it is now.
        seen: (share, seconds since the epoch) when this attempt's progress was first seen, or (0, its start).
        now: seconds since the epoch, when the log said what it says.
    """
    if progress.left is not None:
        return progress.left
    share, moment = seen
    if progress.share <= share or now <= moment:
        return None
    return (1.0 - progress.share) * (now - moment) / (progress.share - share)
