"""TensorBoard's event files, read with TensorBoard's own description of them (extra ``tensorboard``).

A file is a sequence of records as TensorFlow's record_writer.h has them: the length in 8 bytes, little-endian, its
checksum in 4, an Event (event.proto), and a checksum of that in 4. TensorBoard's own reader takes five times as long.
"""

from __future__ import annotations

import contextlib
import posixpath
import struct
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from foundations.records import METRIC, Record, valid_text
from foundations_tui.errors import FoundationsError

_START = 1
"""SessionLog.START of TensorFlow's event.proto."""
_HEAD, _TAIL = struct.Struct("<QI"), 4
_LONGEST_EVENT = 256 << 20
"""Bytes: what is longer is damage."""


def runs_below(top: Path) -> list[Path]:
    """Return the folders below one that hold event files, itself included: each is a run."""
    return sorted({path.parent for path in top.rglob("*tfevents*") if path.is_file()})


def below(folder: Path) -> list[Path]:
    """Return the event files of one folder, the first first: the time at which one was begun stands in its name."""
    return sorted(path for path in folder.glob("*tfevents*") if path.is_file())


def by_folder(paths: dict[str, Path]) -> dict[str, list[Record]]:
    """Return the scalars of event files by the prefix that they bear: where several folders have some, what differs.

    Args:
        paths: where each file lies, by its name on the host, with folders.
    Raises:
        FoundationsError: the reader is not installed.
    """
    folders = sorted({posixpath.dirname(name) for name in paths})
    common = posixpath.commonpath(folders) if len(folders) > 1 else "".join(folders)
    runs = {}
    for folder in folders:
        prefix = folder[len(common) :].lstrip("/")
        names = sorted(name for name in paths if posixpath.dirname(name) == folder)
        runs[f"{prefix}/" if prefix else ""] = read((paths[name] for name in names), f"{prefix}/" if prefix else "")
    return runs


def read(files: Iterable[Path], prefix: str = "") -> list[Record]:
    """Return the scalars in the event files of one folder, in the order of their time.

    Each has a place of its own for good, however its file grows: that of its event, with a number of the file's name.

    Args:
        files: in their order.
        prefix: put before the name of each.
    Raises:
        FoundationsError: the reader is not installed.
    """
    try:
        from tensorboard.compat.proto import event_pb2
        from tensorboard.util import tensor_util
    except ImportError:
        hint = "pip install 'foundations-tui[tensorboard]'"
        raise FoundationsError("event files are read by tensorboard, which is not installed", hint) from None
    points: list[tuple[float, str, int, float, int]] = []
    for path in files:
        base = (zlib.crc32(path.name.encode("utf-8", "surrogateescape")) & 0x7FFF) << 36
        for offset, event in _events(event_pb2.Event, path):
            if event.HasField("session_log") and event.session_log.status == _START:
                # As TensorBoard does: what a writer that began again repeats was not to be.
                points = [point for point in points if point[2] < event.step]
            for place, value in enumerate(event.summary.value, base + offset):
                number = _number(value, tensor_util)
                if number is not None:
                    key = valid_text(prefix + value.tag)
                    points.append((float(event.wall_time), key, int(event.step), number, place))
    points.sort(key=lambda point: point[0])
    return [Record(METRIC, moment, key, step, number, place) for moment, key, step, number, place in points]


def _events(kind: Any, path: Path) -> Iterator[tuple[int, Any]]:
    """Yield (where it begins, an event) up to what is damaged, or not written yet."""
    with contextlib.suppress(Exception), path.open("rb") as file:  # DecodeError has no home that is sure
        offset = 0
        while len(head := file.read(_HEAD.size)) == _HEAD.size:
            size = _HEAD.unpack(head)[0]
            if size > _LONGEST_EVENT:
                return
            data = file.read(size + _TAIL)
            if len(data) < size + _TAIL:
                return
            yield offset, kind.FromString(data[:size])
            offset += _HEAD.size + size + _TAIL


def _number(value: Any, tensor_util: Any) -> float | None:
    """Return a scalar, as the old and the new writers put it; None for images, texts and histograms."""
    if value.HasField("simple_value"):
        return float(value.simple_value)
    if value.HasField("tensor") and value.metadata.plugin_data.plugin_name in ("scalars", ""):
        try:
            array = tensor_util.make_ndarray(value.tensor)
            return float(array.item()) if array.size == 1 else None
        except (TypeError, ValueError):
            return None
    return None
