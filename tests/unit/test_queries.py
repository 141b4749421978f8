"""What a user may ask for: the language, what it finds in a real store, and where it points when it is wrong."""

from __future__ import annotations

import json
import math
import sqlite3
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings, strategies as st

from foundations import records
from foundations_tui.analysis import aggregate
from foundations_tui.store import queries, search, series, write_annotations, write_streams, writes
from foundations_tui.store.db import Store, open_reader
from foundations_tui.store.expressions import QueryError, parse_columns, parse_expression, parse_query, parse_sort
from foundations_tui.text import command_line
from remote_agent.protocol.jobs import JobSpec, JobView
from remote_agent.protocol.states import JobState
from tests.support.store import fill

NOW = 1_800_000_000.0
JOBS: dict[str, dict[str, Any]] = {
    "aaaaaa000001": {
        "command": ("python", "train.py", "--lr", "3e-4", "--amp"),
        "params": {"bs": 32},
        "tags": {"cnn": ""},
        "loss": [0.9, 0.2, 0.4],
        "state": JobState.COMPLETED,
        "age": 3600,
    },
    "aaaaaa000002": {
        "command": ("python", "train.py", "--lr=1e-2"),
        "params": {"bs": 64, "lr": 0.5},
        "tags": {"data": "v2"},
        "loss": [0.5, math.nan, 0.1],
        "state": JobState.FAILED,
        "age": 5 * 86400,
        "host": "gpu1",
    },
    "bbbbbb000003": {
        "command": ("python", "-m", "pkg", "model.lr=0.1", "größe"),
        "params": {"bs": "auto"},
        "loss": [],
        "state": JobState.LOST,
        "age": 60,
        "name": "50%_done",
        "project": "other",
    },
}


@pytest.fixture
def conn() -> Iterator[sqlite3.Connection]:
    store = Store()
    for job, facts in JOBS.items():
        put(store, job, **facts)
    write_annotations.put_annotations(
        store, ["aaaaaa000002"], {"starred": True, "archived": True, "note": "look here"}, NOW
    )
    store.close()
    reader = open_reader()
    yield reader
    reader.close()


def put(store: Store, job: str, **facts: Any) -> None:
    spec = JobSpec(
        job,
        facts["command"],
        "0" * 40,
        project=facts.get("project", "p"),
        name=facts.get("name", ""),
        params=facts["params"],
        tags=facts.get("tags", {}),
        metrics={"direction": {"loss": "min"}},
        created_at=NOW - facts["age"],
    )
    view = JobView(spec, facts["state"], 1, 1, started_at=NOW - facts["age"], ended_at=NOW - facts["age"] + 30)
    with store.transaction():
        writes._put_view(store, facts.get("host", "local"), "j", view)
    lines = b"".join(records.encode_metric(NOW, "loss", n, v) for n, v in enumerate(facts["loss"]))
    put_records(store, job, records.HEADER + lines)


def put_records(store: Store, job: str, page: bytes, writer: str = "w", offset: int = 0) -> None:
    host = store.conn.execute("SELECT host FROM jobs WHERE job = ?", [job]).fetchone()["host"]
    write_streams.put_sizes(store, host, [(job, 1, f"records/{writer}", offset + len(page))])
    assert write_streams.put_records_page(store, job, 1, f"records/{writer}", offset, page) == len(page)


def found(conn: sqlite3.Connection, query: str) -> str:
    """Return the last digits of the jobs that a query finds, in order."""
    which = queries.JobFilter(query=query, directions={"loss": "min"})
    compiled = search.QueryCompiler(conn, which.directions, NOW).where(query)
    rows = conn.execute(f"SELECT job FROM jobs j WHERE {compiled.text} ORDER BY job", compiled.args)
    return "".join(row[0][-1] for row in rows)


@pytest.mark.parametrize(
    ("query", "jobs"),
    [
        ("", "123"),
        ("state=failed", "2"),
        ("state=failed,lost", "23"),
        ("state!=failed", "13"),
        ("state!=failed,lost", "1"),
        ("not state=failed", "13"),
        ("lr<1e-3", "1"),
        ("lr>=0.0003", "12"),
        ("param:lr=0.5", "2"),
        ("arg:lr=0.01", "2"),
        ("lr=0.5", "2"),
        ("arg:amp=true", "1"),
        ("model.lr=0.1", "3"),
        ("bs=32", "1"),
        ("bs=auto", "3"),
        ("bs!=32", "23"),
        ("bs>1", "12"),
        ("lr!=0.5", "1"),
        ("loss<0.3", "2"),
        ("loss:min<0.3", "12"),
        ("loss:max>0.6", "1"),
        ("loss:best<0.15", "2"),
        ("loss:count=3", "12"),
        ("loss:first=0.9", "1"),
        ("metric:loss", "12"),
        ("tag:cnn", "1"),
        ("tag:data=v2", "2"),
        ("tag:data~V", "2"),
        ("tag:cnn or tag:data", "12"),
        ("host=gpu1", "2"),
        ("age<2d", "13"),
        ("age<2h bs=32", "1"),
        ("created>2026-01-01", "123"),
        ("created>2h", "13"),
        ("duration<1m and duration>=30", "123"),
        ("project=other", "3"),
        ("name~50%_", "3"),
        ("name~5%d", ""),
        ("größe", "3"),
        ("command~'train.py'", "12"),
        ("CNN", "1"),
        ("aaaaaa", "12"),
        ("job=bbb", "3"),
        ("note~look", "2"),
        ("is:starred", "2"),
        ("not is:archived", "13"),
        ("(tag:cnn or is:starred) and not state=failed", "1"),
        ("tag:cnn tag:data", ""),
        ("NOT tag:cnn AND NOT tag:data", "3"),
        ("name=''", "12"),
        ("exit=0", ""),
        ("not exit=0", "123"),
        ("bs<1" + "0" * 400, "12"),
        ("metric:loss=1000000000000000000000000000001", ""),
    ],
)
def test_what_a_query_finds(conn: sqlite3.Connection, query: str, jobs: str) -> None:
    assert found(conn, query) == jobs


@pytest.mark.parametrize(
    ("query", "at", "problem"),
    [
        ("state=faild", 6, "there is no state 'faild'"),
        ("lr<", 3, "a value is needed behind <"),
        ("lrr<1", 0, "no job has a parameter, argument, metric or tag 'lrr'"),
        ("bs=32 and (tag:cnn", 10, "this '(' is not closed"),
        ("bs=32)", 5, "this ')' closes nothing"),
        ("age<soon", 4, "age is compared with a time"),
        ("created>yesterday", 8, "created is compared with a date"),
        ("gpus<many", 5, "gpus is compared with a number"),
        ("lr<small", 3, "< needs a number"),
        ("name<b", 5, "name is text"),
        ("age~2", 0, "age is no text"),
        ("or", 0, "a condition is needed here"),
        ("tag:cnn and", 11, "a condition is needed here"),
        ("note='x", 5, "this quote is not closed"),
        ("lr<1,2", 5, "< takes one value"),
        ("is:old", 0, "is:old is not known"),
        ("is:starred=1", 10, "is:starred stands alone"),
        ("acc:best>1", 0, "no job has"),
        ("metric:loss=[1]", 12, "one value at a time"),
        ("(" * 61, 60, "nested at most"),
    ],
)
def test_an_error_points_at_its_place(conn: sqlite3.Connection, query: str, at: int, problem: str) -> None:
    with pytest.raises(QueryError) as caught:
        search.QueryCompiler(conn).where(query)
    lines = str(caught.value).splitlines()
    assert problem in lines[0] and lines[1] == f"  {query}" and lines[2].index("^") == at + 2


def test_a_parameter_wins_over_a_metric_and_a_wrong_name_tells_the_nearest(conn: sqlite3.Connection) -> None:
    store = Store()
    put_records(store, "bbbbbb000003", records.encode_pair("p", NOW, "loss", 1), "x")
    store.close()
    assert found(conn, "loss=1") == "3" and found(conn, "loss<1") == "", "a parameter wins, whatever is logged later"
    assert found(conn, "metric:loss<1") == "12" and found(conn, "param:loss=1") == "3"
    with pytest.raises(QueryError) as caught:
        search.QueryCompiler(conn).where("los<1")
    assert caught.value.hint == "did you mean 'loss'?"
    with pytest.raises(QueryError, match="which 'loss' is best is not known"):
        search.QueryCompiler(conn).where("loss:best<1")


def test_sorting_puts_numbers_first_and_what_is_missing_last(conn: sqlite3.Connection) -> None:
    def order(sort: str) -> str:
        return "".join(row.job[-1] for row in queries.jobs(conn, queries.ALL, sort))

    assert order("loss:min") == "213" and order("loss:min:desc") == "123"
    assert order("bs") == "123" and order("bs:desc") == "213"
    assert order("age") == "312" and order("created") == "312" and order("created:asc") == "213"
    assert order("lr") == "123" and order("name") == "123" or order("name") == "312"


def test_columns_have_the_values_themselves(conn: sqlite3.Connection) -> None:
    wanted = parse_columns("job,bs,lr,loss,loss:max,tag:data,is:starred,command")
    got = queries.values(conn, queries.ALL, wanted, list(JOBS))
    assert got["aaaaaa000002"][:7] == ["aaaaaa000002", 64, 0.5, 0.1, 0.5, "v2", True]
    assert got["bbbbbb000003"][1:5] == ["auto", None, None, None]
    assert got["aaaaaa000001"][7] == "python train.py --lr 3e-4 --amp"


def test_groups_have_mean_and_deviation() -> None:
    groups = aggregate.group([["a", 1.0], ["b", 5], ["a", 3.0], ["a", math.nan], [None, "x"]])
    assert [(one.value, one.jobs) for one in groups] == [("a", 3), ("b", 1), (None, 1)]
    first = groups[0].columns[0]
    assert first is not None and (first.count, first.mean, first.min, first.max) == (2, 2.0, 1.0, 3.0)
    assert first.deviation == pytest.approx(math.sqrt(2)) and groups[2].columns == [None]
    assert aggregate.best([3, None, "x", 1, math.nan], "min") == 3 and aggregate.best([3, 4], "max") == 1


def test_expressions_are_read() -> None:
    def parts(text: str) -> tuple[str, str, str]:
        one = parse_expression(text)
        return one.kind, one.name, one.aggregate

    assert parts("metric:val/loss:min") == ("metric", "val/loss", "min")
    assert parts('metric:"a:min"') == ("metric", "a:min", "")
    assert parts("a:b:max") == ("", "a:b", "max") and parts("tag:min") == ("tag", "min", "")
    assert parts("state") == ("field", "state", "") and parts('"state"') == ("", "state", "")
    assert parse_sort("x:desc")[1] is True and parse_sort("x:asc")[1] is False and parse_sort("x")[1] is None


@given(st.text(max_size=60))
@settings(max_examples=300)
def test_any_text_is_read_or_refused_with_its_place(text: str) -> None:
    for read in (parse_query, parse_expression, parse_sort, parse_columns):
        try:
            read(text)
        except QueryError as error:
            assert 0 <= error.position <= len(text)


_NAMES = st.text(st.characters(exclude_characters="\"'", exclude_categories=["Cs"]), min_size=1, max_size=20)


@given(key=_NAMES, value=st.text(st.characters(exclude_characters="\"'", exclude_categories=["Cs"]), max_size=20))
@settings(max_examples=100)
def test_no_key_and_no_value_becomes_sql(key: str, value: str) -> None:
    memory = sqlite3.connect(":memory:")
    memory.execute("CREATE TABLE jobs (job, attempt)")
    memory.execute("CREATE TABLE series (key, job, attempt, last)")
    memory.execute("CREATE TABLE facts (kind, key, job, value, number)")
    memory.executemany("INSERT INTO jobs VALUES (?, 1)", [("a",), ("b",)])
    memory.execute("INSERT INTO facts VALUES ('param', ?, 'a', ?, NULL)", [key, json.dumps(value)])
    compiled = search.QueryCompiler(memory, now=NOW).where(f"param:'{key}'='{value}'")
    rows = memory.execute(f"SELECT job FROM jobs j WHERE {compiled.text}", compiled.args).fetchall()
    assert rows == [("a",)]
    memory.close()


@pytest.mark.parametrize(
    ("command", "shown"),
    [
        (["python", "t.py", "--lr", "3e-4"], {"lr": 3e-4}),
        (["python", "t.py", "--lr=3e-4", "-b", "32"], {"lr": 3e-4, "b": 32}),
        (["python", "t.py", "lr=0.1", "+a.b=x", "data@train=c"], {"lr": 0.1, "a.b": "x", "data@train": "c"}),
        (["python", "t.py", "--amp", "--name", "x y", "--no-x"], {"amp": True, "name": "x y", "no-x": True}),
        (["python", "t.py", "--betas", "0.9", "0.99", "--s", "-1"], {"betas": [0.9, 0.99], "s": -1}),
        (["torchrun", "--nproc_per_node", "2", "t.py", "--lr", "1"], {"lr": 1}),
        (["python", "-m", "pkg.train", "--x=", "--", "--y", "True"], {"x": "", "y": True}),
        (["./train", "--j", '{"a": 1}', "--l=[1, 2]", "--n=null"], {"j": '{"a": 1}', "l": [1, 2], "n": "null"}),
        (["python", "t.py", "data.csv", "--inf=Infinity"], {"inf": "Infinity"}),
        (["true"], {}),
    ],
)
def test_a_command_line_is_parameters(command: list[str], shown: dict[str, Any]) -> None:
    assert command_line.parse(command) == shown


@given(st.lists(st.text(max_size=30), max_size=10))
def test_any_command_line_is_read(words: list[str]) -> None:
    json.dumps(command_line.parse(words))
    json.dumps(command_line.parse(words[:1], shell=True))


# --- series -----------------------------------------------------------------------------------------------------


def test_values_come_back_as_they_were_logged() -> None:
    values = [10**40, -(10**30), 2**63, 1 << 62, 0.1, True, "text", "NaN", math.inf]
    store = Store()
    put(store, "cccccc000001", command=("true",), params={}, loss=values, state=JobState.RUNNING, age=1)
    got = [row.value for row in queries.metrics(store.conn, "cccccc000001", 1)]
    assert got == [10**40, -(10**30), 2**63, 1 << 62, 0.1, True, "text", "NaN", "Infinity"]
    summary = queries.job(store.conn, "cccccc000001").metrics["loss"]
    assert summary.first == 10**40 and summary.last == "Infinity" and summary.count == 9
    store.close()


def test_files_of_one_attempt_are_merged_by_time_then_writer_then_offset() -> None:
    store = Store()
    put(store, "cccccc000002", command=("true",), params={}, loss=[], state=JobState.RUNNING, age=1)
    for writer, moment in (("b", 5.0), ("a", 5.0), ("c", 4.0)):
        page = records.encode_metric(moment, "m", 0, writer) + records.encode_metric(moment, "m", 1, writer + "2")
        page += records.encode_pair("p", moment, "who", writer)
        put_records(store, "cccccc000002", page, writer)
    row = queries.job(store.conn, "cccccc000002")
    assert row.params["who"] == "b" and row.metrics["m"].count == 6 and row.metrics["m"].first == "c"
    assert [one.value for one in queries.metrics(store.conn, "cccccc000002", 1)][0:2] == ["c", "c2"]
    store.close()


def test_a_long_series_has_rollups_that_add_up() -> None:
    store = Store()
    count = series.LONG + 3 * series.BUCKET + 7
    put(store, "cccccc000003", command=("true",), params={}, loss=[], state=JobState.RUNNING, age=1)
    offset = 0
    for start in range(0, count, 1000):
        page = b"".join(
            records.encode_metric(n, "m", n, math.nan if n == 5 else float(n))
            for n in range(start, min(start + 1000, count))
        )
        put_records(store, "cccccc000003", page, "w2", offset)
        offset += len(page)
    curve = queries.curve(store.conn, "cccccc000003", 1, "m")
    assert sum(one.count for one in curve) == count and curve[0].non_finite == 1
    assert curve[0].min == 0 and curve[-1].max == count - 1 and curve[-1].step_max == count - 1
    assert len(curve) == -(-count // series.BUCKET)
    assert [one.step_min for one in curve] == [n * series.BUCKET for n in range(len(curve))]
    store.close()


def test_a_store_of_the_first_version_is_taken_over() -> None:
    from sqlite_utils import Database

    from foundations_tui.config import locations
    from foundations_tui.store import migrations

    locations.store_file().parent.mkdir(parents=True, exist_ok=True)
    db = Database(locations.store_file())
    migrations.migrations.apply(db, stop_before="m003_tracking")
    db.execute(
        "INSERT INTO jobs (job, host, state, attempt, spec, command, usage, gpus, created_at)"
        " VALUES ('dddddd000001', 'local', 'completed', 1, '{}', '[]', '{}', '[]', 1)"
    )
    db.execute("INSERT INTO params VALUES ('dddddd000001', 'lr', '0.1', 5)")
    db.execute("INSERT INTO tags VALUES ('dddddd000001', 't', '\"x\"', 5)")
    for step, value in enumerate((3.0, "NaN", 1.0)):
        db.execute(
            "INSERT INTO metrics VALUES ('dddddd000001', 1, 'w', ?, 'loss', ?, ?, ?)",
            [step * 9, step, value, 10.0 + step],
        )
    db.execute("INSERT INTO metric_summary VALUES ('dddddd000001', 1, 'loss', 1.0, 1.0, 3.0, 3, 2, 12.0)")
    db.conn.commit()
    db.close()
    conn = open_reader()
    row = queries.job(conn, "dddddd000001")
    assert row.params == {"lr": 0.1} and row.tags == {"t": "x"}
    assert row.metrics["loss"].first == 3.0 and row.metrics["loss"].count == 3
    assert [one.value for one in queries.metrics(conn, "dddddd000001", 1)] == [3.0, "NaN", 1.0]
    assert found(conn, "lr=0.1 and loss<2") == "1"
    conn.close()


def test_gpu_hours_are_those_of_the_time_that_is_asked_for() -> None:
    fill(3)
    store = Store()
    with store.transaction() as conn:
        conn.execute("UPDATE jobs SET project = 'p', gpus = '[\"a\", \"b\"]', started_at = 100, ended_at = 200")
        conn.execute("UPDATE jobs SET ended_at = NULL WHERE job = ?", ["0" * 12])
        conn.execute("UPDATE jobs SET gpus = '[]' WHERE job = ?", [f"{2:012x}"])
    assert queries.gpu_seconds(store.conn, 150, 300) == {("local", "p"): 2 * 50 + 2 * 150}
    assert queries.gpu_seconds(store.conn, 400, 500) == {("local", "p"): 200.0}
    store.close()


@pytest.mark.parametrize(
    ("query", "count"),
    [("param:x=inf", 1), ("param:x=Infinity", 1), ("param:x=-inf", 0), ("param:y=nan", 1), ("m=inf", 1), ("m=NaN", 0)],
)
def test_what_is_no_finite_number_is_found(query: str, count: int) -> None:
    fill(2)
    store, job = Store(), "0" * 12
    write_streams.put_sizes(store, "local", [(job, 1, "records/w", 1 << 40)])
    said = [("x", math.inf), ("y", math.nan)]
    page = b"".join(records.encode_pair(records.PARAM, 1e9, key, value) for key, value in said)
    write_streams.put_records_page(store, job, 1, "records/w", 0, page + records.encode_metric(1e9, "m", 0, math.inf))
    assert len(queries.jobs(store.conn, queries.JobFilter(query=query))) == count
    store.close()
