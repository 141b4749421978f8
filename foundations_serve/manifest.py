"""What is served: one version of a model, as the registry has it."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, field, fields
from typing import Any, Dict, Mapping, Optional, Tuple

from foundations_serve.errors import CannotLoad

VARIABLE = "FOUNDATIONS_MODEL"
"""Holds the manifest, as JSON."""
DATA_VARIABLE = "FOUNDATIONS_DATA_MODEL"
"""Holds the path of the model's files; the manifest has none, since it is another one on each host."""
FUNCTION, JOBLIB, PICKLE, TORCH, ONNX, COMMAND = "function", "joblib", "pickle", "torch", "onnx", "command"
FLAVOURS = (FUNCTION, JOBLIB, PICKLE, TORCH, ONNX, COMMAND)


@dataclass(frozen=True)
class Batching:
    """Which requests are computed together."""

    max_size: int = 0
    """Requests at most; 0 for each one alone."""
    max_wait_ms: float = 5.0
    """How long the first one waits for others, milliseconds."""


@dataclass(frozen=True)
class RequestLogging:
    """What is written down of requests."""

    sample: float = 0.0
    """The share of them; 0 for none."""
    limit: int = 16 << 20
    """Bytes on the disk of the host, of each attempt of a replica."""
    redact: Tuple[str, ...] = ()
    """Names of inputs, outputs and fields whose values are left out."""
    text: bool = False
    """Whether texts are kept, not only their lengths."""


@dataclass(frozen=True)
class Manifest:
    """One version of a model, and how it is served."""

    name: str = "model"
    version: int = 0
    """0 while it is not registered."""
    flavour: str = FUNCTION
    path: str = ""
    """The model's file or folder; "" for code alone."""
    hash: str = ""
    """Of those files, as a data set has it; "" where it need not be checked."""
    load: str = ""
    """``module:function`` that makes the model from its path; its result is predict's first argument."""
    predict: str = ""
    """``module:function`` that answers; "" where the flavour knows how."""
    evaluate: str = ""
    recalibrate: str = ""
    example: Optional[Dict[str, Any]] = None
    """Inputs by name, for probes and as a sample; None for none."""
    example_file: str = ""
    """Where a larger one lies, as seen from the folder that the server starts in."""
    signature: Dict[str, Any] = field(default_factory=dict)
    """{"inputs": [{"name", "datatype", "shape"}], "outputs": [...]}, as the example's run has shown."""
    batch: Batching = Batching()
    deadline: float = 60.0
    """Seconds that an answer may take, the time in the queue included."""
    queue: int = 64
    """Requests that may wait."""
    max_body: int = 64 << 20
    """Bytes of a request's body."""
    log: RequestLogging = RequestLogging()

    @classmethod
    def from_json(cls, text: str, environ: Mapping[str, str]) -> "Manifest":
        """Return the manifest that a text holds.

        Args:
            text: a JSON object; keys that are not known are left out.
            environ: the variables that the agent has set, which say where the files are.
        Raises:
            CannotLoad: it makes no sense.
        """
        try:
            told = json.loads(text)
            known = {f.name for f in fields(cls)}
            values = {name: value for name, value in told.items() if name in known and value is not None}
            values["batch"] = Batching(**values.get("batch", {}))
            log = values.get("log", {})
            values["log"] = RequestLogging(**{**log, "redact": tuple(log.get("redact", ()))})
            values.setdefault("path", environ.get(DATA_VARIABLE, ""))
            if values.get("example_file"):
                with open(values["example_file"], encoding="utf-8") as file:
                    values["example"] = json.load(file)
            manifest = cls(**values)
        except (OSError, ValueError, TypeError, AttributeError) as error:
            raise CannotLoad(f"the manifest of the model makes no sense: {error}") from None
        if manifest.flavour not in FLAVOURS:
            raise CannotLoad(f"no such flavour: {manifest.flavour!r}; there are {', '.join(FLAVOURS)}")
        return manifest

    @classmethod
    def of_process(cls) -> "Manifest":
        """Return the manifest that this process was started with.

        Raises:
            CannotLoad: there is none, or it makes no sense.
        """
        text = os.environ.get(VARIABLE)
        if text is None:
            raise CannotLoad(f"${VARIABLE} holds no manifest: foundations serve NAME@ALIAS sets it")
        return cls.from_json(text, os.environ)
