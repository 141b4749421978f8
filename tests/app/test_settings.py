"""app.toml: keys, themes, and whom the app tells of ends; and what happened since the last look."""

from __future__ import annotations

import dataclasses
import json
import re
import sqlite3
from pathlib import Path

import pytest
from hypothesis import given, strategies as st
from msgspec import structs
from textual.color import Color
from textual.constants import DIM_FACTOR
from textual.theme import Theme

from foundations_tui.cli.registry import VERBS
from foundations_tui.config import app
from foundations_tui.session import Session
from foundations_tui.store import queries, write_streams, writes
from foundations_tui.store.db import Store, open_reader
from foundations_tui.store.rows import JobRow
from foundations_tui.ui import kept, notifications
from foundations_tui.ui.app import FoundationsApp
from foundations_tui.ui.models.jobs_table import JobsView
from foundations_tui.ui.theme import CURVES, DARK_STYLES, LIGHT_CURVES, LIGHT_STYLES, THEMES
from remote_agent.protocol.notices import NotifyTarget
from tests.support import screen
from tests.support.client import Client, wait_until
from tests.support.hook import Hook
from tests.support.store import fill


def make_app() -> FoundationsApp:
    return FoundationsApp(Session(connect_timeout=3), VERBS, settings=app.load())


async def test_the_app_goes_on_as_it_was_left(client: Client) -> None:
    fill(30)
    with Store().transaction() as conn:
        conn.execute("UPDATE jobs SET state = 'running', ended_at = NULL WHERE name IN ('job 27', 'job 3')")
    left = FoundationsApp(Session(), VERBS, left=kept.read(), follow=False)
    async with left.run_test(size=(100, 30)) as pilot:
        await screen.until(pilot, lambda: "job 29" in screen.text(left))
        await screen.until(pilot, lambda: left.main.jobs.pointed_at == f"{27:012x}")  # the first that runs
        left.main.jobs.show(JobsView(query="job", sort="name"))
        left._set_theme("nord")
        await pilot.press("6")
        await screen.until(pilot, lambda: left.main.page == "queue")
        await pilot.press("q")
    assert (client.home / "app-state.json").stat().st_mode & 0o777 == 0o600
    later = FoundationsApp(Session(), VERBS, left=kept.read(), follow=False)
    async with later.run_test(size=(100, 30)) as pilot:
        await screen.until(pilot, lambda: later.main.page == "queue")
        assert later.theme == "nord"
        await pilot.press("1")
        await screen.until(pilot, lambda: later.main.jobs.view == JobsView(query="job", sort="name"))
    settings = dataclasses.replace(app.BY_ITSELF, theme="dracula")
    own = FoundationsApp(Session(), VERBS, left=kept.read(), settings=settings)
    assert own.theme == "dracula", "what the settings say now counts for more"


@pytest.mark.parametrize(
    "text", ["", "[]", "{", '{"view": 3}', '{"page": "none", "view": {"query": ["x"]}}', "[" * 99999]
)
def test_what_was_kept_and_makes_no_sense_is_as_by_default(client: Client, text: str) -> None:
    (client.home / "app-state.json").write_text(text)
    assert kept.read().page == ""
    assert FoundationsApp(Session(), VERBS, left=kept.read(), follow=False).theme == "foundations-dark"


async def test_other_keys_from_a_file(client: Client) -> None:
    (client.home / "app.toml").write_text('theme = "nord"\n[keys]\n"main.hosts" = "H"\n"main.find" = "ctrl+f,4"\n')
    app = make_app()
    async with app.run_test(size=(100, 30)) as pilot:
        await screen.until(pilot, lambda: "no jobs yet" in screen.text(app))
        assert app.theme == "nord"
        await pilot.press("H")
        await screen.until(pilot, lambda: app.main.page == "hosts")
        await pilot.press("1", "4")
        await screen.until(pilot, lambda: app.main.prompt.is_asking)
    listed = client.run("ui", "--keys").stdout
    assert re.search(r"^main.hosts +H +hosts$", listed, re.M) and re.search(r"^main.sort +s ", listed, re.M)


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("thme = 1", "app.toml:1: unknown key 'thme'"),
        ('theme = "nosuch"', "there is no theme 'nosuch'"),
        ("\nmouse = 3", "app.toml:2: mouse must be true or false, got 3"),
        ('[keys]\n"main.hots" = "H"', "did you mean 'main.hosts'?"),
        ('[keys]\n"main.hosts" = ""', "app.toml:2: main.hosts of [keys] must be a string"),
        ('[keys]\n"main.hosts" = "s"', "main.hosts and main.sort are both 's'"),
        ('[notify]\nurl = "ftp://x"', "app.toml:2: url of [notify]"),
        (
            '[notify]\nterminal = "loud"',
            "app.toml:2: terminal of [notify] must be one of auto, osc9, osc777, off, got 'loud'",
        ),
        ("[notify", "app.toml"),
    ],
)
def test_wrong_settings_are_named(client: Client, text: str, error: str) -> None:
    (client.home / "app.toml").write_text(text)
    assert error in client.run("ui", "--once", "--size", "60x15", code=2).stderr


async def test_ends_are_told_to_a_command_and_a_web_hook(client: Client, hook: Hook, tmp_path: Path) -> None:
    (client.home / "app.toml").write_text(
        f'[notify]\nurl = "http://127.0.0.1:{hook.port}/"\ncommand = ["tee", "{tmp_path}/told"]\non = ["failed"]\n'
    )
    app = make_app()
    async with app.run_test(size=(100, 30)) as pilot:
        await screen.until(pilot, lambda: "no jobs yet" in screen.text(app))
        client.submit("--name", "fine", "--", "true")
        job = client.submit("--name", "[/]bad", "--", "false")
        await screen.until(pilot, lambda: bool(hook.bodies) and (tmp_path / "told").exists(), 30)
    assert [told["job"] for told in hook.bodies] == [job]
    assert hook.bodies[0]["event"] == "job_ended" and hook.bodies[0]["exit_code"] == 1
    assert hook.bodies[0]["text"].startswith("[/]bad (project) failed on local")


@given(st.text(), st.text(), st.sampled_from(["osc9", "osc777"]))
def test_a_notice_is_one_sequence_whatever_it_says(title: str, body: str, how: str) -> None:
    told = notifications.sequence(how, title, body, {})
    assert told.startswith("\x1b]") and told.endswith("\x07")
    assert not re.search("[\x00-\x1f\x7f-\x9f]", told[1:-1])


@pytest.mark.parametrize(
    ("environ", "starts"),
    [
        ({"TERM_PROGRAM": "WezTerm"}, "\x1b]9;"),
        ({"TERM": "xterm-kitty"}, "\x1b]9;"),
        ({"TERM": "foot"}, "\x1b]777;notify;"),
        ({"TERM": "xterm-256color", "VTE_VERSION": "7006"}, "\x1b]777;notify;"),
        ({"TERM": "xterm-256color"}, ""),
        ({"TERM_PROGRAM": "WezTerm", "TMUX": "/tmp/x"}, ""),
    ],
)
def test_only_terminals_that_take_it_are_asked_to_notify(environ: dict[str, str], starts: str) -> None:
    told = notifications.sequence("auto", "foundations", "done", environ)
    assert told.startswith(starts) and bool(told) is bool(starts)


async def test_what_happened_since_the_last_look(client: Client) -> None:
    async with make_app().run_test(size=(100, 30)) as pilot:
        await screen.until(pilot, lambda: (client.home / "store.db").exists() and _has_looked(client))
    client.run("wait", client.submit("--name", "broken", "--", "false"), code=None)
    app = make_app()
    said: list[str] = []
    app.say = lambda text, failed=False: said.append(text)  # type: ignore[method-assign]
    async with app.run_test(size=(100, 30)) as pilot:
        await screen.until(pilot, lambda: bool(said))
    assert "1 job ended, 1 failed or lost" in said[0] and "broken" in said[0]


def _has_looked(client: Client) -> bool:
    try:
        with sqlite3.connect(client.home / "store.db") as conn:
            return conn.execute("SELECT 1 FROM meta WHERE key = 'looked_at'").fetchone() is not None
    except sqlite3.OperationalError:
        return False  # it is being made


def silent(seconds: float) -> None:
    """Move what the store knows of all jobs into the past."""
    store = Store()
    with store.transaction() as conn:
        conn.execute("UPDATE activity SET at = at - ?", [seconds])
        conn.execute("UPDATE jobs SET started_at = started_at - ?", [seconds])
    store.close()


async def test_a_job_that_goes_silent_is_told_once(client: Client, hook: Hook) -> None:
    (client.home / "app.toml").write_text(f'[notify]\nurl = "http://127.0.0.1:{hook.port}/"\non = ["stalled"]\n')
    job = client.submit("--name", "quiet", "--", "sh", "-c", "echo begun; sleep 600")
    client.wait_until(job, "running")
    app = make_app()
    async with app.run_test(size=(160, 40), notifications=True) as pilot:
        await screen.until(pilot, lambda: "begun" in screen.text(app))
        assert client.json("jobs", "--where", "is:stalled") == []
        silent(500)
        assert client.json("jobs", "--where", "is:stalled") == []
        silent(200)
        await screen.until(pilot, lambda: "◐ running" in screen.text(app) and bool(hook.bodies))
        assert "stalled: no line for 12 min" in screen.text(app)
        await pilot.pause(2.5)
    assert [(told["event"], told["job"]) for told in hook.bodies] == [("job_stalled", job)]
    (found,) = client.json("jobs", "--where", "is:stalled")
    assert found["state"] == "running" and found["stalled_since"] is not None
    client.run("stop", "--grace", "0", job)


def test_time_in_which_nobody_watched_is_no_silence(monkeypatch: pytest.MonkeyPatch) -> None:
    fill(1)
    now = [1e9]
    monkeypatch.setattr("time.time", lambda: now[0])
    store = Store()
    with store.transaction() as conn:
        conn.execute("UPDATE jobs SET state = 'running', started_at = 1e9, ended_at = NULL")

    def hear(seconds: float, size: int) -> bool:
        now[0] += seconds
        write_streams.put_sizes(store, "local", [("0" * 12, 1, "log", size)])
        return bool(queries.stalled(store.conn))

    assert not any(hear(30, n) for n in range(10))
    assert not hear(8 * 3600, 9), "the laptop was closed"
    assert not hear(30, 10)
    patience = store.conn.execute("SELECT patience, gaps FROM activity").fetchone()
    assert patience[0] == 600 and max(json.loads(patience[1])) <= 90
    assert [hear(60, 10) for _ in range(11)] == [False] * 10 + [True]
    assert not hear(30, 11)
    store.close()


def test_each_event_is_told_to_others_by_one_of_many_apps() -> None:
    fill(2)
    assert writes.claim_notices([("0" * 12, 1, "job_ended"), ("0" * 12, 2, "job_ended")]) == [True, True]
    assert writes.claim_notices([("0" * 12, 1, "job_ended"), ("0" * 12, 1, "job_stalled")]) == [False, True]


async def test_many_ends_at_once_are_told_in_few_words(client: Client, hook: Hook) -> None:
    told: list[str] = []
    rows = [structs.replace(_row(client), job=f"{n:012x}") for n in range(30)]
    target = NotifyTarget(f"http://127.0.0.1:{hook.port}/")
    notifications.deliver(target, rows, 1e9, told.append)
    wait_until(lambda: len(hook.bodies) == 21)
    assert hook.bodies[-1]["event"] == "more" and len(hook.bodies[-1]["jobs"]) == 10
    assert told == []


def _row(client: Client) -> JobRow:
    fill(1)
    conn = open_reader()
    (row,) = queries.jobs(conn)
    conn.close()
    return row


@given(st.lists(st.floats(1, 1e5), max_size=64))
def test_patience_is_ten_times_what_is_usual(gaps: list[float]) -> None:
    found = write_streams.patience(gaps)
    assert found >= 600 and sum(10 * gap > found for gap in gaps) <= 0.05 * len(gaps)


def contrast(one: Color, other: Color) -> float:
    """Return the contrast of two colors, 1 to 21 (WCAG 2, relative luminance)."""

    def luminance(color: Color) -> float:
        parts = [n / 12.92 if n <= 0.03928 else ((n + 0.055) / 1.055) ** 2.4 for n in color.normalized]
        return 0.2126 * parts[0] + 0.7152 * parts[1] + 0.0722 * parts[2]

    high, low = sorted((luminance(one), luminance(other)), reverse=True)
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("theme", THEMES, ids=lambda theme: str(theme.name))
def test_all_text_can_be_read(theme: Theme) -> None:
    assert theme.background and theme.surface and theme.panel and theme.foreground and theme.primary
    grounds = [Color.parse(name) for name in (theme.background, theme.surface, theme.panel)]
    states = DARK_STYLES if theme.dark else LIGHT_STYLES
    texts = {"text": theme.foreground, "keys": theme.primary, "error": theme.error, "warning": theme.warning, **states}
    texts |= {f"curve {n}": color for n, color in enumerate(CURVES if theme.dark else LIGHT_CURVES)}
    for name, text in texts.items():
        for ground in grounds:
            assert contrast(Color.parse(str(text)), ground) >= 4.5, (name, ground.hex)
    for ground in grounds:  # what is dim is drawn so
        assert contrast(ground.blend(Color.parse(theme.foreground), DIM_FACTOR), ground) >= 4.5, ground.hex
