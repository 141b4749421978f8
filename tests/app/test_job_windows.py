"""The windows of one job, on real jobs: all that is known of it, its artifacts, its lineage."""

from __future__ import annotations

import dataclasses
import shutil

import pytest
from textual.app import App
from textual.events import MouseDown, MouseUp
from textual.pilot import Pilot

from foundations_tui.cli.registry import VERBS
from foundations_tui.config import locations
from foundations_tui.config.app import BY_ITSELF
from foundations_tui.session import Session
from foundations_tui.store.db import Store
from foundations_tui.ui.app import FoundationsApp
from foundations_tui.ui.input import key_queue
from foundations_tui.ui.screens.artifacts import Artifacts
from foundations_tui.ui.screens.confirm import Confirm
from foundations_tui.ui.screens.job_details import Detail
from foundations_tui.ui.screens.lineage import Lineage
from foundations_tui.ui.screens.menu import Menu
from foundations_tui.ui.screens.preview import FilePreview
from tests.support import screen
from tests.support.client import Client
from tests.support.store import fill

MAKES = """
import foundations
open("notes.txt", "w").write("what it found")
foundations.save_artifact("notes.txt", key="notes")
foundations.save_artifact("notes.txt", key="again")
"""
USES = """
import sys, foundations
print(open(foundations.artifact(sys.argv[1], "notes")).read())
"""


def make_app(follow: bool = True) -> FoundationsApp:
    return FoundationsApp(Session(connect_timeout=3), VERBS, page="jobs", follow=follow)


async def click(pilot: Pilot[None], words: str) -> None:
    """Click on words that stand on the screen."""
    await pilot.click(offset=place_of(pilot.app, words))


def place_of(app: App[None], words: str) -> tuple[int, int]:
    """Return where words stand on the screen."""
    lines = enumerate(screen.text(app).splitlines())
    return next((line.index(words) + 1, y) for y, line in lines if words in line)


def here(app: FoundationsApp) -> list[str]:
    """Return which artifacts are marked as being on this machine, in the order of their keys."""
    assert isinstance(app.screen, Artifacts)
    return [row.cells[-1] for row in app.screen.table.rows]


async def test_lineage_and_artifacts_of_real_jobs(client: Client) -> None:
    (client.project / "makes.py").write_text(MAKES)
    (client.project / "uses.py").write_text(USES)
    maker = client.submit("--name", "maker", "--", "python", "makes.py")
    user = client.submit("--name", "user", "--after", maker, "--", "python", "uses.py", maker)
    client.wait_until(user, "completed")
    again = client.submit("--code-of", maker, "--name", "maker-again", "--", "python", "makes.py")
    client.wait_until(again, "completed")
    app = make_app()
    async with app.run_test(size=(160, 50)) as pilot:
        await screen.until(pilot, lambda: "maker-again" in screen.text(app))
        app.show_job(maker)
        await screen.until(pilot, lambda: isinstance(app.screen, Detail) and "artifacts" in screen.text(app))
        await pilot.press("L")
        await screen.until(pilot, lambda: isinstance(app.screen, Lineage) and "this job" in screen.text(app))
        lines = [line for line in screen.text(app).splitlines() if "└" in line]
        assert [line.split("└ ")[1].split("  ")[0] for line in lines] == [
            "rerun",
            "uses notes of it",
            "waited for it",
        ]
        await pilot.press("j", "j", "enter")
        await screen.until(pilot, lambda: isinstance(app.screen, Detail) and user in screen.text(app))
        await pilot.press("L")
        await screen.until(pilot, lambda: "used its notes" in screen.text(app))
        assert "waited until it completed" in screen.text(app)
        await pilot.press("escape", "escape", "escape", "a")
        await screen.until(pilot, lambda: isinstance(app.screen, Artifacts) and "2 artifacts, 26 B" in screen.text(app))
        assert here(app) == ["✓", "✓"], "they came when it ended"
        shutil.rmtree(locations.artifacts_folder(maker))
        await pilot.press("j", "enter")
        await screen.until(pilot, lambda: isinstance(app.screen, FilePreview) and "what it found" in screen.text(app))
        await pilot.press("escape")
        await screen.until(pilot, lambda: isinstance(app.screen, Artifacts) and here(app) == ["", "✓"])


@pytest.mark.parametrize("size", [(80, 24), (160, 50)])
async def test_all_that_is_known_in_one_column_or_in_two(client: Client, size: tuple[int, int]) -> None:
    fill(2)
    app = make_app(follow=False)
    async with app.run_test(size=size) as pilot:
        await screen.until(pilot, lambda: "job 1" in screen.text(app))
        await pilot.press("enter")
        await screen.until(pilot, lambda: "timeline" in screen.text(app))
        line = next(line for line in screen.text(app).splitlines() if "timeline" in line)
        assert ("completed" in line or "finished" in line) == (size[0] == 160), "beside the state where there is room"
        assert "░ queued 1.0 s  █ running 59 s" in screen.text(app)


async def test_what_a_job_says_of_its_artifacts_may_be_anything(client: Client) -> None:
    fill(1)
    store = Store()
    told = ["null", "[]", '"x"', '{"size": "big", "path": 5}', '{"path": "../../etc", "size": 1e400}']
    told += [
        f'{{"path": "{"a" * 5000}", "name": "\\u001b[2J[red]", "kind": ["x"], "size": -1}}',
        '{"path": "a\\u0000b"}',
        '{"path": "huge", "size": 1%s}' % ("0" * 400),
    ]
    with store.transaction() as conn:
        for number, value in enumerate(told):
            fact = ["artifact", f"[b]\x1b{number}", "0" * 12, value, 0, "w", number]
            conn.execute(
                "INSERT INTO facts (kind, key, job, value, time, writer, offset) VALUES (?, ?, ?, ?, ?, ?, ?)", fact
            )
    store.close()
    app = make_app(follow=False)
    async with app.run_test(size=(160, 50), notifications=True) as pilot:
        await screen.until(pilot, lambda: "job 0" in screen.text(app))
        await pilot.press("enter")
        await screen.until(pilot, lambda: isinstance(app.screen, Detail) and "artifacts" in screen.text(app))
        await pilot.press("a")
        await screen.until(pilot, lambda: "8 artifacts" in screen.text(app) and "[b]" in screen.text(app))
        assert "\x1b" not in screen.text(app)
        for _ in told:
            await pilot.press("enter", "j")
        await screen.until(pilot, lambda: any("is gone" in one.message for one in app._notifications))
        await pilot.press("escape")
        await screen.until(pilot, lambda: isinstance(app.screen, Detail))


async def test_a_lineage_that_turns_in_a_circle_ends(client: Client) -> None:
    fill(4)
    store = Store()
    with store.transaction() as conn:
        for number in range(4):
            of = f"{(number + 1) % 3:012x}" if number < 3 else "f" * 12
            conn.execute("UPDATE jobs SET code_of = ? WHERE job = ?", [of, f"{number:012x}"])
    store.close()
    app = make_app(follow=False)
    async with app.run_test(size=(100, 30)) as pilot:
        await screen.until(pilot, lambda: "job 3" in screen.text(app))
        await pilot.press("enter", "L")
        await screen.until(pilot, lambda: "this job" in screen.text(app))
        assert "not known here" in screen.text(app)
        await pilot.press("escape", "escape", "j", "enter", "L")
        await screen.until(pilot, lambda: "rerun of" in screen.text(app))
        assert screen.text(app).count("rerun of") == 2


async def test_keys_below_a_window_are_pressed_with_the_mouse() -> None:
    fill(3)
    app = make_app(follow=False)
    async with app.run_test(size=(120, 30)) as pilot:
        await screen.until(pilot, lambda: "job 2" in screen.text(app))
        await pilot.press("enter")
        await screen.until(pilot, lambda: "a artifacts" in screen.text(app))
        await click(pilot, "a artifacts")
        await screen.until(pilot, lambda: isinstance(app.screen, Artifacts))
        await click(pilot, "esc back")
        await screen.until(pilot, lambda: isinstance(app.screen, Detail))
        await click(pilot, "x actions")
        await screen.until(pilot, lambda: isinstance(app.screen, Menu) and "enter selects" in screen.text(app))
        await click(pilot, "esc back")
        await click(pilot, "L lineage")
        await screen.until(pilot, lambda: isinstance(app.screen, Lineage))


async def test_a_question_is_answered_with_the_mouse() -> None:
    assert await answers_by_clicks(make_app(follow=False), "y yes", "n no") == [True, False]


async def test_a_key_of_the_users_is_named_and_pressed() -> None:
    settings = dataclasses.replace(BY_ITSELF, keys={"confirm.yes": "n", "confirm.no": "y,escape"})
    app = FoundationsApp(Session(), VERBS, page="jobs", follow=False, settings=settings)
    assert await answers_by_clicks(app, "n yes", "y no") == [True, False]


async def answers_by_clicks(app: FoundationsApp, yes: str, no: str) -> list[bool | None]:
    """Ask twice, click the words of yes and then those of no, and return what was answered."""
    answers: list[bool | None] = []
    async with app.run_test(size=(80, 24)) as pilot:
        for words in (yes, no):
            app.push_screen(Confirm("sure?"), answers.append)
            await screen.until(pilot, lambda: f"{yes}    {no}" in screen.text(app))
            await click(pilot, words)
            await screen.until(pilot, lambda: not isinstance(app.screen, Confirm))
    return answers


async def test_the_second_one_of_two_clicks_answers_no_question(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(key_queue, "_TWO_CLICKS", 60.0)  # a machine that is busy takes longer for two
    fill(3)
    app = make_app(follow=False)
    async with app.run_test(size=(80, 24)) as pilot:
        await screen.until(pilot, lambda: "job 2" in screen.text(app))
        app.push_screen(Confirm("sure?"))
        await screen.until(pilot, lambda: "y yes" in screen.text(app))
        where = place_of(app, "y yes")
        app.pop_screen()
        await pilot.pause()
        press(app, where)
        await pilot.pause()
        app.push_screen(Confirm("sure?"), lambda answer: pytest.fail(f"answered {answer}"))
        await screen.until(pilot, lambda: "y yes" in screen.text(app))
        press(app, where)
        await pilot.pause(0.2)
        assert isinstance(app.screen, Confirm)


def press(app: FoundationsApp, where: tuple[int, int]) -> None:
    """Press and release the mouse's button, as a terminal tells it."""
    x, y = where
    for kind in (MouseDown, MouseUp):
        app.post_message(kind(None, x, y, 0, 0, 1, False, False, False, x, y))
