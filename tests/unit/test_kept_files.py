"""Where the files of a job are that are kept as a model."""

from __future__ import annotations

from pathlib import Path

import pytest

from remote_agent.protocol.errors import BadRequest, NotFound
from remote_agent.protocol.models import FilesToKeep
from remote_agent.storage.paths import Paths
from remote_agent.system import kept_files

_JOB = "a" * 12


def test_artifacts_are_those_of_the_sdk_first_and_then_those_of_a_folder_of_that_name(tmp_path: Path) -> None:
    paths = Paths(str(tmp_path))
    job = paths.job(_JOB)
    own, work = Path(job.artifacts), Path(job.attempt(1).work)
    for folder, name in (
        (own, "net"),
        (work / "artifacts", "net"),
        (work / "artifacts", "only.pkl"),
        (work, "top.pkl"),
    ):
        folder.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(str(folder))

    def found(path: str) -> str:
        return kept_files._in_job(job, FilesToKeep(_JOB, 1, path))

    assert found("artifacts/net") == str(own / "net")
    assert found("artifacts/only.pkl") == str(work / "artifacts" / "only.pkl")
    assert found("top.pkl") == str(work / "top.pkl")
    assert found("artifacts") == str(own)
    (own / "net").unlink()
    assert found("artifacts") == str(work / "artifacts"), "the job's own is empty"
    Path(job.spec).write_text('{"subdir": "vision"}')
    (work / "vision" / "artifacts").mkdir(parents=True)
    (work / "vision" / "artifacts" / "sub.pkl").touch()
    assert found("artifacts/sub.pkl") == str(work / "vision" / "artifacts" / "sub.pkl")
    with pytest.raises(NotFound):
        found("artifacts/none")
    with pytest.raises(BadRequest):
        found("artifacts/../../../..")
