"""Tracking from end to end: artifacts, annotations, comparison, export, and the SDK's own submit and queries."""

from __future__ import annotations

import csv
import io
import json
import os
import re
import sqlite3
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from foundations_tui.analysis import braille
from foundations_tui.session import Session
from foundations_tui.store import queries
from foundations_tui.store.db import open_reader
from foundations_tui.sync.follower import Follower
from tests.support import agents
from tests.support.client import Client, wait_until
from tests.support.paths import ROOT
from tests.support.sshd import Sshd


def python(client: Client, code: str, code_expected: int = 0, **env: str) -> str:
    """Run a script of a user who has the client installed."""
    own = {k: v for k, v in os.environ.items() if not k.startswith("FOUNDATIONS_") and k != "PYTEST_CURRENT_TEST"}
    own.update(client.env, PYTHONPATH=str(ROOT), **env)
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=client.project, env=own, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == code_expected, done.stderr
    return done.stdout


def script(client: Client, text: str, name: str = "train.py") -> None:
    (client.project / name).write_text("import foundations\n" + text)


# --- records ----------------------------------------------------------------------------------------------------

EIGHT = """
import multiprocessing, os, signal, sys, time
def work(n):
    with open(f'said{n}', 'w', buffering=1) as said:
        for i in range(100_000):
            foundations.log_metric(f'm{n}', i)
            said.write(f'{i}\\n')
children = [multiprocessing.Process(target=work, args=(n,)) for n in range(8)]
for child in children: child.start()
time.sleep(0.6)
for child in children: os.kill(child.pid, signal.SIGKILL)
print(open('said0').read().count('\\n') > 5)
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_what_eight_processes_logged_before_a_kill_is_there_once(client: Client) -> None:
    script(client, EIGHT)
    job = client.submit("--", "python", "train.py")
    client.run("wait", job, code=137)
    assert client.run("logs", job).stdout.startswith("True\n")
    client.run("get", job, *[f"said{n}" for n in range(8)], "--dest", "got")
    client.run("sync")
    for n in range(8):
        said = (client.project / "got" / f"said{n}").read_text().count("\n")
        values = [one["value"] for one in client.json("metrics", job, "--key", f"m{n}")]
        assert values == list(range(len(values))) and len(values) >= said > 0


KEYS = ["", "a\nb", "k" * 10_000, "\x1b[31m", "loss", "lоss", "a:b", '"', "'", "%", "[/]", "日本"]


def test_odd_keys_and_values_come_through_as_they_are(client: Client) -> None:
    script(client, f"for key in {KEYS!r}:\n    foundations.log_metric(key, 1)\n    foundations.log_param(key, key)\n")
    job = client.submit("--", "python", "train.py")
    client.run("wait", job)
    client.run("sync")
    row = client.job(job, sync=False)
    assert set(row["metrics"]) == set(KEYS) and row["params"] == {key: key for key in KEYS}
    for words in (("show", job), ("metrics", job), ("jobs",), ("jobs", "--columns", "help"), ("export", job)):
        shown = client.run(*words).stdout
        assert "\x1b[31m" not in shown or words[0] == "export"
    json.loads(client.run("export", job, "--format", "json").stdout)


# --- artifacts --------------------------------------------------------------------------------------------------

SAVES = """
import os
os.makedirs('a/x'); os.makedirs('b')
open('a/m.pt', 'w').write('first'); open('b/m.pt', 'w').write('second'); open('a/x/y', 'w').write('deep')
foundations.save_artifact('a/m.pt')
foundations.save_artifact('b/m.pt', 'other/../m.pt')
foundations.save_artifact('a', 'folder')
foundations.save_artifact('b/m.pt')
try: foundations.save_artifact('none')
except FileNotFoundError: print('no such file')
kept = foundations.create_syncable_directory('state')
open(str(kept) + '/one', 'w').write('1')
print(kept.upload(), kept.upload())
"""


def test_artifacts_come_back_by_themselves_and_are_used_by_others(client: Client) -> None:
    script(client, SAVES)
    job = client.submit("--", "python", "train.py")
    client.run("wait", job)
    log = client.run("logs", job).stdout
    assert "no such file" in log and log.endswith("1 0\n")
    assert log.count('Artifact "m.pt" already exists - overwriting.') == 1
    client.run("sync")
    row = client.job(job, sync=False)
    assert {key: facts["size"] for key, facts in row["artifacts"].items() if key[:6] != "synced"} == {
        "m.pt": 6,
        "other/../m.pt": 6,
        "folder": 9,
    }
    kept = client.home / "artifacts" / job
    assert (kept / "m.pt").read_text() == "second" and (kept / "folder" / "x" / "y").read_text() == "deep"
    assert sorted(path.name for path in kept.iterdir()) == ["folder", "m.pt", "other%2F..%2Fm.pt"]
    got = client.json("get", job, "--artifact", "folder", "--dest", "here")
    assert sorted(Path(one["path"]).name for one in got) == ["m.pt", "y"]
    assert "has no artifact 'nope'" in client.run("get", job, "--artifact", "nope", code=3).stderr
    uses = f"""
print(open(foundations.artifact('{job}', 'm.pt')).read())
old = foundations.create_syncable_directory('state', source_job_id='{job}')
print(open(str(old) + '/one').read())
"""
    script(client, uses, "use.py")
    second = client.submit("--", "python", "use.py")
    client.run("wait", second)
    assert client.run("logs", second).stdout == "second\n1\n"
    assert client.job(second)["uses"] == {"m.pt": job}
    client.run("prune", job, "--yes")
    assert (kept / "m.pt").exists()
    found = python(client, f"import foundations; print(open(foundations.artifact('{job[:8]}', 'm.pt')).read())")
    assert found == "second\n"


# --- what people say --------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.rest
def test_what_is_said_of_a_job_reaches_a_second_laptop(client: Client, own_sshd: Sshd, tmp_path: Path) -> None:
    root = client.add_host("gpu1", own_sshd)
    job, other = (client.submit("--host", "gpu1", "--tag", "a=1", "--", "true") for _ in range(2))
    client.run("wait", job, other)
    client.run("tag", job, other, "good", "n=2")
    client.run("tag", job, "--remove", "a")
    client.run("note", job, "# Best\nso *far*")
    client.run("star", job)
    client.run("archive", "--where", f"job={other}", "--yes")
    assert [one["job"] for one in client.json("jobs")] == [job]
    assert {one["job"] for one in client.json("jobs", "--archived")} == {job, other}
    second = Client(tmp_path / "laptop2", tmp_path / "project2")
    second.add_host("box", own_sshd, root=str(root))
    second.run("sync")
    seen = second.job(job, sync=False)
    assert (seen["tags"], seen["note"], seen["starred"]) == ({"good": "", "n": 2}, "# Best\nso *far*", True)
    assert [one["job"] for one in second.json("jobs", "--where", "is:archived")] == [other]
    own_sshd.cut()
    said = client.run("note", job, "made offline")
    assert "will be told at the next contact" in said.stderr and client.job(job, False)["note"] == "made offline"
    own_sshd.start()
    client.run("sync")
    second.run("sync")
    assert second.job(job, sync=False)["note"] == "made offline"
    second.run("project", "rename", seen["project"], "renamed")
    client.run("sync")
    assert client.job(job, sync=False)["project"] == "renamed"
    for path in (client.home / "store.db", client.home / "store.db-wal", client.home / "store.db-shm"):
        path.unlink(missing_ok=True)
    client.run("sync")
    back = client.job(job, sync=False)
    assert (back["note"], back["project"], back["tags"]) == ("made offline", "renamed", {"good": "", "n": 2})


@pytest.mark.rest
def test_what_is_deleted_can_be_restored_for_thirty_days(client: Client, sshd: Sshd, tmp_path: Path) -> None:
    root = client.add_host("gpu1", sshd)
    kept, gone, queued = (client.submit("--host", "gpu1", "--name", name, "--", "true") for name in ("a", "b", "c"))
    client.run("wait", kept, gone, queued)
    running = client.submit("--host", "gpu1", "--", "sleep", "60")
    refused = client.run("delete", running, gone, code=1)
    assert "has not ended" in refused.stderr and refused.stdout.split() == [gone]
    client.run("delete", "--where", "name=c", "--yes")
    assert {row["job"] for row in client.json("jobs")} == {kept, running}
    assert {row["job"] for row in client.json("jobs", "--where", "is:trashed")} == {gone, queued}
    assert client.json("projects")[0]["jobs"] == 2 and "b" not in client.run("export").stdout.split(",")
    assert client.json("show", gone)["trashed_at"] and (root / "jobs" / gone).exists()
    second = Client(tmp_path / "laptop2", tmp_path / "project2")
    second.add_host("box", sshd, root=str(root))
    second.run("sync")
    assert {row["job"] for row in second.json("jobs")} == {kept, running}
    assert second.run("restore", gone).stdout.split() == [gone]
    client.run("sync")
    assert {row["job"] for row in client.json("jobs")} == {kept, running, gone}
    assert "no job is found" in client.run("restore", "--where", "name=a", "--yes", code=3).stderr
    with sqlite3.connect(client.home / "store.db") as conn:
        conn.execute("UPDATE jobs SET trashed = trashed - 31 * 86400 WHERE trashed > 0")
    conn.close()
    client.run("sync")
    wait_until(lambda: not (root / "jobs" / queued).exists())
    assert (
        client.json("jobs", "--where", "is:trashed") == []
        and "there is no job" in client.run("show", queued, code=3).stderr
    )
    client.run("stop", running)


def test_stop_and_delete_take_a_query(client: Client) -> None:
    jobs = [client.submit("--tag", f"n={n}", "--", "sleep", "60") for n in range(3)]
    assert "no terminal" in client.run("stop", "--where", "tag:n>0", code=2).stderr
    assert set(client.run("stop", "--where", "tag:n>0", "--yes", "--grace", "0").stdout.split()) == set(jobs[1:])
    client.run("wait", *jobs[1:], code=None)
    assert client.json("jobs", "--state", "stopped", "--sync")
    client.run("delete", "--where", "state=stopped", "--yes")
    assert [row["job"] for row in client.json("jobs")] == jobs[:1]
    client.run("stop", jobs[0])


@pytest.mark.parametrize(
    ("words", "code", "part"),
    [
        (["tag", "nope", "x"], 3, "there is no job"),
        (["tag"], 2, "which tag?"),
        (["star"], 2, "star takes jobs, or --where"),
        (["star", "--where", "state=oops"], 2, "there is no state"),
        (["archive", "--where", "state=failed", "--yes"], 3, "no job is found"),
        (["project", "rename", "nope", "x"], 3, "there is no project"),
        (["compare", "@last"], 3, "no such job"),
        (["jobs", "--view", "x"], 3, "there is no view"),
        (["views", "save", "x", "--columns", "nope"], 2, "no job has"),
        (["export", "--format", "parquet"], 2, "--out"),
        (["chart", "@last", "--key", "x"], 3, "no such job"),
    ],
)
def test_bad_wishes_get_one_clear_message(client: Client, words: list[str], code: int, part: str) -> None:
    assert part in client.run(*words, code=code).stderr


# --- comparing --------------------------------------------------------------------------------------------------


def test_a_difference_is_held_against_what_repeats_differ_in(client: Client) -> None:
    (client.project / "foundations.toml").write_text('project = "p"\n[metrics.direction]\nloss = "min"\nacc = "max"\n')
    script(
        client,
        "import sys\nlr, seed = float(sys.argv[1]), int(sys.argv[2].split('=')[1])\n"
        "foundations.log_metric('loss', lr + seed / 100)\nfoundations.log_metric('acc', 0.5)\n",
    )
    command = ("--", "python", "train.py", "{lr}", "seed={seed}")
    swept = client.json("submit", "--sweep", "lr=0.5,0.9,0.51", "--sweep", "seed=1,2,3", *command)
    jobs = {(job["params"]["lr"], job["params"]["seed"]): job["job"] for job in swept}
    client.run("wait", *jobs.values())
    client.run("sync")

    def verdict(one: float, other: float) -> Any:
        return client.json("compare", jobs[one, 2], jobs[other, 2])["verdicts"][0]

    far = verdict(0.9, 0.5)
    assert far["better"] == jobs[0.5, 2] and far["repeats"] == [3, 3] and far["exceeds"] is True
    assert far["spread"] == pytest.approx(0.01) and far["difference"] == pytest.approx(0.4)
    near = verdict(0.5, 0.51)
    assert near["exceeds"] is False or near["difference"] == pytest.approx(near["spread"])
    shown = client.run("compare", jobs[0.9, 2], jobs[0.5, 2]).stdout
    assert "is better by 0.4, more than repeats differ: ±0.01 among 3 and 3 jobs" in shown
    assert "acc:max: both have 0.5" in shown and "the same: code, " in shown


def test_two_jobs_are_compared_exported_and_drawn(client: Client) -> None:
    (client.project / "foundations.toml").write_text('project = "p"\n[metrics.direction]\nloss = "min"\n')
    text = (
        "import sys\nfoundations.log_param('bs', 8)\nfor i in range(50): foundations.log_metric('loss', 1 / (i + %s))\n"
    )
    jobs = []
    for lr in ("1", "2"):
        script(client, text % lr + f"# version {lr}\n")
        jobs.append(client.submit("--name", f"n|{lr}", "--", "python", "train.py", "--lr", lr))
    client.run("wait", *jobs)
    client.run("sync")
    found = client.json("compare", *jobs, "--code")
    lines = {(line["kind"], line["name"]): line for line in found["lines"]}
    assert lines["arg", "lr"]["values"] == [1, 2] and ("param", "bs") not in lines
    assert lines["metric", "loss:min"]["best"] == 1 and lines["metric", "loss:min"]["values"] == [1 / 50, 1 / 51]
    assert "-# version 1\n" in found["code"] and "+# version 2\n" in found["code"]
    shown = client.run("compare", *jobs).stdout
    assert "0.0196078 *" in shown and "the same: " in shown
    better = f"loss:min: 0.02 and 0.0196078, {jobs[1][:6]} is better by 0.000392; no repeats tell"
    assert better in shown
    assert lines["code", "changed"]["values"] == ["", "1 file, +2 -2"]
    assert "Python" in found["same"] and "code" not in found["same"]
    rows = list(csv.DictReader(io.StringIO(client.run("export", *jobs).stdout)))
    assert [row["arg:lr"] for row in rows] == ["1", "2"] and float(rows[0]["metric:loss"]) == 1 / 50
    table = json.loads(client.run("export", "--format", "json", "--columns", "name,loss:min", *jobs).stdout)
    assert table == [{"name": "n|1", "loss:min": 1 / 50}, {"name": "n|2", "loss:min": 1 / 51}]
    assert "| n\\|1 | 0.02 |" in client.run("export", "--format", "md", "--columns", "name,loss:min", *jobs).stdout
    best = client.run("export", "--sort", "loss:min:asc", "--limit", "1", "--columns", "job,loss:min").stdout
    assert best.splitlines()[1].startswith(min(rows, key=lambda row: float(row["metric:loss"]))["job"])
    latex = client.run("export", "--format", "latex", "--columns", "name,loss:min", *jobs).stdout
    assert "\\toprule" in latex and "n|1 & 0.02 \\\\" in latex
    points = list(csv.DictReader(io.StringIO(client.run("metrics", *jobs, "--key", "loss", "--csv").stdout)))
    assert len(points) == 100 and float(points[0]["value"]) == 1.0 and points[99]["job"] == jobs[1]
    drawn = client.run("chart", *jobs, "--key", "loss", "--log").stdout
    assert drawn.startswith("loss (log)\n") and "n|1" in drawn and any(ord(c) > 0x2800 for c in drawn)
    assert "there are: loss" in client.run("chart", jobs[0], "--key", "nope", code=3).stderr
    client.run("views", "save", "best", "--where", "loss:min<1", "--sort", "loss:min", "--columns", "name,loss:min")
    seen = client.json("jobs", "--view", "best")
    assert [row["columns"]["name"] for row in seen] == ["n|2", "n|1"]
    assert client.json("views")[0]["view"] == "best"
    client.run("views", "remove", "best")
    assert client.json("views") == []


def test_a_parquet_file_is_read_by_pandas(client: Client, tmp_path: Path) -> None:
    pandas, _ = pytest.importorskip("pandas"), pytest.importorskip("pyarrow")
    script(client, "foundations.log_metric('loss', 0.5)\nfoundations.log_param('o', 'adam')\n")
    client.run("submit", "--wait", "--", "python", "train.py")
    client.run("sync")
    client.run("export", "--format", "parquet", "--out", str(tmp_path / "jobs.parquet"))
    frame = pandas.read_parquet(tmp_path / "jobs.parquet")
    assert frame["metric:loss"].tolist() == [0.5] and frame["param:o"].tolist() == ["adam"]


def test_tables_charts_and_files_are_as_people_want_them(client: Client) -> None:
    code = """
import foundations, sys
foundations.log_metric("text", "x" * 5000)
foundations.log_metric("loss", [3, float(sys.argv[1])])
open("puppy.jpg", "wb").write(b"j")
foundations.save_artifact("puppy.jpg", key="Image")
foundations.save_artifact("puppy.jpg", key="odd.name")
print("started in", __import__("os").getcwd())
"""
    (client.project / "t.py").write_text(code)
    sweep = client.json("submit", "--sweep", "x=1,2", "--", "python", "t.py", "{x}")
    jobs = [one["job"] for one in sweep]
    client.run("wait", *jobs)
    client.run("sync")
    assert max(map(len, client.run("jobs").stdout.splitlines())) < 200, "a long value is cut in a table"
    markdown, table = (client.run("export", "--format", kind).stdout for kind in ("md", "latex"))
    clock = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d")
    assert len(clock.findall(markdown)) == len(clock.findall(table)) == 6 and "e+09" not in markdown + table
    assert not clock.findall(client.run("export", "--format", "csv").stdout), "programs take seconds"
    group = client.job(jobs[0])["group"]
    drawn = client.run("chart", "--where", f"group={group}", "--key", "loss").stdout
    assert "x 1" in drawn and "x 2" in drawn and "python t.py" not in drawn
    assert "the logs say the same" in client.run("diff", *jobs, "--log").stderr
    client.run("get", jobs[0], "--artifacts", "--dest", "out")
    assert sorted(os.listdir(client.project / "out" / "artifacts")) == ["Image.jpg", "odd.name"]


def test_a_chart_shows_its_ends() -> None:
    curve = braille.Curve([0, 1, 2, 3], [0.0, 1.0, 2.0, 3.0], [0.0, 1.0, 2.0, 3.0])
    (drawn,) = braille.draw([curve], 4, 3)
    assert len(drawn) == 3 and all(len(row) == 4 for row in drawn)
    assert drawn[0][3] != " " and drawn[2][0] != " " and drawn[0][0] == " "
    assert braille.labels(0.0, 3.0, 3) == ["3", "1.5", "0"]
    assert braille.labels(0.0003, 0.0104, 9) == ["0.01", "", "", "", "0.005", "", "", "", ""]
    assert braille.labels(-3.2, 2.1, 9, log=True)[-1] in ("", "0.001") and "1" in braille.labels(-3.2, 2.1, 9, log=True)
    assert braille.ticks(0.0, 94_200.0, 5) == [0.0, 20_000.0, 40_000.0, 60_000.0, 80_000.0]
    assert braille.ticks(0.0, 1e308, 0) == braille.ticks(1.0, 1.0, 5) == braille.ticks(-1.7e308, 1.7e308, 3) == []
    assert braille.labels(-5.7917e275, 5.7917e275, 3) == ["5.79e+275", "0", "-5.8e+275"]
    for values in ([1e308], [-1.7e308, 1.7e308], [5e-324], [0.0]):
        for log in (False, True):
            edge = braille.Curve(list(range(len(values))), values, values)
            braille.draw([edge], 5, 3, log)
            braille.labels(*braille.bounds([edge], log)[2:], 3, log)
    flat = braille.Curve([5], [2.0], [2.0])
    assert any(cell != " " for row in braille.draw([flat], 3, 2)[0] for cell in row)


PLAIN = """
import sys
for n in range(5):
    print(f'epoch {n * 10}: loss {1 / (n + 1)}', flush=True)
    sys.stderr.write(f'\\r{n}/5 acc={n}%')
print('\\nnothing here, loss nan')
print('epoch 50: loss nan')
sys.stdout.write('best=0.25')
"""


def test_lines_of_a_log_become_metrics(client: Client) -> None:
    patterns = r"""patterns = ['epoch (?P<step>\d+): loss (?P<loss>\S+)', 'acc=(?P<acc>\d+)%', 'best=(?P<best>.*)']"""
    (client.project / "foundations.toml").write_text("[metrics]\n" + patterns)
    (client.project / "plain.py").write_text(PLAIN)
    job = client.submit("--", "python", "plain.py")
    client.run("wait", job)
    client.run("sync")
    values = client.json("metrics", job, "--key", "loss")
    assert [(one["step"], one["value"]) for one in values][3:] == [(30, 0.25), (40, 0.2), (50, "NaN")]
    row = client.job(job, sync=False)
    assert row["metrics"]["best"]["last"] == 0.25 and row["metrics"]["loss"]["count"] == 6
    assert row["metrics"]["acc"]["last"] == 4
    client.run("sync")
    assert client.job(job, sync=False)["metrics"] == row["metrics"], "nothing comes twice"
    for text, part in (("patterns = ['(']", "missing )"), ("patterns = ['x']", "no named group")):
        (client.project / "foundations.toml").write_text("[metrics]\n" + text)
        assert part in client.run("submit", "--", "true", code=2).stderr


# --- the SDK's submit and queries -------------------------------------------------------------------------------

SEARCH = """
import foundations
foundations.set_project_name('search')
foundations.set_job_resources(0, 1)
jobs = [foundations.submit(entrypoint='train.py', params={'lr': lr, 'net': {'layers': [8]}}) for lr in (0.1, 0.2)]
print([job.get_metric('loss') for job in jobs], jobs[0].get_param('net_layers_0'), jobs[0].is_job_complete())
print(jobs[0].get_job_logs().strip(), jobs[0].get_job_status(), jobs[0].get_job_details()['project'])
try: jobs[0].get_metric('nope')
except KeyError as error: print('no', error)
rows = foundations.get_metrics_for_all_jobs('search')
rows = rows.to_dict('records') if hasattr(rows, 'to_dict') else rows
print([(row['lr'], row['loss'], row['tag_t'], row['status']) for row in rows])
print([row['params']['lr'] for row in foundations.jobs('loss<0.15', sort='lr')])
print([one['value'] for one in foundations.history(jobs[1].job_name(), 'loss')])
try: foundations.get_metrics_for_all_jobs('nope')
except ValueError as error: print(error)
"""


def test_a_search_script_submits_and_reads(client: Client) -> None:
    text = "p = foundations.load_parameters()\nfoundations.log_metric('loss', [9, p['lr']])\nfoundations.set_tag('t')\n"
    script(client, text + "print('done')\n")
    lines = python(client, SEARCH).splitlines()
    assert lines[0] == "[0.1, 0.2] 8 True" and lines[1] == "done completed search" and lines[2] == "no 'nope'"
    assert lines[3] == "[(0.1, 0.1, '', 'completed'), (0.2, 0.2, '', 'completed')]"
    assert lines[4:] == ["[0.1]", "[9, 0.2]", "Project `nope` does not exist!"]
    assert len(client.json("jobs")) == 2, "the search itself is no job"
    assert not (client.project / "foundations_job_parameters.json").exists()


def test_a_job_that_submits_jobs_waits_for_them(client: Client) -> None:
    script(client, "foundations.log_metric('x', 4)\n", "inner.py")
    outer = (
        "job = foundations.submit(scheduler_config='local', command='inner.py')\nprint('got', job.get_metric('x'))\n"
    )
    script(client, outer, "outer.py")
    job = client.submit("--env", f"PYTHONPATH={ROOT}", "--cpus", "1", "--", sys.executable, "outer.py")
    client.run("wait", job)
    assert client.run("logs", job).stdout.splitlines()[-1] == "got 4"
    wait_until(lambda: len(client.json("jobs", "--state", "completed", "--sync")) == 2)


NESTED = """
import foundations, os, sys
from foundations.submission import client
assert client().__name__ == "foundations.beside"
jobs = [foundations.submit(command="inner.py", params={"lr": lr}, name="inner", tags={"of": "search"}) for lr in (1, 2)]
best = min(jobs, key=lambda job: job.get_metric("loss"))
print("best", best.get_param("lr"), best.get_job_status(), best.get_job_details()["tags"]["of"])
print(best.get_job_logs().strip(), foundations.history(best.job_name(), "loss")[-1]["value"])
broken = foundations.submit(command=["python", "-c", "raise SystemExit(3)"])
broken.wait_for_deployment_to_complete()
print(broken.get_job_status(), broken.get_job_details()["exit_code"])
for wrong in (dict(scheduler_config="other"), dict(job_directory="/tmp")):
    try:
        foundations.submit(command="inner.py", **wrong)
    except ValueError as error:
        print("refused:", error)
try:
    foundations.jobs()
except ImportError as error:
    print("refused:", error)
"""


def test_a_job_on_a_host_without_the_client_submits_jobs_there(client: Client, sshd: Sshd) -> None:
    client.add_host("box", sshd)
    (client.project / "inner.py").write_text(
        "import foundations\nlr = foundations.load_parameters()['lr']\nprint('tried', lr)\n"
        "foundations.log_metric('loss', [9, 1 / lr])\n"
    )
    (client.project / "outer.py").write_text(NESTED)
    job = client.submit("--host", "box", "--env", "A=1", "--", "python", "outer.py")
    client.run("wait", job, code=None)
    said = client.run("logs", job).stdout.splitlines()
    assert said[:3] == ["best 2 completed search", "tried 2 0.5", "failed 3"], said
    assert len([line for line in said if line.startswith("refused")]) == 3
    client.run("sync")
    rows = client.json("jobs", "--where", "tag:of=search")
    assert [row["params"]["lr"] for row in rows] == [2, 1] and {row["host"] for row in rows} == {"box"}
    assert rows[0]["metrics"]["loss"]["min"] == 0.5 and rows[0]["snapshot"] == client.job(job)["snapshot"]


WAITS = """
import foundations
inner = foundations.submit(command=["sh", "-c", "sleep 4; echo inner"])
print("submitted", flush=True)
inner.stream_job_logs()
print(inner.get_job_status())
for folder in ("made", "shipped"):
    import os
    os.makedirs(folder, exist_ok=True)
    try:
        foundations.submit(command=["true"], job_directory=folder).wait_for_deployment_to_complete()
        print("ran in", folder)
    except RuntimeError as error:
        print("refused:", error)
"""


@pytest.mark.slow
def test_a_job_that_waits_for_another_outlives_the_agent(client: Client, sshd: Sshd) -> None:
    root = client.add_host("box", sshd)
    (client.project / "shipped").mkdir()
    (client.project / "shipped" / "x").write_text("")
    (client.project / "outer.py").write_text(WAITS)
    job = client.submit("--host", "box", "--env", "A=1", "--", "python", "outer.py")
    wait_until(lambda: "submitted" in client.run("logs", job).stdout)
    agents.kill_daemon(root)
    client.run("wait", job, code=None)
    said = client.run("logs", job).stdout.splitlines()
    assert said[:3] == ["submitted", "inner", "completed"], said
    assert said[3].startswith("refused:") and "'made'" in said[3] and said[4] == "ran in shipped"


def test_whoever_waited_finds_what_was_logged(client: Client) -> None:
    (client.project / "train.py").write_text("import foundations\nfoundations.log_metric('loss', 0.5)\n")
    client.run("submit", "--wait", "--name", "a", "--", "python", "train.py")
    assert client.json("jobs")[0]["metrics"]["loss"]["last"] == 0.5


# --- following --------------------------------------------------------------------------------------------------


def test_a_follower_keeps_its_rounds_apart_and_misses_nothing(client: Client) -> None:
    """Many that write at any moment cost a few rounds a second, not one for each line."""
    job = client.submit(
        "--", "python", "-c", "import time\nfor n in range(300): print(n, flush=True); time.sleep(0.01)"
    )
    session, rounds, began = Session(), list[float](), time.monotonic()
    follower = Follower(session, "local", lambda: rounds.append(time.monotonic()), apart=0.4)
    thread = threading.Thread(target=follower.run)
    thread.start()
    with open_reader() as conn:
        wait_until(lambda: queries.job(conn, job).complete)
    follower.stop()
    thread.join()
    session.close()
    assert len(rounds) <= (rounds[-1] - began) / 0.4 + 2
    assert client.run("logs", job).stdout.split() == [str(n) for n in range(300)]
