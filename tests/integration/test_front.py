"""A front: replicas are reached without a laptop, by whoever has a token, also while they are replaced."""

from __future__ import annotations

import http.client
import json
import shutil
import socket
import ssl
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from remote_agent.system import sockets
from tests.integration.test_services import until
from tests.support import service_app
from tests.support.client import Client, use_slots
from tests.support.sshd import Sshd

QUICK = ("--probe-every", "0.3", "--probe-timeout", "2")
APP = ("python", "service_app.py", "{port}")


@pytest.fixture
def app(client: Client) -> Client:
    """A client with a server, and a Python that has h11."""
    client.env["PATH"] = f"{Path(sys.executable).parent}:{client.env['PATH']}"
    use_slots(client, 5)
    shutil.copy(service_app.__file__, client.project / "service_app.py")
    return client


def front(client: Client, *words: str) -> int:
    """Begin the front of a service; return its port."""
    port = sockets.free_port()
    client.run("serve", "--front", "api", "--listen", f"127.0.0.1:{port}", *words, *QUICK)
    return port


def get(port: int, token: str = "", context: ssl.SSLContext | None = None, path: str = "/") -> tuple[int, Any]:
    """Return status and JSON of an answer."""
    connection = (
        http.client.HTTPSConnection("localhost", port, timeout=20, context=context)
        if context
        else http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    )
    try:
        connection.request("GET", path, headers={"Authorization": f"Bearer {token}"} if token else {})
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read() or b"null")
    finally:
        connection.close()


@pytest.mark.rest
def test_people_pass_with_tokens_of_their_own_until_those_are_revoked(app: Client) -> None:
    app.run("serve", "api", *QUICK, "--token-env", "API_TOKEN", "--", *APP)
    port = front(app, "--plain-http")
    own = app.run("service", "token", "api").stdout.strip()
    ada = app.json_of("service", "token", "api", "add", "ada@lab", "--json")["token"]
    bob = app.run("service", "token", "api", "add", "bob").stdout.strip()
    assert len({own, ada, bob}) == 3
    assert app.run("service", "token", "api", "list").stdout.split() == ["ada@lab", "bob"]
    for token, expected in ((own, 200), (ada, 200), (bob, 200), ("", 401), ("wrong", 401), (own[:-1], 401), ("ä", 401)):
        status, body = get(port, token)
        assert status == expected, (token, body)
        if status == 401:
            assert "foundations service token" in body["error"]
    assert get(port, bob)[1]["token_is_right"] is True, "what a replica sees is the service's token"
    app.run("service", "token", "api", "revoke", "bob")
    assert (get(port, bob)[0], get(port, ada)[0]) == (401, 200)
    app.run("service", "token", "api", "revoke", "bob", code=3)
    for wrong in (("add",), ("add", "../x"), ("add", "a b"), ("list", "ada")):
        app.run("service", "token", "api", *wrong, code=2)
    kept = b"".join(path.read_bytes() for path in (app.home / "agent").rglob("*") if path.is_file())
    assert ada.encode() not in kept and bob.encode() not in kept, "only hashes are kept"


def test_a_front_is_not_begun_unprotected(app: Client) -> None:
    for words in (
        ("--front", "api"),
        ("--front", "api", "--listen", "0.0.0.0:8000"),
        ("--front", "api", "--listen", "8000", "--plain-http"),
        ("--front", "api", "--listen", "0.0.0.0:99999", "--plain-http"),
        ("--front", "api", "--listen", "0.0.0.0:8000", "--cert", "x.pem"),
        ("--front", "api", "--listen", "0.0.0.0:8000", "--cert", "x.pem", "--key", "x.pem", "--plain-http"),
        ("--listen", "0.0.0.0:8000", "--plain-http", "--", "true"),
        ("--front", "api", "--listen", "0.0.0.0:8000", "--plain-http", "--", "true"),
    ):
        app.run("serve", *words, code=2)
    assert app.json_of("service", "list", "--json") == []


@pytest.mark.rest
def test_requests_are_encrypted_streamed_and_never_lost_while_replicas_are_replaced(
    app: Client, tmp_path: Path
) -> None:
    cert, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    words = ["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost"]
    words += ["-addext", "subjectAltName=DNS:localhost", "-keyout", str(key), "-out", str(cert)]
    subprocess.run(["openssl", *words], check=True, capture_output=True)
    app.run("serve", "api", *QUICK, "--token-env", "API_TOKEN", "--replicas", "2", "--", *APP)
    port = front(app, "--cert", str(cert), "--key", str(key))
    token = app.run("service", "token", "api").stdout.strip()
    context = ssl.create_default_context(cafile=str(cert))
    assert get(port, token, context)[0] == 200
    with socket.create_connection(("127.0.0.1", port), 5) as plain:
        plain.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        assert not plain.recv(1000).startswith(b"HTTP"), "it answers nothing that is not encrypted"
    done, failed, count = threading.Event(), [], [0]

    def ask() -> None:
        while not done.is_set():
            try:
                status, _ = get(port, token, context)
                assert status == 200, status
                count[0] += 1
            except Exception as error:
                failed.append(error)

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    app.run("service", "roll", "api", "--wait")
    time.sleep(0.5)
    done.set()
    for thread in threads:
        thread.join()
    assert not failed, failed[:3]
    assert count[0] > 50
    app.run("service", "stop", "api")
    until(app, lambda now: not now["running"])
    status, body = get(port, token, context)
    assert (status, "0 of 0 replicas" in body["error"]) == (503, True)
    app.run("service", "scale", "api", "1")
    assert get(port, token, context)[0] == 200, "it waits for what begins again"


@pytest.mark.rest
def test_a_front_that_cannot_begin_says_why(app: Client) -> None:
    app.run("serve", "api", *QUICK, "--token-env", "API_TOKEN", "--", *APP)
    port = str(sockets.free_port())
    words = (
        "serve",
        "--front",
        "api",
        "--listen",
        f"127.0.0.1:{port}",
        "--cert",
        "/no/cert.pem",
        "--key",
        "/no/key.pem",
    )
    app.run(*words, *QUICK, "--detach")
    shown = until(app, lambda now: bool(now["running"] and now["running"][0]["failures"]), "api-front")
    assert "exit code 78" in shown["running"][0]["words"]
    assert "No such file" in app.run("logs", shown["running"][0]["job"]).stdout


@pytest.mark.rest
def test_a_front_over_ssh_needs_no_laptop(app: Client, sshd: Sshd) -> None:
    app.add_host("gpu1", sshd, python=sys.executable, max_jobs=4)
    app.run("serve", "api", "--host", "gpu1", *QUICK, "--token-env", "API_TOKEN", "--", *APP)
    port = front(app, "--plain-http", "--host", "gpu1")
    token = app.run("service", "token", "api").stdout.strip()
    sshd.cut()
    try:
        assert get(port, token)[0] == 200
    finally:
        sshd.start()


@pytest.mark.rest
def test_a_service_sleeps_when_nobody_asks_and_the_next_request_wakes_it(app: Client) -> None:
    app.run("serve", "api", *QUICK, "--token-env", "API_TOKEN", "--idle-stop", "3", "--grace", "1", "--", *APP)
    port = front(app, "--plain-http")
    token = app.run("service", "token", "api").stdout.strip()
    for _ in range(5):
        assert get(port, token)[0] == 200
        time.sleep(1)
    (first,) = [one["job"] for one in until(app, lambda now: True)["running"]]
    shown = until(app, lambda now: now["state"] == "asleep")
    assert (shown["replicas"], shown["running"]) == (1, []) and "wakes it" in shown["words"]
    assert get(port, "wrong")[0] == 401
    time.sleep(1.5)
    assert until(app, lambda now: True)["state"] == "asleep", "who has no token wakes nobody"
    assert get(port, token)[0] == 200, "it waits for what begins"
    (second,) = [one["job"] for one in until(app, lambda now: now["state"] == "ready")["running"]]
    assert second != first
    until(app, lambda now: now["state"] == "asleep")
    app.run("service", "restart", "api", "--wait")
    assert until(app, lambda now: True)["state"] == "ready"
