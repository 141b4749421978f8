"""A service under random kills and changes: in the end it is as it is wanted, and nothing else of it runs."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import threading
import time
import urllib.error
import urllib.request
from typing import Any

import pytest

from remote_agent.storage import files
from remote_agent.system import processes
from tests.support import agents, service_app
from tests.support.client import Client, use_slots, wait_until
from tests.support.sshd import Sshd

QUICK = ("--probe-every", "0.3", "--probe-timeout", "1")
APP = ("python", "service_app.py", "{port}")
SEED = int(os.environ.get("FOUNDATIONS_SEED", random.randrange(1 << 30)))


def shown(client: Client) -> dict[str, Any]:
    return dict(client.json_of("service", "show", "api", "--json"))


def test_a_storm_over_a_service_leaves_it_as_it_is_wanted(client: Client, record_property: Any) -> None:
    record_property("told", f"FOUNDATIONS_SEED={SEED}")
    chance = random.Random(SEED)
    use_slots(client, 8)
    shutil.copy(service_app.__file__, client.project / "service_app.py")
    root = client.home / "agent"
    client.run("serve", "api", *QUICK, "--", *APP)
    count = revision = 1
    for _ in range(14):
        what = chance.choice(("daemon", "supervisor", "process", "stop", "scale", "revise", "restart"))
        records = agents.supervisors(root, with_end=False)
        if what == "daemon" and agents.is_owned(root):
            agents.kill_daemon(root)
        elif what in ("supervisor", "process", "stop") and records:
            record = chance.choice(records)
            pid = record.supervisor.pid if what == "supervisor" and record.supervisor else record.session
            number = signal.SIGSTOP if what == "stop" else signal.SIGKILL
            if pid:
                processes.send_signal(pid, number, processes.start_time(pid))
        elif what == "scale":
            count = chance.randint(1, 3)
            client.run("service", "scale", "api", str(count))
        elif what == "revise":
            revision += 1
            words = ("--detach", "--replicas", str(count), "--env", f"REVISION={revision}", *QUICK)
            client.run("serve", "api", *words, "--", *APP)
        elif what == "restart":
            client.run("service", "restart", "api")
        time.sleep(chance.random())
    last: dict[str, Any] = {}

    def is_settled() -> bool:
        last.update(shown(client))
        running = last["running"]
        good = [one for one in running if one["ready"] and one["revision"] == last["revision"]]
        return len(good) == len(running) == count

    wait_until(is_settled, 90, lambda: json.dumps(last, indent=1))
    client.run("service", "stop", "api", "--forget", timeout=90)
    left = [record for record in agents.supervisors(root) if processes.is_alive(record.supervisor)]
    wait_until(lambda: not any(processes.members_of_attempt(one.token, one.session) for one in left), 30)
    assert files.read_json(str(root / "services" / "api" / "probes.json")) is None


@pytest.mark.rest
def test_a_rolling_update_under_load_fails_no_request(client: Client, sshd: Sshd) -> None:
    """Over a real sshd, 100 requests a second: two good revisions and one that cannot start."""
    client.add_host("gpu1", sshd, max_jobs=6)
    shutil.copy(service_app.__file__, client.project / "service_app.py")
    options = ("--host", "gpu1", "--open-on-host", "--replicas", "2", *QUICK)
    client.run("serve", "api", *options, "--env", "REVISION=1", "--", *APP)
    connect = client.start("connect", "--json", "api")
    assert connect.stdout is not None
    url = json.loads(connect.stdout.readline())["url"]
    statuses: list[int] = []
    seen: set[str] = set()
    over = threading.Event()

    def call() -> None:
        while not over.is_set():
            began = time.monotonic()
            try:
                with urllib.request.urlopen(url, timeout=30) as answer:
                    seen.add(json.loads(answer.read())["REVISION"])
                    statuses.append(answer.status)
            except urllib.error.HTTPError as error:
                statuses.append(error.code)
            except OSError:
                statuses.append(0)
            time.sleep(max(0.0, 0.08 - (time.monotonic() - began)))

    callers = [threading.Thread(target=call) for _ in range(8)]
    for caller in callers:
        caller.start()
    try:
        client.run("serve", "api", *options, "--env", "REVISION=2", "--", *APP)
        client.run("serve", "api", *options, "--", "python", "-c", "raise SystemExit(3)", code=1)
        client.run("service", "rollback", "api", "--wait")
    finally:
        over.set()
        for caller in callers:
            caller.join()
        connect.send_signal(signal.SIGINT)
        assert connect.wait(20) == 0
    assert {"1", "2"} <= seen and len(statuses) > 500
    assert statuses.count(200) == len(statuses), {status: statuses.count(status) for status in set(statuses)}
