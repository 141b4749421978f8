"""Numbers and times as people read them. Pure."""

from __future__ import annotations

import math
import re
import shlex
from datetime import datetime


def duration(seconds: float | None) -> str:
    """Return a span of time in two units: "20 ms", "3.2 s", "4 min 10 s", "2 h 05 min", "3 d 4 h"."""
    if seconds is None:
        return ""
    if 0 < seconds < 0.1:
        return f"{max(1, round(1000 * seconds))} ms"
    if seconds < 10:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    if whole < 86400:
        return f"{whole // 3600} h {whole % 3600 // 60:02d} min"
    return f"{whole // 86400} d {whole % 86400 // 3600} h"


def about(seconds: float) -> str:
    """Return a span of time in one unit, or two of hours: "42 s", "8 min", "3 h 20 min", "2 d 4 h"."""
    if seconds < 60:
        return f"{max(1, round(seconds))} s"
    if seconds < 5400:
        return f"{round(seconds / 60)} min"
    return duration(round(seconds / 600) * 600)


def ago(moment: float | None, now: float) -> str:
    """Return how long ago a moment was: "now", "12 s ago", "3 h ago"."""
    if moment is None:
        return "never"
    past = max(0.0, now - moment)
    if past < 2:
        return "now"
    for size, unit in ((86400, "d"), (3600, "h"), (60, "min"), (1, "s")):
        if past >= size:
            return f"{int(past // size)} {unit} ago"
    return "now"


def ahead(moment: float | None, now: float) -> str:
    """Return in about how long a moment comes: "in 12 s", "in 3 h"; nothing of one that has passed."""
    left = 0.0 if moment is None else moment - now
    return f"in {about(left)}" if left > 1 else ""


def clock(moment: float, now: float, seconds: bool = False) -> str:
    """Return a moment in local time: the hour today, with the date otherwise; nothing for what no calendar has."""
    try:
        there, here = datetime.fromtimestamp(moment), datetime.fromtimestamp(now)
    except (ValueError, OverflowError, OSError):
        return ""
    form = "%H:%M:%S" if seconds else "%H:%M"
    return there.strftime(form if there.date() == here.date() else f"%Y-%m-%d {form}")


_MOST_BYTES = 1e30


def size(count: float | None) -> str:
    """Return bytes in a fitting unit: "512 B", "57 kB", "1.2 GB"."""
    if count is None:
        return ""
    count = min(count, _MOST_BYTES)  # a job may say any number
    if count < 1000:
        return f"{count:.0f} B"
    for unit in ("kB", "MB", "GB", "TB"):
        count /= 1000
        if count < 1000 or unit == "TB":
            return f"{count:.1f} {unit}" if count < 10 else f"{count:.0f} {unit}"
    return ""


def parse_size(text: str) -> int:
    """Return the bytes in "20G", "512 MB" or "1.5t"; powers of 1024.

    Raises:
        ValueError: it is no size.
    """
    match = _SIZE.match(text.strip())
    if match is None:
        raise ValueError(f"not a size: {text!r} (20G, 512M)")
    return int(float(match.group(1)) * 1024 ** " KMGT".index(match.group(2).upper() or " "))


def parse_duration(text: str) -> float:
    """Return the seconds in "90", "45m", "2h30m", "1d" or "1:30:00".

    Raises:
        ValueError: it is no duration.
    """
    try:
        seconds = _seconds(text.strip().lower())
    except OverflowError:
        seconds = math.inf
    if not math.isfinite(seconds):
        raise ValueError(f"not a duration: {text[:40]!r} is too long")
    return seconds


def _seconds(text: str) -> float:
    if re.fullmatch(r"\d+(:\d\d){1,2}", text):
        seconds = 0
        for part in text.split(":"):
            seconds = seconds * 60 + int(part)
        return float(seconds if text.count(":") == 2 else seconds * 60)
    if re.fullmatch(r"\d+(\.\d+)?", text):
        return float(text)
    parts = re.findall(r"(\d+(?:\.\d+)?)\s*([smhd])", text)
    if not parts or re.sub(r"(\d+(?:\.\d+)?)\s*([smhd])", "", text).strip():
        raise ValueError(f"not a duration: {text!r} (90, 45m, 2h30m, 1d)")
    return sum(float(count) * {"s": 1, "m": 60, "h": 3600, "d": 86400}[unit] for count, unit in parts)


_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([kmgtKMGT]?)(?:i?[bB])?\Z")


def number(value: object) -> str:
    """Return a metric's value in at most 6 significant digits."""
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def rounded(value: float, digits: int = 2) -> str:
    """Return a number in so many significant digits, as people write it: "180", not "1.8e+02"."""
    near = float(f"{value:.{digits}g}")
    return f"{near:.0f}" if 1e5 <= abs(near) < 1e15 else f"{near:g}"


def count(number: float) -> str:
    """Return a count in few cells: "950", "94.2k", "1.5M"."""
    for size, unit in ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(number) >= 10 * size or (abs(number) >= size and size > 1e3):
            return f"{number / size:.4g}{unit}"
    return f"{number:g}" if abs(number) < 1e4 else f"{number:.0f}"


def plural(count: int, noun: str) -> str:
    """Return "1 job", "2 jobs"."""
    return f"{count:,} {noun}" + ("" if count == 1 else "s")


def command(words: list[str]) -> str:
    """Return a command as one would type it."""
    return words[0] if len(words) == 1 else shlex.join(words)
