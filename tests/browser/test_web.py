"""The app in a real browser, and who cannot reach it."""

from __future__ import annotations

import re
import signal
import socket
import subprocess
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.browser import Browser
from tests.support.client import Client

FOLLOWED = "for n in $(seq 600); do echo tick $n; sleep 0.2; done"


@pytest.fixture
def server(client: Client) -> Iterator[subprocess.Popen[str]]:
    """``foundations web``, until the test ends."""
    process = client.start("web", "--port", "0")
    yield process
    process.send_signal(signal.SIGINT)
    _, stderr = process.communicate(timeout=20)
    assert "Traceback" not in stderr


def address_of(server: subprocess.Popen[str]) -> str:
    assert server.stdout is not None
    return server.stdout.readline().strip()


def last_tick(browser: Browser) -> int:
    return max(map(int, re.findall(r"\btick (\d+)", browser.text())))


def status(address: str | urllib.request.Request) -> int:
    try:
        with urllib.request.urlopen(address, timeout=10) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code


def test_a_job_is_opened_and_a_log_followed(client: Client, server: subprocess.Popen[str], tmp_path: Path) -> None:
    client.run("submit", "--wait", "--name", "broken", "--", "sh", "-c", "echo oh no; exit 3", code=3)
    client.submit("--name", "talks", "--", "sh", "-c", FOLLOWED)
    browser = Browser(tmp_path / "profile")
    try:
        browser.open(address_of(server))
        browser.until(lambda: "talks" in browser.text() and "running" in browser.text())
        browser.press("3")
        browser.until(lambda: re.search(r"\btick \d+", browser.text()) is not None)
        seen = last_tick(browser)
        browser.until(lambda: last_tick(browser) > seen)
        browser.press("1j\n")
        browser.until(lambda: "exit code 3" in browser.text() and "oh no" in browser.text())
        picture = tmp_path / "page.png"
        browser.driver.save_screenshot(str(picture))
        assert len(set(picture.read_bytes())) > 200
        browser.press("q:")
        browser.until(lambda: "tab completes" in browser.text())
        browser.press("shell local\n")
        browser.until(lambda: "this needs a terminal of its own" in browser.text())
        errors = [line["message"] for line in browser.log() if "Uncaught" in line["message"]]
        assert errors == []
    finally:
        browser.close()


def test_only_who_knows_the_token_on_this_machine_gets_in(client: Client, server: subprocess.Popen[str]) -> None:
    address = address_of(server)
    root = address.rsplit("/", 2)[0]
    assert root.startswith("http://127.0.0.1:") and len(address) - len(root) > 40
    assert status(address) == 200
    for path in ("", "ws", "static/js/textual.js", "x" * 43 + "/", "download/x"):
        assert status(f"{root}/{path}") == 404, path
    with urllib.request.urlopen(address, timeout=10) as answer:
        assert answer.headers["Referrer-Policy"] == "no-referrer"
        assert "default-src 'self'" in answer.headers["Content-Security-Policy"]
    port = int(root.rpartition(":")[2])
    with socket.socket() as other, pytest.raises(OSError):
        other.settimeout(2)
        other.connect(("127.0.0.2", port))  # it listens on one address, not on all
    assert f"port {port} cannot be used" in client.run("web", "--port", str(port), code=1).stderr
    assert "there is no theme" in client.run("web", "--theme", "nosuch", code=2).stderr


def test_a_page_through_a_forwarded_port(server: subprocess.Popen[str]) -> None:
    address = address_of(server)
    request = urllib.request.Request(address, headers={"Host": "localhost:9000"})
    with urllib.request.urlopen(request, timeout=10) as answer:
        page = answer.read().decode()
    assert "ws://localhost:9000/" in page and "127.0.0.1" not in page


@pytest.mark.parametrize(
    "headers",
    [
        {"Host": "evil.example"},
        {"Host": "evil.example:8017"},
        {"Host": "127.0.0.1.evil.example"},
        {"Host": "localhost.evil.example:1"},
        {"Host": "10.0.0.1"},
        {"Host": "[::ffff:10.0.0.1]"},
        {"Host": "["},
        {"Host": ""},
        {"Host": "evil.com@127.0.0.1"},
        {"Host": "127.0.0.1#evil.com"},
        {"Host": "127.0.0.1/evil.com"},
        {"Host": "localhost:99999999"},
        {"Host": "localhost."},
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Host": "localhost:9000", "Origin": "http://127.0.0.1:9000"},
    ],
)
def test_a_page_of_somebody_else_is_let_in_nowhere(server: subprocess.Popen[str], headers: dict[str, str]) -> None:
    address = address_of(server)
    for path in ("", "ws"):
        assert status(urllib.request.Request(address + path, headers=headers)) in (400, 403), headers
    own = {"Host": "localhost:9000", "Origin": "http://localhost:9000"}
    assert status(urllib.request.Request(address, headers=own)) == 200
