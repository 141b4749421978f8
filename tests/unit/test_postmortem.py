"""Why a job failed: recorded logs, each with its cause, and what else is known of an end."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, strategies as st

from remote_agent.protocol.ends import Evidence
from remote_agent.supervisor import postmortem
from remote_agent.supervisor.postmortem import explain
from tests.support.paths import DATA

LOGS = sorted((DATA / "logs").glob("*.log"))
GIGABYTE = 1 << 30


def test_there_are_enough_logs() -> None:
    assert len(LOGS) >= 20
    named = {path.name.split("-")[0].removesuffix(".log") for path in LOGS} - {"unknown"}
    assert named <= set(postmortem.known_codes())


@pytest.mark.parametrize("path", LOGS, ids=lambda path: path.stem)
def test_a_recorded_log_has_its_cause(path: Path) -> None:
    cause = explain(path.read_bytes(), Evidence(exit_code=1))
    expected = path.stem.split("-")[0]
    assert (cause.code if cause else "unknown") == expected
    if cause:
        assert cause.words and cause.line and cause.line in path.read_text().replace("\r", "\n")


def test_the_kernels_word_counts_more_than_the_log() -> None:
    evidence = Evidence(137, "SIGKILL", oom_kills=1, peak_memory=60 * GIGABYTE, memory_total=64 * GIGABYTE)
    cause = explain(b"FileNotFoundError: x\n", evidence)
    assert cause and cause.code == "oom_killed" and "60.0 GB" in cause.words


def test_a_kill_from_outside_is_not_called_what_it_may_not_be() -> None:
    cause = explain(b"epoch 1\n", Evidence(137, "SIGKILL", peak_memory=GIGABYTE, memory_total=64 * GIGABYTE))
    assert cause and cause.code == "killed" and "unknown" in cause.words
    cause = explain(b"epoch 1\n", Evidence(137, "SIGKILL", peak_memory=60 * GIGABYTE, memory_total=64 * GIGABYTE))
    assert cause and cause.code == "oom_killed" and "94% of the host's memory, so perhaps" in cause.words


@pytest.mark.parametrize("name", ["SIGSEGV", "SIGABRT", "SIGBUS", "SIGILL", "SIGFPE"])
def test_a_crash_is_said_in_words(name: str) -> None:
    cause = explain(b"", Evidence(139, name))
    assert cause and cause.code == "crash" and len(cause.words) > 10


def test_what_is_not_known_is_not_guessed() -> None:
    assert explain(b"", Evidence(9)) is None
    assert explain(b"all is well\n", Evidence(1)) is None
    assert explain(b"", Evidence(1, disk_free=1000)) is not None


@given(st.binary(max_size=3000))
def test_no_log_is_an_error(tail: bytes) -> None:
    cause = explain(tail, Evidence(1))
    assert cause is None or cause.to_wire()["code"] in postmortem.known_codes()
