"""The palette, programs of the user's, what is offered while a column is chosen, and keys that depend on the page."""

from __future__ import annotations

import json
import sys
import time
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given, strategies as st
from textual.events import Paste
from textual.widgets import Input

from foundations_tui.cli.registry import VERBS
from foundations_tui.config import app as config
from foundations_tui.config.app import OwnCommand
from foundations_tui.errors import ConfigError
from foundations_tui.session import Session
from foundations_tui.store import views, writes
from foundations_tui.store.db import Store, open_reader
from foundations_tui.store.views import SavedView
from foundations_tui.ui import kept
from foundations_tui.ui.app import FoundationsApp
from foundations_tui.ui.input.keymap import catalog
from foundations_tui.ui.models import jobs_table, offers, palette
from foundations_tui.ui.models.jobs_table import JobsView, WindowRequest
from foundations_tui.ui.models.offers import Name
from foundations_tui.ui.models.palette import Entry, Stored
from foundations_tui.ui.pages import KEYS
from foundations_tui.ui.panes.metrics import MetricsPane
from foundations_tui.ui.screens.confirm import Confirm
from foundations_tui.ui.screens.job_details import Detail
from foundations_tui.ui.screens.job_form import JobForm
from foundations_tui.ui.screens.jump import Jump
from foundations_tui.ui.screens.menu import Menu
from foundations_tui.ui.screens.palette import Palette
from tests.app.test_charts import log
from tests.app.test_race import put_sweep
from tests.app.test_time_machine import record
from tests.support import screen
from tests.support.client import Client
from tests.support.store import fill


def make_app(page: str = "jobs", **options: object) -> FoundationsApp:
    settings = config.load()
    return FoundationsApp(Session(connect_timeout=3), VERBS, page=page, settings=settings, follow=False, **options)  # type: ignore[arg-type]


async def take(pilot: object, app: FoundationsApp, text: str, expected: str) -> None:
    """Open the palette, type, and take the first entry, which has to be a certain one."""
    await pilot.press("ctrl+p")  # type: ignore[attr-defined]
    await screen.until(pilot, lambda: isinstance(app.screen, Palette))  # type: ignore[arg-type]
    app.screen.query_one(Input).value = text

    def first() -> str:
        rows = app.screen.query_one("#palette-table")._window.rows  # type: ignore[attr-defined]
        return " ".join(rows[0].cells[:2]).strip() if rows else ""

    await screen.until(pilot, lambda: first().startswith(expected))  # type: ignore[arg-type]
    await pilot.press("enter")  # type: ignore[attr-defined]


async def test_everything_that_has_a_name_is_found(client: Client) -> None:
    fill(30)
    conn = open_reader()
    views.save(conn, "mine", SavedView(where="name='job 3'"))
    conn.close()
    app = make_app()
    async with app.run_test(size=(100, 30)) as pilot:
        await screen.until(pilot, lambda: "job 29" in screen.text(app))
        await pilot.press("ctrl+p")
        await screen.until(pilot, lambda: "new job" in screen.text(app) and "^n" in screen.text(app))
        assert app.screen.query_one("#box").region.width == 70
        await pilot.press("escape")
        await take(pilot, app, "page hosts", "page hosts")
        await screen.until(pilot, lambda: app.main.page == "hosts")
        await take(pilot, app, "job 17", "job ")
        await screen.until(pilot, lambda: isinstance(app.screen, Detail) and "job 17" in screen.text(app))
        await pilot.press("escape")
        await take(pilot, app, "nord", "theme nord")
        await screen.until(pilot, lambda: app.theme == "nord")
        await take(pilot, app, "view mine", "view mine")
        await screen.until(pilot, lambda: app.main.page == "jobs" and app.main.jobs.table.count == 1)
        await take(pilot, app, "host local", "host local")
        await screen.until(pilot, lambda: app.main.jobs.view.query == 'host="local"')
        await take(pilot, app, "group the", "action group the jobs")
        await screen.until(pilot, lambda: app.main.prompt.is_asking)
        await pilot.press("escape")
        await take(pilot, app, "verb compare", "verb compare")
        await screen.until(pilot, lambda: app.main.prompt.input.value == "compare ")


async def test_one_click_takes_what_the_palette_offers() -> None:
    fill(3)
    app = make_app()
    async with app.run_test(size=(100, 30)) as pilot:
        await screen.until(pilot, lambda: "job 2" in screen.text(app))
        await pilot.press("ctrl+p", *"queue")
        await screen.until(pilot, lambda: isinstance(app.screen, Palette) and app.screen.table.count > 0)
        assert app.screen._rows[0].cells[1] == "queue", app.screen._rows  # type: ignore[attr-defined]
        await pilot.click("#palette-table", offset=(12, 1))
        await screen.until(pilot, lambda: app.main.page == "queue")


NAMED = st.lists(st.tuples(st.sampled_from(["", "job", "verb"]), st.text(max_size=30)), max_size=20)


@given(st.text(max_size=30), NAMED, NAMED)
def test_whatever_is_typed_something_may_be_meant(
    text: str, named: list[tuple[str, str]], kept_before: list[tuple[str, str]]
) -> None:
    entries = [Entry(kind, words, str(n)) for n, (kind, words) in enumerate(named)]
    stored = Stored("", [Entry(kind, words, f"s{n}") for n, (kind, words) in enumerate(kept_before)])
    found = palette.meant(entries, stored, text)
    assert Counter(found) <= Counter([*entries, *stored.entries])
    assert not text or not any(one.kind == "job" and one.target.startswith("s") for one in found), "of another text"
    palette.rows(found)


def test_a_name_that_has_the_words_comes_before_one_that_has_only_their_letters() -> None:
    entries = [Entry("theme", "lax robes", "1"), Entry("theme", "a lr b", "2"), Entry("", "l and r", "3")]
    assert [one.target for one in palette.meant(entries, Stored("", ()), "lr")] == ["2", "3", "1"]


def test_names_that_nobody_would_choose_cost_no_time() -> None:
    entries = [Entry("", "ab" * 4000, str(n)) for n in range(200)]
    began = time.process_time()
    palette.meant(entries, Stored("", ()), "b" + "ab" * 90)
    palette.meant(entries, Stored("", ()), "ba" * 90 + "c")
    assert time.process_time() - began < 10, "it does not try every way to leave letters out"


def test_jobs_are_found_by_id_name_and_command(client: Client) -> None:
    fill(60)
    store = Store()
    with store.transaction() as conn:
        conn.execute("UPDATE jobs SET name = 'special' WHERE job = ?", [f"{3:012x}"])
        conn.execute("UPDATE jobs SET command = '[\"special.py\"]' WHERE job != ?", [f"{3:012x}"])
    store.close()
    conn = open_reader()

    def first(text: str) -> str:
        return palette.meant([], palette.read(conn, text), text)[0].target

    assert first(f"{10:012x}") == f"{10:012x}" and first("special") == f"{3:012x}"
    assert len(palette.meant([], palette.read(conn, "special.py"), "special.py")) == 30
    for text in ("a " * 5000, "a" * 60_000, "%_\\'\"[/]"):
        palette.meant([], palette.read(conn, text), text)
    conn.close()


async def test_what_is_pasted_into_the_palette_is_made_safe(client: Client) -> None:
    app = make_app()
    async with app.run_test(size=(100, 30)) as pilot:
        await pilot.press("ctrl+p")
        await screen.until(pilot, lambda: isinstance(app.screen, Palette))
        app.screen.query_one(Input).post_message(Paste("a\x1b]0;x\x07b\x9b31mc"))
        await screen.until(pilot, lambda: "b" in app.screen.query_one(Input).value)
        assert not {"\x1b", "\x9b", "\x07"} & set(screen.text(app))


# --- programs of the user's -------------------------------------------------------------------------------------

SAY = "import json, os, sys; open(sys.argv[1], 'w').write(json.dumps([sys.argv[2:], os.environ['FOUNDATIONS_NAME']]))"


def write_commands(client: Client, text: str) -> None:
    (client.home / "app.toml").write_text(text)


async def test_a_key_starts_a_program_about_the_chosen_jobs(client: Client, tmp_path: Path) -> None:
    fill(3)
    said = tmp_path / "said"
    run = json.dumps([sys.executable, "-c", SAY, str(said), "{name}", "--log={log}", "{{job}} $HOME; `x`"])
    write_commands(client, f'[commands.tell]\nkey = "f6"\nbackground = true\nrun = {run}\n')
    app = make_app()
    async with app.run_test(size=(100, 30), notifications=True) as pilot:
        await screen.until(pilot, lambda: "job 2" in screen.text(app))
        await pilot.press("f6")
        await screen.until(pilot, lambda: "tell has ended" in screen.text(app))
        (words, name) = json.loads(said.read_text())
        assert words[0] == name == "job 2" and words[2] == "{job} $HOME; `x`"
        assert words[1].startswith("--log=/") and words[1].endswith(".log")
        said.unlink()
        await pilot.press("a")
        await screen.until(pilot, lambda: len(app.main.chosen) == 3)
        await take(pilot, app, "own tell", "own tell")
        await screen.until(pilot, lambda: isinstance(app.screen, Confirm) and "on 3 jobs" in screen.text(app))
        await pilot.press("n")
        assert not said.exists()


async def test_what_goes_wrong_with_a_program_is_told(client: Client) -> None:
    fill(2)
    lines = ["[commands.none]", "background = true", 'run = ["/nowhere/none"]', "[commands.fails]", "background = true"]
    lines += ["confirm = true", f'run = ["{sys.executable}", "-c", "import sys; sys.exit(chr(27) + \'[31mno good\')"]']
    lines += ["[commands.ofgpu]", 'on = "gpu"', 'run = ["true", "{gpu}"]', "[commands.rm]", 'run = ["rm", "{name}"]']
    write_commands(client, "\n".join(lines))
    app = make_app()
    async with app.run_test(size=(100, 30), notifications=True) as pilot:
        await screen.until(pilot, lambda: "job 1" in screen.text(app))
        await pilot.press("colon", *"none", "enter")
        await screen.until(pilot, lambda: "none: /nowhere/none: No such file or directory" in screen.text(app))
        await pilot.press("colon", *"fails", "enter")
        await screen.until(pilot, lambda: isinstance(app.screen, Confirm))
        await pilot.press("y")
        await screen.until(pilot, lambda: "fails ended with exit code 1" in screen.text(app))
        assert "no good" in screen.text(app) and "\x1b" not in screen.text(app)
        await pilot.press("colon", *"ofgpu", "enter")
        await screen.until(pilot, lambda: "is about a gpu, and none is chosen" in screen.text(app))
        conn = app._session.store.conn
        with app._session.store.transaction():
            conn.execute("UPDATE jobs SET name = '-rf'")
        await pilot.press("colon", *"rm", "enter")
        await screen.until(pilot, lambda: "would be taken for an option of rm" in screen.text(app))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[commands.x]\n", "names no program to run"),
        ('[commands.x]\nrun = ["a", "{what}"]\n', "{what}, which there is not"),
        ('[commands.x]\non = "host"\nrun = ["a", "{log}"]\n', "{log}, which there is not"),
        ('[commands."A b"]\nrun = ["a"]\n', "cannot be the name of a command"),
        ('[commands.x]\nrun = "a"\n', "a list of strings"),
        ('[commands.x]\non = "job"\nshell = true\nrun = ["a"]\n', "shell"),
        ('[commands.x]\non = "dog"\nrun = ["a"]\n', "one of job, host, gpu"),
        ('[commands.x]\nrun = ["a", "\\u0000"]\n', "a NUL"),
    ],
)
def test_a_wrong_command_is_told_with_its_line(client: Client, text: str, words: str) -> None:
    write_commands(client, text)
    with pytest.raises(ConfigError) as caught:
        config.load()
    assert words in str(caught.value) and "app.toml:" in str(caught.value)


@pytest.mark.parametrize("name", ["jobs", "quit"])
def test_a_command_that_is_called_like_a_verb_is_refused(client: Client, name: str) -> None:
    write_commands(client, f'[commands.{name}]\nrun = ["true"]\n')
    with pytest.raises(ConfigError, match="is called like a verb"):
        make_app()


@pytest.mark.parametrize("key", ["x", "j", "space", "f5", "7", "ctrl+q"])
def test_a_key_that_means_something_already_is_refused(client: Client, key: str) -> None:
    write_commands(client, f'[commands.mine]\nkey = "{key}"\nrun = ["true"]\n')
    with pytest.raises(ConfigError, match="is (app|main|table)"):
        make_app()


@given(st.dictionaries(st.sampled_from(["job", "name"]), st.text(), min_size=2), st.text(max_size=40))
def test_each_field_fills_one_argument(fields: dict[str, str], text: str) -> None:
    words = OwnCommand("x", ("prog", "{name}", text.replace("{", "").replace("}", ""), "a{job}b")).argv(fields)
    assert words == ["prog", fields["name"], text.replace("{", "").replace("}", ""), f"a{fields['job']}b"]


def test_a_dash_that_a_field_brings_is_refused_wherever_it_comes_first() -> None:
    fields = {"job": "-x", "name": "--exec=sh", "host": ""}
    refused = OwnCommand("x", ("tar", "{name}.tar", "{host}{job}", "--file={name}", "a{name}", "-{job}")).may_be_options
    assert refused(fields) == ["--exec=sh.tar", "-x"]


async def test_a_program_about_jobs_means_none_that_is_out_of_sight(client: Client, tmp_path: Path) -> None:
    fill(3)
    run = json.dumps(["touch", str(tmp_path / "{job}")])
    write_commands(client, f'[commands.mark]\nkey = "f7"\nbackground = true\nrun = {run}\n')
    app = make_app()
    async with app.run_test(size=(100, 30), notifications=True) as pilot:
        await screen.until(pilot, lambda: "job 2" in screen.text(app))
        await pilot.press("4", "f7")
        await screen.until(pilot, lambda: "is about a job, and none is chosen" in screen.text(app))
    assert not [path for path in tmp_path.iterdir() if len(path.name) == 12]


# --- keys -------------------------------------------------------------------------------------------------------


def test_one_key_has_one_meaning_on_a_page() -> None:
    """What a pane takes for itself, the main screen must not mean to have on that page."""
    make_app()
    panes = ("jobs", "log", "metrics", "compare", "queue", "race", "table")
    known = {"enter", "escape", "slash", "p", "a", "n", "N", "m", "o", "h", "l", "j", "k", "g", "G", "t", "v", "K", "J"}
    by_place: dict[str, dict[str, str]] = {}
    for name, binding in catalog().items():
        place = name.partition(".")[0]
        for key in binding.key.split(","):
            assert key not in by_place.setdefault(place, {}), f"{name} and {by_place[place][key]} are both {key}"
            by_place[place][key] = name
    for pane in panes:
        both = set(by_place[pane]) & set(by_place["main"]) - known
        assert not both, f"{pane}: {both}"


async def test_the_footer_has_what_works_here(client: Client) -> None:
    fill(5)
    put_sweep(5)
    app = make_app("metrics")
    async with app.run_test(size=(160, 40)) as pilot:
        await screen.until(pilot, lambda: "loss" in screen.text(app) and app.reader.is_idle)

        def footer() -> str:
            return screen.text(app).splitlines()[-1]

        await screen.until(pilot, lambda: "+ smooth" in footer() and "/ find" in footer())
        await pilot.press("v")
        await screen.until(pilot, lambda: "smooth" not in footer() and "pin" not in footer())
        await pilot.press("3")
        await screen.until(pilot, lambda: "/ search" in footer() and "sort" not in footer())
        await pilot.press("1")
        await screen.until(pilot, lambda: "/ filter" in footer() and "s sort" in footer() and "c columns" in footer())
        await pilot.press("s")
        await screen.until(pilot, lambda: app.main.prompt.is_asking)
        await pilot.press("escape", "4", "s", "b")
        await screen.until(pilot, lambda: app.main.page == "hosts")
        assert not app.main.prompt.is_asking and set(KEYS) >= {app.main.page}


async def test_the_next_job_on_whatever_page(client: Client) -> None:
    fill(5)
    app = make_app("log")
    async with app.run_test(size=(100, 30)) as pilot:
        await screen.until(pilot, lambda: app.main.selected is not None and app.main.selected.name == "job 4")
        await pilot.press("right_curly_bracket", "right_curly_bracket")
        await screen.until(pilot, lambda: app.main.selected is not None and app.main.selected.name == "job 2")
        assert app.main.page == "log"
        await pilot.press("2", "left_curly_bracket")
        await screen.until(pilot, lambda: app.main.selected is not None and app.main.selected.name == "job 3")
        assert app.main.page == "metrics"


async def test_a_chart_is_enlarged_and_pinned(client: Client) -> None:
    fill(1)
    put_sweep(1)
    log([1.0, 2.0, 3.0], key="acc")
    log([1.0, 2.0, 3.0], key="zeta")
    app = FoundationsApp(Session(), VERBS, page="metrics", follow=False, left=kept.read())
    async with app.run_test(size=(100, 40)) as pilot:
        pane = app.main.query_one(MetricsPane)
        await screen.until(pilot, lambda: "metrics  1-3 of 3" in screen.text(app))
        first = list(pane._keys)
        await pilot.press("j", "j", "enter")
        await screen.until(pilot, lambda: "metrics  3 of 3" in screen.text(app))
        await pilot.press("p")
        await screen.until(pilot, lambda: pane._keys == [first[2], *first[:2]])
        await pilot.press("escape")
        await screen.until(pilot, lambda: "metrics  1-3 of 3" in screen.text(app) and "⌃ " in screen.text(app))
        await pilot.press("q")
    assert kept.read().pins == (first[2],)


# --- what is offered --------------------------------------------------------------------------------------------

NAMES = [Name("val/loss", "metric  3 of 5"), Name("lr", "param  5 of 5"), Name("name", "its name")]


def test_columns_are_taken_and_taken_away() -> None:
    assert [one.line for one in offers.offers("", NAMES, True)] == ["val/loss", "lr", "name"]
    assert [(one.text, one.line) for one in offers.offers("name,lo", NAMES, True)] == [("val/loss", "name,val/loss")]
    there = {one.text: one for one in offers.offers("name,lr", NAMES, True)}
    assert there["lr"].is_there and there["lr"].line == "name" and there["val/loss"].line == "name,lr,val/loss"
    assert [one.line for one in offers.offers("LOSS", NAMES, False)] == ["val/loss"]


def test_names_that_mean_something_else_in_an_expression_are_not_offered(client: Client) -> None:
    fill(1)
    for key in ("a,b", "loss:min", "param:x", '"q"', "a'b", " lead", "good/loss", "\x1b[31m"):
        log([1.0], key=key)
    conn = open_reader()
    offered = [name.text for name in offers.names(conn, JobsView()) if name.about.startswith("metric")]
    conn.close()
    assert offered == ["good/loss"]


async def test_columns_are_chosen_from_a_list(client: Client) -> None:
    fill(5)
    put_sweep(3)
    app = make_app()
    async with app.run_test(size=(100, 30)) as pilot:
        await screen.until(pilot, lambda: "job 4" in screen.text(app))
        await pilot.press("c")
        await screen.until(pilot, lambda: "metric  3 of 5" in screen.text(app) and "param  5 of 5" in screen.text(app))
        await pilot.press("tab", "down", "tab")
        await screen.until(pilot, lambda: app.main.jobs.view.columns == "loss,lr")
        await screen.until(pilot, lambda: "✓ loss" in screen.text(app) and "✓ lr" in screen.text(app))
        await pilot.press("tab")
        await screen.until(pilot, lambda: app.main.jobs.view.columns == "loss")
        await pilot.press("enter", "s")
        await screen.until(pilot, lambda: "metric  3 of 5" in screen.text(app))
        await pilot.press("tab", "enter")
        await screen.until(pilot, lambda: app.main.jobs.view.sort == "loss" and "loss ▲" in screen.text(app))
        await pilot.press("S")
        await screen.until(pilot, lambda: "loss ▼" in screen.text(app))


@pytest.mark.parametrize(("sort", "arrow"), [("loss:best", "▲"), ("loss:best:asc", "▲"), ("loss:best:desc", "▼")])
def test_an_arrow_points_where_the_values_go(client: Client, sort: str, arrow: str) -> None:
    fill(3)
    put_sweep(3)
    store = Store()
    with store.transaction() as conn:
        conn.execute("""UPDATE jobs SET spec = json_set(spec, '$.metrics.direction', json('{"loss": "max"}'))""")
        view = JobsView(columns="name,loss:best", sort=sort)
        window = jobs_table.read(conn, view, WindowRequest(0, 9, None, False, 100), time.time())
    store.close()
    assert [column.title for column in window.columns if column.sort == "loss:best"] == [f"loss:best {arrow}"]
    values = [float(row.cells[-1]) for row in window.rows if row.cells[-1]]
    assert len(set(values)) > 1 and values == sorted(values, reverse=arrow == "▼")


async def test_the_tour_leads_through_three_pages(client: Client) -> None:
    fill(5)
    put_sweep(3)
    app = make_app(tour=True)
    async with app.run_test(size=(160, 40)) as pilot:
        await screen.until(pilot, lambda: "press 7: the race" in screen.text(app))
        await pilot.press("4")
        assert "press 7: the race" in screen.text(app)
        await pilot.press("7")
        await screen.until(pilot, lambda: "press 4: the hosts" in screen.text(app))
        await pilot.press("4")
        await screen.until(pilot, lambda: "press 1, then enter" in screen.text(app))
        await pilot.press("1", "enter")
        await screen.until(pilot, lambda: isinstance(app.screen, Detail))
        await pilot.press("escape")
        await screen.until(pilot, lambda: "that was it" in screen.text(app))
        await pilot.press("3")
        await screen.until(pilot, lambda: " tour " not in screen.text(app))


async def test_help_begins_with_the_page_and_is_searched(client: Client) -> None:
    fill(2)
    app = make_app("hosts")
    async with app.run_test(size=(100, 30)) as pilot:
        await screen.until(pilot, lambda: app.main.page == "hosts")
        await pilot.press("question_mark")
        await screen.until(pilot, lambda: "the job on a GPU" in screen.text(app))
        await pilot.press("slash", *"pinn")
        await screen.until(pilot, lambda: "no key does that" in screen.text(app))
        await pilot.press("backspace")
        await screen.until(pilot, lambda: "pin: this metric first" in screen.text(app))
        assert "Metrics" in screen.text(app) and "Hosts" not in screen.text(app)
        await pilot.press("enter", "escape")
        await screen.until(pilot, lambda: "pin: this metric first" not in screen.text(app))


async def test_a_letter_gives_a_pane_the_keys(client: Client) -> None:
    fill(2)
    app = make_app("overview")
    async with app.run_test(size=(140, 40)) as pilot:
        await screen.until(pilot, lambda: "job 1" in screen.text(app) and "─ hosts ─" in screen.text(app))
        await pilot.press("ctrl+o")
        await screen.until(pilot, lambda: isinstance(app.screen, Jump))
        letters = {widget.id: letter for letter, widget in app.screen._by_letter.items()}  # type: ignore[attr-defined]
        await pilot.press(letters["log-view"])
        await screen.until(pilot, lambda: app.main.focused is not None and app.main.focused.id == "log-view")
        await pilot.press("ctrl+o", "escape", "ctrl+o", "0")
        await screen.until(pilot, lambda: not isinstance(app.screen, Jump))
        assert app.main.focused is not None and app.main.focused.id == "log-view"


def test_over_a_slow_link_less_is_drawn(client: Client) -> None:
    assert make_app()._apart == 1.0
    write_commands(client, "slow_link = true\n")
    assert make_app()._apart == 3.0


async def test_a_new_job_chooses_among_hosts_by_what_is_free(client: Client) -> None:
    record(time.time() - 3600)
    store = Store()
    writes.put_unreachable(store, "lab", "refused")
    store.close()
    with (client.home / "hosts.toml").open("a") as file:
        file.write('[hosts.lab]\naddress = "ada@lab"\n')
    app = make_app()
    async with app.run_test(size=(100, 40)) as pilot:
        await screen.until(pilot, lambda: "job 1" in screen.text(app))
        await pilot.press("ctrl+n")
        await screen.until(pilot, lambda: isinstance(app.screen, JobForm) and "of 2 GPUs free" in screen.text(app))
        assert "4 of 8 CPUs free" in screen.text(app) and "out of reach" in screen.text(app)
        await pilot.press("f6")
        await screen.until(pilot, lambda: isinstance(app.screen, Menu) and "any that fits" in screen.text(app))
        await pilot.press("enter")
        await screen.until(pilot, lambda: app.screen.query_one("#field-host", Input).value == "gpu1")


async def test_keys_that_need_something_are_left_out_where_there_is_nothing(client: Client) -> None:
    fill(3)
    app = make_app("queue")

    def last_line() -> str:
        return screen.text(app).splitlines()[-1]

    async with app.run_test(size=(120, 30)) as pilot:
        await screen.until(pilot, lambda: "the queue is empty" in screen.text(app) and "open" not in last_line())
        assert "palette" in last_line() and "actions" not in last_line() and "earlier" not in last_line()
        await pilot.press("x", "K", "1")
        await screen.until(pilot, lambda: "3 jobs" in screen.text(app) and "actions" in last_line())
        app.main.jobs.table.mark(app.main.jobs.chosen)
        await pilot.press("slash", *"zzz", "enter")
        await screen.until(pilot, lambda: "1 marked" in screen.text(app) and "enter open" not in last_line())
        await pilot.press("x")
        await screen.until(pilot, lambda: isinstance(app.screen, Menu))  # what is marked can be acted on


def test_the_app_begins_with_a_job_that_runs_below_those_that_wait_and_not_below_those_that_have_ended() -> None:
    fill(40)
    with Store().transaction() as conn:
        conn.execute(
            "UPDATE jobs SET state = 'queued', started_at = NULL, ended_at = NULL WHERE job >= ?", [f"{10:012x}"]
        )
        conn.execute("UPDATE jobs SET state = 'running', ended_at = NULL WHERE job = ?", [f"{9:012x}"])
    conn = open_reader()
    assert jobs_table.first_running(conn, JobsView()) == f"{9:012x}"
    with Store().transaction() as write:
        write.execute("UPDATE jobs SET state = 'completed' WHERE job = ?", [f"{30:012x}"])
    assert jobs_table.first_running(conn, JobsView()) is None, "what is newer would be out of sight"
    conn.close()
