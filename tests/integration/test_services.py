"""Services: they stay up, are found out when they do not answer, and are reached from here."""

from __future__ import annotations

import contextlib
import hashlib
import http.client
import json
import os
import shutil
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from foundations_tui.store import queries
from foundations_tui.store.db import Store
from remote_agent.system import sockets
from tests.support import agents, service_app
from tests.support.client import Client, use_slots, wait_until
from tests.support.hook import Hook
from tests.support.sshd import Sshd

QUICK = ("--probe-every", "0.3", "--probe-timeout", "0.5")
"""Probes whose periods a test can wait for."""
APP = ("python", "service_app.py", "{port}")


@pytest.fixture
def app(client: Client) -> Client:
    """A client whose project is a server."""
    shutil.copy(service_app.__file__, client.project / "service_app.py")
    return client


def service(client: Client, name: str = "api") -> dict[str, Any]:
    return dict(client.json_of("service", "show", name, "--json"))


def until(client: Client, condition: Callable[[dict[str, Any]], bool], name: str = "api", seconds: float = 30) -> Any:
    """Return a service once it is as a test wants it."""
    last: dict[str, Any] = {}

    def is_so() -> bool:
        last.update(service(client, name))
        return condition(last)

    wait_until(is_so, seconds, lambda: json.dumps(last, indent=1))
    return last


@contextlib.contextmanager
def connected(client: Client, *words: str) -> Iterator[dict[str, Any]]:
    """Hold a connection open, and give what it says of itself."""
    process = client.start("connect", "--json", *words)
    try:
        assert process.stdout is not None and process.stderr is not None
        line = process.stdout.readline()
        assert line, process.stderr.read()
        yield json.loads(line)
    finally:
        process.send_signal(signal.SIGINT)
        assert process.wait(20) == 0
        assert process.stderr is not None
        assert "Traceback" not in process.stderr.read()


def get(port: int, path: str = "/", **headers: str) -> tuple[int, Any]:
    """Return status and JSON of an answer."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    try:
        connection.request("GET", path, headers={name.replace("_", "-"): value for name, value in headers.items()})
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read() or b"null")
    finally:
        connection.close()


def main_pid(client: Client, job: str, attempt: int = 1, root: Path | None = None) -> int:
    record = (root or client.home / "agent") / "jobs" / job / "attempts" / str(attempt) / "supervisor.json"
    return int(json.loads(record.read_text())["session"])


# --- staying up -------------------------------------------------------------------------------------------------


def test_a_command_is_served_and_comes_back_when_it_is_killed(client: Client) -> None:
    """The issue's own line, with a server that was written by somebody else."""
    (client.project / "index.html").write_text("hello")
    words = ("--", "python", "-m", "http.server", "{port}", "--bind", "127.0.0.1")
    (served,) = [client.json("serve", *words)]
    assert (served["service"], served["state"], served["ready"], served["changed"]) == ("http-server", "ready", 1, True)
    assert client.json("serve", *words)["changed"] is False, "the same again changes nothing"
    (job,) = served["jobs"]
    own = str(sockets.free_port())  # other tests look for ports of services, too
    with connected(client, "http-server", "--port", own) as there:
        page = subprocess.run(["curl", "-sf", there["url"]], capture_output=True, check=True).stdout
        assert page == b"hello"
        os.kill(main_pid(client, job), signal.SIGKILL)
        shown = until(client, lambda now: bool(now["running"][0]["attempt"] == 2 and now["ready"]), "http-server")
        assert shown["running"][0]["job"] == job, "a restart is the next attempt of the same job"
        assert subprocess.run(["curl", "-sf", there["url"]], capture_output=True, check=True).stdout == b"hello"
    with connected(client, "http-server") as again:
        assert again["url"] == there["url"], "its port stays"
    assert "foundations service stop http-server" in client.run("stop", job, code=1).stderr
    states = [row.state for row in queries.transitions(Store().conn, job)]
    assert states[:5] == ["queued", "preparing", "running", "failed", "queued"]
    client.run("service", "stop", "http-server", "--forget")
    assert client.json_of("service", "list", "--json") == []
    client.run("service", "show", "http-server", code=3)


@pytest.mark.rest
def test_a_new_revision_takes_over_without_a_failed_request_and_a_bad_one_does_not(app: Client) -> None:
    app.run("serve", "api", *QUICK, "--env", "REVISION=1", "--", *APP)
    failed: list[str] = []
    seen: set[str] = set()
    stop = threading.Event()

    def call(port: int) -> None:
        while not stop.is_set():
            try:
                status, said = get(port)
                seen.add(said.get("REVISION"))
                if status != 200:
                    failed.append(str(said))
            except OSError as error:
                failed.append(repr(error))

    with connected(app, "api") as there:
        callers = [threading.Thread(target=call, args=(there["local_port"],)) for _ in range(4)]
        for caller in callers:
            caller.start()
        assert app.json("serve", "api", *QUICK, "--env", "REVISION=2", "--", *APP)["revision"] == 2
        told = app.run("serve", "api", *QUICK, "--", "python", "-c", "raise SystemExit(3)", code=1).stderr
        assert "fails again and again" in told and "revision 2 goes on" in told
        shown = service(app)
        assert (shown["state"], shown["revision"], shown["ready"]) == ("failing", 3, 1)
        stop.set()
        for caller in callers:
            caller.join()
        assert not failed and {"1", "2"} <= seen
        app.run("service", "rollback", "api", "--wait")
        said = get(there["local_port"])[1]
        assert said["REVISION"] == "2"
        app.run("service", "roll", "api", "--wait")
        again = get(there["local_port"])[1]
        assert again["REVISION"] == "2" and again["pid"] != said["pid"]
    assert service(app)["revision_before"] == 2
    assert [(one["number"], one["command"][0]) for one in service(app)["revisions"]] == [
        (number, "python") for number in (1, 2, 3, 4)
    ]


@pytest.mark.rest
def test_what_does_not_answer_is_found_out(app: Client, hook: Hook) -> None:
    """Frozen, hung and unready within three periods; the host tells of it by itself."""
    (app.home / "hosts.toml").write_text(f'[notify]\nurl = "http://127.0.0.1:{hook.port}/"\n')
    job = app.json("serve", "api", *QUICK, "--ready", "/health", "--", *APP)["jobs"][0]
    os.kill(main_pid(app, job), signal.SIGSTOP)
    until(app, lambda now: "SIGSTOP" in now["words"])
    shown = until(app, lambda now: bool(now["running"][0]["attempt"] == 2 and now["ready"]))
    attempts = app.job(job)["attempts"]
    assert attempts[0]["reason_code"] == "unhealthy" and "SIGSTOP" in attempts[0]["reason"]
    with connected(app, "api") as there:
        get(there["local_port"], "/unready")
        shown = until(app, lambda now: now["ready"] == 0)
        assert shown["words"] == "not ready: /health answered 503" and shown["running"][0]["attempt"] == 2
    wait_until(lambda: "unready" in [body["event"] for body in hook.bodies])
    told = next(body for body in hook.bodies if body["event"] == "unready")
    assert (told["service"], told["job"]) == ("api", job) and "does not answer" in told["text"]


@pytest.mark.rest
def test_probes_change_without_a_restart_and_a_hang_restarts_where_that_is_asked_for(app: Client) -> None:
    job = app.json("serve", "api", *QUICK, "--", *APP)["jobs"][0]
    with connected(app, "api") as there:
        pid = get(there["local_port"])[1]["pid"]
        changed = app.json("serve", "api", *QUICK, "--ready", "/health", "--live", "/health", "--", *APP)
        assert (changed["changed"], changed["revision"]) == (True, 1)
        assert get(there["local_port"])[1]["pid"] == pid
        get(there["local_port"], "/hang")
    shown = until(app, lambda now: bool(now["running"][0]["attempt"] == 2 and now["ready"]))
    assert shown["probes"]["live"] == "/health"
    assert "was not answered 3 times: probe timed out" in app.job(job)["attempts"][0]["reason"]


@pytest.mark.rest
def test_a_crash_loop_is_said_with_growing_pauses(app: Client, hook: Hook) -> None:
    (app.home / "hosts.toml").write_text(f'[notify]\nurl = "http://127.0.0.1:{hook.port}/"\non = ["crash_loop"]\n')
    done = app.run("serve", "api", "--", "python", "-c", "print('no model'); raise SystemExit(3)", code=1)
    assert "exit code 3" in done.stderr and "foundations logs" in done.stderr
    shown = service(app)
    assert shown["state"] == "failing" and shown["running"][0]["failures"] >= 3
    assert 1 < shown["running"][0]["restarts_at"] - time.time() < 5, "1, 2, then 4 seconds"
    wait_until(lambda: [body["event"] for body in hook.bodies] == ["crash_loop"])
    assert "no model" in app.run("logs", "api").stdout
    app.run("service", "stop", "api")
    until(app, lambda now: now["state"] == "stopped" and not now["running"])
    assert app.run("service", "restart", "api", code=1).stderr.count("is stopped") == 1


def test_a_service_outlives_its_daemon_and_a_reboot(app: Client) -> None:
    job = app.json("serve", "api", *QUICK, "--", *APP)["jobs"][0]
    root = app.home / "agent"
    agents.kill_daemon(root)
    shown = until(app, lambda now: now["ready"] == 1)
    assert shown["running"][0]["attempt"] == 1, "its supervisor says how it is"
    agents.reboot(root)
    until(app, lambda now: bool(now["ready"] and now["running"][0]["attempt"] == 2))
    assert app.job(job)["attempts"][0]["reason_code"] == "host_rebooted"


@pytest.mark.rest
def test_replicas_are_scaled_and_share_the_requests(app: Client) -> None:
    use_slots(app, 3)
    app.run("serve", "api", *QUICK, "--", *APP)
    app.run("service", "scale", "api", "3", "--wait")
    assert app.json("serve", "api", *QUICK, "--", *APP)["changed"] is False, "three stay three"
    with connected(app, "api") as there:
        pids = {get(there["local_port"])[1]["pid"] for _ in range(12)}
        assert len(pids) == 3
        app.run("service", "scale", "api", "1", "--wait")
        assert {get(there["local_port"])[0] for _ in range(6)} == {200}
    shown = service(app)
    assert [one["ready"] for one in shown["running"]] == [True]
    follower = app.start("logs", "-f", "api")
    assert follower.stdout is not None and "listening" in follower.stdout.readline()
    follower.send_signal(signal.SIGINT)
    assert follower.wait(20) == 130


@pytest.mark.rest
def test_a_waiting_job_says_which_service_holds_what_it_needs(app: Client) -> None:
    use_slots(app, 1)
    app.run("serve", "api", "--", *APP)
    job = app.submit("--", "true")
    app.run("sync")
    wait_until(lambda: "held by service api" in str(app.job(job)["reason"]), words=lambda: str(app.job(job)))
    app.run("service", "stop", "api")
    app.wait_until(job, "completed")


# --- who may reach it -------------------------------------------------------------------------------------------


def test_what_listens_beyond_its_host_is_ended(app: Client) -> None:
    words = ("python", "service_app.py", "{port}", "--bind", "0.0.0.0")
    done = app.run("serve", "api", "--detach", "--", *words)
    shown = until(app, lambda now: bool(now["running"] and now["running"][0]["failures"]))
    assert "listens on 0.0.0.0:" in shown["words"] and "--open-to-network" in shown["words"]
    assert app.job(shown["running"][0]["job"])["attempts"][0]["reason_code"] == "exposed"
    assert done.code == 0
    assert app.json("serve", "api", "--open-to-network", "--", *words)["ready"] == 1


def test_over_ssh_it_has_to_keep_others_away(app: Client, sshd: Sshd, monkeypatch: pytest.MonkeyPatch) -> None:
    """A token is added on the way, and stands in no file that is read by others."""
    root = app.add_host("gpu1", sshd)
    refused = app.run("serve", "api", "--host", "gpu1", "--", *APP, code=2).stderr
    assert "open to all users of gpu1" in refused and "--open-on-host" in refused
    app.env["HF_TOKEN"] = "hf-of-ada"
    options = ("--token-env", "API_KEY", "--secret", "HF_TOKEN", *QUICK)
    served = app.json("serve", "api", "--host", "gpu1", *options, "--", *APP)
    token = app.run("service", "token", "api").stdout.strip()
    with connected(app, "api") as there:
        status, said = get(there["local_port"])
        assert status == 200 and said["token_is_right"] and said["HF_TOKEN"] == "hf-of-ada"
        assert not get(there["local_port"], Authorization="Bearer wrong")[1]["token_is_right"], "one's own is kept"
        port = there["local_port"]
        for headers in ({"Host": "evil.example"}, {"Origin": "http://evil.example"}, {"Sec_Fetch_Site": "cross-site"}):
            assert get(port, **headers)[0] == 403, headers
    with connected(app, f"{served['jobs'][0]}:{service(app)['running'][0]['port']}") as raw:
        assert not get(raw["local_port"])[1]["token_is_right"], "raw bytes stay as they are"
    other = app.run("connect", f"{served['jobs'][0]}:{sshd.port}", code=3).stderr
    assert "no process of job" in other, "what another process has there is not meant"
    for top in (app.home, root):
        for path in (path for path in top.rglob("*") if path.is_file() and path.name not in ("token", "private.json")):
            data = path.read_bytes()
            assert token.encode() not in data, path
            assert b"hf-of-ada" not in data or path.name.startswith("private-"), path
    assert oct((root / "services" / "api" / "token").stat().st_mode)[-3:] == "600"


@pytest.mark.rest
@pytest.mark.parametrize("place", ["port", "socket"])
def test_where_ssh_forwards_nothing_the_agent_carries_connections(app: Client, own_sshd: Sshd, place: str) -> None:
    own_sshd.configure("AllowTcpForwarding no", "AllowStreamLocalForwarding no")
    own_sshd.cut()
    own_sshd.start()
    app.add_host("gpu1", own_sshd)
    app.run("serve", "api", "--host", "gpu1", "--open-on-host", *QUICK, "--", *APP[:2], f"{{{place}}}")
    assert service(app)["access"] == {"port": "open", "socket": "socket"}[place]
    body = os.urandom(3 << 20)
    answers: list[Any] = []
    with connected(app, "api") as there:

        def post() -> None:
            connection = http.client.HTTPConnection("127.0.0.1", there["local_port"], timeout=60)
            for _ in range(3):
                connection.request("POST", "/", body)
                answers.append(json.loads(connection.getresponse().read()))

        callers = [threading.Thread(target=post) for _ in range(4)]
        for caller in callers:
            caller.start()
        for caller in callers:
            caller.join()
    assert [one.get("sha256", one) for one in answers] == [hashlib.sha256(body).hexdigest()] * 12


def test_streams_upgrades_and_chunks_pass_as_they_come(app: Client) -> None:
    app.run("serve", "api", "--", *APP)
    with connected(app, "api") as there:
        connection = http.client.HTTPConnection("127.0.0.1", there["local_port"], timeout=20)
        connection.request("GET", "/stream?5")
        answer = connection.getresponse()
        times = []
        while line := answer.fp.readline():
            times += [time.monotonic()] if line.startswith(b"data:") else []
            if len(times) == 5:
                break
        assert times[-1] - times[0] > 0.5, "nothing is kept back"
        connection.close()

        connection = http.client.HTTPConnection("127.0.0.1", there["local_port"], timeout=20)
        connection.request(
            "POST", "/", iter([b"a" * 1000, b"b" * 1000]), encode_chunked=True, headers={"Transfer-Encoding": "chunked"}
        )
        assert json.loads(connection.getresponse().read())["bytes"] == 2000
        connection.close()

        with socket.create_connection(("127.0.0.1", there["local_port"]), 20) as raw:
            host = f"127.0.0.1:{there['local_port']}"
            raw.sendall(
                f"GET /echo HTTP/1.1\r\nHost: {host}\r\nConnection: Upgrade\r\nUpgrade: shout\r\n\r\nearly".encode()
            )
            got = b""
            while b"EARLY" not in got:
                got += raw.recv(4096)
            assert got.startswith(b"HTTP/1.1 101 ")
            raw.sendall(b"late")
            assert raw.recv(4) == b"LATE"

        with socket.create_connection(("127.0.0.1", there["local_port"]), 20) as raw:
            raw.sendall(f"GET /stream?1000 HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
            assert raw.recv(4096)
        wait_until(lambda: get(there["local_port"], "/left")[1]["left"] == ["/stream?1000"])


@pytest.mark.rest
@pytest.mark.parametrize("place", ["here", "over ssh"])
def test_requests_and_answers_pass_at_once(app: Client, sshd: Sshd, place: str) -> None:
    """A replica may answer before it has read all: neither side waits for the other, and an early answer arrives."""
    app.add_host("gpu1", sshd)
    host = ("--host", "gpu1" if place == "over ssh" else "local")
    app.run("serve", "api", *host, "--open-on-host", "--", *APP)
    body = os.urandom(24 << 20)
    with connected(app, "api") as there:
        head = f"POST /both HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n\r\n".encode()
        with socket.create_connection(("127.0.0.1", there["local_port"]), 30) as raw:
            sender = threading.Thread(target=raw.sendall, args=(head + body,))
            sender.start()
            got = b""
            while len(got) < len(body):
                piece = raw.recv(1 << 20)
                assert piece, "it stopped in the middle"
                got += piece
            sender.join()
            while not got.endswith(body[-100:]):
                got += raw.recv(1 << 20)
        assert got.partition(b"\r\n\r\n")[2] == body
        for _ in range(3):
            with socket.create_connection(("127.0.0.1", there["local_port"]), 30) as raw:
                raw.sendall(head.replace(b"/both", b"/early"))
                answer = raw.recv(4096)
                assert answer.startswith(b"HTTP/1.1 413 ") and b"connection: close" in answer.lower()


@pytest.mark.rest
def test_requests_wait_for_a_replica_that_begins_again_and_the_token_is_that_of_now(app: Client) -> None:
    words = ("serve", "api", *QUICK, "--", *APP)
    job = app.json(*words)["jobs"][0]
    with connected(app, "api") as there:
        assert get(there["local_port"])[1]["token_is_right"]
        os.kill(main_pid(app, job), signal.SIGKILL)
        time.sleep(0.1)
        status, said = get(there["local_port"])
        assert status == 200 and said["FOUNDATIONS_ATTEMPT"] == "2", "it waited"
        (app.home / "agent" / "services" / "api" / "token").unlink()
        assert app.json(*words)["changed"] is False
        app.run("service", "restart", "api", "--wait")
        assert get(there["local_port"])[1]["token_is_right"], "a token that is gone is made anew"
        app.run("service", "stop", "api", "--forget")
        app.run(*words)
        assert get(there["local_port"])[1]["token_is_right"]


@pytest.mark.skipif(os.getuid() != 0, reason="only root can be somebody else")
def test_another_user_of_this_machine_gets_nothing(app: Client) -> None:
    app.run("serve", "api", "--", *APP)
    with connected(app, "api") as there:
        words = ["setpriv", "--reuid", "65534", "--clear-groups", "curl", "-s", there["url"]]
        done = subprocess.run(words, capture_output=True, text=True)
        assert "this port serves another user" in done.stdout
        assert get(there["local_port"])[0] == 200


@pytest.mark.rest
def test_clients_that_speak_no_http_get_an_answer_and_harm_nobody(app: Client) -> None:
    app.run("serve", "api", "--", *APP)
    with connected(app, "api") as there:
        port = there["local_port"]
        for noise in (b"\x16\x03\x01\x02\x00\x01\x00", b"GET / HTTP/1.1\r\n" + b"A: b\r\n" * 20_000, b"\r\n\r\n\r\n"):
            with socket.create_connection(("127.0.0.1", port), 20) as raw:
                raw.sendall(noise)
                raw.shutdown(socket.SHUT_WR)
                with contextlib.suppress(ConnectionError):
                    assert raw.recv(4096).startswith((b"HTTP/1.1 4", b""))
        host = f"Host: 127.0.0.1:{port}"
        for raw_request, answered in (
            (f"CONNECT 127.0.0.1:{port} HTTP/1.1\r\n{host}\r\n\r\n", b" 403 "),
            (f"GET / HTTP/1.1\r\n{host}\r\nHost: evil\r\n\r\n", b" 400 "),
            ("GET / HTTP/1.1\r\nHost: [::1\r\n\r\n", b" 403 "),
            (f"GET / HTTP/1.1\r\n{host}\r\nConnection: host, close\r\nConnection: x\r\n\r\n", b" 200 "),
            (f"HEAD / HTTP/1.0\r\n{host}\r\n\r\n", b" 200 "),
            (
                f"POST / HTTP/1.1\r\n{host}\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n"
                "Connection: close\r\n\r\n1\r\nx\r\n0\r\n\r\nGET /smuggled HTTP/1.1\r\n\r\n",
                b'"bytes": 1',
            ),
        ):
            with socket.create_connection(("127.0.0.1", port), 20) as raw:
                raw.sendall(raw_request.encode())
                got = b""
                while piece := raw.recv(4096):
                    got += piece
                assert answered in got and b"smuggled" not in got, got
        slow = [socket.create_connection(("127.0.0.1", port), 20) for _ in range(50)]
        assert get(port)[0] == 200
        for one in slow:
            one.close()
        app.run("service", "stop", "api")
        until(app, lambda now: not now["running"])
        status, said = get(port)
        assert status == 503 and "service api on local: stop" in said["error"]


# --- what is asked for ------------------------------------------------------------------------------------------


@pytest.mark.rest
def test_the_projects_file_says_what_a_service_runs(app: Client) -> None:
    command = json.dumps([*APP])
    (app.project / "foundations.toml").write_text(
        f'[services.api]\ncommand = {command}\nreplicas = 2\nprobe_every = "0.3"\nenv = {{ REVISION = 5 }}\n'
    )
    served = app.json("serve", "api")
    assert (served["ready"], served["replicas"]) == (2, 2)
    assert app.json("serve", "api", "--replicas", "1")["replicas"] == 1
    with connected(app, "api") as there:
        assert get(there["local_port"])[1]["REVISION"] == "5"
    assert "there is no [services.other]" in app.run("serve", "other", code=3).stderr
    (app.project / "foundations.toml").write_text(f"[services.api]\ncommand = {command}\nreplica = 2\n")
    assert "did you mean 'replicas'?" in app.run("serve", "api", code=2).stderr


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "takes a command, or the name of a service"),
        (["A.b/c", "--", "true"], "a service is called by"),
        (["x", "--ready", "health", "--", "true"], "an HTTP path that begins with /"),
        (["x", "--port", "8000", "--replicas", "2", "--", "true"], "each replica needs its own"),
        (["x", "--port", "8000", "--", "true", "{socket}"], "either {socket} or a port"),
        (["x", "--replicas", "0", "--", "true"], "--replicas takes 1 to 100"),
        (["x", "--token-env", "a b", "--", "true"], "the name of a variable"),
        (["x", "--env", "API_TOKEN=1", "--", "true"], "looks like a secret"),
    ],
)
def test_what_makes_no_sense_is_refused_in_words(client: Client, words: list[str], said: str) -> None:
    done = client.run("serve", *words, code=2)
    assert said in done.stderr and "Traceback" not in done.stderr
    assert not (client.home / "agent" / "services").exists()


@pytest.mark.rest
def test_a_port_that_is_taken_is_said(app: Client) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = app.run("serve", "api", "--port", str(port), "--", *APP, code=1).stderr
        assert "a network port is taken" in done
        app.run("connect", "api", "--port", str(port), code=2)


@pytest.mark.rest
def test_a_service_of_a_wiped_host_is_lost_and_said(app: Client, sshd: Sshd) -> None:
    root = app.add_host("gpu1", sshd)
    app.run("serve", "api", "--host", "gpu1", "--open-on-host", "--", *APP)
    agents.end(root)
    shutil.rmtree(root)
    (shown,) = app.json_of("service", "list", "--json")
    assert shown["state"] == "lost" and "reinstalled" in shown["words"]
    assert "there is no service api" in app.run("service", "restart", "api", code=3).stderr
    app.run("serve", "api", "--host", "gpu1", "--open-on-host", "--", *APP)
    assert service(app)["ready"] == 1
    agents.end(root)
    shutil.rmtree(root)
    app.run("service", "list")
    app.run("service", "stop", "api", "--forget")
    assert app.json_of("service", "list", "--json") == []


@pytest.mark.rest
def test_serving_has_the_agent_started_at_boot(app: Client, tmp_path: Path) -> None:
    """Or says what is missing; a home of its own is a trial, which changes nothing else of the machine."""
    assert "FOUNDATIONS_HOME is set" in app.run("serve", "api", "--detach", "--", *APP).stderr
    programs, home = tmp_path / "bin", tmp_path / "person"
    programs.mkdir()
    for name, text in {"systemctl": "exit 0", "loginctl": "echo Linger=no"}.items():
        (programs / name).write_text(f"#!/bin/sh\n{text}\n")
        (programs / name).chmod(0o755)
    folders = {f"XDG_{kind}_HOME": str(home / kind) for kind in ("CONFIG", "DATA", "STATE")}
    env = {**folders, "FOUNDATIONS_HOME": "", "HOME": str(home), "PATH": f"{programs}:{app.env['PATH']}"}
    home.mkdir()
    done = app.run("serve", "api", "--", *APP, env=env)
    app.roots += [owner.parent for owner in home.rglob("owner.json")]
    assert "loginctl enable-linger" in done.stderr and list((home / "CONFIG").rglob("foundations-*.service"))
    assert app.roots[-1].is_relative_to(home)
