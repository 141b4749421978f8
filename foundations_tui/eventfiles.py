"""TensorBoard's event files, read by TensorBoard's own reader (extra ``tensorboard``)."""

from __future__ import annotations

import posixpath
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from foundations.records import METRIC, Record, valid_text
from foundations_tui.errors import FoundationsError

_START = 1
"""SessionLog.START of TensorFlow's event.proto."""


def runs_below(top: Path) -> list[Path]:
    """Return the folders below one that hold event files, itself included: each is a run."""
    return sorted({path.parent for path in top.rglob("*tfevents*") if path.is_file()})


def below(folder: Path) -> list[Path]:
    """Return the event files of one folder, the first first: the time at which one was begun stands in its name."""
    return sorted(folder.glob("*tfevents*"))


def by_folder(paths: dict[str, Path]) -> dict[str, list[Record]]:
    """Return the scalars of event files by the prefix that they bear: the folder's name, where there are several.

    Args:
        paths: where each file lies, by its path below the folder of all.
    Raises:
        FoundationsError: the reader is not installed.
    """
    folders = sorted({posixpath.dirname(name) for name in paths})
    found = {}
    for folder in folders:
        prefix = f"{folder}/" if folder and len(folders) > 1 else ""
        found[prefix] = read([paths[name] for name in sorted(paths) if posixpath.dirname(name) == folder], prefix)
    return found


def read(files: Iterable[Path], prefix: str = "") -> list[Record]:
    """Return the scalars in the event files of one folder, in the order of their time.

    Args:
        files: in their order.
        prefix: put before the name of each.
    Raises:
        FoundationsError: the reader is not installed.
    """
    try:
        from tensorboard.backend.event_processing.event_file_loader import EventFileLoader
        from tensorboard.util import tensor_util
    except ImportError:
        hint = "pip install 'foundations-tui[tensorboard]'"
        raise FoundationsError("event files are read by tensorboard, which is not installed", hint) from None
    found: list[tuple[float, str, int, float]] = []
    for path in files:
        for event in _events(EventFileLoader, path):
            if event.HasField("session_log") and event.session_log.status == _START:
                # As TensorBoard does: what a writer that began again repeats was not to be.
                found = [one for one in found if one[2] < event.step]
            for value in event.summary.value:
                number = _number(value, tensor_util)
                if number is not None:
                    key = valid_text(prefix + value.tag)
                    found.append((float(event.wall_time), key, int(event.step), number))
    found.sort(key=lambda one: one[0])
    return [Record(METRIC, moment, key, step, number, place) for place, (moment, key, step, number) in enumerate(found)]


def _events(loader: Any, path: Path) -> Iterator[Any]:
    try:
        yield from loader(str(path)).Load()
    except Exception:  # a file that is cut off, or none of TensorBoard's: what came before counts
        return


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
