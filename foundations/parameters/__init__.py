"""The parameters that a job was submitted with."""

from __future__ import annotations

import json

from foundations import run

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Dict

FILE_NAME = "foundations_job_parameters.json"


def load_parameters(log_parameters: bool = True) -> "Dict[str, Any]":
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
        run.log_params(parameters)
    return parameters
