"""The model server beside its floor: bare uvicorn and starlette, with the same JSON read and written."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from benchmarks.paired import Pair, time_pair
from tests.support.model_server import Server, free_port, serving
from tests.support.paths import ROOT

_REQUESTS, _CLIENTS = 300, 8
_FLOOR = """
import json, sys
import uvicorn
from starlette.applications import Starlette
from starlette.responses import Response
from starlette.routing import Route

async def answer(request):
    told = json.loads(await request.body())
    return Response(json.dumps({"x": told["x"]}), media_type="application/json")

app = Starlette(routes=[Route("/predict", answer, methods=["POST"])])
uvicorn.run(app, host="127.0.0.1", port=int(sys.argv[1]), log_level="warning", access_log=False)
"""
_MODEL = "def predict(x):\n    return {'x': x}\n"
_TOKEN = "t" * 43
_SMALL = json.dumps({"x": [1.0, 2.0, 3.0, 4.0]}).encode()


def run() -> list[Pair]:
    """Return requests one after the other and at once, memory, start, and a large tensor both ways."""
    with tempfile.TemporaryDirectory(prefix="foundations-bench-") as name:
        folder = Path(name)
        (folder / "model.py").write_text(_MODEL)
        (folder / "floor.py").write_text(_FLOOR)
        with _served(folder) as own, _floor(folder) as bare, _front(folder, own.port) as front:
            ours, floor = own.port, bare.port
            pairs = [
                time_pair("300 requests", 2.0, lambda: _post(floor, _SMALL), lambda: _post(ours, _SMALL), 7),
                time_pair("300 requests, 8 clients", 2.0, lambda: _at_once(floor), lambda: _at_once(ours), 7),
                time_pair("300 requests, by a front", 3.0, lambda: _post(floor, _SMALL), lambda: _through(front), 7),
                Pair("memory (MB for ms)", _memory(bare.pid), _memory(own.pid), 2.0),
                _tensors(ours),
            ]
        return [*pairs, time_pair("start", 3.0, lambda: _started(_floor, folder), lambda: _started(_served, folder), 5)]


@contextlib.contextmanager
def _served(folder: Path) -> Iterator[Server]:
    with serving(folder, name="model", version=1, predict="model:predict") as server:
        yield server


@contextlib.contextmanager
def _floor(folder: Path) -> Iterator[Server]:
    port = free_port()
    process = subprocess.Popen(
        [sys.executable, "floor.py", str(port)], cwd=folder, env={**os.environ, "PYTHONPATH": str(ROOT)}
    )
    try:
        while True:
            with contextlib.suppress(OSError):
                http.client.HTTPConnection("127.0.0.1", port, timeout=1).connect()
                break
            time.sleep(0.02)
        yield Server(port, process.pid)
    finally:
        process.terminate()
        process.wait(20)


@contextlib.contextmanager
def _front(folder: Path, port: int) -> Iterator[int]:
    """Give the port of a front before a server."""
    kept = folder / "services" / "model"
    kept.mkdir(parents=True)
    replica = {"job": "a", "attempt": 1, "address": "127.0.0.1", "port": port}
    (kept / "ready.json").write_text(json.dumps({"wanted": 1, "words": "", "replicas": [replica]}))
    (kept / "token").write_text(_TOKEN)
    own = free_port()
    env = {**os.environ, "PYTHONPATH": str(ROOT), "FOUNDATIONS_SERVICES": str(folder / "services")}
    words = ["foundations_serve.front", "model", "--listen", f"127.0.0.1:{own}", "--plain-http"]
    process = subprocess.Popen([sys.executable, "-m", *words], env=env, stdout=subprocess.DEVNULL)
    try:
        while True:
            with contextlib.suppress(OSError):
                http.client.HTTPConnection("127.0.0.1", own, timeout=1).connect()
                break
            time.sleep(0.02)
        yield own
    finally:
        process.terminate()
        process.wait(20)


def _through(port: int) -> None:
    _post(port, _SMALL, Authorization=f"Bearer {_TOKEN}")


def _started(server: Callable[[Path], contextlib.AbstractContextManager[Server]], folder: Path) -> None:
    with server(folder) as one:
        _post(one.port, _SMALL, 1)


def _memory(pid: int) -> float:
    """Return the proportional set size of a process: a thousandth for each MB, as the table shows milliseconds."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return next(int(line.split()[1]) / 1e6 for line in lines if line.startswith("Pss:"))


def _post(port: int, body: bytes, count: int = _REQUESTS, path: str = "/predict", **headers: str) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    for _ in range(count):
        connection.request("POST", path, body, {name.replace("_", "-"): value for name, value in headers.items()})
        response = connection.getresponse()
        assert response.status == 200, response.read()
        response.read()
    connection.close()


def _at_once(port: int) -> None:
    threads = [threading.Thread(target=_post, args=(port, _SMALL, _REQUESTS // _CLIENTS)) for _ in range(_CLIENTS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def _tensors(port: int) -> Pair:
    """Return a tensor of 1 MB as binary data, and as JSON: that is to be five times slower."""
    array = np.random.default_rng(0).random(1 << 17)
    head = {"name": "x", "shape": [len(array)], "datatype": "FP64"}
    plain = json.dumps({"inputs": [{**head, "data": array.tolist()}]}).encode()
    data = array.tobytes()
    asked = {
        "inputs": [{**head, "parameters": {"binary_data_size": len(data)}}],
        "parameters": {"binary_data_output": True},
    }
    text = json.dumps(asked).encode()
    path, length = "/v2/models/model/infer", str(len(text))
    return time_pair(
        "a tensor of 1 MB, binary beside JSON",
        0.2,
        lambda: _post(port, plain, 3, path),
        lambda: _post(port, text + data, 3, path, Inference_Header_Content_Length=length),
        5,
    )
