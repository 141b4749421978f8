"""The signature of a model: what its example's run has shown."""

from __future__ import annotations

from typing import Any, Dict, Iterable, List

from foundations_serve import tensors
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
