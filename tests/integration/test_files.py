"""Files between hosts and the user's folders: nothing is written where it should not be, nothing is lost unasked."""

from __future__ import annotations

import io
import os
import shutil
import sqlite3
import stat
import subprocess
import sys
import tarfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings, strategies as some

from foundations_tui.errors import HostRefused, HostUnreachable
from foundations_tui.store import write_annotations
from foundations_tui.store.db import Store
from foundations_tui.sync import unpacking
from foundations_tui.sync.unpacking import Folder, Refused
from remote_agent.storage.files import walk
from tests.support.client import Client, wait_until

# --- unpacking --------------------------------------------------------------------------------------------------


class Stream(io.BytesIO):
    """A stream of a host's."""

    is_cut = False

    def read(self, size: int | None = -1) -> bytes:
        page = super().read(size)
        self.is_cut = not page
        return page


def member(name: str, content: bytes = b"", **facts: Any) -> tuple[tarfile.TarInfo, bytes]:
    info = tarfile.TarInfo(name)
    info.size = len(content)
    for key, value in facts.items():
        setattr(info, key, value)
    return info, content


def link(name: str, target: str) -> tuple[tarfile.TarInfo, bytes]:
    return member(name, type=tarfile.SYMTYPE, linkname=target)


def tar(*members: tuple[tarfile.TarInfo, bytes]) -> Stream:
    stream = Stream()
    with tarfile.open(fileobj=stream, mode="w", format=tarfile.PAX_FORMAT) as file:
        for info, content in members:
            file.addfile(info, io.BytesIO(content))
    stream.seek(0)
    return stream


def unpack(stream: Stream, target: Path, within: str = "", **options: Any) -> unpacking.Unpacked:
    with_git = options.pop("with_git", False)
    with Folder(target, within, with_git) as folder:
        return unpacking.unpack(stream, folder, **options)


NAMES = ["a", "b", "a/x", "a/b/y", "b/a", "code", "code/x", "../out", "a/../../out", "/tmp/out", "a/./x", ".git/config"]
TARGETS = [
    "a",
    "b",
    "..",
    ".",
    "../out",
    "a/b",
    "b/../..",
    "/etc",
    "a/../..",
    "code",
    "../../out",
    "./a/.",
    "x/../../..",
]
ENTRIES = some.lists(
    some.one_of(
        some.tuples(some.just("file"), some.sampled_from(NAMES), some.binary(max_size=3)),
        some.tuples(some.just("link"), some.sampled_from(NAMES), some.sampled_from(TARGETS)),
    ),
    max_size=6,
)
FETCHES = some.lists(some.tuples(some.sampled_from(["", "code", "artifacts"]), ENTRIES), min_size=1, max_size=5)


@settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(FETCHES)
def test_no_sequence_of_fetches_writes_outside(tmp_path_factory: pytest.TempPathFactory, fetches: Any) -> None:
    top = tmp_path_factory.mktemp("fetches")
    (top / "out").mkdir()
    (top / "out" / "mine").write_bytes(b"mine")
    target = top / "deep" / "target"
    for within, entries in fetches:
        made = [link(name, what) if kind == "link" else member(name, what) for kind, name, what in entries]
        unpack(tar(*made), target, within)
        assert [(path.name, path.read_bytes()) for path in (top / "out").iterdir()] == [("mine", b"mine")]
        assert sorted(os.listdir(top)) == ["deep", "out"] and os.listdir(top / "deep") == ["target"]
        real = os.path.realpath(target)
        for folder, folders, names in os.walk(target):
            for name in folders + names:
                found = os.path.realpath(os.path.join(folder, name))
                assert found == real or found.startswith(real + "/"), f"{name} leads out"
        assert not list(target.rglob(".git*"))


@pytest.mark.parametrize(
    ("bad", "why"),
    [
        (member("../x", b"evil"), "leads out"),
        (member("/x", b"evil"), "leads out"),
        (member("n" * 256, b""), "256 bytes"),
        (member("漢" * 86 + ".pt"), "261 bytes"),
        (member("a\0b"), ""),
        (member("late", pax_headers={"mtime": "nan"}), "time"),
        (member("late", mtime=1e300), "time"),
        (member(".git/hooks/pre-commit", b"evil"), "--with-git"),
        (member("sub/.GIT/config", b"evil"), "--with-git"),
        (link("l", "/etc"), "leads out"),
        (link("l", "a/../.."), "leads out"),
        (member("dev", type=tarfile.CHRTYPE), "neither"),
        (member("hard", type=tarfile.LNKTYPE, linkname="/etc/passwd"), "neither"),
    ],
)
def test_what_cannot_be_written_costs_only_itself(tmp_path: Path, bad: Any, why: str) -> None:
    if bad[0].name == "a\0b":
        bad[0].name, bad[0].pax_headers = "x", {"path": "a\0b"}
    done = unpack(tar(member("good", b"1"), bad, member("last", b"2")), tmp_path / "t")
    assert [name for name, _ in done.files] == ["good", "last"]
    assert len(done.refused) == 1 and why in done.refused[0][1]
    assert sorted(os.listdir(tmp_path / "t")) == ["good", "last"]


def test_modes_are_the_sources_within_the_umask(tmp_path: Path) -> None:
    before = os.umask(0o077)
    try:
        unpack(tar(member("a", mode=0o755), member("b", mode=0o600), member("c", mode=0o4777)), tmp_path / "private")
    finally:
        os.umask(before)
    unpack(tar(member("a", mode=0o755), member("b", mode=0o600), member("c", mode=0o4644)), tmp_path / "open")

    def modes(folder: str) -> list[int]:
        return [stat.S_IMODE((tmp_path / folder / name).stat().st_mode) for name in "abc"]

    assert modes("private") == [0o700, 0o600, 0o700]
    assert modes("open") == [0o755 & ~before, 0o600, 0o644 & ~before]


def test_a_users_own_link_is_not_followed_either(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "t").mkdir()
    (tmp_path / "t" / "data").symlink_to(tmp_path / "out")
    done = unpack(tar(member("data/x", b"1"), member("data", b"2")), tmp_path / "t")
    assert done.refused[0][0] == "data/x" and "a link" in done.refused[0][1]
    assert os.listdir(tmp_path / "out") == [] and (tmp_path / "t" / "data").read_bytes() == b"2"


@pytest.mark.parametrize("stream", [b"x" * 2000, b"\1" * 512, tar(member("a", b"x" * 5000)).getvalue()[9:]])
def test_a_stream_that_is_none_is_refused_in_words(tmp_path: Path, stream: bytes) -> None:
    with pytest.raises(HostRefused, match="make no sense"):
        unpack(Stream(stream), tmp_path / "t", host="evil")


def test_a_stream_that_is_cut_anywhere_is_a_lost_connection(tmp_path: Path) -> None:
    """Whoever asks tries that again, unlike nonsense."""
    whole = tar(member("a", b"x" * 5000), member("b" * 300, b"y")).getvalue()
    ends = whole.rstrip(b"\0")
    for end in [*range(0, len(ends), 311), *range(512, len(ends), 512)]:
        with pytest.raises(HostUnreachable):
            unpack(Stream(whole[:end]), tmp_path / "t")


@pytest.mark.parametrize("size", ["-5", "1e3", "inf", "", "9" * 5000])
def test_a_size_that_is_none_ends_the_stream_in_words(tmp_path: Path, size: str) -> None:
    with pytest.raises((HostRefused, HostUnreachable)):
        unpack(tar(member("t", b"123", pax_headers={"size": size}), member("after", b"4")), tmp_path / "t")


def test_no_damage_within_a_stream_passes_for_its_end(tmp_path: Path) -> None:
    whole = tar(member("a", b"1" * 600), member("b", b"2"), member("c", b"3")).getvalue()
    for place in (1536, 1536 + 257, 2560 + 148):  # in the headers of b and c
        data = bytearray(whole)
        data[place] ^= 1
        with pytest.raises(HostRefused, match="make no sense"):
            unpack(Stream(bytes(data)), tmp_path / "flipped")
    for end in range(512, 3584, 512):  # before the two empty blocks that end it
        with pytest.raises(HostUnreachable):
            unpack(Stream(whole[:end]), tmp_path / "cut")


def test_headers_of_any_size_and_depth_end_in_words(tmp_path: Path) -> None:
    large = tarfile.TarInfo("pax")
    large.type, large.size = tarfile.XHDTYPE, 1 << 33
    with pytest.raises(HostRefused):
        unpack(Stream(large.tobuf() + bytes(10_000)), tmp_path / "t")
    nested = tarfile.TarInfo("pax")
    nested.type, nested.size = tarfile.XHDTYPE, 10
    with pytest.raises(HostRefused):
        unpack(Stream((nested.tobuf() + b"10 a=bbbb\n".ljust(512, b"\0")) * 5000), tmp_path / "t")


def test_a_limit_holds_whatever_the_host_sends(tmp_path: Path) -> None:
    done = unpack(tar(*(member(name, b"x" * 1000) for name in "abcd")), tmp_path / "t", limit=2500)
    assert [name for name, _ in done.files] == ["a", "b"] and len(done.refused) == 2


def test_links_of_a_frozen_tree_are_made_as_they_are(tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    for words in (["init", "-q"], ["config", "user.email", "a@b"], ["config", "user.name", "a"]):
        subprocess.run(["git", *words], cwd=source, check=True)
    (source / "sub").mkdir()
    (source / "sub" / "a.py").write_text("1")
    (source / "run.sh").write_text("2")
    (source / "run.sh").chmod(0o755)
    (source / "data").symlink_to("/data/sets")
    (source / "up").symlink_to("../../elsewhere")
    subprocess.run(["git", "add", "-A"], cwd=source, check=True)
    tree = subprocess.run(["git", "write-tree"], cwd=source, capture_output=True, text=True, check=True).stdout.strip()
    members = [
        link("data", "/data/sets"),
        member("run.sh", b"2", mode=0o755),
        member("sub/a.py", b"1"),
        link("up", "../../elsewhere"),
    ]
    done = unpack(tar(*members), tmp_path / "as it was", tree=tree)
    assert not done.refused and os.readlink(tmp_path / "as it was" / "data") == "/data/sets"
    done = unpack(tar(*members, member("more", b"")), tmp_path / "another", tree=tree)
    assert [name for name, _ in done.refused] == ["data", "up"]
    done = unpack(tar(*members), tmp_path / "not frozen here")
    assert [name for name, _ in done.refused] == ["data", "up"]


def test_a_copy_follows_no_link(tmp_path: Path) -> None:
    secret = tmp_path / "id_ed25519"
    secret.write_text("secret")
    cache = tmp_path / "cache"
    cache.mkdir()
    (cache / "model").symlink_to(secret)
    (cache / "folder").mkdir()
    (cache / "folder" / "key").symlink_to(secret)
    (cache / "folder" / "best").symlink_to("a.pt")
    (cache / "folder" / "a.pt").write_text("1")
    with Folder(tmp_path / "project", "artifacts") as folder:
        assert unpacking.copy(cache / "model", folder, "model").refused
        done = unpacking.copy(cache / "folder", folder, "folder")
    assert [name for name, _ in done.refused] == ["folder/key"]
    assert sorted(os.listdir(tmp_path / "project" / "artifacts" / "folder")) == ["a.pt", "best"]
    with Folder(tmp_path / "project") as folder, pytest.raises(Refused), folder.new_file("artifacts"):
        pass


# --- what only the host has -------------------------------------------------------------------------------------

WRITES = """
import os
open("model.bin", "wb").write(b"w" * 3000)
open("ignored.tmp", "wb").write(b"t" * 10)
os.makedirs("__pycache__"); open("__pycache__/x.pyc", "wb").write(b"p")
os.makedirs("venv/lib"); open("venv/pyvenv.cfg", "w").write(""); open("venv/lib/x.py", "w").write("")
open("given.txt", "a").write("more") if os.environ.get("CHANGE") else None
open(os.path.join(os.environ["FOUNDATIONS_CHECKPOINT_DIR"], "c.pt"), "wb").write(b"c" * 20)
"""


def test_what_nobody_fetched_keeps_its_folder(client: Client) -> None:
    (client.project / "t.py").write_text(WRITES)
    (client.project / "given.txt").write_text("given")
    (client.project / ".gitignore").write_text("*.tmp\n")
    job = client.submit("--", "python", "t.py")
    client.run("wait", job)
    folder = client.home / "agent" / "jobs" / job
    kept = client.json("prune", job, "--yes")[0]
    assert kept["unfetched"] == {"files": 3, "bytes": 3030, "largest": ["attempts/1/work/model.bin", 3000]}
    assert not kept["removed"] and folder.exists()
    said = client.run("prune", job, "--yes").stderr
    assert "3 files" in said and "3.0 kB" in said and "model.bin" in said and "--force" in said
    client.run("get", job, "--dest", "out")
    kept = client.json("prune", job, "--yes")[0]
    assert kept["unfetched"]["largest"] == ["checkpoints/c.pt", 20] and folder.exists()
    client.run("get", job, "--checkpoints", "--dest", "out")
    assert (client.project / "out" / "checkpoints" / "c.pt").read_bytes() == b"c" * 20
    assert client.json("prune", job, "--yes")[0]["removed"]
    wait_until(lambda: not folder.exists())


DEEP = """
import os
for level in range({levels}):
    os.mkdir("{name}"); os.chdir("{name}")
open("deep.txt", "w").write("kept")
"""


@pytest.fixture
def emptied(tmp_path: Path) -> Iterator[Path]:
    """Gives a folder that is emptied at the end, however deep: pytest itself removes no such folder."""
    yield tmp_path
    subprocess.run(["rm", "-rf", "--", *tmp_path.iterdir()], check=True)


def test_files_at_any_depth_come_or_are_named(emptied: Path, client: Client) -> None:
    (client.project / "deep.py").write_text(DEEP.format(levels=1500, name="d"))
    (client.project / "long.py").write_text(DEEP.format(levels=90, name="d" * 60))
    deep = client.submit("--", sys.executable, "deep.py")
    long = client.submit("--", sys.executable, "long.py")
    client.run("wait", deep, long)
    client.run("get", deep, "--dest", str(emptied / "deep"))
    assert sum(names == ["deep.txt"] for _, _, names in walk(str(emptied / "deep"), lambda *_: None)) == 1
    said = client.run("get", long, "--dest", str(emptied / "long"), code=None).stderr
    assert "it cannot be read: File name too long" in said
    kept = client.run("prune", deep, long, "--yes", code=None)
    assert "never fetched" in kept.stdout + kept.stderr
    assert os.listdir(client.home / "agent" / "jobs") == [long]


def test_force_prunes_what_nobody_fetched_and_delete_names_it(client: Client) -> None:
    (client.project / "t.py").write_text(WRITES)
    one, other = (client.submit("--env", "CHANGE=1", "--", "python", "t.py") for _ in range(2))
    client.run("wait", one, other)
    said = client.run("prune", one, "--force", "--yes").stderr
    assert "is lost" in said
    said = client.run("delete", other).stderr
    assert "were never fetched" in said and "in 30 days" in said
    client.run("restore", other)
    assert answered(client, "n", "delete", "--now", other) == 130
    assert client.job(other)["state"] == "completed"
    assert answered(client, "y", "delete", "--now", other) == 0
    client.run("show", other, code=3)
    said = client.run("delete", "--now", "--yes", one).stderr
    assert "never fetched" not in said, "its folder is gone already"


def answered(client: Client, answer: str, *words: str) -> int:
    """Run a verb on a terminal, give an answer to what it asks, and return how it exits."""
    ours, its = os.openpty()
    verb = client.start(*words, stdin=its)
    os.write(ours, answer.encode() + b"\n")
    verb.communicate(timeout=60)
    os.close(ours)
    os.close(its)
    return int(verb.returncode)


def test_what_a_job_leaves_beside_its_folder_counts(client: Client) -> None:
    jobs = [
        client.submit("--", "sh", "-c", words)
        for words in (
            "echo 1 > ../results.txt",
            "mkdir ../../../more; echo 1 > ../../../more/x",
            "mv ../work ../moved; ln -s moved ../work; echo 1 > ../moved/kept",
            'mkdir "../../../attempts/\u00b2"; echo 1 > kept',
            "mkdir -p ../../../receipts; echo '[[\"a\",[],{}]]' > ../../../receipts/x.json; echo 1 > kept",
            "mkdir -p ../../../receipts; mkfifo ../../../receipts/x.json; echo 1 > kept",
            "mkdir -p ../../../receipts ../../../unfetched.json; echo '[[' > ../../../receipts/x.json; echo 1 > k",
            "true",
        )
    ]
    client.run("wait", *jobs)
    rows = {row["job"]: row for row in client.json("prune", *jobs, "--yes", timeout=60)}
    assert [rows[job]["removed"] for job in jobs] == [False] * 7 + [True]


def test_event_files_that_grew_after_the_end_count(client: Client) -> None:
    (client.project / "foundations.toml").write_text("[metrics]\ntensorboard = true\n")
    job = client.submit("--", "sh", "-c", "echo 1 > events.out.tfevents.1")
    client.run("wait", job)
    client.run("sync")
    assert client.json("prune", job, "--dry-run")[0]["unfetched"] is None
    client.run("exec", job, "--", "sh", "-c", "echo 2 > events.out.tfevents.2")
    assert client.json("prune", job, "--dry-run")[0]["unfetched"]["files"] == 1


def test_days_in_the_trash_are_counted_by_this_clock(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FOUNDATIONS_HOME", str(client.home))
    job = client.submit("--", "sh", "-c", "echo 1 > kept")
    client.run("wait", job)
    store = Store()
    write_annotations.put_annotations(store, [job], {"trashed": True}, time.time() - 40 * 86400)
    store.close()
    client.run("sync")
    assert client.json("jobs", "--where", "is:trashed")[0]["job"] == job
    client.run("restore", job)
    assert client.job(job)["state"] == "completed"


def test_a_folder_of_the_users_is_no_place_for_a_get(client: Client) -> None:
    job = client.submit("--", "sh", "-c", "echo '!*' > .gitignore; echo s > out.bin")
    client.run("wait", job)
    client.run("get", job)
    short = next(path.name for path in client.project.iterdir() if job.startswith(path.name))
    assert client.json("submit", "--dry-run", "--", "true")["files"] == 0, "what was fetched is not shipped"
    assert (client.project / short / ".gitignore").read_text().startswith("!*\n")
    client.run("get", job)  # again
    shutil.rmtree(client.project / short)
    (client.project / short).mkdir()
    (client.project / short / "mine").write_text("")
    assert "--dest" in client.run("get", job, code=2).stderr


def test_whose_jobs_they_are_is_asked_of_uninstall_archive_and_restore(client: Client) -> None:
    (client.home / "hosts.toml").write_text('owner = "ann"\n')
    job = client.submit("--", "echo", "important")
    client.run("wait", job)
    (client.home / "hosts.toml").write_text('owner = "bob"\n')
    for words in (
        ["archive", job],
        ["hosts", "agent", "uninstall", "local", "--yes", "--force"],
        ["prune", job, "--yes"],
    ):
        assert "ann" in client.run(*words, code=2).stderr, words
    client.run("delete", "--others", job)
    assert "ann" in client.run("restore", job, code=2).stderr
    client.run("restore", job, "--others")
    client.run("archive", job, "--others")
    assert client.job(job)["archived"]


def test_a_changed_file_and_one_written_since_the_fetch_count(client: Client) -> None:
    (client.project / "given.txt").write_text("given")
    job = client.submit("--", "sh", "-c", "printf other > given.txt; echo 1 > later")
    client.run("wait", job)
    assert client.json("prune", job, "--dry-run")[0]["unfetched"]["files"] == 2
    client.run("get", job, "--dest", "out")
    assert client.json("prune", job, "--dry-run")[0]["unfetched"] is None
    client.run("exec", job, "--", "sh", "-c", "echo 22 > later")
    assert client.json("prune", job, "--dry-run")[0]["unfetched"]["largest"][0] == "attempts/1/work/later"


def test_the_trash_empties_as_promised(client: Client) -> None:
    job = client.submit("--", "sh", "-c", "echo 1 > kept")
    client.run("wait", job)
    client.run("delete", job)
    client.run("sync")
    with sqlite3.connect(client.home / "store.db") as store:
        store.execute("UPDATE jobs SET trashed = trashed - 31 * 86400")
        store.execute("UPDATE annotations SET time = time - 31 * 86400")
    store.close()
    client.run("sync")
    client.run("show", job, code=3)
    wait_until(lambda: not (client.home / "agent" / "jobs" / job).exists())


def test_uninstall_names_what_would_be_lost(client: Client) -> None:
    job = client.submit("--", "sh", "-c", "echo 1 > kept")
    client.run("wait", job)
    refused = client.run("hosts", "agent", "uninstall", "local", "--yes", code=1)
    assert "never fetched" in refused.stderr and "--force" in refused.stderr
    client.run("hosts", "agent", "uninstall", "local", "--yes", "--force")


SYNCS = """
import foundations
kept = foundations.create_syncable_directory("some data", "here")
open("here/a", "w").write("1")
kept.upload()
"""


def python(client: Client, code: str) -> subprocess.CompletedProcess[str]:
    """Run a line of Python on the laptop, outside of any job."""
    words = [sys.executable, "-c", code]
    return subprocess.run(words, cwd=client.project, env=client.env, capture_output=True, text=True, timeout=60)


def test_directories_kept_in_step_are_fetched_as_artifacts_are(client: Client, tmp_path: Path) -> None:
    (client.project / "t.py").write_text(SYNCS)
    job = client.submit("--", "python", "t.py")
    client.run("wait", job)
    client.run("get", job, "--artifact", "synced/some data", "--dest", "one")
    assert (client.project / "one" / "artifacts" / "synced" / "some data" / "a").read_text() == "1"
    client.run("get", job, "--artifacts", "--dest", "all")
    assert (client.project / "all" / "artifacts" / "synced" / "some data" / "a").read_text() == "1"
    code = f"""if True:
        import foundations
        folder = foundations.create_syncable_directory('some data', None, {job[:6]!r})
        print(open(str(folder) + '/a').read())
    """
    done = python(client, code)
    assert done.stdout.strip() == "1"
    follower = client.submit("--", "python", "-c", code)
    client.run("wait", follower)
    assert client.run("logs", follower).stdout.strip() == "1"
    missing = "import foundations; foundations.create_syncable_directory('none', None, '" + job + "')"
    assert "FileNotFoundError" in python(client, missing).stderr


def test_git_comes_only_when_asked_for(client: Client) -> None:
    job = client.submit("--", "sh", "-c", "git init -q . && echo 1 > a && mkdir e && ln -s /etc e/l && mkfifo e/f")
    client.run("wait", job)
    got = client.run("get", job, "--dest", "out")
    assert "below .git/" in got.stderr and "--with-git" in got.stderr and "leads out" in got.stderr
    assert not (client.project / "out" / ".git").exists() and (client.project / "out" / "a").exists()
    client.run("get", job, "--dest", "out", "--with-git")
    assert (client.project / "out" / ".git" / "HEAD").exists()


def test_files_of_an_earlier_attempt(client: Client) -> None:
    job = client.submit(
        "--retries", "1", "--retry-on", "failed", "--", "sh", "-c", "echo $FOUNDATIONS_ATTEMPT > n; exit 1"
    )
    client.run("wait", job, code=1)
    client.run("get", job, "--attempt", "1", "--dest", "first")
    assert (client.project / "first" / "n").read_text() == "1\n"
    assert client.json("prune", job, "--dry-run")[0]["unfetched"]["files"] == 1
    assert "no attempt 3" in client.run("get", job, "--attempt", "3", code=3).stderr


def test_overlapping_outputs_come_once(client: Client) -> None:
    (client.project / "foundations.toml").write_text('[outputs]\ncollect = ["a*", "*b", "ab"]\n')
    job = client.submit("--", "sh", "-c", "echo 1 > ab; echo 2 > ac")
    client.run("wait", job)
    client.run("sync")
    assert client.job(job)["outputs"]["files"] == 2


# --- holes ------------------------------------------------------------------------------------------------------


def blocks(path: Path) -> int:
    return path.stat().st_blocks * 512


def test_a_sparse_log_costs_no_space_here(client: Client) -> None:
    code = "import os,sys; print('begin', flush=True); os.truncate('../output.log', 1 << 30); print('end')"
    job = client.submit("--", "python", "-c", code)
    client.run("wait", job)
    client.run("sync")
    own = client.home / "logs" / job / "1.log"
    assert own.stat().st_size > 1 << 30 and blocks(own) < 1 << 20
    assert client.run("logs", job).stdout.replace("\0", "").split() == ["begin", "end"]
    client.run("get", job, "--log", "--dest", "out")
    assert blocks(client.project / "out" / "output.log") < 1 << 20


@pytest.mark.slow
def test_a_bounded_log_costs_here_what_it_costs_there(client: Client) -> None:
    (client.project / "foundations.toml").write_text("[metrics]\npatterns = ['^line (?P<n>\\d+) x+$']\n")
    code = "for n in range(250_000): print('line', n, 'x' * 40)"
    job = client.submit("--log-limit", "1M", "--", "python", "-c", code)
    client.run("wait", job)
    client.run("sync")
    found = client.job(job)["metrics"]["n"]
    assert found["min"] == 0 and found["last"] == 249_999  # on both sides of what it lost
    own = client.home / "logs" / job / "1.log"
    assert own.stat().st_size > 12_500_000 and blocks(own) < 2 << 20
