"""What was at an earlier moment, on every page: from the recording of states, holders, samples and metrics."""

from __future__ import annotations

import dataclasses
import json
import math
import time

import pytest

from foundations import records
from foundations_tui.cli.registry import VERBS
from foundations_tui.config import locations
from foundations_tui.config.hosts import load_hosts
from foundations_tui.jobs.ownership import actor_of
from foundations_tui.session import Session
from foundations_tui.store import (
    history,
    host_samples,
    models as registry,
    queries,
    services,
    write_streams,
    writes,
)
from foundations_tui.store.db import Store, open_reader
from foundations_tui.ui.app import FoundationsApp
from foundations_tui.ui.models import chart_page, hosts_table, jobs_table, race
from foundations_tui.ui.models.chart_page import ChartRequest
from foundations_tui.ui.screens.confirm import Confirm
from foundations_tui.ui.screens.menu import Menu
from foundations_tui.ui.widgets.scrubber import Scrubber
from remote_agent.protocol import models
from remote_agent.protocol.messages import HelloAnswer
from remote_agent.protocol.models import RegistryEvent, Version
from remote_agent.protocol.resources import HostGpu, Resources
from remote_agent.protocol.services import Readiness, Replica, RevisionHead, ServiceView
from tests.support import screen
from tests.support.client import Client
from tests.support.store import fill

FIRST, SECOND = f"{0:012x}", f"{1:012x}"
AHEAD = 3600.0
"""Seconds by which the host's clock is ahead."""


def record(began: float) -> None:
    """Record an hour of a host whose clock is ahead: the first job runs from minute 1 to 20, the second from 20 on."""
    (locations.data_folder() / "hosts.toml").write_text('[hosts.gpu1]\naddress = "ada@gpu1"\n')
    fill(2, "gpu1")
    gpus = [HostGpu(n, f"GPU-{n}", "A100", 81920.0, 70_000.0, 77.0, job=SECOND, jobs=[SECOND]) for n in range(2)]
    has = Resources(8, 4, 64 << 30, 32 << 30, int(1e12), int(2e12), gpus=gpus)
    store = Store()
    hello = HelloAnswer(protocol=1, version="0.1.0", agent="a", journal="j", time=time.time() + AHEAD)
    writes.put_contact(store, "gpu1", has, [], hello)
    host_began = began + AHEAD
    told = [
        (FIRST, "queued", 0, 1), (SECOND, "queued", 1, 2), (FIRST, "running", 60, None),
        (FIRST, "completed", 1200, None), (SECOND, "running", 1201, None),
    ]  # fmt: skip
    with store.transaction() as conn:
        conn.execute("UPDATE jobs SET created_at = ?, state = 'completed', started_at = ?, ended_at = ? WHERE job = ?",
                     [began - 1, host_began + 60, host_began + 1200, FIRST])  # fmt: skip
        conn.execute("UPDATE jobs SET created_at = ?, state = 'running', started_at = ?, ended_at = NULL,"
                     " exit_code = NULL WHERE job = ?", [began, host_began + 1201, SECOND])  # fmt: skip
        for seq, (job, state, second, place) in enumerate(told):
            conn.execute(
                "INSERT INTO transitions VALUES ('gpu1', 'j', ?, ?, ?, 1, ?, '', ?)",
                [seq, host_began + second, job, state, place],
            )
        for second in [*range(0, 1300, 10), *range(2000, 3600, 10)]:  # the laptop slept, or the agent did
            holder = FIRST if 60 <= second < 1200 else SECOND
            held = [holder] if second >= 60 else [[1007, 4711]]
            rows = [[f"GPU-{n}", 90 if n else 5, 1000 * n, 60, 200, held] for n in range(2)]
            sample = ["gpu1", host_began + second, 2.0, 8 << 30, int(1e12), json.dumps(rows)]
            conn.execute("INSERT INTO host_samples VALUES (?, ?, ?, ?, ?, ?)", sample)
    points = [records.encode_metric(host_began + 60 + 10 * n, "loss", n, 5.0 - n / 100) for n in range(100)]
    write_streams.put_sizes(store, "gpu1", [(FIRST, 1, "records/w", 1 << 40)])
    write_streams.put_records_page(store, FIRST, 1, "records/w", 0, b"".join(points))
    store.close()


@pytest.fixture
def began(client: Client) -> float:
    moment = time.time() - 3600
    record(moment)
    return moment


@pytest.mark.parametrize(
    ("second", "states"),
    [
        (-5, {}),
        (30, {FIRST: "queued", SECOND: "queued"}),
        (90, {FIRST: "running", SECOND: "queued"}),
        (1300, {FIRST: "completed", SECOND: "running"}),
    ],
)
def test_jobs_are_in_the_states_that_they_were_in(began: float, second: int, states: dict[str, str]) -> None:
    conn = open_reader()
    rows = history.jobs(conn, queries.jobs(conn), began + second)
    assert {row.job: row.state for row in rows} == states
    for row in rows:
        assert (row.started_at is not None) == (row.state in ("running", "completed"))
        assert (row.ended_at is not None) == (row.state == "completed")
    waiting = [row.job for row in history.waiting(conn, began + second)]
    assert waiting == [job for job in (FIRST, SECOND) if states.get(job) == "queued"]
    conn.close()


def test_metrics_are_those_of_then(began: float) -> None:
    conn = open_reader()
    (row,) = history.jobs(conn, queries.jobs_by_id(conn, [FIRST]), began + 60 + 505)
    assert (row.metrics["loss"].last, row.metrics["loss"].step) == (4.5, 50)
    conn.close()


def test_what_was_no_number_then_is_told(began: float) -> None:
    """The norm is no number any more from step 30 on: a run that goes on is seen as that, and before that as well."""
    store = Store()
    norms = [1.0] * 30 + [math.nan] * 70
    points = [records.encode_metric(began + AHEAD + 60 + 10 * n, "norm", n, norm) for n, norm in enumerate(norms)]
    write_streams.put_sizes(store, "gpu1", [(FIRST, 1, "records/v", 1 << 40)])
    write_streams.put_records_page(store, FIRST, 1, "records/v", 0, b"".join(points))
    for second, last, words in ((60 + 205, 1.0, "step 20 · loss 4.8"), (60 + 505, "NaN", "NaN since step 30")):
        (row,) = history.jobs(store.conn, queries.jobs_by_id(store.conn, [FIRST]), began + second)
        assert row.metrics["norm"].last == last
        request = jobs_table.WindowRequest(0, 10, None, True, 160, began + second)
        window = jobs_table.read(store.conn, jobs_table.JobsView(), request, began + second)
        assert words in " ".join(next(one for one in window.rows if one.key == FIRST).cells)
    store.close()


def test_hosts_and_holders_are_those_of_then(began: float) -> None:
    conn = open_reader()

    def gpus(second: int) -> list[HostGpu]:
        return hosts_table.read(conn, time.time(), began + second).host("gpu1").gpus

    assert [(one.utilization, one.memory_used, one.jobs) for one in gpus(100)] == [(5, 0, [FIRST]), (90, 1000, [FIRST])]
    assert gpus(1250)[0].jobs == [SECOND] and gpus(20)[0].held == "held by uid 1007, pid 4711"
    assert gpus(1700) == [], "nothing is known of the gap"
    known = hosts_table.read(conn, time.time(), began + 2100)
    (row, *_) = hosts_table.rows(known, ["gpu1"], 160, began + 2100)
    assert row.cells[5].strip().startswith("▃") or " " in row.cells[5][1:], "the gap is drawn as one"
    (row,) = hosts_table.rows(hosts_table.read(conn, time.time(), began + 1700), ["gpu1"], 160, began)
    assert "nothing is recorded of then" in row.cells
    assert began - 2 <= history.begin(conn, time.time()) <= began + AHEAD
    conn.close()


def test_what_is_older_than_a_day_is_known_by_the_minute(client: Client) -> None:
    began = time.time() - 3 * 86400
    record(began)
    store = Store()
    with store.transaction() as conn:
        from foundations_tui.store.host_samples import _fold

        _fold(conn, "gpu1", began + AHEAD + 1200)
    found = history.samples(store.conn, "gpu1", began, began + 600)
    assert 9 <= len(found) <= 11 and found[5].gpus[1][1] == 90 and found[5].gpus[1][5] == [FIRST]
    store.close()


def test_a_host_without_transitions_is_told_by_its_times(began: float) -> None:
    store = Store()
    with store.transaction() as conn:
        conn.execute("DELETE FROM transitions")
    rows = {row.job: row.state for row in history.jobs(store.conn, queries.jobs(store.conn), began + 90)}
    assert rows == {FIRST: "running", SECOND: "queued"}
    store.close()


def test_clocks_that_agree_are_not_corrected(client: Client) -> None:
    store = Store()
    for name, ahead in (("a", 1.0), ("b", -90.0), ("c", 0.0)):
        hello = HelloAnswer(protocol=1, version="1", agent="a", journal="j", time=time.time() + ahead)
        writes.put_contact(store, name, Resources(), [], hello if name != "c" else dataclasses.replace(hello, time=0.0))
    assert {name: round(ahead) for name, ahead in history.offsets(store.conn).items()} == {"b": -90}
    store.close()


def make_app(page: str = "jobs") -> FoundationsApp:
    return FoundationsApp(Session(connect_timeout=3), VERBS, page=page, follow=False)


async def test_every_page_shows_the_moment_until_it_is_now_again(began: float) -> None:
    app = make_app()
    at = time.strftime("%H:%M:%S", time.localtime(began + 90))
    async with app.run_test(size=(120, 30), notifications=True) as pilot:
        await screen.until(pilot, lambda: "✓ completed" in screen.text(app) and "● running" in screen.text(app))
        app.run_command("command")
        app._actions.command_line.run(f"at {at}")
        await pilot.press("escape")
        app._actions.command_line.run(f"at {at}")
        await screen.until(pilot, lambda: "◌ queued" in screen.text(app) and "● running" in screen.text(app))
        assert "h ago" in screen.text(app).splitlines()[0] or "min ago" in screen.text(app).splitlines()[0]
        assert app.main.query_one(Scrubber).display and "now" in screen.text(app)
        await pilot.press("4")
        await screen.until(pilot, lambda: "GPU 1" in screen.text(app) and "job 0" in screen.text(app))
        assert "CPU 0/" not in screen.text(app), "how many were free is not recorded"
        for page, nothing in (("9", "there was no service then"), ("8", "no model then"), ("7", "no sweep had begun")):
            await pilot.press(page)
            await screen.until(pilot, lambda nothing=nothing: nothing in screen.text(app))  # type: ignore[misc]
        await pilot.press("6")
        await screen.until(pilot, lambda: "job 1" in screen.text(app) and "1 job" in screen.text(app))
        await pilot.press("J", "K", "1")
        await screen.until(pilot, lambda: app.main.page == "jobs")
        await pilot.press("x")
        await screen.until(pilot, lambda: isinstance(app.screen, Menu))
        await pilot.press("s")
        await screen.until(pilot, lambda: isinstance(app.screen, Confirm) and "acts on what is now" in screen.text(app))
        await pilot.press("n", "2")
        await screen.until(pilot, lambda: app.main.page == "metrics")
        await pilot.press("1", "full_stop", "comma")
        await screen.until(pilot, lambda: app.main.moment is not None)
        app._actions.command_line.run("at 15s")
        for _ in range(3):
            await pilot.press("full_stop")
        await screen.until(pilot, lambda: app.main.moment is None and "✓ completed" in screen.text(app))
        assert not app.main.query_one(Scrubber).display
        await pilot.press("9")
        await screen.until(pilot, lambda: "no host has a service" in screen.text(app))


async def test_the_mouse_moves_the_moment_and_escape_ends_it(began: float) -> None:
    app = make_app()
    async with app.run_test(size=(120, 30)) as pilot:
        await screen.until(pilot, lambda: "● running" in screen.text(app))
        await pilot.press("comma")
        await screen.until(pilot, lambda: app.main.query_one(Scrubber).display)
        await screen.until(pilot, lambda: app.main._first_moment > 0)
        first, last = app.main.query_one(Scrubber)._ends
        await pilot.click(Scrubber, offset=((first + last) // 2, 0))
        await screen.until(pilot, lambda: abs((app.main.moment or 0) - (began + 1800)) < 120)
        before = app.main.moment or 0.0
        app.main.query_one(Scrubber).post_message(Scrubber.Stepped(-1))
        await screen.until(pilot, lambda: (app.main.moment or before) < before)
        await pilot.press("escape")
        await screen.until(pilot, lambda: app.main.moment is None)


async def test_the_log_and_the_charts_stand_at_the_moment(began: float) -> None:
    log = locations.log_file(FIRST, 1)
    log.parent.mkdir(parents=True)
    log.write_text("".join(f"line {n}\n" for n in range(1140)))
    app = make_app()
    async with app.run_test(size=(100, 40), notifications=True) as pilot:
        await screen.until(pilot, lambda: "● running" in screen.text(app))
        app.main.jobs.table.find(FIRST)
        await screen.until(pilot, lambda: app.main.selected is not None and app.main.selected.job == FIRST)
        await pilot.press("3")
        await screen.until(pilot, lambda: "line 1139" in screen.text(app))
        app.main.show_moment(began + 60 + 570)
        await screen.until(pilot, lambda: "line 575" in screen.text(app))
        assert "line 1139" not in screen.text(app) and "9 min" in screen.text(app)
        await pilot.press("2")
        app.main.show_moment(began + 60 + 571)
        await screen.until(pilot, lambda: app.main.metrics is not None and app.main.metrics._cursor is not None)
        assert app.main.metrics is not None and app.main.metrics._cursor == 1.0, "curves end at the moment"
        await screen.until(pilot, lambda: "step 57" in screen.text(app))


async def test_curves_go_as_far_as_they_did(began: float) -> None:
    conn = open_reader()
    try:
        for second, last in [(60 + 571, 57), (60 + 15, 1), (60 + 5000, 99)]:
            request = ChartRequest(jobs=(FIRST,), moment=began + second)
            ((key, plot),) = chart_page.read(conn, request).charts
            assert key == "loss" and max(plot.lines[0].times) <= began + AHEAD + second
            assert plot.span[1] == last, second
        assert "no such job yet" in chart_page.read(conn, ChartRequest(jobs=(FIRST,), moment=began - 60)).nothing
        assert not chart_page.read(conn, ChartRequest(jobs=(SECOND,), moment=began + 60)).charts
    finally:
        conn.close()


def test_the_curves_of_a_race_end_at_the_moment_too(began: float) -> None:
    with Store().transaction() as conn:
        conn.execute("UPDATE jobs SET group_name = 'sweep-1'")
    conn = open_reader()
    try:
        nobody = actor_of(load_hosts())
        sweep = race.read(conn, "sweep-1", False, nobody, time.time(), began + 60 + 571)
        assert [line.job for line in sweep.plot.lines] == [FIRST] and sweep.plot.span[1] == 57
        assert race.read(conn, "sweep-1", False, nobody, time.time(), None).plot.span[1] == 99
    finally:
        conn.close()


def put_service(began: float) -> None:
    """Put a service with two revisions, and the version of a model that each serves, into the store."""
    heads = [RevisionHead(n, ["serve"], "ada", began + AHEAD + 600 * n, "churn", n) for n in (1, 2)]
    running = [Replica(job=SECOND, revision=2, state="running", readiness=Readiness(ready=True))]
    view = ServiceView(name="churn", revision=2, replicas=1, model="churn", version=2, alias="champion",
                       revisions=heads, running=running)  # fmt: skip
    events = [
        RegistryEvent(models.REGISTERED, "churn", n, Version(job=(FIRST, SECOND)[n - 1], project="p", path="m"),
                      by="ada", at=began + AHEAD + 500 * n) for n in (1, 2)
    ]  # fmt: skip
    events += [RegistryEvent(models.ALIASED, "churn", n, alias="champion", by="ada", at=began + AHEAD + 600 * n)
               for n in (1, 2)]  # fmt: skip
    store = Store()
    services.put_services(store, "gpu1", [view], "j")
    assert registry.put_events(store, "gpu1", ("", 0), "j", 9, list(enumerate(events)))
    with store.transaction() as conn:
        for number, job in enumerate((FIRST, SECOND), 1):
            serving = json.dumps({"name": "churn", "revision": number})
            conn.execute("UPDATE jobs SET spec = json_set(spec, '$.kind', 'service', '$.service', json(?))"
                         " WHERE job = ?", [serving, job])  # fmt: skip
    store.close()


async def test_services_and_models_are_those_of_then_and_what_is_done_is_done_to_those_of_now(began: float) -> None:
    put_service(began)
    app = make_app()
    async with app.run_test(size=(140, 40), notifications=True) as pilot:
        await screen.until(pilot, lambda: "● running" in screen.text(app))
        await pilot.press("9")
        await screen.until(pilot, lambda: "revision 2" in screen.text(app) and "1/1" in screen.text(app))
        app.main.show_moment(began + 700)
        await screen.until(pilot, lambda: "1 replica running, 1 replica queued" in screen.text(app))
        assert "> revision 1" in screen.text(app) and "> revision 2" not in screen.text(app)
        assert app.main.service is not None and app.main.service.view.revision == 2, "what is done is done now"
        app.main.show_moment(began + 1200 + 10)
        await screen.until(pilot, lambda: "> revision 2" in screen.text(app))
        app.main.show_moment(began + 300)
        await screen.until(pilot, lambda: "0 services" in screen.text(app))
        await pilot.press("8")
        await screen.until(pilot, lambda: "0 versions" in screen.text(app))
        app.main.show_moment(began + 1100)
        await screen.until(pilot, lambda: "2 versions" in screen.text(app))
        line = next(line for line in screen.text(app).splitlines() if "champion" in line)
        assert " 1 " in line and "churn" in line, "the alias meant the first version then"
        assert app.main.version is not None and app.main.version.row.model.aliases == {"champion": 2}
        await pilot.press("escape")
        await screen.until(pilot, lambda: app.main.moment is None)
        await screen.until(pilot, lambda: " 2 " in next(
            line for line in screen.text(app).splitlines() if "champion" in line))  # fmt: skip


async def test_a_wrong_moment_is_told(began: float) -> None:
    app = make_app()
    async with app.run_test(size=(100, 30), notifications=True) as pilot:
        await screen.until(pilot, lambda: "● running" in screen.text(app))
        app._actions.command_line.run("at the dawn")
        await screen.until(pilot, lambda: "is no moment" in screen.text(app))
        assert app.main.moment is None


SAMPLES = [
    [-20.0, []],
    [1.0, [5]],
    [1.0, [["GPU-0"]]],
    [1.0, [["GPU-0", "x", 1, 1, 1, []]]],
    [1.0, [["GPU-0", 10**400, 10**400, 1, 1, []]]],
    [1.0, [{"a": 1}]],
    [1.0, [[[1], 2]]],
    [1.0, [["GPU-0", -5, 1, 1, 1, [[1], {"x": 2}, 3]]]],
    ["x", [["GPU-0", float("nan"), float("inf"), None, 1, "none"]]],
]


@pytest.mark.parametrize("sample", SAMPLES)
async def test_samples_that_make_no_sense_are_passed_over(began: float, sample: list[object]) -> None:
    """From a host that lies, and as an earlier version has kept them."""
    store = Store()
    now = time.time() + AHEAD
    line = json.dumps([now - 5, sample[0], 1, 1, sample[1]]).encode() + b"\n"
    host_samples.put_page(store, "gpu1", 0, 0, line)
    kept = json.dumps(sample[1]).replace("NaN", '"NaN"').replace("Infinity", "1")
    with store.transaction() as conn:
        conn.execute("INSERT INTO host_samples VALUES ('gpu1', ?, ?, 1, 1, ?)", [now - 4, str(sample[0]), kept])
    store.close()
    app = make_app("hosts")
    async with app.run_test(size=(120, 30)) as pilot:
        await screen.until(pilot, lambda: "GPU 1" in screen.text(app) and app.reader.is_idle)
        app.main.show_moment(time.time() - 3)
        await screen.until(pilot, lambda: "s ago" in screen.text(app) and app.reader.is_idle)
        await pilot.pause()
        assert "cannot be read" not in screen.text(app)
