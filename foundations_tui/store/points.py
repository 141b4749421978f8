"""Points of metrics out of the pages of records files, many at a time."""

from __future__ import annotations

import itertools
from typing import Annotated, Literal

from msgspec import Meta, MsgspecError
from msgspec.json import Decoder

from foundations.records import END_OF_TIME, INTEGERS, Point

_Time = Annotated[float, Meta(ge=0, lt=END_OF_TIME)]
_Step = Annotated[int, Meta(ge=-INTEGERS, le=INTEGERS - 1)]
_LINE = Decoder(tuple[Literal["m"], _Time, str, _Step, float | int])


def decode_points(page: bytes, base: int) -> dict[str, list[Point]] | None:
    """Return the points of a page by metric, or None where it holds anything but finite numbers of metrics.

    What nearly every page is, read at a tenth of the time that ``foundations.records.decode`` takes.

    Args:
        page: whole lines of a records file.
        base: offset of the page in the file, bytes.
    """
    try:
        records = _LINE.decode_lines(page)
    except (MsgspecError, ValueError):
        return None
    lines = page.split(b"\n")[:-1]
    if not records or len(records) != len(lines) or not all(line[:1] == b"[" and line[-1:] == b"]" for line in lines):
        return None  # the decoder takes several records of a line, and one over several
    lengths = [len(line) + 1 for line in lines]
    offsets = itertools.accumulate(lengths[:-1], initial=base)
    _, times, keys, steps, values = zip(*records, strict=True)
    points: dict[str, list[Point]] = {key: [] for key in dict.fromkeys(keys)}
    for key, point in zip(keys, zip(times, offsets, steps, values, strict=True), strict=True):
        points[key].append(point)
    return points
