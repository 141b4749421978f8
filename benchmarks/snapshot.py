"""A snapshot of 50,000 files with one change, against git with a warm index of its own."""

from __future__ import annotations

import os
import subprocess
import tempfile
from pathlib import Path

from benchmarks.paired import Pair, time_pair
from foundations_tui.snapshot import freeze

_FOLDERS, _FILES = 500, 100


def run() -> Pair:
    """Return the pair."""
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

        return time_pair("snapshot of 50,000 files / git add -A && git write-tree", 1.5, add_and_write_tree, ours, 15)


def _make_tree(root: Path) -> None:
    for folder in range(_FOLDERS):
        path = root / f"folder-{folder}"
        path.mkdir(parents=True)
        for file in range(_FILES):
            (path / f"file-{file}.py").write_text(f"# {folder} {file}\n")
    who = ["-c", "user.name=bench", "-c", "user.email=bench@example.org"]
    for words in (["init", "-q"], ["add", "-A"], [*who, "commit", "-q", "-m", "all"]):
        subprocess.run(["git", *words], cwd=root, check=True)
