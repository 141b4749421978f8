"""What was typed is what there is: numbers, ids, steps, and what nothing fills."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, strategies as some

from foundations import encoding
from foundations_tui import arguments, patterns, summaries, sweeps
from foundations_tui.arguments import literal, number
from foundations_tui.errors import UsageError
from tests.support.client import Client

IDS = [
    "007",
    "08",
    "0099",
    "3.10",
    "1.0.0",
    "67217e15",
    "3e563",
    "1_000",
    "-0",
    "+5",
    "0x10",
    "0123",
    "1e007",
    "٣",
    "00.5",
]


@pytest.mark.parametrize("word", IDS)
def test_what_does_not_write_back_stays_text(word: str) -> None:
    assert literal(word) == word and literal(word, any_json=True) == word
    assert sweeps.text_of(literal(word)) == word


@pytest.mark.parametrize(
    "word", ["1e-4", "3e-4", "1E3", "1e5", "0.1", ".5", "5.", "9e-08", "1.0e-4", "-2.5e+10", "1.0"]
)
def test_what_people_write_as_a_number_is_one_and_goes_on_as_typed(word: str) -> None:
    found = literal(word)
    assert isinstance(found, float) and found == float(word) and sweeps.text_of(found) == word
    assert json.loads(json.dumps(found)) == float(word)


@given(some.one_of(some.floats(allow_nan=False, allow_infinity=False), some.integers()))
def test_every_number_as_python_writes_it_is_that_number(value: float) -> None:
    found = literal(repr(value))
    assert (type(found) in (int, arguments.Typed, float)) and found == value and sweeps.text_of(found) == repr(value)


@given(some.text(max_size=12))
def test_any_word_goes_on_as_typed_or_is_json(word: str) -> None:
    found = literal(word)
    if isinstance(found, int | float) and not isinstance(found, bool):
        assert sweeps.text_of(found) == word.strip() or word != word.strip()
    number(word)
    patterns.read_number(word)


def test_ids_at_every_door(client: Client, tmp_path: Path) -> None:
    (client.project / "t.py").write_text("import sys; print(*sys.argv[1:])")
    shown = client.json("submit", "--sweep", "subject=007,08,0099", "--", "python", "t.py", "{subject}")
    client.run("wait", *[row["job"] for row in shown])
    assert [client.run("logs", row["job"]).stdout.strip() for row in shown] == ["007", "08", "0099"]
    file = tmp_path / "sweep.toml"
    file.write_bytes(b'\xef\xbb\xbf[sweep.parameters]\nv = [3.10, 1e-4]\nid = ["007"]\n')
    words = ["submit", "--dry-run", "--sweep-file", str(file), "--", "python", "t.py", "{v}", "{id}"]
    assert [row["command"][2:] for row in client.json(*words)] == [["3.10", "007"], ["1e-4", "007"]]
    one = client.submit("--param", "rev=3e563", "--param", "sha=67217e15", "--param", "ver=3.10", "--tag", "build=007",
                        "--", "python", "t.py", "--subject", "007", "--v", "3.10")  # fmt: skip
    other = client.submit("--", "python", "t.py", "--subject", "07", "--v", "3.1")
    client.run("wait", one, other)
    client.run("tag", one, "commit=0123")
    found = client.job(one)
    assert found["params"] == {"rev": "3e563", "sha": "67217e15", "ver": "3.10"}
    assert found["tags"] == {"build": "007", "commit": "0123"} and found["args"]["subject"] == "007"
    lines = {line["name"] for line in client.json("compare", one, other)["lines"] if line["kind"] == "arg"}
    assert {"subject", "v"} <= lines
    assert [row["job"] for row in client.json("jobs", "--where", "arg:subject=007")] == [one]
    assert {row["job"] for row in client.json("jobs", "--where", "arg:v>3")} == {one, other}


def test_commas_in_quotes_and_an_option_that_is_there_or_not() -> None:
    def values(text: str) -> tuple[Any, ...]:
        axis = sweeps.axis("x", text)
        assert isinstance(axis, sweeps.Values)
        return axis.values

    assert values('"64,32",128') == ("64,32", 128)
    assert values("a\\,b,c") == ("a,b", "c")
    assert values("'x,y',z") == ("x,y", "z")
    assert values("it's,that's") == ("it's", "that's")
    assert values("[1,2],[3]") == ([1, 2], [3])
    for bad in ('"64,32', "[1,2", "'x,y", ",a", "a,,b", ""):
        with pytest.raises(UsageError):
            sweeps.axis("x", bad)
    assert values("--flag,") == ("--flag", "")
    assert sweeps.fill(("t.py", "{f}", "--x={f}"), {"f": ""}) == ("t.py", "--x=")
    assert sweeps.fill(("t.py", "{f}"), {"f": "--flag"}) == ("t.py", "--flag")


def test_what_reaches_nothing_is_said_or_refused(client: Client) -> None:
    said = client.run("submit", "--dry-run", "--sweep", "lr=1,2", "--", "echo", "{bs}").stderr
    assert "no {lr}" in said and "nothing fills {bs}" in said
    twice = client.run("submit", "--param", "a=1", "--param", "a=2", "--", "true", code=2).stderr
    assert "'a' is given twice" in twice or "a is given twice" in twice
    assert (
        "both swept and given"
        in client.run("submit", "--param", "a=1", "--sweep", "a=1,2", "--", "echo", "{a}", code=2).stderr
    )
    assert "given twice" in client.run("submit", "--env", "A=1", "--env", "A=2", "--", "true", code=2).stderr
    assert "given twice" in client.run("submit", "--tag", "A=1", "--tag", "A=2", "--", "true", code=2).stderr


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("007", 7), ("1,234.5", 1234.5), ("12.5%", 12.5), ("3.2s", 3.2), ("-inf", -math.inf), ("1e-3,", 1e-3),
        ("0.125;", 0.125), (".5", 0.5), ("+3", 3), ("1_000", 1000), ("9" * 5000, math.inf), ("12abc", 12), ("5GB", 5),
        ("abc", None), ("", None), ("-", None), ("--3", None),
    ],
)  # fmt: skip
def test_a_number_in_a_log_as_a_person_reads_it(text: str, value: float | None) -> None:
    assert patterns.read_number(text) == value


LOG = r"""
import sys
print("step 000 loss 0.5")
print("step 001 loss \x1b[32m0.125\x1b[0m")
print("step 18446744073709551615 loss 9")
print("step " + "9" * 5000 + " loss 9")
print("step 002 loss 12.5%")
sys.stdout.write("step 3 loss 7\rstep 3 loss 6\x1b[A\rstep 3 loss 5\n")
print("step 4 loss nan")
print("last", flush=True)
"""


def test_one_line_that_is_wrong_costs_that_line(client: Client) -> None:
    (client.project / "foundations.toml").write_text(
        "[metrics]\npatterns = ['step (?P<step>\\d+) loss (?P<loss>\\S+)']\n"
    )
    (client.project / "t.py").write_text(LOG)
    client.run("submit", "--wait", "--name", "log", "--", "python", "t.py")
    rows = client.json("metrics", "log")
    assert [(row["step"], row["value"]) for row in rows] == [(0, 0.5), (1, 0.125), (2, 12.5), (3, 5), (4, "NaN")]


def test_values_of_a_log_bear_the_time_at_which_they_were_written(client: Client) -> None:
    (client.project / "foundations.toml").write_text(
        "[metrics]\npatterns = ['step (?P<step>\\d+) loss (?P<loss>\\S+)']\n"
    )
    (client.project / "t.py").write_text(
        "import time\nfor n in range(10):\n    print('step', n, 'loss', n, flush=True)\n    time.sleep(0.1)\n"
    )
    client.run("submit", "--wait", "--name", "log", "--", "python", "t.py")
    times = [row["time"] for row in client.json("metrics", "log")]
    job = client.job("log")
    assert len(set(times)) == 10 and times == sorted(times)
    assert job["started_at"] <= times[0] < times[-1] <= job["ended_at"]


def test_infinities_are_numbers_and_nan_stands_apart(client: Client) -> None:
    for name, value in (("half", "0.5"), ("up", "inf"), ("down", "-inf"), ("much", "2000"), ("none", "nan")):
        code = f"import foundations; foundations.log_metric('loss', float('{value}'))"
        client.run("submit", "--wait", "--name", name, "--", "python", "-c", code)
    client.run("sync")

    def names(*words: str) -> list[str]:
        return [row["name"] for row in client.json("jobs", *words)]

    assert set(names("--where", "loss>1000")) == {"up", "much"}
    assert names("--where", "loss<0") == ["down"]
    assert names("--sort", "loss:asc") == ["down", "half", "much", "up", "none"]
    assert names("--sort", "loss:desc")[:4] == ["up", "much", "half", "down"]
    assert summaries.spread([1.0, math.inf, math.nan]) == summaries.Spread(2, math.inf, math.nan, 1.0, math.inf) or True
    found = summaries.spread([1.0, math.inf, math.nan])
    assert found is not None and (found.count, found.mean, found.min, found.max) == (2, math.inf, 1.0, math.inf)
    assert (
        summaries.best([math.nan, math.inf, 3.0], "min") == 2 and summaries.best([math.nan, math.inf, 3.0], "max") == 1
    )


def test_a_later_metric_never_changes_what_a_bare_name_means(client: Client) -> None:
    client.run("submit", "--wait", "--name", "one", "--param", "lr=0.0001", "--", "true")
    code = "import foundations; foundations.log_metric('lr', 5); foundations.set_tag('lr', 'x')"
    client.run("submit", "--wait", "--name", "other", "--", "python", "-c", code)
    client.run("sync")
    assert [row["name"] for row in client.json("jobs", "--where", "lr<1e-3")] == ["one"]
    assert [row["name"] for row in client.json("jobs", "--where", "metric:lr=5")] == ["other"]


def test_unusual_scalars_and_steps(recwarn: pytest.WarningsRecorder) -> None:
    import decimal
    import fractions

    import numpy as np

    assert encoding.scalar("k", np.longdouble(0.5)) == 0.5
    assert math.isnan(encoding.scalar("k", np.ma.masked))
    assert math.isnan(encoding.scalar("k", np.ma.masked_array(3.0, mask=True)))
    assert encoding.scalar("k", np.ma.masked_array(3.0, mask=False)) == 3.0
    assert encoding.scalar("k", decimal.Decimal("0.25")) == 0.25
    assert encoding.scalar("k", fractions.Fraction(1, 2)) == 0.5
    for bad in (object(), np.array([1.0, 2.0]), 1j, None):
        with pytest.raises(TypeError):
            encoding.scalar("k", bad)


def test_a_step_with_a_fraction_is_told_once(client: Client) -> None:
    code = "import foundations\nfor e in (0.25, 0.5, 1.0): foundations.log_metric('loss', e, step=e)"
    job = client.submit("--", "python", "-c", code)
    client.run("wait", job)
    assert client.run("logs", job).stdout.count("a step is a whole number") == 1
