"""The Open Inference Protocol ("V2") over HTTP, with Triton's binary extension."""

from __future__ import annotations

import json
from typing import Any, Dict, List, NamedTuple, Optional, Tuple

from foundations_serve import tensors
from foundations_serve.errors import BadInput
from foundations_serve.manifest import Manifest
from foundations_serve.requests import encoded, is_number, parsed
from foundations_serve.tensors import Tensor

HEADER_LENGTH = "Inference-Header-Content-Length"
"""The bytes of the JSON before binary data; the header's name by the binary extension."""
EXTENSIONS = ["binary_tensor_data"]


class Infer(NamedTuple):
    """A request for an inference."""

    id: Optional[str]
    inputs: List[Tensor]
    wanted: Dict[str, Optional[bool]]
    """The outputs that are asked for, and whether as binary data, None where that is not said; empty for all."""
    all_binary: bool
    """Whether outputs of which nothing is said are binary."""


def infer_of(body: bytes, header_length: Optional[str]) -> Infer:
    """Return the request that a body is.

    Args:
        body: JSON, and behind it binary data.
        header_length: bytes of the JSON, as the header has it; None where all is JSON.
    Raises:
        BadInput: it makes no sense.
    """
    length = _length(header_length, len(body))
    told = parsed(body[:length])
    if not isinstance(told, dict) or not isinstance(told.get("inputs"), list):
        raise BadInput("the body must be an object with a list of inputs")
    identity = told.get("id")
    if identity is not None and not isinstance(identity, str):
        raise BadInput("id must be a text")
    inputs = _inputs(told["inputs"], body, length)
    wanted = _wanted(told.get("outputs"))
    return Infer(identity, inputs, wanted, _parameters(told).get("binary_data_output") is True)


def _length(told: Optional[str], size: int) -> int:
    if told is None:
        return size
    if not is_number(told) or int(told) > size:
        raise BadInput(f"{HEADER_LENGTH} must be a number of bytes up to that of the body")
    return int(told)


def _inputs(entries: List[Any], body: bytes, at: int) -> List[Tensor]:
    found: List[Tensor] = []
    for entry in entries:
        size = _parameters(entry).get("binary_data_size") if isinstance(entry, dict) else None
        if size is None:
            found.append(tensors.from_json(entry))
            continue
        if type(size) is not int or not 0 <= size <= len(body) - at:
            raise BadInput("binary_data_size must be a number of bytes, and they must be there")
        found.append(tensors.from_bytes(entry, body[at : at + size]))
        at += size
    if at != len(body):
        raise BadInput(f"the body has {len(body) - at:,} bytes behind its last input")
    if len({tensor.name for tensor in found}) != len(found):
        raise BadInput("two inputs have one name")
    return found


def _wanted(entries: Any) -> Dict[str, Optional[bool]]:
    if entries is None:
        return {}
    if not isinstance(entries, list):
        raise BadInput("outputs must be a list")
    wanted: Dict[str, Optional[bool]] = {}
    for entry in entries:
        if not isinstance(entry, dict) or not isinstance(entry.get("name"), str):
            raise BadInput("an output must be an object with a name")
        is_binary = _parameters(entry).get("binary_data")
        wanted[entry["name"]] = is_binary if isinstance(is_binary, bool) else None
    return wanted


def _parameters(entry: Dict[str, Any]) -> Dict[str, Any]:
    parameters = entry.get("parameters")
    if parameters is None:
        return {}
    if not isinstance(parameters, dict):
        raise BadInput("parameters must be an object")
    return parameters


def answer(manifest: Manifest, request: Infer, outputs: List[Tensor]) -> Tuple[bytes, Optional[int]]:
    """Return the body of an answer, and the bytes of its JSON where binary data stand behind it.

    Raises:
        BadInput: it has no such output, or one that JSON cannot carry.
    """
    names = [tensor.name for tensor in outputs]
    unknown = sorted(set(request.wanted) - set(names))
    if unknown:
        raise BadInput(f"no output is called {', '.join(unknown)[:200]}; there are {', '.join(names)[:500]}")
    entries: List[Dict[str, Any]] = []
    binary: List[bytes] = []
    for tensor in outputs:
        if request.wanted and tensor.name not in request.wanted:
            continue
        said = request.wanted.get(tensor.name)
        if request.all_binary if said is None else said:
            data = tensors.to_bytes(tensor)
            entries.append({**tensor.described(), "parameters": {"binary_data_size": len(data)}})
            binary.append(data)
        else:
            entries.append(tensors.to_json(tensor))
    told: Dict[str, Any] = {"model_name": manifest.name, "model_version": str(manifest.version), "outputs": entries}
    if request.id is not None:
        told["id"] = request.id
    head = encoded(told)
    return b"".join([head, *binary]), len(head) if binary else None


def metadata(manifest: Manifest) -> Dict[str, Any]:
    """Return what the protocol says of a model."""
    return {
        "name": manifest.name,
        "versions": [str(manifest.version)],
        "platform": f"foundations_{manifest.flavour}",
        "inputs": manifest.signature.get("inputs", []),
        "outputs": manifest.signature.get("outputs", []),
    }


def generated(result: Any) -> str:
    """Return what a model that makes text has made."""
    if isinstance(result, dict) and isinstance(result.get("text_output"), str):
        return str(result["text_output"])
    return result if isinstance(result, str) else json.dumps(tensors.plain(result))
