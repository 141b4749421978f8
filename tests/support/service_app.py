"""A server for tests of services, standard library only: it is copied into a project and served as it is.

    python service_app.py PORT | SOCKET [--bind ADDRESS]

It answers who it is; ``/hang`` makes it answer nothing any more, ``/exit`` ends it.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import socketserver
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler
from typing import Any

hung = threading.Event()
unready = threading.Event()
left: list[str] = []
"""Streams whose reader has gone before their end."""


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def address_string(self) -> str:
        return "somebody"

    def do_GET(self) -> None:  # noqa: N802 - the library's name
        if hung.is_set():
            time.sleep(3600)
        if self.path == "/health":
            self.answer(503 if unready.is_set() else 200, {})
        elif self.path == "/hang":
            self.answer(200, {})
            hung.set()
        elif self.path == "/unready":
            unready.set()
            self.answer(200, {})
        elif self.path == "/exit":
            os._exit(7)
        elif self.path == "/left":
            self.answer(200, {"left": left})
        elif self.path.startswith("/stream"):
            self.stream()
        elif self.path == "/echo" and self.headers["Upgrade"]:
            self.upgrade()
        else:
            self.answer(200, self.who())

    def do_HEAD(self) -> None:  # noqa: N802
        self.send_response(200)
        self.send_header("Content-Length", "5")
        self.end_headers()

    def do_POST(self) -> None:  # noqa: N802
        if self.path == "/both":
            return self.both()
        if self.path == "/early":
            self.close_connection = True
            return self.answer(413, {"error": "too large"})
        body = self.body()
        self.answer(200, {"bytes": len(body), "sha256": hashlib.sha256(body).hexdigest(), **self.who()})

    def who(self) -> dict[str, Any]:
        names = ("REVISION", "FOUNDATIONS_ATTEMPT", "FOUNDATIONS_SERVICE", "HF_TOKEN")
        env = {name: os.environ.get(name) for name in names}
        is_ours = self.headers["Authorization"] == f"Bearer {os.environ.get('FOUNDATIONS_SERVICE_TOKEN')}"
        return {"pid": os.getpid(), "path": self.path, "token_is_right": is_ours, **env}

    def body(self) -> bytes:
        if self.headers["Transfer-Encoding"] != "chunked":
            return self.rfile.read(int(self.headers["Content-Length"] or 0))
        data = b""
        while size := int(self.rfile.readline(), 16):
            data += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return data

    def answer(self, status: int, words: dict[str, Any]) -> None:
        data = json.dumps(words).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def both(self) -> None:
        """Send back what comes, while it comes."""
        left = int(self.headers["Content-Length"])
        self.send_response(200)
        self.send_header("Content-Length", str(left))
        self.end_headers()
        while left:
            data = self.rfile.read1(min(left, 65536))
            self.wfile.write(data)
            left -= len(data)

    def stream(self) -> None:
        """Send an event every 0.2 s; of ``/stream?N`` so many."""
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        try:
            for number in range(int(self.path.partition("?")[2] or 5)):
                event = f"data: {number}\n\n".encode()
                self.wfile.write(b"%x\r\n%s\r\n" % (len(event), event))
                self.wfile.flush()
                time.sleep(0.2)
            self.wfile.write(b"0\r\n\r\n")
        except OSError:
            left.append(self.path)
            self.close_connection = True

    def upgrade(self) -> None:
        """Echo bytes, as another protocol would."""
        accept = base64.b64encode(hashlib.sha1(self.headers["Upgrade"].encode()).digest()).decode()
        self.send_response(101)
        self.send_header("Upgrade", self.headers["Upgrade"])
        self.send_header("Connection", "Upgrade")
        self.send_header("X-Accept", accept)
        self.end_headers()
        while data := self.connection.recv(4096):
            self.connection.sendall(data.upper())
        self.close_connection = True


class TcpHandler(Handler):
    disable_nagle_algorithm = True


class Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True
    request_queue_size = 128


class UnixServer(socketserver.ThreadingUnixStreamServer):
    daemon_threads = True
    request_queue_size = 128


def main() -> None:
    place = sys.argv[1]
    address = sys.argv[3] if sys.argv[2:3] == ["--bind"] else "127.0.0.1"
    print("listening", flush=True)
    if place.isdigit():
        Server((address, int(place)), TcpHandler).serve_forever()
    else:
        UnixServer(place, Handler).serve_forever()


if __name__ == "__main__":
    main()
