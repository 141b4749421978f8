"""Environments: a project with numpy and pandas on a bare host, beside ``uv sync`` by hand; and one that is built.

Both sides get a cache of their own that is empty (cold), or that has the wheels (warm), and the lock beforehand.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import time
from pathlib import Path

import uv as uv_package

from benchmarks.agent import Host
from benchmarks.paired import Pair, time_pair
from foundations_tui.submit.pipeline import submit
from foundations_tui.submit.request import JobRequest
from remote_agent.environments import places
from remote_agent.protocol import messages
from remote_agent.storage import files
from remote_agent.storage.paths import Paths

_PROJECT = '[project]\nname = "p"\nversion = "0"\nrequires-python = ">=3.9"\ndependencies = ["numpy", "pandas"]\n'
_UV = os.fspath(uv_package.find_uv_bin())


def run() -> list[Pair]:
    """Return the pairs."""
    os.environ.pop("VIRTUAL_ENV", None)
    with Host(max_jobs=2) as host, tempfile.TemporaryDirectory() as scratch:
        paths = Paths(str(host.root))
        (host.project / "requirements.txt").write_text("six\n")
        _time(host, "requirements.txt")  # sends uv, which is there by hand, too
        (host.project / "pyproject.toml").write_text(_PROJECT)
        subprocess.run([_UV, "lock", "--quiet"], cwd=host.project, check=True)
        by_hand = _ByHand(host.project, Path(scratch))

        def cold() -> None:
            _forget(paths)
            files.remove_tree(places.cache(paths))
            _time(host, "uv.lock")

        def warm() -> None:
            _forget(paths)
            _time(host, "uv.lock")

        return [
            time_pair(
                "numpy and pandas, cold, beside uv sync and the script", 1.3, lambda: by_hand.sync(True), cold, 3
            ),
            time_pair("numpy and pandas, warm", 1.5, lambda: by_hand.sync(False), warm, 3),
            time_pair(
                "a job whose environment is built, beside one without (at most 50 ms more)",
                1.5,
                lambda: _time(host, "none"),
                lambda: _time(host, "uv.lock"),
                9,
            ),
        ]


class _ByHand:
    """``uv sync``, compiled as ours is, and the script."""

    def __init__(self, project: Path, scratch: Path) -> None:
        self._folder, self._cache = scratch / "p", scratch / "cache"
        shutil.copytree(project, self._folder)

    def sync(self, cold: bool) -> float:
        shutil.rmtree(self._folder / ".venv", ignore_errors=True)
        if cold:
            shutil.rmtree(self._cache, ignore_errors=True)
        began = time.perf_counter()
        mode = "copy" if os.getuid() == 0 else "hardlink"
        env = {**os.environ, "UV_CACHE_DIR": str(self._cache), "UV_LINK_MODE": mode}
        words = ["sync", "--quiet", "--frozen", "--compile-bytecode"]
        subprocess.run([_UV, *words], cwd=self._folder, env=env, check=True)
        subprocess.run(
            [self._folder / ".venv/bin/python", "train.py"], cwd=self._folder, check=True, capture_output=True
        )
        return time.perf_counter() - began


def _time(host: Host, runtime: str) -> float:
    """Return the seconds from a submit to the end of its job."""
    began = time.perf_counter()
    submit(host.session, JobRequest(("python", "train.py"), host.project, host="local", runtime=runtime))
    while True:
        hello = host.agent.call(messages.Hello())
        if not hello.resources.queued and not hello.active:
            return time.perf_counter() - began
        time.sleep(0.005)


def _forget(paths: Paths) -> None:
    for environment in list(places.built(paths)):
        for gone in places.take_away(environment):
            files.remove_tree(gone)
