"""What make test needs besides Python: it is installed where that is allowed, else named."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

from tests.support.paths import TESTS

SCRIPT = TESTS / "programs.sh"


def run(folder: Path, **programs: str) -> subprocess.CompletedProcess[str]:
    """Run the script where only a few programs are to be found; the text of each is a shell script."""
    folder.mkdir()
    for name in ("sh", "sort", "tr", "id", "cat", "rm", "tee", "chmod", "env"):
        if name not in programs:  # what is written below must not go through a link to the real one
            (folder / name).symlink_to(str(shutil.which(name)))
    for name, text in programs.items():
        (folder / name).write_text(f"#!/bin/sh\n{text}\n")
        (folder / name).chmod(0o755)
    text = SCRIPT.read_text().replace('PATH="$PATH:/usr/sbin:/sbin"', "")
    env = {"PATH": str(folder), "LOG": str(folder / "log"), "HOME": os.environ["HOME"]}
    return subprocess.run([str(folder / "sh"), "-c", text], env=env, capture_output=True, text=True, timeout=30)


def test_what_is_missing_is_named(tmp_path: Path) -> None:
    done = run(tmp_path / "bin", id="echo 1000", sudo="exit 1", git="")
    assert done.returncode == 1
    assert "sudo apt-get install" in done.stderr
    assert "openssh-server" in done.stderr and "tmux" in done.stderr and " git" not in done.stderr


def test_what_is_missing_is_installed_where_it_may(tmp_path: Path) -> None:
    folder = tmp_path / "bin"
    made = " ".join(
        str(folder / name)
        for name in ("ssh", "ssh-keygen", "sshd", "tmux", "bash", "zsh", "fish", "chromium", "chromedriver")
    )
    apt = f'echo "$*" >>"$LOG"; [ "$1" = update ] || for p in {made}; do : >"$p"; chmod +x "$p"; done'
    done = run(folder, id="echo 1000", sudo='shift; exec "$@"', git="", **{"apt-get": apt}, true="", touch="")
    assert done.returncode == 0, done.stderr
    update, install = (folder / "log").read_text().splitlines()
    assert update.startswith("update") and install.startswith("install")
    assert {"openssh-server", "tmux", "zsh", "fish"} <= set(install.split()) and "git" not in install.split()
