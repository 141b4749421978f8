"""The description of a server's own paths, for tools: OpenAPI 3.0.3 (spec.openapis.org)."""

from __future__ import annotations

from typing import Any, Dict, List

from foundations_serve.manifest import Manifest
from foundations_serve.tensors import DATATYPES

_ERROR = {"type": "object", "properties": {"error": {"type": "string"}}}
_TENSOR = {
    "type": "object",
    "required": ["name", "shape", "datatype"],
    "properties": {
        "name": {"type": "string"},
        "shape": {"type": "array", "items": {"type": "integer"}},
        "datatype": {"type": "string", "enum": list(DATATYPES)},
        "parameters": {"type": "object"},
        "data": {"type": "array", "items": {}},
    },
}


def document(manifest: Manifest) -> Dict[str, Any]:
    """Return the description of what one model answers."""
    base = f"/v2/models/{manifest.name}"
    tensors = {"type": "array", "items": _TENSOR}
    infer = {
        "type": "object",
        "required": ["inputs"],
        "properties": {"id": {"type": "string"}, "parameters": {"type": "object"}, "inputs": tensors},
    }
    paths: Dict[str, Any] = {
        "/predict": {"post": _operation("Answer with plain JSON", _named_inputs(manifest), {})},
        "/invocations": {"post": _operation("Answer as MLflow's servers do", {"type": "object"}, {"type": "object"})},
        f"{base}/infer": {"post": _operation("Answer by the Open Inference Protocol", infer, {"type": "object"})},
        base: {"get": _operation("The model's metadata", None, {"type": "object"})},
        f"{base}/ready": {"get": _operation("Whether the model answers", None, {"type": "object"})},
        "/v2/health/live": {"get": _operation("Whether the server is alive", None, {"type": "object"})},
        "/v2/health/ready": {"get": _operation("Whether the server answers", None, {"type": "object"})},
        "/metrics": {"get": {"summary": "Counters for Prometheus", "responses": {"200": {"description": "text"}}}},
    }
    for name in ("evaluate", "recalibrate"):
        if getattr(manifest, name):
            accepted = {"202": {"description": "begun"}, **_errors()}
            paths[f"/{name}"] = {"post": {"summary": f"Begin to {name}", "responses": accepted}}
    return {
        "openapi": "3.0.3",
        "info": {"title": manifest.name, "version": str(manifest.version)},
        "paths": paths,
    }


def _named_inputs(manifest: Manifest) -> Dict[str, Any]:
    """Return the schema of a table of inputs by name."""
    inputs: List[Dict[str, Any]] = manifest.signature.get("inputs", [])
    schema: Dict[str, Any] = {"type": "object", "properties": {str(one.get("name")): _schema(one) for one in inputs}}
    return {**schema, "example": manifest.example} if manifest.example is not None else schema


def _schema(tensor: Dict[str, Any]) -> Dict[str, Any]:
    datatype = DATATYPES.get(str(tensor.get("datatype")))
    kinds = {"bool": "boolean", "int": "integer", "float": "number", "bytes": "string"}
    schema: Dict[str, Any] = {"type": kinds[datatype.kind]} if datatype else {}
    for _ in tensor.get("shape", ()):
        schema = {"type": "array", "items": schema}
    return schema


def _operation(summary: str, takes: Any, gives: Any) -> Dict[str, Any]:
    answers = {"200": {"description": "the answer", "content": _json(gives)}, **_errors()}
    operation: Dict[str, Any] = {"summary": summary, "responses": answers}
    return {**operation, "requestBody": {"required": True, "content": _json(takes)}} if takes is not None else operation


def _errors() -> Dict[str, Any]:
    return {"default": {"description": "why not", "content": _json(_ERROR)}}


def _json(schema: Any) -> Dict[str, Any]:
    return {"application/json": {"schema": schema}}
