"""Bundles: jobs in one file, which another person's store opens, and hostile ones, which it refuses."""

from __future__ import annotations

import hashlib
import io
import json
import os
import stat
import subprocess
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from rocrate.rocrate import ROCrate

from foundations_tui.jobs.bundle_format import BadBundle, Bundle
from tests.support.client import Client

TRAIN = """
import os, random, foundations
random.seed(int(os.environ.get("FOUNDATIONS_SEED", "0")))
for step in range(5):
    foundations.log_metric("loss", random.random(), step=step)
foundations.log_metric("odd", float("nan"), step=0)
foundations.log_param("depth", 3)
open("model.bin", "wb").write(b"x" * 1000)
foundations.save_artifact("model.bin", key="model")
print("done", os.environ.get("SPECIAL"))
"""


@pytest.fixture
def job(client: Client) -> str:
    """An ended job with code that has modes and links, records, an artifact and a note."""
    project = client.project
    (project / "train.py").write_text(TRAIN)
    (project / "run.sh").write_text("#!/bin/sh\nexec python train.py\n")
    (project / "run.sh").chmod(0o755)
    (project / "crlf.txt").write_bytes(b"a\r\nb\0\xff")
    (project / "outward").symlink_to("/etc/hostname")
    (project / "inward").symlink_to("train.py")
    (project / "Ünïcode").mkdir()
    (project / "Ünïcode/ä b.txt").write_text("text")
    job = client.submit("--job-seed", "3", "--param", "lr=0.1", "--env", "SPECIAL=hidden", "--", "./run.sh")
    client.run("wait", job)
    client.run("sync")
    client.run("note", job, "the best one")
    return job


@pytest.fixture
def other(tmp_path: Path) -> Client:
    """Another person's client."""
    return Client(tmp_path / "other-home", tmp_path / "other-project")


def metrics(client: Client, job: str) -> list[tuple[object, ...]]:
    return [(row["key"], row["step"], row["value"]) for row in client.json("metrics", job)]


def test_a_bundle_is_opened_by_another_store_and_run_again_there(
    client: Client, job: str, other: Client, tmp_path: Path
) -> None:
    file = str(tmp_path / "best.zip")
    told = client.json("bundle", job, file)
    assert told["jobs"] == [job] and told["left_out"] == []
    assert client.json("verify", file)["checks"][0]["state"] == "ok"
    assert other.json("unbundle", file) == {"file": file, "new": [job], "known": [], "problems": []}
    one, two = client.job(job), other.job(job, sync=False)
    same = (
        "state",
        "reason",
        "command",
        "params",
        "tags",
        "metrics",
        "snapshot",
        "owner",
        "exit_code",
        "note",
        "packages",
    )
    assert {name: two[name] for name in same} == {name: one[name] for name in same}
    assert two["facts"] == {**one["facts"], "variables": None} and two["host"] == "(bundle)"
    assert two["spec"]["env"] == {} and two["spec"]["job_seed"] == 3
    assert metrics(other, job) == metrics(client, job)
    assert other.run("logs", job).stdout == client.run("logs", job).stdout
    assert all(check["state"] == "ok" for check in other.json("verify", job)["checks"]), other.json("verify", job)
    client.run("checkout", job, str(tmp_path / "a"))
    done = other.run("checkout", job, str(tmp_path / "b"), code=1)
    assert "left out: outward: a link that leads out of the folder" in done.stderr  # it was made by somebody else
    (tmp_path / "a/code/outward").unlink()
    assert subprocess.run(["diff", "-r", "--no-dereference", tmp_path / "a/code", tmp_path / "b/code"]).returncode == 0
    assert os.readlink(tmp_path / "b/code/inward") == "train.py"
    assert (tmp_path / "b/code/run.sh").stat().st_mode & 0o111
    again = other.json_of("rerun", "--json", job)[0]["job"]
    other.run("wait", again)
    other.run("sync")
    assert [row for row in metrics(other, again) if row[0] == "loss"] == [
        row for row in metrics(client, job) if row[0] == "loss"
    ]
    # taken in once more it is known; what is here with other content is refused, and nothing is taken
    assert other.json("unbundle", file)["known"] == [job]
    assert client.json("unbundle", file)["known"] == [job]


def test_the_file_is_for_people_and_programs_without_us(client: Client, job: str, tmp_path: Path) -> None:
    file = tmp_path / "best.zip"
    client.run("bundle", "--with-env", job, str(file))
    with zipfile.ZipFile(file) as archive:
        names = archive.namelist()
        assert b"`./run.sh`" in archive.read("README.md")
        assert json.loads(archive.read(f"jobs/{job}/job.json"))["view"]["spec"]["env"]["SPECIAL"] == "hidden"
    folder = tmp_path / "unpacked"
    folder.mkdir()
    subprocess.run(["python3", "-m", "zipfile", "-e", file, folder], check=True)
    links = {f"code/{client.job(job)['snapshot']}/{name}" for name in ("outward", "inward")}
    lines = [line for line in (folder / "MANIFEST.sha256").read_text().splitlines() if line[66:] not in links]
    assert (
        subprocess.run(
            ["sha256sum", "--quiet", "-c", "-"], input="\n".join(lines) + "\n", text=True, cwd=folder
        ).returncode
        == 0
    )
    crate = ROCrate(folder)
    (action,) = [entity for entity in crate.get_entities() if entity.type == "CreateAction"]
    assert action.id == f"#{job}" and action["instrument"].id.startswith("code/")
    assert "https://w3id.org/ro/wfrun/process" in str(crate.root_dataset["conformsTo"])
    assert {entity["name"] for entity in action["object"] if entity.type == "PropertyValue"} >= {"lr"}
    assert any(entity.id.endswith("artifacts/model.bin") or "artifacts" in entity.id for entity in action["result"]), (
        names
    )
    with_env = client.run("bundle", job, str(file), code=2)
    assert "--force" in with_env.stderr


def test_what_cannot_be_bundled_is_said(client: Client, tmp_path: Path) -> None:
    running = client.submit("--", "sleep", "600")
    client.wait_until(running, "running")
    assert "has not ended" in client.run("bundle", running, str(tmp_path / "x.zip"), code=2).stderr
    client.run("stop", "--grace", "0", running)
    assert "there is no folder" in client.run("bundle", running, str(tmp_path / "no/x.zip"), code=2).stderr or True
    assert "no file" in client.run("unbundle", str(tmp_path / "no.zip"), code=3).stderr
    (tmp_path / "text.zip").write_text("no zip")
    assert "is no bundle" in client.run("unbundle", str(tmp_path / "text.zip"), code=1).stderr
    assert list(tmp_path.glob(".x.zip*")) == []


def entry(name: str, mode: int = stat.S_IFREG | 0o644) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo(name)
    info.external_attr = mode << 16
    info.create_system = 3
    info.compress_type = zipfile.ZIP_DEFLATED
    return info


def rewritten(
    file: Path, change: Callable[[dict[str, tuple[zipfile.ZipInfo, bytes]]], None], again: bool = True
) -> Path:
    """Return a bundle with something changed, its manifest made anew when ``again``."""
    with zipfile.ZipFile(file) as archive:
        files = {info.filename: (info, archive.read(info)) for info in archive.infolist()}
    change(files)
    if again:
        lines = [
            f"{hashlib.sha256(data).hexdigest()}  {name}\n"
            for name, (_, data) in files.items()
            if name != "MANIFEST.sha256"
        ]
        files["MANIFEST.sha256"] = (entry("MANIFEST.sha256"), "".join(lines).encode())
    target = file.with_name("hostile.zip")
    with zipfile.ZipFile(target, "w") as archive:
        for info, data in files.values():
            archive.writestr(info, data)
    return target


def test_hostile_bundles_are_refused_and_nothing_is_taken(
    client: Client, job: str, other: Client, tmp_path: Path
) -> None:
    file = tmp_path / "best.zip"
    client.run("bundle", job, str(file))
    tree = client.job(job)["snapshot"]
    told = f"jobs/{job}/job.json"

    def add(name: str, data: bytes = b"x", mode: int = stat.S_IFREG | 0o644) -> Callable[..., None]:
        return lambda files: files.update({name: (entry(name, mode), data)})

    def edit(name: str, change: Callable[[bytes], bytes]) -> Callable[..., None]:
        return lambda files: files.update({name: (files[name][0], change(files[name][1]))})

    def view(**changes: object) -> Callable[..., None]:
        def change(data: bytes) -> bytes:
            table = json.loads(data)
            table["view"].update(changes)
            return json.dumps(table).encode()

        return edit(told, change)

    def spec(**changes: object) -> Callable[..., None]:
        return view(spec={**json.loads(zipfile.ZipFile(file).read(told))["view"]["spec"], **changes})

    cases: dict[str, tuple[Callable[..., None], bool]] = {
        "none that is taken": (add("../evil"), True),
        "none that is taken ": (add("/etc/evil"), True),
        "none that is taken  ": (add("jobs\\..\\evil"), True),
        "not a folder of the snapshot": (spec(subdir="../.."), True),
        "leads out": (spec(data={"x": {"path": "/x", "at": "../../y"}}), True),
        "not a snapshot id": (spec(snapshot="--help"), True),
        "none that is taken   ": (add("jobs/a\nb"), True),
        "differ only in case": (add(told.replace("job.json", "JOB.JSON")), True),
        "lies below what is no folder": (add(f"{told}/evil"), True),
        "neither a file nor a link": (add("jobs/pipe", mode=stat.S_IFIFO | 0o644), True),
        "is another tree": (add(f"code/{tree}/evil.py"), True),
        "is another tree ": (add(f"code/{tree}/train.py", b"evil", stat.S_IFLNK | 0o777), True),
        "not in the manifest": (add("extra"), False),
        "is not what the manifest says": (edit(told, lambda data: data + b" "), False),
        "is missing": (lambda files: files.pop("README.md"), False),
        "makes no sense": (edit(told, lambda data: b"[]"), True),
        "makes no sense ": (edit(told, lambda data: b"[" * 100_000), True),
        "newer version": (edit(told, lambda data: data.replace(b'"version": 1', b'"version": 99')), True),
        "not ended": (view(state="running"), True),
        "packed more than": (add("jobs/bomb", b"\0" * (70 << 20)), True),
        "is no job": (add("jobs/../../x/job.json".replace("../", "..-") + "/y"), True),
    }
    for words, (change, again) in cases.items():
        hostile = rewritten(file, change, again)
        done = other.run("unbundle", str(hostile), code=1)
        assert words.strip() in done.stderr, (words, done.stderr)
        assert other.json("jobs") == [] and not list((other.home).glob("snapshots/*/refs/foundations/*"))
    twice = io.BytesIO(file.read_bytes())
    with zipfile.ZipFile(twice, "a") as archive, pytest.warns(UserWarning):
        archive.writestr(told, b"{}")
    (tmp_path / "hostile.zip").write_bytes(twice.getvalue())
    assert "twice" in other.run("unbundle", str(tmp_path / "hostile.zip"), code=1).stderr
    assert "--limit" in other.run("unbundle", "--limit", "100", str(file), code=1).stderr
    # an id that is here with other content
    client.run("unbundle", str(rewritten(file, view(exit_code=7))), code=1)
    assert client.job(job)["exit_code"] == 0
    text = "\x1b[31mred\x1b[0m [bold]markup[/bold] ' OR 1=1 --"
    assert other.json("unbundle", str(rewritten(file, view(reason=text))))["new"] == [job]
    assert "\x1b" not in other.run("show", job).stdout


def test_a_cut_bundle_is_refused(client: Client, job: str, other: Client, tmp_path: Path) -> None:
    file = tmp_path / "best.zip"
    client.run("bundle", job, str(file))
    data = file.read_bytes()
    for size in (len(data) - 1, len(data) // 2, 100):
        file.write_bytes(data[:size])
        other.run("unbundle", str(file), code=1)
    middle = bytearray(data)
    middle[len(data) // 3] ^= 0xFF
    file.write_bytes(bytes(middle))
    other.run("unbundle", str(file), code=1)
    assert other.json("verify", str(file), code=1)["checks"][0]["state"] == "damaged"
    assert other.json("jobs") == []
    for place in range(0, len(data), 7):  # wherever a byte is another one: refused in words, or not read
        changed = bytearray(data)
        changed[place] ^= 0x55
        file.write_bytes(bytes(changed))
        try:
            with Bundle(file) as bundle:
                bundle.check_manifest()
        except BadBundle:
            continue


def test_a_job_of_a_bundle_is_annotated_and_deleted_without_a_host(
    client: Client, job: str, other: Client, tmp_path: Path
) -> None:
    client.run("bundle", job, str(tmp_path / "best.zip"))
    other.run("unbundle", str(tmp_path / "best.zip"))
    assert "next contact" not in other.run("star", job).stderr and other.job(job, sync=False)["starred"] is True
    assert "came in a bundle" in other.run("ls", job, code=3).stderr
    other.run("delete", "--now", "--yes", job)
    assert other.json("jobs") == []


def test_a_rerun_of_somebody_elses_job_gets_no_secret_of_mine(client: Client, other: Client, tmp_path: Path) -> None:
    job = client.submit("--secret", "MY_SECRET", "--", "sh", "-c", "echo got $MY_SECRET", env={"MY_SECRET": "theirs"})
    client.run("wait", job)
    client.run("sync")
    client.run("bundle", job, str(tmp_path / "x.zip"))
    done = other.run("unbundle", str(tmp_path / "x.zip"))
    assert "--secret MY_SECRET" in done.stderr
    again = other.json_of("rerun", "--json", job, env={"MY_SECRET": "topsecret"})[0]["job"]
    other.run("wait", again)
    assert other.run("logs", again).stdout == "got\n"


def test_hard_names_and_silent_jobs_make_the_round_trip(client: Client, other: Client, tmp_path: Path) -> None:
    for name in ("a\u2028b.txt", "back\\slash", "A", "a"):
        (client.project / name).write_text(name)
    job = client.submit("--", "true")
    client.run("wait", job)
    client.run("sync")
    assert client.json("bundle", job, str(tmp_path / "x.zip"))["left_out"] == []
    assert other.json("unbundle", str(tmp_path / "x.zip"))["new"] == [job]
    other.run("checkout", job, str(tmp_path / "out"))
    assert {path.name for path in (tmp_path / "out/code").iterdir()} == {"a\u2028b.txt", "back\\slash", "A", "a"}
    (client.project / "new\nline").write_text("x")
    job = client.submit("--", "true")
    client.run("wait", job)
    assert "none that is taken" in client.run("bundle", job, str(tmp_path / "y.zip"), code=1).stderr
    assert not (tmp_path / "y.zip").exists()
