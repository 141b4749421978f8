"""How records are written: the lines of ``foundations.records``, and which values they take."""

from __future__ import annotations

import json

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Iterator, Tuple

FORMAT = "foundations-records"
VERSION = 1
HEADER = f'["{FORMAT}",{VERSION}]\n'.encode()
METRIC, PARAM, TAG, ARTIFACT, USED = "m", "p", "t", "a", "u"

_encode = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode
_MOST_BITS = 13_000
_DEEPEST = 200


def value(item: "Any") -> str:
    """Return a value as JSON, floats that JSON lacks included."""
    if isinstance(item, float):
        if item - item == 0.0:
            return float.__repr__(item)
        return '{"float":"%s"}' % nonfinite_name(item)
    if isinstance(item, int) and item.bit_length() > _MOST_BITS:
        raise ValueError("an integer has at most 4,000 digits")  # Python itself reads 4,300
    return _encode(item)


def nonfinite_name(item: float) -> str:
    """Return "NaN", "Infinity" or "-Infinity" for a float that is not finite."""
    if item != item:
        return "NaN"
    return "Infinity" if item > 0 else "-Infinity"


def metric(time: float, key: str, step: int, item: "Any") -> bytes:
    """Return the line of one metric value."""
    return f'["m",{time:.3f},{_encode(key)},{step},{value(item)}]\n'.encode("utf-8", "surrogatepass")


def pair(kind: str, time: float, key: str, item: "Any") -> bytes:
    """Return the line of a parameter, tag, artifact or use."""
    return f'["{kind}",{time:.3f},{_encode(key)},{value(item)}]\n'.encode("utf-8", "surrogatepass")


def checked_key(key: "Any") -> str:
    """Return a key.

    Raises:
        ValueError: it is not a string.
    """
    if not isinstance(key, str):
        raise ValueError(f"a key is a string; got {type(key).__name__}: {key!r}")
    return key


def plain(item: "Any") -> "Any":
    """Return the Python number in a scalar of NumPy, torch or another library, without importing any; masked is NaN."""
    if isinstance(item, _PLAIN):
        return item
    try:
        value = item
        if callable(getattr(item, "item", None)):
            value = float("nan") if _is_masked(item) else item.item()
        if not isinstance(value, _PLAIN) and callable(getattr(type(value), "__float__", None)):
            return float(value)  # longdouble, Decimal, Fraction
        return value
    except Exception:
        return item  # an array of several values has no single one


_PLAIN = (str, bytes, bool, int, float, dict, list, tuple, type(None))


def _is_masked(item: "Any") -> bool:
    """Return whether a scalar is NumPy's masked one: its value is not known."""
    mask = getattr(item, "mask", None)
    return mask is not None and getattr(item, "size", 0) == 1 and bool(mask)


def scalar(key: str, item: "Any") -> "Any":
    """Return a value of a metric or tag.

    Raises:
        TypeError: it is no string, bool, int or float, and holds none.
    """
    item = plain(item)
    if isinstance(item, (str, bool, int, float)):
        return item
    raise TypeError(f"{key!r}: a string, bool, int or float is needed; got {type(item).__name__}: {_shown(item)}")


def _shown(item: "Any") -> str:
    try:
        return repr(item)[:200]
    except Exception:
        return "a value that cannot be shown"


def json_value(item: "Any", depth: int = 0) -> "Any":
    """Return a value of a parameter; a nested float that is not finite becomes its name.

    Raises:
        TypeError: it has no JSON form. ValueError: it is nested too deep, or holds itself.
    """
    item = plain(item)
    _check_depth(depth)
    if isinstance(item, dict):
        return {str(key): _nested(inner, depth + 1) for key, inner in item.items()}
    if isinstance(item, (list, tuple)):
        return [_nested(inner, depth + 1) for inner in item]
    if item is None or isinstance(item, (str, bool, int, float)):
        return item
    raise TypeError(f"a parameter is something JSON can say; got {type(item).__name__}: {_shown(item)}")


def _check_depth(depth: int) -> None:
    if depth > _DEEPEST:
        raise ValueError(f"a parameter is nested more than {_DEEPEST} deep, or holds itself")


def _nested(item: "Any", depth: int) -> "Any":
    value = json_value(item, depth)
    return nonfinite_name(value) if isinstance(value, float) and value - value != 0.0 else value


def flatten(item: "Any", prefix: str = "", depth: int = 0) -> "Iterator[Tuple[str, Any]]":
    """Yield (key, value) of nested dicts and lists as ``a_b`` and ``l_0``; an empty one counts as None.

    Raises:
        ValueError: it is nested too deep, or holds itself.
    """
    _check_depth(depth)
    if isinstance(item, (dict, list, tuple)):
        items = item.items() if isinstance(item, dict) else enumerate(item)
        if not item and prefix:
            yield prefix, None
        for key, inner in items:
            yield from flatten(inner, f"{prefix}_{key}" if prefix else str(key), depth + 1)
    else:
        yield prefix, item


def is_job_id(text: "Any") -> bool:
    """Return whether a text can be the id of a job."""
    plain_ones = "._-"
    return (
        isinstance(text, str)
        and 1 <= len(text) <= 64
        and text not in (".", "..")
        and all(c.isascii() and (c.isalnum() or c in plain_ones) for c in text)
    )
