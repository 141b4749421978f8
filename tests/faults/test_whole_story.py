"""From a sweep to an answer, to a better answer, to the night in which nobody is there."""

from __future__ import annotations

import sys
import threading
import time

import numpy as np
import tritonclient.http as triton

from tests.integration.test_services import connected, until
from tests.support import agents
from tests.support.client import Client, wait_until
from tests.support.sshd import Sshd

_TRAIN = """
import sys
import foundations, joblib
from sklearn.datasets import load_breast_cancer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

c = float(sys.argv[1])
x, y = load_breast_cancer(return_X_y=True)
foundations.keep_data_contract("patients", x)
x_train, x_test, y_train, y_test = train_test_split(x, y, random_state=0)
model = make_pipeline(StandardScaler(), LogisticRegression(C=c)).fit(x_train, y_train)
foundations.log_metric("val_acc", model.score(x_test, y_test))
joblib.dump(model, "model.joblib")
foundations.save_artifact("model.joblib")
"""
_TOML = """
project = "churn"
[metrics.direction]
val_acc = "max"
[model]
path = "artifacts/model.joblib"
example = "example.json"
[model.log]
sample = 1.0
"""
_QUICK = ("--probe-every", "0.5", "--probe-timeout", "5")


def _rows() -> np.ndarray:
    from sklearn.datasets import load_breast_cancer

    return np.asarray(load_breast_cancer(return_X_y=True)[0], "float64")


class _Asking(threading.Thread):
    """Asks with tritonclient until it is told to end; keeps which versions have answered, and what failed."""

    def __init__(self, port: int) -> None:
        super().__init__()
        self._port = port
        self.ends = threading.Event()
        self.versions: list[str] = []
        self.failures: list[str] = []

    def run(self) -> None:
        rows = _rows()[:4]
        with triton.InferenceServerClient(f"127.0.0.1:{self._port}") as client:
            while not self.ends.wait(0.01):
                given = triton.InferInput("input-0", list(rows.shape), "FP64")
                given.set_data_from_numpy(rows)
                try:
                    answer = client.infer("churn", [given])
                    assert answer.as_numpy("output-0").shape == (4,)
                    self.versions.append(str(answer.get_response()["model_version"]))
                except Exception as error:
                    self.failures.append(repr(error))

    def __enter__(self) -> _Asking:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.ends.set()
        self.join(30)


def test_a_model_is_swept_registered_served_replaced_retrained_and_there_after_a_reboot(
    client: Client, sshd: Sshd
) -> None:
    for name in ("gpu1", "gpu2"):
        client.add_host(name, sshd, python=sys.executable, max_jobs=6)
    root = client.home / "root-gpu2"
    (client.project / "train.py").write_text(_TRAIN)
    (client.project / "foundations.toml").write_text(_TOML)
    (client.project / "example.json").write_text(f'{{"input-0": {_rows()[:1].tolist()}}}')
    sweep = ("--sweep", "C=0.00001,0.0001,0.001", "--host", "gpu1", "--wait", "--", "python", "train.py", "{C}")
    client.run("submit", *sweep)
    client.run("model", "register", "@best:val_acc:max", "--name", "churn", "--home", "gpu2", "--as", "champion")
    client.run("serve", "churn@champion", "--host", "gpu2", "--replicas", "2", "--follow", *_QUICK)
    with connected(client, "churn") as there, _Asking(there["local_port"]) as asking:
        wait_until(lambda: "1" in asking.versions)
        better = client.submit("--host", "gpu1", "--wait", "--", "python", "train.py", "0.01")
        client.run("model", "register", better, "--name", "churn")
        client.run("model", "promote", "churn", "2")
        wait_until(lambda: asking.versions[-20:] == ["2"] * 20)
        client.run("model", "rollback", "churn")
        wait_until(lambda: asking.versions[-20:] == ["1"] * 20)
        words = ("--register", "churn", "--promote-if", "val_acc", "--host", "gpu2", "--", "python", "train.py", "1")
        client.run("schedule", "add", "retrain", "--cron", "0 3 * * *", *words)
        client.run("schedule", "run", "retrain")
        wait_until(lambda: asking.versions[-20:] == ["3"] * 20, 90)
    assert not asking.failures, asking.failures[:3]
    assert {"1", "2", "3"} == set(asking.versions)
    (schedule,) = client.json_of("schedule", "list", "--json")
    assert "churn 3; champion now (val_acc" in schedule["outcome"]
    agents.reboot(root)
    time.sleep(1)
    until(client, lambda now: now["ready"] == 2, "churn", 60)
    with connected(client, "churn") as there, _Asking(there["local_port"]) as asking:
        wait_until(lambda: len(asking.versions) > 20)
    assert set(asking.versions) == {"3"} and not asking.failures
    assert client.json_of("model", "show", "churn@champion", "--json")["version"] == 3
    assert client.json_of("schedule", "list", "--json")[0]["state"] == "active"
    client.run("service", "stop", "churn")
