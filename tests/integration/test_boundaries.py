"""What one host, client or job says can shut out no other: pages, types, ranges, lengths, endless answers."""

from __future__ import annotations

import copy
import json
import sqlite3
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings, strategies as some

from foundations_tui.session import Session
from foundations_tui.store import write_annotations, write_records, write_streams, writes
from foundations_tui.store.db import Store
from remote_agent.core.events import JournalEntry
from remote_agent.core.state import HostState, apply
from remote_agent.protocol import checks, framing, messages
from remote_agent.protocol.errors import BadRequest
from remote_agent.protocol.jobs import MOST_SPEC_BYTES, SPEC_CHECKS, VIEW_CHECKS, JobSpec, JobView
from remote_agent.protocol.resources import Resources
from remote_agent.protocol.states import JobState
from tests.support import agents
from tests.support.client import Client, use_slots, wait_until
from tests.support.evil import Evil
from tests.support.sshd import Sshd

WRONG: list[Any] = [
    None,
    "x",
    -1,
    2**70,
    1e300,
    float("inf"),
    float("nan"),
    [],
    {},
    True,
    "\ud800",
    "a\0b",
    "x" * 10_000_000,
    [[[]]],
    -(10**400),
]


def view(job: str, **facts: Any) -> JobView:
    spec = JobSpec(job, ("python", "t.py"), "0" * 40, name="n", created_at=1.7e9)
    known = {"attempt": 1, "started_at": 1.7e9, "queued_at": 1.7e9, **facts}
    return JobView(spec, known.pop("state", JobState.RUNNING), known.pop("seq", 3), **known)


# --- descriptions -----------------------------------------------------------------------------------------------


def test_every_request_and_answer_is_described() -> None:
    from remote_agent.daemon import handlers

    assert {*handlers._TABLE, messages.Put} == set(messages.REQUESTS.values())
    assert all(kind.ANSWER.__doc__ and kind.__doc__ for kind in messages.REQUESTS.values())


@pytest.mark.parametrize("method", sorted(messages.REQUESTS))
def test_no_request_takes_what_makes_no_sense(method: str) -> None:
    for value in WRONG:
        with pytest.raises(BadRequest) if not isinstance(value, dict) and value is not None else _nothing():
            messages.request_from_wire(method, value)


class _nothing:
    def __enter__(self) -> None: ...

    def __exit__(self, kind: Any, *_: object) -> bool:
        return kind is None or issubclass(kind, BadRequest)


@pytest.mark.parametrize("name", sorted(SPEC_CHECKS))
def test_every_field_of_a_specification_is_checked(name: str) -> None:
    good = view("a").spec.to_wire()
    for value in WRONG:
        try:
            JobSpec.from_wire({**good, name: value}).check()
        except BadRequest as error:
            assert len(str(error)) < 1000
        problems: list[str] = []
        got = JobView.received({**view("a").to_wire(), "spec": {**good, name: value}}, problems)
        json.dumps(got.to_wire(), allow_nan=False)
        assert got.spec.job == "a"
        with sqlite3.connect(":memory:") as conn:
            conn.execute("SELECT ?, ?, ?", [got.spec.priority, got.spec.created_at, got.rank])


@pytest.mark.parametrize("name", sorted(VIEW_CHECKS))
def test_every_field_of_a_view_is_checked(name: str) -> None:
    for value in WRONG:
        problems: list[str] = []
        got = JobView.received({**view("a").to_wire(), name: value}, problems)
        json.dumps(got.to_wire(), allow_nan=False)
    for bad in WRONG:
        with pytest.raises(BadRequest):
            JobView.received({**view("a").to_wire(), "seq": bad if bad not in (1, True) else "x"}, [])


def test_a_large_specification_is_refused_by_the_name_of_its_field(client: Client) -> None:
    (client.project / "p.json").write_text(json.dumps({"a": "v" * 9_000_000}))
    said = client.run("submit", "--params-file", "p.json", "--", "true", code=2).stderr
    assert "params" in said and "9,000,0" in said and client.json("jobs") == []


# --- pages ------------------------------------------------------------------------------------------------------


def state_of(*views: JobView) -> HostState:
    state = HostState()
    for number, one in enumerate(views, 1):
        wire = {**one.to_wire(), "seq": number}
        line = {"seq": number, "time": 1.0, "type": "view", "view": wire, "lease": {"cpus": 1}, "job": one.spec.job}
        apply(state, JournalEntry.from_wire(line))
    return state


@settings(max_examples=40)
@given(some.lists(some.integers(0, 200_000), min_size=1, max_size=30))
def test_pages_close_by_bytes_and_tell_all(sizes: list[int]) -> None:
    views = []
    for number, size in enumerate(sizes):
        spec = JobSpec(f"j{number}", ("true",), "0" * 40, params={"a": "x" * size})
        views.append(JobView(spec, JobState.QUEUED, 1))
    state = state_of(*views)
    after, seen, pages = 0, [], 0
    while after < state.seq:
        page = state.changes(after, framing.PAGE_BYTES, 2000)
        assert page.seq > after, "a page makes progress"
        assert len(json.dumps(page.jobs)) + len(json.dumps(page.large)) < framing.PAGE_BYTES + 5000
        seen += [wire["spec"]["job"] for wire in page.jobs] + [job for job, _, _ in page.large]
        after, pages = page.seq, pages + 1
    assert sorted(seen) == sorted(f"j{n}" for n in range(len(sizes)))


@pytest.mark.slow
def test_what_an_older_agent_took_is_read_stopped_and_deleted(client: Client) -> None:
    """Two waiting jobs of 9 MB each in the journal of an agent that had no limits."""
    use_slots(client, 1)
    first = client.submit("--", "sleep", "600")
    client.wait_until(first, "running")
    root = client.home / "agent"
    agents.kill_daemon(root)
    from remote_agent.storage.journal import decode_lines, encode_line

    lines = list(decode_lines((root / "journal").read_bytes()))
    seq = lines[-1][0]["seq"]
    spec = client_spec(root, first)
    with (root / "journal").open("ab") as file:
        for number in range(2):
            large = {**spec, "job": f"large{number}", "params": {"a": "v" * 9_000_000}}
            event = {"seq": seq + 1 + number, "time": 1.7e9, "type": "submitted", "job": large["job"], "spec": large}
            file.write(encode_line(event))
    client.run("sync", "local", timeout=120)
    assert {row["job"]: row["state"] for row in client.json("jobs")}["large0"] == "queued"
    assert any("params" in problem for problem in client.json("hosts")[0]["problems"])
    client.run("stop", "large0")
    client.run("delete", "--now", "--yes", "large0")
    client.run("stop", first, "--grace", "0")
    client.run("wait", "large1", code=None, timeout=60)
    client.run("submit", "--wait", "--", "true", timeout=60)


def client_spec(root: Path, job: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((root / "jobs" / job / "spec.json").read_text())
    return {**found, "secrets": [], "private": False}


def test_a_job_that_leaves_very_many_records_files(client: Client) -> None:
    code = (
        "import os\nfolder = os.environ['FOUNDATIONS_RECORDS_DIR']\n"
        "for n in range(20_000): open(f'{folder}/{n:06d}{\"n\" * 180}.jsonl', 'w').close()"
    )
    client.run("submit", "--wait", "--", "python", "-c", code, timeout=120)
    client.run("sync", "local", timeout=60)
    client.run("submit", "--wait", "--", "true", timeout=60)


def test_many_jobs_with_much_to_say_are_submitted_and_synced(client: Client) -> None:
    client.run("pause", "--host", "local")
    (client.project / "p.json").write_text(json.dumps({"a": "v" * 40_000}))
    sweep = "x=" + ",".join(map(str, range(120)))
    client.run("submit", "--params-file", "p.json", "--sweep", sweep, "--", "true", "{x}", timeout=120)
    client.run("sync", "local", timeout=120)
    assert len(client.json("jobs", "--limit", "0", "--where", "state=queued")) == 120
    assert len(client.json_of("queue", "--json", timeout=60)) == 120
    client.run("clear-queue", "--yes", timeout=120)


# --- a hostile client -------------------------------------------------------------------------------------------


def test_no_request_ends_the_daemon(client: Client) -> None:
    client.run("submit", "--wait", "--", "true")
    pid = agents.daemon_pid(client.home / "agent")
    session = Session()
    try:
        rpc = session.agent("local")._rpc
        waiting = []
        for method in sorted(messages.REQUESTS):
            for name in ("seq", "settings", "job", "jobs", "after", "offset", "paused", "gpu", "specs", "timeout"):
                for value in (None, "x", -1, 2**70, 1e308, [1], {"max_jobs": "x"}, {"a": 1}, "\ud800"):
                    if method not in ("shutdown",):
                        waiting.append(rpc.ask(_Raw(method, {name: value}), b""))
            if method == "watch":
                rpc.ask(_Raw(method, {"seq": 0, "timeout": 0}), b"")
        for one in waiting:
            with _any():
                one.get(30)
    finally:
        session.close()
    assert agents.daemon_pid(client.home / "agent") == pid
    client.run("submit", "--wait", "--", "true")


class _Raw(messages.Request[messages.Answer]):
    """A request with whatever a client may send."""

    def __init__(self, method: str, params: Any) -> None:
        self.METHOD, self.ANSWER = method, messages.REQUESTS[method].ANSWER  # type: ignore[misc]
        self._params = params

    def to_wire(self) -> Any:
        return self._params


class _any:
    def __enter__(self) -> None: ...

    def __exit__(self, kind: Any, error: Any, *_: object) -> bool:
        assert kind is None or "bug" not in str(error), error
        return True


def test_settings_that_make_no_sense_keep_no_daemon_from_starting(client: Client) -> None:
    client.run("submit", "--wait", "--", "true")
    root = client.home / "agent"
    for bad in ('{"max_jobs": "x"}', '"x"', "[1]", '{"gpus": {"a": 1}}', "{"):
        agents.kill_daemon(root)
        (root / "settings.json").write_text(bad)
        client.run("submit", "--wait", "--", "true")


# --- a hostile host ---------------------------------------------------------------------------------------------


@pytest.fixture
def evil(client: Client, sshd: Sshd, tmp_path: Path) -> Iterator[Evil]:
    yield Evil(client, sshd, tmp_path / "evil")


def test_one_bad_job_costs_only_itself(client: Client, evil: Evil) -> None:
    good, bad, worse = view("good0001").to_wire(), view("bad00001").to_wire(), view("worse001").to_wire()
    bad["started_at"], bad["spec"]["priority"], bad["usage"] = "x", 2**70, {"disk": "much"}
    bad["spec"]["metrics"], bad["spec"]["command"] = {"direction": 5}, ["\ud800"]
    worse["state"] = 7
    gpus = [5, {"index": "a"}, {"index": 0, "uuid": "GPU-1", "name": "A"}]
    page = {"journal": "e" * 32, "seq": 5, "more": False, "jobs": [5, good, bad, worse, {}], "deleted": [[]]}
    page["resources"] = {"cpus": "x", "gpus": gpus}
    evil.says_answers(changes=page)
    client.run("sync", "evil")
    assert sorted(row["job"] for row in client.json("jobs")) == ["bad00001", "good0001"]
    for verb in (
        ["jobs"],
        ["status"],
        ["hosts"],
        ["compare", "bad00001", "good0001"],
        ["show", "bad00001"],
        ["gpus", "evil"],
    ):
        assert "bug" not in client.run(*verb, code=None).stderr
    problems = client.json("hosts")[-1]["problems"]
    assert any("bad00001: priority" in problem for problem in problems)
    assert any("makes no sense" in problem for problem in problems)


def test_a_state_that_only_a_newer_agent_knows_is_shown_as_it_is(client: Client, evil: Evil) -> None:
    new, odd = view("new00001").to_wire(), view("odd00001").to_wire()
    new["state"], odd["state"] = "suspended", "[red]no[/]"
    evil.says_answers(
        changes={"journal": "e" * 32, "seq": 5, "more": False, "jobs": [new, odd], "deleted": [], "resources": {}}
    )
    client.run("sync", "evil")
    (row,) = client.json("jobs")
    assert (row["job"], row["state"]) == ("new00001", "suspended")
    assert [row["job"] for row in client.json("jobs", "--where", "not is:final")] == ["new00001"]
    for verb in (
        ["show", "new00001"],
        ["jobs"],
        ["status"],
        ["projects"],
        ["ui", "--once", "jobs", "--size", "100x30"],
    ):
        done = client.run(*verb)
        assert "bug" not in done.stderr and (verb == ["status"] or verb == ["projects"] or "suspended" in done.stdout)


ENDLESS = {
    "more for ever": "PAGE['more'] = True",
    "more of nothing": "PAGE.update(more=True, seq=5)\ndef answer(method, params, wish, n=[0]):\n"
    "    HELLO['agent'] = wish['agent']; PAGE['seq'] += 1; return ANSWERS.get(method, {})",
    "sizes": "ANSWERS['stream_sizes'] = {'streams': [['a', 1, 'log', 5]], 'more': True}",
    "waits": "PAGE['waits_version'] = 7\nANSWERS['waits'] = {'version': 7, 'groups': [], 'estimates': {}, 'next': 0}",
}


@pytest.mark.parametrize("name", sorted(ENDLESS))
def test_what_has_no_end_ends_with_words(client: Client, evil: Evil, name: str) -> None:
    evil.says(ENDLESS[name])
    assert "has no end" in client.run("sync", "evil", code=4, timeout=40).stderr
    client.run("submit", "--host", "local", "--wait", "--", "true")
    assert len(client.json("jobs", "--sync", timeout=40)) == 1


def test_samples_and_logs_that_never_move_on(client: Client, evil: Evil) -> None:
    code = f"PAGE['jobs'] = [json.loads({json.dumps(view('a1b2c3').to_wire())!r})]\n"
    code += "ANSWERS['stream_sizes'] = {'streams': [['a1b2c3', 1, 'log', 1 << 60]], 'more': False}\n"
    code += (
        "ANSWERS['read'] = {'size': 1 << 60}\nANSWERS['samples'] = ({'offset': 0, 'end': 1 << 60}, b'[1,2,3,4,[]]\\n')"
    )
    evil.says(code)
    client.run("sync", "evil", timeout=40, code=None)
    client.run("jobs", "--sync", timeout=40)


def test_what_is_no_frame_or_no_answer_is_refused_in_words(client: Client, evil: Evil) -> None:
    for reply in ("b'\\xff' * 100", "5", "[]", "{'jobs': 5}", "None"):
        evil.says(f"def answer(method, params, wish):\n    return {reply}")
        said = client.run("sync", "evil", code=4, timeout=60).stderr
        assert "bug" not in said
    for reply in ("b'garbage'", "('\\n%s [1]\\n' % nonce).encode()", '(\'\\n%s {"bytes": "x"}\\n\' % nonce).encode()'):
        evil.says(
            f"PAGE['jobs'] = [json.loads({json.dumps(view('a1b2c3', state=JobState.FAILED).to_wire())!r})]\n"
            f"def bulk(role, nonce, rest):\n    return {reply}"
        )
        client.run("sync", "evil")
        said = client.run("get", "a1b2c3", code=None, timeout=30).stderr
        assert "bug" not in said


# --- one host and the jobs of another ---------------------------------------------------------------------------


def page_of(journal: str, seq: int, deleted: Iterable[str] = ()) -> messages.ChangesAnswer:
    """Return a last page of changes."""
    return messages.ChangesAnswer(journal, seq, False, [], list(deleted), Resources())


def rows_of(store: Store, job: str) -> list[Any]:
    """Return all that the store has of a job."""
    names = [row[0] for row in store.conn.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
    found = []
    for name in names:
        columns = [row[1] for row in store.conn.execute(f"PRAGMA table_info({name})")]
        if "job" in columns:
            found += [(name, *row) for row in store.conn.execute(f"SELECT * FROM {name} WHERE job = ?", [job])]
    return found


def test_nothing_that_a_host_says_changes_a_job_of_another() -> None:
    """Walks over every write of the store that takes a host and a job's id from outside."""
    store = Store()
    mine = view("victim01")
    assert writes.put_changes(store, "local", ("", 0), page_of("j" * 32, 4), [mine])
    waiting = view("victim02", state=JobState.QUEUED, attempt=0)
    assert writes.put_changes(store, "local", ("j" * 32, 4), page_of("j" * 32, 5), [waiting])
    write_streams.put_sizes(store, "local", [("victim01", 1, "log", 10), ("victim01", 1, "records/w", 10)])
    writes.add_intents(store, [view("victim03").spec], "local", "me")
    ids = ("victim01", "victim02", "victim03")
    before = {job: rows_of(store, job) for job in ids}
    evil_views = [view(job, state=JobState.COMPLETED, seq=9, reason="hijacked") for job in ids]
    writes.put_changes(store, "evil", ("", 0), page_of("e" * 32, 9, ids), evil_views)
    writes.put_acknowledged(store, "evil", "e" * 32, evil_views)
    writes.put_accepted(store, "evil", "e" * 32, evil_views)
    write_streams.put_sizes(
        store, "evil", [(job, 1, name, 1 << 40) for job in ids for name in ("log", "records/w", "samples")]
    )
    writes.put_waits(store, "evil", [("hijacked", list(ids))], dict.fromkeys(ids, 5.0))
    write_streams.mark_complete(store, "evil")
    assert write_streams.behind(store, "evil") == [] and write_streams.unread_events(store, "evil") == []
    assert {job: rows_of(store, job) for job in ids} == before
    walked = {
        "put_changes",
        "put_acknowledged",
        "put_accepted",
        "put_sizes",
        "put_waits",
        "mark_complete",
        "behind",
        "unread_events",
    }
    import inspect

    about_hosts = {
        name
        for module in (writes, write_streams, write_records, write_annotations)
        for name, one in vars(module).items()
        if inspect.isfunction(one) and one.__module__ == module.__name__ and not name.startswith("_")
        and "host" in inspect.signature(one).parameters
    }  # fmt: skip
    of_no_job = {
        "add_intents",
        "intents",
        "cursor",
        "put_contact",
        "put_unreachable",
    }
    own_choice = {"to_acknowledge", "to_collect", "unsent_annotations", "long_in_trash"}
    assert about_hosts == walked | of_no_job | own_choice, "a new write that takes a host has to be walked over, too"
    store.close()


def test_a_host_with_a_new_name_keeps_its_jobs() -> None:
    store = Store()
    assert writes.put_changes(store, "old", ("", 0), page_of("j" * 32, 4), [view("mine0001")])
    done = view("mine0001", state=JobState.COMPLETED, seq=5)
    assert writes.put_changes(store, "new", ("", 0), page_of("j" * 32, 5), [done])
    row = store.conn.execute("SELECT host, state FROM jobs").fetchone()
    assert tuple(row) == ("new", "completed")
    store.close()


def test_a_specification_is_what_it_was_when_it_first_came() -> None:
    store = Store()
    assert writes.put_changes(store, "box", ("", 0), page_of("j" * 32, 4), [view("mine0001")])
    other = copy.replace(view("mine0001"), seq=9) if hasattr(copy, "replace") else view("mine0001", seq=9)
    changed = JobView(JobSpec("mine0001", ("rm",), "f" * 40, owner="o", project="p"), JobState.COMPLETED, other.seq)
    assert writes.put_changes(store, "box", ("j" * 32, 4), page_of("j" * 32, 9), [changed])
    row = store.conn.execute("SELECT command, snapshot, owner, project, state FROM jobs").fetchone()
    assert tuple(row) == ('["python", "t.py"]', "0" * 40, "", "default", "completed")
    store.close()


def test_files_that_were_announced_and_do_not_come_are_said(client: Client, evil: Evil) -> None:
    """Nothing says that they came: their folder is kept."""
    evil.says(
        f"PAGE['jobs'] = [json.loads({json.dumps(view('a1b2c3', state=JobState.FAILED).to_wire())!r})]\n"
        "def answer(method, params, wish):\n"
        "    HELLO['agent'] = wish['agent']\n"
        "    if method == 'received':\n"
        "        open(__file__ + '.received', 'w')\n"
        "    return ANSWERS.get(method, {})\n"
        "def bulk(role, nonce, rest):\n"
        "    facts = {'files': 2, 'bytes': 0, 'receipt': 'a' * 16}\n"
        "    return ('\\n%s %s\\n' % (nonce, json.dumps(facts))).encode() + bytes(10240)\n"
    )
    client.run("sync", "evil")
    assert "2 files went away before they were sent" in client.run("get", "a1b2c3", code=None).stderr
    assert not list(evil.folder.glob("*.received"))


def test_get_takes_only_what_was_asked_for(client: Client, evil: Evil) -> None:
    evil.says(
        f"PAGE['jobs'] = [json.loads({json.dumps(view('a1b2c3', state=JobState.FAILED).to_wire())!r})]\n"
        "import io, tarfile\n"
        "def bulk(role, nonce, rest):\n"
        "    stream = io.BytesIO()\n"
        "    with tarfile.open(fileobj=stream, mode='w') as tar:\n"
        "        for name in ('model.pt', 'train.py', '.envrc', 'sub/x', 'subx', 'model.pt2'):\n"
        "            info = tarfile.TarInfo(name); info.size = 4; tar.addfile(info, io.BytesIO(b'evil'))\n"
        "    facts = {'bytes': 24}\n"
        "    return ('\\n%s %s\\n' % (nonce, json.dumps(facts))).encode() + stream.getvalue()\n"
    )
    client.run("sync", "evil")
    (client.project / "train.py").write_text("mine")
    said = client.run("get", "a1b2c3", "model.pt", "./sub/", "--dest", ".", code=1).stderr
    assert "not asked for" in said and (client.project / "train.py").read_text() == "mine"
    assert sorted(path.name for path in client.project.iterdir()) == ["model.pt", "sub", "train.py"]


def test_an_event_file_that_has_gone_holds_nothing_up(client: Client, evil: Evil) -> None:
    """A job may remove what it has written before it is brought home."""
    gone = view(
        "a1b2c3", state=JobState.FAILED, reason_code="exit_code", streams={"events/runs/a.tfevents.1": 5000, "log": 0}
    )
    evil.says(
        f"PAGE['jobs'] = [json.loads({json.dumps(gone.to_wire())!r})]\nANSWERS['read'] = {{'size': 0}}\n"
        "def answer(method, params, wish):\n"
        "    HELLO['agent'] = wish['agent']\n"
        "    if method == 'acknowledge':\n"
        "        open(__file__ + '.told', 'w')\n"
        "    return ANSWERS.get(method, {})\n"
    )
    client.run("sync", "evil")
    client.run("sync", "evil")
    assert list(evil.folder.glob("*.told"))


def test_get_from_a_hostile_host_writes_nowhere_else(client: Client, evil: Evil, tmp_path: Path) -> None:
    """The second fetch would go through the link that the first one brought."""
    target = tmp_path / "elsewhere"
    target.mkdir()
    code = f"PAGE['jobs'] = [json.loads({json.dumps(view('a1b2c3', state=JobState.FAILED).to_wire())!r})]\n"
    code += f"""
import io, tarfile
def bulk(role, nonce, rest):
    wish = json.loads(rest[-1])
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as tar:
        info = tarfile.TarInfo("authorized_keys" if wish["what"] == "code" else "code")
        if wish["what"] == "code":
            info.size = 4
        else:
            info.type, info.linkname = tarfile.SYMTYPE, {str(target)!r}
        tar.addfile(info, io.BytesIO(b"evil"))
    data = stream.getvalue()
    return ("\\n%s %s\\n" % (nonce, json.dumps({{"ready": True, "bytes": len(data)}}))).encode() + data
"""
    evil.says(code)
    client.run("sync", "evil")
    client.run("get", "a1b2c3", "x", "--code", "--dest", "out", code=4)
    (client.project / "own").mkdir()
    (client.project / "own" / "code").symlink_to(target)
    assert "is not the code" in client.run("get", "a1b2c3", "--code", "--dest", "own", code=4).stderr
    assert list(target.iterdir()) == []
    wait_until(lambda: True)
    assert checks.json_size({"a": 1}) == 7 and MOST_SPEC_BYTES == 1 << 20


_SCALARS = some.none() | some.booleans() | some.floats() | some.integers() | some.text(max_size=5)
_VALUES = some.recursive(
    _SCALARS, lambda part: some.lists(part, max_size=4) | some.dictionaries(some.text(max_size=4), part, max_size=4)
)


@settings(max_examples=60)
@given(_VALUES)
def test_no_value_at_all_makes_a_check_fail_otherwise(value: Any) -> None:
    for request in messages.REQUESTS.values():
        for kind in (request, request.ANSWER):
            for wire in (value, *({name: value} for name in ("job", "jobs", "seq", "gpus", "streams", "settings"))):
                try:
                    assert kind.from_wire(kind.from_wire(wire).to_wire()) == kind.from_wire(wire)
                except BadRequest:
                    pass
