"""The pure parts: records, protocol, journal lines, state, scheduler, GPUs, terminal text, words, host keys, config."""

from __future__ import annotations

import json
import math
import os
import re
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import pyte
import pytest
import wcwidth
from hypothesis import given, strategies as st
from rich.cells import cell_len

from foundations import records
from foundations_tui.config import schema, toml
from foundations_tui.config.hosts import HostsConfig, add_host, load_hosts, remove_host
from foundations_tui.config.project import load_project
from foundations_tui.config.schema import HostTable
from foundations_tui.errors import ConfigError, NotFoundError, UsageError
from foundations_tui.hosts import addresses, hostkeys
from foundations_tui.store.points import decode_points
from foundations_tui.sync import pull
from foundations_tui.text import diff_colors, humanize, sanitize
from foundations_tui.ui.models import log_file
from foundations_tui.ui.models.log_file import LogFile, compile_words, drawn_last, next_match
from remote_agent.core import events
from remote_agent.core.events import JournalEntry
from remote_agent.core.state import HostState, apply
from remote_agent.gpu import inventory
from remote_agent.gpu.inventory import Gpu
from remote_agent.protocol import framing
from remote_agent.protocol.ends import AttemptEnd
from remote_agent.protocol.errors import BadRequest, ProtocolError
from remote_agent.protocol.jobs import JobSpec
from remote_agent.protocol.states import STATE_OF_REASON, EndReason, JobState
from remote_agent.storage import journal
from tests.support.paths import ROOT

TREE = "a" * 40

# --- records ----------------------------------------------------------------------------------------------------


@given(
    st.lists(
        st.tuples(st.text(), st.one_of(st.floats(allow_nan=False), st.integers(), st.text(), st.booleans())),
        max_size=20,
    )
)
def test_records_come_back_as_they_went(pairs: list[tuple[str, Any]]) -> None:
    page = records.HEADER + b"".join(records.encode_metric(1.5, key, n, value) for n, (key, value) in enumerate(pairs))
    found = list(records.decode(page, 0))
    assert [(r.step, r.value) for r in found] == [(n, value) for n, (_, value) in enumerate(pairs)]
    assert all(page[r.offset : r.offset + 1] == b"[" for r in found)


def test_records_keep_nan_and_infinities() -> None:
    values = [math.nan, math.inf, -math.inf]
    page = b"".join(records.encode_metric(0, "x", n, value) for n, value in enumerate(values))
    found = [r.value for r in records.decode(page, 0)]
    assert math.isnan(found[0]) and found[1:] == [math.inf, -math.inf]


_LINES = st.one_of(
    st.builds(
        records.encode_metric,
        st.floats(-1e12, 1e12),
        st.sampled_from(["loss", "acc", "\ud800"]),
        st.integers(-(1 << 65), 1 << 65),
        st.one_of(st.floats(), st.integers(), st.text(max_size=3), st.booleans()),
    ),
    st.just(b'["m",1.5,"loss",1,2]["m",1.5,"loss",1,2]\n'),
    st.sampled_from([b"\n", b"torn\n", b'["m",1.5,"loss",1,1e999]\n', b'["m",1.5,"loss",1,2,3]\n', records.HEADER]),
)
_USUAL_LINES = st.builds(
    records.encode_metric,
    st.floats(0, 1e9),
    st.sampled_from(["loss", "\n", "é"]),
    st.integers(-9, 9),
    st.floats(allow_nan=False, allow_infinity=False) | st.integers(),
)


@given(st.lists(_LINES, max_size=6), st.integers(0, 1 << 40))
def test_points_are_what_the_records_say(lines: list[bytes], base: int) -> None:
    page = b"".join(lines)
    points = decode_points(page, base)
    assert points is None or points == _points_of(page, base)


@given(st.lists(_USUAL_LINES, min_size=1, max_size=6), st.integers(0, 1 << 40))
def test_usual_records_are_read_as_points(lines: list[bytes], base: int) -> None:
    page = b"".join(lines)
    assert decode_points(page, base) == _points_of(page, base)


def _points_of(page: bytes, base: int) -> dict[str, list[records.Point]]:
    found: dict[str, list[records.Point]] = {}
    for record in records.decode(page, base):
        assert record.kind == records.METRIC and record.step is not None
        found.setdefault(record.key, []).append((record.time, record.offset, record.step, record.value))
    return found


@given(st.binary())
def test_reading_records_never_fails(data: bytes) -> None:
    list(records.decode(data, 0))


def test_a_torn_last_line_waits() -> None:
    line = records.encode_pair(records.PARAM, 1.0, "lr", 0.5)
    assert [r.key for r in records.decode(line + line[:-1], 0)] == ["lr"]


# --- protocol, journal ------------------------------------------------------------------------------------------


@given(
    st.lists(st.tuples(st.dictionaries(st.text(), st.integers()), st.binary(max_size=300)), max_size=8),
    st.integers(1, 50),
)
def test_frames_come_back_however_they_are_cut(frames: list[tuple[dict[str, int], bytes]], cut: int) -> None:
    data = b"".join(framing.encode(message, blob) for message, blob in frames)
    reader = framing.FrameReader()
    found = [frame for start in range(0, len(data), cut) for frame in reader.feed(data[start : start + cut])]
    assert [(frame.message, frame.blob) for frame in found] == frames


@pytest.mark.parametrize("data", [b"\xff" * 20, b"\0\0\0\x02\0\0\0\0[]", b"\0\0\0\x03\0\0\0\0{,}"])
def test_bytes_that_are_no_frame_are_refused(data: bytes) -> None:
    with pytest.raises(ProtocolError):
        framing.FrameReader().feed(data)


@pytest.mark.parametrize("name", [b"..", b".", b"", b"a/b"])
def test_a_tree_cannot_name_what_leads_out(name: bytes) -> None:
    with pytest.raises(ProtocolError):
        list(framing.tree_entries(b"100644 " + name + b"\0" + bytes(20)))


@given(st.integers(0, 400), st.binary(max_size=40))
def test_a_damaged_journal_tail_is_cut_at_a_line(cut: int, tail: bytes) -> None:
    lines = [journal.encode_line({"seq": n, "type": "x", "words": "é" * n}) for n in range(5)]
    data = b"".join(lines)
    kept = data[: max(0, len(data) - cut)]
    whole = 0
    while whole < len(lines) and len(b"".join(lines[: whole + 1])) <= len(kept):
        whole += 1
    found = [event["seq"] for event, _ in journal.decode_lines(kept + bytes(tail))]
    assert found[:whole] == list(range(whole))


def test_the_journal_sets_a_torn_tail_aside(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    first = journal.Journal(str(path), 0.0)
    first.append({"seq": 2, "time": 1.0, "type": "deleted", "job": "x"})
    first.commit()
    first.close()
    good = path.read_bytes()
    path.write_bytes(good + b"\0" * 100)
    again = journal.Journal(str(path), 0.0)
    assert [e["seq"] for e in again.take_history()] == [1, 2, 3] and len(again.problems) == 1
    assert again.id != first.id, "what a client has seen may be gone: it takes the full state"
    assert path.read_bytes().startswith(good)
    assert (tmp_path / f"journal.torn-{len(good)}").read_bytes() == b"\0" * 100


# --- state and scheduler ----------------------------------------------------------------------------------------


def spec(job: str, **options: Any) -> JobSpec:
    return JobSpec(job=job, command=("true",), snapshot=TREE, **options)


def submitted(state: HostState, *specs: JobSpec) -> HostState:
    for one in specs:
        event = {"seq": state.seq + 1, "time": 1.0, "type": "submitted", "job": one.job, "spec": one.to_wire()}
        apply(state, JournalEntry.from_wire(event))
    return state


def gpu(index: int, used: int = 0) -> Gpu:
    return Gpu(index, f"GPU-{index}", "A100", 80_000, used, 0)


def test_every_reason_has_a_final_state() -> None:
    assert set(STATE_OF_REASON) == set(EndReason)
    assert all(state.is_final for state in STATE_OF_REASON.values())


@pytest.mark.parametrize(
    "change",
    [
        {"job": "../x"},
        {"job": ".."},
        {"job": "a" * 65},
        {"snapshot": "x"},
        {"command": []},
        {"command": ["a\0b"]},
        {"cpus": 0},
        {"gpus": -1},
        {"subdir": "../x"},
        {"subdir": "/etc"},
        {"name": "a\udcff"},
        {"project": "a\0"},
        {"tags": {"\ud800": ""}},
        {"params": {"a": [{"b": "\0"}]}},
        {"env": {"A=B": "1"}},
        {"env": {"A": "\0"}},
    ],
)
def test_a_bad_specification_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises(BadRequest):
        JobSpec.from_wire({**spec("a").to_wire(), **change}).check()


def test_an_id_that_is_no_file_name_is_never_read() -> None:
    """It becomes a path on both sides, so not even a host's word for it is taken."""
    for job in ("../x", "..", "a/b", ""):
        with pytest.raises(BadRequest):
            JobSpec.from_wire({**spec("a").to_wire(), "job": job})


def test_a_specification_travels_whole() -> None:
    one = spec("a", params={"lr": 0.1}, env={"A": "b"}, tags={"x": ""}, gpus=2)
    assert JobSpec.from_wire(json.loads(json.dumps(one.to_wire()))) == one


def test_changes_after_a_cursor_in_pages() -> None:
    state = submitted(HostState(), *(spec(f"j{n}") for n in range(10)))
    apply(state, JournalEntry(11, 2.0, events.Deleted("j0")))
    seen, deleted, after = [], [], 0
    while after < state.seq:
        page = state.changes(after, 1 << 20, 3)
        assert page.count <= 3
        after = page.seq
        seen += [wire["spec"]["job"] for wire in page.jobs]
        deleted += page.deleted
    assert seen == [f"j{n}" for n in range(1, 10)] and deleted == ["j0"]
    last = state.changes(after, 1 << 20, 3)
    assert (last.jobs, last.deleted, last.seq) == ([], [], state.seq)


def test_a_stop_before_the_start() -> None:
    state = submitted(HostState(), spec("a"))
    apply(state, JournalEntry(2, 1.0, events.StopRequested("a", "me")))
    apply(state, JournalEntry(3, 1.0, events.Ended("a", AttemptEnd("stopped_by_user", "", 1.0))))
    assert state.jobs["a"].state is JobState.STOPPED and not state.queue


def test_the_grace_of_a_stop_is_remembered_and_only_shortened() -> None:
    state = submitted(HostState(), spec("a"))
    for seq, (moment, grace) in enumerate([(10.0, 600.0), (20.0, 5.0), (21.0, 600.0)], 2):
        apply(state, JournalEntry(seq, moment, events.StopRequested("a", "me", grace)))
    assert state.jobs["a"].stop_deadline == 25.0


# --- GPUs -------------------------------------------------------------------------------------------------------


def test_the_gpus_that_hosts_toml_allows() -> None:
    all_three = [gpu(0), gpu(1), gpu(2)]
    assert inventory.allowed(all_three, "auto") == all_three
    assert inventory.allowed(all_three, 2) == all_three[:2]
    assert inventory.allowed(all_three, [2]) == [all_three[2]]


# --- terminal text ----------------------------------------------------------------------------------------------


@given(st.binary(), st.integers(1, 9))
def test_no_control_sequence_but_colours_passes(data: bytes, cut: int) -> None:
    shown = sanitize.LogFilter()
    text = "".join(shown.feed(data[start : start + cut]) for start in range(0, len(data), cut)) + shown.end()
    rest = sanitize.plain(text.replace("\r\x1b[K", "\r"))  # a line that is begun again
    assert not any(c < " " and c not in "\n\t\r" or "\x7f" <= c <= "\x9f" for c in rest)


@pytest.mark.parametrize(
    ("sent", "shown"),
    [
        (b"\x1b[31mred\x1b[0m", "\x1b[31mred\x1b[0m"),
        (b"\x1b]0;title\x07", "^[]0;title^G"),
        (b"\x1b[2J", "^[[2J"),
        (b"\x1b[6n", "^[[6n"),
        (b"caf\xc3\xa9 \xff", "café \ufffd"),
        (b"a\rb\n", "a\rb\n"),
        (b"\xc2\x9b31m", "<9b>31m"),
    ],
)
def test_what_a_terminal_gets(sent: bytes, shown: str) -> None:
    one = sanitize.LogFilter()
    assert one.feed(sent) + one.end() == shown


@given(st.text(), st.integers(0, 40))
def test_clipped_text_fits(text: str, cells: int) -> None:
    assert sanitize.width(sanitize.clip(sanitize.one_line(text), cells)) <= max(cells, 0) or cells == 0


WIDTHS = {
    "plain": 5,
    "中文": 4,
    "👨‍👩‍👧": 2,
    "1\ufe0f\u20e3": 2,
    "a\u200bb": 2,
    "กำ": 2,
    "\u1112\u1161\u11ab": 2,
    "e\u0301": 1,
    "é": 1,
    "█░": 2,
}


@pytest.mark.parametrize("text", WIDTHS)
def test_a_text_takes_the_cells_that_others_count(text: str) -> None:
    assert sanitize.width(text) == WIDTHS[text] == wcwidth.wcswidth(text)
    steady = sanitize.one_line(text)
    assert sanitize.width(steady) == cell_len(steady), "the app draws what we laid out"


def test_what_takes_one_cell_each_does_so_for_everybody() -> None:
    plain = [chr(code) for code in range(0x20, 0x3000) if code != 0x7F and sanitize._takes_one_each(chr(code))]
    assert len(plain) > 1000 and "✗" in plain and "\u200b" not in plain and "\u2028" not in plain
    assert [char for char in plain if wcwidth.wcwidth(char) != 1 or cell_len(char) != 1] == []
    assert not any(map(sanitize._takes_one_each, ("日", "e\u0301", "▶\ufe0f", "\U0001f600")))


@given(st.text(), st.integers(0, 40))
def test_what_is_clipped_is_a_beginning(text: str, cells: int) -> None:
    shown = sanitize.one_line(text)
    clipped = sanitize.clip(shown, cells)
    assert clipped == shown or shown.startswith(clipped.removesuffix("…").rstrip(" ")), "a wide one leaves a blank"


def test_numbers_as_people_read_them() -> None:
    assert [humanize.duration(s) for s in (None, 0.0, 0.0004, 0.04, 59.6, 61, 3700, 90000)] == [
        "", "0.0 s", "1 ms", "40 ms", "1 min 00 s", "1 min 01 s", "1 h 01 min", "1 d 1 h",
    ]  # fmt: skip
    assert [humanize.size(n) for n in (0, 999, 1500, 57_000, 2e9)] == ["0 B", "999 B", "1.5 kB", "57 kB", "2.0 GB"]
    assert humanize.ago(None, 0) == "never" and humanize.ago(0, 3 * 3600) == "3 h ago"


# --- host keys and addresses ------------------------------------------------------------------------------------


def test_known_hosts_lines(tmp_path: Path) -> None:
    key = "AAAAC3NzaC1lZDI1NTE5AAAAIJ1QK1V8m2l5n4Jv7y8zq1w2e3r4t5y6u7i8o9p0aSdF"
    file = tmp_path / "known_hosts"
    file.write_text(
        "# a comment\nnot a line\n"
        f"one,two.example.org ssh-ed25519 {key}\n*.wild.org,!bad.wild.org ssh-ed25519 {key}\n"
        f"[three]:2222 ssh-ed25519 {key}\n@revoked four ssh-ed25519 {key}\nfive ssh-ed25519 !!!\n"
    )
    for name in ("one", "two.example.org", "TWO.example.org", "x.wild.org", "[three]:2222"):
        assert len(list(hostkeys.known_keys(name, [file]))) == 1, name
    for name in ("three", "bad.wild.org", "five", "six", "[one]:2222"):
        assert not list(hostkeys.known_keys(name, [file])), name
    assert [k.revoked for k in hostkeys.known_keys("four", [file])] == [True]


def test_hashed_known_hosts_as_openssh_writes_them(tmp_path: Path) -> None:
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", tmp_path / "key"], check=True)
    kind, blob, *_ = (tmp_path / "key.pub").read_text().split()
    file = tmp_path / "known_hosts"
    file.write_text(f"[127.0.0.1]:2022 {kind} {blob}\n")
    subprocess.run(["ssh-keygen", "-H", "-f", file], check=True, capture_output=True)
    found = list(hostkeys.known_keys("[127.0.0.1]:2022", [file]))
    shown = subprocess.run(["ssh-keygen", "-lf", tmp_path / "key.pub"], capture_output=True, text=True, check=True)
    assert hostkeys.fingerprint(found[0].blob) == shown.stdout.split()[1]


def test_a_key_is_remembered_on_a_line_of_its_own(tmp_path: Path) -> None:
    file = tmp_path / "ssh/known_hosts"
    file.parent.mkdir()
    file.write_text("other ssh-ed25519 AAAA")
    hostkeys.remember("new", "ssh-ed25519", b"blob", file)
    assert file.read_text() == "other ssh-ed25519 AAAA\nnew ssh-ed25519 YmxvYg==\n"


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("gpu1", ("", "gpu1", 0)),
        ("me@gpu1:2222", ("me", "gpu1", 2222)),
        ("me@[::1]:22", ("me", "::1", 22)),
        ("::1", ("", "::1", 0)),
    ],
)
def test_addresses(text: str, parts: tuple[str, str, int]) -> None:
    assert addresses.split_address(text) == parts


@pytest.mark.parametrize("text", ["", "me@", "-oProxyCommand=x", "me@-x", "gpu1:ssh", "-l@x"])
def test_what_is_no_address(text: str) -> None:
    with pytest.raises(ConfigError):
        addresses.split_address(text)


# --- hosts.toml -------------------------------------------------------------------------------------------------


def load(tmp_path: Path, text: str) -> HostsConfig:
    path = tmp_path / "hosts.toml"
    path.write_text(text)
    return load_hosts(path)


def test_the_example_is_valid_and_has_every_key(tmp_path: Path) -> None:
    text = (ROOT / "hosts.example.toml").read_text()
    load(tmp_path, text)
    uncommented = "\n".join(line.removeprefix("# ") if " = " in line else line for line in text.splitlines())
    for key in HostTable.__struct_fields__:
        assert f"\n{key} = " in uncommented, f"hosts.example.toml lacks {key}"


def test_local_is_there_without_configuration(tmp_path: Path) -> None:
    assert list(load_hosts(tmp_path / "none.toml").hosts) == ["local"]


def test_defaults_hold_for_all(tmp_path: Path) -> None:
    found = load(
        tmp_path, '[defaults]\nmax_jobs = 3\n[hosts.a]\naddress = "x"\n[hosts.b]\naddress = "y"\nmax_jobs = 1\n'
    )
    assert [found.hosts[name].max_jobs for name in ("local", "a", "b")] == [3, 3, 1]


@pytest.mark.parametrize(
    ("text", "line", "part"),
    [
        (
            '[hosts.a]\naddress = "x"\n\nmax_jobs = "3"\n',
            4,
            "max_jobs of a must be a whole number from 0 to 100,000, got '3'",
        ),
        (
            '[hosts.a]\naddress = "x"\ngpus = "all"\n',
            3,
            """gpus of a must be "auto", a count or a list of indices, got 'all'""",
        ),
        ("[hosts.a]\nroot = '/x'\n", 1, "address"),
        ('default_host = "b"\n', 1, "names no host"),
        ('[hosts.a]\naddress = "x"\nbackend = "slurm"\n', 3, "not available"),
        ('[hosts.a\naddress = "x"\n', 1, "line 1"),
        ('[hosts.a]\naddress = "x"\nmax_jobs = -5\n', 3, "max_jobs of a must be"),
        ('[hosts.a]\naddress = "x"\nmax_jobs = true\n', 3, "got true"),
        ('[hosts.a]\naddress = "x"\ngpus = -1\n', 3, "a count"),
        ('[hosts.a]\naddress = "x"\ngpus = [1, "a"]\n', 3, "a count"),
        ('[hosts.a]\naddress = "x"\ntags = [1]\n', 3, "tags of a must be a list of strings, got [1]"),
        ("[hosts.a]\naddress = 7\n", 2, "address of a must be a string, got 7"),
        ('[hosts.a]\naddress = "x"\n[hosts.a.env]\n"A=B" = "1"\n', 4, "name of a variable"),
        ('[hosts.a]\naddress = "x"\n[hosts.a.env]\nA = {b = 1}\n', 4, "a string or a number"),
        ('[hosts.a]\naddress = "x"\nenv = 3\n', 3, "env of a must be a table, got 3"),
        ('[hosts."a b"]\naddress = "x"\n', 1, "is not a name"),
        ('[hosts.local]\naddress = "x"\n', 2, "this machine"),
        ('[defaults]\naddress = "x"\n', 2, "one host"),
        ('[hosts.a]\naddress = "x"\nmax_jobs = 4\n\n[hosts.b]\naddress = "y"\nmax_jobs = "four"\n', 7, "max_jobs of b"),
        ('[hosts.a]\naddress = "x"\n[hosts.b]\naddress = "y"\n[hosts.b.data]\nd = 3\n', 6, "data d must be a path"),
        ('[hosts.a]\naddress = """\nx\n"""\nmax_jobs = "4"\n', 5, "max_jobs of a"),
        ('[hosts]\na = { address = "x", max_jobs = "4" }\n', 2, "max_jobs of a"),
        ('hosts.a.address = "x"\nhosts.a.max_jobs = []\n', 2, "got []"),
        ('[hosts.a]\naddress = "x"\n[defaults]\nmax_jobs = "4"\n', 4, "max_jobs of [defaults]"),
        ("hosts = 3\n", 1, "hosts must be a table, got 3"),
        ("[hosts]\na = 3\n", 2, "hosts.a must be a table, got 3"),
        ('[notify]\non = ["soon"]\n', 2, "on of [notify] must be a list of completed, failed, stopped, lost"),
        ("[notify]\ncommand = []\n", 2, "command of [notify] must be a command"),
        ("owner = 3\n", 1, "owner must be a string, got 3"),
    ],
)
def test_what_is_wrong_in_hosts_toml_is_said_with_its_line(tmp_path: Path, text: str, line: int, part: str) -> None:
    with pytest.raises(ConfigError) as refused:
        load(tmp_path, text)
    said = f"{refused.value} {refused.value.hint}"
    assert part in said and (f"hosts.toml:{line}:" in said or f"line {line}" in said), said


def test_all_unknown_keys_are_found_at_once(tmp_path: Path) -> None:
    found = load(
        tmp_path,
        'defalt_host = "a"\n[hosts.a]\naddress = "x"\npyton = "y"\nenv = { ANY = 1 }\n'
        '[hosts.b]\naddress = "x"\nmax_job = 3\n[hosts.b.env]\nwhatever = 1\n[notify]\nulr = "x"\n',
    )
    told = [f"{str(error).partition('hosts.toml:')[2]} {error.hint}" for error in found.unknown]
    assert told == [
        "1: unknown key 'defalt_host' did you mean 'default_host'?",
        "4: unknown key 'pyton' did you mean 'python'?",
        "8: unknown key 'max_job' did you mean 'max_jobs'?",
        "12: unknown key 'ulr' did you mean 'url'?",
    ]
    assert found.hosts["b"].max_jobs == 0, "what is known holds"
    with pytest.raises(ConfigError, match=r"(?s)pyton.*max_job"):
        toml.refuse(found.unknown)


@given(st.text(alphabet="ab.[]\"'{}=,#\n 1", max_size=60))
def test_lines_are_looked_up_in_whatever_is_valid(text: str) -> None:
    try:
        table = tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        return
    document = toml.Document(Path("x.toml"), table, text=text)
    for key in table:
        assert re.fullmatch(r"x\.toml:\d+", document.at(key)), (text, key)


@pytest.mark.parametrize("name", schema.FILES)
def test_a_schema_tells_every_key_and_what_it_means(name: str) -> None:
    published = json.loads(schema.json_schema(name))
    for title, definition in published["$defs"].items():
        assert definition.get("description"), title
        for key, entry in definition["properties"].items():
            assert entry.get("description") or "$ref" in entry or "anyOf" in entry, f"{title}.{key}"


def test_hosts_are_added_and_removed_and_comments_stay(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "home/hosts.toml"
    path.parent.mkdir()
    path.write_text('# mine\n[hosts.a] # first\naddress = "x"\n')
    add_host("b", "me@y:22", {"max_jobs": 2})
    assert load_hosts().hosts["b"].max_jobs == 2 and "# mine" in path.read_text()
    with pytest.raises(UsageError):
        add_host("b", "z", {})
    for name in ("local", "any", "-x", "a b", ""):
        with pytest.raises(UsageError):
            add_host(name, "z", {})
    remove_host("b")
    assert list(load_hosts().hosts) == ["local", "a"] and "# first" in path.read_text()
    with pytest.raises(NotFoundError):
        remove_host("b")


def test_a_projects_config_is_found_upwards(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text('[tool.foundations]\nproject = "p"\n')
    (tmp_path / "a/b").mkdir(parents=True)
    assert load_project(tmp_path / "a/b").project == "p"
    (tmp_path / "a/foundations.toml").write_text('projct = "q"\n')
    with pytest.raises(ConfigError, match=r"foundations\.toml:1: unknown key 'projct'"):
        toml.refuse(load_project(tmp_path / "a/b").unknown)


def test_a_log_with_a_hole_is_viewed_without_reading_it(tmp_path: Path) -> None:
    path = tmp_path / "log"
    head, end = b"".join(b"line %04d of it\n" % n for n in range(10_000)), b"its end\nnext\nlast\n"
    with path.open("wb") as file:
        file.write(head + b"cut in its midd")
        file.seek(3 << 30)
        file.write(b"le, too\n" + end)
    log = LogFile(path)
    counted = 0
    while part := log.scan(1 << 20):
        counted += part
    assert counted < len(head) + (1 << 17) and log.line_count == 10_004
    assert log.lines(9_999, 3) == [b"line 9999 of it", b"cut in its midd", b"its end"]
    assert log.lines(10_002, 9) == [b"next", b"last"]
    assert log.tail(2) == [b"next", b"last"]
    found, _ = next_match(path, compile_words("its end"), lambda: False, 0, 1)
    assert found is not None and log.lines_from([found]) == [b"its end"] and log.line_at(found) == 10_001
    assert next_match(path, compile_words("of it"), lambda: False, found, 1) == (0, True)
    cut, _ = next_match(path, compile_words("midd"), lambda: False, 0, 1)
    assert cut == len(head)
    assert next_match(path, compile_words("le, too"), lambda: False, 0, 1)[0] is not None
    with path.open("r+b") as file:
        os.truncate(file.fileno(), 4 << 30)  # a hole at its end
    assert log.scan(1 << 20) < 1 << 17 and log.line_count == 10_005


BARS = (
    b"begin\n\router:   0%|  | 0/2\n\rinner:   0%|  | 0/2\x1b[A\n\rinner:  50%|# | 1/2\x1b[A\n\r       \x1b[A"
    b"\router:  50%|# | 1/2\n\rinner:   0%|  | 0/2\x1b[A\n\rinner: 100%|##| 2/2\x1b[A\router: 100%|##| 2/2\n"
    b"done\n"
)
"""What tqdm writes for two bars, one within the other."""


def test_progress_bars_below_one_another_are_one_line(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_bytes(BARS)
    log = LogFile(path)
    log.scan(1 << 20)
    assert [drawn_last(line) for line in log.lines(0, 9)] == [b"begin", b"outer: 100%|##| 2/2", b"done"]
    assert [drawn_last(line) for line in log.tail(9)] == [drawn_last(line) for line in log.lines(0, 9)]
    assert drawn_last(log.lines(log.line_count - 1, 1)[0]) == b"done"
    shown = pyte.Screen(60, 20)
    feed, filtered = pyte.Stream(shown), sanitize.LogFilter()
    for start in range(0, len(BARS), 7):
        feed.feed(filtered.feed(BARS[start : start + 7]).replace("\n", "\r\n"))
    feed.feed(filtered.end())
    lines = [line.rstrip() for line in shown.display if line.strip()]
    assert lines[0] == "begin" and lines[-1] == "done" and len(lines) <= 4, lines


@given(
    st.lists(
        st.sampled_from([b"a", b"bc", b"\n", b"\n", b"\x1b[A", b"\x1b[1A", b"\r", b"\x1b[31m", b"\x1b", b"[A"]),
        max_size=60,
    ),
    st.integers(1, 9),
)
def test_lines_that_step_up_are_counted_in_any_pieces(
    tmp_path_factory: pytest.TempPathFactory, parts: list[bytes], step: int
) -> None:
    path = tmp_path_factory.mktemp("log") / "log"
    data = b"".join(parts)
    path.write_bytes(data)
    expected = log_file._split(data)
    starts = [0, *(end + 1 for end in log_file._ends(data)[0])][: len(expected)]
    assert facts(path, step) == (len(expected), starts)
    small, log_file.CHUNK_BYTES = log_file.CHUNK_BYTES, 8
    try:
        assert facts(path, step) == (len(expected), starts), "over the borders of chunks, too"
    finally:
        log_file.CHUNK_BYTES = small


def facts(path: Path, step: int) -> tuple[int, list[int]]:
    """Return how many lines a file has and where they begin, when it is counted in steps."""
    log = LogFile(path)
    while log.scan(step):
        pass
    starts = [log.offset_of(number) for number in range(log.line_count)]
    assert [log.line_at(start) for start in starts] == list(range(log.line_count))
    assert starts == sorted(set(starts))
    return log.line_count, starts


def test_the_end_of_a_very_long_progress_bar_is_shown(tmp_path: Path) -> None:
    path = tmp_path / "log"
    drawn = b"\router" + b"".join(b"\n\rinner %07d\x1b[A" % n for n in range(150_000))
    path.write_bytes(
        b"first\n" + drawn + b"\router all\nlast\n" + b"".join(b"\rsingle %07d" % n for n in range(150_000)) + b"\nx\n"
    )
    log = LogFile(path)
    while log.scan(1 << 20):
        pass
    shown = [drawn_last(line) for line in log.lines(0, 9)]
    assert shown == [b"first", b"outer all", b"last", b"single 0149999", b"x"]


def test_a_difference_is_colored_line_by_line() -> None:
    shown = diff_colors.painted("diff --git a/x b/x\n@@ -1 +1 @@\n-old\n+new\n same\n")
    assert shown.split("\n") == [
        "\x1b[1mdiff --git a/x b/x\x1b[0m",
        "\x1b[36m@@ -1 +1 @@\x1b[0m",
        "\x1b[31m-old\x1b[0m",
        "\x1b[32m+new\x1b[0m",
        " same",
        "",
    ]


def test_a_host_may_say_any_size_of_a_stream() -> None:
    assert pull._pages_ahead(0, 1 << 62)[:2] == [0, framing.PAGE_BYTES]
    assert len(pull._pages_ahead(0, 1 << 62)) == pull._PAGES_AHEAD
    assert pull._pages_ahead(7, 7) == [7], "one page is asked for in any case"


@given(st.floats(allow_nan=False, allow_infinity=False), st.integers(1, 6))
def test_a_rounded_number_is_near_what_it_was(value: float, digits: int) -> None:
    text = humanize.rounded(value, digits)
    assert float(text) == pytest.approx(float(f"{value:.{digits}g}"), rel=1e-5)
    assert "e" not in text or not 1e-4 <= abs(value) < 9e5


def test_numbers_are_rounded_as_people_write_them() -> None:
    assert [humanize.rounded(value) for value in (180.3, 36.4, 0.0321, 2.0, -4.55, 0)] == [
        *("180", "36", "0.032", "2", "-4.5", "0")
    ]
