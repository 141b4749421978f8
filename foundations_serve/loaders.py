"""How models are loaded: one short function a flavour; the library of each is imported only when it is used."""

from __future__ import annotations

import hashlib
import importlib
import inspect
import json
import os
import sys
from typing import Any, Callable, Dict, Iterator, List, NamedTuple

from foundations_serve import manifest as flavours, tensors
from foundations_serve.errors import BadInput, CannotLoad
from foundations_serve.manifest import Manifest

ONE_INPUT = "input-0"
"""What the only input of a model is called, if it has no name of its own."""
Inputs = Dict[str, Any]
Predict = Callable[[Inputs], Any]
"""Takes inputs by name; returns a result, or a generator of results."""
_CHUNK = 1 << 20


def load(manifest: Manifest) -> Predict:
    """Load a model.

    Raises:
        CannotLoad: why not. Whatever the code of the model raises.
    """
    look_where_we_are()
    if manifest.hash and manifest.flavour in (flavours.JOBLIB, flavours.PICKLE):
        check_files(manifest)
    return _LOADERS[manifest.flavour](manifest)


def function(reference: str, what: str) -> Callable[..., Any]:
    """Return the function that ``module:function`` means.

    Raises:
        CannotLoad: there is none; in the words of the predecessor.
    """
    module, _, name = reference.partition(":")
    try:
        found: Any = importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name is None or not (module == error.name or module.startswith(error.name + ".")):
            raise  # it is there, and misses something itself
        raise CannotLoad(f"{what} module defined in manifest file could not be found! ({module})") from None
    for part in name.split("."):
        found = getattr(found, part, None)
    if inspect.iscoroutinefunction(found) or inspect.isasyncgenfunction(found):
        raise CannotLoad(f"{reference} is asynchronous: write it as a plain function, or as a generator")
    if not callable(found):
        raise CannotLoad(f"{what} function defined in manifest file could not be found! ({reference})")
    target: Callable[..., Any] = found
    return target


def check_files(manifest: Manifest) -> None:
    """Make sure that the files of a model are those that were registered: a pickle is a program.

    Raises:
        CannotLoad: they are not.
    """
    is_file = os.path.isfile(manifest.path)
    listed = sorted(_listed(manifest.path))
    told = {"file": is_file, "files": listed}
    canonical = json.dumps(told, sort_keys=True, separators=(",", ":")).encode()
    if hashlib.sha256(canonical).hexdigest() != manifest.hash:
        raise CannotLoad(f"the files at {manifest.path} are not those that were registered")


def _listed(path: str) -> Iterator[List[Any]]:
    """Yield what a data set's manifest says of each file: path, bytes, SHA-256, whether it is a program."""
    if os.path.isfile(path):
        yield _entry(os.path.basename(path), path)
        return
    for folder, _, names in os.walk(path):
        for name in names:
            place = os.path.join(folder, name)
            yield _entry(os.path.relpath(place, path), place)


def _entry(name: str, place: str) -> List[Any]:
    digest = hashlib.sha256()
    with open(place, "rb") as file:
        for chunk in iter(lambda: file.read(_CHUNK), b""):
            digest.update(chunk)
        told = os.fstat(file.fileno())
    return [name, told.st_size, digest.hexdigest(), bool(told.st_mode & 0o100)]


def look_where_we_are() -> None:
    """Have code of the working folder found, as ``python script.py`` there would."""
    if "" not in sys.path and os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())


# --- flavours -----------------------------------------------------------------------------------------------------


def _function(manifest: Manifest) -> Predict:
    if not manifest.predict:
        raise CannotLoad("Prediction entrypoint missing: [model] predict = 'module:function'")
    predict = function(manifest.predict, "Prediction")
    if not manifest.load:
        return by_name(predict, 0)
    load = function(manifest.load, "Load")
    try:
        model = load(manifest.path)
    except OSError as error:
        if manifest.path:
            raise
        raise CannotLoad(f"{manifest.load} got no path: [model] path names the file ({error})") from None
    return _with_model(predict, model)


def _joblib(manifest: Manifest) -> Predict:
    return _unpickled(manifest, _import("joblib").load)


def _pickle(manifest: Manifest) -> Predict:
    import pickle

    def read(path: str) -> Any:
        with open(path, "rb") as file:
            return pickle.load(file)

    return _unpickled(manifest, read)


def _unpickled(manifest: Manifest, read: Callable[[str], Any]) -> Predict:
    model = read(_only_file(manifest.path))
    if manifest.predict:
        return _with_model(function(manifest.predict, "Prediction"), model)
    predict = getattr(model, "predict", None)
    if not callable(predict):
        raise CannotLoad(f"a {type(model).__name__} has no method predict: name a function with [model] predict")
    columns = [str(name) for name in getattr(model, "feature_names_in_", ())]
    return lambda inputs: predict(_table(inputs, columns))


def _torch(manifest: Manifest) -> Predict:
    """A module that ``load`` makes takes the weights of the file; nothing else of the file is believed."""
    torch = _import("torch")
    if not manifest.load:
        raise CannotLoad("torch needs [model] load = 'module:function', which makes the module without its weights")
    module = function(manifest.load, "Load")()
    device = "cuda" if torch.cuda.is_available() else "cpu"
    module.load_state_dict(torch.load(_only_file(manifest.path), map_location="cpu", weights_only=True))
    module.to(device).eval()
    if manifest.predict:
        return _with_model(function(manifest.predict, "Prediction"), module)
    call = by_name(module.forward, 0)
    kind = next((one.dtype for one in module.parameters()), torch.float32)

    def tensor(value: Any) -> Any:
        made = torch.as_tensor(value).to(device)
        return made.to(kind) if made.is_floating_point() else made

    def predict(inputs: Inputs) -> Any:
        with torch.inference_mode():
            return call({name: tensor(value) for name, value in inputs.items()})

    return predict


def _onnx(manifest: Manifest) -> Predict:
    runtime = _import("onnxruntime")
    providers = runtime.get_available_providers()
    session = runtime.InferenceSession(_only_file(manifest.path, ".onnx"), providers=providers)
    expected = {one.name: one.type for one in session.get_inputs()}
    outputs = [one.name for one in session.get_outputs()]

    def predict(inputs: Inputs) -> Dict[str, Any]:
        if len(expected) == 1 and len(inputs) == 1:
            inputs = {next(iter(expected)): next(iter(inputs.values()))}
        unknown, missing = sorted(set(inputs) - set(expected)), sorted(set(expected) - set(inputs))
        if unknown or missing:
            raise BadInput(_wrong_names(unknown, missing, list(expected)))
        given = {name: _for_onnx(value, expected[name]) for name, value in inputs.items()}
        return dict(zip(outputs, session.run(outputs, given)))

    return predict


_ONNX_TYPES = {
    **{f"tensor({name})": name for name in ("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64")},
    "tensor(float16)": "float16",
    "tensor(float)": "float32",
    "tensor(double)": "float64",
    "tensor(bool)": "bool",
}


def _for_onnx(value: Any, kind: str) -> Any:
    np = tensors.numpy()
    array = np.asarray(value)
    if kind == "tensor(string)":
        return np.vectorize(lambda one: one.decode() if isinstance(one, bytes) else str(one), otypes=[object])(array)
    return array.astype(_ONNX_TYPES.get(kind, array.dtype))


def _command(manifest: Manifest) -> Predict:
    raise CannotLoad("a command answers by itself")


_LOADERS: Dict[str, Callable[[Manifest], Predict]] = {
    flavours.FUNCTION: _function,
    flavours.JOBLIB: _joblib,
    flavours.PICKLE: _pickle,
    flavours.TORCH: _torch,
    flavours.ONNX: _onnx,
    flavours.COMMAND: _command,
}


def _import(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name != name:
            raise
        raise CannotLoad(f"{name} is not installed in {sys.executable}") from None


def _only_file(path: str, ending: str = "") -> str:
    """Return a model's file; of a folder the only one in it, with that ending."""
    if os.path.isfile(path):
        return path
    if not os.path.isdir(path):
        raise CannotLoad("the model has no file: [model] path names it")
    found = [name for name in sorted(os.listdir(path)) if name.endswith(ending)]
    if len(found) != 1:
        what = f" that end with {ending}" if ending else ""
        raise CannotLoad(f"the model has {len(found)} files{what}, and one is needed: [model] path names it")
    return os.path.join(path, found[0])


# --- inputs -------------------------------------------------------------------------------------------------------


def _with_model(predict: Callable[..., Any], model: Any) -> Predict:
    call = by_name(predict, 1)
    return lambda inputs: call(inputs, model)


def by_name(predict: Callable[..., Any], before: int) -> Callable[..., Any]:
    """Return a function of inputs by name, and of what stands before them, for one with keyword arguments.

    A function of one argument gets the only input, whatever it is called.

    Args:
        predict: the function.
        before: how many arguments stand before the inputs.
    """
    takes = _parameters(predict, before)

    def call(inputs: Inputs, *first: Any) -> Any:
        if len(inputs) == 1 and takes.is_one:
            return predict(*first, next(iter(inputs.values())))
        unknown = [] if takes.any else sorted(set(inputs) - set(takes.names))
        missing = sorted(set(takes.needed) - set(inputs))
        if unknown or missing:
            raise BadInput(_wrong_names(unknown, missing, takes.names))
        placed = [inputs[name] for name in takes.by_place if name in inputs]
        named = {name: value for name, value in inputs.items() if name not in takes.by_place}
        return predict(*first, *placed, **named)

    return call


class _Takes(NamedTuple):
    """Which inputs a function takes."""

    names: List[str]
    needed: List[str]
    by_place: List[str]
    """Those that cannot be given by name."""
    any: bool
    """Whether it takes others, too."""
    is_one: bool
    """Whether it takes a single one, which needs no name."""


def _parameters(predict: Callable[..., Any], before: int) -> _Takes:
    try:
        parameters = list(inspect.signature(predict).parameters.values())[before:]
    except (TypeError, ValueError):  # written in C
        return _Takes([], [], [], True, False)
    plain = [one for one in parameters if one.kind not in (one.VAR_POSITIONAL, one.VAR_KEYWORD)]
    takes_any = any(one.kind is one.VAR_KEYWORD for one in parameters)
    takes_more = any(one.kind is one.VAR_POSITIONAL for one in parameters)
    return _Takes(
        [one.name for one in plain],
        [one.name for one in plain if one.default is one.empty],
        [one.name for one in plain if one.kind is one.POSITIONAL_ONLY],
        takes_any,
        not takes_any and (len(plain) == 1 or (takes_more and not plain)),
    )


def _wrong_names(unknown: List[str], missing: List[str], names: List[str]) -> str:
    parts = [f"no input is called {', '.join(unknown)[:200]}"] if unknown else []
    parts += [f"{', '.join(missing)[:200]} {'is' if len(missing) == 1 else 'are'} missing"] if missing else []
    return "; ".join(parts) + (f" (the model takes {', '.join(names)[:500]})" if names else "")


def _table(inputs: Inputs, columns: List[str]) -> Any:
    """Return what scikit-learn and the like take: the only input as it is, else a table with a column an input."""
    if len(inputs) == 1 and next(iter(inputs)) not in columns:
        return _named(next(iter(inputs.values())), columns)
    order = columns or list(inputs)
    unknown, missing = sorted(set(inputs) - set(order)), sorted(set(order) - set(inputs))
    if unknown or missing:
        raise BadInput(_wrong_names(unknown, missing, order))
    np = tensors.numpy()
    arrays = [np.atleast_1d(np.asarray(inputs[name])) for name in order]
    lengths = {len(array) for array in arrays}
    if len(lengths) != 1 or any(array.size != len(array) for array in arrays):
        raise BadInput("the columns of a table must be lists of one length")
    return _named(np.column_stack([array.reshape(-1) for array in arrays]), columns)


def _named(rows: Any, columns: List[str]) -> Any:
    """Return a table with the names of its columns, where the model was trained with names and pandas is there."""
    np = tensors.numpy()
    array = np.asarray(rows)
    if columns and array.ndim == 2 and array.shape[1] == len(columns) and "pandas" in sys.modules:
        return sys.modules["pandas"].DataFrame(array, columns=columns)
    return array
