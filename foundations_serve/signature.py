"""The signature of a model: what its example's run has shown."""

from __future__ import annotations

import math
import re
from typing import Any, Dict, Iterable, List

from foundations_serve import tensors
from foundations_serve.errors import BadInput
from foundations_serve.tensors import Tensor


def inputs_of(example: Dict[str, Any]) -> Dict[str, Any]:
    """Return the inputs that an example's JSON means, as a request with the same JSON would have them."""
    return {str(name): as_input(value) for name, value in example.items()}


def as_input(value: Any) -> Any:
    """Return a JSON value as a function gets it: nested lists of numbers as an array, all else as it is."""
    np = tensors.numpy()
    if np is None or not isinstance(value, list) or not value:
        return value
    try:
        array = np.asarray(value)
    except ValueError:  # lists of different lengths
        return value
    return array if array.dtype.kind in "biuf" else value


def fitted(declared: Dict[str, Any], inputs: Dict[str, Any]) -> Dict[str, Any]:
    """Return inputs as a signature has them: what are numbers there are numbers, also those that JSON has not.

    Args:
        declared: the signature of a model; one that says nothing changes nothing.
        inputs: by name.
    Raises:
        BadInput: a text, or nothing, is where a number has to be.
    """
    numeric = {one["name"]: one["datatype"] for one in declared.get("inputs", ()) if _NUMERIC.match(one["datatype"])}
    return {name: _numbers(name, numeric[name], value) if name in numeric else value for name, value in inputs.items()}


def _numbers(name: str, datatype: str, value: Any) -> Any:
    if hasattr(value, "dtype") and value.dtype.kind in "biuf":
        return value
    if hasattr(value, "tolist"):
        value = value.tolist()
    if not isinstance(value, (list, str, bytes, dict)) and value is not None:
        return value
    return as_input(_as_numbers(name, datatype, value))


def _as_numbers(name: str, datatype: str, value: Any) -> Any:
    if isinstance(value, list):
        return [_as_numbers(name, datatype, part) for part in value]
    if value is None or isinstance(value, str):
        if datatype.startswith(("FP", "BF")) and value in _NOT_FINITE:
            return _NOT_FINITE[value]
        shown = "nothing" if value in (None, "") else f"the text {value[:50]!r}"
        raise BadInput(f"{name} is {datatype}; got {shown}")
    if isinstance(value, (bytes, dict)):
        raise BadInput(f"{name} is {datatype}; got {'a text' if isinstance(value, bytes) else 'a table'}")
    return value


_NUMERIC = re.compile(r"(FP|BF|INT|UINT)[0-9]+\Z")
_NOT_FINITE = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf, None: math.nan, "": math.nan}
"""What stands for numbers that JSON and CSV do not have; what is missing is not a number, as in pandas."""


def of_run(inputs: Dict[str, Any], result: Any) -> Dict[str, Any]:
    """Return a signature.

    Args:
        inputs: by name.
        result: what the model made of them.
    """
    return {
        "inputs": _described([tensors.of_value(name, value) for name, value in inputs.items()]),
        "outputs": _described(tensors.of_result(result)),
    }


def _described(found: Iterable[Tensor]) -> List[Dict[str, Any]]:
    return [_with_free_rows(one.described()) for one in found]


def _with_free_rows(described: Dict[str, Any]) -> Dict[str, Any]:
    """Return a description whose first dimension is free: -1, as the protocol has it for what may vary."""
    shape = described["shape"]
    return {**described, "shape": [-1, *shape[1:]] if shape else shape}
