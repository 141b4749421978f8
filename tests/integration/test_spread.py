"""One service on several hosts: the client rolls it host by host, and whoever comes next goes on where that was cut."""

from __future__ import annotations

import sys
import threading
import time
from typing import Any

import pytest

from tests.integration.test_models import register, train, trained
from tests.integration.test_services import QUICK, app, connected, get, service
from tests.support.client import Client, wait_until
from tests.support.sshd import Sshd

__all__ = ["app", "trained"]
_GUARDED = """
import os, runpy, sys
if "root-b" in os.getcwd() and not os.path.exists(os.environ["FOUNDATIONS_SERVICES"] + "/mended"):
    sys.exit("this host is not fit for it")
runpy.run_path("service_app.py", run_name="__main__")
"""
_SLOW = "import runpy, time\ntime.sleep(4)\nrunpy.run_path('service_app.py', run_name='__main__')\n"
OPTIONS = ("--hosts", "a,b", *QUICK)


@pytest.fixture
def pair(app: Client, sshd: Sshd) -> Client:
    for name in ("a", "b"):
        app.add_host(name, sshd)
    return app


class Caller:
    """Asks again and again, from a thread, and counts who answered."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._ended = threading.Event()
        self.answers: list[Any] = []
        self.failures: list[Any] = []
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> Caller:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join(30)

    def _run(self) -> None:
        while not self._ended.wait(0.02):
            try:
                status, told = get(self._port)
            except (OSError, ValueError) as error:
                self.failures.append(error)
                continue
            (self.answers if status == 200 else self.failures).append(told)


def members(client: Client) -> dict[str, dict[str, Any]]:
    shown = service(client)
    return {one["host"]: one for one in shown["members"]}


def who_answer(port: int, count: int = 30) -> set[int]:
    return {get(port)[1]["pid"] for _ in range(count)}


@pytest.mark.rest
def test_one_service_on_two_hosts_is_reached_rolled_and_rolled_back_as_one(pair: Client) -> None:
    words = ("serve", "api", *OPTIONS, "--token-env", "API_KEY", "--")
    served = pair.json_of(*words[:2], "--json", *words[2:], "python", "service_app.py", "{port}")
    assert [one["host"] for one in served["members"]] == ["a", "b"] and all(one["ready"] for one in served["members"])
    again = pair.json_of(*words[:2], "--json", *words[2:], "python", "service_app.py", "{port}")
    assert not any(one["changed"] for one in again["members"])
    there = members(pair)
    assert there["a"]["rollout"] == there["b"]["rollout"] and there["a"]["spread"] == there["b"]["spread"]
    with connected(pair, "api") as link:
        port = link["local_port"]
        assert len(who_answer(port)) == 2, "both hosts answer, and both take the one token"
        assert all(get(port)[1]["token_is_right"] for _ in range(6))
        with Caller(port) as caller:
            pair.run(*words, "python", "service_app.py", "{port}", "--bind", "127.0.0.1")
        assert not caller.failures and len(caller.answers) > 20
        now = members(pair)
        assert {one["revision"] for one in now.values()} == {2}
        assert now["a"]["rollout"] == now["b"]["rollout"] != there["a"]["rollout"]
        with Caller(port) as caller:
            pair.run("service", "rollback", "api", "--wait")
        assert not caller.failures
        assert {one["revision"] for one in members(pair).values()} == {1}
        assert {one["rollout"] for one in members(pair).values()} == {there["a"]["rollout"]}
        pair.run("service", "roll", "api", "--wait")
        pair.run("service", "scale", "api", "2", "--wait")
        wait_until(lambda: len(who_answer(port, 60)) == 4)
    assert "--hosts a,b" in pair.run("serve", "api", "--host", "a", "--", "true", "{port}", code=2).stderr
    pair.run("service", "stop", "api@b", "--forget")
    assert [one["host"] for one in pair.json_of("service", "list", "--json")] == ["a"]
    pair.run("service", "stop", "api", "--forget")
    assert pair.json_of("service", "list", "--json") == []


@pytest.mark.rest
def test_a_roll_that_is_cut_leaves_both_revisions_and_anybody_goes_on_with_it(pair: Client) -> None:
    (pair.project / "guarded.py").write_text(_GUARDED)
    first = ("serve", "api", *OPTIONS, "--open-on-host", "--")
    pair.run(*first, "python", "service_app.py", "{port}")
    before = members(pair)
    with connected(pair, "api") as link:
        with Caller(link["local_port"]) as caller:
            cut = pair.run(*first, "python", "guarded.py", "{port}", code=None)
            assert cut.code != 0 and "b:" in cut.stderr or "on b" in cut.stderr, cut.stderr
            assert "a has changed, b has not" in cut.stderr and "service roll api --resume" in cut.stderr
            now = members(pair)
            assert now["a"]["rollout"] != before["a"]["rollout"]
            assert len(who_answer(link["local_port"])) == 2, "the old one goes on there"
        assert not caller.failures
        (pair.home / "root-b" / "services" / "mended").write_text("")
        other = pair.run("service", "roll", "api", "--resume")
        assert "all hosts of api run the same" in other.stderr
        wait_until(lambda: all(one["state"] == "ready" for one in members(pair).values()))
        assert {one["rollout"] for one in members(pair).values()} == {now["a"]["rollout"]}
    pair.run("service", "stop", "api", "--forget")


@pytest.mark.rest
def test_a_client_that_is_killed_leaves_both_revisions_until_somebody_goes_on(pair: Client) -> None:
    (pair.project / "slow.py").write_text(_SLOW)
    first = ("serve", "api", *OPTIONS, "--open-on-host", "--env", "GREETING=hi", "--")
    pair.run(*first, "python", "service_app.py", "{port}")
    process = pair.start(*first, "python", "slow.py", "{port}")
    wait_until(lambda: members(pair)["a"]["revision"] == 2)
    process.kill()
    process.communicate()
    wait_until(lambda: members(pair)["a"]["state"] == "ready")
    there = members(pair)
    assert (there["a"]["revision"], there["b"]["revision"]) == (2, 1)
    assert "not all of its hosts run the same" in pair.run("service", "list").stderr
    with connected(pair, "api") as link:
        assert len(who_answer(link["local_port"])) == 2, "both revisions answer"
        for path in pair.project.glob("*.py"):
            path.unlink()
        with Caller(link["local_port"]) as caller:
            pair.run("service", "roll", "api", "--resume")
        assert not caller.failures
    there = members(pair)
    assert there["a"]["rollout"] == there["b"]["rollout"] and there["b"]["state"] == "ready"
    assert "run the same" not in pair.run("service", "list").stderr
    pair.run("service", "stop", "api", "--forget")


@pytest.mark.rest
def test_a_host_that_is_away_costs_only_its_replicas(app: Client, sshd: Sshd, own_sshd: Sshd) -> None:
    app.add_host("a", sshd)
    app.add_host("b", own_sshd)
    app.run("serve", "api", *OPTIONS, "--open-on-host", "--", "python", "service_app.py", "{port}")
    with connected(app, "api") as link:
        port = link["local_port"]
        assert len(who_answer(port)) == 2
        own_sshd.cut()
        wait_until(lambda: len(who_answer(port, 5)) == 1, 60)
        began = time.monotonic()
        with Caller(port) as caller:
            time.sleep(3)
        assert not caller.failures and len(caller.answers) > 20, (caller.failures[:3], time.monotonic() - began)
        words = ("serve", "api", *OPTIONS, "--open-on-host", "--", "python", "service_app.py", "{port}", "--bind")
        app.run(*words, "127.0.0.1", code=4, timeout=180)
        assert members(app)["a"]["revision"] == 1, "all hosts are asked before any is changed"
        own_sshd.start()
        wait_until(lambda: len(who_answer(port)) == 2, 60)
    app.run("service", "stop", "api", "--forget")


@pytest.mark.rest
def test_a_service_of_several_hosts_that_follows_an_alias_stays_one(trained: Client, sshd: Sshd) -> None:
    for name in ("a", "b"):
        trained.add_host(name, sshd, python=sys.executable)
    one, two = (train(trained, factor, "--host", "a") for factor in (2, 3))
    register(trained, one, "--as", "champion")
    register(trained, two)
    trained.run("serve", "churn@champion", "--hosts", "a,b", "--follow", *QUICK)
    promoted = trained.json_of("model", "promote", "churn", "2", "--json")
    assert promoted["following"] == ["churn", "churn"]
    shown = service(trained, "churn")
    assert {part["model_version"] for part in shown["members"]} == {2}
    assert len({part["rollout"] for part in shown["members"]}) == 1
    wait_until(lambda: all(part["state"] == "ready" for part in service(trained, "churn")["members"]))
    trained.run("service", "stop", "churn", "--forget")
