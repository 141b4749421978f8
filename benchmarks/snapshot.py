"""A snapshot of 50,000 files with one change, against git with a warm index of its own; a work folder against cp -a."""

from __future__ import annotations

import os
import subprocess
import tempfile
from pathlib import Path

from benchmarks.paired import Pair, time_pair
from foundations_tui.snapshot import freeze, objects
from remote_agent.storage import workspace
from remote_agent.storage.objects import ObjectStore

_FOLDERS, _FILES = 500, 100


def run() -> list[Pair]:
    """Return the pairs."""
    return [_snapshot(), _work_folder()]


def _snapshot() -> Pair:
    with tempfile.TemporaryDirectory() as name:
        root = Path(name) / "project"
        _make_tree(root)
        env = {**os.environ, "GIT_INDEX_FILE": str(Path(name) / "index")}
        number = 0

        def change() -> None:
            nonlocal number
            number += 1
            (root / "folder-7" / "file-7.py").write_text(f"x = {number}\n" + "#" * number)

        def add_and_write_tree() -> None:
            change()
            subprocess.run(["git", "add", "-A"], cwd=root, env=env, check=True)
            subprocess.run(["git", "write-tree"], cwd=root, env=env, check=True, capture_output=True)

        def ours() -> None:
            change()
            freeze.take(root)

        return time_pair("snapshot of 50,000 files / git add -A && git write-tree", 1.3, add_and_write_tree, ours, 15)


def _work_folder() -> Pair:
    """Return a work folder of 5,000 files made of objects, against a copy of the tree."""
    with tempfile.TemporaryDirectory() as name:
        top, number = Path(name), 0
        (top / "project").mkdir()
        for file in range(5000):
            (top / "project" / f"file-{file}.py").write_text(f"# {file}\n" * 100)
        frozen = freeze.take(top / "project")
        store = ObjectStore(str(top / "objects"))
        _fill(store, frozen)

        def copy() -> None:
            subprocess.run(["cp", "-a", top / "project", top / f"copy-{os.urandom(4).hex()}"], check=True)

        def ours() -> None:
            nonlocal number
            number += 1
            workspace.make(store, frozen.tree, str(top / f"work-{number}"), lambda: None)

        return time_pair("work folder of 5,000 files / cp -a", 1.5, copy, ours, 7)


def _fill(store: ObjectStore, frozen: freeze.Snapshot) -> None:
    oids = [entry.oid for entry in objects.entries(frozen.shadow, frozen.tree)]
    for content in objects.read(frozen.shadow, [*dict.fromkeys(oids), frozen.tree]):
        path = Path(store.path(content.oid))
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.whole())


def _make_tree(root: Path) -> None:
    for folder in range(_FOLDERS):
        path = root / f"folder-{folder}"
        path.mkdir(parents=True)
        for file in range(_FILES):
            (path / f"file-{file}.py").write_text(f"# {folder} {file}\n")
    who = ["-c", "user.name=bench", "-c", "user.email=bench@example.org"]
    for words in (["init", "-q"], ["add", "-A"], [*who, "commit", "-q", "-m", "all"]):
        subprocess.run(["git", *words], cwd=root, check=True)
