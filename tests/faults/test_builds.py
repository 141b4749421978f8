"""Builders of environments that are killed, meet each other, or fill the disk: nothing half is taken for whole."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import uv as uv_package

from remote_agent.environments import places
from remote_agent.environments.packages import keep_lock
from remote_agent.protocol.recipes import Recipe
from remote_agent.storage import files
from remote_agent.storage.paths import Paths
from tests.support.index import Index
from tests.support.paths import ROOT

UV = os.fspath(uv_package.find_uv_bin())
KILLS = 50


@pytest.fixture
def index() -> Iterator[Index]:
    index = Index()
    for number in range(10):
        index.add(f"part-{number}", "1.0", code="x = 1\n" * 2000)
    yield index
    index.close()


class Host:
    """A root of an agent in which builders run, without a daemon."""

    def __init__(self, root: Path, index: Index, packages: list[str]) -> None:
        self.paths = Paths(str(root))
        Path(self.paths.jobs).mkdir(parents=True)
        Path(self.paths.stopped).touch()  # a builder that ends starts no daemon
        Path(self.paths.login_path).write_text("/usr/bin:/bin")
        env = {**os.environ, "UV_DEFAULT_INDEX": index.url, "UV_CACHE_DIR": str(root.parent / "client-cache")}
        lock = subprocess.run(
            [UV, "pip", "compile", "-q", "--generate-hashes", "--no-header", "--python", sys.executable, "-"],
            input="".join(f"{name}\n" for name in packages),
            env=env,
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        digest = keep_lock(self.paths, lock.encode())
        self.recipe = Recipe(
            "packages",
            source="lock",
            lock=digest,
            format="requirements",
            python="3",
            interpreter=os.path.realpath(sys.executable),
            program=UV,
            variables={"UV_DEFAULT_INDEX": index.url},
        )
        self.environment = places.of(self.paths, self.recipe)
        Path(self.environment.folder).parent.mkdir(parents=True, exist_ok=True)

    def start(self) -> tuple[places.Try, subprocess.Popen[bytes]]:
        """Start a builder, as the daemon does."""
        attempt = places.new_try(self.paths, self.recipe.hash)
        Path(attempt.recipe).write_text(json.dumps(self.recipe.to_wire()))
        words = [self.paths.root, self.recipe.hash, os.path.basename(attempt.folder)]
        code = "import sys; from remote_agent.environments import builder; sys.exit(builder.main(*sys.argv[1:]))"
        process = subprocess.Popen(
            [sys.executable, "-c", code, *words], cwd=ROOT, start_new_session=True, stderr=subprocess.DEVNULL
        )
        return attempt, process

    def check(self) -> bool:
        """Return whether the environment is there; if so, it is whole."""
        if not os.path.lexists(self.environment.folder):
            return False
        told = json.loads(Path(self.environment.complete).read_text())
        assert len(told["packages"]) == 10
        code = "import " + ", ".join(f"part_{number}" for number in range(10))
        subprocess.run([self.environment.python, "-B", "-c", code], check=True)
        return True

    def remove(self) -> None:
        for folder in places.take_away(self.environment):
            files.remove_tree(folder)

    @property
    def remains(self) -> list[str]:
        return [name for name in os.listdir(places.folder(self.paths)) if places.NEW in name]


def test_fifty_builders_killed_at_random_points(tmp_path: Path, index: Index) -> None:
    host = Host(tmp_path / "root", index, [f"part-{number}" for number in range(10)])
    began = time.monotonic()
    _, process = host.start()
    assert process.wait() == 0 and host.check()
    usual = time.monotonic() - began
    host.remove()
    chance, whole = random.Random(7), 0
    for _ in range(KILLS):
        _, process = host.start()
        time.sleep(chance.uniform(0.0, usual))
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        if host.check():
            whole += 1
            host.remove()
    assert whole < KILLS
    for folder in places.remains(host.paths):
        files.remove_tree(folder)
    assert not host.remains
    attempt, process = host.start()
    assert process.wait() == 0 and host.check(), Path(attempt.log).read_text()
    assert not host.remains and len(places.tries(host.paths, host.recipe.hash)) <= 2


def test_two_builders_of_one_environment_at_once(tmp_path: Path, index: Index) -> None:
    host = Host(tmp_path / "root", index, [f"part-{number}" for number in range(10)])
    for _ in range(3):
        both = [host.start()[1] for _ in range(2)]
        assert [process.wait() for process in both] == [0, 0]
        assert host.check() and not host.remains
        host.remove()


def test_a_disk_that_is_full_while_building(tmp_path: Path, index: Index) -> None:
    small = tmp_path / "small"
    small.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", small], capture_output=True).returncode:
        pytest.skip("nobody may mount here")
    try:
        index.add("large", "1.0", code="y = 2\n" * 2_000_000)
        host = Host(small / "root", index, [*(f"part-{number}" for number in range(10)), "large"])
        attempt, process = host.start()
        assert process.wait() == 1
        assert json.loads(Path(attempt.end).read_text())["words"].startswith("the disk of the host is full")
        assert not os.path.lexists(host.environment.folder) and not host.remains
    finally:
        subprocess.run(["umount", "-l", small], check=True)
        shutil.rmtree(small, ignore_errors=True)
