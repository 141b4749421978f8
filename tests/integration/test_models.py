"""Models: registered, promoted, served on another host than where they were trained, and never lost by accident."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import threading
import urllib.request
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tritonclient.http as triton

from tests.integration.test_services import connected, until
from tests.support import agents
from tests.support.client import Client, use_slots, wait_until
from tests.support.sshd import Sshd

_TRAIN = """
import sys, foundations
factor = float(sys.argv[1])
foundations.log_param("factor", factor)
foundations.log_metric("val_loss", 1 / factor)
import os
os.makedirs("out", exist_ok=True)
open("out/factor.txt", "w").write(str(factor))
foundations.save_artifact("out", "model")
"""
_SERVING = """
def load(path):
    return float(open(path + "/factor.txt").read())

def predict(factor, x):
    return {"y": x * factor}

def note(**arguments):
    print("noted", arguments)
"""
_TOML = """
project = "churn"
[metrics.direction]
val_loss = "min"
[model]
path = "artifacts/model"
load = "serving:load"
predict = "serving:predict"
evaluate = "serving:note"
example = "example.json"
"""
_QUICK = ("--probe-every", "0.3", "--probe-timeout", "2")


@pytest.fixture
def trained(client: Client) -> Client:
    """A client whose project trains a model, with a Python that can serve."""
    client.env["PATH"] = f"{Path(sys.executable).parent}:{client.env['PATH']}"
    for name, text in {"train.py": _TRAIN, "serving.py": _SERVING, "foundations.toml": _TOML}.items():
        (client.project / name).write_text(text)
    (client.project / "example.json").write_text('{"x": [1.0, 2.0]}')
    return client


def train(client: Client, factor: float, *words: str) -> str:
    job = client.submit(*words, "--wait", "--", "python", "train.py", str(factor))
    assert client.job(job)["state"] == "completed"
    return job


def register(client: Client, job: str, *words: str) -> dict[str, Any]:
    return dict(client.json_of("model", "register", job, "--name", "churn", *words, "--json"))


def ask(port: int, x: float) -> tuple[float, str]:
    """Return what the model answers to tritonclient, and by which version."""
    with triton.InferenceServerClient(f"127.0.0.1:{port}") as client:
        given = triton.InferInput("x", [1], "FP64")
        given.set_data_from_numpy(np.array([x], "float64"))
        answer = client.infer("churn", [given])
    return float(answer.as_numpy("y")[0]), str(answer.get_response()["model_version"])


# --- from a job to an answer --------------------------------------------------------------------------------------


@pytest.mark.rest
def test_a_model_is_checked_registered_served_replaced_and_rolled_back(trained: Client) -> None:
    worse, better = train(trained, 2), train(trained, 3)
    checked = trained.json_of("model", "check", better, "--json")
    assert checked["signature"]["inputs"] == [{"name": "x", "datatype": "FP64", "shape": [-1]}]
    assert json.loads(checked["result"]) == {"y": [3.0, 6.0]}
    assert trained.json_of("model", "list", "--json") == []
    first = register(trained, worse)
    assert (first["version"], first["path"], first["params"]) == (1, "artifacts/model", {"factor": 2.0})
    assert first["metrics"]["val_loss"]["last"] == 0.5
    assert register(trained, worse)["changed"] is False
    second = register(trained, "@best:val_loss", "--note", "from the sweep \x1b[31m")
    assert (second["version"], second["job"]) == (2, better)
    trained.run("model", "promote", "churn", "1")
    served = trained.json("serve", "churn@champion", *_QUICK)
    assert (served["service"], served["ready"], served["state"]) == ("churn", 1, "ready")
    assert trained.json("serve", "churn@champion", *_QUICK)["changed"] is False
    with connected(trained, "churn") as there:
        port = int(there["url"].rpartition(":")[2])
        assert ask(port, 5) == (10.0, "1")
        promoted = trained.json_of("model", "promote", "churn", "2", "--json")
        assert (promoted["before"], promoted["left_behind"]) == (1, ["churn"])
        assert ask(port, 5) == (10.0, "1"), "a service follows nobody by itself"
        until(trained, lambda now: bool(now["traffic"].get("total", 0) >= 2), "churn")
        trained.run("serve", "churn@champion", *_QUICK)
        assert ask(port, 5) == (15.0, "2")
        trained.run("model", "rollback", "churn")
        trained.run("serve", "churn@champion", *_QUICK)
        assert ask(port, 5) == (10.0, "1")
    shown = trained.json_of("model", "show", "churn@champion", "--json")
    assert (shown["job"], shown["services"], shown["aliases"]) == (worse, ["churn"], ["champion"])
    trained.run("serve", "churn@champion", "--follow", "--env", "GREETING=hi", "--ram", "64M", *_QUICK)
    assert trained.json_of("model", "promote", "churn", "2", "--json")["following"] == ["churn"]
    until(trained, lambda now: bool(now["model_version"] == 2 and now["state"] == "ready"), "churn")
    (replica,) = [one["job"] for one in trained.json_of("service", "show", "churn", "--json")["running"]]
    spec = trained.job(replica)["spec"]
    assert (spec["env"]["GREETING"], spec["ram"]) == ("hi", 64 << 20), "what it was given is kept"
    assert trained.json_of("model", "rollback", "churn", "--json")["following"] == ["churn"]
    trained.run("serve", "churn@1", "--follow", code=2)
    history = trained.json_of("model", "history", "churn", "--json")
    assert [(move["version"], move["before"]) for move in history][:3] == [(1, None), (2, 1), (1, 2)]
    differing = trained.json_of("model", "diff", "churn", "1", "2", "--json")
    assert differing["params"] == {"factor": [2.0, 3.0]}
    assert "\x1b" not in trained.run("model", "show", "churn").stdout
    assert "what service churn runs" in trained.run("model", "retire", "churn", "1", code=1).stderr
    trained.run("model", "promote", "churn", "2")
    until(trained, lambda now: bool(now["model_version"] == 2 and now["state"] == "ready"), "churn")
    trained.run("model", "retire", "churn", "1")
    for words in (("service", "rollback", "churn"), ("model", "rollback", "churn")):
        refused = trained.run(*words, code=2).stderr
        assert "was retired" in refused and "model retire churn 1 --undo" in refused


def test_what_a_version_consists_of_is_neither_deleted_nor_pruned(trained: Client) -> None:
    job = train(trained, 2)
    register(trained, job)
    assert "model churn 1 consists of" in trained.run("delete", job, code=1).stderr
    assert "model churn 1 consists of" in trained.run("delete", job, "--yes", "--force", code=1).stderr
    kept = trained.run("prune", "--host", "local", "--older-than", "0s", "--force", "--yes", code=None)
    assert "model churn 1 consists of" in kept.stdout + kept.stderr
    data = trained.json_of("data", "ls", "--host", "local", "--json")
    (name,) = [one["name"] for one in data]
    assert "model churn 1 consists of" in trained.run("data", "rm", name, "--host", "local", "--yes", code=1).stderr
    trained.run("model", "retire", "churn", "1")
    assert "was retired by" in trained.run("serve", "churn@1", code=1).stderr
    trained.run("model", "retire", "churn", "1", "--undo")
    assert "consists of" in trained.run("delete", job, code=1).stderr
    register(trained, job, "--name", "other")
    trained.run("model", "retire", "churn", "1")
    assert "model other 1 consists of" in trained.run("delete", job, "--yes", "--force", code=1).stderr
    trained.run("model", "retire", "other", "1")
    trained.run("delete", job, "--yes", "--force")
    assert trained.json_of("data", "ls", "--host", "local", "--json") == [], "its files go with it"


@pytest.mark.rest
def test_what_cannot_be_served_is_not_registered(trained: Client) -> None:
    job = train(trained, 2)
    for words, expected in (
        (("--predict", "serving:missing"), "Prediction function defined in manifest file could not be found!"),
        (("--predict", "missing:predict"), "Prediction module defined in manifest file could not be found!"),
        (("--path", "artifacts/none"), "has no 'artifacts/none'"),
        (("--path", "../../../etc/passwd"), "leads out of"),
        (("--predict", "no colon"), "module:function"),
        (("--flavour", "onnx"), "0 files that end with .onnx"),
    ):
        done = trained.run("model", "register", job, "--name", "churn", *words, code=None)
        assert done.code in (1, 2, 3) and expected in done.stderr, done.stderr
    for words in (("--as", "Bad Alias"), ("--note", "x" * 3000), ("--example", "deep.json")):
        (trained.project / "deep.json").write_text('{"x":' + "[" * 5000 + "]" * 5000 + "}")
        trained.run("model", "register", job, "--name", "churn", *words, code=2)
    for name in ("Churn", "a.b", "../x", "a/b"):
        assert "lowercase" in trained.run("model", "register", job, "--name", name, code=2).stderr
    (trained.project / "serving.py").write_text("import sys\nsys.exit(0)\n")
    leaving = train(trained, 2)
    assert "SystemExit" in trained.run("model", "check", leaving, code=1).stderr
    (trained.project / "bad.json").write_text('{"x": "text"}')
    done = trained.run("model", "register", job, "--name", "churn", "--example", "bad.json", code=1)
    assert "TypeError" in done.stderr and "Traceback" not in done.stderr
    assert trained.json_of("model", "list", "--json") == []
    trained.run("delete", job, "--yes")
    trained.run("delete", job, "--yes", "--force")
    assert trained.run("model", "show", "churn", code=3)
    assert trained.run("serve", "churn@champion", code=3)


def test_the_predecessors_package_is_served(trained: Client) -> None:
    (trained.project / "foundations.toml").unlink()
    (trained.project / "foundations_package_manifest.yaml").write_text(
        "entrypoints:\n  predict:\n    module: serving\n    function: add\n"
    )
    (trained.project / "serving.py").write_text("def add(a, b):\n    return {'a': a + 1, 'b': b + 2}\n")
    register(trained, train(trained, 2))
    trained.run("serve", "churn@1", *_QUICK)
    with connected(trained, "churn") as there:
        request = urllib.request.Request(there["url"] + "/predict", b'{"a": 1, "b": 2}')
        assert json.loads(urllib.request.urlopen(request, timeout=20).read()) == {"a": 2, "b": 4}


def test_somebody_elses_pickle_is_not_run_unasked(trained: Client) -> None:
    (trained.project / "pickled.py").write_text("import pickle\npickle.dump(len, open('model.pkl', 'wb'))\n")
    (trained.home / "hosts.toml").write_text('owner = "eve"\n')
    job = trained.submit("--wait", "--", "python", "pickled.py")
    (trained.home / "hosts.toml").write_text('owner = "ada"\n')
    words = ("model", "check", job, "--path", "model.pkl", "--flavour", "pickle", "--predict", "builtins:print")
    assert "eve" in trained.run(*words, code=2).stderr
    assert "--trust" in trained.run(*words, code=2).stderr


# --- teams and hosts ----------------------------------------------------------------------------------------------


def _second(client: Client, tmp_path: Path, owner: str) -> Client:
    """Return another laptop with the same hosts."""
    other = Client(tmp_path / "second", tmp_path / "second-project")
    other.home.mkdir(exist_ok=True)
    for name in ("hosts.toml", "known_hosts"):
        text = (client.home / name).read_text()
        (other.home / name).write_text(f'owner = "{owner}"\n{text}' if name == "hosts.toml" else text)
    return other


@pytest.mark.rest
def test_a_team_sees_one_registry_and_one_of_two_promotes(trained: Client, sshd: Sshd, tmp_path: Path) -> None:
    trained.add_host("gpu1", sshd, python=sys.executable)
    for factor in (2, 3, 4):
        register(trained, train(trained, factor, "--host", "gpu1"))
    other = _second(trained, tmp_path, "bob")
    (model,) = other.json_of("model", "list", "--json")
    assert [version["version"] for version in model["versions"]] == [1, 2, 3]
    trained.run("model", "promote", "churn", "1")
    words = [("model", "promote", "churn", str(number), "--expect", "1") for number in (2, 3)]
    both = [client.start(*one) for client, one in zip((trained, other), words, strict=True)]
    said = [process.communicate(timeout=60)[1] for process in both]
    assert sorted(process.returncode for process in both) == [0, 1], said
    loser = said[[process.returncode for process in both].index(1)]
    assert "somebody else has changed it" in loser
    seen = [client.json_of("model", "show", "churn", "--json")["aliases"] for client in (trained, other)]
    assert seen[0] == seen[1]
    sshd.cut()
    try:
        assert trained.run("model", "promote", "churn", "1", code=4)
        assert trained.json_of("model", "show", "churn", "--json")["aliases"] == seen[0], "it is still known here"
    finally:
        sshd.start()


@pytest.mark.rest
def test_a_model_is_served_where_it_was_not_trained_and_its_home_moves(trained: Client, sshd: Sshd) -> None:
    for name in ("gpu1", "gpu2"):
        trained.add_host(name, sshd, python=sys.executable, max_jobs=4)
    register(trained, train(trained, 2, "--host", "gpu1"))
    register(trained, train(trained, 3, "--host", "gpu1"))
    trained.run("model", "promote", "churn", "1")
    served = trained.run("serve", "churn@champion", "--host", "gpu2", "--replicas", "2", *_QUICK)
    assert "fetching 1 file, 3 B, from gpu1" in served.stderr and "sending 1 file, 3 B, to gpu2" in served.stderr
    with connected(trained, "churn") as there:
        port = int(there["url"].rpartition(":")[2])
        assert ask(port, 5) == (10.0, "1")
        answers: list[tuple[float, str]] = []
        failed: list[BaseException] = []
        done = threading.Event()

        def keep_asking() -> None:
            while not done.is_set():
                try:
                    answers.append(ask(port, 5))
                except Exception as error:
                    failed.append(error)

        threads = [threading.Thread(target=keep_asking) for _ in range(3)]
        for thread in threads:
            thread.start()
        again = trained.run("serve", "churn@2", "--host", "gpu2", *_QUICK)
        wait_until(lambda: answers[-1] == (15.0, "2"), 30)
        done.set()
        for thread in threads:
            thread.join()
        assert not failed, failed[:3]
        assert {answer for answer, _ in answers} == {10.0, 15.0}
        assert "sending" in again.stderr
    trained.run("model", "home", "churn", "gpu2")
    (model,) = trained.json_of("model", "list", "--json")
    assert (model["home"], model["aliases"], len(model["versions"])) == ("gpu2", {"champion": 1}, 2)
    trained.run("model", "promote", "churn", "2")
    trained.run("model", "home", "churn", "gpu1")
    (model,) = trained.json_of("model", "list", "--json")
    assert (model["home"], model["aliases"]) == ("gpu1", {"champion": 2})


@pytest.mark.rest
def test_after_a_reinstall_clients_give_the_registry_back(trained: Client, sshd: Sshd, tmp_path: Path) -> None:
    root = trained.add_host("gpu1", sshd, python=sys.executable)
    register(trained, train(trained, 2, "--host", "gpu1"))
    register(trained, train(trained, 3, "--host", "gpu1"))
    trained.run("model", "promote", "churn", "2")
    before = trained.json_of("model", "show", "churn", "--json")
    other = _second(trained, tmp_path, "bob")
    other.run("model", "list")
    agents.end(root)
    shutil.rmtree(root)
    for client in (trained, other):
        client.run("sync")
        (after,) = client.json_of("model", "list", "--json")
        assert {key: after[key] for key in ("home", "aliases", "versions")} == {
            key: before[key] for key in ("home", "aliases", "versions")
        }
    assert len(other.json_of("model", "history", "churn", "--json")) == 1


# --- without a server ---------------------------------------------------------------------------------------------


def test_the_rows_of_a_file_are_answered_in_shards_that_go_on(trained: Client) -> None:
    use_slots(trained, 3)
    register(trained, train(trained, 2))
    rows = trained.project / "rows.csv"
    rows.write_text("x\n" + "".join(f"{number}\n" for number in range(100)))
    words = ("predict", "churn@1", "rows.csv", "--out", "answers.jsonl", "--shards", "3")
    begun = trained.json(*words, "--detach")
    assert len(begun["jobs"]) == 3
    done = trained.json(*words)
    assert (done["jobs"], done["rows"]) == (begun["jobs"], 100), "the same command goes on with the same jobs"
    answers = [json.loads(line)["y"] for line in (trained.project / "answers.jsonl").read_text().splitlines()]
    assert answers == [2.0 * number for number in range(100)]
    trained.run("delete", begun["jobs"][1])
    again = trained.json(*words)["jobs"]
    assert again[::2] == begun["jobs"][::2] and again[1] != begun["jobs"][1], "what is missing is asked again"
    assert not [one for one in trained.json_of("data", "ls", "--host", "local", "--json") if "rows" in one["name"]]
    trained.run(*words[:4], "answers.csv", "--shards", "3")
    assert (trained.project / "answers.csv").read_text().splitlines()[:2] == ["y", "0.0"]
    for wrong in (
        ("predict", "churn@1", "none.csv", "--out", "a.csv"),
        ("predict", "none", "rows.csv", "--out", "a.csv"),
    ):
        trained.run(*wrong, code=3)
    trained.run("predict", "churn@1", "rows.csv", "--out", "answers.exe", code=2)
    trained.run("predict", "churn@1", "train.py", "--out", "a.csv", code=2)
    (trained.project / "ragged.csv").write_text("x,y\n1\n")
    done = trained.run("predict", "churn@1", "ragged.csv", "--out", "a.csv", code=1)
    assert "row 2: 1 values, and 2 names" in done.stderr
    assert not (trained.project / "a.csv").exists()


def test_a_model_is_loaded_into_python(trained: Client) -> None:
    register(trained, train(trained, 2))
    code = (
        "import foundations; m = foundations.load_model('churn@1');"
        "print(m, m.predict(x=4), m(5), m.signature['inputs'][0]['name'])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], env=trained.env, cwd=trained.home, stdout=subprocess.PIPE, check=True, text=True
    )
    assert done.stdout == "<model churn 1> {'y': 8.0} {'y': 10.0} x\n"


# --- watching -----------------------------------------------------------------------------------------------------

_MONITOR = """
import foundations, os
found = foundations.request_log("churn")
contract = foundations.DataContract.load(os.environ["CONTRACT"])
contract.options.least_rows = 5
report = contract.validate(found)
print(len(found), report.critical)
foundations.track_production_metrics("churn", {"requests": len(found)})
"""


def test_what_a_service_is_asked_is_compared_with_its_training_data_here_and_by_a_job(trained: Client) -> None:
    code = trained.project / "train.py"
    more = 'foundations.keep_data_contract("inputs", {"x": [float(number) for number in range(100)]})'
    code.write_text(_TRAIN + more + "\n")
    (trained.project / "monitor.py").write_text(_MONITOR)
    with (trained.project / "foundations.toml").open("a") as file:
        file.write("[model.log]\nsample = 1.0\n")
    job = train(trained, 2)
    assert register(trained, job)["log"] == {"sample": 1.0}
    trained.run("serve", "churn@1", *_QUICK)
    assert "no request of service churn was written down" in trained.run("service", "check", "churn", code=3).stderr
    with connected(trained, "churn") as there:
        port = int(there["url"].rpartition(":")[2])
        for number in range(100):
            ask(port, float(number))
        assert "healthy of 100 rows" in trained.run("service", "check", "churn").stdout
        for _ in range(90):  # 200 a second are written down at most
            ask(port, 500.0)
        differing = trained.run("service", "check", "churn", code=1)
        assert "critical: min_max x" in differing.stdout
        report = trained.json_of("service", "check", "churn", "--contract", "inputs", "--json", code=1)
        assert (report["rows"], report["critical_attributes"]) == (190, ["x"])
    last = trained.json_of("service", "requests", "churn", "-n", "1", "--json")
    assert last[0]["inputs"] == {"x": [500.0]} and last[0]["outputs"] == {"y": [1000.0]}
    assert "500.0" in trained.run("service", "requests", "churn", "--since", "1h").stdout
    (trained.project / "other.json").write_text("{}")
    assert "no contract" in trained.run("service", "check", "churn", "--contract", "other.json", code=2).stderr
    assert "kept no contract" in trained.run("service", "check", "churn", "--contract", "none", code=3).stderr
    place = trained.home / "agent" / "jobs" / job / "artifacts" / "contracts%2Finputs"
    monitor = trained.submit("--wait", "--env", f"CONTRACT={place}", "--", "python", "monitor.py")
    assert trained.run("logs", monitor).stdout == "190 ['x']\n"
    shown = trained.job(monitor)
    assert shown["metrics"]["churn/requests"]["last"] == 190 and shown["metrics"]["inputs/critical"]["last"] >= 1
    assert "reports/inputs" in shown["artifacts"]
    trained.run("service", "stop", "churn")
