"""The app's pages, driven with keys: filter, mark, compare, charts, logs, verbs, undo; and that nothing blocks it."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import os
import random
import re
import shutil
import sqlite3
import subprocess
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings, strategies as st
from rich.text import Text
from textual.events import Key
from textual.widgets import Input

from foundations_tui.analysis import aggregate, comparison
from foundations_tui.cli.registry import VERBS
from foundations_tui.config import locations
from foundations_tui.config.app import Settings
from foundations_tui.errors import FoundationsError, NotFoundError, UsageError
from foundations_tui.hosts import unlocking
from foundations_tui.session import Session
from foundations_tui.store import queries
from foundations_tui.store.db import open_reader
from foundations_tui.ui import tasks
from foundations_tui.ui.app import FoundationsApp
from foundations_tui.ui.input.command_line import parse
from foundations_tui.ui.input.job_form import submit_words
from foundations_tui.ui.models import images, job_details, jobs_table, log_colors, log_file
from foundations_tui.ui.models.curves import means_at
from foundations_tui.ui.models.jobs_table import JobsView
from foundations_tui.ui.pages import KEYS
from foundations_tui.ui.panes import compare
from foundations_tui.ui.panes.metrics import MetricsPane
from foundations_tui.ui.render_once import frame
from foundations_tui.ui.screens import passphrase
from foundations_tui.ui.screens.artifacts import Artifacts
from foundations_tui.ui.screens.confirm import Confirm
from foundations_tui.ui.screens.differences import CodeDifference
from foundations_tui.ui.screens.file_picker import Files, FileTree
from foundations_tui.ui.screens.help import Help
from foundations_tui.ui.screens.image import Picture
from foundations_tui.ui.screens.job_details import Detail
from foundations_tui.ui.screens.job_form import JobForm
from foundations_tui.ui.screens.menu import Menu
from foundations_tui.ui.screens.passphrase import Passphrase
from foundations_tui.ui.screens.preview import FilePreview
from foundations_tui.ui.screens.task_output import TaskOutput
from foundations_tui.ui.theme import LOOK
from foundations_tui.ui.widgets.chart import Chart
from foundations_tui.ui.widgets.log_view import LogView
from tests.support import screen
from tests.support.client import Client, use_slots
from tests.support.sshd import Sshd, lock_key
from tests.support.store import fill

TRAIN = """
import sys, foundations
lr, bs = float(sys.argv[1]), int(sys.argv[2])
foundations.log_params({"lr": lr, "bs": bs})
for step in range(40):
    foundations.log_metric("loss", lr * 10 / (step + 1))
    foundations.log_metric("acc", 1 - lr / (step + 1))
print("trained")
"""


def make_app(**options: object) -> FoundationsApp:
    return FoundationsApp(Session(connect_timeout=3), VERBS, **options)  # type: ignore[arg-type]


def some_jobs(client: Client) -> list[str]:
    """Give a client five ended jobs: four that differ in two parameters, and one that failed."""
    first, jobs = _first_with_jobs(client.home.parents[1] / "with-jobs")
    shutil.copytree(first.home, client.home, dirs_exist_ok=True)
    shutil.copytree(first.project, client.project, dirs_exist_ok=True)
    return list(jobs)


@functools.cache
def _first_with_jobs(top: Path) -> tuple[Client, list[str]]:
    """Run them once in this process, in a home that the others are copied from."""
    client = Client(top / "home", top / "project")
    jobs = _run_jobs(client)
    client.end_agents()
    (client.roots[0] / "stopped").unlink()
    return client, jobs


def _run_jobs(client: Client) -> list[str]:
    (client.project / "train.py").write_text(TRAIN)
    jobs = [
        client.submit("--name", f"lr{lr}-bs{bs}", "--", "python", "train.py", lr, bs)
        for lr in ("0.1", "0.2")
        for bs in ("16", "32")
    ]
    jobs.append(client.submit("--name", "broken", "--", "sh", "-c", "echo all is well; echo no error: 7; exit 7"))
    client.run("wait", *jobs, code=7)
    client.run("sync")
    return jobs


async def type_text(pilot: object, text: str) -> None:
    for char in text:
        await pilot.press(_KEYS.get(char, char))  # type: ignore[attr-defined]


_KEYS = {
    " ": "space",
    "=": "equals_sign",
    "<": "less_than_sign",
    ":": "colon",
    "-": "minus",
    ".": "full_stop",
    "_": "underscore",
    ",": "comma",
    "%": "percent_sign",
}


@pytest.mark.rest
@pytest.mark.parametrize("size", [(60, 15), (160, 50)])
async def test_every_page_at_every_size(client: Client, size: tuple[int, int]) -> None:
    some_jobs(client)
    app = make_app()
    async with app.run_test(size=size) as pilot:
        await screen.until(pilot, lambda: "broken" in screen.text(app))
        for page, key in KEYS.items():
            await pilot.press(key)
            await screen.until(pilot, lambda: app.reader.is_idle)
            await pilot.pause()
            shown = screen.text(app).splitlines()
            assert len(shown) == size[1] and all(len(line) == size[0] for line in shown), page
            assert app.main.page == (page if page != "overview" or size[0] >= 120 else "jobs"), page
        for width, height in ((41, 9), (200, 60), (20, 5), (80, 24)) * 2:
            await pilot.resize_terminal(width, height)
        await pilot.press("1")
        await screen.until(pilot, lambda: "broken" in screen.text(app))


async def test_a_filter_is_live_and_its_error_is_shown_in_place(client: Client) -> None:
    some_jobs(client)
    app = make_app()
    async with app.run_test(size=(120, 40)) as pilot:
        await screen.until(pilot, lambda: "5 jobs" in screen.text(app))
        await pilot.press("1", "slash")
        await type_text(pilot, "lr<0.15 and bs=")
        await screen.until(pilot, lambda: "expected" in screen.text(app) or "a value" in screen.text(app))
        assert app.main.prompt.is_asking
        await type_text(pilot, "32")
        await screen.until(pilot, lambda: app.main.jobs.table.count == 1 and "lr0.1-bs32" in screen.text(app))
        await pilot.press("enter")
        assert not app.main.prompt.is_asking and "filter: lr<0.15 and bs=32" in screen.text(app)
        await pilot.press("y")
        await screen.until(pilot, lambda: isinstance(app.screen, Menu))
        await pilot.press("v")
        await screen.until(pilot, lambda: app.clipboard == "foundations jobs --where 'lr<0.15 and bs=32'")
        await pilot.press("escape")
        await screen.until(pilot, lambda: app.main.jobs.table.count == 5)
        await pilot.press("slash")
        await type_text(pilot, "nothing_like_it<3")
        await screen.until(pilot, lambda: "no job has a parameter" in screen.text(app))
        await pilot.press("enter")
        assert app.main.prompt.is_asking and app.main.prompt.input.value == "nothing_like_it<3"
        await pilot.press("escape")
        await screen.until(pilot, lambda: app.main.jobs.view.query == "" and app.main.jobs.error is None)
        assert app.main.jobs.table.count == 5


async def test_a_filter_that_is_typed_faster_than_it_is_read(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    some_jobs(client)
    app = make_app()
    async with app.run_test(size=(120, 40)) as pilot:
        await screen.until(pilot, lambda: "5 jobs" in screen.text(app))
        await pilot.press("1", "slash")
        await type_text(pilot, "bs=")
        await screen.until(pilot, lambda: app.main.jobs.error is not None)
        read = jobs_table.read

        def read_slowly(*words: Any) -> Any:
            time.sleep(0.5)
            return read(*words)

        monkeypatch.setattr(jobs_table, "read", read_slowly)
        await type_text(pilot, "32")
        await pilot.press("enter")
        await screen.until(pilot, lambda: app.main.jobs.table.count == 2)
        assert app.main.jobs.view.query == "bs=32" and not app.main.prompt.is_asking


async def test_an_example_gives_way_to_what_is_typed(client: Client) -> None:
    app = make_app()
    async with app.run_test(size=(80, 24)) as pilot:
        await screen.until(pilot, lambda: "no jobs yet" in screen.text(app))
        await pilot.press("ctrl+t")
        await screen.until(pilot, lambda: "NAME user@host:port --identity KEY" in screen.text(app))
        await type_text(pilot, "a" * 60)
        await screen.until(pilot, lambda: "a" * 60 in screen.text(app))
        await pilot.resize_terminal(160, 24)
        await screen.until(pilot, lambda: "NAME user@host:port --identity KEY" in screen.text(app))


@pytest.mark.slow
async def test_sort_columns_groups_and_views(client: Client) -> None:
    some_jobs(client)
    app = make_app()
    async with app.run_test(size=(120, 40)) as pilot:
        await screen.until(pilot, lambda: "5 jobs" in screen.text(app))
        await pilot.press("1", "s")
        await type_text(pilot, "loss:min asc")
        await pilot.press("enter")
        await screen.until(pilot, lambda: [c.title for c in app.main.jobs.table._columns][3] == "loss:min ▲")
        assert [row.cells[3] for row in app.main.jobs.table._window.rows] == ["0.025", "0.025", "0.05", "0.05", ""]
        await pilot.press("c")
        await type_text(pilot, "name,loss:min,lr")
        await pilot.press("enter")
        await screen.until(pilot, lambda: "loss:min" in screen.text(app) and "sort: loss:min:asc" in screen.text(app))
        rows = [row.cells for row in app.main.jobs.table._window.rows]
        assert [row[3] for row in rows] == ["0.025", "0.025", "0.05", "0.05", ""]
        await pilot.press("S")
        await screen.until(pilot, lambda: app.main.jobs.table._window.rows[0].cells[3] == "0.05")
        await pilot.press("b")
        await type_text(pilot, "lr")
        await pilot.press("enter")
        await screen.until(pilot, lambda: "▾ lr 0.1" in screen.text(app) and "▾ lr (none)" in screen.text(app))
        assert app.main.jobs.table.count == 8 and "5 jobs in 3 groups" in screen.text(app)
        assert "2 jobs" in screen.text(app) and "±" in screen.text(app)
        await pilot.press("g", "enter")
        await screen.until(pilot, lambda: "▸ lr 0.1" in screen.text(app) and app.main.jobs.table.count == 6)
        await pilot.press("w")
        await screen.until(pilot, lambda: isinstance(app.screen, Menu))
        await pilot.press("s")
        await type_text(pilot, "mine")
        await pilot.press("enter")
        await screen.until(pilot, lambda: client.json("views") != [])
        saved = client.json("views")[0]
        assert (saved["view"], saved["columns"], saved["group_by"]) == ("mine", "name,loss:min,lr", "lr")
        await pilot.press("w")
        await screen.until(pilot, lambda: isinstance(app.screen, Menu))
        await pilot.press("0")
        await screen.until(pilot, lambda: app.main.jobs.table.count == 5)


async def test_more_jobs_are_compared_than_there_is_room_for(client: Client) -> None:
    fill(30)
    app = make_app()
    async with app.run_test(size=(80, 24)) as pilot:
        await screen.until(pilot, lambda: "30 jobs" in screen.text(app))
        await pilot.press("a", "5")
        await screen.until(pilot, lambda: "job 29" in screen.text(app) and "2-4 of 30" in screen.text(app))
        assert "job 28" in screen.text(app) and "arg:lr" not in screen.text(app)
        assert "0.028 (-0.001)" in screen.text(app), "numbers are whole"
        await pilot.press("l")
        await screen.until(pilot, lambda: "3-5 of 30" in screen.text(app))
        assert "job 29" in screen.text(app) and "job 28" not in screen.text(app)
        await pilot.press("h", "h")
        await screen.until(pilot, lambda: "2-4 of 30" in screen.text(app))
        await pilot.press("t")
        await screen.until(pilot, lambda: app.main.query_one(compare.ComparePane).table.count == 30)
        (titles, first) = screen.text(app).splitlines()[2:4]
        assert "name" in titles and "state" in titles and "job 29" in first
        await pilot.press("t")
        await screen.until(pilot, lambda: "2-4 of 30" in screen.text(app))


def test_what_is_better_than_the_baseline_is_seen() -> None:
    def styles(line: comparison.Line) -> list[str]:
        return [cell.style for cell in compare._upright(["a", "b", "c"], [line]).rows[0].cells]

    good, bad = LOOK.style("completed"), LOOK.style("failed")
    assert styles(comparison.Line("metric", "loss:min", [2.0, 1.0, 3.0], 1, "min")) == ["", f"{good} bold", bad]
    assert styles(comparison.Line("metric", "acc:max", [2.0, 1.0, 3.0], 2, "max")) == ["", bad, f"{good} bold"]
    assert styles(comparison.Line("metric", "lr", [2.0, None, 3.0])) == ["", "", ""]
    spreads = [aggregate.spread(values) for values in ([2.0, 4.0], [1.0, 2.0], [])]
    assert styles(comparison.Line("metric", "loss:min", spreads, 1, "min")) == ["", f"{good} bold", ""]


def test_gpus_are_counted_where_jobs_are_compared_for_readers() -> None:
    queued, one, two = 1, "GPU-5d1c", "GPU-5d1c, GPU-6e2d"
    line = comparison.Line("job", "GPUs", [queued, one])
    assert comparison.for_readers([line]) == [] and comparison.for_readers([line], everything=True)[0].values == [1, 1]
    (shown,) = comparison.for_readers([comparison.Line("job", "GPUs", [queued, two])])
    assert shown.values == [1, 2]


async def test_marked_jobs_are_compared_and_charted(client: Client) -> None:
    jobs = some_jobs(client)
    app = make_app()
    async with app.run_test(size=(160, 50)) as pilot:
        await screen.until(pilot, lambda: "5 jobs" in screen.text(app))
        await pilot.press("j", "space", "v", "j", "v")
        await screen.until(pilot, lambda: len(app.main.chosen) == 3)
        assert set(app.main.chosen) == set(jobs[1:4])
        await pilot.press("2")
        charts = [chart for chart in app.main.query(Chart) if chart.display]
        await screen.until(pilot, lambda: [chart.title for chart in charts[:2]] == ["acc", "loss"])
        assert re.search(r"0\.0025  \w{6} lr0.1-bs32", screen.text(app).replace("0.025", "0.0025"))
        assert "▲" in screen.text(app)
        await pilot.press("h", "h", "plus", "L", "X")
        await screen.until(pilot, lambda: "smoothed 0.1" in screen.text(app) and "log" in screen.text(app))
        assert app.main.query_one(MetricsPane).how.x == "time"
        await pilot.press("5")
        await screen.until(pilot, lambda: "param:lr" in screen.text(app))
        assert "param:bs" in screen.text(app) and "(-0.1)" in screen.text(app) and "project" not in screen.text(app)
        await pilot.press("o")
        await screen.until(pilot, lambda: "project" in screen.text(app))
        await pilot.press("o", "m")
        await screen.until(pilot, lambda: "3 groups: mean over" in screen.text(app) or "2 groups" in screen.text(app))
        assert "±" in screen.text(app)
        await pilot.press("m", "m")
        await screen.until(pilot, lambda: "what differs" in screen.text(app))
        await pilot.press("1", "A")
        app.main.jobs.table.mark(jobs[:2])
        await pilot.press("5")
        await screen.until(pilot, lambda: "compare  2 jobs" in screen.text(app) and "param:bs" in screen.text(app))
        await pilot.press("m")
        await screen.until(pilot, lambda: "1 group: mean over" in screen.text(app))
        assert "mean over" in screen.text(app).splitlines()[-1], "one lane differs in nothing, and its keys lead on"
        await pilot.press("m")
        await screen.until(pilot, lambda: "what differs" in screen.text(app))
        await pilot.press("3")
        others = {f"log  {job[:6]}" for job in jobs[:2]}
        await screen.until(pilot, lambda: any(title in screen.text(app) for title in others))
        await screen.until(pilot, lambda: screen.text(app).count("✓ completed") == 2)
        await pilot.press("1", "A")
        await screen.until(pilot, lambda: len(app.main.chosen) == 1)


def test_jobs_that_differ_only_in_a_parameter_count_as_one(client: Client) -> None:
    jobs = some_jobs(client)[:4]
    client.run("sync")
    found = client.json("compare", *jobs, "--over", "bs")
    assert found["groups"] == [jobs[:2], jobs[2:]] and found["over"] == "bs"
    lines = {(line["kind"], line["name"]): line["values"] for line in found["lines"]}
    assert lines["param", "lr"] == [0.1, 0.2] and lines["job", "jobs"] == [2, 2]
    assert lines["metric", "loss"][0] == {"count": 2, "mean": 0.025, "deviation": 0.0, "min": 0.025, "max": 0.025}
    shown = client.run("compare", *jobs, "--over", "lr").stdout
    assert "+1" in shown and "0.0375 ±0.018" in shown
    assert "they have: lr, bs" in client.run("compare", *jobs, "--over", "seed", code=3).stderr


def test_a_metric_may_be_called_as_a_fact_of_a_job() -> None:
    spread = aggregate.spread([1.0, 2.0])
    for kind, values in (("metric", [spread, None]), ("param", ["long", 3]), ("tag", [{}, ""])):
        line = comparison.Line(kind, "duration", values)
        assert compare._upright(["a", "b"], [line]).rows[0].drawn([0, 1], [9, 9]).cells


async def test_a_job_in_full(client: Client) -> None:
    some_jobs(client)
    app = make_app()
    async with app.run_test(size=(100, 45)) as pilot:
        await screen.until(pilot, lambda: "5 jobs" in screen.text(app))
        await pilot.press("enter")
        await screen.until(pilot, lambda: isinstance(app.screen, Detail) and "exit code     7" in screen.text(app))
        await pilot.press("escape", "j", "enter")
        await screen.until(pilot, lambda: re.search(r"loss .* 0.05 +0.05 +2 +40", screen.text(app)) is not None)
        assert "▁" in screen.text(app) and "timeline" in screen.text(app)


async def test_what_was_said_of_jobs_is_taken_back(client: Client) -> None:
    jobs = some_jobs(client)
    app = make_app()
    async with app.run_test(size=(120, 40)) as pilot:
        await screen.until(pilot, lambda: "5 jobs" in screen.text(app))
        await pilot.press("1", "space", "space")
        for key in ("asterisk", "a", "d"):
            await pilot.press("x")
            await screen.until(pilot, lambda: isinstance(app.screen, Menu))
            await pilot.press(key)
            await screen.until(pilot, lambda: not isinstance(app.screen, Menu))
            done = {"asterisk": "is:starred", "a": "is:archived", "d": "is:trashed"}[key]
            await screen.until(pilot, lambda done=done: len(client.json("jobs", "--where", done)) == 2)  # type: ignore[misc]
        await screen.until(pilot, lambda: app.main.jobs.table.count == 3)
        assert {row["job"] for row in client.json("jobs", "--where", "is:trashed")} == set(jobs[3:])
        for query in ("is:trashed", "is:archived", "is:starred"):
            await pilot.press("u")
            await screen.until(pilot, lambda query=query: client.json("jobs", "--where", query) == [])  # type: ignore[misc]
        await screen.until(pilot, lambda: app.main.jobs.table.count == 5)


async def test_a_job_is_edited_and_run_anew(client: Client) -> None:
    jobs = some_jobs(client)
    app = make_app()
    async with app.run_test(size=(120, 40)) as pilot:
        await screen.until(pilot, lambda: "5 jobs" in screen.text(app))
        await pilot.press("1", "j", "e")
        await screen.until(pilot, lambda: isinstance(app.screen, JobForm))
        command = app.screen.query_one("#field-command", Input)
        assert command.value == "python train.py 0.2 32" and "foundations submit" in screen.text(app)
        await pilot.press("backspace", "backspace")
        await type_text(pilot, "'64")
        await screen.until(pilot, lambda: "command: no closing quotation" in screen.text(app))
        await pilot.press("left", "left", "backspace")
        await screen.until(pilot, lambda: "* command" in screen.text(app) and "train.py 0.2 64" in screen.text(app))
        await pilot.press("f2")
        await screen.until(pilot, lambda: isinstance(app.screen, TaskOutput) and "done   enter" in screen.text(app))
        assert "train.py" in screen.text(app) and len(client.json("jobs")) == 5
        await pilot.press("enter")
        await screen.until(pilot, lambda: "enter shows the job" in screen.text(app))
        assert "foundations logs" not in screen.text(app)
        await pilot.press("enter")
        await screen.until(pilot, lambda: app.main.jobs.table.count == 6 and app.screen is app.main)
        assert (app.main.jobs.table.key, app.main.jobs.table.cursor) == (client.json("jobs")[0]["job"], 0)
    new = client.json("jobs")[0]
    assert new["command"] == ["python", "train.py", "0.2", "64"] and new["name"] == "lr0.2-bs32"
    assert new["job"] not in jobs


@pytest.mark.rest
async def test_a_form_that_is_left_and_a_submit_that_fails_lose_nothing(client: Client) -> None:
    app = make_app()
    async with app.run_test(size=(80, 24)) as pilot:
        await screen.until(pilot, lambda: "no jobs yet" in screen.text(app))
        await pilot.press("ctrl+n")
        await screen.until(pilot, lambda: isinstance(app.screen, JobForm))
        await type_text(pilot, "true")
        await pilot.press("escape", "ctrl+n")
        await screen.until(pilot, lambda: "a new job, as it was left" in screen.text(app))
        app.screen.query_one("#field-host", Input).value = "nowhere"
        await pilot.press("f3")
        await screen.until(pilot, lambda: "failed   esc back" in screen.text(app) and "nowhere" in screen.text(app))
        await pilot.press("escape")
        await screen.until(pilot, lambda: isinstance(app.screen, JobForm))
        assert app.screen.query_one("#field-command", Input).value == "true"
        app.screen.query_one("#field-host", Input).value = "local"
        await pilot.press("f3")
        await screen.until(pilot, lambda: "enter shows the job" in screen.text(app))
        await pilot.press("escape", "ctrl+n")
        await screen.until(pilot, lambda: isinstance(app.screen, JobForm) and "a new job ──" in screen.text(app))
        await type_text(pilot, "false")
        await pilot.press("escape", "e")
        await screen.until(pilot, lambda: "a new job like" in screen.text(app))
        await pilot.press("f3")
        await screen.until(pilot, lambda: "enter shows the job" in screen.text(app))
        await pilot.press("escape", "ctrl+n")
        await screen.until(pilot, lambda: "a new job, as it was left" in screen.text(app))
        await pilot.press("f5", "escape", "ctrl+n")
        await screen.until(pilot, lambda: isinstance(app.screen, JobForm) and "a new job ──" in screen.text(app))
        await type_text(pilot, "false")
        await pilot.press("f5")
        assert app.screen.query_one("#field-command", Input).value == ""
        app.screen.query_one("#field-params", Input).value = "lr=0.1,0.2 bs=32"
        await type_text(pilot, "true")
        await screen.until(pilot, lambda: "lr=0.1,0.2 belongs into sweep" in screen.text(app))
    assert [row["host"] for row in client.json("jobs")] == ["local", "local"]


@pytest.mark.rest
async def test_enter_shows_the_job_also_where_the_table_has_it_not(client: Client) -> None:
    first = client.submit("--name", "one", "--", "true")
    client.run("wait", first)
    app = make_app()
    async with app.run_test(size=(80, 24)) as pilot:
        await screen.until(pilot, lambda: "one" in screen.text(app))
        await pilot.press("slash")
        await type_text(pilot, "name=one")
        await pilot.press("enter", "colon")
        await type_text(pilot, "submit -- true")
        await pilot.press("enter")
        await screen.until(pilot, lambda: "enter shows the job" in screen.text(app))
        await pilot.press("enter")
        await screen.until(pilot, lambda: isinstance(app.screen, Detail))
        new = client.json("jobs")[0]["job"]
        await screen.until(pilot, lambda: new in screen.text(app))


async def test_a_view_that_becomes_wrong_is_told_once(client: Client) -> None:
    job = client.submit("--param", "lr=0.1", "--", "true")
    client.run("wait", job)
    app = make_app()
    said: list[str] = []
    async with app.run_test(size=(80, 24)) as pilot:
        await screen.until(pilot, lambda: "1 job ─" in screen.text(app))
        app.say = lambda text, failed=False: said.append(text)  # type: ignore[method-assign]
        await pilot.press("slash")
        await type_text(pilot, "lr<1")
        await pilot.press("enter", "s", "escape")
        await screen.until(pilot, lambda: "filter: lr<1" in screen.text(app))
        client.run("delete", "--now", "--yes", job)
        await screen.until(pilot, lambda: app.main.jobs.view == JobsView())
        await screen.until(pilot, lambda: app.reader.is_idle)
        assert sum("no job has" in text for text in said) == 1


async def test_a_new_job_from_files_that_are_here(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(client.project)
    (client.project / "sub dir").mkdir()
    (client.project / "sub dir" / "[b]\x1b[2Jtrain.py").write_text("print('hi')\n")
    (client.project / "tune.py").write_text("print('tuned')\n")
    app = make_app()
    async with app.run_test(size=(80, 24)) as pilot:
        await screen.until(pilot, lambda: "no jobs yet" in screen.text(app))
        await pilot.press("ctrl+n")
        await screen.until(pilot, lambda: isinstance(app.screen, JobForm))
        command = app.screen.query_one("#field-command", Input)
        await type_text(pilot, "python tun")
        await screen.until(pilot, lambda: command._suggestion == "python tune.py")
        await pilot.press("right")
        assert command.value == "python tune.py"
        command.value = "python"
        command.cursor_position = 6
        await pilot.press("f4")
        await screen.until(pilot, lambda: isinstance(app.screen, Files) and "sub dir" in screen.text(app))
        await pilot.press("j", "enter")
        await screen.until(pilot, lambda: "[b]" in screen.text(app) and "train.py" in screen.text(app))
        assert "\x1b" not in screen.text(app)
        await pilot.press("escape", "f4")
        await screen.until(pilot, lambda: isinstance(app.screen, Files) and "tune.py" in screen.text(app))
        while "tune.py" not in str(app.screen.query_one(FileTree).cursor_node.data.path):  # type: ignore[union-attr]
            await pilot.press("j")
        await pilot.press("enter")
        await screen.until(pilot, lambda: isinstance(app.screen, JobForm) and command.value == "python tune.py")
        await pilot.press("f3")
        await screen.until(pilot, lambda: isinstance(app.screen, TaskOutput) and "done   enter" in screen.text(app))
        shown = screen.text(app)
        assert "taking the snapshot" in shown and "sending  ████████████████████████ 100%" in shown
    assert client.json("jobs")[0]["command"] == ["python", "tune.py"]


@pytest.mark.rest
@pytest.mark.parametrize("part", range(3))
async def test_every_verb_can_be_typed(client: Client, part: int) -> None:
    app = make_app()
    async with app.run_test(size=(120, 40), notifications=True) as pilot:
        await screen.until(pilot, lambda: "no jobs yet" in screen.text(app))
        for verb in list(VERBS)[part::3]:
            await pilot.press("colon")
            app.main.prompt.input.value = f"{verb} --help"
            await pilot.press("enter")
            await screen.until(pilot, lambda: isinstance(app.screen, TaskOutput) and "exit 0" in screen.text(app))
            assert f"Usage: foundations {verb}" in screen.text(app), verb
            await pilot.press("escape")
        await pilot.press("colon")
        app.main.prompt.input.value = "nonsense"
        await pilot.press("enter")
        await screen.until(pilot, lambda: "there is no verb 'nonsense'" in screen.text(app))


def test_what_a_form_comes_to() -> None:
    filled = {
        "command": "python t.py '{lr}'",
        "gpus": "2",
        "sweep": "lr=1,2 bs=3",
        "options": "--retries 2",
        "name": "a b",
    }
    assert submit_words(filled) == [
        *("--name", "a b", "--gpus", "2", "--sweep", "lr=1,2", "--sweep", "bs=3", "--retries", "2"),
        *("--", "python", "t.py", "{lr}"),
    ]
    for wrong in ({}, {"command": " "}, {"command": "a 'b"}, {"command": "a", "params": "x='"}):
        with pytest.raises(UsageError):
            submit_words(wrong)


def test_what_is_typed_behind_a_colon() -> None:
    ids = ["aaa", "bbb"]
    assert parse("stop", VERBS, ids).words == ("aaa", "bbb")
    assert parse("logs", VERBS, ids).words == ("aaa",)
    assert parse("foundations tag % good=1", VERBS, ids).words == ("aaa", "bbb", "good=1")
    assert parse("stop --where 'a b'", VERBS, ids).words == ("--where", "a b")
    assert parse("show ccc", VERBS, ids).words == ("ccc",)
    assert parse("jobs", VERBS, ids).words == ()
    for line in ("", "foundations", "nope", "show '", "stop %"):
        with pytest.raises(UsageError):
            parse(line, VERBS, [])


async def seconds_for_keys(app: FoundationsApp) -> float:
    """Return what 42 keys of all kinds take."""
    began = time.monotonic()
    for key in ("j", "j", "G", "1", "2", "3", "1", "g", "k", "enter", "escape", "slash", "a", "escape") * 3:
        app.post_message(_key(key))
        for _ in range(5):
            await asyncio.sleep(0.01)
    return time.monotonic() - began


@pytest.mark.rest
async def test_a_slow_store_and_dead_hosts_block_no_key(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(300)
    (client.home / "hosts.toml").write_text('[hosts.dead]\naddress = "192.0.2.1"\n')
    slow = queries.jobs_by_id

    readers: set[threading.Thread] = set()

    def slowly(*args: object, **options: object) -> object:
        readers.add(threading.current_thread())
        time.sleep(0.7)
        return slow(*args, **options)  # type: ignore[arg-type]

    app = make_app()
    async with app.run_test(size=(120, 40)) as pilot:
        await screen.until(pilot, lambda: "300 jobs" in screen.text(app))
        usual = await seconds_for_keys(app)
        monkeypatch.setattr(queries, "jobs_by_id", slowly)
        taken = await seconds_for_keys(app)
        assert readers and threading.main_thread() not in readers, "a handler read the store"
        assert taken - usual < 0.7 * 42 / 2, f"it took {taken:.1f} s, not {usual:.1f}: keys waited for something"
        began = time.monotonic()
        app.exit()
    assert time.monotonic() - began < 20, "quitting waited for the store or a host"


def _key(key: str) -> Key:
    return Key(key, key if len(key) == 1 else None)


@pytest.mark.slow
async def test_hostile_text_on_every_page(client: Client) -> None:
    evil = "[red]x[/] [@click=app.quit]y[/]\x1b]52;c;aGk=\x07\x1b[2J\u202e"
    (client.project / "evil.py").write_text(
        f"import foundations\nevil = {evil!r}\n"
        "foundations.log_param('p' + evil, evil)\nfoundations.set_tag('t' + evil, evil)\n"
        "for n in range(5): foundations.log_metric('m' + evil, n)\nprint(evil)\n"
    )
    jobs = [client.submit("--name", f"{evil}{n}", "--", "python", "evil.py") for n in range(2)]
    client.run("wait", *jobs)
    client.run("note", jobs[0], evil)
    app = make_app()
    async with app.run_test(size=(160, 50)) as pilot:
        await screen.until(pilot, lambda: "2 jobs" in screen.text(app))
        await pilot.press("space", "space")
        for key in ("0", "1", "2", "3", "4", "5", "6", "1", "enter", "escape", "x", "escape", "y", "escape", "e"):
            await pilot.press(key)
            await screen.until(pilot, lambda: app.reader.is_idle)
            await pilot.pause()
            shown = screen.text(app)
            assert not set(shown) & {"\x1b", "\x07", "\u202e", "\x9b"}, key
            if key in ("1", "2", "5"):
                assert "[red]x[/]" in shown, key
        await pilot.press("escape")
        assert app.is_running


# --- logs -------------------------------------------------------------------------------------------------------


@settings(max_examples=60)
@given(
    st.lists(st.binary(max_size=40).map(lambda b: b.translate(None, b"\n\x1b")), max_size=60),  # no steps up
    st.booleans(),
    st.integers(1, 9),
)
def test_lines_of_a_file_are_found(
    tmp_path_factory: pytest.TempPathFactory, lines: list[bytes], ends: bool, step: int
) -> None:
    path = tmp_path_factory.mktemp("log") / "log"
    path.write_bytes(b"\n".join(lines) + (b"\n" if ends and lines else b""))
    data = path.read_bytes()
    expected = data.split(b"\n")
    if expected[-1] == b"":
        expected.pop()
    small, log_file.CHUNK_BYTES = log_file.CHUNK_BYTES, 16
    try:
        file = log_file.LogFile(path)
        while file.scan(step):
            pass
        assert file.line_count == len(expected)
        wanted = [line.rstrip(b"\r") for line in expected]
        assert file.lines(0, 1000) == wanted
        for number in range(len(expected)):
            assert file.lines(number, 1) == wanted[number : number + 1]
        assert [line.rstrip(b"\r") for line in file.tail(3)] == wanted[-3:]
    finally:
        log_file.CHUNK_BYTES = small


def test_searching_a_file_finds_each_line_once(tmp_path: Path) -> None:
    dice = random.Random(1)
    lines = [dice.choice(["epoch", "an Error", "nan", "fine error error"]) + str(n) for n in range(200_000)]
    path = tmp_path / "log"
    path.write_text("\n".join(lines) + "\n")
    file = log_file.LogFile(path)
    while file.scan(1 << 22):
        pass
    wanted = log_file.compile_words("error")
    found = [o for offsets, _ in log_file.matches(path, wanted, lambda: False) for o in offsets]
    assert [file.line_at(offset) for offset in found[:500]] == [
        n for n, line in enumerate(lines) if "error" in line.lower()
    ][:500]
    assert len(found) == sum("error" in line.lower() for line in lines)
    assert log_file.compile_words("(a+)+b").pattern.pattern == re.escape(b"(a+)+b"), (
        "a pattern that could take forever is text"
    )


def test_a_search_goes_on_from_the_other_end(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_text("one\ntwo\nthree\n")
    one, three = 0, 8

    def found(words: str, place: int, direction: int) -> tuple[int | None, bool]:
        return log_file.next_match(path, log_file.compile_words(words), lambda: False, place, direction)

    assert found("three", one, 1) == (three, False) and found("one", three, -1) == (one, False)
    assert found("one", three, 1) == (one, True) and found("three", one, -1) == (three, True)
    assert found("four", three, 1) == (None, False)


async def test_a_log_is_searched_and_filtered(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_text("".join(f"line {n}{' ERROR here' if n % 1000 == 999 else ''}\n" for n in range(50_000)))

    app = screen.OneWidget(LogView())
    async with app.run_test(size=(40, 10)) as pilot:
        view = app.query_one(LogView)
        view.focus()
        view.show(log, "")
        await screen.until(pilot, lambda: "line 49999 ERROR" in screen.text(app))
        await pilot.press("g", "right_square_bracket")
        await screen.until(pilot, lambda: "line 999 ERROR" in screen.text(app))
        await pilot.press("right_square_bracket")
        await screen.until(pilot, lambda: "line 1999 ERROR" in screen.text(app))
        await pilot.press("left_square_bracket")
        await screen.until(pilot, lambda: "line 999 ERROR" in screen.text(app))
        view.search("line 3141")
        await screen.until(pilot, lambda: "line 3141" in screen.text(app))
        await pilot.press("n")
        await screen.until(pilot, lambda: "line 31410" in screen.text(app))
        view.set_filter("error")
        await screen.until(pilot, lambda: view.line_count == 50)
        with log.open("a") as file:
            file.write("one more error\n")
        view.look()
        await screen.until(pilot, lambda: view.line_count == 51 and "one more error" in screen.text(app))
        view.set_filter("")
        assert view.line_count == 50_001


async def test_long_lines_are_wrapped(tmp_path: Path) -> None:
    log = tmp_path / "log"
    message = "ValueError: " + " ".join(f"word{n}" for n in range(20))
    log.write_text("".join(f"line {n} {'x' * 60} end{n}\n" for n in range(50)) + message + "\n")

    app = screen.OneWidget(LogView())
    async with app.run_test(size=(40, 10)) as pilot:
        view = app.query_one(LogView)
        view.focus()
        view.show(log, "", wraps_end=True)
        await screen.until(pilot, lambda: "word19" in screen.text(app) and "ValueError" in screen.text(app))
        await pilot.press("g")
        await screen.until(pilot, lambda: "line 9 " in screen.text(app) and "end0" not in screen.text(app))
        await pilot.press("W")
        await screen.until(pilot, lambda: "end0" in screen.text(app) and "line 0 " in screen.text(app))
        view.search("line 30 ")
        await screen.until(pilot, lambda: "end30" in screen.text(app))
        await pilot.press("G")
        await screen.until(pilot, lambda: "word19" in screen.text(app))
        await pilot.press("W")
        view.show(log, "")
        await screen.until(pilot, lambda: "word19" not in screen.text(app))


@pytest.mark.parametrize(
    ("line", "spans"),
    [
        ("2026-11-30 12:00:01,123 WARNING disk is slow", ["2026-11-30 12:00:01,123 ", "WARNING"]),
        ("[12:00:01] INFO  loaded", ["[12:00:01]", "INFO"]),
        ("ERROR: no data", ["ERROR"]),
        ("100%|##| 5/5Traceback (most recent call last):", ["Traceback (most recent call last):"]),
        ('  File "a.py", line 3, in f', ['  File "a.py", line 3, in f']),
        ("torch.OutOfMemoryError: CUDA out of memory", ["torch.OutOfMemoryError: CUDA out of memory"]),
        ("error rate 0.1, information INFORMATION", []),
        ("epoch 3 loss 0.5", []),
    ],
)
def test_lines_of_a_log_have_colors(line: str, spans: list[str]) -> None:
    painted = log_colors.paint(Text(line))
    assert [line[span.start : span.end] for span in painted.spans] == spans
    assert painted.plain == line


async def test_a_large_log_shows_its_end_at_once_and_takes_no_memory(tmp_path: Path) -> None:
    log = tmp_path / "log"
    block = b"".join(b"a line of the log, number %06d\n" % n for n in range(30_000))
    with log.open("wb") as file:
        for _ in range(300):
            file.write(block)
        file.write(b"the very end\n")
    view = LogView()

    app = screen.OneWidget(view)
    async with app.run_test(size=(60, 12)) as pilot:
        view.show(log, "")
        await pilot.pause()
        assert "the very end" in screen.text(app)
        await screen.until(pilot, lambda: view.line_count == 9_000_001)
        assert "the very end" in screen.text(app)
        assert view._file is not None and len(view._file._before) * 8 < 100_000


async def test_lines_are_counted_until_all_are_known() -> None:
    fill(1)
    log = locations.log_file("0" * 12, 1)
    log.parent.mkdir(parents=True)
    log.write_text("a line\n" * 1_000_000)
    app = FoundationsApp(Session(), page="log", follow=False)
    async with app.run_test(size=(80, 24)) as pilot:
        await screen.until(pilot, lambda: " 1,000,000 lines ─" in screen.text(app))


ARTIFACTS = """
import foundations
open("notes.txt", "w").write("all went well")
open("plot.png", "wb").write(bytes(range(256)))
foundations.save_artifact("notes.txt")
foundations.save_artifact("plot.png")
"""


async def test_from_a_job_to_its_artifacts_code_and_tags(client: Client) -> None:
    (client.project / "train.py").write_text(ARTIFACTS)
    first = client.submit("--", "python", "train.py")
    (client.project / "train.py").write_text(ARTIFACTS + "# changed\n")
    second = client.submit("--", "python", "train.py")
    client.run("wait", first, second)
    client.run("sync")
    app = make_app(follow=False)
    async with app.run_test(size=(100, 40), notifications=True) as pilot:
        await screen.until(pilot, lambda: "2 jobs" in screen.text(app))
        await pilot.press("enter")
        await screen.until(pilot, lambda: isinstance(app.screen, Detail) and "notes.txt" in screen.text(app))
        await pilot.press("a")
        await screen.until(pilot, lambda: isinstance(app.screen, Artifacts) and "plot.png" in screen.text(app))
        await pilot.press("enter")
        await screen.until(pilot, lambda: isinstance(app.screen, FilePreview) and "all went well" in screen.text(app))
        await pilot.press("escape")
        await screen.until(pilot, lambda: isinstance(app.screen, Artifacts))
        await pilot.press("j", "enter")
        await screen.until(pilot, lambda: "plot.png is" in screen.text(app))
        await pilot.press("escape")
        await screen.until(pilot, lambda: isinstance(app.screen, Detail))
        await pilot.press("d")
        await screen.until(pilot, lambda: isinstance(app.screen, Menu))
        await pilot.press("d")
        await screen.until(pilot, lambda: isinstance(app.screen, CodeDifference) and "# changed" in screen.text(app))
        await pilot.press("escape", "d")
        await screen.until(pilot, lambda: isinstance(app.screen, Menu))
        await pilot.press("c")
        await screen.until(
            pilot, lambda: isinstance(app.screen, CodeDifference) and "not submitted from a commit" in screen.text(app)
        )
        await pilot.press("escape", "f")
        await screen.until(pilot, lambda: isinstance(app.screen, TaskOutput) and "train.py" in screen.text(app))
        await pilot.press("escape", "x")
        await screen.until(pilot, lambda: isinstance(app.screen, Menu))
        await pilot.press("t")
        await screen.until(pilot, lambda: app.main.prompt.is_asking)
        await pilot.press(*"good", "enter")
        await screen.until(pilot, lambda: client.job(second)["tags"] == {"good": ""})
        assert client.job(first)["tags"] == {}
        await pilot.press("enter")
        await screen.until(pilot, lambda: isinstance(app.screen, Detail) and "artifacts" in screen.text(app))
        await pilot.press("l")
        await screen.until(pilot, lambda: app.main.page == "log")


async def test_a_picture_is_shown(client: Client, tmp_path: Path) -> None:
    from PIL import Image

    picture = Image.new("RGB", (400, 200), "#ff0000")
    picture.paste("#0000ff", (200, 0, 400, 200))
    picture.save(client.project / "plot.png")
    (client.project / "train.py").write_text("import foundations\nfoundations.save_artifact('plot.png')\n")
    client.run("wait", client.submit("--", "python", "train.py"))
    client.run("sync")
    app = make_app(follow=False)
    async with app.run_test(size=(80, 24), notifications=True) as pilot:
        await screen.until(pilot, lambda: "✓ completed" in screen.text(app))
        await pilot.press("enter")
        await screen.until(pilot, lambda: isinstance(app.screen, Detail) and "plot.png" in screen.text(app))
        await pilot.press("a")
        await screen.until(pilot, lambda: isinstance(app.screen, Artifacts) and "plot.png" in screen.text(app))
        await pilot.press("enter")
        await screen.until(pilot, lambda: isinstance(app.screen, Picture) and "▀" in screen.text(app))
        line = next(line for line in app.screen._compositor.render_strips() if "▀" in line.text)
        colors = [str(s.style and s.style.color and s.style.color.name) for s in line if s.text == "▀" and s.style]
        assert colors[0] == "#ff0000" and colors[-1] == "#0000ff" and 40 < len(colors) < 80
        await pilot.press("escape")
        await screen.until(pilot, lambda: isinstance(app.screen, Artifacts))


def test_pictures_that_are_none_or_too_large(tmp_path: Path) -> None:
    from PIL import Image

    (tmp_path / "words.png").write_text("no picture")
    assert images.load(tmp_path / "words.png") is None
    Image.new("1", (12_000, 10_000)).save(tmp_path / "bomb.png")
    with pytest.raises(FoundationsError, match="too large"):
        images.load(tmp_path / "bomb.png")
    Image.new("RGB", (500, 500)).save(tmp_path / "cut.png")
    (tmp_path / "cut.png").write_bytes((tmp_path / "cut.png").read_bytes()[:200])
    with pytest.raises(FoundationsError, match="cannot be shown"):
        images.load(tmp_path / "cut.png")


async def test_waiting_jobs_trade_places(client: Client) -> None:
    use_slots(client, 1)
    running = client.submit("--", "sleep", "600")
    waiting = [client.submit("--name", name, "--", "true") for name in ("one", "two", "three")]
    client.wait_until(running, "running")
    app = make_app(page="queue")
    async with app.run_test(size=(120, 30)) as pilot:
        await screen.until(pilot, lambda: "3 jobs" in screen.text(app))
        await pilot.press("g", "j", "j", "K", "K")
        await screen.until(pilot, lambda: _queue_of(client) == [waiting[2], waiting[0], waiting[1]])
        await screen.until(pilot, lambda: screen.text(app).index("three") < screen.text(app).index("one"))
        await pilot.press("K", "J")
        await screen.until(pilot, lambda: _queue_of(client) == [waiting[0], waiting[2], waiting[1]])
    client.run("stop", "--grace", "0", *waiting, running, "--yes", code=None)


def _queue_of(client: Client) -> list[str]:
    return [entry["job"] for entry in client.json("queue")]


@pytest.mark.rest
async def test_two_logs_side_by_side(client: Client) -> None:
    client.run("wait", *(client.submit("--", "echo", text) for text in ("from the one", "from the other")))
    client.run("sync")
    app = make_app(follow=False)
    async with app.run_test(size=(120, 30)) as pilot:
        await screen.until(pilot, lambda: "2 jobs" in screen.text(app))
        await pilot.press("a", "3")
        await screen.until(
            pilot, lambda: "│ from the one" in screen.text(app) and "│ from the other" in screen.text(app)
        )
        await pilot.press("tab", "ampersand", *"nothing", "enter")
        await screen.until(pilot, lambda: "filter: nothing" in screen.text(app))
        assert screen.text(app).count("│ from the o") == 1
        await pilot.press("escape", "1")
        await screen.until(pilot, lambda: "2 jobs" in screen.text(app))
        assert screen.text(app).count("│ from the o") == 1


async def test_earlier_attempts_and_lines_to_copy(
    client: Client, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    script = "echo attempt $FOUNDATIONS_ATTEMPT; [ $FOUNDATIONS_ATTEMPT = 2 ]"
    client.run("wait", client.submit("--retries", "1", "--retry-on", "failed", "--", "sh", "-c", script))
    client.run("sync")
    (tmp_path / "editor").write_text(f'#!/bin/sh\ncp "$1" {tmp_path}/edited\n')
    (tmp_path / "editor").chmod(0o755)
    monkeypatch.setenv("EDITOR", str(tmp_path / "editor"))
    app = make_app(page="log", follow=False)

    def shows(attempt: int) -> bool:
        text = screen.text(app)
        return f"attempt {attempt} of 2" in text and f"│ attempt {attempt} " in text

    async with app.run_test(size=(100, 30)) as pilot:
        app.suspend = contextlib.nullcontext  # type: ignore[method-assign, assignment]
        await screen.until(pilot, lambda: shows(2))
        await pilot.press("(")
        await screen.until(pilot, lambda: shows(1))
        await pilot.press("(", "Y")
        await screen.until(pilot, lambda: app.clipboard == "attempt 1")
        await pilot.press("E")
        await screen.until(pilot, lambda: (tmp_path / "edited").exists())
        assert (tmp_path / "edited").read_text() == "attempt 1\n"
        await pilot.press(")")
        await screen.until(pilot, lambda: "attempt 2 of 2" in screen.text(app))


async def test_a_host_is_added_and_its_key_asked_about(
    client: Client, sshd: Sshd, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("foundations_tui.ui.screens.confirm.UNCALLED_SECONDS", 600.0)
    root = client.home / "root-box"
    client.roots.append(root)
    app = make_app()
    async with app.run_test(size=(120, 30), notifications=True) as pilot:
        await screen.until(pilot, lambda: "no jobs yet" in screen.text(app))
        await pilot.press("ctrl+t")
        await screen.until(pilot, lambda: app.main.prompt.is_asking)
        app.main.prompt.input.value = "not!a!name x@y"
        await pilot.press("enter")
        await screen.until(pilot, lambda: "not!a!name" in screen.text(app) and "name" in screen.text(app))
        await pilot.press("4", "ctrl+t")
        await screen.until(pilot, lambda: app.main.prompt.is_asking)
        app.main.prompt.input.value = f"box {sshd.address} --identity {sshd.identity} --root {root}"
        await pilot.press("enter")
        await screen.until(pilot, lambda: isinstance(app.screen, Confirm) and "SHA256:" in screen.text(app))
        await pilot.press("y")
        assert isinstance(app.screen, Confirm), "it takes no answer at first"
        app.screen._from = 0.0
        await pilot.press("y")
        await screen.until(pilot, lambda: "● box" in screen.text(app))
    assert client.run("submit", "--host", "box", "--wait", "--", "true").code == 0


async def test_a_key_that_is_not_trusted_is_asked_about_once(client: Client, sshd: Sshd) -> None:
    client.add_host("box", sshd, known=False)
    app = make_app(page="hosts")
    async with app.run_test(size=(120, 30), notifications=True) as pilot:
        await screen.until(pilot, lambda: isinstance(app.screen, Confirm))
        await pilot.pause(1.2)
        await pilot.press("n")
        await screen.until(pilot, lambda: "✗ 1" in screen.text(app) and "out of reach" in screen.text(app))
        await pilot.press("j")  # more is said of the host under the cursor
        await screen.until(pilot, lambda: "not known" in screen.text(app))
        await pilot.pause(2.0)
        assert not isinstance(app.screen, Confirm)
    assert "box" in client.run("hosts", "test", "box", code=4).stderr


# --- frames -----------------------------------------------------------------------------------------------------


async def test_pages_and_windows_with_the_mouse(client: Client) -> None:
    app = make_app(follow=False)
    async with app.run_test(size=(120, 30)) as pilot:
        for page, x in (("metrics", 25), ("hosts", 45), ("overview", 78), ("jobs", 17)):
            await pilot.click(offset=(x, 0))
            await screen.until(pilot, lambda page=page: app.main.page == page)  # type: ignore[misc]
        await pilot.resize_terminal(80, 24)
        await pilot.click(offset=(20, 0))
        await screen.until(pilot, lambda: app.main.page == "log")
        await pilot.press("?")
        await screen.until(pilot, lambda: isinstance(app.screen, Help))
        await pilot.click(offset=(40, 12))
        assert isinstance(app.screen, Help)
        await pilot.click(offset=(1, 1))
        await screen.until(pilot, lambda: not isinstance(app.screen, Help))


async def test_what_can_be_done_to_a_host(client: Client, sshd: Sshd) -> None:
    client.add_host("box", sshd)
    app = make_app(page="hosts")
    async with app.run_test(size=(120, 30), notifications=True) as pilot:
        await screen.until(pilot, lambda: "● box" in screen.text(app))

        async def choose(key: str) -> None:
            await pilot.press("x")
            await screen.until(pilot, lambda: "test it" in screen.text(app) and "─ box ─" in screen.text(app))
            await pilot.press(key)

        await pilot.press("j")
        await choose("t")
        await screen.until(pilot, lambda: isinstance(app.screen, TaskOutput) and "box works" in screen.text(app))
        await pilot.press("escape")
        await choose("p")
        await screen.until(pilot, lambda: "box is paused" in screen.text(app))
        await choose("r")
        await screen.until(pilot, lambda: "box goes on" in screen.text(app))
        await choose("d")
        await screen.until(pilot, lambda: isinstance(app.screen, Confirm))
        await pilot.press("y")
        await screen.until(pilot, lambda: "● box" not in screen.text(app) and "● local" in screen.text(app))
    assert [host["host"] for host in client.json("hosts")] == ["local"]


async def test_hosts_and_gpus_are_opened(client: Client) -> None:
    client.submit("--name", "mine", "--", "true")
    app = make_app(page="hosts", follow=False)
    async with app.run_test(size=(120, 30)) as pilot:
        await screen.until(pilot, lambda: "● local" in screen.text(app))
        await pilot.press("enter")
        await screen.until(pilot, lambda: app.main.page == "jobs" and "mine" in screen.text(app))
        assert app.main.jobs.view.query == 'host="local"'


async def test_the_strip_below_the_jobs_shows_more_than_the_log(client: Client) -> None:
    subprocess.run(["git", "init", "-q"], cwd=client.project, check=True)
    jobs = some_jobs(client)
    app = make_app(follow=False)
    async with app.run_test(size=(120, 40)) as pilot:
        await screen.until(pilot, lambda: f"{len(jobs)} jobs" in screen.text(app))
        await pilot.press("j")
        await screen.until(pilot, lambda: "trained" in screen.text(app))
        for words in ("timeline", "parameters", "snapshot"):
            await pilot.press("p")
            await screen.until(pilot, lambda words=words: words in screen.text(app))  # type: ignore[misc]
            assert "trained" not in screen.text(app)
        await pilot.press("p")
        await screen.until(pilot, lambda: "trained" in screen.text(app))


@pytest.mark.rest
async def test_a_passphrase_is_asked_for(client: Client, own_sshd: Sshd, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(passphrase, "UNCALLED_SECONDS", 3.0)  # time enough to see it
    lock_key(own_sshd.identity)
    client.add_host("box", own_sshd)
    app = make_app(page="hosts")
    async with app.run_test(size=(120, 30), notifications=True) as pilot:
        for words, typed in (("The private key has a passphrase", "wrong"), ("That is not it", "open sesame")):
            await screen.until(pilot, lambda words=words: words in screen.text(app))  # type: ignore[misc]
            field = app.screen.query_one(Input)
            assert field.disabled, "it takes no key at first"
            await screen.until(pilot, lambda field=field: field.has_focus)  # type: ignore[misc]
            field.value = typed
            assert typed not in screen.text(app)
            await pilot.press("enter")
        await screen.until(pilot, lambda: "● box" in screen.text(app))
    unlocking._unlocked.clear()


async def test_a_passphrase_that_is_not_said_is_asked_for_once(client: Client, own_sshd: Sshd) -> None:
    lock_key(own_sshd.identity)
    client.add_host("box", own_sshd)
    app = make_app(page="hosts")
    async with app.run_test(size=(120, 30), notifications=True) as pilot:
        await screen.until(pilot, lambda: isinstance(app.screen, Passphrase))
        await screen.until(pilot, lambda: app.screen.query_one(Input).has_focus)
        await pilot.press("escape")
        await screen.until(pilot, lambda: "✗ 1" in screen.text(app) and "passphrase" in screen.text(app))
        await pilot.pause(2.0)
        assert not isinstance(app.screen, Passphrase)
        await pilot.press("r")
        await screen.until(pilot, lambda: isinstance(app.screen, Passphrase))
    assert "ssh-add" in client.run("hosts", "test", "box", code=4).stderr


def test_one_frame_for_scripts(client: Client) -> None:
    some_jobs(client)
    for page in ("jobs", "metrics", "hosts"):
        shown = client.run("ui", "--once", page, "--size", "100x30").stdout
        assert len(shown.splitlines()) == 30 and max(map(len, shown.splitlines())) <= 100
        assert {"jobs": "lr0.1-bs16", "metrics": "no metrics", "hosts": "● local"}[page] in shown
    plain = client.run("ui", "--once", "jobs", "--ascii").stdout
    assert "x failed" in plain and not re.search("[╭│●✓]", plain)
    assert "is no size" in client.run("ui", "--once", "--size", "1x1", code=2).stderr


async def test_the_app_in_a_light_theme_and_without_one(client: Client) -> None:
    some_jobs(client)
    terminals_own = next(name for name in FoundationsApp(Session()).available_themes if "ansi" in name)
    for theme in ("foundations-light", terminals_own, ""):
        shown = await frame(make_app(settings=Settings(theme=theme), follow=False), (120, 40))
        assert "lr0.1-bs16" in shown, theme


@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=300), st.integers(1, 50), st.floats(0.1, 0.95))
def test_smoothing_is_of_all_values_however_they_are_bundled(values: list[float], run: int, weight: float) -> None:
    one_by_one = means_at(values, [1] * len(values), weight)
    counts = [len(values[start : start + run]) for start in range(0, len(values), run)]
    bundled = means_at(values, counts, weight)
    ends = [sum(counts[: n + 1]) - 1 for n in range(len(counts))]
    assert bundled == [one_by_one[end] for end in ends]
    assert one_by_one[0] == pytest.approx(values[0])
    low, high = min(values), max(values)
    assert all(low - 1e-6 <= mean <= high + 1e-6 for mean in one_by_one)


async def test_each_end_is_told_once(client: Client) -> None:
    app = make_app()
    said: list[str] = []
    async with app.run_test(size=(120, 40)) as pilot:
        await screen.until(pilot, lambda: "no jobs yet" in screen.text(app))
        app.say = lambda text, failed=False: said.append(text)  # type: ignore[method-assign]
        job = client.submit("--name", "short", "--", "true")
        await screen.until(pilot, lambda: any("short completed" in text for text in said))
        client.run("note", job, "something is said of it later")
        await screen.until(pilot, lambda: app.main.selected is not None and app.main.selected.note != "")
        await pilot.pause(1.5)
    assert len([text for text in said if "short completed" in text]) == 1


@settings(max_examples=60)
@given(
    st.lists(st.sampled_from([b"", b"loss 1", b"an Error", b"x" * 50, b"\rbar\r100%", b"nan"]), max_size=30),
    st.booleans(),
    st.sampled_from(["loss", "error", ".*", "^", "lo.*1", "$", "x{3}", "E", "r\\b"]),
    st.integers(4, 40),
)
def test_a_search_finds_what_each_line_holds(
    tmp_path_factory: pytest.TempPathFactory, lines: list[bytes], ends: bool, words: str, step: int
) -> None:
    path = tmp_path_factory.mktemp("log") / "log"
    path.write_bytes(b"\n".join(lines) + (b"\n" if ends and lines else b""))
    wanted = log_file.compile_words(words)
    whole = path.read_bytes().split(b"\n")
    if whole[-1] == b"":
        whole.pop()
    starts = [sum(len(line) + 1 for line in whole[:n]) for n in range(len(whole))]
    expected = [at for at, line in zip(starts, whole, strict=True) if wanted.pattern.search(line)]
    usual, log_file._SEARCH_BYTES, log_file._PAUSE = log_file._SEARCH_BYTES, step, 0.0
    try:
        pieces = list(log_file.matches(path, wanted, lambda: False))
    finally:
        log_file._SEARCH_BYTES, log_file._PAUSE = usual, 0.002
    assert [offset for offsets, _ in pieces for offset in offsets] == expected
    assert path.read_bytes()[: pieces[-1][1]] == b"".join(line + b"\n" for line in whole)[: pieces[-1][1]]
    assert pieces[-1][1] == path.read_bytes().rfind(b"\n") + 1


def test_lines_behind_a_very_long_one_are_where_they_are(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_bytes(b"first\n" + b"x" * (3 << 20) + b"needle\nneedle\n")
    found = [
        o for offsets, _ in log_file.matches(path, log_file.compile_words("needle"), lambda: False) for o in offsets
    ]
    assert found == [6, 6 + (3 << 20) + 7]


async def test_a_filter_follows_a_log_that_comes_late_and_in_pieces(tmp_path: Path) -> None:
    path = tmp_path / "log"
    view = LogView()
    app = screen.OneWidget(view)
    async with app.run_test(size=(60, 10)) as pilot:
        view.show(path, "nothing yet")
        view.set_filter("loss")
        await pilot.pause(0.3)
        for piece, expected in (("lo", []), ("ss 0.", ["loss 0."]), ("10\nepoch\n", ["loss 0.10"]), ("loss 2", 2)):
            with path.open("a") as file:
                file.write(piece)
            view.look()
            count = expected if isinstance(expected, int) else len(expected)
            await screen.until(pilot, lambda count=count: view.line_count == count)  # type: ignore[misc]
            await pilot.pause(0.1)
            assert view.line_count == count
        assert "loss 0.10" in screen.text(app) and "loss 2" in screen.text(app) and "epoch" not in screen.text(app)


async def test_a_store_that_cannot_be_read_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    fill(2)
    app = FoundationsApp(Session(), page="queue", follow=False)
    async with app.run_test(size=(100, 30)) as pilot:
        await screen.until(pilot, lambda: app.reader.is_idle)
        said: list[str] = []
        monkeypatch.setattr(app, "say", lambda text, failed=False: said.append(text))
        waiting = queries.waiting

        def damaged(*_: object) -> None:
            raise sqlite3.DatabaseError("database disk image is malformed")

        monkeypatch.setattr(queries, "waiting", damaged)
        app.main.reload()
        await screen.until(pilot, lambda: bool(said))
        assert "what is shown may be old" in said[0] and "malformed" in said[0]
        await screen.until(pilot, lambda: "malformed" in screen.text(app))
        assert "the queue is empty" not in screen.text(app), "what cannot be read is no empty page"
        app.main.reload()
        await screen.until(pilot, lambda: app.reader.is_idle)
        await pilot.pause()
        assert len(said) == 1, "once a minute"
        monkeypatch.setattr(queries, "waiting", waiting)
        app.main.reload()
        await screen.until(
            pilot, lambda: "the queue is empty" in screen.text(app) and "malformed" not in screen.text(app)
        )
    log = (locations.data_folder() / "client.log").read_text()
    assert "ERROR read: the local store cannot be used: database disk image is malformed" in log


async def test_an_answer_finds_no_box_before_it_is_made_or_after_it_is_closed() -> None:
    fill(1)
    app = FoundationsApp(Session(), page="jobs", follow=False)
    async with app.run_test(size=(100, 30)) as pilot:
        await screen.until(pilot, lambda: "job 0" in screen.text(app))
        detail = Detail(app.reader, f"{0:012x}")
        app.push_screen(detail)
        known = job_details.read(open_reader(), f"{0:012x}")
        detail._take(known)  # before compose
        detail._failed(NotFoundError("gone"))
        await screen.until(pilot, lambda: bool(detail.query("#box")))
        await pilot.press("escape")
        detail._take(known)
        await screen.until(pilot, lambda: app.screen is not detail)
        detail._take(known)


def test_a_task_ends_although_its_last_words_fit_on_no_disk(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    full = tmp_path / "full"
    full.symlink_to("/dev/full")
    monkeypatch.setattr("tempfile.mkstemp", lambda **_: (os.open(full, os.O_WRONLY), str(full)))
    ended = threading.Event()
    task = tasks.OperationTask(lambda progress, columns: tasks.Shown("ab12cd34ef56", ["ab12cd34ef56"]), ended.set, 80)
    assert ended.wait(10)
    assert not task.is_running and task.is_done and task.result == ["ab12cd34ef56"]
    task.close()


async def test_other_peoples_jobs_are_asked_about(client: Client) -> None:
    use_slots(client, 1, 'owner = "Ada"')
    job = client.submit("--", "true")
    client.run("wait", job)
    use_slots(client, 1, 'owner = "Grace"')
    app = make_app(follow=False)
    async with app.run_test(size=(100, 30)) as pilot:
        await screen.until(pilot, lambda: "1 job" in screen.text(app))
        for answer, archived in (("n", False), ("y", True)):
            await screen.until(pilot, lambda: app.screen is app.main and app.main.chosen == [job])
            await pilot.press("x")
            await screen.until(pilot, lambda: isinstance(app.screen, Menu))
            await pilot.press("a")
            await screen.until(pilot, lambda: isinstance(app.screen, Confirm))
            assert "Not yours, but of Ada!" in screen.text(app)
            await pilot.press(answer)
            await screen.until(pilot, lambda: client.job(job)["archived"] is archived)  # noqa: B023
