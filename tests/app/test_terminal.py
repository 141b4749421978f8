"""What a person sees on a real terminal: prompts, colors, logs that try to take it over."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.client import FOUNDATIONS, Client
from tests.support.screen import Tmux
from tests.support.sshd import Sshd, lock_key


@pytest.fixture
def tmux(tmp_path: Path) -> Iterator[Tmux]:
    terminal = Tmux(tmp_path, 100, 30)
    yield terminal
    terminal.close()


def start(tmux: Tmux, client: Client, *words: str) -> None:
    tmux.start([*FOUNDATIONS, *words], {**client.env, "TERM": "xterm-256color"}, client.project)


def test_an_unknown_host_key_is_shown_and_asked_for(client: Client, sshd: Sshd, tmux: Tmux) -> None:
    client.add_host("box", sshd, known=False)
    start(tmux, client, "hosts", "test", "box")
    shown = tmux.until(lambda shown: "Is it the right one?" in shown)
    assert "SHA256:" in shown
    tmux.send("n", "Enter")
    assert tmux.exit_code() == 4
    assert not (client.home / "known_hosts").exists()
    start(tmux, client, "hosts", "test", "box")
    tmux.until(lambda shown: "Is it the right one?" in shown)
    tmux.send("y", "Enter")
    assert tmux.exit_code() == 0
    assert "box works" in tmux.shown()
    client.run("hosts", "test", "box")


def test_a_passphrase_is_asked_for_on_a_terminal(client: Client, own_sshd: Sshd, tmux: Tmux) -> None:
    lock_key(own_sshd.identity)
    client.add_host("box", own_sshd)
    start(tmux, client, "hosts", "test", "box")
    tmux.until(lambda shown: "passphrase of" in shown)
    tmux.send("no", "Enter")
    tmux.until(lambda shown: "that is not it" in shown)
    tmux.send("open sesame", "Enter")
    assert tmux.exit_code() == 0
    assert "box works" in tmux.shown() and "sesame" not in tmux.shown()


def test_a_log_keeps_its_colours_and_nothing_else(client: Client, tmux: Tmux) -> None:
    job = client.submit("--", "printf", "\\033[31mred\\033[0m\\033]0;owned\\007\\033[2J\\033[5;5Hend\\n")
    client.run("wait", job)
    start(tmux, client, "logs", job)
    assert tmux.exit_code() == 0
    colored = tmux.shown("-e")
    assert "\x1b[31mred" in colored
    assert tmux.shown().splitlines()[0].startswith("red") and "end" in tmux.shown().splitlines()[0]
    assert "owned" not in tmux.title()


def test_following_shows_what_comes(client: Client, tmux: Tmux) -> None:
    go_on = client.project / "go-on"
    job = client.submit(
        *("--env", f"GO_ON={go_on}", "--", "sh", "-c"),
        'echo first; while [ ! -e "$GO_ON" ]; do sleep 0.1; done; echo last',
    )
    start(tmux, client, "logs", "-f", job)
    tmux.until(lambda shown: "first" in shown)
    go_on.touch()
    assert tmux.exit_code() == 0
    assert "last" in tmux.shown()


def test_the_narrow_table_fits(client: Client, tmp_path: Path) -> None:
    tmux = Tmux(tmp_path, 60, 20)
    client.run("submit", "--wait", "--name", "a name that is much longer than any column " * 3, "--", "true")
    start(tmux, client, "jobs")
    assert tmux.exit_code() == 0
    lines = tmux.shown().splitlines()
    tmux.close()
    assert lines[0].startswith("ID") and "completed" in lines[1], "each job is one line"


def test_no_color(client: Client, tmux: Tmux) -> None:
    client.run("submit", "--wait", "--", "true")
    start(tmux, client, "jobs")
    assert tmux.exit_code() == 0
    assert "\x1b[3" in tmux.shown("-e")
    client.env["NO_COLOR"] = "1"
    start(tmux, client, "jobs")
    assert tmux.exit_code() == 0
    assert "\x1b[3" not in tmux.shown("-e") and "completed" in tmux.shown()


def test_texts_take_the_room_that_they_are_given_on_a_real_terminal(tmp_path: Path) -> None:
    """What tmux and we count differently would draw a pane's border twice."""
    from foundations_tui.text.sanitize import one_line, width

    odd = [
        "🏕️ camp",
        "❤️",
        "👍🏽 up",
        "👨‍👩‍👧 a",
        "1️⃣ b",
        "z҉a҉l҉g҉o҉",
        "é",
        "漢字",
        "ｆｕｌｌ",
        "a\u200bb",
        "🇩🇪",
        "soft\xadhyphen",
    ]
    tmux = Tmux(tmp_path, 40, len(odd) + 2)
    try:
        lines = "".join(f"{one_line(text)}{' ' * (20 - width(one_line(text)))}|\n" for text in odd)
        (tmp_path / "text").write_text(lines)
        over = "".join(f"\x1b[{row + 1};21H#" for row in range(len(odd)))  # in the column of the border, absolutely
        (tmp_path / "text").write_text(lines + over)
        tmux.start(["cat", str(tmp_path / "text")], {**os.environ, "LC_ALL": "C.UTF-8"}, tmp_path)
        shown = tmux.until(lambda shown: shown.count("#") == len(odd))
        assert "|" not in shown, shown
    finally:
        tmux.close()
