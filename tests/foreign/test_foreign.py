"""Clients and servers that nobody here wrote, each in an environment of its own: ``make test-foreign``.

They are large. ``FOREIGN`` is a Python with kserve, openai, torch, uvicorn and starlette; ``MLSERVER`` one with
mlserver.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import tritonclient.http as triton

from tests.integration.test_services import connected
from tests.support.client import Client
from tests.support.model_server import serving
from tests.support.paths import TESTS

FOREIGN, MLSERVER = os.environ.get("FOREIGN", ""), os.environ.get("MLSERVER", "")
needs_foreign = pytest.mark.skipif(not FOREIGN, reason="make test-foreign says where it is")
needs_mlserver = pytest.mark.skipif(not MLSERVER, reason="make test-foreign says where it is")
_KSERVE = """
import asyncio, json, sys
from kserve import InferInput, InferRequest, InferenceRESTClient, RESTConfig

async def main(url):
    client = InferenceRESTClient(RESTConfig(protocol="v2", retries=1))
    assert await client.is_server_live(url) and await client.is_server_ready(url)
    assert await client.is_model_ready(url, "double")
    given = InferInput("x", [3], "FP32", [1.0, 2.0, 3.0])
    answer = await client.infer(url, InferRequest("double", [given]), model_name="double")
    print(json.dumps([float(one) for one in answer.outputs[0].as_numpy()]))

asyncio.run(main(sys.argv[1]))
"""
_OPENAI = """
import sys
import openai

client = openai.OpenAI(base_url=sys.argv[1] + "/v1", api_key=sys.argv[2], max_retries=0)
stream = client.chat.completions.create(model="stub", messages=[{"role": "user", "content": "hi"}], stream=True)
print("".join(chunk.choices[0].delta.content or "" for chunk in stream))
"""
_TORCH = """
import torch

def module():
    return torch.nn.Linear(2, 1)

if __name__ == "__main__":
    made = module()
    with torch.no_grad():
        made.weight[:] = torch.tensor([[2.0, 3.0]])
        made.bias[:] = 1.0
    torch.save(made.state_dict(), "weights.pt")
"""


def _run(python: str, code: str, *words: str) -> str:
    done = subprocess.run([python, "-c", code, *words], capture_output=True, text=True, timeout=180)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@needs_foreign
def test_kserves_client(tmp_path: Path) -> None:
    (tmp_path / "model.py").write_text("def predict(x):\n    return x * 2\n")
    with serving(tmp_path, name="double", version=1, predict="model:predict") as (port, _):
        assert json.loads(_run(FOREIGN, _KSERVE, f"http://127.0.0.1:{port}")) == [2.0, 4.0, 6.0]


@needs_foreign
def test_openais_client_streams_through_connect_with_the_services_token(client: Client) -> None:
    shutil.copy(TESTS / "foreign" / "openai_stub.py", client.project / "stub.py")
    client.run("serve", "llm", "--ready", "/health", "--token-env", "API_KEY", "--", "python", "stub.py", "{port}")
    token = client.run("service", "token", "llm").stdout.strip()
    with connected(client, "llm") as there:
        assert _run(FOREIGN, _OPENAI, there["url"], token) == "one two three"


@needs_foreign
def test_weights_of_torch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "network.py").write_text(_TORCH)
    subprocess.run([FOREIGN, "network.py"], cwd=tmp_path, check=True, timeout=180)
    monkeypatch.setattr(sys, "executable", FOREIGN)
    weights = str(tmp_path / "weights.pt")
    with (
        serving(tmp_path, name="net", version=1, flavour="torch", path=weights, load="network:module") as (port, _),
        triton.InferenceServerClient(f"127.0.0.1:{port}") as caller,
    ):
        given = triton.InferInput("input-0", [2, 2], "FP64")
        given.set_data_from_numpy(np.array([[1.0, 1.0], [2.0, 0.0]]))
        np.testing.assert_allclose(caller.infer("net", [given]).as_numpy("output-0"), [[6.0], [5.0]])


@pytest.fixture
def mlserver(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "mlserver"
    folder.mkdir()
    (folder / "echo.py").write_text(
        "from mlserver import MLModel\nfrom mlserver.types import InferenceResponse, ResponseOutput\n\n"
        "class Echo(MLModel):\n    async def predict(self, payload):\n"
        "        one = payload.inputs[0]\n"
        "        out = ResponseOutput(name='y', shape=one.shape, datatype=one.datatype, data=one.data)\n"
        "        return InferenceResponse(model_name=self.name, outputs=[out])\n"
    )
    (folder / "model-settings.json").write_text('{"name": "echo", "implementation": "echo.Echo"}')
    (folder / "settings.json").write_text('{"parallel_workers": 0, "host": "127.0.0.1"}')
    yield folder


@needs_mlserver
def test_mlserver_is_served_as_any_command(client: Client, mlserver: Path) -> None:
    shutil.copytree(mlserver, client.project, dirs_exist_ok=True)
    settings = ["MLSERVER_HTTP_PORT={port}", "MLSERVER_GRPC_PORT=0", "MLSERVER_METRICS_PORT=0"]
    words = ["env", *settings, str(Path(MLSERVER).with_name("mlserver")), "start", "."]
    client.run("serve", "ml", "--ready", "/v2/health/ready", "--open-on-host", "--", *words, timeout=180)
    with connected(client, "ml") as there, triton.InferenceServerClient(there["url"].split("//")[1]) as caller:
        given = triton.InferInput("x", [2], "FP32")
        given.set_data_from_numpy(np.array([1.0, 2.0], "float32"), binary_data=False)
        wanted = triton.InferRequestedOutput("y", binary_data=False)
        assert caller.infer("echo", [given], outputs=[wanted]).as_numpy("y").tolist() == [1.0, 2.0]
