"""What was typed is what there is: numbers, ids, steps, and what nothing fills."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, strategies as some

from foundations import encoding
from foundations_tui.analysis import aggregate
from foundations_tui.errors import UsageError
from foundations_tui.ingest import log_patterns
from foundations_tui.sweeps import grid
from foundations_tui.text import command_line
from foundations_tui.text.command_line import literal, number
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
    assert grid.text_of(literal(word)) == word


@pytest.mark.parametrize(
    "word", ["1e-4", "3e-4", "1E3", "1e5", "0.1", ".5", "5.", "9e-08", "1.0e-4", "-2.5e+10", "1.0"]
)
def test_what_people_write_as_a_number_is_one_and_goes_on_as_typed(word: str) -> None:
    found = literal(word)
    assert isinstance(found, float) and found == float(word) and grid.text_of(found) == word
    assert json.loads(json.dumps(found)) == float(word)


@pytest.mark.parametrize(
    "word", ["[1.10,3.10]", "[67217e15]", "[1e-400]", "[[007]]", " 1", "1\n", '"\\ud800"', '"a\\u0000b"']
)
def test_lists_and_quoted_texts_that_do_not_write_back_stay_text(word: str) -> None:
    assert literal(word) == word


def test_dates_and_times_are_no_ranges() -> None:
    with pytest.raises(UsageError, match="begins with a 0"):
        grid.axis("when", "01:05:2024")
    for text in ("'01:05:2024'", "'12:30:00'", "1:2:3:4", "09:00:17:00"):
        assert grid.axis("when", text) == grid.Values((text.strip("'"),))


@pytest.mark.parametrize("text", ["1:10:x1.0000001", "1e16:10000000000000004:1"])
def test_a_range_that_cannot_be_met_is_refused(text: str) -> None:
    with pytest.raises(UsageError):
        grid.axis("x", text)


def test_a_range_in_the_exponent_spans_all_numbers() -> None:
    found = grid.axis("x", "log:1e-320:1e308:3")
    assert isinstance(found, grid.Values) and all(map(math.isfinite, found.values))


@given(some.one_of(some.floats(allow_nan=False, allow_infinity=False), some.integers()))
def test_every_number_as_python_writes_it_is_that_number(value: float) -> None:
    found = literal(repr(value))
    assert (type(found) in (int, command_line.Typed, float)) and found == value and grid.text_of(found) == repr(value)


@given(some.text(max_size=12))
def test_any_word_goes_on_as_typed_or_is_json(word: str) -> None:
    found = literal(word)
    if isinstance(found, int | float) and not isinstance(found, bool):
        assert grid.text_of(found) == word.strip() or word != word.strip()
    number(word)
    log_patterns.read_number(word)


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
        axis = grid.axis("x", text)
        assert isinstance(axis, grid.Values)
        return axis.values

    assert values('"64,32",128') == ("64,32", 128)
    assert values("a\\,b,c") == ("a,b", "c")
    assert values("'x,y',z") == ("x,y", "z")
    assert values("it's,that's") == ("it's", "that's")
    assert values("[1,2],[3]") == ([1, 2], [3])
    for bad in ('"64,32', "[1,2", "'x,y", ",a", "a,,b", ""):
        with pytest.raises(UsageError):
            grid.axis("x", bad)
    assert values("--flag,") == ("--flag", "")
    assert grid.fill(("t.py", "{f}", "--x={f}"), {"f": ""}) == ("t.py", "--x=")
    assert grid.fill(("t.py", "{f}"), {"f": "--flag"}) == ("t.py", "--flag")


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
        ("abc", None), ("", None), ("-", None), ("--3", None), ("--inf", None), ("0,5", None), ("0x1F", None),
        ("10^5", None), ("3/10", None), ("12:30", None), ("1.5D-03", None), ("\u22125", -5), ("12.5 (best)", 12.5),
        ("3.2s/it", 3.2), ("12.5(\xb10.3)", 12.5), ("1.2.3", None),
    ],
)  # fmt: skip
def test_a_number_in_a_log_as_a_person_reads_it(text: str, value: float | None) -> None:
    assert log_patterns.read_number(text) == value


@pytest.mark.parametrize(
    ("line", "read"),
    [
        (b"12.5\b\b\b\b7.25", "7.25"), (b"loss=1\x1b[1Gloss=2", "loss=2"), (b"\x1bPq loss=3\x1b\\loss=1", "loss=1"),
        (b"\b\bx", "x"), (b"a\rb\r", "b"),
    ],
)  # fmt: skip
def test_a_line_is_read_as_it_stands_on_a_screen(line: bytes, read: str) -> None:
    assert log_patterns.as_read(line) == read


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
    assert aggregate.spread([1.0, math.inf, math.nan]) == aggregate.Spread(2, math.inf, math.nan, 1.0, math.inf) or True
    found = aggregate.spread([1.0, math.inf, math.nan])
    assert found is not None and (found.count, found.mean, found.min, found.max) == (2, math.inf, 1.0, math.inf)
    assert (
        aggregate.best([math.nan, math.inf, 3.0], "min") == 2 and aggregate.best([math.nan, math.inf, 3.0], "max") == 1
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


GOES_ON = """
import os, foundations
path = os.path.join(os.environ["FOUNDATIONS_CHECKPOINT_DIR"], "step")
begin = int(open(path).read()) if os.path.exists(path) else 0
for step in range(begin, begin + 6):
    foundations.log_metric("loss", step + 100.0 * (begin == 0), step=step)
    if step % 2 == 0 and begin == 0:
        foundations.log_metric("val", 1.0 * step, step=step)
open(path, "w").write(str(begin + 4))
print("attempt", os.environ["FOUNDATIONS_ATTEMPT"])
raise SystemExit(begin == 0)
"""


def test_a_job_that_went_on_from_a_checkpoint_has_one_series(client: Client) -> None:
    (client.project / "t.py").write_text(GOES_ON)
    job = client.submit("--retries", "1", "--retry-on", "failed", "--", "python", "t.py")
    client.run("wait", job)
    client.run("sync")
    whole = [(n, 100.0 + n) for n in range(4)] + [(n, float(n)) for n in range(4, 10)]
    assert [(row["step"], row["value"]) for row in client.json("metrics", job, "--key", "loss")] == whole
    found = client.job(job)["metrics"]
    assert found["loss"] == {"first": 100.0, "last": 9.0, "min": 4.0, "max": 103.0, "count": 10, "step": 9}
    assert found["val"]["count"] == 2, "what the later attempt has not logged goes up to where it took over"
    alone = [client.json("metrics", job, "--key", "loss", "--attempt", n) for n in "12"]
    assert [[row["step"] for row in rows] for rows in alone] == [list(range(6)), list(range(4, 10))]
    assert client.run("logs", job, "--attempt", "1").stdout == "attempt 1\n"
    assert client.run("logs", job).stdout == "attempt 1\nattempt 2\n"
    assert "no attempt 3" in client.run("logs", job, "--attempt", "3", code=3).stderr


def test_lines_of_earlier_attempts_have_their_own_times(client: Client) -> None:
    """Nobody looked while they ran: their lines are read all at once."""
    (client.project / "foundations.toml").write_text(
        "[metrics]\npatterns = ['step (?P<step>\\S+) loss (?P<loss>\\S+)']\n"
    )
    (client.project / "a.sh").write_text(
        "case $FOUNDATIONS_ATTEMPT in\n1) echo step 0 loss 9; echo step 1 loss 8; exit 1;;\n"
        "2) echo step 2 loss 7; echo step 3 loss 6; exit 1;;\n*) echo step 4 loss 5; echo step q loss 2;;\nesac\n"
    )
    job = client.submit("--retries", "2", "--retry-on", "failed", "--", "sh", "a.sh")
    client.run("wait", job)
    values = client.json("metrics", job, "--key", "loss")
    assert [(one["step"], one["value"]) for one in values] == [(n, 9.0 - n) for n in range(5)]
    assert client.job(job)["metrics"]["loss"]["last"] == 5.0
    assert [one["step"] for one in client.json("metrics", job, "--key", "loss", "--attempt", "2")] == [2, 3]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("0:1:0.25", "0 0.25 0.5 0.75 1"),
        ("0.12345678901:1:0.5", "0.12345678901 0.62345678901"),
        ("12345678901.5:12345678999.5:49", "12345678901.5 12345678950.5 12345678999.5"),
        ("log:1.23456789:10:3", "1.23456789 3.51364 10"),
        ("log:1:1000:4", "1 10 100 1000"),
        ("32:128:x2", "32 64 128"),
        ("0.1:0.3:x3", "0.1 0.3"),
        ("-1:1:1", "-1 0 1"),
        ("1_0:2_0:5", "1_0:2_0:5"),
        ("\u0663:\u0665:\u0661", "\u0663:\u0665:\u0661"),
        ("nan:1:0.1", "nan:1:0.1"),
    ],
)
def test_a_range_is_exact_to_its_last_digit(text: str, words: str) -> None:
    found = grid.axis("a", text)
    assert isinstance(found, grid.Values) and " ".join(map(grid.text_of, found.values)) == words


def test_truth_values_and_lists_reach_a_command_as_they_were_typed() -> None:
    key, axis = grid.parse('a=True,false,[1,2],\'[1,2]\',["\u00e9"],{"k":1}')
    typed = grid.typed_words({key: axis})
    words = [grid.fill(("{a}",), one, typed)[0] for one in grid.expand({key: axis})]
    assert words == ["True", "false", "[1,2]", "[1,2]", '["\u00e9"]', '{"k":1}']
    assert [one["a"] for one in grid.expand({key: axis})][:3] == [True, False, [1, 2]], "they are what they are"


def test_infinities_count_in_groups_and_nan_is_beyond_comparison(client: Client) -> None:
    for value in ("inf", "3", "nan", "-1"):
        code = f"import foundations; foundations.log_metric('q', float('{value}'))"
        client.run("submit", "--wait", "--", "python", "-c", code)
    (group,) = client.json("jobs", "--group-by", "project", "--columns", "metric:q")
    assert group["columns"]["metric:q"]["count"] == 3 and group["columns"]["metric:q"]["max"] == "Infinity"
    assert client.json("jobs", "--where", "metric:q>nan") == client.json("jobs", "--where", "metric:q<=nan") == []
    assert command_line.parse(["t.py", "--low", "-inf", "--high", "inf"]) == {"low": "-inf", "high": "inf"}


def test_many_attempts_leave_each_point_once_at_a_whole_place() -> None:
    from foundations_tui.store import series
    from foundations_tui.store.db import Store

    store, attempts = Store(), 12
    job = "a" * 12
    for attempt in range(1, attempts + 1):
        with store.transaction() as conn:
            begin = 4 * (attempt - 1)
            points = [(float(begin + n), (1 << 40) + n, begin + n, 1.0 * n) for n in range(6)]
            series.put(conn, job, attempt, "w", {"loss": points})
    own, inherited = store.conn.execute(
        "SELECT COUNT(*), SUM(p.writer IN (SELECT id FROM writers WHERE name = 'inherited')) FROM points p"
        " JOIN series s ON s.id = p.series WHERE s.attempt = ?",
        [attempts],
    ).fetchone()
    assert (own, inherited) == (4 * (attempts - 1) + 6, 4 * (attempts - 1))
    assert store.conn.execute("SELECT DISTINCT typeof(offset) FROM points").fetchall()[0][0] == "integer"
    assert store.conn.execute("SELECT MAX(offset) FROM points").fetchone()[0] < 1 << 52
    store.close()


def test_late_records_of_an_earlier_attempt_and_a_start_from_the_beginning() -> None:
    from foundations_tui.store import queries, series
    from foundations_tui.store.db import Store

    store = Store()

    def put(job: str, attempt: int, steps: range, time: float) -> None:
        points = [(time + n, n, n, float(n)) for n in steps]
        with store.transaction() as conn:
            series.put(conn, job, attempt, "w", {"loss": points})

    put("late", 1, range(3), 0.0)
    put("late", 2, range(5, 8), 100.0)
    put("late", 1, range(3, 7), 0.0)
    assert [row.step for row in queries.metrics(store.conn, "late", 2)] == list(range(8))
    put("again", 1, range(5), 0.0)
    put("again", 2, range(3), 100.0)
    assert [row.step for row in queries.metrics(store.conn, "again", 2)] == [0, 1, 2]
    put("long", 1, range(5000), 0.0)
    put("long", 2, range(4000, 9000), 100_000.0)
    assert len(queries.metrics(store.conn, "long", 2)) == 9000
    assert sum(point.count for point in queries.curve(store.conn, "long", 2, "loss")) == 9000
    assert len(queries.metrics(store.conn, "long", 2, alone=True)) == 5000
    put("thrice", 1, range(4), 0.0)
    put("thrice", 2, range(2, 6), 100.0)
    put("thrice", 3, range(4, 8), 200.0)
    rows = queries.metrics(store.conn, "thrice", 3)
    assert [(row.step, row.time) for row in rows] == list(enumerate([0, 1, 102, 103, 204, 205, 206, 207]))
    store.close()


def test_what_stands_at_the_very_end_of_a_page_is_found(client: Client) -> None:
    """A page of exactly 4 MiB whose last line goes on in the next one."""
    (client.project / "foundations.toml").write_text("[metrics]\npatterns = ['last (?P<loss>\\S+)']\n")
    code = "import sys; w = sys.stdout.write; w('x' * 99 + '\\n')"
    code += "; [w('y' * 999 + '\\n') for _ in range(4194)]; w('last 5\\n' * 3); w('z' * 100)"
    client.run("submit", "--wait", "--name", "log", "--", "python", "-c", code)
    assert client.json("metrics", "log", "--key", "loss")[-1]["value"] == 5
    assert client.job("log")["metrics"]["loss"]["count"] == 3
