"""Tensors as they cross: JSON and the binary extension of the Open Inference Protocol, and values of Python.

Formats: Open Inference Protocol, REST (kserve/open-inference-protocol, specification/protocol/inference_rest.md), and
Triton's "Binary Tensor Data Extension" (docs.nvidia.com, extension_binary_data): JSON first, then little-endian
row-major bytes; each element of BYTES with its length before it, as 4 bytes.

With numpy, tensors are arrays; without, nested lists. NaN and infinities, which JSON has not, are the texts "NaN",
"Infinity" and "-Infinity" there.
"""

from __future__ import annotations

import functools
import json
import math
import struct
from dataclasses import dataclass
from typing import Any, Dict, List, NamedTuple, Optional, Sequence, Tuple

from foundations_serve.errors import BadInput

MOST_DIMENSIONS = 32
_MOST_ELEMENTS = 1 << 40


class Datatype(NamedTuple):
    """One kind of element."""

    name: str
    code: str
    """Of ``struct``; "" where elements have no fixed size."""
    size: int
    """Bytes of an element; 0 for any."""
    kind: str
    """"bool", "int", "float" or "bytes"."""


BYTES = Datatype("BYTES", "", 0, "bytes")
_ALL = (
    Datatype("BOOL", "?", 1, "bool"),
    *(Datatype(f"UINT{8 * size}", code, size, "int") for code, size in zip("BHIQ", (1, 2, 4, 8))),
    *(Datatype(f"INT{8 * size}", code, size, "int") for code, size in zip("bhiq", (1, 2, 4, 8))),
    *(Datatype(f"FP{8 * size}", code, size, "float") for code, size in zip("efd", (2, 4, 8))),
    BYTES,
)
DATATYPES: Dict[str, Datatype] = {one.name: one for one in _ALL}
_NUMPY_NAMES = {
    one.name: {"bool": "bool", "int": one.name.lower(), "float": f"float{8 * one.size}", "bytes": "object"}[one.kind]
    for one in _ALL
}
_BY_NUMPY_NAME = {numpy: name for name, numpy in _NUMPY_NAMES.items() if name != BYTES.name}
_LENGTH = struct.Struct("<I")
_NO_NUMBERS = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}


@dataclass(frozen=True)
class Tensor:
    """A named array."""

    name: str
    datatype: Datatype
    shape: Tuple[int, ...]
    data: Any
    """An array of numpy, or nested lists; of BYTES, elements are ``bytes``."""

    def described(self) -> Dict[str, Any]:
        """Return what a model's metadata says of it."""
        return {"name": self.name, "datatype": self.datatype.name, "shape": list(self.shape)}


@functools.lru_cache(maxsize=1)
def numpy() -> Any:
    """Return numpy; None where it is not installed."""
    try:
        import numpy
    except ImportError:
        return None
    return numpy


# --- from the wire ------------------------------------------------------------------------------------------------


def from_json(entry: Any) -> Tensor:
    """Return the tensor of a JSON object whose data are in it, flat or nested.

    Raises:
        BadInput: it makes no sense.
    """
    name, datatype, shape = _head(entry)
    flat = list(_flat(entry.get("data"), name))
    if len(flat) != math.prod(shape):
        raise BadInput(f"input {name}: shape {list(shape)} has {math.prod(shape):,} elements, data {len(flat):,}")
    return _of_elements(name, datatype, shape, [_element(value, datatype, name) for value in flat])


def from_bytes(entry: Any, data: bytes) -> Tensor:
    """Return the tensor of a JSON object whose data came behind the JSON.

    Args:
        entry: the object.
        data: the elements, little-endian, row-major.
    Raises:
        BadInput: it makes no sense.
    """
    name, datatype, shape = _head(entry)
    count = math.prod(shape)
    if datatype is BYTES:
        elements = _split(data, name)
        if len(elements) != count:
            raise BadInput(f"input {name}: shape {list(shape)} has {count:,} elements, its bytes {len(elements):,}")
        return _of_elements(name, datatype, shape, elements)
    if len(data) != count * datatype.size:
        raise BadInput(f"input {name}: shape {list(shape)} has {count * datatype.size:,} bytes, {len(data):,} came")
    np = numpy()
    if np is not None:
        array = np.frombuffer(data, dtype=np.dtype(_NUMPY_NAMES[datatype.name]).newbyteorder("<")).reshape(shape)
        return Tensor(name, datatype, shape, array.astype(array.dtype.newbyteorder("="), copy=True))
    return _of_elements(name, datatype, shape, list(struct.unpack(f"<{count}{datatype.code}", data)))


def _head(entry: Any) -> Tuple[str, Datatype, Tuple[int, ...]]:
    if not isinstance(entry, dict) or not isinstance(entry.get("name"), str):
        raise BadInput("an input must be an object with name, shape, datatype and data")
    name = entry["name"]
    datatype = DATATYPES.get(entry.get("datatype", "")) if isinstance(entry.get("datatype"), str) else None
    if datatype is None:
        raise BadInput(f"input {name}: datatype must be one of {', '.join(DATATYPES)}")
    shape = entry.get("shape")
    if (
        not isinstance(shape, list)
        or len(shape) > MOST_DIMENSIONS
        or not all(type(size) is int and 0 <= size < 1 << 48 for size in shape)
    ):
        raise BadInput(f"input {name}: shape must be a list of whole numbers from 0")
    if math.prod(max(1, size) for size in shape) > _MOST_ELEMENTS:
        raise BadInput(f"input {name}: shape {shape} has too many elements")
    return name, datatype, tuple(shape)


def _flat(data: Any, name: str, depth: int = 0) -> Any:
    if not isinstance(data, list):
        raise BadInput(f"input {name}: data must be a list")
    if depth > MOST_DIMENSIONS:
        raise BadInput(f"input {name}: data are nested deeper than {MOST_DIMENSIONS} levels")
    for value in data:
        if isinstance(value, list):
            yield from _flat(value, name, depth + 1)
        else:
            yield value


def _element(value: Any, datatype: Datatype, name: str) -> Any:
    kind = datatype.kind
    if kind == "bytes" and isinstance(value, str):
        return value.encode("utf-8", "surrogatepass")
    if kind == "bool" and (value is True or value is False or (type(value) is int and value in (0, 1))):
        return bool(value)
    if kind == "int" and type(value) is int and _fits(value, datatype):
        return value
    if kind == "float":
        if type(value) in (int, float):
            try:
                return float(value)
            except OverflowError:
                pass
        elif isinstance(value, str) and value in _NO_NUMBERS:
            return _NO_NUMBERS[value]
    shown = json.dumps(value)[:40]
    raise BadInput(f"input {name}: {shown} is no {datatype.name}")


def _fits(value: int, datatype: Datatype) -> bool:
    bits = 8 * datatype.size
    is_signed = datatype.name.startswith("INT")
    return -(1 << (bits - 1)) <= value < 1 << (bits - 1) if is_signed else 0 <= value < 1 << bits


def _of_elements(name: str, datatype: Datatype, shape: Tuple[int, ...], flat: List[Any]) -> Tensor:
    np = numpy()
    if np is None:
        return Tensor(name, datatype, shape, _nested(flat, shape))
    array = np.empty(len(flat), dtype=_NUMPY_NAMES[datatype.name])
    with np.errstate(over="ignore"):
        array[:] = flat
    return Tensor(name, datatype, shape, array.reshape(shape))


def _nested(flat: Sequence[Any], shape: Tuple[int, ...]) -> Any:
    if not shape:
        return flat[0]
    if len(shape) == 1:
        return list(flat)
    step = math.prod(shape[1:])
    return [_nested(flat[place * step : (place + 1) * step], shape[1:]) for place in range(shape[0])]


def _split(data: bytes, name: str) -> List[bytes]:
    elements, at = [], 0
    while at < len(data):
        if at + 4 > len(data):
            raise BadInput(f"input {name}: its bytes end within a length")
        (size,) = _LENGTH.unpack_from(data, at)
        at += 4
        if at + size > len(data):
            raise BadInput(f"input {name}: its bytes end within an element")
        elements.append(data[at : at + size])
        at += size
    return elements


# --- to the wire --------------------------------------------------------------------------------------------------


def to_json(tensor: Tensor) -> Dict[str, Any]:
    """Return a tensor as a JSON object with its data.

    Raises:
        BadInput: it has bytes that are no text: those go only as binary data.
    """
    return {**tensor.described(), "data": [_plain_element(value, tensor) for value in _elements(tensor)]}


def to_bytes(tensor: Tensor) -> bytes:
    """Return the elements of a tensor as the binary extension has them."""
    if tensor.datatype is BYTES:
        return b"".join(_LENGTH.pack(len(value)) + value for value in _elements(tensor))
    np = numpy()
    if np is not None:
        array = np.asarray(tensor.data)
        return bytes(np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("<")).tobytes())
    flat = _elements(tensor)
    return struct.pack(f"<{len(flat)}{tensor.datatype.code}", *flat)


def _elements(tensor: Tensor) -> List[Any]:
    np = numpy()
    if np is not None:
        flat: List[Any] = np.asarray(tensor.data).ravel().tolist()
        return flat
    return list(_flat(tensor.data, tensor.name)) if tensor.shape else [tensor.data]


def _plain_element(value: Any, tensor: Tensor) -> Any:
    if tensor.datatype is BYTES:
        try:
            return value.decode("utf-8")
        except UnicodeDecodeError:
            raise BadInput(f"output {tensor.name} has bytes that are no text: ask for it as binary data") from None
    return plain_number(value) if tensor.datatype.kind == "float" else value


def plain_number(value: float) -> Any:
    """Return a number as JSON can carry it."""
    if math.isfinite(value):
        return value
    return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"


# --- values of Python -----------------------------------------------------------------------------------------------


def of_value(name: str, value: Any) -> Tensor:
    """Return a value that a model gave, or an example has, as a tensor.

    Arrays of numpy, tensors of PyTorch, frames of pandas, numbers, texts, bytes and nested lists of those become
    arrays; anything else becomes its JSON text.
    """
    np = numpy()
    if np is not None:
        found = _array(value, np)
        if found is not None:
            return _of_array(name, found, np)
    elif _is_rectangular(value):
        return _of_lists(name, value)
    return of_value(name, json.dumps(plain(value)))


def _array(value: Any, np: Any) -> Any:
    """Return a value as an array; None where it is none."""
    if hasattr(value, "detach") and hasattr(value, "cpu"):  # PyTorch's
        value = value.detach().cpu()
    if hasattr(value, "to_numpy"):  # pandas'
        value = value.to_numpy()
    if isinstance(value, (dict, set, frozenset)) or value is None:
        return None
    try:
        array = np.asarray(value)
    except (ValueError, TypeError, OverflowError):  # of lists that have different lengths
        return None
    if array.dtype.kind == "O":
        return array if all(isinstance(one, (str, bytes)) for one in array.ravel().tolist()) else None
    return array if array.dtype.kind in "biufSU" else None


def _of_array(name: str, array: Any, np: Any) -> Tensor:
    if array.dtype.kind in "SUO":
        flat = [one.encode("utf-8", "surrogatepass") if isinstance(one, str) else one for one in array.ravel().tolist()]
        return _of_elements(name, BYTES, tuple(array.shape), flat)
    known = _BY_NUMPY_NAME.get(array.dtype.name)
    if known is None:  # float128 and the like
        array = array.astype("float64")
        known = "FP64"
    return Tensor(name, DATATYPES[known], tuple(array.shape), array)


def _is_rectangular(value: Any) -> bool:
    return _shape(value) is not None


def _shape(value: Any) -> Optional[Tuple[int, ...]]:
    """Return the shape of nested lists of numbers and texts; None where they have none."""
    if isinstance(value, (bool, int, float, str, bytes)):
        return ()
    if not isinstance(value, (list, tuple)):
        return None
    shapes = {_shape(part) for part in value}
    if len(shapes) > 1 or None in shapes:
        return None
    return (len(value), *(shapes.pop() or () if shapes else ()))


def _of_lists(name: str, value: Any) -> Tensor:
    shape = _shape(value) or ()
    flat = list(_flat(_as_lists(value), name)) if shape else [value]
    datatype = _datatype_of(flat)
    if datatype is BYTES:
        flat = [one.encode("utf-8", "surrogatepass") if isinstance(one, str) else bytes(one) for one in flat]
    return Tensor(name, datatype, shape, _nested(flat, shape))


def _as_lists(value: Any) -> Any:
    return [_as_lists(part) for part in value] if isinstance(value, (list, tuple)) else value


def _datatype_of(flat: Sequence[Any]) -> Datatype:
    if any(isinstance(one, (str, bytes)) for one in flat):
        return BYTES
    if flat and all(isinstance(one, bool) for one in flat):
        return DATATYPES["BOOL"]
    is_whole = flat and all(isinstance(one, int) and -(1 << 63) <= one < 1 << 63 for one in flat)
    return DATATYPES["INT64" if is_whole else "FP64"]


def plain(value: Any) -> Any:
    """Return a value as JSON can carry it; what it cannot is its text."""
    if isinstance(value, float):
        return plain_number(value)
    if value is None or isinstance(value, (bool, int, str)):
        return value
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    if isinstance(value, dict):
        return {str(key): plain(part) for key, part in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [plain(part) for part in value]
    if hasattr(value, "detach") and hasattr(value, "cpu"):
        value = value.detach().cpu()
    for method in ("to_dict", "tolist"):  # of pandas, of numpy and PyTorch
        if hasattr(value, method):
            return plain(value.to_dict("list") if _is_frame(value) else getattr(value, method)())
    return str(value)


def _is_frame(value: Any) -> bool:
    return hasattr(value, "to_dict") and hasattr(value, "columns")


def of_result(result: Any) -> List[Tensor]:
    """Return the outputs that a model's result is: one a key of a table, else one, ``output-0``."""
    if isinstance(result, dict):
        return [of_value(str(name), value) for name, value in result.items()]
    return [of_value("output-0", result)]
