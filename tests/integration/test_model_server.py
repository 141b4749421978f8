"""The model server as its callers see it: tritonclient, curl, and those who mean no good."""

from __future__ import annotations

import http.client
import json
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pytest
import tritonclient.http as triton
from open_inference.openapi import BadRequestError, InferenceRequest, RequestInput, TensorData
from open_inference.openapi.client import OpenInferenceClient

from foundations.production import read_requests
from tests.support.model_server import serving
from tests.support.paths import TESTS

_CODE = """
import os
import time

def one(x):
    return x

def two(a, b=2):
    return {"sum": a + b, "words": ["<b>", "\\x1b[31m"]}

def slow(seconds):
    time.sleep(float(seconds))
    return seconds

def count(n):
    for number in range(int(n)):
        yield number
        time.sleep(0.05)
        if os.path.exists("stop"):
            return
    open("counted", "w").close()

def odd(kind):
    made = []
    made.append(made)
    return {"circle": made, "huge": 10**5000, "complex": 1j, "set": {1}, "none": None}[kind]

def note(**arguments):
    with open("noted", "a") as file:
        file.write(repr(sorted(arguments.items())))
"""
_SCHEMAS = json.loads((TESTS / "data" / "inference-protocol.json").read_text())


def _check(body: Any, what: str) -> Any:
    jsonschema.validate(body, {**_SCHEMAS, "$ref": f"#/definitions/{what}"})
    return body


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("models")
    (made / "code_of_model.py").write_text(_CODE)
    return made


@pytest.fixture(scope="module")
def one(folder: Path) -> Iterator[int]:
    with serving(folder, name="one", version=3, predict="code_of_model:one", max_body=1 << 20) as server:
        yield server.port


@pytest.fixture(scope="module")
def two(folder: Path) -> Iterator[int]:
    signature = {"inputs": [{"name": "a", "datatype": "FP64", "shape": [-1]}], "outputs": []}
    told: dict[str, Any] = {"evaluate": "code_of_model:note", "example": {"a": [1.0]}, "signature": signature}
    with serving(folder, name="two", version=1, predict="code_of_model:two", **told) as server:
        yield server.port


@pytest.fixture(scope="module")
def slow(folder: Path) -> Iterator[int]:
    with serving(folder, name="slow", version=1, predict="code_of_model:slow", deadline=1.0, queue=1) as server:
        yield server.port


def _curl(port: int, path: str, *words: str) -> tuple[int, str]:
    """Return the status and the body that curl gets."""
    command = ["curl", "--silent", "--max-time", "20", "--write-out", "\\n%{http_code}", *words]
    done = subprocess.run([*command, f"http://127.0.0.1:{port}{path}"], stdout=subprocess.PIPE, check=True)
    body, _, status = done.stdout.decode().rpartition("\n")
    return int(status), body


def _post(port: int, path: str, body: Any) -> tuple[int, Any]:
    """Return the status and the JSON of an answer to a JSON body."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    connection.request("POST", path, json.dumps(body))
    answer = connection.getresponse()
    return answer.status, json.loads(answer.read())


_ARRAYS = {
    "BOOL": np.array([[True, False]]),
    **{f"UINT{bits}": np.array([0, 2**bits - 1], f"uint{bits}") for bits in (8, 16, 32, 64)},
    **{f"INT{bits}": np.array([-(2 ** (bits - 1)), 2 ** (bits - 1) - 1], f"int{bits}") for bits in (8, 16, 32, 64)},
    **{f"FP{bits}": np.array([[1.5], [-np.inf], [np.nan]], f"float{bits}") for bits in (16, 32, 64)},
    "BYTES": np.array(["text", "ü"], dtype=object),
}


@pytest.mark.parametrize("is_binary", [True, False])
@pytest.mark.parametrize("datatype", list(_ARRAYS))
def test_tritonclient_gets_every_datatype_back(one: int, datatype: str, is_binary: bool) -> None:
    array = _ARRAYS[datatype]
    with triton.InferenceServerClient(f"127.0.0.1:{one}") as client:
        given = triton.InferInput("x", array.shape, datatype)
        if is_binary:
            given.set_data_from_numpy(array)
        else:  # its own way writes NaN, which JSON has not
            is_float = datatype.startswith("FP")
            given._raw_data, given._data = None, [1.5, "-Infinity", "NaN"] if is_float else array.ravel().tolist()
        wanted = triton.InferRequestedOutput("output-0", binary_data=is_binary)
        answer = client.infer("one", [given], outputs=[wanted], request_id="7")
    came = answer.as_numpy("output-0")
    if datatype == "BYTES":
        assert [one.decode() if isinstance(one, bytes) else one for one in came.tolist()] == array.tolist()
    else:
        np.testing.assert_array_equal(np.asarray(came, array.dtype).reshape(array.shape), array)
    told = answer.get_response()
    assert (told["id"], told["model_name"], told["model_version"]) == ("7", "one", "3")
    assert told["outputs"][0]["datatype"] == datatype


def test_tritonclient_reads_health_and_metadata(two: int) -> None:
    with triton.InferenceServerClient(f"127.0.0.1:{two}") as client:
        assert client.is_server_live()
        assert client.is_server_ready()
        assert client.is_model_ready("two")
        assert client.is_model_ready("two", "1")
        assert not client.is_model_ready("other")
        assert not client.is_model_ready("two", "9")
        assert _check(client.get_server_metadata(), "server")["extensions"] == ["binary_tensor_data"]
        assert _check(client.get_model_metadata("two"), "model")["inputs"][0]["name"] == "a"
        with pytest.raises(triton.InferenceServerException, match="no model"):
            client.get_model_metadata("other")


def test_answers_are_as_the_protocol_has_them(two: int) -> None:
    given = {"inputs": [{"name": "a", "shape": [2], "datatype": "FP32", "data": [[1], [2]]}], "id": "x"}
    status, body = _curl(two, "/v2/models/two/versions/1/infer", "--data", json.dumps(given))
    told = _check(json.loads(body), "inference")
    assert status == 200
    assert [(one["name"], one["data"]) for one in told["outputs"]] == [
        ("sum", [3.0, 4.0]),
        ("words", ["<b>", "\x1b[31m"]),
    ]
    _check(json.loads(_curl(two, "/v2/")[1]), "server")
    for path, words, expected in (
        ("/v2/models/two/infer", ("--data", '{"inputs": [{"name": "z", "shape": [], "datatype": "FP32"}]}'), 400),
        ("/v2/models/two/infer", ("--data", "["), 400),
        ("/v2/models/other/infer", ("--data", "{}"), 404),
        ("/v2/models/two/versions/2/infer", ("--data", "{}"), 404),
        ("/nowhere", (), 404),
        ("/predict", ("--request", "DELETE"), 405),
    ):
        status, body = _curl(two, path, *words)
        assert status == expected, body
        assert "Traceback" not in _check(json.loads(body), "error")["error"]


def test_the_client_that_is_made_from_the_protocols_own_description_reads_every_answer(two: int) -> None:
    client = OpenInferenceClient(base_url=f"http://127.0.0.1:{two}")
    client.check_server_liveness()
    client.check_server_readiness()
    client.check_model_readiness("two")
    assert client.read_server_metadata().extensions == ["binary_tensor_data"]
    described = client.read_model_metadata("two")
    assert (described.name, described.versions) == ("two", ["1"])
    assert [(one.name, one.datatype, one.shape) for one in described.inputs or ()] == [("a", "FP64", [-1])]

    def asked(name: str) -> InferenceRequest:
        data = TensorData(__root__=[1.0, 2.0])
        given = RequestInput(name=name, datatype="FP64", shape=[2], data=data, parameters=None)
        return InferenceRequest(id="7", inputs=[given], outputs=None, parameters=None)

    answer = client.model_infer("two", request=asked("a"))
    assert (answer.id, answer.outputs[0].name, answer.outputs[0].data.__root__) == ("7", "sum", [3.0, 4.0])
    with pytest.raises(BadRequestError):
        client.model_infer("two", request=asked("b"))


def test_the_predecessors_paths(two: int, folder: Path) -> None:
    for path in ("/", "/predict"):
        assert _curl(two, path) == (200, '{"message":"still alive"}')
        assert json.loads(_curl(two, path, "--data", '{"a": 1, "b": 4}')[1])["sum"] == 5
        assert json.loads(_curl(two, path, "--data", '{"a": [1, 2]}')[1])["sum"] == [3, 4], "as the protocol has it"
    assert _curl(two, "/recalibrate", "--data", "{}") == (404, '{"error":"recalibrate not set in manifest"}')
    assert _curl(two, "/evaluate", "--data", '{"day": 3}') == (202, "{}")
    deadline = time.monotonic() + 20
    while not (folder / "noted").exists() and time.monotonic() < deadline:
        time.sleep(0.1)
    assert (folder / "noted").read_text() == "[('day', 3)]"


def test_mlflows_paths_and_what_watches_it(two: int) -> None:
    assert _curl(two, "/ping")[0] == 200
    assert json.loads(_curl(two, "/example")[1]) == {"a": [1.0]}
    status, body = _curl(two, "/invocations", "--data", '{"inputs": {"a": [1]}}')
    assert (status, json.loads(body)["predictions"]["sum"]) == (200, [3])
    counters = _curl(two, "/metrics")[1]
    assert 'foundations_requests_total{route="invocations",status="200"} ' in counters
    assert json.loads(_curl(two, "/openapi.json")[1])["openapi"] == "3.0.3"


def test_a_body_that_is_too_large_is_refused_before_it_is_read(one: int, folder: Path) -> None:
    (folder / "large").write_bytes(b"x" * (2 << 20))
    status, body = _curl(one, "/predict", "--data-binary", f"@{folder / 'large'}")
    assert status == 413, body
    connection = http.client.HTTPConnection("127.0.0.1", one, timeout=20)
    parts = (b"x" * (1 << 16) for _ in range(40))
    connection.request("POST", "/predict", parts, encode_chunked=True, headers={"Transfer-Encoding": "chunked"})
    assert connection.getresponse().status == 413


def test_a_late_answer_is_504_and_a_full_queue_503(slow: int) -> None:
    assert _curl(slow, "/predict", "--data", '{"seconds": 1.5}')[0] == 504
    time.sleep(1)
    statuses: list[int] = []
    threads = [
        threading.Thread(target=lambda: statuses.append(_curl(slow, "/predict", "--data", '{"seconds": 0.6}')[0]))
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert statuses.count(503) >= 1, statuses
    assert set(statuses) <= {200, 503, 504}
    status, head = _curl(slow, "/v2/health/live", "--include")
    assert status == 200, head


def test_who_hangs_up_or_talks_nonsense_disturbs_nobody(slow: int, one: int) -> None:
    for sent in (b"\x00\xff\r\n\r\n", b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Length: 50\r\n\r\n{", b"GET / HT"):
        with socket.create_connection(("127.0.0.1", one), 5) as lone:
            lone.sendall(sent)
    for _ in range(5):
        with socket.create_connection(("127.0.0.1", slow), 5) as lone:
            lone.sendall(b'POST /predict HTTP/1.1\r\nHost: x\r\nContent-Length: 16\r\n\r\n{"seconds": 0.9}')
            time.sleep(0.1)
    deadline = time.monotonic() + 10
    while _curl(slow, "/predict", "--data", '{"seconds": 0}')[0] != 200:  # its queue is empty again
        assert time.monotonic() < deadline
    assert _curl(one, "/predict", "--data", '{"x": 1}') == (200, "1")


def test_whatever_a_model_returns_is_an_answer_or_a_clear_failure(folder: Path) -> None:
    with serving(folder, name="odd", version=1, predict="code_of_model:odd") as (port, _):
        for kind, status in (("circle", 500), ("huge", 500), ("complex", 200), ("set", 200), ("none", 200), ("x", 500)):
            came, body = _curl(port, "/predict", "--data", json.dumps({"kind": kind}))
            assert came == status, (kind, body)
            json.loads(body)
            assert "Traceback" not in body
        for name in ("\0stream", "", "kind\0"):
            came, body = _curl(port, "/predict", "--data", json.dumps({name: "set", "kind": "set"}))
            assert came == 400, body
        assert _curl(port, "/v2/health/live")[0] == 200


def test_a_generator_is_streamed_and_ends_when_its_reader_leaves(folder: Path) -> None:
    with serving(folder, name="count", version=1, predict="code_of_model:count") as (port, _):
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
        connection.request("POST", "/predict", b'{"n": 3}')
        response = connection.getresponse()
        assert response.headers["Content-Type"].startswith("text/event-stream")
        first = response.readline()
        came_at = time.monotonic()
        rest = response.read()
        assert (first, rest) == (b"data: 0\n", b"\ndata: 1\n\ndata: 2\n\n")
        assert time.monotonic() - came_at > 0.05  # it was not kept until the end
        (folder / "counted").unlink()
        left = socket.create_connection(("127.0.0.1", port), 5)
        left.sendall(b'POST /predict HTTP/1.1\r\nHost: x\r\nContent-Length: 12\r\n\r\n{"n": 1000}\n')
        left.recv(100)
        left.close()
        assert _curl(port, "/predict", "--data", '{"n": 1}')[1] == "data: 0\n\n"  # its thread is free again


@pytest.mark.rest
@pytest.mark.parametrize("flavour", ["joblib", "onnx"])
def test_models_of_libraries_are_served_as_they_are(tmp_path: Path, flavour: str) -> None:
    rows, expected = _trained(tmp_path / f"model.{flavour}")
    with (
        serving(tmp_path, name="iris", version=1, flavour=flavour, path=str(tmp_path / f"model.{flavour}")) as (
            port,
            _,
        ),
        triton.InferenceServerClient(f"127.0.0.1:{port}") as client,
    ):
        given = triton.InferInput("input-0", rows.shape, "FP32")
        given.set_data_from_numpy(rows)
        answer = client.infer("iris", [given])
        name = answer.get_response()["outputs"][0]["name"]
        np.testing.assert_allclose(np.ravel(answer.as_numpy(name)), np.ravel(expected), rtol=1e-4)


def _trained(path: Path) -> tuple[Any, Any]:
    """Write a model of real data; return some rows, and what it says of them."""
    from sklearn.datasets import load_iris
    from sklearn.linear_model import LinearRegression

    table, target = load_iris(return_X_y=True)
    model = LinearRegression().fit(table, target)
    rows = table[:5].astype("float32")
    if path.suffix == ".joblib":
        import joblib

        joblib.dump(model, path)
    else:
        _write_onnx(path, model)
    return rows, model.predict(rows)


def _write_onnx(path: Path, model: Any) -> None:
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    weights = numpy_helper.from_array(model.coef_.reshape(-1, 1).astype("float32"), "w")
    offset = numpy_helper.from_array(np.array([model.intercept_], "float32"), "b")
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["xw"]), helper.make_node("Add", ["xw", "b"], ["y"])],
        "linear",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [None, 4])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [None, 1])],
        [weights, offset],
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(made, str(path))


# --- what is written down -----------------------------------------------------------------------------------------


def _logged(folder: Path) -> list[dict[str, Any]]:
    return [one for path in sorted(folder.glob("requests-*.jsonl")) for one in read_requests(str(path))]


def test_requests_are_written_down_without_texts_and_without_what_is_redacted(folder: Path, tmp_path: Path) -> None:
    log = {"sample": 1.0, "redact": ["a"]}
    inputs = [{"name": "a", "datatype": "FP64", "shape": [-1]}]
    manifest: dict[str, Any] = {"predict": "code_of_model:two", "signature": {"inputs": inputs, "outputs": []}}
    with serving(folder, records=str(tmp_path), name="two", version=1, log=log, **manifest) as server:
        assert _post(server.port, "/predict", {"a": [1.0], "b": [3.0]})[0] == 200
        assert _post(server.port, "/predict", {"a": ["old"]}) == (400, {"error": "a is FP64; got the text 'old'"})
        assert _post(server.port, "/predict", {"c": 5})[0] == 400
        assert _post(server.port, "/predict", {"a": [1.0], "b": list(map(float, range(9000)))})[0] in (200, 500)
    first, refused, unknown, large = _logged(tmp_path)
    assert (first["route"], first["status"]) == ("predict", 200) and 0 < first["seconds"] < 5
    assert first["inputs"] == {"a": {"redacted": True}, "b": [3.0]}
    assert first["outputs"] == {"sum": [4.0], "words": [{"text": 3}, {"text": 5}]}
    assert (refused["status"], refused["inputs"], refused["outputs"]) == (400, None, None)
    assert unknown["inputs"] is None, "what the model does not have may be what is to be left out"
    assert large["inputs"]["b"] == {"shape": [9000]}
    assert all(path.stat().st_mode & 0o777 == 0o600 for path in tmp_path.iterdir())


def test_a_request_log_is_bounded_and_a_disk_that_is_full_costs_no_answer(folder: Path, tmp_path: Path) -> None:
    log = {"sample": 1.0, "limit": 1 << 20, "text": True}
    with serving(folder, records=str(tmp_path), predict="code_of_model:one", name="one", version=1, log=log) as server:
        connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=20)
        for number in range(150):
            connection.request("POST", "/predict", json.dumps({"x": ["y" * 25_000 + str(number)]}))
            assert connection.getresponse().read()
        files = sorted(tmp_path.glob("requests-*.jsonl"))
        assert len(files) == 8 and sum(path.stat().st_size for path in files) < 2 << 20
        kept = _logged(tmp_path)
        assert kept[-1]["inputs"]["x"][0].endswith("149"), "the oldest go"
        for path in files:
            path.unlink()
        tmp_path.chmod(0o700)
        tmp_path.rename(tmp_path.with_name("gone"))
        for number in range(30):
            assert _post(server.port, "/predict", {"x": ["y" * 25_000]})[0] == 200, number
        tmp_path.with_name("gone").rename(tmp_path)


def test_without_a_sample_nothing_is_written_down(folder: Path, tmp_path: Path) -> None:
    with serving(folder, records=str(tmp_path), predict="code_of_model:one", name="one", version=1) as server:
        assert _post(server.port, "/predict", {"x": [1]})[0] == 200
    assert list(tmp_path.iterdir()) == []
