"""The agent of one host as the client sees it: requests and answers over one long-lived channel."""

from __future__ import annotations

import contextlib
import itertools
import sys
import threading
from collections.abc import Callable
from typing import Any, Generic, cast

from foundations_tui import __version__
from foundations_tui.config import locations
from foundations_tui.config.hosts import HostConfig
from foundations_tui.errors import (
    ForwardingRefused,
    FoundationsError,
    HostRefused,
    HostUnreachable,
    NoMoreChannels,
    NotFoundError,
    UsageError,
)
from foundations_tui.hosts import bundle, shell
from foundations_tui.hosts.asking import Asker
from foundations_tui.hosts.connect import connect
from foundations_tui.hosts.relay import Relay
from foundations_tui.hosts.transport import Channel, Stream, Transport
from remote_agent.protocol import framing, messages
from remote_agent.protocol.errors import BadRequest, ProtocolError
from remote_agent.protocol.messages import A, Request
from remote_agent.protocol.relaying import Target
from remote_agent.protocol.wire import JsonTable

_ERRORS: dict[str, type[FoundationsError]] = {
    "bad_request": UsageError,
    "not_found": NotFoundError,
    "conflict": FoundationsError,
    "failed": FoundationsError,
}
"""What a refusal's code is on this side; any other is the host's own refusal."""


class Agent:
    """One host's agent, connected."""

    def __init__(self, host: HostConfig, asker: Asker, timeout: float = 10.0) -> None:
        """Connect, and bring the agent there up to our own version.

        Args:
            host: where.
            asker: answers what the connection asks.
            timeout: seconds for the connection.
        Raises:
            HostError: out of reach, refused, or its host key is not what it should be.
        """
        self.host = host
        self._asker, self._timeout = asker, timeout
        self._relaying = threading.Lock()
        self._relay: Relay | None = None
        self._forwards_nothing = False
        """Whether the SSH server has refused to forward connections."""
        self.transport: Transport = connect(host, asker, timeout)
        try:
            self._start()
            if self._is_outdated():
                self._replace()
        except BaseException:
            self.transport.close()
            raise

    def call(self, request: Request[A], blob: bytes = b"", timeout: float = 60.0) -> A:
        """Ask the agent and return its answer.

        Args:
            request: what is asked.
            blob: bytes that go with it.
            timeout: seconds to wait for the answer.
        Raises:
            HostUnreachable: the connection was lost, or no answer came. FoundationsError: the agent's refusal.
        """
        return self.ask(request, blob).get(timeout)[0]

    def call_for_bytes(self, request: Request[A]) -> tuple[A, bytes]:
        """Ask the agent and return its answer and the bytes that came with it; see ``call``."""
        return self.ask(request).get()

    def ask(self, request: Request[A], blob: bytes = b"") -> Promise[A]:
        """Ask without waiting."""
        return self._rpc.ask(request, blob)

    def open_bulk(self, role: str, *words: str) -> tuple[Channel, shell.NonceLines, JsonTable]:
        """Open a channel of its own for bulk bytes; see ``shell.open_bulk``.

        Where the server gives only one session on a connection, on a connection of its own.
        """
        try:
            return shell.open_bulk(self.transport, self.host.name, self.place, role, *words)
        except NoMoreChannels:
            other = connect(self.host, self._asker, self._timeout)
        try:
            channel, lines, first = shell.open_bulk(other, self.host.name, self.place, role, *words)
        except BaseException:
            other.close()
            raise
        return cast(Channel, _Alone(channel, other)), lines, first

    def run_role(self, role: str, *arguments: str) -> JsonTable:
        """Run a short role of the agent on a channel of its own, and return its answer.

        Raises:
            FoundationsError: it refuses. HostUnreachable: the connection was lost.
        """
        channel, _, answer = self.open_bulk(role, *arguments)
        channel.close()
        if "error" in answer:
            raise refusal(self.host.name, answer["error"])
        return answer

    def connect(self, target: Target) -> Stream:
        """Return a connection to something that listens on the host: by SSH itself where that forwards connections.

        Raises:
            OSError: nothing takes it there. HostUnreachable: the connection to the host is gone.
        """
        if not target.socket and not self._forwards_nothing:
            try:
                return self.transport.connect(target.address, target.port)
            except ForwardingRefused:
                self._forwards_nothing = True
        with self._relaying:
            if self._relay is None or not self._relay.is_alive:
                channel, _, _ = self.open_bulk("relay")
                self._relay = Relay(channel, self.host.name)
            relay = self._relay
        return relay.connect(target)

    def console(self, line: str, nonce: str, tty: bool) -> int:
        """Run a shell line on this process's own input and output; see ``Transport.console``."""
        try:
            return self.transport.console(line, nonce, tty)
        except NoMoreChannels:
            with contextlib.closing(connect(self.host, self._asker, self._timeout)) as other:
                return other.console(line, nonce, tty)

    @property
    def is_alive(self) -> bool:
        """Whether the channel still stands."""
        return self._rpc.problem is None

    @property
    def is_newer(self) -> bool:
        """Whether the agent is of a protocol beyond ours: then we may read and stop, not submit."""
        return self.hello.protocol > framing.VERSION

    def close(self) -> None:
        """End the connection; the agent and its jobs go on."""
        if self._relay is not None:
            self._relay.close()
        self._rpc.close()
        self.transport.close()

    def wait_for_end(self, timeout: float) -> None:
        """Wait until the agent has closed the channel."""
        self._rpc.wait_for_end(timeout)

    # --- coming up ----------------------------------------------------------------------------------------------

    def _start(self) -> None:
        host = self.host
        channel = self.transport.open()
        try:
            root = host.root or (locations.local_agent_root() if host.is_local else "")
            self.place = shell.become_agent(channel, host.name, root, _python_of(host))
            self._rpc = _Rpc(channel, host.name)
            settings = messages.HostSettings(host.max_jobs, host.gpus)
            self.hello = self.call(messages.Hello(settings=settings))
        except BaseException:
            channel.close()
            raise

    def _is_outdated(self) -> bool:
        """Return whether another agent than ours serves there that we may replace; newer ones are left alone."""
        return self.hello.agent != bundle.content_hash() and _version(self.hello.version) <= _version(__version__)

    def _replace(self) -> None:
        """Have our own version take over; supervisors and their jobs are not touched."""
        self.call(messages.Shutdown(replace=True))
        self._rpc.wait_for_end(10.0)
        self._start()


class _Alone:
    """The one channel of a connection, which ends with it."""

    def __init__(self, channel: Channel, transport: Transport) -> None:
        self._channel, self._transport = channel, transport

    def __getattr__(self, name: str) -> Any:
        return getattr(self._channel, name)

    def close(self) -> None:
        self._channel.close()
        self._transport.close()


class Promise(Generic[A]):
    """An answer that is still to come."""

    def __init__(self, kind: type[A], none_came: str, give_up: Callable[[], None]) -> None:
        """Promise.

        Args:
            kind: what the answer is.
            none_came: what to say when none comes.
            give_up: called then, to end the connection: who does not answer has gone.
        """
        self._kind = kind
        self._none_came = none_came
        self._give_up = give_up
        self._arrived = threading.Event()
        self._value: tuple[A, bytes]
        self._error: FoundationsError | None = None

    def get(self, timeout: float = 60.0) -> tuple[A, bytes]:
        """Return (the answer, the bytes that came with it).

        Raises:
            HostUnreachable: none came in time. FoundationsError: the agent's refusal.
        """
        if not self._arrived.wait(timeout):
            self._give_up()
            raise HostUnreachable(f"{self._none_came} within {timeout:.0f} s")
        if self._error is not None:
            raise self._error
        return self._value

    def put(self, value: Any, blob: bytes) -> None:
        """Keep the promise with what came.

        Raises:
            BadRequest: it makes no sense.
        """
        self._value = (messages.answer_from_wire(self._kind, value, blob), blob)
        self._arrived.set()

    def fail(self, error: FoundationsError) -> None:
        """Break the promise."""
        self._error = error
        self._arrived.set()


class _Rpc:
    """Requests with ids on one channel; a thread takes the answers in."""

    def __init__(self, channel: Channel, host: str) -> None:
        self._channel = channel
        self._host = host
        self._ids = itertools.count(1)
        self._lock = threading.Lock()
        """Guards what waits; never held while sending: the reader needs it to go on reading."""
        self._sending = threading.Lock()
        self._waiting: dict[int, tuple[Promise[Any], str]] = {}
        """What was promised, and to which request."""
        self.problem: FoundationsError | None = None
        self._reader = threading.Thread(target=self._read, name=f"agent {host}", daemon=True)
        self._reader.start()

    def ask(self, request: Request[A], blob: bytes) -> Promise[A]:
        method = request.METHOD
        answer: Promise[A] = Promise(
            cast("type[A]", request.ANSWER), f"{self._host}: no answer to {method!r}", self.close
        )
        number = next(self._ids)
        try:
            frame = framing.encode(framing.request(number, method, request.to_wire()), blob)
        except ProtocolError as error:
            raise UsageError(f"{self._host}: {method}: {error}") from None
        with self._lock:
            if self.problem is not None:
                raise self._lost(str(self.problem)) if isinstance(self.problem, HostUnreachable) else self.problem
            self._waiting[number] = (answer, method)
        with self._sending:
            self._send(frame)
        return answer

    def wait_for_end(self, timeout: float) -> None:
        self._reader.join(timeout)
        self.close()

    def close(self) -> None:
        self._end(self._lost("closed"))
        self._channel.close()

    def _send(self, data: bytes) -> None:
        try:
            self._channel.send(data)
        except (OSError, HostUnreachable) as error:
            raise self._lost(str(error)) from None

    def _read(self) -> None:
        reader = framing.FrameReader()
        try:
            while data := self._channel.recv(1 << 18):
                for frame in reader.feed(data):
                    self._take(frame)
            words = self._channel.errors().strip().splitlines()[-1:]
            self._end(self._lost("the connection ended" + (f"; it said: {words[0].strip()[:300]}" if words else "")))
        except (OSError, ProtocolError, EOFError) as error:
            self._end(self._lost(str(error)))
        except Exception as error:
            self._end(self._lost(f"an answer that makes no sense: {error!r}"))

    def _take(self, frame: framing.Frame) -> None:
        message = frame.message
        number = message.get("id")
        error = message.get("error")
        refused = refusal(self._host, error) if error is not None else None
        if number == 0 and refused is not None:  # the proxy's own word: there is no agent to speak for itself
            self._end(refused)
            return
        if type(number) is not int or number == 0:
            raise ProtocolError("an answer that makes no sense: nobody can have asked for it")
        with self._lock:
            answer, method = self._waiting.pop(number, (None, ""))
        if answer is None:
            return
        if refused is not None:
            return answer.fail(refused)
        try:
            answer.put(message.get("result"), frame.blob)
        except (BadRequest, ValueError, RecursionError) as wrong:
            answer.fail(HostRefused(f"{self._host}: its answer to {method!r} makes no sense: {wrong}"))

    def _end(self, problem: FoundationsError) -> None:
        with self._lock:
            self.problem = self.problem or problem
            waiting, self._waiting = self._waiting, {}
        for answer, _ in waiting.values():
            answer.fail(problem)

    def _lost(self, words: str) -> HostUnreachable:
        prefix = f"{self._host}: the connection was lost"
        return HostUnreachable(words if words.startswith(prefix) else f"{prefix} ({words})")


def refusal(host: str, error: Any) -> FoundationsError:
    """Return a host's refusal as a FoundationsError.

    Args:
        host: its name.
        error: the refusal as it came: "code" and "message".
    """
    try:
        messages.REFUSAL(error, "a refusal")
    except BadRequest:
        return HostRefused(f"{host}: it refused, and its reason makes no sense")
    kind: Callable[[str], FoundationsError] = _ERRORS.get(error["code"], HostRefused)
    return kind(f"{host}: {error['message']}")


def _python_of(host: HostConfig) -> str:
    """Return the interpreter for the agent; on this machine our own."""
    return host.python or (sys.executable if host.is_local else "")


def _version(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in text.split(".") if part.isascii() and part.isdigit() and len(part) < 10)
