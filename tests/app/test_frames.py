"""What each page looks like at four sizes, cell by cell; FRAMES=write makes the pictures again, to be looked at."""

from __future__ import annotations

import json
import math
import os
import string
import time
from dataclasses import replace
from pathlib import Path

import pytest
from rich.cells import cell_len
from rich.style import Style

from foundations import records
from foundations_tui.config import locations
from foundations_tui.ingest import stories
from foundations_tui.session import Session
from foundations_tui.store import models, services, write_streams, writes
from foundations_tui.store.db import Store
from foundations_tui.ui.app import FoundationsApp
from foundations_tui.ui.render_once import settle, text
from remote_agent.protocol.models import RegistryEvent, Version
from remote_agent.protocol.resources import GpuProcess, HostGpu, Resources
from remote_agent.protocol.services import Readiness, Replica, RevisionHead, ServiceView, Traffic
from tests.support.paths import DATA
from tests.support.store import fill

FRAMES = DATA / "frames"
NOW = 1_800_000_000.0
SIZES = ((60, 15), (80, 24), (120, 30), (160, 50))
PAGES = ("jobs", "metrics", "log", "hosts", "compare", "queue", "race", "models", "services")
COLORED = (120, 30)
"""The size at which colors are compared, too."""
CASES = [(page, size) for page in PAGES for size in SIZES] + [("overview", size) for size in SIZES[2:]]


@pytest.fixture(autouse=True)
def _one_moment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    monkeypatch.setattr("time.time", lambda: NOW)


def store_of_all_kinds() -> None:
    """Jobs in every state, two hosts, metrics, a log."""
    fill(40)
    store = Store()
    states = ("running", "queued", "preparing", "stopped", "lost")
    with store.transaction() as conn:
        for number, state in enumerate(states):
            job = f"{39 - number:012x}"
            conn.execute("UPDATE jobs SET state = ?, reason = '' WHERE job = ?", [state, job])
            if state in ("running", "queued", "preparing"):
                conn.execute("UPDATE jobs SET ended_at = NULL, exit_code = NULL WHERE job = ?", [job])
        conn.execute("UPDATE jobs SET reason = 'waits for 2 GPUs: 1 free', started_at = NULL WHERE state = 'queued'")
        conn.execute("UPDATE jobs SET starred = 1, note = 'the best so far' WHERE job = ?", [f"{38:012x}"])
    for number in range(36, 40):
        job = f"{number:012x}"
        points = [records.encode_metric(NOW - 100 + n, "loss", n, math.exp(-n / number)) for n in range(60)]
        points += [records.encode_metric(NOW - 100 + n, "acc", n, 1 - math.exp(-n / number)) for n in range(60)]
        write_streams.put_sizes(store, "local", [(job, 1, "records/w", 1 << 40)])
        write_streams.put_records_page(store, job, 1, "records/w", 0, b"".join(points))
        log = locations.log_file(job, 1)
        log.parent.mkdir(parents=True)
        log.write_text("".join(f"epoch {n}/60  loss {math.exp(-n / number):.4f}\n" for n in range(60)))
    stories.refresh(store)
    store.close()


def put_services_of_all_kinds() -> None:
    """A service that rolls, one that fails, one that is stopped, one out of reach."""
    ready = Readiness(True, since=NOW - 50, address="127.0.0.1", port=40001)
    warm = Readiness(warming=True, why="it listens nowhere yet", since=NOW - 40)
    heads = [RevisionHead(n, ["vllm", "serve", "m", "--port", "{port}"], "ada", NOW - 900 / n) for n in (1, 2)]
    rolling = [
        Replica("a1b2c3d4e5f6", 1, "running", 1, readiness=ready),
        Replica("b1", 2, "running", 1, readiness=warm),
    ]
    failing = [Replica("c1c1c1c1", 1, "queued", 5, "exit code 1: a Python package is missing", NOW + 16, 5)]
    busy = replace(ready, socket="/s", traffic=Traffic(41.0, 0.006, 0.019, 0.002, 9000))
    serving = [Replica("d1d2d3d4d5d6", 1, "running", 2, readiness=busy, gpus=["0"])]
    of_model = RevisionHead(1, ["python"], "ada", NOW - 900, "churn", 7)
    views = [
        ServiceView(
            "churn-api",
            1,
            1,
            0,
            "ada",
            "churn",
            "ada",
            NOW,
            running=serving,
            revisions=[of_model],
            model="churn",
            version=7,
            alias="champion",
            access="socket",
        ),
        ServiceView("llm", 2, 1, 1, "ada", "chat", "ada", NOW, access="open", running=rolling, revisions=heads),
        ServiceView("notebook", 1, 1, 0, "bob", "x", "bob", NOW, running=failing, revisions=heads[:1]),
        ServiceView("old", 1, 0, 0, "ada", "x", "ada", NOW, revisions=heads[:1]),
    ]
    store = Store()
    services.put_services(store, "local", views, writes.cursor(store, "local")[0])
    services.put_services(store, "gpu2", [ServiceView("far", 1, 1, running=[rolling[0]], revisions=heads[:1])])
    services.put_services(store, "gpu3", [ServiceView("lost", 1, 1, revisions=heads[:1])], "of-before-it-was-wiped")
    store.conn.execute("INSERT OR REPLACE INTO hosts (name, unreachable_since) VALUES ('gpu2', ?)", [NOW - 600])
    store.close()


def put_hosts_of_all_kinds() -> None:
    """A machine with eight GPUs, of which jobs, another user and a fault hold some; one that is out of reach."""
    lines = ["[hosts.dgx]", 'address = "ada@dgx"', "[hosts.lab-a100-old]", 'address = "ada@lab"']
    (locations.data_folder() / "hosts.toml").write_text("\n".join(lines) + "\n")
    store = Store()
    busy = [(0, 88.0, 40_000), (1, 99.0, 79_000), (2, 0.0, 60_000), (3, 1.0, 2_000), (4, 0.0, 0)]
    gpus = [
        HostGpu(
            number,
            f"GPU-{number}",
            "NVIDIA A100-SXM4-80GB",
            81920.0,
            float(used),
            percent,
            55.0 + percent / 3,
            90.0 + 3 * percent,
            job=f"{39 - number:012x}" if number < 2 else None,
            jobs=[f"{39 - number:012x}"] if number < 2 else [],
            held="held by user eve (uid 1007, pid 5009, 60 GB, since 07:16)" if number == 2 else None,
            sick="in quarantine: 2 GB stayed behind job 1a2b3c" if number == 3 else "",
            processes=[GpuProcess(f"GPU-{number}", 5009, 60_000.0, 1007, "eve", "07:16")] if number == 2 else [],
        )
        for number, percent, used in busy
    ]
    has = Resources(64, 40, 512 << 30, 300 << 30, int(1.8e12), int(4e12), int(2e11), gpus=gpus)
    writes.put_contact(
        store, "dgx", has, ["the root /tmp/x does not survive a reboot: what jobs leave there is then lost"]
    )
    writes.put_unreachable(store, "lab-a100-old", "lab-a100-old: connection refused")
    rows = [
        (
            NOW - 590 + 10 * n,
            8.0 + n / 3,
            (200 << 30) + n,
            int(1.8e12),
            [[g.uuid, g.utilization, 0, 50, 100] for g in gpus],
        )
        for n in range(59)
    ]
    with store.transaction() as conn:
        conn.executemany(
            "INSERT INTO host_samples VALUES ('dgx', ?, ?, ?, ?, ?)", [(*row[:4], json.dumps(row[4])) for row in rows]
        )
    store.close()


def put_models_of_all_kinds() -> None:
    """A model with a champion, a version that is served, one that was retired; and a model that is a command."""
    base = {"owner": "ada", "project": "churn", "path": "artifacts/model.joblib", "data": "a" * 64, "files": 1}
    told, of = [], {}
    for number in (1, 2, 3):
        wire = {**base, "job": f"{number:012x}", "bytes": 2_305_000, "flavour": "joblib", "params": {"C": number / 10}}
        wire["metrics"] = {"val_acc": {"last": 0.9 + number / 100}, "val_loss": {"last": 0.4 - number / 10}}
        wire["signature"] = {"inputs": [{"name": "x", "datatype": "FP64", "shape": [-1, 30]}], "outputs": []}
        version = Version.from_wire({**wire, "note": "the whole year" if number == 2 else ""}, "")
        of[number] = version.identity
        told.append(RegistryEvent("registered", "churn", number, version, by="ada", at=NOW - 86400 * (4 - number)))
    told.append(RegistryEvent("alias", "churn", 2, of=of[2], alias="champion", by="ada", at=NOW - 7200))
    told.append(RegistryEvent("alias", "churn", 3, of=of[3], alias="canary", by="bob", at=NOW - 3600))
    told.append(RegistryEvent("retired", "churn", 1, of=of[1], by="ada", at=NOW - 600))
    command = Version.from_wire({"job": "a1", "flavour": "command", "command": ["vllm", "serve", "{path}"]}, "")
    told.append(RegistryEvent("registered", "llm", 1, command, by="bob", at=NOW - 60))
    head = RevisionHead(1, ["python"], "ada", NOW - 900, "churn", 2)
    traffic = Traffic(41.0, 0.006, 0.019, 0.002, 9000)
    replica = Replica(
        "a1b2c3d4e5f6", 1, "running", 2, readiness=Readiness(True, since=NOW, socket="/s", traffic=traffic)
    )
    view = ServiceView("api", 1, 1, model="churn", version=2, alias="champion", running=[replica], revisions=[head])
    store = Store()
    models.put_events(store, "local", ("", 0), "", len(told), list(enumerate(told, 1)))
    services.put_services(store, "local", [view], writes.cursor(store, "local")[0])
    store.close()


def make_a_sweep() -> None:
    """Have the jobs with metrics be a sweep."""
    store = Store()
    with store.transaction() as conn:
        conn.execute("UPDATE jobs SET group_name = 'lr-sweep' WHERE job >= ?", [f"{36:012x}"])
    store.close()


def colors(app: FoundationsApp) -> str:
    """Return a letter for each cell, by how it is drawn, and below them what the letters stand for."""
    letters: dict[str, str] = {}
    lines = []
    for strip in app.screen._compositor.render_strips():
        line = ""
        for segment in strip:
            style = segment.style or Style.null()
            marks = [name for name in ("bold", "dim", "reverse", "underline") if getattr(style, name)]
            parts = [part.triplet.hex if part and part.triplet else "-" for part in (style.color, style.bgcolor)]
            drawn = " ".join([*parts, *marks])
            letter = letters.setdefault(drawn, string.ascii_letters[len(letters) % 52])
            line += letter * cell_len(segment.text)
        lines.append(line)
    return "\n".join([*lines, "", *(f"{letter} {drawn}" for drawn, letter in letters.items())])


def compare(file: Path, shown: str) -> None:
    """Hold a picture to what it was, or write it anew."""
    if os.environ.get("FRAMES") == "write":
        file.parent.mkdir(exist_ok=True)
        file.write_text(shown + "\n", encoding="utf-8")
    assert shown + "\n" == file.read_text(encoding="utf-8"), shown


def _name(value: str | tuple[int, int]) -> str:
    return value if isinstance(value, str) else "x".join(map(str, value))


@pytest.mark.parametrize(("page", "size"), CASES, ids=_name)
async def test_a_page_looks_as_it_did(page: str, size: tuple[int, int]) -> None:
    store_of_all_kinds()
    if page == "services":
        put_services_of_all_kinds()
    if page == "models":
        put_models_of_all_kinds()
    if page == "race":
        make_a_sweep()
    if page in ("hosts", "overview"):
        put_hosts_of_all_kinds()
    app = FoundationsApp(Session(), page="jobs" if page == "compare" else page, follow=False)
    async with app.run_test(size=size) as pilot:
        await settle(app, pilot)
        if page == "compare":
            await pilot.press("space", "j", "space", "j", "space", "5")
            await settle(app, pilot)
        shown, drawn = text(app), colors(app)
    compare(FRAMES / f"{page}-{size[0]}x{size[1]}.txt", shown)
    if size == COLORED:
        compare(FRAMES / f"{page}-colors.txt", drawn)
