"""A package index of a test's own: PEP 503 pages over loopback, with packages that are made here.

It may ask for a password, answer slowly, gain releases, and be closed.
"""

from __future__ import annotations

import base64
import hashlib
import html
import io
import ssl
import tarfile
import threading
import time
import zipfile
from collections.abc import Iterable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path


class Index:
    """Serves until it is closed."""

    def __init__(self, password: str = "", certificate: Path | None = None) -> None:
        """Serve.

        Args:
            password: see below.
            certificate: a file with key and certificate, for https.
        """
        self.password = password
        """Who asks has to say it, when there is one; the user is "reader"."""
        self.delay = 0.0
        """Seconds before each package is sent."""
        self.files_are_gone = False
        """Whether the pages name files that are not there."""
        self.asked: list[str] = []
        """Paths that were asked for."""
        self._files: dict[str, dict[str, bytes]] = {}
        index = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                index.answer(self)

            def do_HEAD(self) -> None:
                index.answer(self)

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._scheme = "http"
        if certificate is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(certificate)
            self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
            self._scheme = "https"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    @property
    def url(self) -> str:
        """Return the URL that pip and uv are given; with the password, where there is one."""
        who = f"reader:{self.password}@" if self.password else ""
        return f"{self._scheme}://{who}127.0.0.1:{self._server.server_address[1]}/simple"

    def close(self) -> None:
        """Stop serving."""
        self._server.shutdown()
        self._server.server_close()

    def answer(self, request: BaseHTTPRequestHandler) -> None:
        """Answer one request."""
        self.asked.append(request.path)
        wanted = "Basic " + base64.b64encode(f"reader:{self.password}".encode()).decode()
        if self.password and request.headers.get("Authorization") != wanted:
            request.send_response(401)
            request.send_header("WWW-Authenticate", 'Basic realm="packages"')
            request.end_headers()
            return
        parts = [part for part in request.path.split("/") if part]
        body, kind = None, "text/html"
        if len(parts) == 2 and parts[0] == "simple" and parts[1] in self._files:
            body = self._page(parts[1]).encode()
        elif len(parts) == 3 and parts[0] == "files":
            time.sleep(self.delay)
            there = {} if self.files_are_gone else self._files.get(parts[1], {})
            body, kind = there.get(parts[2]), "application/octet-stream"
        request.send_response(200 if body is not None else 404)
        request.send_header("Content-Type", kind)
        request.send_header("Content-Length", str(len(body or b"")))
        request.end_headers()
        if request.command != "HEAD":
            request.wfile.write(body or b"")

    def _page(self, name: str) -> str:
        links = [
            f'<a href="/files/{name}/{html.escape(file)}#sha256={hashlib.sha256(content).hexdigest()}">{file}</a>'
            for file, content in self._files[name].items()
        ]
        return "<!DOCTYPE html><html><body>" + "".join(links) + "</body></html>"

    def add(self, name: str, version: str, needs: Iterable[str] = (), code: str = "") -> None:
        """Add a wheel of a package whose ``VERSION`` is its version."""
        module = name.replace("-", "_")
        info = f"{module}-{version}.dist-info"
        lines = ["Metadata-Version: 2.1", f"Name: {name}", f"Version: {version}"]
        lines += [f"Requires-Dist: {need}" for need in needs]
        files = {
            f"{module}/__init__.py": f"VERSION = {version!r}\n{code}",
            f"{info}/METADATA": "\n".join([*lines, "", ""]),
            f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
            f"{info}/entry_points.txt": f"[console_scripts]\n{name} = {module}:main\n",
        }
        record = "".join(f"{path},,\n" for path in [*files, f"{info}/RECORD"])
        data = io.BytesIO()
        with zipfile.ZipFile(data, "w") as wheel:
            for path, text in {**files, f"{info}/RECORD": record}.items():
                wheel.writestr(path, text)
        self._files.setdefault(name, {})[f"{module}-{version}-py3-none-any.whl"] = data.getvalue()

    def drop(self, name: str, version: str) -> None:
        """Take a release away."""
        files = self._files[name]
        for file in [file for file in files if f"-{version}-" in file]:
            del files[file]

    def add_source(self, name: str, version: str) -> None:
        """Add a source distribution, for which there is no wheel; it needs nothing to be built but Python."""
        module = name.replace("-", "_")
        top = f"{module}-{version}"
        files = {
            f"{top}/PKG-INFO": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n",
            f"{top}/pyproject.toml": '[build-system]\nrequires = []\nbuild-backend = "backend"\nbackend-path = ["."]\n',
            f"{top}/{module}.py": f"VERSION = {version!r}\n",
            f"{top}/backend.py": _BACKEND.format(name=name, module=module, version=version),
        }
        data = io.BytesIO()
        with tarfile.open(fileobj=data, mode="w:gz") as archive:
            for path, text in files.items():
                member = tarfile.TarInfo(path)
                member.size = len(text.encode())
                archive.addfile(member, io.BytesIO(text.encode()))
        self._files.setdefault(name, {})[f"{module}-{version}.tar.gz"] = data.getvalue()


_BACKEND = """
import os, zipfile

def build_wheel(folder, config_settings=None, metadata_directory=None):
    file = "{module}-{version}-py3-none-any.whl"
    info = "{module}-{version}.dist-info"
    with zipfile.ZipFile(os.path.join(folder, file), "w") as wheel:
        wheel.write("{module}.py", "{module}.py")
        wheel.writestr(info + "/METADATA", "Metadata-Version: 2.1\\nName: {name}\\nVersion: {version}\\n")
        wheel.writestr(info + "/WHEEL", "Wheel-Version: 1.0\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n")
        wheel.writestr(info + "/RECORD", "{module}.py,,\\n")
    return file
"""
