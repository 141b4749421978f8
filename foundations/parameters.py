"""The parameters that a job was submitted with."""

from __future__ import annotations

import json
from typing import Any, Iterator

from foundations import run

FILE_NAME = "foundations_job_parameters.json"


def load_parameters(log_parameters: bool = True) -> dict[str, Any]:
    """Return the parameters in ``foundations_job_parameters.json`` of the working directory.

    Args:
        log_parameters: record them for this job as well, nested values flattened (``a_b``, ``l_0``).
    Returns:
        The parameters as written, nested values as they are; empty when there is no such file or it is empty.
    Raises:
        ValueError: the file holds no JSON object.
    """
    try:
        with open(FILE_NAME, encoding="utf-8") as file:
            text = file.read()
    except FileNotFoundError:
        return {}
    parameters = json.loads(text) if text.strip() else {}
    if not isinstance(parameters, dict):
        raise ValueError(f"{FILE_NAME} holds a {type(parameters).__name__}; a JSON object is needed")
    if log_parameters:
        for key, value in flatten(parameters):
            run.log_param(key, value)
    return parameters


def flatten(value: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield (key, value) of nested dicts and lists as ``a_b`` and ``l_0``; an empty one counts as None."""
    if isinstance(value, (dict, list)):
        items = value.items() if isinstance(value, dict) else enumerate(value)
        if not value and prefix:
            yield prefix, None
        for key, item in items:
            yield from flatten(item, f"{prefix}_{key}" if prefix else str(key))
    else:
        yield prefix, value
