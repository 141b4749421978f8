"""Calls of the model: one thread makes them, from a bounded queue, each with a deadline; some in batches.

Code on a GPU is not to be entered twice, so that there is one thread; what waits is bounded, so that a crowd gets an
answer at once (503) instead of none.
"""

from __future__ import annotations

import asyncio
import inspect
import sys
import threading
import time
import traceback
from collections import deque
from dataclasses import dataclass
from typing import Any, AsyncIterator, Callable, Deque, List, Optional, Sequence, Tuple

from foundations_serve import tensors
from foundations_serve.errors import Busy, Failed, Late, ServeError
from foundations_serve.loaders import Inputs, Predict
from foundations_serve.manifest import Batching

_STUCK_SECONDS = 30.0
"""So long behind a deadline a call is stuck for good: the model's process ends, and its supervisor begins it again."""
_MOST_ITEMS = 64
"""Items of a stream that wait to be read."""
_UNREAD_SECONDS = 60.0
"""A stream of which nothing is read for so long ends."""
_LAST = object()
Report = Callable[[int], None]
"""Takes the number of requests that were computed together."""


@dataclass(eq=False)
class _Call:
    """One request on its way."""

    inputs: Inputs
    done: Callable[[Any, Optional[BaseException]], None]
    """Takes the result or an exception; called in the worker's thread."""
    deadline: float
    """On the monotonic clock."""
    seconds: float
    """That it may take."""
    stream: "Optional[Tuple[Stream, Any]]" = None
    """A stream that is to be filled, and the generator; None for a call."""
    is_cancelled: bool = False


class Stream:
    """What a generator gives, one by one, as it comes."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._items: "asyncio.Queue[Any]" = asyncio.Queue()
        self._room = threading.Semaphore(_MOST_ITEMS)
        self._is_left = threading.Event()

    def fill(self, source: Any, came: Callable[[bool], None]) -> None:
        """Take all of a generator, as fast as it is read; in the worker's thread.

        Args:
            source: the generator.
            came: called with each item (False), and when it is the model's turn again (True).
        """
        last: Any = _LAST
        try:
            for item in source:
                came(False)
                self._put(item)
                if not self._room.acquire(timeout=_UNREAD_SECONDS) or self._is_left.is_set():
                    source.close()
                    break
                came(True)
        except BaseException as error:
            last = _failure(error)
        self._put(last)

    def leave(self) -> None:
        """Take no more: whoever listened has left."""
        self._is_left.set()
        self._room.release()

    async def items(self) -> AsyncIterator[Any]:
        """Yield what comes.

        Raises:
            ServeError: the generator has raised an exception.
        """
        while True:
            item = await self._items.get()
            if item is _LAST:
                return
            if isinstance(item, ServeError):
                raise item
            self._room.release()
            yield item

    def _put(self, item: Any) -> None:
        _tell(self._loop, self._items.put_nowait, item)


class Worker:
    """The thread that calls the model."""

    def __init__(
        self, predict: Predict, batching: Batching, most_waiting: int, give_up: Callable[[str], None], report: Report
    ) -> None:
        """Begin.

        Args:
            predict: the model.
            batching: which requests are computed together.
            most_waiting: requests that may wait.
            give_up: called when a call is stuck for good, with why.
            report: gets the sizes of batches.
        """
        self._predict = predict
        self._batching = batching
        self._most_waiting = most_waiting
        self._give_up, self._report = give_up, report
        self._calls: Deque[_Call] = deque()
        self._news = threading.Condition()
        self._is_closing = False
        self._busy_until: Optional[float] = None
        self.answered_at = float("-inf")
        """When a request was last answered well, on the monotonic clock."""
        self._thread = threading.Thread(target=self._work, name="model", daemon=True)
        self._thread.start()

    @property
    def waiting(self) -> int:
        """Return how many requests wait."""
        return len(self._calls)

    async def call(self, inputs: Inputs, seconds: float) -> Any:
        """Return the model's result for some inputs; a ``Stream`` where it gives one.

        Args:
            inputs: by name.
            seconds: how long it may take.
        Raises:
            Busy, Late, Failed: why there is none. BadInput: the inputs are not the model's.
        """
        loop = asyncio.get_running_loop()
        future: "asyncio.Future[Any]" = loop.create_future()

        def done(result: Any, error: Optional[BaseException]) -> None:
            _tell(loop, _settle, future, result, error)

        call = _Call(inputs, done, time.monotonic() + seconds, seconds)
        self._put(call)
        try:
            result = await asyncio.wait_for(future, seconds)
        except asyncio.TimeoutError:
            raise Late(f"the model has not answered within {seconds:g} s") from None
        finally:
            self._withdraw(call)
        if inspect.isgenerator(result):
            return self._streamed(result, Stream(loop), seconds)
        self.answered_at = time.monotonic()
        return result

    def look(self) -> None:
        """End the process when a call is stuck for good; asked every now and then from the event loop."""
        if not self._thread.is_alive() and not self._is_closing:
            self._give_up("the thread of the model has ended")
        until = self._busy_until
        if until is not None and time.monotonic() > until + _STUCK_SECONDS:
            self._give_up(f"predict has not come back {_STUCK_SECONDS:g} s after the deadline of its request")

    def close(self) -> None:
        """Take no more."""
        with self._news:
            self._is_closing = True
            self._news.notify()

    def _withdraw(self, call: _Call) -> None:
        """Let go of a call that nobody waits for; of one that is done already, that means nothing."""
        call.is_cancelled = True
        with self._news:
            if call in self._calls:
                self._calls.remove(call)

    def _put(self, call: _Call) -> None:
        with self._news:
            if len(self._calls) >= self._most_waiting:
                raise Busy(f"{self._most_waiting} requests wait already")
            self._calls.append(call)
            self._news.notify()

    def _streamed(self, source: Any, stream: Stream, seconds: float) -> Stream:
        """Have the worker's thread go on with a generator, before whatever waits."""
        with self._news:
            self._calls.appendleft(_Call({}, lambda *_: None, float("inf"), seconds, (stream, source)))
            self._news.notify()
        return stream

    # --- in the worker's thread -----------------------------------------------------------------------------------

    def _work(self) -> None:
        while True:
            calls = self._next_calls()
            if calls is None:
                return
            for call in calls:
                if call.stream is not None:
                    self._fill(*call.stream, call.seconds)
                    break
            else:
                self._busy_until = max((call.deadline for call in calls), default=None)
                self._compute(calls)
            self._busy_until = None

    def _fill(self, stream: Stream, source: Any, seconds: float) -> None:
        """Take a stream: it may go on for as long as it likes, if each item comes in time.

        Args:
            stream: takes the items.
            source: gives them.
            seconds: that each may take.
        """

        def came(is_the_models_turn: bool) -> None:
            self.answered_at = time.monotonic()
            self._busy_until = self.answered_at + seconds if is_the_models_turn else None

        came(True)
        stream.fill(source, came)

    def _next_calls(self) -> Optional[List[_Call]]:
        """Wait for what is to be computed next, together; None at the end."""
        with self._news:
            while not self._calls:
                if self._is_closing:
                    return None
                self._news.wait()
            first = self._calls.popleft()
            together = [first]
            may_join = self._batching.max_size > 1 and first.stream is None
            key = _batch_key(first.inputs) if may_join else None
            if key is not None:
                self._gather(together, key)
        now = time.monotonic()
        return [call for call in together if not call.is_cancelled and call.deadline > now]

    def _gather(self, together: List[_Call], key: Tuple[Any, ...]) -> None:
        """Add those that may be computed with the first one; what does not fit stays where it is."""
        until = time.monotonic() + self._batching.max_wait_ms / 1000
        while True:
            for call in list(self._calls):
                if len(together) < self._batching.max_size and _batch_key(call.inputs) == key:
                    self._calls.remove(call)
                    together.append(call)
            left = until - time.monotonic()
            if len(together) >= self._batching.max_size or left <= 0 or self._is_closing:
                return
            self._news.wait(left)

    def _compute(self, calls: Sequence[_Call]) -> None:
        if len(calls) > 1:
            results = self._computed_together(calls)
            if results is not None:
                self._report(len(calls))
                for call, result in zip(calls, results):
                    call.done(result, None)
                return
        for call in calls:  # one bad request does not fail its batch
            if not call.is_cancelled:
                self._report(1)
                call.done(*_outcome(self._predict, call.inputs))

    def _computed_together(self, calls: Sequence[_Call]) -> Optional[List[Any]]:
        """Return a result for each; None where they have to be computed one by one."""
        try:
            joined = {name: _joined([call.inputs[name] for call in calls]) for name in calls[0].inputs}
            return _split(self._predict(joined), [_rows(call.inputs) for call in calls])
        except BaseException as error:  # one of them is wrong; it is said to that one
            print(f"{len(calls)} requests are computed one by one: {words_of(error)}", file=sys.stderr)
            return None


def _tell(loop: asyncio.AbstractEventLoop, function: Callable[..., None], *arguments: Any) -> None:
    """Have something called in the event loop, unless the server has ended meanwhile."""
    try:
        loop.call_soon_threadsafe(function, *arguments)
    except RuntimeError:
        pass


def _settle(future: "asyncio.Future[Any]", result: Any, error: Optional[BaseException]) -> None:
    if not future.done():
        if error is not None:
            future.set_exception(error)
        else:
            future.set_result(result)


def _outcome(predict: Predict, inputs: Inputs) -> Tuple[Any, Optional[BaseException]]:
    try:
        return predict(inputs), None
    except BaseException as error:  # also sys.exit() in it: the thread has to go on
        return None, _failure(error)


def _failure(error: BaseException) -> ServeError:
    if isinstance(error, ServeError):
        return error
    log_trace(error)
    return Failed(words_of(error))


def words_of(error: BaseException) -> str:
    """Return what a caller is told of an exception: its kind and its message, no trace."""
    try:
        words = str(error)
    except Exception:  # of the model's own making
        words = "an exception without words"
    first = next(iter(words.strip().splitlines()), "")  # libraries add whole essays; the log has them
    return f"{type(error).__name__}: {first}"[:1000]


def log_trace(error: BaseException) -> None:
    """Write the trace of an exception into the log of the replica."""
    try:
        traceback.print_exception(type(error), error, error.__traceback__, file=sys.stderr)
    except Exception as problem:  # an exception of the model's own making
        print(f"{type(error).__name__} cannot be shown: {type(problem).__name__}", file=sys.stderr)


# --- batches ------------------------------------------------------------------------------------------------------


def _batch_key(inputs: Inputs) -> Optional[Tuple[Any, ...]]:
    """Return what requests that may be computed together have in common; None for what goes alone."""
    if not inputs or any(not hasattr(value, "shape") or not value.shape for value in inputs.values()):
        return None
    if len({value.shape[0] for value in inputs.values()}) != 1:
        return None
    return tuple((name, str(value.dtype), value.shape[1:]) for name, value in sorted(inputs.items()))


def _rows(inputs: Inputs) -> int:
    return int(next(iter(inputs.values())).shape[0])


def _joined(parts: List[Any]) -> Any:
    return tensors.numpy().concatenate(parts)


def _split(result: Any, sizes: Sequence[int]) -> Optional[List[Any]]:
    """Return the parts of a result; None where it has not a row for each row that went in."""
    if isinstance(result, dict):
        by_name = {name: _split(value, sizes) for name, value in result.items()}
        if any(parts is None for parts in by_name.values()):
            return None
        return [{name: (parts or [])[place] for name, parts in by_name.items()} for place in range(len(sizes))]
    if inspect.isgenerator(result) or not hasattr(result, "__len__") or isinstance(result, (str, bytes)):
        return None
    if len(result) != sum(sizes):
        return None
    parts, at = [], 0
    for size in sizes:
        parts.append(result[at : at + size])
        at += size
    return parts
