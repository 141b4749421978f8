"""The code of jobs outlives hosts, damaged caches and git's collection, and comes to whoever wants to compare it."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.support import agents
from tests.support.client import Client
from tests.support.sshd import Sshd


def write_project(folder: Path) -> None:
    """Write files of all kinds: bytes, a program, links in and out of the tree, odd names."""
    (folder / "train.py").write_bytes(b"print(1)\r\n")
    (folder / "data.bin").write_bytes(b"\r\n\xff\x00")
    (folder / "run.sh").write_text("#!/bin/sh\n")
    (folder / "run.sh").chmod(0o755)
    (folder / "sub").mkdir()
    (folder / "sub" / "näme with\nline").write_text("x")
    (folder / "inside").symlink_to("sub")
    (folder / "outside").symlink_to("/usr/share")


def same(one: Path, other: Path) -> bool:
    """Return whether two folders have the same files, links and permissions to execute."""
    done = subprocess.run(["diff", "-r", "--no-dereference", one, other], capture_output=True)
    return done.returncode == 0 and os.access(one / "run.sh", os.X_OK) == os.access(other / "run.sh", os.X_OK)


def the_shadow(client: Client) -> Path:
    (head,) = (client.home / "snapshots").glob("*/HEAD")
    return head.parent


def snapshot_git(shadow: Path, *words: str) -> str:
    return subprocess.run(["git", "--git-dir", str(shadow), *words], check=True, capture_output=True, text=True).stdout


def test_the_code_is_there_before_the_job_has_begun_and_after_the_host_was_wiped(
    client: Client, tmp_path: Path
) -> None:
    write_project(client.project)
    client.run("pause", "--host", "local")
    job = client.submit("--", "true")
    client.run("get", job, "--code", "--dest", str(tmp_path / "waiting"))
    agents.end(client.home / "agent")
    shutil.rmtree(client.home / "agent")
    client.run("get", job, "--code", "--dest", str(tmp_path / "wiped"))
    for folder in ("waiting", "wiped"):
        assert same(client.project, tmp_path / folder / "code")


def test_code_is_not_written_through_a_link(client: Client, tmp_path: Path) -> None:
    (client.project / "train.py").write_text("print(1)\n")
    job = client.submit("--", "true")
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "code").symlink_to(elsewhere)
    assert "a link" in client.run("get", job, "--code", "--dest", str(tmp_path / "own"), code=1).stderr
    assert list(elsewhere.iterdir()) == []


@pytest.mark.parametrize("content", [b"\x88\xe3" * 20, b"", b"DIRC\0\0\0\4\0\0\0\1"], ids=["noise", "empty", "cut"])
def test_a_damaged_index_costs_no_snapshot(client: Client, content: bytes) -> None:
    (client.project / "train.py").write_text("print(1)\n")
    first = client.submit("--", "true")
    (the_shadow(client) / "index").write_bytes(content)
    (client.project / "train.py").write_text("print(2)\n")
    second = client.submit("--", "true")
    assert "-print(1)\n+print(2)" in client.run("diff", first, second).stdout


def test_damaged_objects_cost_only_themselves(client: Client, tmp_path: Path) -> None:
    (client.project / "train.py").write_text("print(1)\n")
    (client.project / "other.py").write_text("kept\n")
    first = client.submit("--", "true")
    (client.project / "train.py").write_text("print(2)\n")
    second = client.submit("--", "true")
    shadow = the_shadow(client)
    damaged = snapshot_git(shadow, "rev-parse", f"{client.job(second)['snapshot']}:train.py").strip()
    path = shadow / "objects" / damaged[:2] / damaged[2:]
    path.chmod(0o600)
    path.write_bytes(b"")
    (client.project / "other.py").write_text("changed\n")
    client.submit("--", "true")
    client.run("get", first, "--code", "--dest", str(tmp_path / "first"))
    assert (tmp_path / "first/code/train.py").read_text() == "print(1)\n"
    client.run("get", second, "--code", "--dest", str(tmp_path / "second"))
    assert (tmp_path / "second/code/train.py").read_text() == "print(2)\n"


def test_what_cannot_be_frozen_costs_nothing_that_was(client: Client) -> None:
    (client.project / "train.py").write_text("print(1)\n")
    job = client.submit("--", "true")
    before = sorted((client.home / "snapshots").iterdir())
    subprocess.run(["git", "init", "-q"], cwd=client.project, check=True)
    (client.project / ".git/index").write_bytes(b"no index")
    assert "git" in client.run("submit", "--", "true", code=1).stderr
    assert sorted((client.home / "snapshots").iterdir()) == before
    shutil.rmtree(client.project / ".git")
    (client.project / "train.py").write_text("print(2)\n")
    assert "+print(2)" in client.run("diff", job, ".").stdout


def test_snapshots_are_held_whatever_git_collects(client: Client) -> None:
    (client.project / "train.py").write_text("print(1)\n")
    first = client.submit("--", "true")
    client.submit("--sweep", "x=1,2", "--", "true")
    (client.project / "train.py").write_text("print(2)\n")
    second = client.submit("--", "true")
    shadow = the_shadow(client)
    refs = snapshot_git(shadow, "for-each-ref", "--format=%(refname)").split()
    assert sorted(refs) == sorted(f"refs/foundations/{client.job(job)['snapshot']}" for job in (first, second))
    (shadow / "index").unlink()
    snapshot_git(shadow, "gc", "-q", "--prune=now")
    assert "+print(2)" in client.run("diff", first, second).stdout


def test_the_working_directory_is_compared_with_a_job(client: Client) -> None:
    (client.project / "sub").mkdir()
    (client.project / "train.py").write_text("print(1)\n")
    subprocess.run(["git", "init", "-q"], cwd=client.project, check=True)
    (client.project / ".gitignore").write_text("*.log\n")
    job = client.submit("--", "true")
    assert "the code is the same" in client.run("diff", job, ".").stderr
    (client.project / "train.py").write_text("print(2)\n")
    (client.project / "x.log").write_text("ignored")
    shown = client.json("diff", job, ".", cwd=client.project / "sub")
    assert shown["jobs"] == [job, "."] and "-print(1)\n+print(2)" in shown["difference"]
    assert "x.log" not in shown["difference"]
    assert "-print(2)\n+print(1)" in client.run("diff", ".", job).stdout
    assert "name a job" in client.run("diff", ".", code=2).stderr
    assert "--log" in client.run("diff", job, ".", "--log", code=2).stderr


def test_a_second_client_gets_the_code_when_it_compares(client: Client, sshd: Sshd, tmp_path: Path) -> None:
    root = client.add_host("box", sshd)
    other = Client(tmp_path / "laptop2", tmp_path / "project2")
    other.add_host("box", sshd, root=root)
    write_project(client.project)
    first = client.submit("--host", "box", "--", "true")
    (client.project / "train.py").write_text("print(2)\n")
    second = client.submit("--host", "box", "--", "true")
    client.run("wait", first, second)
    other.run("sync")
    assert "print(2)" in other.run("diff", first, second).stdout
    (other.project / "train.py").write_text("print(3)\n")
    assert "print(3)" in other.run("diff", second, ".").stdout
    done = other.run("get", second, "--code", "--dest", str(tmp_path / "theirs"), code=1)
    assert "outside" in done.stderr and "leads out" in done.stderr  # a host's word is not enough for that
    (client.project / "outside").unlink()
    assert same(client.project, tmp_path / "theirs" / "code")


def test_another_host_that_has_the_code_gives_it(client: Client, sshd: Sshd, tmp_path: Path) -> None:
    root = client.add_host("box", sshd)
    write_project(client.project)
    there = client.submit("--host", "box", "--", "true")
    here = client.submit("--host", "local", "--", "true")
    client.run("wait", there, here)
    agents.end(root)
    shutil.rmtree(root)
    shutil.rmtree(client.home / "snapshots")
    client.run("get", there, "--code", "--dest", str(tmp_path / "again"))
    assert same(client.project, tmp_path / "again" / "code")
    agents.end(client.home / "agent")
    shutil.rmtree(client.home / "agent")
    shutil.rmtree(client.home / "snapshots")
    client.run("get", there, "--code", "--dest", str(tmp_path / "gone"), code=3)


def test_a_sweep_is_resumed_after_its_host_was_wiped(client: Client, sshd: Sshd) -> None:
    root = client.add_host("box", sshd)
    (client.project / "train.py").write_text("import sys\nprint(open('data.txt').read(), sys.argv[1])\n")
    (client.project / "data.txt").write_text("kept")
    client.run("pause", "--host", "box")
    jobs = client.json("submit", "--host", "box", "--sweep", "x=1,2", "--", "python", "train.py", "{x}")
    sweep = jobs[0]["sweep"]
    agents.end(root)
    shutil.rmtree(root)
    (client.project / "data.txt").write_text("changed since")
    client.run("sync")
    again = client.json_of("sweep", "resume", sweep, "--json")
    ids = [row["job"] for row in again]
    client.run("wait", *ids)
    assert sorted(client.run("logs", job).stdout for job in ids) == ["kept 1\n", "kept 2\n"]


def test_what_looks_like_a_repository_among_what_comes_is_never_used(client: Client, tmp_path: Path) -> None:
    """A git that is asked for an object in a repository of a host's runs what its configuration says."""
    mark = tmp_path / "ran"
    job = client.submit("--", "true")
    for folder in (client.home / "incoming" / "tmpx", client.home / "snapshots" / "tmpx"):
        subprocess.run(["git", "init", "-q", "--bare", folder], check=True)
        with (folder / "config").open("a") as config:
            config.write("[extensions]\npartialClone = o\n[core]\nrepositoryformatversion = 1\n")
            config.write(
                f'[remote "o"]\nurl = "ext::sh -c touch% {mark}"\npromisor = true\n[protocol "ext"]\nallow = always\n'
            )
        subprocess.run(["git", "--git-dir", folder, "cat-file", "-e", "1" * 40], capture_output=True)
        assert mark.exists(), "the trap works"
        mark.unlink()
    shutil.rmtree(next((client.home / "snapshots").glob("[0-9a-f]*")))
    client.run("get", job, "--code", "--dest", str(tmp_path / "got"))
    client.run("diff", job, ".")
    assert not mark.exists()


def test_without_git_it_is_said_what_is_missing(client: Client, tmp_path: Path) -> None:
    job = client.submit("--", "true")
    for words in (["get", job, "--code", "--dest", str(tmp_path / "got")], ["diff", job, "."], ["diff", job, job]):
        done = client.run(*words, code=1, env={"PATH": str(tmp_path)})
        assert "install git" in done.stderr, done.stderr


def test_a_file_that_is_cut_in_a_snapshot_is_not_written(client: Client, tmp_path: Path) -> None:
    (client.project / "z.bin").write_bytes(os.urandom(300_000))
    job = client.submit("--", "true")
    shadow = the_shadow(client)
    oid = snapshot_git(shadow, "rev-parse", f"{client.job(job)['snapshot']}:z.bin").strip()
    path = shadow / "objects" / oid[:2] / oid[2:]
    path.chmod(0o600)
    path.write_bytes(path.read_bytes()[:150_000])
    client.run("get", job, "--code", "--dest", str(tmp_path / "got"))
    assert (tmp_path / "got/code/z.bin").read_bytes() == (client.project / "z.bin").read_bytes()
    fetched = client.home / "snapshots/fetched/objects" / oid[:2] / oid[2:]
    fetched.chmod(0o600)
    fetched.write_bytes(b"")
    client.run("get", job, "--code", "--dest", str(tmp_path / "again"))
    assert (tmp_path / "again/code/z.bin").read_bytes() == (client.project / "z.bin").read_bytes()
