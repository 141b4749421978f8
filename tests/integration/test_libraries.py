"""With the real libraries: NumPy, pandas, TensorBoard and MLflow. How many of them are here is printed."""

from __future__ import annotations

import importlib.util
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.client import Client, wait_until
from tests.support.paths import ROOT

LIBRARIES = ("numpy", "pandas", "pyarrow", "tensorboard", "mlflow", "optuna", "sklearn", "ipykernel", "nbclient")


def needs(*names: str) -> pytest.MarkDecorator:
    missing = [name for name in names if importlib.util.find_spec(name) is None]
    return pytest.mark.skipif(bool(missing), reason=f"not installed: {', '.join(missing)}")


def python(client: Client, code: str) -> str:
    env = {k: v for k, v in os.environ.items() if not k.startswith("FOUNDATIONS_") and k != "PYTEST_CURRENT_TEST"}
    env.update(client.env, PYTHONPATH=str(ROOT), TF_CPP_MIN_LOG_LEVEL="3", MLFLOW_ALLOW_FILE_STORE="true")
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=client.project, env=env, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_how_many_of_them_are_here(record_property: Callable[[str, object], None]) -> None:
    here = [name for name in LIBRARIES if importlib.util.find_spec(name) is not None]
    record_property("told", f"libraries under test: {len(here)} of {len(LIBRARIES)} ({', '.join(here)})")
    assert len(here) == len(LIBRARIES), "make test installs them"


@needs("numpy")
def test_numpy_scalars_are_the_numbers_they_hold(client: Client) -> None:
    values = (
        "np.float32(0.5), np.float64('nan'), np.int64(2**40), np.bool_(True), np.array(3.0), np.uint8(7), np.str_('x')"
    )
    code = f"""
import numpy as np, foundations
for value in ({values}): foundations.log_metric('v', value)
foundations.log_metric('v', [np.float16(1), 2], step=np.int32(9))
foundations.log_params({{'a': np.int32(4), 'l': [np.float32(0.5)], 't': (1, np.int8(2))}})
for wrong in (np.array([1, 2]), None, object()):
    try: foundations.log_metric('v', wrong)
    except TypeError as error: print(type(wrong).__name__, str(error)[:50])
"""
    said = python(client, code)
    assert said.splitlines()[0].startswith("ndarray 'v': a string, bool, int or float is needed")
    run = client.json("jobs")[0]
    shown = [one["value"] for one in client.json("metrics", run["job"], "--key", "v")]
    assert shown == [0.5, "NaN", 2**40, 1, 3.0, 7, "x", 1.0, 2]
    assert run["params"] == {"a": 4, "l_0": 0.5, "t_0": 1, "t_1": 2}


@needs("pandas")
def test_all_metrics_are_a_frame_whatever_their_types(client: Client) -> None:
    for value in ("1", "'text'", "[1.0, float('nan')]"):
        python(client, f"import foundations; foundations.log_metric('m', {value}); foundations.log_param('p', {value})")
    said = python(
        client,
        "import foundations\n"
        f"frame = foundations.get_metrics_for_all_jobs({client.project.name!r})\n"
        "print(type(frame).__name__, len(frame), list(map(str, frame['m'])), frame['status'].tolist())",
    )
    assert said.strip() == "DataFrame 3 ['1', 'text', 'nan'] ['completed', 'completed', 'completed']"
    assert len(client.json("jobs", "--sort", "m", "--columns", "m,p")) == 3


EVENTS = """
import sys
from tensorboard.compat.proto import event_pb2, summary_pb2
from tensorboard.summary.writer.event_file_writer import EventFileWriter
from tensorboard.plugins.scalar.summary_v2 import scalar_pb
writer = EventFileWriter(sys.argv[1] if len(sys.argv) > 1 else 'runs/a')
for n in range(20):
    old = summary_pb2.Summary(value=[summary_pb2.Summary.Value(tag='loss', simple_value=1 / (n + 1))])
    writer.add_event(event_pb2.Event(step=n, wall_time=1000 + n, summary=old))
    writer.add_event(event_pb2.Event(step=n, wall_time=1000 + n, summary=scalar_pb('acc', n / 20)))
writer.close()
print('trained')
"""


@needs("tensorboard")
def test_event_files_of_a_job_are_its_metrics_without_any_change(client: Client) -> None:
    (client.project / "train.py").write_text(EVENTS)
    (client.project / "foundations.toml").write_text("[metrics]\ntensorboard = true\n")
    job = client.submit("--", sys.executable, "train.py")
    client.run("wait", job)
    client.run("sync")
    metrics = client.job(job, sync=False)["metrics"]
    assert metrics["loss"]["count"] == 20 and metrics["loss"]["min"] == pytest.approx(0.05)
    assert metrics["acc"]["count"] == 20 and metrics["acc"]["step"] == 19
    client.run("sync")
    assert client.job(job, sync=False)["metrics"] == metrics


GROWING = """
import os, sys, time, foundations
from tensorboard.compat.proto import event_pb2, summary_pb2
from tensorboard.summary.writer.event_file_writer import EventFileWriter

def write(writer, steps, tag='loss'):
    for n in steps:
        value = summary_pb2.Summary.Value(tag=tag, simple_value=float(n))
        writer.add_event(event_pb2.Event(step=n, wall_time=1000 + n, summary=summary_pb2.Summary(value=[value])))
    writer.flush()

def wait_for(name):
    while not os.path.exists(name): time.sleep(0.05)

foundations.set_tensorboard_logdir('boards')
first = EventFileWriter('boards/train')
write(first, range(10))
wait_for(sys.argv[1] + '/more')
write(first, range(10, 20))
with open(sorted(os.path.join('boards/train', f) for f in os.listdir('boards/train'))[-1], 'ab') as file:
    file.write(b'half of a rec')
if len(sys.argv) > 2:
    write(EventFileWriter('boards/val'), range(3), 'acc')
wait_for(sys.argv[1] + '/end')
"""


@pytest.mark.rest
@needs("tensorboard")
@pytest.mark.parametrize("folders", [1, 2])
def test_event_files_are_metrics_while_they_grow(client: Client, tmp_path: Path, folders: int) -> None:
    (client.project / "train.py").write_text(GROWING)
    job = client.submit("--", sys.executable, "train.py", str(tmp_path), *["two"] * (folders - 1))

    def count(key: str) -> int | None:
        return (client.job(job)["metrics"].get(key) or {}).get("count")

    wait_until(lambda: count("loss") == 10, 60)
    assert client.job(job)["state"] == "running"
    (tmp_path / "more").touch()
    wait_until(lambda: count("loss" if folders == 1 else "train/loss") == 20, 60)
    assert client.job(job)["state"] == "running"
    (tmp_path / "end").touch()
    client.run("wait", job)
    client.run("sync")
    metrics = client.job(job, sync=False)["metrics"]
    assert set(metrics) == ({"loss"} if folders == 1 else {"train/loss", "val/acc"}), "names bear the folder or not"
    assert client.job(job, sync=False)["tags"]["tf"] == "boards"
    client.run("prune", "--yes", job)
    assert client.job(job)["pruned"], "event files are here, as the log is"


FOLDS = """
import os, sys, foundations
from tensorboard.compat.proto import event_pb2, summary_pb2
from tensorboard.summary.writer.event_file_writer import EventFileWriter
for fold in range(3):
    foundations.set_tensorboard_logdir(f'runs/fold{fold}')
    writer = EventFileWriter(f'runs/fold{fold}')
    for n in range(4):
        value = summary_pb2.Summary.Value(tag='loss', simple_value=float(fold + n))
        writer.add_event(event_pb2.Event(step=n, wall_time=1000 + n, summary=summary_pb2.Summary(value=[value])))
    writer.close()
"""


@needs("tensorboard")
@pytest.mark.parametrize("all_of_them", [True, False])
def test_several_folders_and_what_came_with_the_code(client: Client, all_of_them: bool) -> None:
    python(client, f"import sys; sys.argv = ['x', 'runs/old']\n{EVENTS}")
    (client.project / "train.py").write_text(FOLDS)
    if all_of_them:
        (client.project / "foundations.toml").write_text("[metrics]\ntensorboard = true\n")
    job = client.submit("--", sys.executable, "train.py")
    client.run("wait", job)
    client.run("sync")
    metrics = client.job(job, sync=False)["metrics"]
    assert set(metrics) == {"fold0/loss", "fold1/loss", "fold2/loss"}, "an old trial's are not this job's"
    assert metrics["fold2/loss"]["first"] == 2.0 and metrics["fold2/loss"]["count"] == 4


def test_event_files_over_the_limit_stay_and_that_is_said(client: Client) -> None:
    (client.project / "foundations.toml").write_text("[metrics]\ntensorboard = true\n[outputs]\nlimit_mb = 1\n")
    code = "open('events.out.tfevents.1', 'wb').write(b'x' * 3_000_000); open('events.out.tfevents.2', 'w').write('x')"
    job = client.submit("--", "python", "-c", code)
    said = client.run("wait", job).stderr
    assert "event files stay on local" in said and "limit_mb" in said
    client.run("sync")
    client.run("prune", "--yes", job)
    assert not client.job(job)["pruned"]
    client.run("get", job, "--dest", "out")
    client.run("prune", "--yes", job)
    assert client.job(job)["pruned"]


@needs("tensorboard")
def test_event_files_are_read_once_a_reader_is_there(client: Client, tmp_path: Path) -> None:
    (tmp_path / "none" / "tensorboard").mkdir(parents=True)
    (tmp_path / "none" / "tensorboard" / "__init__.py").write_text("raise ImportError")
    (client.project / "train.py").write_text(EVENTS)
    (client.project / "foundations.toml").write_text("[metrics]\ntensorboard = true\n")
    without = {"PYTHONPATH": f"{tmp_path / 'none'}:{client.env['PYTHONPATH']}"}
    job = client.submit("--env", f"PYTHONPATH={ROOT}", "--", sys.executable, "train.py")
    said = client.spawn("wait", job, env=without).stderr
    assert "tensorboard, which is not installed" in said and "pip install" in said
    assert client.job(job, sync=False)["metrics"] == {}
    client.run("sync")
    assert client.job(job, sync=False)["metrics"]["loss"]["count"] == 20


@needs("tensorboard")
def test_event_files_of_a_run_by_hand_are_its_metrics(client: Client, tmp_path: Path) -> None:
    for name in ("more", "end"):
        (tmp_path / name).touch()
    python(client, f"import sys; sys.argv = ['x', {str(tmp_path)!r}]\n{GROWING}")
    (client.project / "boards" / "train" / "dangling.tfevents").symlink_to("nowhere")
    (tmp_path / "none" / "tensorboard").mkdir(parents=True)
    (tmp_path / "none" / "tensorboard" / "__init__.py").write_text("raise ImportError")
    without = {"PYTHONPATH": f"{tmp_path / 'none'}:{client.env['PYTHONPATH']}"}
    assert json.loads(client.spawn("jobs", "--json", env=without).stdout)[0]["metrics"] == {}
    (run,) = client.json("jobs")
    assert run["metrics"]["loss"]["count"] == 20 and run["tags"]["tf"] == "boards"


@needs("tensorboard")
def test_a_log_folder_of_tensorboard_is_imported_once(client: Client) -> None:
    python(client, f"import sys; sys.argv = ['x', 'runs/a']\n{EVENTS}\nsys.argv[1] = 'runs/b/c'\n{EVENTS}")
    (client.project / "runs" / "b" / "c" / "events.out.tfevents.9.cut").write_bytes(b"\x18\0\0\0garbage")
    assert len(client.run("import", "tensorboard", "runs").stdout.split()) == 2
    rows = {row["name"]: row for row in client.json("jobs")}
    assert set(rows) == {"a", "b/c"} and rows["a"]["project"] == "runs" and rows["a"]["kind"] == "run"
    assert rows["b/c"]["metrics"]["loss"]["last"] == pytest.approx(0.05) and rows["b/c"]["state"] == "completed"
    again = client.run("import", "tensorboard", "runs")
    assert again.stdout == "" and "2 were here already" in again.stderr
    client.run("tag", rows["a"]["job"], "good")
    python(client, f"import sys; sys.argv = ['x', 'runs/a']\n{EVENTS.replace('range(20)', 'range(20, 30)')}")
    again = client.run("import", "tensorboard", "runs")
    assert again.stdout.split() == [rows["a"]["job"]] and "1 brought up to date; 1 were here" in again.stderr
    grown = {row["name"]: row for row in client.json("jobs")}["a"]
    assert grown["metrics"]["loss"]["count"] == 30 and grown["tags"] == {"good": ""}
    assert "no event files" in client.run("import", "tensorboard", "nowhere", code=3).stderr


@pytest.mark.rest
@needs("mlflow")
def test_stores_of_mlflow_are_imported(client: Client) -> None:
    stores = [client.project / "mlruns", client.project / "mlflow.db"]
    uris = [stores[0].as_uri(), f"sqlite:///{stores[1]}"]
    begin = f"""
import mlflow, os
def each():
    for uri, name in zip({uris!r}, ('folder', 'file')):
        mlflow.set_tracking_uri(uri)
        mlflow.set_experiment('digits')
        yield name
"""
    code = """
for name in each():
    for lr in (0.1, 0.2):
        with mlflow.start_run(run_name=f'{name} lr{lr}'):
            mlflow.log_param('lr', lr); mlflow.log_param('opt', 'adam'); mlflow.set_tag('team', 'vision')
            for n in range(5): mlflow.log_metric('loss', lr / (n + 1), step=n * 10)
    try:
        with mlflow.start_run(run_name=f'{name} broken'): raise ValueError
    except ValueError: pass
"""
    python(client, begin + code)
    for store, name in zip(stores, ("folder", "file"), strict=True):
        assert len(client.run("import", "mlflow", str(store)).stdout.split()) == 3
        rows = {row["name"]: row for row in client.json("jobs") if row["name"].startswith(name)}
        assert set(rows) == {f"{name} lr0.1", f"{name} lr0.2", f"{name} broken"}
        good, broken = rows[f"{name} lr0.2"], rows[f"{name} broken"]
        assert good["params"] == {"lr": 0.2, "opt": "adam"} and good["tags"] == {"team": "vision"}
        assert (good["project"], good["state"], broken["state"]) == ("digits", "completed", "failed")
        values = client.json("metrics", good["job"], "--key", "loss")
        assert [(one["step"], one["value"]) for one in values] == [(n * 10, 0.2 / (n + 1)) for n in range(5)]
        found = client.json("jobs", "--where", f"lr<0.15 and loss:min<0.05 and name~{name}")
        assert [row["name"] for row in found] == [f"{name} lr0.1"]
        assert "3 were here already" in client.run("import", "mlflow", str(store)).stderr
    going = """
from mlflow.tracking import MlflowClient
for name in each():
    client = MlflowClient()
    run = client.create_run(client.get_experiment_by_name('digits').experiment_id, run_name='long')
    client.log_metric(run.info.run_id, 'loss', 3.0, step=1)
"""
    python(client, begin + going)
    jobs = [client.run("import", "mlflow", str(store)).stdout.strip() for store in stores]
    assert [client.job(job)["state"] for job in jobs] == ["lost", "lost"]
    going = """
for name in each():
    run = mlflow.search_runs(filter_string="run_name = 'long'").run_id[0]
    with mlflow.start_run(run_id=run): mlflow.log_metric('loss', 2.0, step=2)
"""
    python(client, begin + going)
    for store, job in zip(stores, jobs, strict=True):
        assert client.run("import", "mlflow", str(store)).stdout.strip() == job
        assert client.job(job)["state"] == "completed" and client.job(job)["metrics"]["loss"]["count"] == 2
    assert client.run("import", "mlflow", "nowhere", code=3).code == 3


SEARCH = """
[search]
metric = "loss"
trials = 8
at_once = 2
seed = 3
command = ["python", "train.py", "{x}", "{kind}"]

[search.parameters]
x = "0.0:1.0"
kind = ["a", "b"]
"""


@needs("optuna")
def test_a_search_asks_tells_and_goes_on_after_ctrl_c(client: Client) -> None:
    text = "import foundations, sys\nif sys.argv[2] == 'b': sys.exit(1)\n"
    (client.project / "train.py").write_text(text + "foundations.log_metric('loss', (float(sys.argv[1]) - 0.3) ** 2)\n")
    (client.project / "tune.toml").write_text(SEARCH)
    process = client.start("sweep", "run", "tune.toml")
    assert process.stderr is not None
    for line in process.stderr:
        if line.split()[:1] == ["2"]:
            break
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=60)
    assert process.returncode == 130
    ask = (
        "import optuna, os; study = optuna.load_study(study_name='tune',"
        " storage='sqlite:///' + os.environ['FOUNDATIONS_HOME'] + '/studies.db'); study.ask()"
    )
    subprocess.run([sys.executable, "-c", ask], env=client.env, check=True)  # as if it were cut off in between
    found = client.json_of("sweep", "run", "tune.toml", "--json")
    rows = client.json("jobs", "--where", "group=tune", "--sync")
    assert len(rows) == 8 and {row["name"] for row in rows} == {f"tune-{n}" for n in range(8)}
    good = [row["metrics"]["loss"]["last"] for row in rows if row["state"] == "completed"]
    assert found["best"]["value"] == min(good) and 3 <= found["trials"] <= 6
    assert all(row["params"]["kind"] == "b" for row in rows if row["state"] == "failed")
    again = client.json_of("sweep", "run", "tune.toml", "--json")
    assert again["trials"] == 0 and again["best"] == found["best"], "a search that is done stays as it is"
    (client.project / "tune.toml").write_text(SEARCH.replace("metric", "metrik"))
    assert "unknown key 'metrik'" in client.run("sweep", "run", "tune.toml", code=2).stderr


NOTEBOOK = """
import nbformat, nbclient
cells = ["import foundations\\nfoundations.log_metric('loss', 0.5)", %r, %r]
notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
try:
    nbclient.NotebookClient(notebook, kernel_name="python3", allow_errors=%r).execute()
except nbclient.exceptions.CellExecutionError:
    pass
"""


@needs("ipykernel", "nbclient")
@pytest.mark.parametrize(
    ("cells", "goes_on", "state", "words"),
    [
        (("x = 1", "print(x)"), False, "completed", "finished"),
        (("1 / 0", "print('never')"), False, "failed", "its last cell raised ZeroDivisionError: division by zero"),
        (("1 / 0", "print('mended')"), True, "completed", "finished"),
    ],
)
def test_a_notebook_is_named_and_its_last_cell_tells_how_it_ended(
    client: Client, cells: tuple[str, str], goes_on: bool, state: str, words: str
) -> None:
    code = "import os; os.environ['JPY_SESSION_NAME'] = os.path.abspath('train.ipynb')\n"
    python(client, code + NOTEBOOK % (*cells, goes_on))
    (run,) = client.json("jobs")
    assert (run["state"], run["reason"]) == (state, words)
    assert run["command"] == ["train.ipynb"] and run["metrics"]["loss"]["last"] == 0.5
    assert (run["cause"] or {}).get("code") == ("exception" if state == "failed" else None)
