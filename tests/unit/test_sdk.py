"""The SDK, in processes of their own: forks, threads, a full disk, no job."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from foundations.records import HEADER, Record, decode
from foundations_tui import __version__
from tests.support.paths import ROOT


def run(code: str, folder: Path | None, cwd: Path, program: str = sys.executable) -> subprocess.CompletedProcess[str]:
    """Run a script as a job would, or outside of one."""
    env = {**os.environ, "PYTHONPATH": str(Path.cwd())}
    for name in ("FOUNDATIONS_JOB_ID", "FOUNDATIONS_RECORDS_DIR", "FOUNDATIONS_TRACK", "PYTEST_CURRENT_TEST"):
        env.pop(name, None)
    if folder is not None:
        folder.mkdir(exist_ok=True)
        env["FOUNDATIONS_RECORDS_DIR"] = str(folder)
    return subprocess.run([program, "-c", code], env=env, cwd=cwd, capture_output=True, text=True, timeout=60)


def recorded(folder: Path) -> dict[str, list[Record]]:
    """Return the records of each writer."""
    found = {}
    for path in folder.iterdir():
        data = path.read_bytes()
        assert data.startswith(HEADER)
        found[path.name] = list(decode(data, 0))
    return found


def test_metrics_steps_and_lists(tmp_path: Path) -> None:
    done = run(
        "import foundations as f\n"
        "f.log_metric('a', [1, 2.5, True, 'x'])\nf.log_metric('a', 4, step=10)\nf.log_metric('a', 5)\n",
        tmp_path / "records",
        tmp_path,
    )
    assert done.returncode == 0, done.stderr
    (records,) = recorded(tmp_path / "records").values()
    assert [(r.step, r.value) for r in records] == [(0, 1), (1, 2.5), (2, True), (3, "x"), (10, 4), (11, 5)]


def test_a_fork_has_a_file_of_its_own(tmp_path: Path) -> None:
    code = (
        "import foundations as f, os\nf.log_metric('parent', 1)\n"
        "pids = []\n"
        "for n in range(8):\n"
        "    pid = os.fork()\n"
        "    if pid == 0:\n"
        "        for i in range(1000): f.log_metric('child', i)\n"
        "        os._exit(0)\n"
        "    pids.append(pid)\n"
        "for i in range(1000): f.log_metric('parent', i)\n"
        "for pid in pids: os.waitpid(pid, 0)\n"
    )
    assert run(code, tmp_path / "records", tmp_path).returncode == 0
    writers = recorded(tmp_path / "records")
    assert len(writers) == 9
    assert sorted(len(records) for records in writers.values()) == [1000] * 8 + [1001]
    assert all(len({record.key for record in records}) == 1 for records in writers.values())


def test_threads_lose_nothing(tmp_path: Path) -> None:
    code = (
        "import foundations as f, threading\n"
        "ts = [threading.Thread(target=lambda: [f.log_metric('m', i) for i in range(2000)]) for _ in range(8)]\n"
        "[t.start() for t in ts]; [t.join() for t in ts]\n"
    )
    assert run(code, tmp_path / "records", tmp_path).returncode == 0
    assert sum(len(records) for records in recorded(tmp_path / "records").values()) == 16000


def test_a_full_disk_warns_once_and_the_training_goes_on(tmp_path: Path) -> None:
    code = (
        "import foundations as f, resource, signal\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))\n"
        "for i in range(100): f.log_metric('loss', i)\n"
        "print('trained')\n"
    )
    done = run(code, tmp_path / "records", tmp_path)
    assert done.returncode == 0 and done.stdout == "trained\n"
    assert done.stderr.count("records are no longer written") == 1
    (records,) = recorded(tmp_path / "records").values()
    assert 10 < len(records) < 100 and [record.value for record in records] == list(range(len(records)))


def test_the_sdk_is_a_distribution_of_its_own(tmp_path: Path) -> None:
    root = ROOT
    for name in ("foundations", "sdk"):
        shutil.copytree(root / name, tmp_path / "src" / name, ignore=shutil.ignore_patterns("__pycache__"))
    words = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps"]
    subprocess.run([*words, "--target", str(tmp_path / "lib"), str(tmp_path / "src" / "sdk")], check=True, timeout=300)
    (info,) = (tmp_path / "lib").glob("*.dist-info")
    assert info.name == f"foundations_sdk-{__version__}.dist-info", "make version writes both"
    shipped = {path.relative_to(tmp_path / "lib") for path in (tmp_path / "lib" / "foundations").rglob("*.py")}
    assert shipped == {path.relative_to(root) for path in (root / "foundations").rglob("*.py")}
    assert (
        not (tmp_path / "lib" / "foundations_tui").exists() and "Requires-Dist" not in (info / "METADATA").read_text()
    )


@pytest.mark.parametrize(
    ("text", "shown"),
    [("", "{}"), ('{"a": {"b": [1, {}]}, "c": null}', "{'a': {'b': [1, {}]}, 'c': None}"), ("[1]", None), ("{", None)],
)
def test_parameters(tmp_path: Path, text: str, shown: str | None) -> None:
    (tmp_path / "foundations_job_parameters.json").write_text(text)
    done = run("import foundations; print(foundations.load_parameters())", tmp_path / "records", tmp_path)
    if shown is None:
        assert done.returncode == 1 and "Error" in done.stderr
        return
    assert done.stdout == f"{shown}\n", done.stderr
    found = {r.key: r.value for records in recorded(tmp_path / "records").values() for r in records}
    expected: dict[str, Any] = {"a_b_0": 1, "a_b_1": None, "c": None} if text else {}
    assert found == expected


@pytest.mark.parametrize(
    "call",
    [
        "log_metric(1, 2)",
        "log_metric('k', object())",
        "log_metric('k', [[1]])",
        "set_tag('k', [1])",
        "log_param('k', {1})",
    ],
)
def test_what_cannot_be_logged_is_said_where_it_is_called(tmp_path: Path, call: str) -> None:
    done = run(f"import foundations\nfoundations.{call}", tmp_path / "records", tmp_path)
    assert done.returncode == 1 and ("TypeError" in done.stderr or "ValueError" in done.stderr)


def test_scalars_of_other_libraries_are_numbers(tmp_path: Path) -> None:
    code = (
        "import foundations as f\n"
        "class Scalar:\n    def item(self): return 0.25\n"
        "f.log_metric('a', Scalar()); f.log_param('b', Scalar()); f.log_param('c', [Scalar(), (1, 2)])\n"
    )
    done = run(code, tmp_path / "records", tmp_path)
    assert done.returncode == 0, done.stderr
    (records,) = recorded(tmp_path / "records").values()
    assert [record.value for record in records] == [0.25, 0.25, [0.25, [1, 2]]]
