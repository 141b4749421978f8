"""Data sets: sent once, resumed, read-only, named by projects, hashed into the facts."""

from __future__ import annotations

import json
import os
import stat
import time
from pathlib import Path

import pytest

from remote_agent.protocol.data_sets import manifest_of
from remote_agent.protocol.errors import BadRequest
from remote_agent.system import processes
from tests.support.client import Client
from tests.support.sshd import Sshd


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Something to send."""
    top = tmp_path / "cifar"
    (top / "a/b").mkdir(parents=True)
    (top / "a/b/one.bin").write_bytes(os.urandom(3_000_000))
    (top / "two ü.txt").write_text("two")
    (top / "same.txt").write_text("two")
    (top / "tool.sh").write_text("#!/bin/sh\n")
    (top / "tool.sh").chmod(0o755)
    (top / "empty").write_text("")
    return top


@pytest.mark.rest
def test_a_data_set_is_sent_once_and_used_by_jobs(client: Client, sshd: Sshd, folder: Path) -> None:
    root = client.add_host("gpu1", sshd)
    told = client.json_of("data", "put", "cifar", str(folder), "--host", "gpu1", "--json")
    assert (told["files"], told["sent"] >= 3_000_000) == (5, True)
    again = client.json_of("data", "put", "cifar2", str(folder), "--host", "gpu1", "--json")
    assert again["sent"] == 0 and again["hash"] == told["hash"]
    (folder / "a/b/three.txt").write_text("three")
    more = client.json_of("data", "put", "cifar3", str(folder), "--host", "gpu1", "--json")
    assert more["hash"] != told["hash"]
    rows = client.json_of("data", "ls", "--json", "--host", "gpu1")
    assert [(row["name"], row["files"]) for row in rows] == [("cifar", 5), ("cifar2", 5), ("cifar3", 6)]
    place = Path(rows[0]["path"])
    assert (place / "a/b/one.bin").read_bytes() == (folder / "a/b/one.bin").read_bytes()
    assert stat.S_IMODE((place / "tool.sh").stat().st_mode) == 0o500
    assert not any(path.stat().st_mode & 0o222 for path in place.rglob("*"))
    (client.project / "foundations.toml").write_text('[data]\nimages = { path = "data:cifar", at = "data" }\n')
    (client.project / "train.py").write_text(
        "import os, time\nprint(open('data/two ü.txt').read(), os.environ['FOUNDATIONS_DATA_IMAGES'])\n"
        "while not os.path.exists('go'): time.sleep(0.1)\n"
    )
    job = client.submit("--host", "gpu1", "--", "python", "train.py")
    client.wait_until(job, "running")
    assert "is used by 1 jobs" in client.run("data", "rm", "cifar", "--host", "gpu1", "--yes", code=1).stderr
    (root / "jobs" / job / "attempts/1/work/go").touch()
    client.run("wait", job)
    assert client.run("logs", job).stdout == f"two {place}\n"
    facts = client.job(job)["facts"]["data"]["images"]
    assert facts == {"path": str(place), "hash": told["hash"]}
    assert "is whole" in client.run("data", "verify", "cifar", "--host", "gpu1").stderr
    (place / "a/b/one.bin").chmod(0o600)
    with (place / "a/b/one.bin").open("r+b") as file:
        file.write(b"!")
    wrong = client.json_of("data", "verify", "cifar", "--host", "gpu1", "--json", code=1)["wrong"]
    assert wrong == ["a/b/one.bin is not what it was when it was sent"]
    client.run("data", "rm", "cifar", "--host", "gpu1", "--yes")
    assert place.exists(), "another name means it, too"
    client.run("data", "rm", "cifar2", "--host", "gpu1", "--yes")
    assert not place.exists()
    done = client.run("submit", "--host", "gpu1", "--", "python", "train.py", code=3)
    assert "foundations data put cifar PATH --host gpu1" in done.stderr


@pytest.mark.faults
def test_a_transfer_that_was_cut_goes_on_where_it_stopped(client: Client, own_sshd: Sshd, tmp_path: Path) -> None:
    root = client.add_host("gpu1", own_sshd)
    folder = tmp_path / "large"
    folder.mkdir()
    for number in range(3):
        (folder / f"{number}.bin").write_bytes(os.urandom(40_000_000))
    process = client.start("data", "put", "large", str(folder), "--host", "gpu1")
    incoming = root / "data"
    while not any(path.stat().st_size > 5_000_000 for path in incoming.glob("*.incoming/*")):
        assert process.poll() is None, process.communicate()
    process.kill()
    process.wait()
    told = client.json_of("data", "put", "large", str(folder), "--host", "gpu1", "--json")
    assert 0 < told["sent"] < 120_000_000 - 5_000_000, told
    assert (
        not list(incoming.glob("*.incoming*"))
        and client.json_of("data", "ls", "--json", "--host", "gpu1")[0]["bytes"] == 120_000_000
    )


def test_one_file_and_a_path_that_is_only_listed(client: Client, tmp_path: Path) -> None:
    (tmp_path / "one.csv").write_text("1,2\n")
    client.run("data", "put", "table", str(tmp_path / "one.csv"), "--host", "local")
    there = tmp_path / "there"
    there.mkdir()
    (there / "x").write_text("x")
    (client.project / "foundations.toml").write_text(
        f'[data]\ntable = "data:table"\nmore = {{ path = {json.dumps(str(there))}, hash = "listing" }}\n'
    )
    seen = []
    for text in ("x", "xy"):
        (there / "x").write_text(text)
        job = client.submit("--", "sh", "-c", "cat $FOUNDATIONS_DATA_TABLE")
        client.run("wait", job)
        assert client.run("logs", job).stdout == "1,2\n"
        seen.append(client.job(job)["facts"]["data"]["more"]["hash"])
    assert seen[0].startswith("listing:") and seen[0] != seen[1]


def test_what_is_no_data_set_is_refused(client: Client, tmp_path: Path) -> None:
    (tmp_path / "links").mkdir()
    (tmp_path / "links/out").symlink_to("/etc/passwd")
    (tmp_path / "none").mkdir()
    for words, name, path in (
        ("is a link", "x", "links"),
        ("has no files", "x", "none"),
        ("no file or folder", "x", "missing"),
        ("is no name", "../x", "links"),
        ("is no name", "", "links"),
    ):
        assert words in client.run("data", "put", name, str(tmp_path / path), "--host", "local", code=2).stderr
    assert "there is no data set" in client.run("data", "rm", "x", "--host", "local", "--yes", code=3).stderr
    assert "there is no data set" in client.run("data", "verify", "x", "--host", "local", code=3).stderr
    (client.project / "foundations.toml").write_text('[data]\nx = { path = "/x", hash = "md5" }\n')
    assert 'hash is "listing"' in client.run("submit", "--", "true", code=2).stderr


@pytest.mark.parametrize("path", ["../x", "/x", "a//b", "a/./b", "", "a\0b"])
def test_a_manifest_that_leads_out_is_refused(path: str) -> None:
    with pytest.raises(BadRequest):
        manifest_of(json.dumps({"file": False, "files": [[path, 1, "a" * 64, False]]}).encode())
    with pytest.raises(BadRequest):
        manifest_of(
            json.dumps({"file": False, "files": [["a", 1, "a" * 64, False], ["a/b", 1, "a" * 64, False]]}).encode()
        )
    with pytest.raises(BadRequest):
        manifest_of(b"[" * 100_000)


def test_a_folder_of_one_file_is_a_folder_and_sets_without_a_name_go(client: Client, tmp_path: Path) -> None:
    folder = tmp_path / "one"
    folder.mkdir()
    (folder / "x.csv").write_text("1")
    for text in ("1", "2"):
        (folder / "x.csv").write_text(text)
        client.run("data", "put", "table", str(folder), "--host", "local")
    (row,) = client.json_of("data", "ls", "--json", "--host", "local")
    assert (Path(row["path"]) / "x.csv").read_text() == "2"
    data = client.home / "agent/data"
    deadline = time.monotonic() + 20
    while sorted(path.name for path in data.iterdir()) != sorted([row["hash"], "names"]):
        assert time.monotonic() < deadline, list(data.iterdir())
        client.run("data", "ls")
        time.sleep(0.1)


@pytest.mark.faults
def test_very_many_files_and_very_many_of_one_content(client: Client, tmp_path: Path) -> None:
    folder = tmp_path / "many"
    folder.mkdir()
    for number in range(13_000):
        (folder / f"{number}.txt").write_text(str(number) if number < 2_900 else "")
    told = client.json_of("data", "put", "many", str(folder), "--host", "local", "--json")
    assert told["files"] == 13_000
    assert client.json_of("data", "verify", "many", "--host", "local", "--json")["wrong"] == []


def test_two_clients_do_not_send_one_data_set_into_each_other(client: Client, tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(os.urandom(1000))
    client.run("data", "put", "first", str(tmp_path / "x"), "--host", "local")
    (row,) = client.json_of("data", "ls", "--json", "--host", "local")
    client.run("data", "rm", "first", "--host", "local", "--yes")
    lock = client.home / "agent/data" / f"{row['hash']}.lock"
    lock.write_text(json.dumps(processes.identity(os.getpid()).to_wire()))
    done = client.run("data", "put", "first", str(tmp_path / "x"), "--host", "local", code=1)
    assert "another client is sending this data set" in done.stderr
    lock.write_text(json.dumps({"pid": 999_999_999 % 2**22, "start": 1, "boot": "gone"}))
    client.run("data", "put", "first", str(tmp_path / "x"), "--host", "local")
    assert not lock.exists()
