"""Sweeps: what is expanded, what a command becomes, and whole ones through the command line."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, strategies as st

from foundations_tui.errors import UsageError
from foundations_tui.sweeps import grid
from foundations_tui.text.command_line import Typed
from tests.support.client import Client


def kind(value: object) -> type:
    """Return a value's type; a number that remembers how it was typed is a float."""
    return float if isinstance(value, Typed) else type(value)


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("lr=1e-4,3e-4", (1e-4, 3e-4)),
        ("o=adam,sgd", ("adam", "sgd")),
        ("o=adam", ("adam",)),
        ("a=1,2.5,true,x", (1, 2.5, True, "x")),
        ("l=[1,2],[3]", ([1, 2], [3])),
        ("b=32:128:x2", (32, 64, 128)),
        ("b=0.5:4:x2", (0.5, 1.0, 2.0, 4.0)),
        ("p=0:1:0.25", (0, 0.25, 0.5, 0.75, 1.0)),
        ("n=1:5:2", (1, 3, 5)),
        ("lr=log:1e-4:1e-2:3", (1e-4, 1e-3, 1e-2)),
        ("url=http://x:80/a", ("http://x:80/a",)),
        ("t=12:30:00", None),
        ("p=0:1", None),
    ],
)
def test_values_of_a_sweep(text: str, values: tuple[Any, ...] | None) -> None:
    try:
        _, axis = grid.parse(text)
        (found,) = zip(*(one.values() for one in grid.expand({"k": axis})), strict=True)
    except UsageError as error:
        assert values is None and str(error).startswith("sweep ")
    else:
        assert found == values and [kind(v) for v in found] == [kind(v) for v in values or ()] or text.startswith("p=")


@pytest.mark.parametrize(
    "text",
    [
        "lr",
        "=1",
        "lr=",
        "1x=2",
        "lr=1,,2",
        "b=9:1:x2",
        "b=1:9:x1",
        "lr=log:0:1:3",
        "n=1:2:0",
        "n=1:9:-1",
        "lr=log:1:2:1",
    ],
)
def test_what_is_no_sweep_is_refused(text: str) -> None:
    with pytest.raises(UsageError):
        grid.parse(text)


def test_grid_zip_and_random() -> None:
    axes: dict[str, grid.Values | grid.Range] = {"a": grid.Values((1, 2)), "b": grid.Values(("x", "y"))}
    assert [tuple(one.values()) for one in grid.expand(axes)] == [(1, "x"), (1, "y"), (2, "x"), (2, "y")]
    assert [tuple(one.values()) for one in grid.expand(axes, "zip")] == [(1, "x"), (2, "y")]
    with pytest.raises(UsageError, match="a has 2, b has 1"):
        grid.expand({**axes, "b": grid.Values((1,))}, "zip")
    with pytest.raises(UsageError, match="no step"):
        grid.expand({"a": grid.Range(0, 1, False)})
    with pytest.raises(UsageError, match="at most"):
        grid.expand({key: grid.Values(tuple(range(200))) for key in "abc"})
    drawn = {"lr": grid.parse("lr=log:1e-5:1e-2")[1], "n": grid.parse("n=1:8")[1], "o": axes["b"]}
    first = grid.expand(drawn, "random", 50, seed=7)
    assert first == grid.expand(drawn, "random", 50, seed=7) != grid.expand(drawn, "random", 50, seed=8)
    assert all(1e-5 <= one["lr"] <= 1e-2 and one["n"] in range(1, 9) and one["o"] in "xy" for one in first)
    assert sum(one["lr"] < 1e-3 for one in first) > 20, "evenly in the exponent"


def test_only_known_names_in_braces_are_replaced() -> None:
    params = {"lr": 3e-4, "o": "a b", "n": 2, "f": True, "l": [1]}
    command = [
        "--lr={lr}",
        '{"a": {lr}}',
        "{}",
        "{{lr}}",
        "{unknown}",
        "{{unknown}}",
        "{o}{n}",
        "{f}{l}",
        "${n}",
        "{ n }",
    ]
    assert grid.fill(command, params) == (
        "--lr=0.0003",
        '{"a": 0.0003}',
        "{}",
        "{lr}",
        "{unknown}",
        "{{unknown}}",
        "a b2",
        "true[1]",
        "$2",
        "{ n }",
    )
    assert grid.uses(["x{lr}"], "lr") and not grid.uses(["{{lr}}"], "lr")


@given(st.text(max_size=40))
def test_any_text_is_a_sweep_or_refused(text: str) -> None:
    try:
        key, axis = grid.parse(text)
        json.dumps(grid.expand({key: axis}, "random", 2, 1))
    except UsageError:
        pass


def test_what_is_typed_is_not_touched_by_shells() -> None:
    words = ["lr=1e-4,3e-4", "b=32:128:x2", "p=0:1:0.25", "lr=log:1e-5:1e-2:8", "--lr={lr}"]
    for shell in ("bash", "zsh", "sh"):
        if subprocess.run(["sh", "-c", f"command -v {shell}"], capture_output=True).returncode == 0:
            said = subprocess.run([shell, "-c", "printf '%s\\n' " + " ".join(words)], capture_output=True, text=True)
            assert said.stdout.split() == words, shell


# --- through the command line -----------------------------------------------------------------------------------

TRAIN = """
import json, os, sys, foundations
params = foundations.load_parameters()
assert params == json.load(open('foundations_job_parameters.json'))
assert os.environ['FOUNDATIONS_PARAM_LR'] == str(params['lr'])
foundations.log_metric('loss', abs(params['lr'] - 0.3) + params['bs'] / 1000)
sys.exit(1 if params['lr'] == 0.9 and not os.path.exists(sys.argv[-1]) else 0)
"""


def test_a_sweep_from_submit_to_the_best(client: Client, tmp_path: Path) -> None:
    (client.project / "train.py").write_text(TRAIN)
    (client.project / "foundations.toml").write_text('project = "digits"\n[metrics.direction]\nloss = "min"\n')
    mark = tmp_path / "mark"
    words = ["--sweep", "lr=0.1,0.3,0.9", "--sweep", "bs=16:32:x2", "--name", "s", "--group", "g1"]
    command = ["--", "python", "train.py", "--rate", "{lr}", "{}", str(mark)]
    preview = client.json("submit", "--dry-run", *words, *command)
    assert len(preview) == 6 and preview[0]["command"][2:5] == ["--rate", "0.1", "{}"]
    done = client.run("submit", "--json", *words, *command)
    submitted = json.loads(done.stdout)
    assert "6 jobs: lr (3) x bs (2)" in done.stderr and {one["sweep"] for one in submitted} == {"g1"}
    assert client.run("wait", *[one["job"] for one in submitted], code=1).stdout == ""
    shown = client.json_of("sweep", "show", "g1", "--sync", "--json")
    assert shown["states"] == {"completed": 4, "failed": 2} and shown["by"] == "loss:best"
    assert shown["best"][0]["params"] == {"lr": 0.3, "bs": 16}
    assert "best by loss:best" in client.run("sweep", "show", "g1").stdout
    assert not (client.project / "foundations_job_parameters.json").exists(), "the user's folder is never written to"
    assert [one["jobs"] for one in client.json("sweep")] == [6]
    rows = client.json(
        "jobs", "--where", "lr=0.3 and arg:rate=0.3 and loss:best<0.02", "--columns", "lr,loss:best,name"
    )
    assert [row["columns"] for row in rows] == [{"lr": 0.3, "loss:best": 0.016, "name": "s-3"}]
    groups = client.json("jobs", "--group-by", "bs", "--columns", "loss")
    told = [(one["group"]["bs"], one["jobs"], one["columns"]["loss"]["count"]) for one in groups]
    assert told == [(16, 3, 3), (32, 3, 3)]
    mark.write_text("")
    again = client.json_of("sweep", "resume", "g1", "--json")
    assert [one["params"]["lr"] for one in again] == [0.9, 0.9]
    client.run("wait", *[one["job"] for one in again])
    assert client.json_of("sweep", "show", "g1", "--sync", "--json")["states"] == {"completed": 6, "failed": 2}
    assert "nothing to resume" in client.run("sweep", "resume", "g1").stderr


def test_stopping_a_sweep_stops_what_waits_first(client: Client) -> None:
    client.json("submit", "--sweep", "n=1:30:1", "--group", "g2", "--", "sleep", "60")
    stopped = client.run("sweep", "stop", "g2", "--yes").stdout.split()
    assert len(stopped) == 30
    client.run("wait", *stopped, code=None)
    assert client.json_of("sweep", "show", "g2", "--sync", "--json")["states"] == {"stopped": 30}
    rows = client.json("jobs", "--where", "group=g2 and attempt>0")
    assert len(rows) <= 4, "none took the place of what was stopped"


def test_a_sweep_file_and_what_is_wrong_with_one(client: Client, tmp_path: Path) -> None:
    file = tmp_path / "s.toml"
    file.write_text(
        '[sweep]\nmode = "random"\ncount = 5\nseed = 3\n[sweep.parameters]\nlr = "log:1e-5:1e-2"\no = ["a", "b"]\n'
    )
    first = client.json("submit", "--dry-run", "--sweep-file", str(file), "--", "true", "{lr}")
    assert len(first) == 5 and first == client.json(
        "submit", "--dry-run", "--sweep-file", str(file), "--", "true", "{lr}"
    )
    wrong = {
        "": "no table [sweep.parameters]",
        "[sweep]\nmod = 1\n[sweep.parameters]\na = [1]": "unknown key 'mod'",
        "[": "s.toml",
    }
    for text, part in wrong.items():
        file.write_text(text)
        assert part in client.run("submit", "--sweep-file", str(file), "--", "true", code=2).stderr
    assert "belong to a sweep" in client.run("submit", "--zip", "--", "true", code=2).stderr
    assert "there is no sweep 'x'" in client.run("sweep", "show", "x", code=3).stderr


def test_a_parameter_that_is_no_number_breaks_no_listing(client: Client) -> None:
    job = client.submit("--param", "lr=NaN", "--", "true")
    client.run("wait", job)
    client.run("sync")
    assert client.json("jobs")[0]["params"] == {"lr": "NaN"}
    assert client.json("compare", job, client.submit("--", "true"))["lines"]


def test_equal_jobs_that_failed_are_all_resumed_once(client: Client) -> None:
    done = client.run(
        "submit", "--json", "--random", "4", "--seed", "1", "--sweep", "a=1,2", "--group", "g", "--", "false"
    )
    client.run("wait", *[one["job"] for one in json.loads(done.stdout)], code=1)
    client.run("sync")
    again = client.run("sweep", "resume", "g").stdout.split()
    assert len(again) == 4
    client.run("wait", *again, code=1)
    client.run("sync")
    assert len(client.run("sweep", "resume", "g").stdout.split()) == 4, "those that failed again"
    assert "is swept twice" in client.run("submit", "--sweep", "a=1", "--sweep", "a=2", "--", "true", code=2).stderr
