"""The whole way of a job over a real sshd."""

from __future__ import annotations

import dataclasses
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from foundations_tui.config.hosts import load_hosts
from foundations_tui.errors import HostRefused
from foundations_tui.hosts import bundle, ssh, unlocking
from foundations_tui.hosts.asking import NOBODY, Asker, LockedKey
from foundations_tui.session import Session
from remote_agent.system import processes
from tests.support import agents
from tests.support.client import Client, wait_until
from tests.support.sshd import Sshd, lock_key, make_key

TRAIN = """\
import os, sys, time, foundations
os.makedirs("runs/x", exist_ok=True)
for step in range(5):
    print("step", step)
    foundations.log_metric("loss", 1 / (step + 1), step=step)
open("runs/x/model.pt", "wb").write(b"weights" * 1000)
print("params", foundations.load_parameters(), file=sys.stderr)
"""


def test_submit_stream_and_get(client: Client, sshd: Sshd, tmp_path: Path) -> None:
    client.add_host("box", sshd)
    (client.project / "train.py").write_text(TRAIN)
    done = client.run(
        "submit", "--host", "box", "--param", "lr=0.5", "--param", "name=x", "--follow", "--", "python", "train.py"
    )
    assert done.stdout.splitlines()[:5] == [f"step {n}" for n in range(5)]
    assert "params {'lr': 0.5, 'name': 'x'}" in done.stdout
    job = client.json("jobs")[0]
    assert job["state"] == "completed" and job["exit_code"] == 0 and job["host"] == "box"
    assert job["params"] == {"lr": 0.5, "name": "x"}
    client.run("sync")
    loss = {"first": 1.0, "last": 0.2, "min": 0.2, "max": 1.0, "count": 5, "step": 4}
    assert client.json("jobs")[0]["metrics"]["loss"] == loss
    client.run("get", job["job"], "--dest", str(tmp_path / "out"))
    assert (tmp_path / "out/runs/x/model.pt").read_bytes() == b"weights" * 1000
    assert not (tmp_path / "out/train.py").exists(), "only what the job wrote comes back"
    names = [entry["name"] for entry in client.json("ls", job["job"], "runs")]
    assert names == ["x"]


def test_any_key_of_several_may_have_a_passphrase(
    client: Client, own_sshd: Sshd, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    client.add_host("box", own_sshd)
    refused, other = tmp_path / "refused", tmp_path / "other"
    for key in (refused, other):
        make_key(key)
    lock_key(own_sshd.identity, "right")
    lock_key(other, "other")
    host = load_hosts().host("box")
    found = ssh.resolve(host)
    asked: list[str] = []

    def passphrase(key: LockedKey) -> str | None:
        asked.append(Path(key.path).name)
        return {"other": "other", "user_key": "right"}[asked[-1]]

    def connect(*identities: Path, asker: Asker | None = None) -> None:
        where = dataclasses.replace(found, identities=[str(path) for path in identities])
        monkeypatch.setattr(ssh, "resolve", lambda host: where)
        ssh.SshTransport(host, asker or Asker(passphrase=passphrase), 10).close()

    monkeypatch.setattr(unlocking, "_unlocked", {})
    with pytest.raises(HostRefused, match="has a passphrase"):
        connect(own_sshd.identity, refused, asker=NOBODY)
    connect(own_sshd.identity, refused)
    assert asked == ["user_key"], "the last word was of another key"
    connect(other, own_sshd.identity)
    assert asked == ["user_key"], "what was said is used first"
    unlocking._unlocked.clear()
    connect(other, own_sshd.identity)
    assert asked == ["user_key", "other", "user_key"], "a key that is refused is not the last"
    with pytest.raises(HostRefused, match="does not accept our keys"):
        connect(refused, other)


def test_stop_ends_the_whole_tree(client: Client, sshd: Sshd) -> None:
    root = client.add_host("box", sshd)
    job = client.submit("--host", "box", "--", "sh", "-c", "setsid sleep 300 & sleep 300 & echo up; wait")
    client.wait_until(job, "running")
    wait_until(lambda: "up" in client.run("logs", job).stdout)
    client.run("stop", "--grace", "1", job)
    assert client.run("wait", job, code=None).code in (143, 137)
    found = client.job(job)
    assert found["state"] == "stopped" and found["reason_code"] == "stopped_by_user"
    token = agents.supervisors(root)[0].token
    assert processes.members_of_attempt(token, None) == []


def test_unknown_host_key_is_refused_and_can_be_accepted(client: Client, sshd: Sshd) -> None:
    client.add_host("box", sshd, known=False)
    done = client.run("submit", "--host", "box", "--", "true", code=4)
    shown = subprocess.run(
        ["ssh-keygen", "-lf", sshd.folder / "host_key.pub"], capture_output=True, text=True, check=True
    ).stdout.split()[1]
    assert "not known" in done.stderr and shown in done.stderr and "--accept-new-host-key" in done.stderr
    assert "xception" not in done.stderr, "paramiko says nothing of its own"
    assert client.json("jobs") == []
    client.run("hosts", "test", "box", "--accept-new-host-key")
    assert client.run("submit", "--host", "box", "--wait", "--", "true").code == 0


def test_changed_host_key_is_always_refused(client: Client, own_sshd: Sshd) -> None:
    client.add_host("box", own_sshd)
    client.run("hosts", "test", "box")
    own_sshd.cut()
    own_sshd.new_host_key()
    own_sshd.start()
    for words in (["hosts", "test", "box"], ["hosts", "test", "box", "--accept-new-host-key"]):
        done = client.run(*words, code=4)
        assert "HAS CHANGED" in done.stderr and "ssh-keygen -R" in done.stderr


def test_wrong_user_key(client: Client, sshd: Sshd, tmp_path: Path) -> None:
    make_key(tmp_path / "other_key")
    client.add_host("box", sshd, identity=str(tmp_path / "other_key"))
    done = client.run("hosts", "test", "box", code=4)
    assert "does not accept our keys" in done.stderr and "identity" in done.stderr


def test_a_host_that_is_not_there(client: Client, own_sshd: Sshd) -> None:
    client.add_host("box", own_sshd)
    own_sshd.cut()
    done = client.run("submit", "--host", "box", "--", "true", code=4)
    assert "cannot reach" in done.stderr and f"ssh -p {own_sshd.port} -i" in done.stderr
    assert client.json("jobs") == [], "nothing is left to be sent later"


def test_an_alias_of_the_users_ssh_configuration(client: Client, sshd: Sshd, tmp_path: Path) -> None:
    config = tmp_path / "ssh_config"
    config.write_text(
        f"Host mybox\n  HostName 127.0.0.1\n  Port {sshd.port}\n  User {sshd.user}\n"
        f"  IdentityFile {sshd.identity}\n  UserKnownHostsFile {tmp_path / 'known'}\n"
    )
    (tmp_path / "known").write_text(sshd.known_hosts_line)
    programs = tmp_path / "bin"
    programs.mkdir()
    ssh = programs / "ssh"  # OpenSSH's own, with a configuration of the test's: HOME does not lead it anywhere else
    ssh.write_text(f'#!/bin/sh\nexec {shutil.which("ssh")} -F {config} "$@"\n')
    ssh.chmod(0o755)
    client.env["PATH"] = f"{programs}:{client.env['PATH']}"
    client.run("hosts", "add", "box", "mybox", "--root", str(tmp_path / "root"))
    client.roots.append(tmp_path / "root")
    assert client.run("submit", "--host", "box", "--follow", "--", "echo", "there").stdout == "there\n"


def test_the_connection_is_fast_and_checked(client: Client, sshd: Sshd) -> None:
    client.add_host("box", sshd)
    session = Session()
    try:
        transport: Any = session.agent("box").transport
        ssh = transport._connection.transport
        assert ssh.local_cipher == ssh.remote_cipher == "aes128-gcm@openssh.com"
        assert ssh.sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) == 1
    finally:
        session.close()


@pytest.mark.slow
def test_several_hosts_on_one_machine(client: Client, new_sshd: Callable[[], Sshd]) -> None:
    roots = [client.add_host(name, new_sshd()) for name in ("one", "two", "three")]
    for name in ("one", "two", "three"):
        client.submit("--host", name, "--name", f"on-{name}", "--", "sh", "-c", "pwd; sleep 0.2")
    client.run("wait", "on-one", "on-two", "on-three")
    for name, root in zip(("one", "two", "three"), roots, strict=True):
        assert client.run("logs", f"on-{name}").stdout.startswith(str(root.resolve()))
    assert len({agents.daemon_pid(root) for root in roots}) == 3


def test_only_missing_objects_travel(client: Client, sshd: Sshd) -> None:
    """Measured at the socket: bytes sent on the SSH connection."""
    client.add_host("box", sshd)
    (client.project / "data.bin").write_bytes(os.urandom(3_000_000))
    (client.project / "train.py").write_text("print(1)")
    first, second, third = (_bytes_sent(client, change) for change in (None, "print(2)", None))
    assert first > 3_000_000
    assert second < 40_000 < len(bundle.build()), "neither the files nor the agent travel twice"
    assert third <= second


def _bytes_sent(client: Client, change: str | None) -> int:
    if change:
        (client.project / "train.py").write_text(change)
    code = """
from pathlib import Path
from foundations_tui.session import Session
from foundations_tui.submit.pipeline import submit
from foundations_tui.submit.request import JobRequest
session = Session()
submit(session, JobRequest(("true",), Path("."), host="box"))
print(session.agent("box").transport.sent)
session.close()
"""
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=client.project, env=client.env, capture_output=True, text=True, check=True
    )
    return int(done.stdout)
