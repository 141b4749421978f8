"""The race of a sweep: lanes in their order, keys that stop, clone and prune, on a store and on real jobs."""

from __future__ import annotations

import time
from collections.abc import Mapping

import pytest

from foundations import records
from foundations_tui.analysis.race import Entrant, Race, Standing
from foundations_tui.cli.registry import VERBS
from foundations_tui.session import Session
from foundations_tui.store import write_streams
from foundations_tui.store.db import Store
from foundations_tui.ui.app import FoundationsApp
from foundations_tui.ui.models import race as model
from foundations_tui.ui.panes.log import LogPane
from foundations_tui.ui.panes.race import RacePane
from foundations_tui.ui.screens.confirm import Confirm
from foundations_tui.ui.screens.job_details import Detail
from foundations_tui.ui.screens.job_form import JobForm
from foundations_tui.ui.screens.menu import Menu
from foundations_tui.ui.widgets.chart import Chart
from tests.support import screen
from tests.support.client import Client, wait_until
from tests.support.store import fill

TRAIN = """
import sys, time, foundations
rate = foundations.load_parameters()["lr"]
for step in range(1, 41):
    foundations.log_metric("loss", abs(rate - 3) + 5 / step, step=step)
    print(f"step {step}/80", flush=True)
time.sleep(600)
"""
CONFIG = '[metrics.direction]\nloss = "min"\n'


def put_sweep(count: int = 6, group: str = "sweep-1", running: bool = True, seeds: int = 1) -> None:
    """Make the newest jobs of a store a sweep over lr, or over lr and seed."""
    store = Store()
    with store.transaction() as conn:
        for number in range(count):
            job = f"{number:012x}"
            conn.execute("UPDATE jobs SET group_name = ?, name = '' WHERE job = ?", [group, job])
            if running:
                conn.execute(
                    "UPDATE jobs SET state = 'running', ended_at = NULL, exit_code = NULL WHERE job = ?", [job]
                )
            conn.execute("DELETE FROM facts WHERE job = ?", [job])
            for key, value in (("lr", number // seeds + 1), ("seed", number % seeds)):
                fact = ["param", key, job, str(value), value, 0, ""]
                conn.execute(
                    "INSERT INTO facts (kind, key, job, value, number, time, writer) VALUES (?, ?, ?, ?, ?, ?, ?)", fact
                )
    for number in range(count):
        job = f"{number:012x}"
        points = [
            records.encode_metric(time.time() + step, "loss", step, number + 5 / step) for step in range(1, 30 + number)
        ]
        write_streams.put_sizes(store, "local", [(job, 1, "records/w", 1 << 40)])
        write_streams.put_records_page(store, job, 1, "records/w", 0, b"".join(points))
    store.close()


def make_app(page: str = "race") -> FoundationsApp:
    return FoundationsApp(Session(connect_timeout=3), VERBS, page=page, follow=False)


def lanes(app: FoundationsApp) -> list[str]:
    """Return the lanes from the first to the last, by what varies."""
    return [row.cells[1].split(maxsplit=1)[1] for row in app.main.query_one(RacePane).table.rows]


@pytest.mark.parametrize("size", [(60, 15), (80, 24), (160, 50)])
async def test_lanes_stand_in_their_order(client: Client, size: tuple[int, int]) -> None:
    fill(8)
    put_sweep()
    app = make_app()
    async with app.run_test(size=size) as pilot:
        await screen.until(pilot, lambda: "lr 1" in screen.text(app))
        assert app.main.sweep is not None and app.main.sweep.race.step == 29
        assert lanes(app) == [f"lr {n}" for n in range(1, 7)]
        shown = screen.text(app).splitlines()
        assert len(shown) == size[1] and all(len(line) == size[0] for line in shown)
        chart = app.main.query_one("#race-chart", Chart)
        await screen.until(pilot, lambda: chart.display == (size[1] >= 24))
        await pilot.press("j", "j")
        with Store().transaction() as conn:
            conn.execute("UPDATE jobs SET state = 'failed' WHERE job = ?", [f"{0:012x}"])
        app.main.reload()
        await screen.until(pilot, lambda: lanes(app)[-1:] == ["lr 1"])
        assert app.main.chosen == [f"{2:012x}"], "the cursor stays on its lane"
        await pilot.press("2")
        await screen.until(pilot, lambda: app.main.page == "metrics" and app.main.chosen == [f"{2:012x}"])
        await pilot.press("3")
        await screen.until(pilot, lambda: app.main.selected is not None and app.main.selected.job == f"{2:012x}")
        assert app.main.page == "log" and app.main.chosen == [f"{2:012x}"]
        assert len(app.main.query(LogPane)) == 1, "the cursor of the jobs is no mark"
        await pilot.press("1")
        await screen.until(pilot, lambda: app.main.chosen == [f"{7:012x}"])
        await pilot.press("7", "3")
        await screen.until(pilot, lambda: app.main.selected is not None and app.main.selected.job == f"{2:012x}")
        assert app.main.page == "log", "it stays where the key led"


async def test_seeds_run_as_one_lane(client: Client) -> None:
    fill(8)
    put_sweep(seeds=2)
    app = make_app()
    async with app.run_test(size=(100, 30)) as pilot:
        await screen.until(pilot, lambda: len(lanes(app)) == 6)
        await pilot.press("m")
        await screen.until(pilot, lambda: lanes(app) == [f"lr {n}  (2 seeds)" for n in (1, 2, 3)])
        assert "±0.71" in screen.text(app) and app.main.chosen == [f"{0:012x}", f"{1:012x}"]


async def test_from_one_sweep_to_the_next(client: Client) -> None:
    app = make_app()
    async with app.run_test(size=(100, 30)) as pilot:
        await screen.until(pilot, lambda: "no sweep yet" in screen.text(app))
        await pilot.press("C")
        await pilot.press("F", "T", "n", "m", "enter")
        fill(8)
        put_sweep(2, "first")
        with Store().transaction() as conn:
            conn.execute("UPDATE jobs SET group_name = 'second' WHERE job = ?", [f"{7:012x}"])
        app.main.reload()
        await screen.until(pilot, lambda: "race  second: 1 job" in screen.text(app))
        app.main.show_moment(1.0)
        await screen.until(pilot, lambda: "no sweep had begun" in screen.text(app))
        assert "n next sweep" in screen.text(app).splitlines()[-1], "another one may have begun by then"
        await pilot.press("n")
        await screen.until(pilot, lambda: "race  first: 1 job" in screen.text(app))
        await pilot.press("n")
        app.main.show_moment(None)
        await screen.until(pilot, lambda: "race  second: 1 job" in screen.text(app))
        await pilot.press("n")
        await screen.until(pilot, lambda: "race  first: 2 jobs" in screen.text(app))
        await pilot.press("enter")
        await screen.until(pilot, lambda: isinstance(app.screen, Detail))


@pytest.mark.slow
async def test_stop_clone_and_prune(client: Client) -> None:
    (client.project / "train.py").write_text(TRAIN)
    (client.project / "foundations.toml").write_text(CONFIG)
    (client.home / "hosts.toml").write_text("[hosts.local]\nmax_jobs = 7\n")
    client.run("submit", "--sweep", "lr=3,3.1,3.2,3.3,3.4,3.5,9", "--", "python", "train.py")
    app = FoundationsApp(Session(connect_timeout=3), VERBS, page="race")
    async with app.run_test(size=(120, 40), notifications=True) as pilot:
        await screen.until(pilot, lambda: screen.text(app).count(" 50%") == 7 and "at step 40" in screen.text(app))
        assert lanes(app)[0] == "lr 3" and lanes(app)[-1] == "lr 9"
        await pilot.press("C")
        await screen.until(pilot, lambda: isinstance(app.screen, JobForm))
        assert app.screen.query_one("#field-params").value == "lr=2.9", "the grid goes on"  # type: ignore[attr-defined]
        await pilot.press("escape")
        await screen.until(pilot, lambda: not isinstance(app.screen, JobForm))
        await pilot.press("F")
        await screen.until(
            pilot, lambda: isinstance(app.screen, Confirm) and "1 job that is behind" in screen.text(app)
        )
        assert "worse than the median at step 40" in screen.text(app)
        await pilot.press("y")
        wait_until(
            lambda: [job["params"]["lr"] for job in client.json("jobs", "--where", "tag:pruned", "--sync")] == [9]
        )
        await screen.until(pilot, lambda: "⊘ lr 9" in screen.text(app))
        await pilot.press("x")
        await screen.until(pilot, lambda: isinstance(app.screen, Menu))
        await pilot.press("escape", "T")
        await screen.until(pilot, lambda: isinstance(app.screen, Confirm))
        await pilot.press("y")
        await screen.until(pilot, lambda: "⊘ lr 3 " in screen.text(app))
        await pilot.press("F")
        await screen.until(pilot, lambda: "nobody is behind" in screen.text(app))


def test_who_leads_by_the_best_so_far_is_not_taken_for_the_first_lane() -> None:
    assert model._story("lr 1 leads by 0.1", Race((), None)) == "lr 1 leads by 0.1", "all have ended: the best counts"
    running = model._story("lr 1 leads by 0.1", Race((), 1200))
    assert running == "best so far: lr 1 leads by 0.1"


def test_curves_keep_their_marks_when_places_change() -> None:
    def stands(*jobs: str) -> Race:
        return Race([Standing((entrant(job),), 1.0, place=n) for n, job in enumerate(jobs, 1)], 1)

    lanes = ["z", "c", "b", "a"]
    assert model._marks(stands("a", "b"), {"a": 7}, lanes) == {"a": 3, "b": 2}, "few lanes: each has its own"
    first = model._marks(stands("a", "b", "c"), {})
    assert first == {"a": 0, "b": 1, "c": 2}
    assert model._marks(stands("c", "d", "a"), first) == {"c": 2, "d": 1, "a": 0}
    many = model._marks(stands(*"efghijklmn"), first)
    assert sorted(many.values()) == list(range(8)), "as many as are drawn, each another one"


def test_values_of_lanes_stand_below_one_another_whatever_some_lack() -> None:
    given = [{"lr": 0.1, "wd": 0.01}, {"wd": 0.1}, {"lr": 0.001}, {}]
    standings = [Standing((entrant(str(n), one),), None) for n, one in enumerate(given)]
    sweep = model.Sweep("s", race=Race(standings, None), varying=["lr", "wd"])
    assert model._lane_names(sweep, 99) == ["lr 0.1    wd 0.01", "          wd 0.1", "lr 0.001", "3"]
    assert model._lane_names(sweep, 5)[0] == "lr 0.1 wd 0.01"


def entrant(job: str, given: Mapping[str, object] | None = None) -> Entrant:
    return Entrant(job, given or {}, is_running=True, steps=(1,), values=(1.0,))
