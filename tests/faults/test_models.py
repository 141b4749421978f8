"""A model under load: better versions take over, a broken one does not, and no request fails."""

from __future__ import annotations

import http.client
import sys
import threading
import time
from collections import Counter

from tests.integration.test_models import register, train, trained
from tests.integration.test_services import connected, until
from tests.support.client import Client
from tests.support.sshd import Sshd

_RATE, _REQUESTS, _CLIENTS = 100, 10_000, 10
_BROKEN = """
import os

def load(path):
    if "FOUNDATIONS_SERVICE" in os.environ:
        raise RuntimeError("it works only where it is checked")
    return 1.0

def predict(factor, x):
    return {"y": x * factor}

def note():
    pass
"""
_QUICK = ("--probe-every", "0.5", "--probe-timeout", "5")
assert trained  # a fixture


class Load:
    """Clients that ask at a steady rate, each on a connection of its own that it keeps."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._due = iter(range(_REQUESTS))
        self._lock = threading.Lock()
        self._began = time.monotonic()
        self.answers: Counter[str] = Counter()
        self.failed: list[str] = []
        self._threads = [threading.Thread(target=self._ask) for _ in range(_CLIENTS)]
        for thread in self._threads:
            thread.start()

    def join(self) -> None:
        for thread in self._threads:
            thread.join()

    def _ask(self) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=30)
        while True:
            with self._lock:
                number = next(self._due, None)
            if number is None:
                return connection.close()
            time.sleep(max(0.0, self._began + number / _RATE - time.monotonic()))
            try:
                connection.request("POST", "/predict", b'{"x": 5.0}')
                answer = connection.getresponse()
                body = answer.read()
                self.answers[body.decode()] += 1
                if answer.status != 200:
                    self.failed.append(f"{answer.status} {body.decode()}")
            except (OSError, http.client.HTTPException) as error:
                self.failed.append(repr(error))
                connection.close()


def test_ten_thousand_requests_and_none_fails_while_versions_come_and_go(trained: Client, sshd: Sshd) -> None:
    trained.add_host("gpu1", sshd, python=sys.executable, max_jobs=6)
    for factor in (2, 3):
        register(trained, train(trained, factor, "--host", "gpu1"))
    (trained.project / "serving.py").write_text(_BROKEN)
    register(trained, train(trained, 4, "--host", "gpu1"))
    trained.run("serve", "churn@1", "--replicas", "2", *_QUICK)
    with connected(trained, "churn") as there:
        load = Load(int(there["url"].rpartition(":")[2]))
        time.sleep(5)
        trained.run("serve", "churn@2", *_QUICK)
        assert "revision 2 goes on" in trained.run("serve", "churn@3", *_QUICK, code=1).stderr
        trained.run("service", "rollback", "churn", "--wait")
        trained.run("serve", "churn@1", *_QUICK)
        trained.run("service", "roll", "churn", "--wait")
        load.join()
    assert not load.failed, load.failed[:5]
    assert sum(load.answers.values()) == _REQUESTS
    assert set(load.answers) == {'{"y":10.0}', '{"y":15.0}'}, load.answers
    until(trained, lambda now: now["state"] == "ready", "churn")
