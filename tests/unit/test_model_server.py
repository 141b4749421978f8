"""The model server's parts: tensors as they cross, inputs by name, batches, what a body may be."""

from __future__ import annotations

import asyncio
import json
import math
import pickle
import sys
import time
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pytest
from hypothesis import given, strategies as st

from foundations_serve import batch, calling, invocations, loaders, openapi, protocol_v2, signature, tensors
from foundations_serve.calling import Stream, Worker
from foundations_serve.errors import BadInput, Busy, CannotLoad, Failed, Late
from foundations_serve.manifest import Batching, Manifest
from foundations_serve.metrics import Metrics
from foundations_tui.submit import data_sets
from remote_agent.protocol.data_sets import manifest_hash, manifest_text

_NUMBERS = {
    "BOOL": st.booleans(),
    **{f"UINT{bits}": st.integers(0, 2**bits - 1) for bits in (8, 16, 32, 64)},
    **{f"INT{bits}": st.integers(-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) for bits in (8, 16, 32, 64)},
    **{f"FP{bits}": st.floats(width=bits, allow_nan=False) | st.just(math.nan) for bits in (16, 32, 64)},
    "BYTES": st.binary(max_size=20),
}


@st.composite
def _tensors(draw: st.DrawFn) -> dict[str, Any]:
    datatype = draw(st.sampled_from(sorted(_NUMBERS)))
    shape = draw(st.lists(st.integers(0, 4), max_size=3))
    count = math.prod(shape)
    flat = draw(st.lists(_NUMBERS[datatype], min_size=count, max_size=count))
    return {"name": draw(st.text(min_size=1, max_size=5)), "datatype": datatype, "shape": shape, "flat": flat}


def _packed(told: dict[str, Any]) -> bytes:
    """Return a tensor's elements by the binary extension, made without the code under test."""
    if told["datatype"] == "BYTES":
        return b"".join(len(one).to_bytes(4, "little") + one for one in told["flat"])
    names = {"BOOL": "?", "FP16": "<f2", "FP32": "<f4", "FP64": "<f8"}
    kind = told["datatype"]
    dtype = names.get(kind) or f"<{'u' if kind.startswith('U') else 'i'}{int(kind.lstrip('UINT')) // 8}"
    return np.array(told["flat"], dtype=dtype).tobytes()


@pytest.mark.parametrize("has_numpy", [True, False])
@given(told=_tensors())
def test_a_tensor_survives_the_binary_way(told: dict[str, Any], has_numpy: bool) -> None:
    with pytest.MonkeyPatch.context() as patch:
        if not has_numpy:
            patch.setattr(tensors, "numpy", lambda: None)
        data = _packed(told)
        tensor = tensors.from_bytes(told, data)
        assert tensors.to_bytes(tensor) == data
        again = tensors.of_value(told["name"], tensor.data) if has_numpy else tensor
        assert tensors.to_bytes(again) == data
        assert again.described() == {name: told[name] for name in ("name", "datatype", "shape")}


@pytest.mark.parametrize("has_numpy", [True, False])
@given(told=_tensors())
def test_a_tensor_survives_json(told: dict[str, Any], has_numpy: bool) -> None:
    with pytest.MonkeyPatch.context() as patch:
        if not has_numpy:
            patch.setattr(tensors, "numpy", lambda: None)
        tensor = tensors.from_bytes(told, _packed(told))
        if told["datatype"] == "BYTES" and not all(_is_text(one) for one in told["flat"]):
            with pytest.raises(BadInput, match="binary"):
                tensors.to_json(tensor)
            return
        text = json.dumps(tensors.to_json(tensor), allow_nan=False)
        again = tensors.from_json(json.loads(text))
        assert tensors.to_bytes(again) == tensors.to_bytes(tensor)


def _is_text(data: bytes) -> bool:
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True


@pytest.mark.parametrize(
    ("entry", "words"),
    [
        ([], "object"),
        ({"name": 3}, "object"),
        ({"name": "x", "datatype": "FP8", "shape": [1], "data": [1]}, "datatype must be one of"),
        ({"name": "x", "datatype": ["FP32"], "shape": [1], "data": [1]}, "datatype must be one of"),
        ({"name": "x", "datatype": "FP32", "shape": [-1], "data": [1]}, "shape"),
        ({"name": "x", "datatype": "FP32", "shape": [True], "data": [1]}, "shape"),
        ({"name": "x", "datatype": "FP32", "shape": [1] * 40, "data": [1]}, "shape"),
        ({"name": "x", "datatype": "FP32", "shape": [2], "data": [1]}, "2 elements, data 1"),
        ({"name": "x", "datatype": "FP32", "shape": [1], "data": ["a"]}, "no FP32"),
        ({"name": "x", "datatype": "FP32", "shape": [1], "data": [10**400]}, "no FP32"),
        ({"name": "x", "datatype": "UINT8", "shape": [1], "data": [256]}, "no UINT8"),
        ({"name": "x", "datatype": "INT8", "shape": [1], "data": [1.5]}, "no INT8"),
        ({"name": "x", "datatype": "INT64", "shape": [1], "data": [2**63]}, "no INT64"),
        ({"name": "x", "datatype": "BOOL", "shape": [1], "data": [2]}, "no BOOL"),
        ({"name": "x", "datatype": "BYTES", "shape": [1], "data": [2]}, "no BYTES"),
        ({"name": "x", "datatype": "FP32", "shape": [1], "data": 1}, "must be a list"),
        ({"name": "x", "datatype": "FP32", "shape": [0, 1 << 47, 1 << 47], "data": []}, "too many elements"),
    ],
)
def test_a_tensor_that_makes_no_sense_is_refused_in_words(entry: Any, words: str) -> None:
    with pytest.raises(BadInput, match=words):
        tensors.from_json(entry)


@given(st.binary(max_size=200), st.one_of(st.none(), st.text(max_size=5), st.sampled_from(["²", "٣", "-1", "1e3"])))
def test_no_body_ever_does_more_than_being_refused(body: bytes, length: str | None) -> None:
    with pytest.raises(BadInput):
        protocol_v2.infer_of(body, length)


_ANY_JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=5)),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(st.sampled_from("inputs outputs name shape datatype data parameters id x".split()), inner),
    ),
    max_leaves=12,
)


@given(_ANY_JSON)
def test_no_json_ever_does_more_than_being_refused(value: Any) -> None:
    body = json.dumps({"inputs": [value]} if not isinstance(value, dict) else value).encode()
    for read in (lambda: protocol_v2.infer_of(body, None), lambda: invocations.inputs_of(body, "application/json")):
        try:
            read()
        except BadInput:
            continue


def test_a_deeply_nested_body_is_refused() -> None:
    body = b'{"inputs":[{"name":"x","shape":[1],"datatype":"FP32","data":' + b"[" * 5000 + b"]" * 5000 + b"}]}"
    with pytest.raises(BadInput):
        protocol_v2.infer_of(body, None)


def test_outputs_are_those_that_are_asked_for_and_binary_only_where_asked() -> None:
    manifest = Manifest("m", 3)
    outputs = tensors.of_result({"a": np.array([1.0], "float32"), "b": np.array([2])})
    asked = {"inputs": [], "outputs": [{"name": "b", "parameters": {"binary_data": True}}]}
    body, head = protocol_v2.answer(manifest, protocol_v2.infer_of(json.dumps(asked).encode(), None), outputs)
    assert head is not None
    assert json.loads(body[:head])["outputs"] == [
        {"name": "b", "datatype": "INT64", "shape": [1], "parameters": {"binary_data_size": 8}}
    ]
    assert body[head:] == (2).to_bytes(8, "little")
    everything = {"inputs": [], "parameters": {"binary_data_output": True}}
    some = {**everything, "outputs": [{"name": "a"}, {"name": "b", "parameters": {"binary_data": False}}]}
    body, head = protocol_v2.answer(manifest, protocol_v2.infer_of(json.dumps(some).encode(), None), outputs)
    assert len(body) - (head or 0) == 4, "what is said of all holds where nothing is said of one"
    body, head = protocol_v2.answer(manifest, protocol_v2.infer_of(json.dumps(everything).encode(), None), outputs)
    assert [len(body) - (head or 0)] == [12]
    with pytest.raises(BadInput, match="no output is called c; there are a, b"):
        asked = {"inputs": [], "outputs": [{"name": "c"}]}
        protocol_v2.answer(manifest, protocol_v2.infer_of(json.dumps(asked).encode(), None), outputs)


@pytest.mark.parametrize(
    ("value", "datatype", "shape"),
    [
        (3, "INT64", []),
        (True, "BOOL", []),
        (2.5, "FP64", []),
        ("text", "BYTES", []),
        ([["a"], ["b"]], "BYTES", [2, 1]),
        ([1, 2.5], "FP64", [2]),
        ({"any": "thing"}, "BYTES", []),
        (None, "BYTES", []),
        ([[1], [1, 2]], "BYTES", []),
    ],
)
@pytest.mark.parametrize("has_numpy", [True, False])
def test_what_a_model_returns_becomes_a_tensor(
    value: Any, datatype: str, shape: list[int], has_numpy: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not has_numpy:
        monkeypatch.setattr(tensors, "numpy", lambda: None)
    described = tensors.of_value("x", value).described()
    assert (described["datatype"], described["shape"]) == (datatype, shape)


# --- inputs by name -----------------------------------------------------------------------------------------------


def test_inputs_become_keyword_arguments_and_a_lone_one_needs_no_name() -> None:
    def two(a: int, b: int = 2) -> tuple[int, int]:
        return a, b

    def one(x: int) -> int:
        return x

    def anything(**inputs: int) -> dict[str, int]:
        return inputs

    assert loaders.by_name(two, 0)({"a": 1}) == (1, 2)
    assert loaders.by_name(one, 0)({"input-0": 5}) == 5
    assert loaders.by_name(anything, 0)({"z": 1}) == {"z": 1}
    assert loaders.by_name(two, 1)({"b": 3}, 9) == (9, 3)
    assert loaders.by_name(lambda x, /: x, 0)({"y": 3}) == 3
    assert loaders.by_name(lambda a, b, /: (a, b), 0)({"b": 1, "a": 2}) == (2, 1)
    assert loaders.by_name(lambda *args: args, 0)({"y": 3}) == (3,)
    with pytest.raises(BadInput, match=r"no input is called c; a is missing \(the model takes a, b\)"):
        loaders.by_name(two, 0)({"c": 1})


def test_a_pickle_that_is_not_the_registered_one_is_not_read(tmp_path: Path) -> None:
    model = tmp_path / "model"
    model.mkdir()
    (model / "model.pkl").write_bytes(pickle.dumps(_Doubler()))
    manifest = data_sets.manifest_of(model, lambda *_: None)
    digest = manifest_hash(manifest_text(manifest))
    good = Manifest(flavour="pickle", path=str(model), hash=digest)
    assert loaders.load(good)({"x": 4}) == 8
    (model / "model.pkl").write_bytes(b"cos\nsystem\n(S'exit 1'\ntR.")
    with pytest.raises(CannotLoad, match="not those that were registered"):
        loaders.load(good)


class _Doubler:
    def predict(self, x: Any) -> Any:
        return x * 2


@pytest.mark.parametrize(
    ("reference", "words"),
    [
        ("no_such_module_at_all:predict", "Prediction module defined in manifest file could not be found!"),
        ("json:no_such", "Prediction function defined in manifest file could not be found!"),
        ("json", "Prediction function defined in manifest file could not be found!"),
    ],
)
def test_what_is_missing_is_said_as_the_predecessor_did(reference: str, words: str) -> None:
    with pytest.raises(CannotLoad, match=words):
        loaders.load(Manifest(predict=reference))


@pytest.mark.parametrize("text", ["", "[]", "3", '{"batch": 3}', '{"flavour": "magic"}', '{"batch": {"no": 1}}'])
def test_a_manifest_that_makes_no_sense_is_refused(text: str) -> None:
    with pytest.raises(CannotLoad):
        Manifest.from_json(text, {})


def test_mlflow_bodies() -> None:
    forms = [
        {"dataframe_split": {"columns": ["a", "b"], "data": [[1, 2], [3, 4]]}},
        {"dataframe_records": [{"a": 1, "b": 2}, {"a": 3, "b": 4}]},
        {"instances": [{"a": 1, "b": 2}, {"a": 3, "b": 4}]},
        {"inputs": {"a": [1, 3], "b": [2, 4]}},
    ]
    for form in forms:
        inputs = invocations.inputs_of(json.dumps(form).encode(), "application/json")
        assert {name: value.tolist() for name, value in inputs.items()} == {"a": [1, 3], "b": [2, 4]}
    table = invocations.inputs_of(b"a,b\n1,x\n3,y\n", "text/csv; charset=utf-8")
    assert (table["a"].tolist(), table["b"]) == ([1, 3], ["x", "y"])
    lists = invocations.inputs_of(b'{"instances": [[1, 2], [3, 4]]}', "")
    assert lists["input-0"].tolist() == [[1, 2], [3, 4]]
    for bad in (b"{}", b"[]", b'{"instances": 3}', b'{"dataframe_split": {"columns": ["a"], "data": [[1, 2]]}}'):
        with pytest.raises(BadInput):
            invocations.inputs_of(bad, "")


@pytest.mark.parametrize(
    ("word", "value"),
    [("1", 1), ("-3", -3), ("0", 0), ("1.5", 1.5), (".5", 0.5), ("1e3", 1000.0), ("0.1", 0.1), ("+2", 2)]
    + [(text, text) for text in ("007", "1_000", "nan", "inf", "0x1", "", " 1", "-", "00.5", "1e", "٣")],
)
def test_numbers_of_csv(word: str, value: Any) -> None:
    found = invocations.number(word)
    assert (found, type(found)) == (value, type(value))


@pytest.mark.parametrize(
    ("name", "data", "words"),
    [
        ("a.csv", b"a,a\n1,2\n", "two columns have one name"),
        ("a.csv", b"a,b\n1\n", "row 2: 1 values, and 2 names"),
        ("a.csv", b"a\n\xff\n", "is not UTF-8"),
        ("a.csv", b"a\n" + b"x" * 200_000, "field larger"),
        ("a.jsonl", b"{", "line 1"),
        ("a.jsonl", b"[" * 100_000, "line 1"),
        ("a.parquet", b"junk", "a.parquet"),
        ("a.txt", b"", "rows are read from"),
    ],
)
def test_rows_that_make_no_sense_are_refused_with_their_place(
    tmp_path: Path, name: str, data: bytes, words: str
) -> None:
    if name == "a.parquet":
        pytest.importorskip("pyarrow")
    (tmp_path / name).write_bytes(data)
    with pytest.raises(BadInput, match=words):
        batch.predict_file(Manifest(predict="json:dumps"), str(tmp_path / name), str(tmp_path / "out"), "1/1", 10)


# --- calls --------------------------------------------------------------------------------------------------------


def _worker(predict: Any, batching: Batching | None = None, waiting: int = 64) -> tuple[Worker, list[int], list[str]]:
    sizes: list[int] = []
    given_up: list[str] = []
    return Worker(predict, batching or Batching(), waiting, given_up.append, sizes.append), sizes, given_up


def test_requests_of_one_shape_are_computed_together_and_a_bad_one_fails_alone() -> None:
    def predict(inputs: dict[str, Any]) -> Any:
        if (inputs["x"] < 0).any():
            raise ValueError("negative")
        return inputs["x"] * 2

    worker, sizes, _ = _worker(predict, Batching(8, 200.0))

    async def ask() -> list[Any]:
        inputs = [np.array([[float(n)]]) for n in (1, 2, -3)] + [np.array([[1.0, 2.0]])]
        return await asyncio.gather(*[worker.call({"x": one}, 5) for one in inputs], return_exceptions=True)

    one, two, bad, wide = asyncio.run(ask())
    assert (one.tolist(), two.tolist(), wide.tolist()) == ([[2.0]], [[4.0]], [[2.0, 4.0]])
    assert isinstance(bad, Failed)
    assert "negative" in str(bad)
    sizes.clear()

    async def ask_good() -> list[Any]:
        return await asyncio.gather(*[worker.call({"x": np.array([[float(n)]])}, 5) for n in range(4)])

    assert [result.tolist() for result in asyncio.run(ask_good())] == [[[2.0 * n]] for n in range(4)]
    assert sum(sizes) == 4
    assert max(sizes) > 1
    worker.close()


def test_a_full_queue_says_so_and_a_late_answer_too() -> None:
    def predict(inputs: dict[str, Any]) -> float:
        time.sleep(inputs["seconds"])
        return 1.0

    worker, _, given_up = _worker(predict, waiting=1)

    async def ask() -> None:
        first = asyncio.ensure_future(worker.call({"seconds": 0.5}, 5))
        await asyncio.sleep(0.1)
        second = asyncio.ensure_future(worker.call({"seconds": 0.0}, 0.1))
        await asyncio.sleep(0)
        with pytest.raises(Busy):
            await worker.call({"seconds": 0.0}, 5)
        with pytest.raises(Late, match=r"within 0\.1 s"):
            await second
        assert await first == 1.0

    asyncio.run(ask())
    worker.look()
    assert not given_up
    worker.close()


def test_a_call_that_never_comes_back_ends_the_replica(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(calling, "_STUCK_SECONDS", 0.1)
    worker, _, given_up = _worker(lambda inputs: time.sleep(1))

    async def ask() -> None:
        with pytest.raises(Late):
            await worker.call({}, 0.05)
        await asyncio.sleep(0.2)

    asyncio.run(ask())
    worker.look()
    assert "has not come back" in given_up[0]
    worker.close()


def test_a_stream_whose_turn_comes_late_is_not_dropped() -> None:
    def predict(inputs: dict[str, Any]) -> Any:
        if "seconds" in inputs:
            return time.sleep(inputs["seconds"])
        return iter_of(3)

    def iter_of(count: int) -> Any:
        yield from range(count)

    worker, _, given_up = _worker(predict)

    async def ask() -> list[Any]:
        stream = await worker.call({}, 0.3)
        slow = asyncio.ensure_future(worker.call({"seconds": 0.6}, 5))
        came = [item async for item in stream.items()]
        await slow
        return came

    assert asyncio.run(asyncio.wait_for(ask(), 10)) == [0, 1, 2]
    worker.look()
    assert not given_up
    worker.close()


def test_a_stream_waits_for_its_reader_and_one_that_hangs_ends_the_replica(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[int] = []

    def predict(inputs: dict[str, Any]) -> Any:
        for number in range(1000):
            made.append(number)
            yield number
            if number == 5 and inputs:
                time.sleep(3)

    worker, _, given_up = _worker(predict)

    async def ask() -> None:
        stream = await worker.call({}, 5)
        await asyncio.sleep(0.3)
        assert len(made) < 100, "what nobody reads is not made"
        stream.leave()
        await asyncio.sleep(0.2)
        monkeypatch.setattr(calling, "_STUCK_SECONDS", 0.1)
        hanging = await worker.call({"hang": True}, 0.2)
        assert [await anext(hanging.items()) for _ in range(1)] == [0]
        await asyncio.sleep(0.8)

    asyncio.run(asyncio.wait_for(ask(), 20))
    worker.look()
    assert "has not come back" in given_up[0]
    worker.close()


class _Unspeakable(Exception):
    def __str__(self) -> str:
        raise ValueError("no words")


def test_no_input_and_no_exception_ends_the_thread_of_the_model() -> None:
    def predict(inputs: dict[str, Any]) -> Any:
        raise _Unspeakable

    worker, _, given_up = _worker(predict)
    for inputs in ({"\0stream": 1}, {}, {"x": None}):
        with pytest.raises(Failed, match="_Unspeakable"):
            asyncio.run(worker.call(inputs, 5))
    worker.look()
    assert not given_up
    worker.close()


def test_an_exit_within_a_batch_fails_its_request_alone() -> None:
    def predict(inputs: dict[str, Any]) -> Any:
        if (inputs["x"] < 0).any():
            sys.exit(3)
        return inputs["x"]

    worker, _, _ = _worker(predict, Batching(8, 200.0))

    async def ask() -> list[Any]:
        calls = [worker.call({"x": np.array([float(n)])}, 5) for n in (1, -1, 2)]
        return await asyncio.gather(*calls, return_exceptions=True)

    one, bad, two = asyncio.run(ask())
    assert (one.tolist(), two.tolist()) == ([1.0], [2.0])
    assert isinstance(bad, Failed)
    worker.close()


def test_a_stream_comes_item_by_item_and_its_failure_at_its_place() -> None:
    def predict(inputs: dict[str, Any]) -> Any:
        yield 1
        yield 2
        raise ValueError("the end")

    worker, _, _ = _worker(predict)

    async def ask() -> list[Any]:
        stream = await worker.call({}, 5)
        assert isinstance(stream, Stream)
        came: list[Any] = []
        with pytest.raises(Failed, match="the end"):
            async for item in stream.items():
                came.append(item)
        return came

    assert asyncio.run(ask()) == [1, 2]
    worker.close()


def test_even_an_exit_in_the_model_is_a_failure_of_one_request() -> None:
    worker, _, _ = _worker(lambda inputs: exit(3))
    for _ in range(2):
        with pytest.raises(Failed, match="SystemExit"):
            asyncio.run(worker.call({}, 5))
    worker.close()


# --- what is told -------------------------------------------------------------------------------------------------


def test_the_signature_is_what_the_example_has_shown() -> None:
    inputs = signature.inputs_of({"x": [[1.5, 2.0]], "mode": "fast"})
    told = signature.of_run(inputs, {"y": np.array([1], "float32")})
    assert told["inputs"] == [
        {"name": "x", "datatype": "FP64", "shape": [-1, 2]},
        {"name": "mode", "datatype": "BYTES", "shape": []},
    ]
    assert told["outputs"] == [{"name": "y", "datatype": "FP32", "shape": [-1]}]
    document = openapi.document(Manifest("m", 1, example={"x": [[1.5]]}, signature=told))
    schema = document["paths"]["/predict"]["post"]["requestBody"]["content"]["application/json"]["schema"]
    jsonschema.validate({"x": [[1.5, 2.0]], "mode": "fast"}, schema)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({"x": "no"}, schema)


def test_counters_are_prometheus_text() -> None:
    metrics = Metrics()
    metrics.count("infer", 200, 0.003)
    metrics.count("infer", 400, 9000.0)
    metrics.count_batch(3)
    lines = metrics.text(2).splitlines()
    assert 'foundations_requests_total{route="infer",status="400"} 1' in lines
    assert 'foundations_request_seconds_bucket{le="0.005"} 1' in lines
    assert 'foundations_request_seconds_bucket{le="+Inf"} 2' in lines
    assert 'foundations_batch_size_bucket{le="4"} 1' in lines
    assert "foundations_requests_waiting 2" in lines


def test_rows_are_computed_together_only_where_that_is_the_same() -> None:
    rows = [{"a": 10, "b": 1}, {"b": 1, "a": 10}, {"a": 2, "b": 2}]
    assert batch.Answering(lambda inputs: inputs["a"] - inputs["b"]).rows(rows) == [9, 9, 0]
    assert batch.Answering(lambda inputs: {"p": [float(np.sum(inputs["a"])), 0.0]}).rows(rows[:2]) == [
        {"p": [10.0, 0.0]},
        {"p": [10.0, 0.0]},
    ]
    assert batch.Answering(lambda inputs: len(inputs)).rows([{"a": 1}, {"b": 1, "c": 2}]) == [1, 2]

    def stream(inputs: dict[str, Any]) -> Any:
        yield from range(int(inputs["n"]))

    assert batch.Answering(stream).rows([{"n": 2}, {"n": 1}]) == [[0, 1], [0]]


def test_asynchronous_functions_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "asynchronous.py").write_text("async def predict(x):\n    return x\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(CannotLoad, match="plain function"):
        loaders.load(Manifest(predict="asynchronous:predict"))


def test_predictions_of_a_file_go_on_where_they_were_cut(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "times.py").write_text("def predict(a, b):\n    return a * b\n")
    (tmp_path / "in.csv").write_text("a,b\n" + "".join(f"{n},2\n" for n in range(10)))
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    manifest = Manifest(predict="times:predict")
    batch.predict_file(manifest, "in.csv", "out", "1/2", 2)
    part = tmp_path / "out" / "part-1-of-2.jsonl"
    assert [json.loads(line) for line in part.read_text().splitlines()] == [0, 2, 4, 6, 8]
    (tmp_path / "out" / "part-1-of-2.progress").write_text('{"rows": 2, "bytes": 4}')
    part.write_text("0\n2\n4\n6 torn")
    batch.predict_file(manifest, "in.csv", "out", "1/2", 2)
    assert [json.loads(line) for line in part.read_text().splitlines()] == [0, 2, 4, 6, 8]
    batch.predict_file(manifest, "in.csv", "out", "2/2", 100)
    rest = (tmp_path / "out" / "part-2-of-2.jsonl").read_text().splitlines()
    assert [json.loads(line) for line in rest] == [10, 12, 14, 16, 18]
