"""TLS over a socket that one thread reads while another one writes, which Python's own does not allow."""

from __future__ import annotations

import socket
import ssl
import threading
from typing import Optional

_READ_BYTES = 64 << 10
_HANDSHAKE_SECONDS = 10.0


class TlsContext:
    """A certificate with its key."""

    def __init__(self, certificate: str, key: str) -> None:
        """Read them.

        Args:
            certificate: path of a PEM file: the server's certificate, then those that vouch for it.
            key: path of its private key, a PEM file without a passphrase.
        Raises:
            OSError: they cannot be read, or do not belong together (``ssl.SSLError`` is one).
        """
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.minimum_version = ssl.TLSVersion.TLSv1_2
        self._context.set_alpn_protocols(["http/1.1"])
        self._context.load_cert_chain(certificate, key, password=_no_passphrase)

    def accept(self, connection: socket.socket) -> "TlsConnection":
        """Return the encrypted side of a connection, its handshake done.

        Raises:
            OSError: the other side does not speak TLS.
        """
        connection.settimeout(_HANDSHAKE_SECONDS)
        encrypted = TlsConnection(connection, self._context)
        encrypted.handshake()
        return encrypted


def _no_passphrase() -> str:
    raise OSError("the key has a passphrase: nobody is there to type it")


class TlsConnection:
    """What the front needs of a socket, encrypted."""

    def __init__(self, connection: socket.socket, context: ssl.SSLContext) -> None:
        self._socket = connection
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_side=True)
        self._lock = threading.Lock()
        """Guards the state of TLS; never held while something is waited for."""
        self._sending = threading.Lock()
        """Keeps what is sent in order."""

    def handshake(self) -> None:
        """Agree on how to encrypt.

        Raises:
            OSError: the other side does not speak TLS.
        """
        while True:
            try:
                with self._lock:
                    self._tls.do_handshake()
            except ssl.SSLWantReadError:
                self._flush()
                if not self._receive():
                    raise OSError("the connection was closed before it was encrypted") from None
                continue
            return self._flush()

    def recv(self, size: int) -> bytes:
        """Return what has arrived, at most ``size`` bytes; empty at the end."""
        while True:
            try:
                with self._lock:
                    return self._tls.read(size)
            except ssl.SSLWantReadError:
                self._flush()
                if not self._receive():
                    return b""
            except (ssl.SSLZeroReturnError, ssl.SSLEOFError):
                return b""

    def sendall(self, data: bytes) -> None:
        """Send all of the data."""
        with self._sending:
            with self._lock:
                self._tls.write(data)
                encrypted = self._outgoing.read()
            self._socket.sendall(encrypted)

    def settimeout(self, seconds: Optional[float]) -> None:
        """Bound the next calls; None for no bound."""
        self._socket.settimeout(seconds)

    def fileno(self) -> int:
        """Return a descriptor that is readable when something has arrived."""
        return self._socket.fileno()

    def shutdown(self, how: int) -> None:
        """Say that nothing more is sent, or end it."""
        if how == socket.SHUT_WR:
            try:
                with self._lock:
                    self._tls.unwrap()
            except ssl.SSLError:
                pass  # the other side has not said so, too
            self._flush()
        self._socket.shutdown(how)

    def close(self) -> None:
        """End it."""
        self._socket.close()

    def _receive(self) -> bool:
        """Take in what has come, encrypted; return False at the end."""
        data = self._socket.recv(_READ_BYTES)
        with self._lock:
            if data:
                self._incoming.write(data)
            else:
                self._incoming.write_eof()
        return bool(data)

    def _flush(self) -> None:
        """Send what TLS itself has to say."""
        with self._sending:
            with self._lock:
                data = self._outgoing.read()
            if data:
                self._socket.sendall(data)
