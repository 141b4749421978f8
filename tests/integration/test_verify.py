"""Whether all that was recorded of a job is here: what is missing or damaged is found, and named."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import zlib
from pathlib import Path

import pytest

from tests.support.client import Client


def states(client: Client, job: str, code: int) -> dict[str, str]:
    return {check["part"]: check["state"] for check in client.json("verify", job, code=code)["checks"]}


def an_object(client: Client) -> Path:
    """Return the loose object of the file train.py."""
    for path in (client.home / "snapshots").glob("*/objects/??/*"):
        if zlib.decompress(path.read_bytes()).startswith(b"blob") and b"log_metric" in zlib.decompress(
            path.read_bytes()
        ):
            return path
    raise AssertionError("no such object")


@pytest.fixture
def job(client: Client) -> str:
    (client.project / "train.py").write_text(
        "import foundations\nfoundations.log_metric('x', 1.0)\nprint('a line')\n"
        "open('model.pt', 'w').write('weights')\nfoundations.save_artifact('model.pt')\n"
    )
    submitted = client.submit("--", "python", "train.py")
    client.run("wait", submitted)
    client.run("sync")
    return submitted


def test_a_whole_job_is_said_to_be_whole(client: Client, job: str) -> None:
    client.run("get", job, "--artifacts", "--dest", str(client.home / "out"))
    assert states(client, job, 0) == dict.fromkeys(("code", "facts", "packages", "log", "records", "artifacts"), "ok")
    shown = client.run("verify", job).stdout.splitlines()
    assert len(shown) == 6 and shown[0].startswith("ok") and "1 file" in shown[0]


def test_what_is_damaged_or_gone_is_found(client: Client, job: str) -> None:
    client.run("get", job, "--artifacts", "--dest", str(client.home / "out"))
    kept = [path for path in client.home.rglob("*") if path.is_file() and not {"out", "agent"} & set(path.parts)]
    (artifact,) = (path for path in kept if path.read_bytes() == b"weights")
    artifact.write_text("other weights")
    log = next(path for path in (client.home / "logs").rglob("*") if path.is_file())
    os.truncate(log, 2)
    path = an_object(client)
    path.chmod(0o600)
    path.write_bytes(zlib.compress(b"blob 3\0abc"))
    with contextlib.closing(sqlite3.connect(client.home / "store.db")) as conn, conn:
        conn.execute("UPDATE packages SET list = '[]'")
    found = states(client, job, 1)
    assert found == {
        **dict.fromkeys(("code", "packages", "log", "artifacts"), "damaged"),
        **dict.fromkeys(("facts", "records"), "ok"),
    }


def test_what_has_not_come_is_named_with_what_brings_it(client: Client, job: str) -> None:
    for path in sorted((client.home / "snapshots").rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()
    with contextlib.closing(sqlite3.connect(client.home / "store.db")) as conn, conn:
        conn.execute("DELETE FROM packages")
        conn.execute("UPDATE streams SET offset = 0 WHERE name LIKE 'records/%'")
    shown = client.run("verify", job, code=1).stdout
    assert "get JOB --code brings it" in shown and "foundations sync" in shown and "still on the host" in shown
    client.run("get", job, "--code", "--dest", str(client.home / "out"))
    assert states(client, job, 1)["code"] == "ok"


def test_a_job_that_has_not_begun_has_its_code(client: Client) -> None:
    (client.project / "train.py").write_text("pass\n")
    client.run("pause", "--host", "local")
    waiting = client.submit("--", "true")
    assert states(client, waiting, 0) == {"code": "ok", "facts": "not recorded"}
    assert client.run("verify", "nobody", code=3).stdout == ""
