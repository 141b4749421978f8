"""Schedules: jobs at their times with no client there, what is missed is said, and what they make is registered."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from foundations_tui.store import queries
from foundations_tui.store.db import Store
from remote_agent.daemon.engine import Engine
from remote_agent.protocol import messages
from remote_agent.protocol.ends import AttemptEnd
from remote_agent.protocol.errors import BadRequest, Conflict, NotFound
from remote_agent.protocol.jobs import JobSpec
from remote_agent.protocol.schedules import MOST_WAITING, Schedule, ScheduleView
from remote_agent.storage.journal import Journal
from remote_agent.storage.paths import Paths
from tests.integration.test_models import _QUICK, _SERVING, _TOML
from tests.integration.test_services import connected, get, until
from tests.support import agents
from tests.support.backend import FakeBackend
from tests.support.client import Client, wait_until

TREE = "4b825dc642cb6eb9a060e54bf8d69288fbee4904"
NOON = 1_796_040_000.0


class Host:
    """An engine whose clock a test sets and whose jobs end when it says so."""

    def __init__(self, root: Path) -> None:
        self.paths = Paths(str(root))
        for folder in (self.paths.jobs, self.paths.objects, self.paths.trash):
            os.makedirs(folder, exist_ok=True)
        self.now = NOON
        self.begin()

    def begin(self) -> None:
        self.backend = FakeBackend(slots=1)
        self.engine = Engine(self.paths, Journal(self.paths.journal, 0.0), self.backend, lambda: self.now)
        self.engine.objects.has = lambda oid: True  # type: ignore[method-assign]

    def begin_again(self) -> None:
        self.engine.ledger.commit()
        self.engine.journal.close()
        self.begin()

    def add(self, name: str = "nightly", private: Any = None, **more: Any) -> ScheduleView:
        spec = {"command": ["true"], "snapshot": TREE, **more.pop("spec", {})}
        schedule = Schedule.from_wire({"name": name, "spec": spec, **more}, "")
        return self.engine.schedules.add(messages.AddSchedule(schedule, private)).schedule

    def change(self, action: str, name: str = "nightly") -> ScheduleView:
        return self.engine.schedules.change(messages.ChangeSchedule(name, action)).schedule

    def wait(self, seconds: float) -> ScheduleView | None:
        self.now += seconds
        self.engine.advance()
        self.engine.ledger.commit()
        return next(iter(self.engine.schedules.page()), None)

    def jobs(self) -> list[JobSpec]:
        return [view.spec for view in self.engine.state.jobs.values()]

    def end_jobs(self) -> None:
        for job, attempt in self.engine.lifecycle.active_attempts():
            self.backend.says_ended((job, attempt), "finished", 0)
        self.wait(0)


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Host]:
    host = Host(tmp_path / "root")
    yield host
    host.engine.journal.close()


# --- times and jobs -----------------------------------------------------------------------------------------------


def test_a_job_is_submitted_at_each_time_and_a_restart_changes_nothing(host: Host) -> None:
    shown = host.add(every=60.0, spec={"name": "nightly", "owner": "ada"})
    assert shown.next_times == [NOON + 60, NOON + 120, NOON + 180] and len(shown.next_words) == 3
    assert host.engine.due == 60.0 and not host.engine.is_idle, "the agent stays for a schedule"
    for number in range(1, 4):
        host.wait(60)
        host.begin_again()
        host.wait(0)
        host.end_jobs()
        assert len(host.jobs()) == number
    spec = host.jobs()[-1]
    assert (spec.schedule, spec.name, spec.owner) == ("nightly", "nightly", "ada")
    assert spec.created_at == NOON + 180
    assert host.change("run").last_job == host.jobs()[-1].job and len(host.jobs()) == 4
    assert host.change("remove").name == "nightly"
    host.wait(600)
    assert len(host.jobs()) == 4 and host.engine.schedules.page() == []
    assert not os.listdir(host.paths.schedules)
    with pytest.raises(NotFound, match="no schedule nightly"):
        host.change("pause")


def test_what_was_missed_is_said_and_not_made_up_for(host: Host) -> None:
    host.add(cron="0 * * * *", utc=True)
    host.now += 3600 * 5 + 600
    host.begin_again()
    shown = host.wait(0)
    assert shown is not None
    assert (shown.missed, shown.missed_at, host.jobs()) == (5, NOON + 5 * 3600, [])
    shown = host.wait(3000 + 30)
    assert len(host.jobs()) == 1 and shown is not None and shown.missed == 5, "half a minute late is not missed"


def test_a_pause_is_not_made_up_for_either(host: Host) -> None:
    host.add(every=60.0)
    assert host.change("pause").next_times == []
    host.wait(600)
    assert host.jobs() == [] and host.engine.due is None
    shown = host.change("resume")
    assert shown.next_times[0] == NOON + 660 and (shown.missed, shown.skipped) == (0, 0)
    host.wait(60)
    assert len(host.jobs()) == 1


@pytest.mark.parametrize("overlap", ["skip", "queue"])
def test_a_job_that_has_not_ended_is_waited_for_or_the_time_is_skipped(host: Host, overlap: str) -> None:
    host.add(every=60.0, overlap=overlap)
    for _ in range(MOST_WAITING + 10):
        shown = host.wait(60)
    assert shown is not None
    if overlap == "skip":
        assert (len(host.jobs()), shown.skipped) == (1, MOST_WAITING + 9)
    else:
        assert (len(host.jobs()), shown.skipped) == (1 + MOST_WAITING, 9), "they do not pile up for ever"
        assert [spec.after_any for spec in host.jobs()][1:] == [(spec.job,) for spec in host.jobs()][:-1]
    host.end_jobs()
    host.wait(60)
    assert len(host.jobs()) == (2 if overlap == "skip" else 2 + MOST_WAITING)


def test_a_clock_that_was_ahead_and_is_set_back_keeps_nothing_from_running(host: Host) -> None:
    host.add(every=60.0)
    host.wait(86400 * 365)
    host.end_jobs()
    count = len(host.jobs())
    host.now = NOON + 30
    host.wait(0)
    for _ in range(3):
        host.wait(60)
        host.end_jobs()
        for _ in range(5):
            host.wait(0.1)
            host.end_jobs()
    assert len(host.jobs()) == count + 3, "and nothing runs again and again"


def test_secrets_lie_apart_and_each_job_gets_them(host: Host) -> None:
    secret = {"secrets": {"HF_TOKEN": "hunter2"}}
    host.add(every=60.0, private=secret, spec={"secrets": ["HF_TOKEN"]})
    host.wait(60)
    host.begin_again()
    (spec,) = host.jobs()
    assert json.loads(Path(host.paths.job(spec.job).private).read_text()) == secret
    (kept,) = Path(host.paths.schedules).iterdir()
    assert kept.stat().st_mode & 0o777 == 0o600
    journal = b"".join(path.read_bytes() for path in Path(host.paths.journal).rglob("*") if path.is_file())
    assert b"hunter2" not in journal
    host.add(every=60.0)
    assert kept.exists(), "until the one that takes its place is durable"
    host.wait(0)
    assert [json.loads(path.read_text()) for path in Path(host.paths.schedules).iterdir()] == [{}]


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"spec": {"after": ["x"]}, "every": 60.0}, "wait for none"),
        ({"spec": {"kind": "service", "service": {"name": "a", "revision": 1}}, "every": 60.0}, "wait for none"),
        ({"spec": {"command": []}, "every": 60.0}, "command is empty"),
        ({"every": 0.1}, "too often"),
        ({"then": {"command": ["true"], "snapshot": TREE}, "every": 60.0}, "is a chain"),
    ],
)
def test_what_makes_no_sense_is_refused_and_nothing_is_kept(host: Host, more: dict[str, Any], said: str) -> None:
    with pytest.raises(BadRequest, match=said):
        host.add(**more)
    assert host.engine.schedules.page() == [] and not os.path.exists(host.paths.schedules)


def test_there_is_an_end_to_schedules_and_a_full_disk_is_said(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    from remote_agent.daemon import admission

    host.add(every=60.0)
    monkeypatch.setattr(admission, "LEAST_FREE_BYTES", 1 << 62)
    shown = host.wait(60)
    assert shown is not None and "disk of the host is full" in shown.problem and host.jobs() == []
    monkeypatch.undo()
    shown = host.wait(60)
    assert shown is not None and shown.problem == "" and len(host.jobs()) == 1
    monkeypatch.setattr("remote_agent.daemon.schedules.MOST_SCHEDULES", 1)
    with pytest.raises(Conflict, match="1 schedules already"):
        host.add("other", every=60.0)


# --- with everything real -----------------------------------------------------------------------------------------

_RETRAIN = """
import foundations, os
n = len(os.listdir(os.path.join(os.environ["FOUNDATIONS_HOME_OF_TEST"], "agent", "jobs")))
os.makedirs("out", exist_ok=True)
open("out/factor.txt", "w").write(str(float(n)))
foundations.log_metric("val_loss", 1 / n)
foundations.save_artifact("out", "model")
"""


@pytest.fixture
def project(client: Client) -> Client:
    """A client whose project makes a model that is better each time, with a Python that can serve."""
    client.env["PATH"] = f"{Path(sys.executable).parent}:{client.env['PATH']}"
    code = _SERVING + "\ndef score():\n    return {'held_out': 0.5}\n"
    toml = _TOML.replace("serving:note", "serving:score") + f'[env]\nFOUNDATIONS_HOME_OF_TEST = "{client.home}"\n'
    for name, text in {"train.py": _RETRAIN, "serving.py": code, "foundations.toml": toml}.items():
        (client.project / name).write_text(text)
    (client.project / "example.json").write_text('{"x": [1.0, 2.0]}')
    return client


def schedules(client: Client) -> dict[str, Any]:
    return {one["schedule"]: one for one in client.json_of("schedule", "list", "--json")}


def test_jobs_run_with_no_client_there_and_the_daemon_killed(client: Client) -> None:
    added = client.run("schedule", "add", "tick", "--every", "1", "--tag", "mine", "--", "echo", "hello")
    assert len(added.stdout.splitlines()) == 3 and "is added on local" in added.stderr
    (client.project / "later").write_text("not in the snapshot of then")
    wait_until(lambda: len(list((client.home / "agent" / "jobs").iterdir())) >= 3)
    agents.kill_daemon(client.home / "agent")
    shown = schedules(client)["tick"]  # the next client starts it again
    before = len(list((client.home / "agent" / "jobs").iterdir()))
    wait_until(lambda: len(list((client.home / "agent" / "jobs").iterdir())) > before)
    client.run("schedule", "pause", "tick")
    client.run("sync")
    rows = queries.jobs(Store().conn, queries.JobFilter())
    assert len(rows) >= 4 and {queries.spec(Store().conn, row.job)["schedule"] for row in rows} == {"tick"}
    assert {"mine"} <= set(rows[0].tags)
    assert len({row.snapshot for row in rows}) == 1
    assert shown["last_job"] in {row.job for row in rows}
    assert schedules(client)["tick"]["state"] == "paused"
    job = client.json_of("schedule", "run", "tick", "--json")["job"]
    assert client.wait_until(job, "completed")["name"] == "tick"
    (client.home / "hosts.toml").write_text('owner = "eve"\n')
    assert "--others" in client.run("schedule", "remove", "tick", code=2).stderr
    (client.home / "hosts.toml").write_text("")
    client.run("schedule", "resume", "tick")
    client.run("schedule", "add", "broken", "--every", "1", "--", "sh", "-c", "echo KeyError: 7; exit 3")
    wait_until(lambda: schedules(client)["broken"]["last_state"] == "failed")
    client.run("schedule", "pause", "broken")
    listed = client.run("schedule", "list").stdout
    assert "failed: " in listed and "KeyError: 7" in listed
    client.run("schedule", "remove", "broken")
    client.run("schedule", "remove", "tick")
    assert schedules(client) == {}
    client.run("schedule", "pause", "tick", code=3)


@pytest.mark.rest
def test_what_a_schedule_makes_is_registered_and_promoted_if_it_is_better_and_served_by_who_follows(
    project: Client,
) -> None:
    words = ("--register", "churn", "--promote-if", "val_loss", "--evaluate", "--", "python", "train.py")
    project.run("schedule", "add", "retrain", "--cron", "0 3 * * *", "--utc", *words)
    first = project.json_of("schedule", "run", "retrain", "--json")["job"]
    wait_until(lambda: bool(schedules(project)["retrain"]["outcome"]), 60)
    shown = schedules(project)["retrain"]
    assert f"job {first[:6]} is churn 1; champion now (val_loss" in shown["outcome"], shown
    version = project.json_of("model", "show", "churn@champion", "--json")
    assert (version["job"], version["version"], version["flavour"]) == (first, 1, "function")
    assert version["metrics"]["held_out"]["last"] == 0.5 and version["metrics"]["val_loss"]["last"] <= 1
    assert version["signature"]["inputs"] == [{"name": "x", "datatype": "FP64", "shape": [-1]}]
    assert "consists of" in project.run("delete", first, code=None).stderr
    project.run("serve", "churn@champion", "--follow", *_QUICK)
    with connected(project, "churn") as there:
        port = int(there["url"].rpartition(":")[2])
        assert get(port, "/v2/models/churn")[1]["versions"] == ["1"]
        second = project.json_of("schedule", "run", "retrain", "--json")["job"]
        wait_until(lambda: second[:6] in schedules(project)["retrain"]["outcome"], 60)
        assert "churn goes on to it" in schedules(project)["retrain"]["outcome"]
        until(project, lambda now: now["model_version"] == 2 and now["state"] == "ready", "churn")
        assert get(port, "/v2/models/churn")[1]["versions"] == ["2"]
    (project.project / "train.py").write_text(_RETRAIN.replace("1 / n", "9.0"))
    project.run("schedule", "add", "retrain", "--every", "6h", *words)
    third = project.json_of("schedule", "run", "retrain", "--json")["job"]
    wait_until(lambda: third[:6] in schedules(project)["retrain"]["outcome"], 60)
    assert "champion stays 2: val_loss 9 is not better than" in schedules(project)["retrain"]["outcome"]
    assert len(project.json_of("model", "show", "churn", "--json")["versions"]) == 3
    project.run("service", "stop", "churn")


@pytest.mark.rest
def test_a_model_that_cannot_answer_is_not_registered_and_it_is_said_why(project: Client) -> None:
    code = "def load(path):\n    raise ValueError('broken \x1b[31m')\ndef predict(x): ...\n"
    (project.project / "serving.py").write_text(code)
    words = ("--every", "6h", "--register", "churn", "--as", "champion", "--", "python", "train.py")
    project.run("schedule", "add", "retrain", *words)
    project.run("schedule", "run", "retrain")
    wait_until(lambda: bool(schedules(project)["retrain"]["outcome"]), 60)
    assert "nothing was registered" in schedules(project)["retrain"]["outcome"]
    assert "broken" in schedules(project)["retrain"]["outcome"]
    listing = project.run("schedule", "list").stdout
    assert "broken" in listing and "\x1b" not in listing
    assert project.json_of("model", "list", "--json") == []
    (project.project / "train.py").write_text("raise SystemExit(3)")
    project.run("schedule", "add", "retrain", *words)
    job = project.json_of("schedule", "run", "retrain", "--json")["job"]
    wait_until(lambda: job in schedules(project)["retrain"]["outcome"], 60)
    assert f"dependency {job} failed" in schedules(project)["retrain"]["outcome"]


def test_a_chain_that_cannot_be_is_refused_before_anything_is_sent(client: Client) -> None:
    words = ("schedule", "add", "retrain", "--every", "6h", "--register", "churn")
    done = client.run(*words, "--", "python", "train.py", code=2)
    assert "does not say what predicts" in done.stderr
    (client.project / "foundations.toml").write_text('[model]\npredict = "m:p"\n')
    assert "does not say how" in client.run(*words, "--evaluate", "--", "python", "train.py", code=2).stderr
    assert "no command" in client.run(*words, code=2).stderr
    assert "minute" in client.run("schedule", "add", "x", "--cron", "99 * * * *", "--", "true", code=2).stderr
    dry = client.run("schedule", "add", "x", "--every", "6h", "--dry-run", "--", "true").stdout
    assert "would submit true: every 6 h" in dry
    assert schedules(client) == {}


# --- what must not go wrong ---------------------------------------------------------------------------------------


GOOD = '{"error": "", "signature": {}}'


def _chained(host: Host, name: str = "nightly", **chain: Any) -> None:
    """Add a schedule whose jobs carry a chain."""
    told = {"model": "churn", "version": {"predict": "m:p"}, "alias": "champion", **chain}
    then = {"command": ["true"], "snapshot": TREE, "after": ["x"], "chain": told, "env": {"FOUNDATIONS_MODEL": "[]"}}
    host.add(name, every=60.0, then=then)


def _write_result(host: Host, job: str, told: str) -> None:
    attempt = host.paths.job(job).attempt(1)
    os.makedirs(attempt.work, exist_ok=True)
    Path(attempt.work, "model-check.json").write_text(told)
    Path(attempt.made).write_text('{"attempt": 1, "metrics": {"loss": {"last": 0.5}}}')


@pytest.mark.parametrize(
    "told",
    [
        "",
        "{}",
        '{"error": "", "signature": {}, "evaluation": {"m": 1' + "0" * 400 + "}}",
        '{"error": 5, "signature": {}}',
        '{"evaluation": {"loss": NaN}, "signature": 5}',
        "[" * 100_000,
        "nonsense",
        '{"error": "\\u001b[31m"}',
        '{"signature": {"inputs": "' + "x" * 20_000 + '"}}',
        "x" * (2 << 20),
    ],
)
def test_whatever_a_job_writes_the_daemon_goes_on(host: Host, told: str) -> None:
    _chained(host)
    host.wait(60)
    host.end_jobs()
    (behind,) = [spec for spec in host.jobs() if spec.chain]
    _write_result(host, behind.job, told)
    host.end_jobs()
    assert host.engine.state.jobs[behind.job].state.is_final
    (shown,) = host.engine.schedules.page()
    assert shown.outcome.startswith("nothing was registered") or '"evaluation"' in told, shown.outcome
    assert bool(host.engine.state.models) is ('"error": ""' in told)
    host.begin_again()
    host.wait(60)


def test_a_check_that_writes_nothing_registers_nothing_and_keeps_no_files(host: Host) -> None:
    _chained(host)
    host.wait(60)
    host.end_jobs()
    host.end_jobs()
    (shown,) = host.engine.schedules.page()
    assert shown.outcome.endswith("the check has written no model-check.json") and not host.engine.state.models


def test_a_long_absence_does_not_hold_up_the_host_and_submits_nothing(host: Host) -> None:
    stars = ",".join("*" * 48)
    host.add(cron=f"{stars} {stars} * * *")
    began = time.monotonic()
    shown = host.wait(80 * 86400 + 30)
    assert shown is not None and (shown.missed, host.jobs()) == (1000, [])
    assert time.monotonic() - began < 20, "it took half a minute"
    host.wait(60)
    assert len(host.jobs()) == 1


def test_what_a_cut_chain_has_begun_is_done_again_and_nothing_twice(host: Host) -> None:
    _chained(host)
    host.wait(60)
    host.end_jobs()
    (behind,) = [spec for spec in host.jobs() if spec.chain]
    _write_result(host, behind.job, GOOD)
    view = host.engine.state.jobs[behind.job]
    end = AttemptEnd("finished", None, host.now, 0)
    host.engine.chains.end(view, end)
    host.begin_again()  # killed before the end of the job was written down
    assert not host.engine.state.jobs[behind.job].state.is_final
    host.engine.chains.end(host.engine.state.jobs[behind.job], end)
    model = host.engine.state.models["churn"]
    assert (list(model.versions), model.aliases, len(model.history)) == ([1], {"champion": 1}, 1)
    assert host.engine.requests.pinned_by(behind.after[0])


def test_what_was_registered_is_told_also_where_the_next_step_fails(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    _chained(host)
    host.wait(60)
    host.end_jobs()
    (behind,) = [spec for spec in host.jobs() if spec.chain]
    _write_result(host, behind.job, GOOD)
    monkeypatch.setattr(host.engine.models, "set_alias", lambda request: (_ for _ in ()).throw(OSError(28, "no space")))
    host.end_jobs()
    (shown,) = host.engine.schedules.page()
    assert shown.outcome.startswith("job ") and shown.outcome.endswith("is churn 1; no space")


def test_one_time_is_one_job_however_often_it_is_dealt_with(host: Host) -> None:
    host.add(every=60.0, overlap="queue")
    (one,) = host.engine.state.schedules.values()
    for _ in range(3):
        host.engine.schedules._submit(one, NOON + 60, host.engine.schedules._id(one, NOON + 60, "job"))
    assert len(host.jobs()) == 1
    for _ in range(2):
        host.engine.schedules.change(messages.ChangeSchedule("nightly", "run", "a1b2c3d4e5f6"))
    assert len(host.jobs()) == 2


def test_times_of_a_short_absence_are_missed_but_the_last(host: Host) -> None:
    host.add(every=1.0)
    shown = host.wait(50)
    assert shown is not None and (len(host.jobs()), shown.missed, shown.missed_at) == (1, 49, NOON + 49)


def test_a_tag_of_a_user_is_no_schedule(host: Host) -> None:
    host.add(every=60.0, spec={"tags": {"schedule": "cosine"}})
    other = JobSpec("other", ("true",), TREE, tags={"schedule": "nightly"})
    host.engine.requests.submit(other)
    shown = host.wait(60)
    assert shown is not None and shown.skipped == 0 and host.jobs()[-1].tags == {"schedule": "cosine"}


@pytest.mark.parametrize(
    ("lost", "there"),
    [
        ("job2", {"nightly": False, "later": False}),
        ("schedule_removed", {"nightly": True, "later": True, "gone": True}),
    ],
)
def test_a_damaged_journal_loses_no_schedule_and_runs_none_that_may_be_removed(
    host: Host, lost: str, there: dict[str, bool]
) -> None:
    host.add(every=60.0)
    host.add("gone", every=60.0)
    for number in range(5):
        host.engine.requests.submit(JobSpec(f"job{number}", ("true",), TREE))
    host.change("remove", "gone")
    host.add("later", every=60.0)
    host.engine.ledger.commit()
    host.engine.journal.close()
    path = Path(host.paths.journal)
    lines = path.read_bytes().splitlines(keepends=True)
    place = next(number for number, line in enumerate(lines) if f'"{lost}"'.encode() in line)
    lines[place] = b"damaged" + lines[place][7:]
    path.write_bytes(b"".join(lines))
    host.begin()
    assert {one.name: one.paused for one in host.engine.schedules.page()} == there


def test_a_goal_that_nobody_says_is_not_guessed(project: Client) -> None:
    words = ("schedule", "add", "retrain", "--every", "6h", "--register", "churn", "--promote-if", "other")
    assert "small or a large other" in project.run(*words, "--", "python", "train.py", code=2).stderr
