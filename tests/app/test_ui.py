"""The terminal app: under Textual's pilot on real jobs, and once the real program in tmux."""

from __future__ import annotations

import os
import pty
import random
import re
import shlex
import signal
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from textual.app import App
from textual.color import Color
from textual.dom import DOMNode
from textual.events import Key, Resize
from textual.geometry import Size

from foundations_tui.session import Session
from foundations_tui.ui.app import FoundationsApp
from foundations_tui.ui.input.keymap import catalog
from foundations_tui.ui.models.table import Column, TableRow, whole
from foundations_tui.ui.panes.jobs import JobsPane
from foundations_tui.ui.panes.log import LogPane
from foundations_tui.ui.screens.confirm import Confirm
from foundations_tui.ui.screens.job_details import Detail
from foundations_tui.ui.screens.menu import Menu
from foundations_tui.ui.widgets.log_view import LogView
from foundations_tui.ui.widgets.virtual_table import VirtualTable
from tests.support import screen
from tests.support.client import FOUNDATIONS, Client
from tests.support.paths import ROOT
from tests.support.screen import Tmux
from tests.support.sshd import Sshd
from tests.support.store import fill

SIZES = [(80, 24), (160, 50)]


def make_app() -> FoundationsApp:
    return FoundationsApp(Session(connect_timeout=3))


@pytest.fixture
def tmux(tmp_path: Path) -> Iterator[Tmux]:
    terminal = Tmux(tmp_path, 80, 24)
    yield terminal
    terminal.close()


@pytest.mark.parametrize("size", SIZES)
async def test_a_job_is_seen_from_start_to_end(client: Client, size: tuple[int, int]) -> None:
    go_on = client.project / "go-on"
    client.run(
        *("submit", "--name", "first", "--param", "lr=0.1", "--env", f"GO_ON={go_on}", "--"),
        *("sh", "-c", 'echo begins; while [ ! -e "$GO_ON" ]; do sleep 0.1; done; echo ends; exit 3'),
    )
    app = make_app()
    async with app.run_test(size=size) as pilot:
        await screen.until(pilot, lambda: "● running" in screen.text(app) and "begins" in screen.text(app))
        await screen.until(pilot, lambda: "1 running" in screen.text(app))
        shown = screen.text(app)
        assert "first" in shown and "local" in shown and "lr=0.1" in shown
        assert all(len(line) == size[0] for line in shown.splitlines()) and len(shown.splitlines()) == size[1]
        go_on.touch()
        await screen.until(pilot, lambda: "✗ failed" in screen.text(app) and "ends" in screen.text(app))
        await screen.until(pilot, lambda: "exit 3" in screen.text(app) and "0 running" in screen.text(app))
        await pilot.press("q")
    assert app.return_code == 0


@pytest.mark.parametrize("size", SIZES)
async def test_keys(client: Client, size: tuple[int, int]) -> None:
    jobs = [client.submit("--name", f"job-{n}", "--", "sh", "-c", f"echo log of {n}") for n in range(3)]
    client.run("wait", *jobs)
    app = make_app()
    async with app.run_test(size=size) as pilot:
        await screen.until(pilot, lambda: "log of 2" in screen.text(app))
        await pilot.press("j")
        await screen.until(pilot, lambda: "log of 1" in screen.text(app))
        await pilot.press("k", "G")
        await screen.until(pilot, lambda: "log of 0" in screen.text(app))
        await pilot.press("g", "3")
        await screen.until(pilot, lambda: "log of 2" in screen.text(app) and "job-1" not in screen.text(app))
        await pilot.press("escape")
        await screen.until(pilot, lambda: "job-1" in screen.text(app))
        await pilot.press("question_mark")
        await screen.until(pilot, lambda: "Screens     1 jobs" in screen.text(app))
        await pilot.press("q")
        await screen.until(pilot, lambda: "Screens     1 jobs" not in screen.text(app))
        await pilot.press("q")
    assert app.return_code == 0


async def test_keys_that_come_at_once_have_their_effect_in_order(client: Client) -> None:
    client.run("wait", *(client.submit("--name", name, "--", "echo", name) for name in ("first", "second")))
    client.run("sync")
    app = make_app()

    def type_at_once(text: str) -> None:
        for char in text:
            key = {"\r": "enter", "/": "slash", ":": "colon", "=": "equals_sign", " ": "space"}.get(char, char)
            app.post_message(Key(key, char if char.isprintable() else None))

    async with app.run_test(size=(100, 30), notifications=True) as pilot:
        await screen.until(pilot, lambda: "2 jobs" in screen.text(app))
        type_at_once("j\r")
        await screen.until(pilot, lambda: isinstance(app.screen, Detail) and "echo first" in screen.text(app))
        await pilot.press("escape")
        type_at_once("/name=first\r")
        await screen.until(pilot, lambda: "1 job" in screen.text(app) and "filter: name=first" in screen.text(app))
        type_at_once("xt")
        await screen.until(pilot, lambda: app.main.prompt.is_asking)
        type_at_once("good\r")
        await screen.until(pilot, lambda: [row["name"] for row in client.json("jobs") if row["tags"]] == ["first"])
        type_at_once(":page queue\r")
        await screen.until(pilot, lambda: app.main.page == "queue" and not app.main.prompt.is_asking)


async def test_stop_asks_first(client: Client) -> None:
    job = client.submit("--name", "long", "--", "sleep", "600")
    client.wait_until(job, "running")
    app = make_app()
    async with app.run_test(size=(80, 24)) as pilot:
        await screen.until(pilot, lambda: "● running" in screen.text(app))
        await pilot.press("x")
        await screen.until(pilot, lambda: isinstance(app.screen, Menu))
        await pilot.press("s")
        await screen.until(pilot, lambda: isinstance(app.screen, Confirm))
        await pilot.press("n")
        assert not isinstance(app.screen, Confirm) and client.job(job)["state"] == "running"
        await pilot.press("x")
        await screen.until(pilot, lambda: isinstance(app.screen, Menu))
        await pilot.press("s")
        await screen.until(pilot, lambda: f"Stop job {job[:6]}" in screen.text(app))
        await pilot.press("y")
        await screen.until(pilot, lambda: "⊘ stopped" in screen.text(app))
    assert client.job(job)["reason_code"] == "stopped_by_user"


async def test_nothing_of_a_job_is_markup_or_an_escape_sequence(client: Client) -> None:
    name = "[red]x[/] [@click=app.quit]y[/]\x1b]0;title\x07\u202e"
    client.run(
        "submit", "--name", name, "--param", "[bold]p[/]=[/]", "--", "printf", "[green]z[/]\\033[2J\\033[31mred\\n"
    )
    app = make_app()
    async with app.run_test(size=(160, 50)) as pilot:
        await screen.until(pilot, lambda: "completed" in screen.text(app) and "[green]z[/]" in screen.text(app))
        shown = screen.text(app)
        assert "[red]x[/] [@click=app.quit]y[/]" in shown and "[bold]p[/]=[/]" in shown
        assert not set(shown) & {"\x1b", "\x07", "\u202e"}


async def test_a_host_that_hangs_blocks_nothing(client: Client) -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()  # accepts, and never says a word
        port = silent.getsockname()[1]
        (client.home / "hosts.toml").write_text(f'[hosts.mute]\naddress = "127.0.0.1:{port}"\n')
        client.run("submit", "--host", "local", "--", "echo", "meanwhile")
        app = make_app()
        async with app.run_test(size=(80, 24)) as pilot:
            await screen.until(pilot, lambda: "✓ completed" in screen.text(app) and "meanwhile" in screen.text(app))
            await screen.until(pilot, lambda: "✗ 1 " in screen.text(app))
            await pilot.press("4")
            await screen.until(pilot, lambda: "✗ mute" in screen.text(app) and "out of reach: " in screen.text(app))
            await pilot.press("q")


async def test_no_color(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    client.run("submit", "--wait", "--", "printf", "\\033[31mred\\033[0m\\n")
    monkeypatch.setenv("NO_COLOR", "1")
    app = make_app()
    async with app.run_test(size=(80, 24)) as pilot:
        await screen.until(pilot, lambda: "✓ completed" in screen.text(app) and "red" in screen.text(app))
        assert all(_is_grey(color) for color in _colors(app))


def _colors(app: App[None]) -> list[Color]:
    """Return the colors that go to the terminal, the filters of the app applied."""
    found = []
    for strip in app.screen._compositor.render_strips():
        for line_filter in app._filters:
            strip = strip.apply_filter(line_filter, Color(0, 0, 0))
        for segment in strip:
            if segment.style is not None:
                found += [
                    Color.from_rich_color(c) for c in (segment.style.color, segment.style.bgcolor) if c is not None
                ]
    return found


def _is_grey(color: Color) -> bool:
    return max(color.rgb) - min(color.rgb) <= 2


async def test_a_long_log_scrolls_and_follows(client: Client) -> None:
    go_on = client.project / "go-on"
    client.run(
        *("submit", "--env", f"GO_ON={go_on}", "--", "sh", "-c"),
        'seq 100000; while [ ! -e "$GO_ON" ]; do sleep 0.1; done; echo the end; printf "10%%\\r100%%\\n"',
    )
    app = make_app()
    async with app.run_test(size=(80, 24)) as pilot:
        await screen.until(pilot, lambda: "│ 100000 " in screen.text(app))
        await pilot.press("3", "g")
        await screen.until(pilot, lambda: "│ 100000 " not in screen.text(app))
        log = app.screen.query_one(LogView)
        assert not log.following and "│ 1 " in screen.text(app)
        go_on.touch()
        await screen.until(pilot, lambda: log.line_count == 100002)
        assert "the end" not in screen.text(app)
        await pilot.press("G")
        await screen.until(pilot, lambda: "the end" in screen.text(app))
        assert "100%" in screen.text(app) and " 10%" not in screen.text(app)


async def test_a_log_that_is_replaced_is_read_anew(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_bytes(b"x\n" * 1_000_000)

    app = screen.OneWidget(LogView())
    async with app.run_test(size=(40, 10)) as pilot:
        view = app.query_one(LogView)
        view.show(log, "")
        await screen.until(pilot, lambda: view.line_count == 1_000_000)
        (tmp_path / "new").write_text("first\nsecond\n")
        (tmp_path / "new").replace(log)
        view.look()
        await screen.until(pilot, lambda: view.line_count == 2 and "second" in screen.text(app))


async def test_the_table_asks_for_what_is_on_screen(client: Client) -> None:
    fill(5000)
    app = make_app()
    async with app.run_test(size=(80, 24)) as pilot:
        await screen.until(pilot, lambda: "5,000 jobs" in screen.text(app))
        table = app.screen.query_one(JobsPane).table
        await pilot.press("G")
        await screen.until(pilot, lambda: table.cursor == 4999)
        await screen.until(pilot, lambda: "job 0 " in screen.text(app))
        assert len(table._window.rows) < 100


def table_that_asks() -> tuple[VirtualTable, list[str | None]]:
    """Return a table and the keys of the rows it asks for, in the order of its questions."""
    asked: list[str | None] = []
    return VirtualTable(lambda start, count, key, follow: asked.append(key), [Column("NAME", 0)]), asked


def answer(table: VirtualTable, names: str, key: str | None) -> None:
    """Give it a row for each letter, as was asked for with a key."""
    table.take(whole([TableRow(name, [name]) for name in names], key))


async def test_an_answer_that_comes_after_a_key_leaves_the_cursor_where_the_key_put_it() -> None:
    table, asked = table_that_asks()
    async with screen.OneWidget(table).run_test(size=(40, 30)) as pilot:
        answer(table, "abc", None)
        table.focus()
        table.reload()
        await pilot.press("j")
        answer(table, "nabc", asked[-1])
        assert (table.key, table.cursor) == ("b", 2)
        table.reload()
        await pilot.press("j")
        assert asked[-1] == "b"
        answer(table, "nabc", "b")
        assert (table.key, table.cursor) == ("c", 3)


async def test_a_row_is_found_although_an_older_answer_comes_first() -> None:
    table, asked = table_that_asks()
    async with screen.OneWidget(table).run_test(size=(40, 30)):
        answer(table, "abc", None)
        table.find("z")
        answer(table, "abc", None)
        assert table.key == "z" == asked[-1]
        answer(table, "abcz", "z")
        assert (table.key, table.cursor) == ("z", 3)


async def test_the_cursor_stays_in_sight_when_rows_outgrow_the_room() -> None:
    table = VirtualTable(lambda start, count, key, follow: None, [Column("NAME", 0)])
    async with screen.OneWidget(table).run_test(size=(40, 8)) as pilot:
        table.take(whole([TableRow("old", ["old"])], None))
        table.pin()
        rows = [TableRow(str(n), [str(n)]) for n in range(20)]
        table.take(whole([*rows, TableRow("old", ["old"])], "old"))
        await pilot.pause()
        assert table.key == "old" and "old" in screen.text(pilot.app)


async def test_the_cursor_stays_on_its_job(client: Client) -> None:
    first, second = (client.submit("--name", name, "--", "true") for name in ("first", "second"))
    client.run("wait", first, second)
    app = make_app()
    async with app.run_test(size=(80, 24)) as pilot:
        await screen.until(pilot, lambda: screen.text(app).count("completed") >= 2)
        await pilot.press("j")
        table = app.main.jobs.table
        assert table.key == first
        third = client.submit("--name", "third", "--", "true")
        await screen.until(pilot, lambda: "third" in screen.text(app))
        assert table.key == first and "first" in str(app.main.query_one(LogPane).query_one("#job-facts").render())
        client.run("wait", third)
        client.run("delete", first, third)
        await screen.until(pilot, lambda: "third" not in screen.text(app))
        await screen.until(pilot, lambda: table.key == second)


@pytest.mark.rest
@pytest.mark.parametrize("size", [(20, 5), (40, 10), (300, 100)])
async def test_any_size_and_no_jobs(client: Client, size: tuple[int, int]) -> None:
    app = make_app()
    async with app.run_test(size=size) as pilot:
        await pilot.press("j", "k", "g", "G", "enter", "escape", "x", "question_mark", "escape", "r", "tab", "tab", "j")
        job = client.submit("--name", "late", "--", "seq", "100")
        client.run("wait", job)
        await screen.until(pilot, lambda: app.main.jobs.table.key == job)
        await pilot.press("enter", "g", "G", "escape")
        client.run("delete", job)
        await screen.until(pilot, lambda: app.main.jobs.table.key is None)
        await pilot.press("enter", "x", "q")
    assert app.return_code == 0


async def test_a_storm_of_sizes(client: Client) -> None:
    fill(200)
    dice = random.Random(3)
    app = FoundationsApp(Session(), follow=False)
    async with app.run_test(size=(80, 24)) as pilot:
        await screen.until(pilot, lambda: "200 jobs" in screen.text(app) and "0 lines" in screen.text(app))
        before = screen.text(app)
        for page in "123456":
            await pilot.press(page)
            for _ in range(12):
                app.post_message(Resize(size := Size(dice.randrange(1, 200), dice.randrange(1, 60)), size))
            await pilot.pause()
        await pilot.press("1")
        await pilot.resize_terminal(80, 24)
        await screen.until(pilot, lambda: screen.text(app) == before)


def test_the_app_needs_a_terminal(client: Client) -> None:
    for words in ([], ["ui"]):
        assert "needs a terminal" in client.run(*words, code=2).stderr


@pytest.mark.slow
def test_the_real_program_in_tmux(client: Client, sshd: Sshd, tmux: Tmux, new_sshd: Callable[[], Sshd]) -> None:
    away = new_sshd()
    away.cut()
    client.add_host("box", sshd)
    client.add_host("away", away)
    command = ["sh", "-c", "echo $((6*7)) lines; sleep 600"]
    job = client.submit("--host", "box", "--name", "over-ssh", "--", *command)
    env = {**client.env, "TERM": "xterm-256color"}
    tmux.start(FOUNDATIONS, env, client.project)
    tmux.until(lambda shown: "● running" in shown and "42 lines" in shown and "✗ 1 " in shown)
    tmux.resize(160, 50)
    tmux.until(lambda shown: "PROJECT" in shown and "42 lines" in shown)
    tmux.send("x")
    tmux.until(lambda shown: "kill at once" in shown)
    tmux.send("s")
    tmux.until(lambda shown: f"Stop job {job[:6]} on box?" in shown)
    tmux.send("y")
    tmux.until(lambda shown: "⊘ stopped" in shown)
    tmux.resize(80, 24)
    tmux.send("Enter")
    tmux.until(lambda shown: "143 (SIGTERM)" in shown)
    tmux.send("Escape")
    tmux.until(lambda shown: "143 (SIGTERM)" not in shown)  # a key right behind it would be one with alt
    tmux.send("3")
    tmux.until(lambda shown: "STATE" not in shown and "42 lines" in shown)
    tmux.send("Escape")
    tmux.until(lambda shown: "STATE" in shown)
    tmux.send("q")
    assert tmux.exit_code() == 0
    assert client.job(job)["state"] == "stopped"
    assert os.listdir(client.home / "logs") == [job]


@pytest.mark.slow
async def test_the_wheel_looks_elsewhere_and_new_jobs_move_nothing(client: Client) -> None:
    fill(400)
    app = make_app()
    async with app.run_test(size=(80, 24)) as pilot:
        await screen.until(pilot, lambda: "400 jobs" in screen.text(app))
        table = app.main.jobs.table
        await pilot.press("j", "j")
        key = table.key
        for _ in range(40):
            table.scroll_to(y=table.scroll_offset.y + 3, animate=False, immediate=True)
            await pilot.pause(0.02)
        await screen.until(pilot, lambda: "job 279 " in screen.text(app))
        job = client.submit("--name", "late", "--", "true")
        await screen.until(pilot, lambda: table.count == 401)
        await pilot.pause(1.2)
        assert table.key == key and table.cursor == 3 and "job 279 " in screen.text(app)
        await pilot.press("g", "3")
        client.run("wait", job)
        await screen.until(pilot, lambda: f"{job[:6]}  late" in screen.text(app))
        client.submit("--name", "later", "--", "true")
        await screen.until(pilot, lambda: table.count == 402)
        assert app.main.page == "log" and table.key == job


@pytest.mark.parametrize("term", ["xterm-256color", "screen", "tmux-256color", "dumb", "vt100"])
def test_any_kind_of_terminal(client: Client, tmux: Tmux, term: str) -> None:
    tmux.start(FOUNDATIONS, {**client.env, "TERM": term}, client.project)
    tmux.until(lambda shown: "no jobs yet" in shown)
    tmux.send("?")
    tmux.until(lambda shown: "Screens" in shown)
    tmux.send("q")
    tmux.until(lambda shown: "Screens" not in shown)
    tmux.send("q")
    assert tmux.exit_code() == 0


def test_the_app_is_put_aside_and_goes_on(client: Client, tmux: Tmux) -> None:
    env = {**client.env, "TERM": "xterm-256color", "PS1": "shell> "}
    tmux.start(["bash", "--norc", "-i"], env, client.project)
    tmux.until(lambda shown: "shell>" in shown)
    tmux.type(shlex.join([*map(str, FOUNDATIONS), "ui"]))
    tmux.send("Enter")
    tmux.until(lambda shown: "no jobs yet" in shown)
    tmux.send("C-z")
    tmux.until(lambda shown: "Stopped" in shown and "no jobs yet" not in shown)
    tmux.type("echo $((6*7))")
    tmux.send("Enter")
    tmux.until(lambda shown: "\n42" in shown)
    tmux.type("fg")
    tmux.send("Enter")
    tmux.until(lambda shown: "no jobs yet" in shown)
    tmux.send("q")
    tmux.until(lambda shown: "shell>" in shown and "no jobs yet" not in shown)
    tmux.type("exit $?")
    tmux.send("Enter")
    assert tmux.exit_code() == 0


@pytest.mark.parametrize("ignored", [False, True])
def test_a_terminal_that_goes_away_ends_the_app(client: Client, ignored: bool) -> None:
    pid, terminal = pty.fork()
    if pid == 0:
        os.chdir(client.project)
        signal.signal(signal.SIGHUP, signal.SIG_IGN if ignored else signal.SIG_DFL)  # as nohup does
        os.execve(FOUNDATIONS[0], [*FOUNDATIONS], {**client.env, "TERM": "xterm-256color"})
    shown = b""
    while b"no jobs" not in shown:
        shown += os.read(terminal, 1 << 16)
    os.close(terminal)
    deadline = time.monotonic() + 30
    while (ended := os.waitpid(pid, os.WNOHANG)) == (0, 0):
        if time.monotonic() > deadline:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            raise AssertionError("it did not end")
        time.sleep(0.05)
    assert signal.SIGHUP in (os.waitstatus_to_exitcode(ended[1]) - 128, -os.waitstatus_to_exitcode(ended[1]))
    assert client.json("jobs") == []


def test_every_style_is_of_something_that_there_is() -> None:
    """A class that was renamed would lose its style, and nobody would be told."""
    text = (ROOT / "foundations_tui" / "ui" / "app.tcss").read_text()
    selectors = re.findall(r"(?m)^([^{}]+)\{", re.sub(r"/\*.*?\*/", "", text))
    types = {name for selector in selectors for name in re.findall(r"(?<![\w.#:-])[A-Z]\w+", selector)}
    catalog()  # has all of them imported
    known = {node.__name__ for node in _all_below(DOMNode)}
    assert types <= known, types - known


def _all_below(node: type) -> Iterator[type]:
    children: list[type] = node.__subclasses__()
    for child in children:
        yield child
        yield from _all_below(child)
