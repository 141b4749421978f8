"""What the code of a job says of its model: [model] of foundations.toml, or the predecessor's package manifest."""

from __future__ import annotations

import json
import posixpath
from pathlib import Path
from typing import Any

from foundations_tui.config import toml
from foundations_tui.config.schema import ModelTable, ProjectFile
from foundations_tui.config.toml import Document
from foundations_tui.environments.sources import SnapshotFiles
from foundations_tui.errors import ConfigError, NotFoundError
from foundations_tui.snapshot.freeze import Snapshot
from remote_agent.protocol import models

MANIFEST = "foundations_package_manifest.yaml"
"""The predecessor's file."""
_FILE, _PROJECT = "foundations.toml", "pyproject.toml"
_ENDINGS = {".joblib": models.JOBLIB, ".pkl": models.PICKLE, ".pickle": models.PICKLE, ".onnx": models.ONNX}
MOST_EXAMPLE_BYTES = 16_000
"""A larger example stays in the code."""


def of_code(frozen: Snapshot) -> ModelTable:
    """Return what the code of a job says of its model; nothing where it says nothing.

    Args:
        frozen: the code.
    Raises:
        ConfigError: what it says is wrong.
    """
    files = SnapshotFiles(frozen)
    for folder in _upwards(frozen.subdir):
        document = _table(files, folder)
        if document is not None:
            return toml.convert(document, ProjectFile).model
        if files.has(posixpath.join(folder, MANIFEST)):
            return of_manifest(files.read(posixpath.join(folder, MANIFEST)))
    return ModelTable()


def _upwards(folder: str) -> list[str]:
    """Return a folder and those above it, up to the top, which is ""."""
    parts = [part for part in folder.split("/") if part]
    return ["/".join(parts[:length]) for length in range(len(parts), -1, -1)]


def _table(files: SnapshotFiles, folder: str) -> Document | None:
    """Return the project's file of a folder, if it says anything of a model."""
    path = posixpath.join(folder, _FILE)
    if files.has(path):
        document = toml.parse(_text(files.read(path)), Path(path))
        return document if "model" in document.table or not files.has(posixpath.join(folder, MANIFEST)) else None
    path = posixpath.join(folder, _PROJECT)
    return toml.parse(_text(files.read(path)), Path(path)).below("tool", "foundations") if files.has(path) else None


def _text(data: bytes) -> str:
    return data.decode("utf-8-sig", "replace")


def of_manifest(data: bytes) -> ModelTable:
    """Return what the predecessor's manifest says; its errors are the predecessor's, word for word.

    Raises:
        ConfigError: it is wrong.
    """
    import yaml

    try:
        told = yaml.safe_load(data)
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError, ValueError):
        raise ConfigError("Manifest file was not a valid YAML file!", MANIFEST) from None
    entrypoints = told.get("entrypoints") if isinstance(told, dict) else None
    if not isinstance(entrypoints, dict):
        raise ConfigError("Entrypoints section missing from manifest file!", MANIFEST)
    if not isinstance(entrypoints.get("predict"), dict):
        raise ConfigError("Prediction entrypoint missing from manifest file!", MANIFEST)
    return ModelTable(
        predict=_reference("predict", entrypoints["predict"]),
        evaluate=_reference("evaluate", entrypoints.get("evaluate")),
        recalibrate=_reference("recalibrate", entrypoints.get("recalibrate")),
    )


def _reference(name: str, entry: Any) -> str:
    if entry is None:
        return ""
    titles = {"predict": "Prediction", "evaluate": "Evaluation", "recalibrate": "Recalibrate"}
    for part in ("module", "function"):
        if not isinstance(entry, dict) or not isinstance(entry.get(part), str):
            raise ConfigError(f"{titles[name]} {part} name missing from manifest file!", MANIFEST)
    return f"{entry['module']}:{entry['function']}"


def flavour_of(table: ModelTable) -> str:
    """Return the flavour that is meant where none is named: by what answers, else by the files' ending."""
    if table.flavour:
        return table.flavour
    if table.command:
        return models.COMMAND
    known = _ENDINGS.get(posixpath.splitext(table.path)[1].lower())
    return known if known and not table.load else models.FUNCTION


def example_of(table: ModelTable, frozen: Snapshot) -> tuple[dict[str, Any] | None, str]:
    """Return a model's example, or where a larger one lies in the code, as seen from the job's folder.

    Raises:
        NotFoundError: there is no such file in the code. ConfigError: it is no JSON object.
    """
    if isinstance(table.example, dict):
        return table.example or None, ""
    if not table.example:
        return None, ""
    path = posixpath.normpath(posixpath.join(frozen.subdir, table.example))
    files = SnapshotFiles(frozen)
    if path.startswith(("../", "/")) or not files.has(path):
        raise NotFoundError(f"the code of the job has no file {table.example!r} (example of [model])")
    try:
        told = json.loads(files.read(path))
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"{table.example}: {error}", "an example is a JSON object: inputs by name") from None
    if not isinstance(told, dict):
        raise ConfigError(f"{table.example}: an example is a JSON object: inputs by name")
    is_large = len(json.dumps(told)) > MOST_EXAMPLE_BYTES
    return (None, table.example) if is_large else (told, "")
