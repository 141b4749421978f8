"""Moments in the past, as people say them: "03:10", "6h", "yesterday 03:10", "2026-11-28 03:10". Pure."""

from __future__ import annotations

import datetime
import re

from foundations_tui.errors import UsageError
from foundations_tui.text import humanize

_CLOCK = re.compile(r"(\d{1,2}):(\d{2})(?::(\d{2}))?")
_DATE = re.compile(r"\d{4}-\d{2}-\d{2}")
_HINT = "03:10, yesterday 03:10, 2026-11-28 03:10, 6h (ago), or now"


def parse(text: str, now: float) -> float | None:
    """Return a moment, seconds since the epoch, by this machine's clock and zone; None for now.

    Args:
        text: a time of day (the last time it was that), one with a day, or how long ago.
        now: seconds since the epoch.
    Raises:
        UsageError: it is none, or lies ahead.
    """
    words = text.strip().lower().split()
    if words in ([], ["now"]):
        return None
    here = datetime.datetime.fromtimestamp(now)
    day, is_named = here.date(), False
    if words[0] == "yesterday":
        day, is_named, words = day - datetime.timedelta(days=1), True, words[1:]
    elif _DATE.fullmatch(words[0]):
        day, is_named, words = _day(words[0]), True, words[1:]
    if len(words) == 1 and (match := _CLOCK.fullmatch(words[0])):
        found = _at(day, [int(part or 0) for part in match.groups()])
        if found > now and not is_named:
            found = _at(day - datetime.timedelta(days=1), [int(part or 0) for part in match.groups()])
    elif words in ([], ["ago"]) and is_named:
        found = _at(day, [0, 0, 0])
    elif is_named:
        raise UsageError(f"{text.strip()!r} is no moment", _HINT)
    else:
        found = now - _span(" ".join(words).removesuffix("ago").strip(), text)
    if found > now:
        raise UsageError(f"{text.strip()} lies ahead", _HINT)
    return found


def _span(words: str, text: str) -> float:
    try:
        return humanize.parse_duration(words)
    except ValueError:
        raise UsageError(f"{text.strip()!r} is no moment", _HINT) from None


def _day(text: str) -> datetime.date:
    try:
        return datetime.date.fromisoformat(text)
    except ValueError:
        raise UsageError(f"{text} is no day", _HINT) from None


def _at(day: datetime.date, parts: list[int]) -> float:
    hour, minute, second = parts
    try:
        return datetime.datetime.combine(day, datetime.time(hour, minute, second)).timestamp()
    except (ValueError, OverflowError):
        raise UsageError(f"{':'.join(f'{part:02}' for part in parts)} is no time of day", _HINT) from None


def words(moment: float, now: float) -> str:
    """Return a moment with how long ago it was: "03:10, 6 h ago"."""
    return f"{humanize.clock(moment, now)}, {humanize.ago(moment, now)}"


STEP = 10.0
"""Seconds of the first step."""
_FASTER, _LONGEST_STEP = 1.1, 3600.0


def stepped(moment: float | None, steps: int, streak: int, first: float, now: float) -> float | None:
    """Return the moment after a step back or on; None where that is now.

    Args:
        moment: where one stands; None for now.
        steps: -1 back, 1 on.
        streak: how many steps in the same way came just before: a key that is held goes faster.
        first: the earliest moment.
        now: seconds since the epoch.
    """
    seconds = min(STEP * _FASTER ** min(streak, 200), _LONGEST_STEP)
    found = (now if moment is None else moment) + steps * seconds
    return None if found >= now else max(first, found)
