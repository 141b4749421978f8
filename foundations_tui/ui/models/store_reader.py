"""The store's thread: what the app shows is read here, so that no key ever waits for a disk."""

from __future__ import annotations

import logging
import sqlite3
import threading
from collections.abc import Callable, Hashable
from typing import Any, TypeVar

from foundations_tui.errors import FoundationsError, StoreError, as_ours
from foundations_tui.store.db import open_reader

T = TypeVar("T")
_log = logging.getLogger(__name__)
Read = Callable[[sqlite3.Connection], Any]
Deliver = Callable[[Callable[[], None]], Any]


class Reader:
    """Answers questions about the store one after the other; of several in one slot only the last is answered."""

    def __init__(
        self,
        deliver: Deliver,
        failed: Callable[[Hashable, FoundationsError], None],
        mended: Callable[[Hashable], None],
    ) -> None:
        """Make one; ``start`` begins.

        Args:
            deliver: takes a call from this thread and has the app's thread make it.
            failed: takes, in the app's thread, a slot and the error that who asked does not take.
            mended: takes a slot that was answered again after that.
        """
        self._deliver, self._failed, self._mended = deliver, failed, mended
        self._broken: set[Hashable] = set()
        """Slots whose last question failed."""
        self._wanted: dict[Hashable, tuple[Read, Callable[[Any], None], Callable[[FoundationsError], None] | None]] = {}
        self._news = threading.Condition()
        self._ended = False
        self._is_busy = False
        self._conn: sqlite3.Connection | None = None

    def start(self) -> None:
        """Open the store and begin to answer."""
        threading.Thread(target=self._run, name="store", daemon=True).start()

    @property
    def is_idle(self) -> bool:
        """Whether everything that was asked is answered."""
        with self._news:
            return not self._wanted and not self._is_busy

    def stop(self) -> None:
        """End at once, in the middle of a question too."""
        with self._news:
            self._ended = True
            self._wanted.clear()
            self._news.notify()
        if self._conn is not None:
            self._conn.interrupt()

    def ask(
        self,
        slot: Hashable,
        read: Callable[[sqlite3.Connection], T],
        then: Callable[[T], None],
        failed: Callable[[FoundationsError], None] | None = None,
    ) -> None:
        """Have something read, and hand it to the app's thread.

        Args:
            slot: whose question it is; a newer one of the same slot takes the place of one that still waits.
            read: reads it, in the store's thread.
            then: takes it, in the app's thread.
            failed: takes the error; without it the app shows it where the answer would have been.
        """
        with self._news:
            self._wanted.pop(slot, None)
            self._wanted[slot] = (read, then, failed)
            self._news.notify()

    def _run(self) -> None:
        while True:
            with self._news:
                self._news.wait_for(lambda: self._wanted or self._ended)
                if self._ended:
                    break
                slot = next(iter(self._wanted))
                read, then, failed = self._wanted.pop(slot)
                self._is_busy = True
            self._answer(slot, read, then, failed)
            self._is_busy = False
        if self._conn is not None:
            self._conn.close()

    def _answer(
        self,
        slot: Hashable,
        read: Read,
        then: Callable[[Any], None],
        failed: Callable[[FoundationsError], None] | None,
    ) -> None:
        try:
            if self._conn is None:
                self._conn = open_reader()
            answer = read(self._conn)
        except Exception as error:
            if not self._ended:
                self._deliver(self._telling(slot, error, failed))
            return
        if self._ended:
            return
        if slot in self._broken:
            self._broken.discard(slot)
            self._deliver(lambda: self._mended(slot))
        self._deliver(lambda: then(answer))

    def _telling(
        self, slot: Hashable, error: Exception, failed: Callable[[FoundationsError], None] | None
    ) -> Callable[[], None]:
        """Return the call that tells of an error whoever asked, and the app when the store cannot be read."""
        ours = as_ours(error)
        if failed is not None and not isinstance(ours, StoreError):
            return lambda: failed(ours)
        _log.error("%s", ours, exc_info=ours is not error, extra={"action": "read"})
        self._broken.add(slot)

        def tell() -> None:
            self._failed(slot, ours)
            if failed is not None:
                failed(ours)

        return tell
