"""The client's log file: what it did and what went wrong, a sentence a line, with the job and host it is about.

Modules log by ``logging.getLogger(__name__)`` with ``extra={"job": ..., "host": ..., "action": ...}``; names and ids,
never commands, variables or answers to prompts. Verbs that only read the store load no ``logging``.
"""

from __future__ import annotations

import logging
import os
import sys
import time
from io import TextIOWrapper
from pathlib import Path

from foundations_tui.config import locations
from foundations_tui.text.sanitize import one_line

_BYTES, _FILES = 1 << 20, 3
"""Of one file, and how many older ones are kept."""
_ROOT = "foundations_tui"


class _Formatter(logging.Formatter):
    """``2026-11-28T21:10:02Z WARNING connect gpu1 3f2a91cc0b1d: the sentence``."""

    converter = staticmethod(time.gmtime)

    def format(self, record: logging.LogRecord) -> str:
        moment = self.formatTime(record, "%Y-%m-%dT%H:%M:%SZ")
        about = [str(value) for key in ("action", "host", "job") if (value := getattr(record, key, ""))]
        line = one_line(f"{moment} {record.levelname} {' '.join(about) or record.name}: {record.getMessage()}")
        if record.exc_info:
            line += "\n" + "\n".join(map(one_line, self.formatException(record.exc_info).splitlines()))
        return line


def start(debug: bool = False) -> None:
    """Begin to log into the data folder, with ``debug`` to stderr as well.

    Calling it again is harmless.

    Args:
        debug: whether everything is logged, and to stderr, too.
    """
    logger = logging.getLogger(_ROOT)
    path = locations.data_folder() / "client.log"
    old = next((handler for handler in logger.handlers if getattr(handler, "path", None) is not None), None)
    if old is None or old.path != path:  # type: ignore[attr-defined]
        if old is not None:
            logger.removeHandler(old)
            old.close()
        logger.propagate = False  # the program that imports us has a log of its own
        logger.setLevel(logging.INFO)
        logger.addHandler(_file_handler(path))
    if debug and len(logger.handlers) == 1:
        to_stderr = logging.StreamHandler(sys.stderr)
        to_stderr.setFormatter(_Formatter())
        logger.addHandler(to_stderr)
        logger.setLevel(logging.DEBUG)


def _file_handler(path: Path) -> logging.Handler:
    from logging.handlers import RotatingFileHandler

    class PrivateFile(RotatingFileHandler):
        """A file that only its owner can read; a full disk never fails a command through its log."""

        def __init__(self) -> None:
            super().__init__(path, maxBytes=_BYTES, backupCount=_FILES, encoding="utf-8", delay=True)
            self.path = path

        def _open(self) -> TextIOWrapper:
            return open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), "a", encoding="utf-8")

        def handleError(self, record: logging.LogRecord) -> None:
            return

    handler = PrivateFile()
    handler.setFormatter(_Formatter())
    return handler
