"""What differs in the code and the logs of jobs."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from hypothesis import given, settings, strategies as st

from foundations_tui.analysis import log_diff
from foundations_tui.cli.registry import VERBS
from foundations_tui.session import Session
from foundations_tui.ui.app import FoundationsApp
from foundations_tui.ui.screens.differences import LogDifference
from foundations_tui.ui.screens.menu import Menu
from foundations_tui.ui.widgets.pairs_view import PairsView
from tests.support import screen
from tests.support.client import Client

texts = st.lists(st.sampled_from([b"", b"a", b"b", b"step 1", b"step 2", b"@@ -1 +1 @@", b"\xff\x00"]), max_size=12)


@settings(max_examples=40)
@given(texts, texts, st.booleans())
def test_every_line_of_both_logs_is_in_a_pair(
    tmp_path_factory: object, one: list[bytes], other: list[bytes], numbers: bool
) -> None:
    folder: Path = tmp_path_factory.mktemp("logs")  # type: ignore[attr-defined]
    paths = [folder / "one", folder / "other"]
    for path, lines in zip(paths, (one, other), strict=True):
        path.write_bytes(b"".join(line + b"\n" for line in lines))
    found = log_diff.pairs(paths[0], paths[1], numbers)
    assert [pair.left for pair in found if pair.left is not None] == one
    assert [pair.right for pair in found if pair.right is not None] == other
    for pair in found:
        masked = [line and line.replace(b"2", b"1") for line in (pair.left, pair.right)]
        assert pair.differs or (pair.left == pair.right if numbers else masked[0] == masked[1])
    shown = list(log_diff.unified(found))
    assert [line[1:] for line in shown if line[:1] == b"-"] == [
        p.left for p in found if p.differs and p.left is not None
    ]
    assert bool(shown) == any(pair.differs for pair in found)


def git(project: Path, *words: str) -> str:
    words = ("-c", "user.name=somebody", "-c", "user.email=somebody@example.org", *words)
    return subprocess.run(["git", *words], cwd=project, check=True, capture_output=True, text=True).stdout


def test_what_was_changed_since_the_commit(client: Client) -> None:
    git(client.project, "init", "-q")
    (client.project / "train.py").write_text("print(1)\n")
    git(client.project, "add", "-A")
    git(client.project, "commit", "-q", "-m", "begin")
    clean = client.submit("--", "python", "train.py")
    (client.project / "train.py").write_text("print(2)\n")
    (client.project / "new.py").write_text("# new\n")
    job = client.submit("--", "python", "train.py")
    assert "the code is the same" in client.run("diff", clean).stderr
    shown = client.run("diff", job).stdout
    assert "-print(1)\n+print(2)\n" in shown and "+# new" in shown
    found = client.json("diff", clean, job)
    assert found["jobs"] == [clean, job] and found["of"] == "code" and "+print(2)" in found["difference"]
    assert git(client.project, "status", "--porcelain").split() == ["M", "train.py", "??", "new.py"]
    assert "the logs of two jobs" in client.run("diff", job, "--log", code=2).stderr
    (client.project / ".git").rename(client.project / "gone")
    assert "is not in the repository" in client.run("diff", job, code=3).stderr


def test_a_job_without_a_commit_has_nothing_to_differ_from(client: Client) -> None:
    (client.project / "train.py").write_text("print(1)\n")
    job = client.submit("--", "true")
    assert "was not submitted from a commit" in client.run("diff", job, code=3).stderr
    assert "--numbers is for logs" in client.run("diff", job, "--numbers", code=2).stderr


@pytest.mark.slow
def test_a_log_that_is_longer_than_what_is_compared(client: Client) -> None:
    jobs = [
        client.submit("--", "sh", "-c", f"yes {'long' * 50} | head -n 100000; echo {end}") for end in ("one", "other")
    ]
    client.run("wait", *jobs)
    client.run("sync")
    done = client.run("diff", *jobs, "--log")
    assert "no difference; only the first 17 MB" in done.stderr and not done.stdout
    assert client.json("diff", *jobs, "--log")["cut"] is True


async def test_two_logs_side_by_side_in_what_they_differ(client: Client) -> None:
    script = "for n in 1 2 3 4 5 6 7 8 9; do echo loss 0.$n$1; done; echo $2; echo the end"
    words = (("1", "all is well"), ("2", "\x1b]52;c;aGk=\x07 [/] it diverged"))
    jobs = [client.submit("--", "sh", "-c", script, "sh", *one) for one in words]
    client.run("wait", *jobs)
    client.run("sync")
    shown = client.run("diff", *jobs, "--log").stdout
    assert "-all is well" in shown and "it diverged" in shown and "\x1b" not in shown and "-loss" not in shown
    assert shown.count("\n-loss") == 0 and client.run("diff", *jobs, "--log", "--numbers").stdout.count("\n-loss") == 9
    assert "the logs say the same" in client.run("diff", jobs[0], jobs[0], "--log").stderr
    app = FoundationsApp(Session(), VERBS, follow=False)
    async with app.run_test(size=(80, 24)) as pilot:
        await screen.until(pilot, lambda: "2 jobs" in screen.text(app))
        await pilot.press("a", "d")
        await screen.until(pilot, lambda: isinstance(app.screen, Menu))
        await pilot.press("l")
        await screen.until(pilot, lambda: isinstance(app.screen, LogDifference) and "1 difference" in screen.text(app))
        shown = screen.text(app)
        assert " all is well" in shown and "it diverged" in shown and "[/]" in shown and " ! " not in shown
        await pilot.resize_terminal(120, 24)
        await screen.until(pilot, lambda: " ! " in screen.text(app) and "it diverged" in screen.text(app))
        await pilot.press("#")
        await screen.until(
            pilot, lambda: app.screen.query_one(PairsView).differences == 1 and " ! loss" in screen.text(app)
        )
        await pilot.press("escape")
        await screen.until(pilot, lambda: not isinstance(app.screen, LogDifference))


def test_a_log_that_is_not_here_is_said_to_be_so(client: Client) -> None:
    jobs = [client.submit("--", "echo", "hi") for _ in range(2)]
    client.run("wait", *jobs)
    assert "no log" in client.run("diff", *jobs, "--log", code=3).stderr
    client.run("diff", *jobs, "--log", "--sync")
