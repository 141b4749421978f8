"""An HTTP/1.1 server that passes each request on to the replica of a service with the least to do.

A thread serves one connection. Bodies pass as they come, in both directions; a connection that is upgraded (WebSocket)
passes unread. A request is sent to another replica only as long as no byte of it went out. RFC 9110 and 9112 say which
headers are the connection's own.
"""

from __future__ import annotations

import contextlib
import json
import select
import socket
import threading
import time
from typing import Callable, Dict, Iterable, List, Optional, Tuple, Union

import h11

from foundations_serve.front.listener import Connection, Listener
from foundations_serve.front.pool import Key, NoReplica, Pool, Upstream

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Protocol

    from foundations_serve.front.pool import Stream

    class Gate(Protocol):
        """Who may pass."""

        is_token_replaced: bool
        """Whether what a request says of who sends it was meant for the gate, and the replicas' token goes on."""

        def why_not(self, request: h11.Request) -> Tuple[int, str]:
            """Return the status and the words with which a request is refused; 0 where it passes."""


_READ_BYTES = 64 << 10
_CLIENT_SECONDS = 75.0
"""How long a client's connection is kept without a request, and how long it may take nothing of what is sent."""
_LOOK_SECONDS = 0.5
"""Between two looks whether a client is still there that is sending."""
_SLOW_SECONDS = 300.0
"""How long a replica may take or send nothing: it may be busy."""
_LAST_PIECE = 0.05
"""Seconds that the end of a request may take which was answered already."""
_AGAIN = 0.2
"""Seconds until a connection to a replica is tried again that could not be made."""
_LINGER_SECONDS, _LINGER_BYTES = 2.0, 1 << 20
"""What is still taken of a client that sends on although it was answered: else the answer would be lost with it."""
_LARGEST_HEAD = 64 << 10
_HOP_BY_HOP = {
    *(b"connection", b"keep-alive", b"proxy-authenticate", b"proxy-authorization", b"proxy-connection"),
    *(b"te", b"trailer", b"transfer-encoding", b"upgrade"),
}
"""RFC 9110, section 7.6.1."""
_NEVER_HOP_BY_HOP = {b"host", b"content-length", b"authorization"}
"""Whatever a Connection header says of them."""
Headers = List[Tuple[bytes, bytes]]
Side = Union["Stream", Connection]


class Proxy:
    """Serves a port."""

    def __init__(
        self,
        pool: Pool,
        listen: "Callable[[Callable[[Connection], None], Callable[[Connection, str], None]], Listener]",
        gate: "Callable[[int], Gate]",
    ) -> None:
        """Listen; ``close`` ends it.

        Args:
            pool: knows the replicas.
            listen: makes the listener, of what serves a connection and what refuses one.
            gate: makes what says who may pass, of the port.
        Raises:
            OSError: the port is taken.
        """
        self._pool = pool
        self._is_open = threading.Event()
        self._listener = listen(self._serve, self._refuse)
        self.port = self._listener.port
        self._gate = gate(self.port)
        self._is_open.set()

    def close(self) -> None:
        """End it, and all that passes."""
        self._listener.close()

    def _serve(self, connection: Connection) -> None:
        self._is_open.wait()
        connection.settimeout(_CLIENT_SECONDS)
        try:
            _Client(connection, self._pool, self._gate).serve()
            _linger(connection)
        except h11.ProtocolError:
            pass  # it speaks no HTTP

    def _refuse(self, connection: Connection, why: str) -> None:
        self._is_open.wait()
        connection.settimeout(_CLIENT_SECONDS)
        _Client(connection, self._pool, self._gate).refuse(503, why)
        _linger(connection)


class _ClientGone(Exception):
    """The client has closed its connection while it was waiting."""


class _UpstreamFailed(Exception):
    """A replica took no request, or broke off."""


class _Client:
    """One connection of a client."""

    def __init__(self, connection: Connection, pool: Pool, gate: "Gate") -> None:
        self._socket = connection
        self._pool = pool
        self._gate = gate
        self._http = h11.Connection(h11.SERVER, max_incomplete_event_size=_LARGEST_HEAD)

    def serve(self) -> None:
        """Pass requests on until the connection ends."""
        while True:
            try:
                request = self._next_event()
            except h11.RemoteProtocolError as error:
                return self.refuse(error.error_status_hint, "this is no HTTP request")
            if not isinstance(request, h11.Request):
                return
            if not self._pass_on(request):
                return
            if self._http.our_state is not h11.DONE or self._http.their_state is not h11.DONE:
                return
            self._http.start_next_cycle()

    def _pass_on(self, request: h11.Request) -> bool:
        """Pass one request on and its answer back; return whether the connection goes on."""
        status, why_not = self._gate.why_not(request)
        if status:
            self.refuse(status, why_not)
            return False
        try:
            upstream, stream = self._begun()
        except NoReplica as error:
            self.refuse(503, str(error))
            return False
        try:
            return self._exchange(request, upstream, stream)
        except _UpstreamFailed as error:
            if self._http.our_state is h11.SEND_RESPONSE:
                self.refuse(502, f"the replica broke off: {error}")
            return False
        except _ClientGone:
            return False
        finally:
            self._pool.give_back(upstream)

    def _begun(self) -> "Tuple[Upstream, Stream]":
        """Return a replica and a connection to it; those that take none are passed over, and tried again later.

        Raises:
            NoReplica: none took one in time.
        """
        deadline = time.monotonic() + self._pool.patience
        tried: List[Key] = []
        why = ""
        while True:
            left = max(0.0, deadline - time.monotonic())
            try:
                upstream = self._pool.take(min(left, _AGAIN) if tried else left, tried)
            except NoReplica as error:
                if not tried or not left:
                    raise NoReplica(why or str(error)) from None
                tried = []  # the same once more: it may have begun again
                continue
            try:
                return upstream, self._connection(upstream)
            except OSError as error:
                why = str(error)
                self._pool.give_back(upstream)
                self._pool.look_again()
                tried.append(upstream.key)

    def _connection(self, upstream: Upstream) -> "Stream":
        """Return a connection to a replica that it has not closed meanwhile.

        Raises:
            OSError: nothing takes it there.
        """
        while True:
            stream, was_used = self._pool.connection(upstream)
            if not was_used or not readable([stream], 0):
                return stream
            stream.close()

    def _exchange(self, request: h11.Request, upstream: Upstream, stream: "Stream") -> bool:
        """Exchange a request and its answer on a connection to a replica; return whether the client's goes on.

        Raises:
            _UpstreamFailed: it broke off. _ClientGone: nobody waits for the answer any more.
        """
        stream.settimeout(_SLOW_SECONDS)
        exchange = _Exchange(self._socket, self._http, stream, self._pool.token, self._gate.is_token_replaced)
        keeps = False
        try:
            keeps = exchange.run(request)
            return exchange.goes_on
        except h11.ProtocolError:
            raise _UpstreamFailed("its answer is no HTTP, or is not whole") from None
        except EOFError as error:
            raise _UpstreamFailed(str(error) or "it closed the connection") from None
        finally:
            if keeps:
                self._pool.keep(upstream, stream)
            else:
                stream.close()

    def _next_event(self) -> object:
        while True:
            event = self._http.next_event()
            if event is not h11.NEED_DATA:
                return event
            self._http.receive_data(self._socket.recv(_READ_BYTES))

    def refuse(self, status: int, words: str) -> None:
        """Answer a request ourselves, and end the connection."""
        if self._http.our_state not in (h11.IDLE, h11.SEND_RESPONSE):
            return
        body = json.dumps({"error": words}).encode() + b"\n"
        headers: Headers = [
            (b"Content-Type", b"application/json"),
            (b"Content-Length", str(len(body)).encode()),
            (b"Connection", b"close"),
        ]
        headers += [(b"Retry-After", b"2")] if status == 503 else []
        headers += [(b"WWW-Authenticate", b"Bearer")] if status == 401 else []
        for event in (h11.Response(status_code=status, headers=headers), h11.Data(data=body), h11.EndOfMessage()):
            self._socket.sendall(self._http.send(event) or b"")


class _Exchange:
    """One request and its answer, between a client and a replica: both go on at once."""

    def __init__(
        self, client: Connection, http: h11.Connection, stream: "Stream", token: str, is_token_replaced: bool
    ) -> None:
        self._client, self._down = client, http
        self._stream = stream
        self._up = h11.Connection(h11.CLIENT, max_incomplete_event_size=_LARGEST_HEAD)
        self._lock = threading.Lock()
        """Guards the states of both connections: a body is sent by a thread of its own."""
        self._token = token
        self._is_token_replaced = is_token_replaced
        self.goes_on = False
        """Whether the client may send a further request."""
        self._is_upgrade = False
        self._keeps = True
        """Whether the replica's connection may be used again."""
        self._sent_all = self._answered = self._client_has_gone = False
        self._for_replica: List[bytes] = []
        self._for_client: List[bytes] = []
        """What is to be sent: a head goes with the beginning of its body, so that nobody is woken twice."""

    def run(self, request: h11.Request) -> bool:
        """Pass the request on and the answer back, as they come; return whether the replica's connection can be kept.

        Raises:
            _UpstreamFailed, EOFError, h11.RemoteProtocolError: the replica broke off. _ClientGone: the client has gone.
        """
        named = by_name(request.headers)
        self._is_upgrade = _is_upgrade(named)
        self._to_replica(self._head_for_replica(request, named))
        self._pass_body()
        uploader = None
        if not self._sent_all:
            uploader = threading.Thread(target=self._upload, daemon=True)
            uploader.start()
        while not self._answered:
            readable_now = self._wait()
            if self._stream in readable_now:
                self._take_answer()
            elif self._client_has_gone or (self._client in readable_now and not self._take_more()):
                raise _ClientGone
        if self._up.our_state is h11.SWITCHED_PROTOCOL:
            self._bridge()
            return False
        if uploader is not None:
            uploader.join(_LAST_PIECE)
            if uploader.is_alive() or not self._sent_all:
                return False  # it was answered before it was sent
        self.goes_on = self._down.our_state is h11.DONE and self._down.their_state is h11.DONE
        return self._keeps and self._up.our_state is h11.DONE and self._up.their_state is h11.DONE

    def _wait(self) -> List[Side]:
        """Wait until something comes; of a client that has sent all, that is its end, or its next request."""
        if not self._sent_all:
            return readable([self._stream], _LOOK_SECONDS)
        may_read = self._down.trailing_data[0] == b""
        return readable([self._stream, *([self._client] if may_read else [])])

    # --- the request ----------------------------------------------------------------------------------------------

    def _head_for_replica(self, request: h11.Request, named: Dict[bytes, bytes]) -> h11.Request:
        headers = _end_to_end(request.headers, named)
        if self._is_upgrade:
            headers += [(b"connection", b"upgrade"), (b"upgrade", named[b"upgrade"])]
        elif b"transfer-encoding" in named:
            self._keeps = b"content-length" not in named  # of two, chunks count: RFC 9112, section 6.3
            headers = [pair for pair in headers if pair[0] != b"content-length"]
            headers.append((b"transfer-encoding", b"chunked"))
        if self._is_token_replaced:
            headers = [pair for pair in headers if pair[0] != b"authorization"]
        if self._token and (self._is_token_replaced or b"authorization" not in named):
            headers.append((b"authorization", b"Bearer " + self._token.encode("ascii")))
        return h11.Request(method=request.method, target=request.target, headers=headers)

    def _to_replica(self, event: h11.Event) -> None:
        with self._lock:
            self._for_replica.append(self._up.send(event) or b"")

    def _send_to_replica(self) -> None:
        data, self._for_replica = b"".join(self._for_replica), []
        if data:
            try:
                self._stream.sendall(data)
            except OSError as error:
                raise EOFError(str(error)) from None

    def _upload(self) -> None:
        """Pass the rest of the request on; what the replica does not take any more, its answer explains."""
        try:
            while not self._sent_all and not self._answered:
                data = self._client.recv(_READ_BYTES)
                with self._lock:
                    self._down.receive_data(data)
                if not data:
                    self._client_has_gone = True
                    return
                self._pass_body()
        except (_ClientGone, OSError):
            self._client_has_gone = True
        except (EOFError, h11.ProtocolError):
            return

    def _pass_body(self) -> None:
        """Pass on what has come of the request, with what stands before it."""
        self._read_body()
        self._send_to_replica()

    def _read_body(self) -> None:
        while not self._sent_all:
            try:
                with self._lock:
                    event = self._down.next_event()
                    continues = event is h11.NEED_DATA and self._down.they_are_waiting_for_100_continue
            except h11.RemoteProtocolError:
                raise _ClientGone from None
            if continues:
                self._to_client(h11.InformationalResponse(status_code=100, headers=[]))
                self._send_to_client()
            if event is h11.NEED_DATA:
                return
            if isinstance(event, h11.Data):
                self._to_replica(h11.Data(data=event.data))
            elif isinstance(event, h11.EndOfMessage):
                self._to_replica(h11.EndOfMessage())
                self._sent_all = True
            else:
                raise _ClientGone

    def _take_more(self) -> bool:
        """Take what a client sends that has sent all: it is early with its next request; return False at its end."""
        try:
            data = self._client.recv(_READ_BYTES)
        except OSError:
            return False
        self._down.receive_data(data)
        return bool(data)

    # --- the answer -----------------------------------------------------------------------------------------------

    def _take_answer(self) -> None:
        """Pass on what has come of the answer."""
        try:
            data = self._stream.recv(_READ_BYTES)
        except OSError as error:
            raise EOFError(str(error)) from None
        with self._lock:
            self._up.receive_data(data)
        try:
            self._read_answer()
        finally:
            self._send_to_client()

    def _read_answer(self) -> None:
        while not self._answered:
            with self._lock:
                event = self._up.next_event()
            if event is h11.NEED_DATA:
                return
            if isinstance(event, h11.InformationalResponse):
                self._inform(event)
            elif isinstance(event, h11.Response):
                self._to_client(self._head_for_client(event))
            elif isinstance(event, h11.Data):
                self._to_client(h11.Data(data=event.data))
            elif isinstance(event, h11.EndOfMessage):
                self._to_client(h11.EndOfMessage())
                self._answered = True
            else:
                raise EOFError

    def _head_for_client(self, event: h11.Response) -> h11.Response:
        """Return the head of an answer; h11 says how the body's end is seen, where no length does."""
        named = by_name(event.headers)
        headers = _end_to_end(event.headers, named)
        if b"transfer-encoding" in named:
            self._keeps = self._keeps and b"content-length" not in named
            headers = [pair for pair in headers if pair[0] != b"content-length"]
        if not self._sent_all:
            headers.append((b"connection", b"close"))
        reason = bytes(event.reason) if all(32 <= byte < 127 for byte in event.reason) else b""
        return h11.Response(status_code=event.status_code, reason=reason, headers=headers)

    def _inform(self, event: h11.InformationalResponse) -> None:
        if event.status_code == 101:
            named = by_name(event.headers)
            headers = _end_to_end(event.headers, named)
            headers += [(b"connection", b"upgrade"), (b"upgrade", named.get(b"upgrade", b""))]
            self._to_client(h11.InformationalResponse(status_code=101, headers=headers))
            self._answered = True
        elif event.status_code != 100:
            headers = _end_to_end(event.headers, by_name(event.headers))
            self._to_client(h11.InformationalResponse(status_code=event.status_code, headers=headers))

    def _to_client(self, event: h11.Event) -> None:
        with self._lock:
            self._for_client.append(self._down.send(event) or b"")

    def _send_to_client(self) -> None:
        with self._lock:
            data, self._for_client = b"".join(self._for_client), []
        if data:
            try:
                self._client.sendall(data)
            except OSError:
                raise _ClientGone from None

    def _bridge(self) -> None:
        """Pass all bytes as they are: the protocol is another one now."""
        early_down, early_up = self._down.trailing_data[0], self._up.trailing_data[0]
        if early_up:
            self._client.sendall(early_up)
        if early_down:
            self._stream.sendall(early_down)
        bridge(self._client, self._stream)


def bridge(client: Connection, stream: "Stream") -> None:
    """Pass bytes both ways until both sides have ended, or one is gone: each way by a thread of its own."""
    client.settimeout(None)
    stream.settimeout(None)

    def answer() -> None:
        try:
            while data := stream.recv(_READ_BYTES):
                client.sendall(data)
            client.shutdown(socket.SHUT_WR)
        except OSError:
            with contextlib.suppress(OSError):
                client.shutdown(socket.SHUT_RDWR)  # who sends learns of it, too

    answers = threading.Thread(target=answer, daemon=True)
    answers.start()
    try:
        while data := client.recv(_READ_BYTES):
            stream.sendall(data)
        stream.end_input()
    except OSError:
        stream.close()
    answers.join()


def readable(sides: Iterable[Side], seconds: Optional[float] = None) -> List[Side]:
    """Return those of which something can be read, or their end.

    Args:
        sides: which; there may be more than 1024 descriptors.
        seconds: how long to wait for one; None for as long as it takes.
    """
    by_descriptor = {side.fileno(): side for side in sides}
    poll = select.poll()
    for descriptor in by_descriptor:
        poll.register(descriptor, select.POLLIN)
    ready = poll.poll(None if seconds is None else seconds * 1000)
    return [by_descriptor[descriptor] for descriptor, _ in ready]


def _linger(client: Connection) -> None:
    """Say that nothing more comes, and take a little of what a client still sends: a reset could cost it the answer."""
    client.shutdown(socket.SHUT_WR)
    deadline, taken = time.monotonic() + _LINGER_SECONDS, 0
    while taken < _LINGER_BYTES and (left := deadline - time.monotonic()) > 0:
        client.settimeout(left)
        data = client.recv(_READ_BYTES)
        if not data:
            return
        taken += len(data)


def by_name(headers: Iterable[Tuple[bytes, bytes]]) -> Dict[bytes, bytes]:
    """Return headers by name, the values of one name joined: RFC 9110, section 5.3."""
    named: Dict[bytes, bytes] = {}
    for name, value in headers:
        named[name] = named[name] + b", " + value if name in named else value
    return named


def _is_upgrade(named: Dict[bytes, bytes]) -> bool:
    words = {word.strip().lower() for word in named.get(b"connection", b"").split(b",")}
    return b"upgrade" in words and b"upgrade" in named


def _end_to_end(headers: Iterable[Tuple[bytes, bytes]], named: Dict[bytes, bytes]) -> Headers:
    """Return the headers that are not the connection's own.

    Args:
        headers: all of them.
        named: the same by name.
    """
    own = _HOP_BY_HOP
    if b"connection" in named:
        words = {word.strip().lower() for word in named[b"connection"].split(b",")}
        own = own | (words - _NEVER_HOP_BY_HOP)
    return [(name, value) for name, value in headers if name not in own]
