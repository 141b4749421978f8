"""A model's example, run before the model is registered: what comes of it is the model's signature."""

from __future__ import annotations

import inspect
import json
import time
from typing import Any, Dict, List

from foundations_serve import loaders, signature, tensors
from foundations_serve.calling import log_trace, words_of
from foundations_serve.errors import CannotLoad, ServeError
from foundations_serve.manifest import COMMAND, Manifest

_MOST_SHOWN = 2000


def checked(manifest: Manifest, evaluates: bool = False) -> Dict[str, Any]:
    """Return what came of a check.

    Args:
        manifest: of the model.
        evaluates: whether its ``evaluate`` is called, too, without arguments: numbers by name.
    Returns:
        {"error": "" or why not, "signature", "result": a sample, "notes": lines, "evaluation": those numbers}.
    """
    told: Dict[str, Any] = {"error": "", "signature": {}, "result": "", "notes": [], "evaluation": {}}
    try:
        _check(manifest, told)
        if evaluates:
            told["evaluation"] = _evaluation(manifest)
    except (CannotLoad, ServeError) as error:
        told["error"] = str(error)
    except BaseException as error:  # also sys.exit() in its code
        log_trace(error)
        told["error"] = words_of(error)
    return told


def _check(manifest: Manifest, told: Dict[str, Any]) -> None:
    notes: List[str] = told["notes"]
    if manifest.flavour == COMMAND:
        notes.append("a command is checked when it is served")
        return
    _import_the_server()
    began = time.monotonic()
    predict = loaders.load(manifest)
    notes.append(f"loaded in {time.monotonic() - began:.1f} s")
    for what in ("evaluate", "recalibrate"):
        if getattr(manifest, what):
            loaders.function(getattr(manifest, what), what.capitalize())
    if manifest.example is None:
        notes.append("there is no example: the signature is not known, and a probe sees only whether the server lives")
        return
    inputs = signature.inputs_of(manifest.example)
    began = time.monotonic()
    result = predict(inputs)
    if inspect.isgenerator(result):
        result = next(result, None)
        notes.append("it answers as a stream")
    notes.append(f"the example took {1000 * (time.monotonic() - began):.1f} ms")
    told["signature"] = signature.of_run(inputs, result)
    told["result"] = json.dumps(tensors.plain(result))[:_MOST_SHOWN]


def _evaluation(manifest: Manifest) -> Dict[str, float]:
    """Return what the model's ``evaluate`` says of it.

    Raises:
        CannotLoad: it has none, or says no numbers by name.
    """
    if not manifest.evaluate:
        raise CannotLoad("the model has no evaluate: [model] evaluate = module:function")
    found = tensors.plain(loaders.function(manifest.evaluate, "Evaluate")())
    numbers = isinstance(found, dict) and all(
        isinstance(value, (int, float)) and not isinstance(value, bool) for value in found.values()
    )
    if not numbers:
        raise CannotLoad(f"{manifest.evaluate} has to return numbers by name; got {json.dumps(found)[:200]}")
    return {str(name): float(value) for name, value in found.items()}


def _import_the_server() -> None:
    try:
        import starlette  # noqa: F401 - it has to be there
        import uvicorn  # noqa: F401
    except ModuleNotFoundError as error:
        raise CannotLoad(
            f"the environment of this model has no {error.name}: the server needs uvicorn and starlette"
        ) from None
