"""The snapshot, with real git: what is taken, byte for byte, and that the user's repository is only read."""

from __future__ import annotations

import hashlib
import io
import os
import random
import shutil
import socket
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from foundations_tui.errors import SnapshotError
from foundations_tui.snapshot import freeze, objects
from foundations_tui.submit import shipping
from foundations_tui.submit.progress import Progress, Sending
from remote_agent.protocol.errors import BadRequest
from remote_agent.storage.objects import ObjectStore


def git(folder: Path, *words: str) -> str:
    env = {**os.environ, "GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1"}
    identity = ["-c", "user.name=T", "-c", "user.email=t@example.org", "-c", "protocol.file.allow=always"]
    done = subprocess.run(["git", *identity, *words], cwd=folder, env=env, capture_output=True, text=True, check=True)
    return done.stdout


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    folder = tmp_path / "repository"
    folder.mkdir()
    git(folder, "init", "-q")
    (folder / "kept.py").write_text("print(1)\n")
    (folder / "changed.py").write_text("old\n")
    (folder / "gone.py").write_text("gone\n")
    (folder / "sub").mkdir()
    (folder / "sub/inner.txt").write_text("inner")
    (folder / ".gitignore").write_text("*.ckpt\n")
    git(folder, "add", "-A")
    git(folder, "commit", "-qm", "one")
    return folder


def content(taken: freeze.Snapshot) -> dict[bytes, tuple[str, bytes]]:
    """Return (mode, bytes) of each file in a snapshot."""
    entries = [entry for entry in objects.entries(taken.shadow, taken.tree) if entry.kind == "blob"]
    blobs = {content.oid: content.whole() for content in objects.read(taken.shadow, [entry.oid for entry in entries])}
    return {entry.path: (entry.mode, blobs[entry.oid]) for entry in entries}


def everything_below(folder: Path) -> dict[str, tuple[int, int, str]]:
    """Return mode, time of change and hash of every file and folder."""
    found = {}
    for parent, folders, names in os.walk(folder):
        for name in folders + names:
            path = Path(parent) / name
            stats = path.lstat()
            digest = hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else ""
            found[str(path.relative_to(folder))] = (stats.st_mode, stats.st_mtime_ns, digest)
    return found


def test_the_working_tree_as_it_stands(repository: Path) -> None:
    (repository / "changed.py").write_text("new\n")
    (repository / "gone.py").unlink()
    (repository / "untracked.py").write_text("new file")
    (repository / "model.ckpt").write_text("ignored")
    found = content(freeze.take(repository))
    assert found == {
        b".gitignore": ("100644", b"*.ckpt\n"),
        b"kept.py": ("100644", b"print(1)\n"),
        b"changed.py": ("100644", b"new\n"),
        b"untracked.py": ("100644", b"new file"),
        b"sub/inner.txt": ("100644", b"inner"),
    }


def test_the_users_repository_is_untouched(repository: Path) -> None:
    (repository / "changed.py").write_text("new\n")
    (repository / "staged.py").write_text("staged")
    git(repository, "add", "staged.py")
    before = everything_below(repository / ".git")
    freeze.take(repository)
    freeze.take(repository / "sub")
    assert everything_below(repository / ".git") == before


def test_modes_links_and_hard_names(repository: Path) -> None:
    names = ["with space.py", "new\nline.py", "ünïcode-日本.py", '"quoted".py', "-dash.py", "tab\t.py"]
    for name in names:
        (repository / name).write_text(name)
    raw = os.fsencode(repository) + b"/not-utf8-\xff.py"
    with open(raw, "wb") as file:
        file.write(b"raw")
    (repository / "run.sh").write_text("#!/bin/sh\n")
    (repository / "run.sh").chmod(0o755)
    (repository / "link").symlink_to("kept.py")
    (repository / "dangling").symlink_to("/nowhere")
    (repository / "folder-link").symlink_to("sub")
    found = content(freeze.take(repository))
    for name in names:
        assert found[name.encode()] == ("100644", name.encode())
    assert found[b"not-utf8-\xff.py"] == ("100644", b"raw")
    assert found[b"run.sh"][0] == "100755"
    assert found[b"link"] == ("120000", b"kept.py")
    assert found[b"dangling"] == ("120000", b"/nowhere")
    assert found[b"folder-link"] == ("120000", b"sub")


def test_the_bytes_on_disk_count_no_filter_runs(repository: Path) -> None:
    (repository / ".gitattributes").write_text("*.txt text eol=crlf ident filter=upper\n")
    git(repository, "config", "filter.upper.clean", "tr a-z A-Z")
    git(repository, "config", "core.autocrlf", "true")
    (repository / "sub/inner.txt").write_bytes(b"line\nother\r\n$Id$\n")
    assert content(freeze.take(repository))[b"sub/inner.txt"][1] == b"line\nother\r\n$Id$\n"


def test_the_tree_is_gits_own(repository: Path) -> None:
    assert freeze.take(repository).tree == git(repository, "rev-parse", "HEAD^{tree}").strip()


def test_no_repository(tmp_path: Path) -> None:
    folder = tmp_path / "plain"
    (folder / "__pycache__").mkdir(parents=True)
    (folder / "__pycache__/x.pyc").write_text("no")
    (folder / "a.py").write_text("a")
    taken = freeze.take(folder)
    assert content(taken) == {b"a.py": ("100644", b"a")}
    assert taken.git == {} and taken.subdir == ""


def test_no_commit_yet(tmp_path: Path) -> None:
    git(tmp_path, "init", "-q")
    (tmp_path / "a.py").write_text("a")
    taken = freeze.take(tmp_path)
    assert content(taken) == {b"a.py": ("100644", b"a")}
    assert taken.git["commit"] is None


def test_an_empty_folder(tmp_path: Path) -> None:
    taken = freeze.take(tmp_path)
    assert content(taken) == {} and taken.files == 0


def test_from_a_subfolder_the_repository_travels(repository: Path) -> None:
    taken = freeze.take(repository / "sub")
    assert taken.subdir == "sub" and b"kept.py" in content(taken)


def add_submodule(repository: Path, other: Path, name: str) -> None:
    other.mkdir()
    git(other, "init", "-q")
    (other / "lib.py").write_text("lib")
    git(other, "add", "-A")
    git(other, "commit", "-qm", "lib")
    git(repository, "submodule", "add", "-q", str(other), name)


def test_submodules_and_nested_repositories(repository: Path, tmp_path: Path) -> None:
    add_submodule(repository, tmp_path / "other", "vendor")
    nested = repository / "nested"
    nested.mkdir()
    git(nested, "init", "-q")
    (nested / "n.py").write_text("n")
    found = content(freeze.take(repository))
    assert found[b"vendor/lib.py"][1] == b"lib"
    assert found[b"nested/n.py"][1] == b"n"
    assert not any(b".git/" in path for path in found)


def test_skip_worktree_and_sparse_files(repository: Path) -> None:
    git(repository, "update-index", "--skip-worktree", "changed.py")
    (repository / "changed.py").write_text("hidden change")
    assert content(freeze.take(repository))[b"changed.py"][1] == b"hidden change"


def test_a_worktree_of_a_repository(repository: Path, tmp_path: Path) -> None:
    git(repository, "worktree", "add", "-q", str(tmp_path / "tree"), "-b", "side")
    taken = freeze.take(tmp_path / "tree")
    assert b"kept.py" in content(taken) and taken.git["branch"] == "side"


def test_a_file_becomes_a_folder_and_back(repository: Path) -> None:
    freeze.take(repository)
    (repository / "kept.py").unlink()
    (repository / "kept.py").mkdir()
    (repository / "kept.py/x").write_text("x")
    assert content(freeze.take(repository))[b"kept.py/x"][1] == b"x"
    (repository / "kept.py/x").unlink()
    (repository / "kept.py").rmdir()
    (repository / "kept.py").write_text("file")
    assert content(freeze.take(repository))[b"kept.py"][1] == b"file"


def test_a_change_within_one_tick_of_the_clock_is_seen(repository: Path) -> None:
    for n in range(20):
        (repository / "changed.py").write_text(f"{n:04d}")
        assert content(freeze.take(repository))[b"changed.py"][1] == f"{n:04d}".encode()


def test_a_hook_environment_does_not_mislead(repository: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("GIT_DIR", str(tmp_path / "elsewhere"))
    monkeypatch.setenv("GIT_INDEX_FILE", str(tmp_path / "index"))
    assert b"kept.py" in content(freeze.take(repository))


def test_large_untracked_files_are_not_shipped_silently(repository: Path) -> None:
    (repository / "big.bin").write_bytes(bytes(2000))
    with pytest.raises(SnapshotError) as refused:
        freeze.take(repository, max_file=1000)
    assert "big.bin" in str(refused.value) and "/big.bin" in refused.value.hint
    (repository / ".foundationsignore").write_text("/big.bin\n")
    assert b"big.bin" not in content(freeze.take(repository, max_file=1000))


def test_files_that_git_packs_travel_among_small_ones(repository: Path, tmp_path: Path) -> None:
    dense, even = random.Random(0).randbytes(33 << 20), bytes(34 << 20)
    (repository / "a-small").write_text("before")
    (repository / "dense.bin").write_bytes(dense)
    (repository / "even.bin").write_bytes(even)
    (repository / "z-small").write_text("behind")
    taken = freeze.take(repository)
    assert list((taken.shadow / "objects/pack").glob("*.pack"))
    found = content(taken)
    assert found[b"dense.bin"][1] == dense and found[b"even.bin"][1] == even and found[b"a-small"][1] == b"before"
    listed = list(objects.entries(taken.shadow, taken.tree))
    oids = [entry.oid for kind in ("blob", "tree") for entry in reversed(listed) if entry.kind == kind] + [taken.tree]
    progress: list[tuple[int, int]] = []
    size = sum(entry.size for entry in listed)
    chunks = list(shipping._pack(objects.read(taken.shadow, oids), size, _Told(progress)))
    assert len(dense) < sum(map(len, chunks)) < len(dense) + (1 << 20)
    assert progress[-1] == (size, size) and progress == sorted(progress)
    assert len({done for done, _ in progress}) > 20, "one large file is many steps"
    store = ObjectStore(str(tmp_path / "store"))
    assert store.receive(io.BytesIO(b"".join(chunks))) == len(set(oids))
    for cut in (len(chunks[-1]) + 1, len(b"".join(chunks)) // 2):
        with pytest.raises(BadRequest):
            ObjectStore(str(tmp_path / f"cut-{cut}")).receive(io.BytesIO(b"".join(chunks)[:-cut]))


class _Told(Progress):
    """Keeps what it is told of a transfer."""

    def __init__(self, told: list[tuple[int, int]]) -> None:
        self._told = told

    def sent(self, done: int, total: int) -> None:
        self._told.append((done, total))


def test_a_transfer_says_how_fast_it_goes_and_what_is_left() -> None:
    sending = Sending()
    assert sending.words(0, 60_000_000, 100.0) == "0 B of 60 MB"
    assert sending.words(10_000_000, 60_000_000, 101.0) == "10 MB of 60 MB"
    assert sending.words(20_000_000, 60_000_000, 104.0) == "20 MB of 60 MB  5.0 MB/s  8 s left"
    assert sending.words(60_000_000, 60_000_000, 112.0) == "60 MB of 60 MB"
    assert sending.words(0, 0, 112.0) == "0 B of 0 B"


def test_foundationsignore_leaves_tracked_files_out_too(repository: Path) -> None:
    (repository / ".foundationsignore").write_text("sub/\n")
    assert not any(path.startswith(b"sub/") for path in content(freeze.take(repository)))


def test_entries_beyond_a_base_are_what_changed(repository: Path) -> None:
    first = freeze.take(repository)
    (repository / "sub/inner.txt").write_text("other")
    second = freeze.take(repository)
    changed = objects.entries(second.shadow, second.tree, first.tree)
    assert {entry.path for entry in changed} == {b"sub", b"sub/inner.txt"}


def test_no_such_folder(tmp_path: Path) -> None:
    with pytest.raises(SnapshotError, match="there is no folder"):
        freeze.take(tmp_path / "nowhere")


def test_a_tracked_folder_that_became_a_link(repository: Path) -> None:
    (repository / "moved").mkdir()
    (repository / "sub/inner.txt").rename(repository / "moved/inner.txt")
    (repository / "sub").rmdir()
    (repository / "sub").symlink_to("moved")
    found = content(freeze.take(repository))
    assert found[b"sub"] == ("120000", b"moved") and b"sub/inner.txt" not in found and b"moved/inner.txt" in found


def test_a_damaged_cache_heals(repository: Path) -> None:
    good = freeze.take(repository)
    for path in (good.shadow / "objects").glob("??/*"):
        path.chmod(0o600)
        path.write_bytes(b"")
    (repository / "changed.py").write_text("newer\n")
    taken = freeze.take(repository)
    assert content(taken)[b"changed.py"][1] == b"newer\n"
    for nonsense in ("5", "[]", '["' + "1" * 40 + '", 3, 4]'):
        (taken.shadow / "totals").write_text(nonsense)
        again = freeze.take(repository)
        assert (again.files, again.size) == (taken.files, taken.size)


@pytest.mark.parametrize("damage", [Path.unlink, lambda base: base.write_bytes(b"DIRC")])
def test_a_large_index_whose_base_is_damaged_heals(
    repository: Path, monkeypatch: pytest.MonkeyPatch, damage: Callable[[Path], object]
) -> None:
    monkeypatch.setattr(freeze, "_LARGE_INDEX", 0)
    for turn in range(3):
        (repository / "changed.py").write_text(f"{turn}\n")
        taken = freeze.take(repository)
    bases = list(taken.shadow.glob("sharedindex.*"))
    assert bases
    for base in bases:
        base.chmod(0o600)
        damage(base)
    (repository / "changed.py").write_text("newer\n")
    healed = freeze.take(repository)
    assert healed.shadow == taken.shadow and content(healed)[b"changed.py"][1] == b"newer\n"
    assert objects.entries(taken.shadow, taken.tree)


def test_our_ignore_file_counts_in_a_folder_that_was_a_file(repository: Path) -> None:
    (repository / ".foundationsignore").write_text("secrets\nkept.py/*.bin\n")
    (repository / "kept.py").unlink()
    (repository / "kept.py").mkdir()
    for name in ("a", "secrets", "b.bin"):
        (repository / "kept.py" / name).write_text("")
    found = [name for name in content(freeze.take(repository)) if name.startswith(b"kept.py")]
    assert found == [b"kept.py/a"]


def test_names_that_other_systems_cannot_have_are_kept(repository: Path) -> None:
    names = ["git~1", "v/.git /f", "w/aux:x", "x/.git::$INDEX_ALLOCATION"]
    for name in names:
        (repository / name).parent.mkdir(parents=True, exist_ok=True)
        (repository / name).write_text(name)
    assert set(map(os.fsencode, names)) <= set(content(freeze.take(repository)))


def test_names_that_git_itself_cannot_keep_are_refused(repository: Path) -> None:
    (repository / "u/.GIT").mkdir(parents=True)
    (repository / "u/.GIT/f").write_text("")
    with pytest.raises(SnapshotError, match="cannot keep a file of this name.*u/.GIT/f"):
        freeze.take(repository)
    (repository / ".foundationsignore").write_text("u/\n")
    freeze.take(repository)
    (repository / ".gitmodules").symlink_to("elsewhere")
    with pytest.raises(SnapshotError, match="cannot keep a file of this name.*gitmodules"):
        freeze.take(repository)


def test_a_repository_in_an_ignored_folder_is_included(repository: Path) -> None:
    (repository / ".gitignore").write_text("out/\n")
    (repository / "out/n").mkdir(parents=True)
    git(repository / "out/n", "init", "-q")
    for name in ("out/n/f", "out/z"):
        (repository / name).write_text("")
    assert {b"out/n/f", b"out/z"} <= set(content(freeze.take(repository, include=("out/**",))))
    found = content(freeze.take(repository, include=("out/n/",)))
    assert b"out/n/f" in found and b"out/z" not in found


def test_files_of_a_broken_repository_inside_come_along(repository: Path) -> None:
    for name in ("broken", "deep/broken"):
        (repository / name / ".git/objects").mkdir(parents=True)
        (repository / name / ".git/refs").mkdir()
        (repository / name / ".git/HEAD").write_text("ref: refs/heads/main\n")
        (repository / name / ".git/config").write_text("[core\n")
        (repository / name / "x.py").write_text("")
    found = content(freeze.take(repository))
    assert {b"broken/x.py", b"deep/broken/x.py", b"changed.py"} <= set(found)
    assert not [name for name in found if b".git/" in name]


def test_a_submodule_whose_repository_was_not_copied(repository: Path, tmp_path: Path) -> None:
    add_submodule(repository, tmp_path / "other", "lib")
    git(repository, "commit", "-qam", "with a submodule")
    (repository / "lib/.git").unlink()
    assert content(freeze.take(repository))[b"lib/lib.py"][1] == b"lib"


def test_the_hint_for_a_large_file_in_a_nested_repository_helps(repository: Path) -> None:
    nested = repository / "nested"
    nested.mkdir()
    git(nested, "init", "-q")
    (nested / "big.bin").write_bytes(bytes(2000))
    with pytest.raises(SnapshotError) as refused:
        freeze.take(repository, max_file=1000)
    file, line = refused.value.hint.splitlines()[0].removeprefix("add a line to ").split(", for example: ")
    Path(file).write_text(line + "\n")
    assert b"nested/big.bin" not in content(freeze.take(repository, max_file=1000))


def tree_by_git(root: Path, index: Path) -> str:
    """Return the tree that git itself makes of all files, with a copy of the user's index."""
    if (root / ".git/index").exists():
        shutil.copy2(root / ".git/index", index)  # with its time, by which git knows what it must look at again
    env = {**os.environ, "GIT_INDEX_FILE": str(index)}
    command = ["sh", "-c", "git add -A && git write-tree"]
    return subprocess.run(command, cwd=root, env=env, capture_output=True, text=True, check=True).stdout.strip()


class _Edits:
    """Random edits of a working tree: names of all kinds, several within one tick of the clock."""

    NAMES = [
        b"a",
        b"b.py",
        b"sub",
        b"sub/c",
        b"sub/deep/d",
        b"x y",
        b"n\nl",
        b"\xff\xfe",
        b"-dash",
        b"*.ckpt",
        b"sub/e.ckpt",
    ]

    def __init__(self, root: Path, seed: int) -> None:
        self._root, self._random = os.fsencode(root), random.Random(seed)

    def make(self) -> None:
        for _ in range(self._random.randrange(1, 6)):
            path = os.path.join(self._root, self._random.choice(self.NAMES))
            self._random.choice([self._write, self._write, self._remove, self._flip, self._link, self._folder])(path)

    def _write(self, path: bytes) -> None:
        self._clear(path)
        with open(path, "wb") as file:
            file.write(bytes(self._random.randrange(3)) + self._random.randbytes(self._random.randrange(4)))

    def _link(self, path: bytes) -> None:
        self._clear(path)
        os.symlink(self._random.choice([b"a", b"nowhere", b"/etc"]), path)

    def _folder(self, path: bytes) -> None:
        self._clear(path)
        os.mkdir(path)
        self._write(os.path.join(path, b"inside"))

    def _flip(self, path: bytes) -> None:
        if os.path.isfile(path) and not os.path.islink(path):
            os.chmod(path, os.stat(path).st_mode ^ 0o111)

    def _remove(self, path: bytes) -> None:
        if os.path.isdir(path) and not os.path.islink(path):
            shutil.rmtree(path)
        elif os.path.lexists(path):
            os.unlink(path)

    def _clear(self, path: bytes) -> None:
        """Make room for a path: nothing is there, and all above it are folders."""
        self._remove(path)
        parent = os.path.dirname(path)
        if parent != self._root and not (os.path.isdir(parent) and not os.path.islink(parent)):
            self._clear(parent)
            os.mkdir(parent)


@pytest.mark.parametrize("seed", range(6))
def test_any_edits_give_gits_own_tree(tmp_path: Path, seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    if seed % 2:
        monkeypatch.setattr(freeze, "_LARGE_INDEX", 0)
    root = tmp_path / "tree"
    root.mkdir()
    git(root, "init", "-q")
    (root / ".gitignore").write_text("*.ckpt\n!sub/\n")
    edits = _Edits(root, seed)
    for turn in range(25):
        edits.make()
        if turn % 5 == 3:
            git(root, "add", "-A")
        if turn % 10 == 8:
            (root / ".gitignore").write_text(f"*.ckpt\n{'b.py' if turn % 20 == 8 else 'sub/'}\n")
        taken = freeze.take(root)
        assert taken.tree == tree_by_git(root, tmp_path / "index"), f"seed {seed}, turn {turn}"
        blobs = [entry for entry in objects.entries(taken.shadow, taken.tree) if entry.kind == "blob"]
        assert (taken.files, taken.size) == (len(blobs), sum(entry.size for entry in blobs))


def test_a_repository_of_sha256(tmp_path: Path) -> None:
    root = tmp_path / "sha256"
    root.mkdir()
    git(root, "init", "-q", "--object-format=sha256")
    (root / "a").write_text("a")
    git(root, "add", "-A")
    git(root, "-c", "user.name=a", "-c", "user.email=a@b", "commit", "-qm", "x")
    taken = freeze.take(root)
    assert set(content(taken)) == {b"a"} and len(taken.tree) == 40
    assert len(taken.git["commit"]) == 64 and taken.git["dirty"] is False
    (root / "b").write_text("b")
    assert freeze.take(root).git["dirty"] is True


def test_what_is_neither_a_file_nor_a_link_is_left_out(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    os.mkfifo(repository / "pipe")
    with socket.socket(socket.AF_UNIX) as server:
        monkeypatch.chdir(repository)  # names of sockets are short
        server.bind("sock")
        assert not {b"pipe", b"sock"} & set(content(freeze.take(repository)))


def test_another_git_that_holds_the_lock_is_not_waited_for(repository: Path) -> None:
    (repository / ".git/index.lock").write_text("")
    (repository / "new").write_text("new")
    assert b"new" in content(freeze.take(repository)) and (repository / ".git/index.lock").exists()


def test_names_that_differ_only_in_case(repository: Path) -> None:
    (repository / "Name").write_text("one")
    (repository / "name").write_text("two")
    taken = content(freeze.take(repository))
    assert (taken[b"Name"][1], taken[b"name"][1]) == (b"one", b"two")


def test_a_file_that_is_written_meanwhile_is_one_of_its_states(repository: Path) -> None:
    ended = threading.Event()

    def write() -> None:
        while not ended.is_set():
            for size in (10, 3000, 100_000):
                (repository / "log.txt").write_bytes(b"x" * size)

    writer = threading.Thread(target=write)
    writer.start()
    try:
        for _ in range(3):
            assert set(content(freeze.take(repository))[b"log.txt"][1]) <= {ord("x")}
    finally:
        ended.set()
        writer.join()


def test_pointers_of_lfs_are_named(repository: Path) -> None:
    assert freeze.lfs_pointers(freeze.take(repository)) == []
    (repository / ".gitattributes").write_text("*.bin filter=lfs diff=lfs merge=lfs -text\n")
    pointer = f"version https://git-lfs.github.com/spec/v1\noid sha256:{'a' * 64}\nsize 123456\n"
    (repository / "weights.bin").write_text(pointer)
    (repository / "fetched.bin").write_bytes(b"\0" * 200)
    assert freeze.lfs_pointers(freeze.take(repository)) == ["weights.bin"]


def test_a_repository_of_another_user_says_what_to_do(repository: Path) -> None:
    if os.getuid() != 0:
        pytest.skip("only root gives files away")
    for path in (repository, repository / ".git"):
        os.chown(path, 12345, 12345)
    with pytest.raises(SnapshotError, match="belongs to another user") as refused:
        freeze.take(repository)
    assert refused.value.hint == f"git config --global --add safe.directory {repository}"
