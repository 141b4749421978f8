"""Silence is a fault: what stays behind, what is missing, what is not as it seems, is said."""

from __future__ import annotations

import contextlib
import json
import os
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from foundations import inplace
from foundations_tui.text import sanitize
from remote_agent.protocol.errors import BadRequest
from remote_agent.protocol.jobs import JobSpec
from remote_agent.storage import workspace
from tests.support.client import FOUNDATIONS, Client


def repository(client: Client) -> None:
    for words in (["init", "-q"], ["config", "user.email", "a@b"], ["config", "user.name", "a"]):
        subprocess.run(["git", *words], cwd=client.project, check=True)


def test_ignored_files_that_stay_behind_are_counted(client: Client) -> None:
    repository(client)
    (client.project / ".gitignore").write_text("*.bin\n*.pkl\ncache/\n__pycache__/\n.venv/\n")
    for name in ("train.bin", "val.bin", "meta.pkl"):
        (client.project / name).write_bytes(b"x" * 1000)
    for name in ("cache", "__pycache__", ".venv"):
        (client.project / name).mkdir()
        (client.project / name / "x").write_text("")
    (client.project / "t.py").write_text("open('meta.pkl')")
    found = client.json_of("submit", "--dry-run", "--json", "--", "python", "t.py")
    assert found["ignored"] == ["cache/", "meta.pkl", "train.bin", "val.bin"] and found["ignored_bytes"] == 3000
    said = client.run("submit", "--dry-run", "--", "python", "t.py").stderr
    assert "3 ignored files, 3.0 kB and 1 ignored folder, not shipped: cache/, meta.pkl" in said
    said = client.run("submit", "--", "python", "t.py").stderr
    assert "3 ignored files" in said
    said = client.run("submit", "--wait", "--", "python", "t.py", code=1).stderr
    assert "meta.pkl lies here and was not shipped" in said and "include" in said
    (client.project / "foundations.toml").write_text('[snapshot]\ninclude = ["*.bin", "*.pkl", "cache/**"]\n')
    assert "ignored" not in client.run("submit", "--wait", "--", "python", "t.py").stderr


def test_a_start_folder_without_files_is_refused_at_submit(client: Client) -> None:
    repository(client)
    (client.project / ".gitignore").write_text("scratch/\n")
    for name in ("scratch", "empty"):
        (client.project / name).mkdir()
    (client.project / "scratch" / "t.py").write_text("")
    for name in ("scratch", "empty"):
        said = client.run("submit", "--", "python", "t.py", code=1, cwd=client.project / name).stderr
        assert "has no files that are shipped" in said and "include" in said
    assert client.json("jobs") == []


@pytest.mark.parametrize("is_repository", [True, False])
def test_empty_folders_are_there_on_the_host(client: Client, is_repository: bool) -> None:
    if is_repository:
        repository(client)
        (client.project / ".gitignore").write_text("ignored/\n")
    for name in ("out", "src/logs/deep", "ignored", "been/.git", ".venv/lib", "odd\udcff"):
        (client.project / name).mkdir(parents=True)
    (client.project / "src" / "t.py").write_text("open('out/x', 'w'); open('src/logs/deep/y', 'w')\n")
    said = client.run("submit", "--dry-run", "--", "true").stdout
    assert "3 empty folders" in said or not is_repository
    found = client.json("submit", "--dry-run", "--", "true")["empty_folders"]
    assert {"out", "src/logs/deep"} <= set(found) and not {".venv/lib", "been"} & set(found)
    assert ("ignored" in found) is not is_repository
    job = client.submit("--", "python", "src/t.py")
    assert client.run("wait", job, code=None).code == 0, client.run("logs", job).stdout


def test_what_cannot_be_read_or_is_not_there_is_said(client: Client) -> None:
    repository(client)
    (client.project / "hidden").mkdir()
    (client.project / "hidden" / "x").write_text("")
    (client.project / ".gitmodules").write_text('[submodule "sub"]\n\tpath = sub\n\turl = ../sub\n')
    assert "sub/" in client.run("submit", "--dry-run", "--", "true").stderr
    if os.getuid() == 0:
        plain = [
            "setpriv",
            "--bounding-set=-dac_override,-dac_read_search",
            "--inh-caps=-dac_override,-dac_read_search",
        ]
        (client.project / "hidden").chmod(0)
        words = [*plain, *FOUNDATIONS, "submit", "--dry-run", "--", "true"]
        done = subprocess.run(words, cwd=client.project, env=client.env, capture_output=True, text=True)
        (client.project / "hidden").chmod(0o700)
        assert done.returncode == 1 and "hidden" in done.stderr and "cannot be read" in done.stderr
    gone = client.project / "gone"
    gone.mkdir()
    words = [
        "sh",
        "-c",
        'rmdir ../gone; exec "$@"',
        "sh",
        *FOUNDATIONS,
        "submit",
        "--dir",
        str(client.project),
        "--",
        "true",
    ]
    done = subprocess.run(words, cwd=gone, env=client.env, capture_output=True, text=True)
    assert done.returncode == 2 and "not there any more" in done.stderr


def test_folders_lead_out_of_no_job(tmp_path: Path) -> None:
    for folder in ("../x", "/x", "a/../../x"):
        with pytest.raises(BadRequest):
            JobSpec("a", ("true",), "0" * 40, folders=(folder,)).check()
    (tmp_path / "work").mkdir()
    (tmp_path / "work" / "link").symlink_to(tmp_path)
    (tmp_path / "work" / "file").write_text("")
    workspace.add_folders(str(tmp_path / "work"), ["link/x", "file", "file/below", "new/below"])
    assert sorted(os.listdir(tmp_path)) == ["work"] and (tmp_path / "work" / "new" / "below").is_dir()


def test_a_script_with_windows_line_endings(client: Client) -> None:
    script = client.project / "run.sh"
    script.write_bytes(b"#!/bin/sh\r\necho 1\r\n")
    script.chmod(0o755)
    client.run("submit", "--wait", "--", "./run.sh", code=127)
    assert "Windows line endings" in client.json("jobs")[0]["reason"]
    client.run("submit", "--wait", "--", "./none.sh", code=127)
    assert "command not found" in client.json("jobs")[0]["reason"]


@pytest.mark.parametrize("name", ["foundations.toml", "hosts.toml", "params.json"])
def test_a_byte_order_mark_is_passed_over(client: Client, name: str) -> None:
    folder = client.home if name == "hosts.toml" else client.project
    text = {
        "foundations.toml": 'project = "p"\n',
        "hosts.toml": "[hosts.local]\nmax_jobs = 3\n",
        "params.json": '{"a": 1}',
    }
    (folder / name).write_bytes(b"\xef\xbb\xbf" + text[name].encode())
    options = ["--params-file", "params.json"] if name == "params.json" else []
    client.run("submit", *options, "--wait", "--", "true")


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({"RANK": "1", "WORLD_SIZE": "4"}, (1, 4)),
        ({"OMPI_COMM_WORLD_RANK": "2", "OMPI_COMM_WORLD_SIZE": "4"}, (2, 4)),
        ({"SLURM_PROCID": "3", "SLURM_NTASKS": "4", "SLURM_STEP_ID": "0"}, (3, 4)),
        ({"SLURM_PROCID": "0", "SLURM_NTASKS": "4"}, (0, 1)),
        ({"PMI_RANK": "1", "PMI_SIZE": "2"}, (1, 2)),
        ({"RANK": "x", "WORLD_SIZE": "y"}, (0, 1)),
        ({}, (0, 1)),
    ],
)
def test_ranks_of_the_usual_launchers(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], expected: tuple[int, int]
) -> None:
    for names in inplace._LAUNCHERS:
        for name in names:
            monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert inplace._rank_and_ranks() == expected


def test_four_ranks_of_srun_are_one_run(client: Client) -> None:
    code = "import foundations; foundations.log_metric('loss', 1)"
    ranks = [{"SLURM_PROCID": str(n), "SLURM_NTASKS": "4", "SLURM_STEP_ID": "0", "SLURM_JOB_ID": "7"} for n in range(4)]
    path = f"{Path.cwd()}"
    for variables in ranks:
        env = {**client.env, **variables, "PYTHONPATH": path}
        subprocess.run([sys.executable, "-c", code], cwd=client.project, env=env, check=True)
    assert len(client.json("jobs")) == 1


def test_who_comes_from_another_version_is_told_what_to_write(client: Client) -> None:
    env = {**client.env, "PYTHONPATH": str(Path.cwd())}

    def run(*words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run([sys.executable, *words], cwd=client.project, env=env, capture_output=True, text=True)

    assert run("-c", "import foundations; print(foundations.__version__)").stdout.strip() == "0.1.0"
    assert "foundations.job_id()" in run("-c", "import foundations; foundations.current_foundations_job()").stderr
    assert "foundations 0.1.0" in run("-m", "foundations", "--version").stdout


def test_a_day_means_the_whole_day(client: Client) -> None:
    client.run("submit", "--wait", "--", "true")
    import datetime

    today = datetime.datetime.now().date()
    assert len(client.json("jobs", "--where", f"created={today}")) == 1
    assert client.json("jobs", "--where", f"created!={today}") == []
    assert client.json("jobs", "--where", f"created={today - datetime.timedelta(days=1)}") == []


@pytest.mark.slow
@pytest.mark.rest
def test_a_damaged_store_is_said_with_what_to_do(client: Client) -> None:
    for number in range(3):
        client.run("submit", "--wait", "--name", f"job {number}", "--", "true")
    client.run("sync")
    path = client.home / "store.db"
    with contextlib.closing(sqlite3.connect(path)) as store:
        store.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    whole = path.read_bytes()
    for page in range(1, len(whole) // 4096):
        path.write_bytes(whole[: page * 4096] + bytes(4096) + whole[(page + 1) * 4096 :])
        for verb in (["jobs"], ["status"], ["show", "job 1"], ["store", "check"], ["metrics", "job 1"]):
            said = client.run(*verb, code=None).stderr
            assert "bug" not in said, (page, verb, said)
    path.write_bytes(bytes(8192))
    assert "next sync" in client.run("store", "check", code=None).stderr


HOSTILE = "x\x1b]0;PWNED\x07\x1b[2J\u202e\u200e\u061c\x9b31m"


def test_no_text_of_a_job_steers_a_terminal(client: Client) -> None:
    """Prints a job whose every text is hostile through every verb that shows one."""
    code = (
        "import foundations\n"
        f"h = {HOSTILE!r}\n"
        "foundations.log_metric(h, 1); foundations.log_param(h, h); foundations.set_tag(h, h)\n"
        "open('a', 'w').write(h); foundations.save_artifact('a', h); print(h); raise SystemExit(h)"
    )
    job = client.submit(
        "--name", HOSTILE, "--project", HOSTILE, "--param", f"p={HOSTILE}", "--tag", f"t={HOSTILE}", "--group", "g",
        "--", "python", "-c", code, HOSTILE,
    )  # fmt: skip
    client.run("wait", job, code=None)
    client.run("note", job, HOSTILE)
    verbs: list[list[str]] = [
        ["jobs"], ["jobs", "--columns", "job,name,project,command,tag:t"], ["status"], ["show", job], ["metrics", job],
        ["compare", job, job], ["projects"], ["sweep", "show", "g"], ["sweep"], ["ls", job], ["queue"], ["hosts"],
        ["get", job, "--dest", "out"], ["get", job, "--artifacts", "--dest", "out2"], ["diff", job], ["chart", job],
        ["prune", job, "--dry-run"], ["export"], ["wait", job], ["stop", job], ["views"], ["tag", job, "a=b"],
        ["metrics", job, "--key", HOSTILE], ["chart", job, "--key", HOSTILE], ["jobs", "--columns", f'tag:"{HOSTILE}"'],
        ["jobs", "--group-by", f'param:"{HOSTILE}"'], ["jobs", "--where", f'tag:"{HOSTILE}"=x'],
        ["star", job], ["archive", job], ["delete", job], ["restore", job], ["delete", "--now", "--yes", job],
    ]  # fmt: skip
    for verb in verbs:
        done = client.run(*verb, code=None)
        for text in (done.stdout, done.stderr):
            if verb[0] == "export":
                continue  # a file's format, for programs
            assert not set(text) & set("\x1b\x07\x9b\u202e\u200e\u061c"), (verb, text)
    assert sanitize.one_line("\u200e\u200f\u061c\ud800") == "<200e><200f><61c><d800>"
    assert json.dumps(HOSTILE) and os.sep == "/"


def test_what_is_pasted_in_several_lines_is_one(client: Client) -> None:
    import asyncio

    from textual import events

    from foundations_tui.ui.screens.job_form import OneLine
    from tests.support.screen import OneWidget

    async def paste() -> str:
        field = OneLine()
        async with OneWidget(field).run_test() as pilot:
            field.focus()
            field.post_message(events.Paste("python t.py \\\n  --lr 0.1 \\\r\n  --x 2\n"))
            await pilot.pause()
            await pilot.pause()
            return field.value

    assert asyncio.run(paste()) == "python t.py --lr 0.1 --x 2"


@pytest.mark.parametrize(
    ("log", "code"),
    [
        ('  File "<unknown>", line 1\n    ./x\nSyntaxError: invalid syntax', "exception"),
        ('  File "t.py", line 1\n    def (\nSyntaxError: invalid syntax', "syntax"),
        ("/usr/bin/python: No module named pytest", "module_missing"),
        ("ModuleNotFoundError: No module named 'torch'", "module_missing"),
    ],
)
def test_causes_and_their_false_friends(log: str, code: str) -> None:
    from remote_agent.protocol.ends import Evidence
    from remote_agent.supervisor.postmortem import explain

    found = explain(log.encode(), Evidence(exit_code=1))
    assert found is not None and found.code == code


def test_a_writer_that_began_again_orphans_what_it_repeats(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    from tensorboard.compat.proto import event_pb2, summary_pb2
    from tensorboard.summary.writer.event_file_writer import EventFileWriter

    from foundations_tui.ingest import event_files

    for begin, start in ((0, None), (4, 4)):
        writer = EventFileWriter(str(tmp_path), filename_suffix=f".{begin}")
        if start is not None:
            log = event_pb2.SessionLog(status=event_pb2.SessionLog.START)
            writer.add_event(event_pb2.Event(session_log=log, step=start, wall_time=100.0))
        for step in range(begin, 8):
            value = summary_pb2.Summary.Value(tag="loss", simple_value=float(begin + step))
            writer.add_event(
                event_pb2.Event(summary=summary_pb2.Summary(value=[value]), step=step, wall_time=begin * 100 + step)
            )
        writer.close()
    found = event_files.read(event_files.below(tmp_path))
    assert [(record.step, record.value) for record in found] == [(n, float(n if n < 4 else 4 + n)) for n in range(8)]


def test_who_types_the_order_of_atlas_is_told(client: Client) -> None:
    (client.project / "code").mkdir()
    said = client.run("submit", "scheduler", "code", "main.py", code=2).stderr
    assert "foundations submit --dir code -- python main.py" in said
    (client.project / "job.config.yaml").write_text("num_gpus: 1")
    assert "job.config.yaml is not read" in client.run("submit", "--dry-run", "--", "true").stderr


def test_a_logarithmic_chart_of_nothing_above_zero_says_so(client: Client) -> None:
    code = "import foundations; foundations.log_metric('x', [-1.0, -2.0])"
    client.run("submit", "--wait", "--name", "down", "--", "python", "-c", code)
    assert "above 0" in client.run("chart", "down", "--key", "x", "--log", code=1).stderr
