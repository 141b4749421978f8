"""The table of a job's options: read, written back, and shown in the docs."""

from __future__ import annotations

import importlib.util
import sqlite3
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from foundations_tui.errors import UsageError
from foundations_tui.submit.request import OPTIONS, SPEC_OPTIONS, JobRequest, request_of, words_of
from foundations_tui.sweeps.submission import ALL_OPTIONS
from foundations_tui.text.options import Kind, read_options, read_words
from remote_agent.protocol.jobs import JobSpec
from tests.support.paths import ROOT

NO_STORE = sqlite3.connect(":memory:")

UNUSUAL: dict[str, Any] = {
    "shell": True,
    "host": "gpu1",
    "name": "a name",
    "project": "p",
    "cpus": 3,
    "gpus": 2,
    "gpu_memory": 20 << 10,
    "ram": 7 << 30,
    "priority": -4,
    "nice": 5,
    "time_limit": 5400.25,
    "retries": 2,
    "retry_on": ("lost", "oom"),
    "stop_signal": "INT",
    "grace": 2.5,
    "outputs": ("*.pt", "runs/**"),
    "log_limit": 1 << 30,
    "secrets": ("HF_TOKEN",),
    "params": {"lr": 0.00012345678, "n": 3, "on": True, "name": "x y"},
    "tags": {"baseline": "", "dataset": "v2"},
    "job_seed": 7,
    "deterministic": True,
}


def words(request: JobRequest) -> list[str]:
    """Return the words that make a request again."""
    spec = {name: getattr(request, name) for name in OPTIONS}
    return [word for part in words_of(spec).values() for word in part]


@pytest.mark.parametrize("name", UNUSUAL)
def test_an_option_is_written_as_it_is_read(name: str) -> None:
    others = {"gpus": 1} if name == "gpu_memory" else {}
    command = ("python train.py",) if name == "shell" else ("python", "train.py")
    request = JobRequest(command, Path("."), **{name: UNUSUAL[name], **others})
    values, read = read_words([*words(request), "--", *request.command], ALL_OPTIONS)
    assert values, "an option that is not as by default stands on the command line"
    assert request_of(NO_STORE, read, values) == request


def test_every_option_of_a_specification_comes_along_to_the_next_job_or_says_that_it_does_not() -> None:
    missing = [name for name in SPEC_OPTIONS if OPTIONS[name].again and name not in UNUSUAL]
    assert not missing, "UNUSUAL needs a value for what is new"
    for name in set(SPEC_OPTIONS) - {"project"}:  # that is the folder's where none is named
        assert getattr(JobRequest(()), name) == getattr(JobSpec("j", (), ""), name), f"{name} differs by default"


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (["--nope"], "not an option of submit: --nope"),
        (["--gpus", "two"], "--gpus takes a whole number; got 'two'"),
        (["--nice", "20"], "--nice takes 0 to 19; got 20"),
        (["--time-limit", "soon"], "--time-limit is not a duration: 'soon'"),
        (["--gpu-memory", "lots"], "--gpu-memory is not a size: 'lots'"),
        (["--stop-signal", "KILL"], "--stop-signal takes one of TERM"),
        (["--retries"], "Option '--retries' requires an argument"),
        (["--host"], "Option '--host' requires an argument"),
        (["--shell=yes"], "Option '--shell' does not take a value"),
    ],
)
def test_words_that_make_no_sense_are_refused(line: list[str], words: str) -> None:
    with pytest.raises(UsageError, match=words.replace("(", r"\(")):
        read_words([*line, "--", "true"], ALL_OPTIONS)


@pytest.mark.parametrize(
    ("line", "host", "command"),
    [
        (["--host", "h", "python", "t.py", "--lr", "1"], "h", ["python", "t.py", "--lr", "1"]),
        (["--host", "h", "python", "t.py", "--", "--lr"], "h", ["python", "t.py", "--", "--lr"]),
        (["--host", "h", "--", "--host", "x"], "h", ["--host", "x"]),
        (["--host=-h", "--", "--", "x"], "-h", ["--", "x"]),
        (["--host", "-h"], "-h", []),
    ],
)
def test_a_command_begins_where_the_command_line_has_it_begin(line: list[str], host: str, command: list[str]) -> None:
    assert read_words(line, ALL_OPTIONS) == ({"host": host}, command)


def test_options_with_something_behind_them_are_refused() -> None:
    assert read_options(["--host", "h"], ALL_OPTIONS) == {"host": "h"}
    with pytest.raises(UsageError, match="not an option of hosts add: stray"):
        read_options(["--host", "h", "stray"], ALL_OPTIONS, "hosts add")


@pytest.mark.parametrize(
    "spec",
    [
        {"name": "-x", "tags": {"-a": "-b"}, "outputs": ("-x*",), "params": {"-k": "-v"}},
        {"grace": 0.0, "retry_on": ()},
        {"grace": 1e-5, "time_limit": 1e16},
        {"params": {"empty": "", "1": "1", "n": "-1", "word": "null", "spaced": " 1 ", "quoted": '"x"', "t": "True"}},
        {"params": {"none": None, "list": [1, "2", None], "table": {"a": {"b": 1.5}}, "no": False, "yes": True}},
        {"params": {"nan": "nan", "tiny": 1e-300, "large": 1 << 70, "inf": float("inf"), "text": "ä\n\\"}},
    ],
)
def test_what_a_job_had_comes_back_whole(spec: dict[str, Any]) -> None:
    request = JobRequest(("true",), Path("."), **spec)
    values, read = read_words([*words(request), "--", "true"], ALL_OPTIONS)
    again = request_of(NO_STORE, read, values)
    assert again == request
    assert [type(value) for value in again.params.values()] == [type(value) for value in request.params.values()]


def test_an_option_has_a_sentence_and_is_spelled_once() -> None:
    flags = [option.flag for option in ALL_OPTIONS.values()]
    assert len(set(flags)) == len(flags)
    for option in ALL_OPTIONS.values():
        assert option.help.endswith(".") and option.help[0].isupper(), option.flag
        assert option.kind is not Kind.CHOICE or option.choices


def tables() -> ModuleType:
    spec = importlib.util.spec_from_file_location("tables", ROOT / "docs" / "tables.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_pages_that_are_made_from_the_code_are_as_it_is() -> None:
    for name, page in tables().PAGES.items():
        assert (ROOT / "docs" / name).read_text() == page(), f"docs/{name} is old: make docs"
