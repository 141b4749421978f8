"""A version in this process: its files and its code are brought here, and loaded as the model server does."""

from __future__ import annotations

import json
import os
import shutil
import sys
from pathlib import Path
from typing import Any

from foundations_serve import loaders
from foundations_serve.errors import CannotLoad
from foundations_serve.manifest import DATA_VARIABLE, Manifest
from foundations_tui.config import locations
from foundations_tui.errors import FoundationsError, UsageError
from foundations_tui.services.models import files, operations, registering, serving
from foundations_tui.session import Session
from foundations_tui.store import queries
from foundations_tui.store.models import Meant
from foundations_tui.submit.progress import SILENT
from foundations_tui.sync import code
from remote_agent.protocol import models


class LoadedModel:
    """A version that answers in this process; its libraries have to be installed here."""

    def __init__(self, meant: Meant, predict: loaders.Predict) -> None:
        self.name = meant.row.name
        """Of the model."""
        self.version = meant.version.number
        self.signature: dict[str, Any] = meant.version.version.signature
        """{"inputs": [{"name", "datatype", "shape"}], "outputs": [...]}."""
        self._predict = predict

    def predict(self, *args: Any, **inputs: Any) -> Any:
        """Return the model's answer for inputs by name; of a model with one input, for that."""
        if len(args) > 1 or (args and inputs):
            raise TypeError("predict takes inputs by name, or the only one as it is")
        return self._predict({loaders.ONE_INPUT: args[0]} if args else inputs)

    __call__ = predict

    def __repr__(self) -> str:
        return f"<model {self.name} {self.version}>"


def load(session: Session, reference: str, trust: bool = False) -> LoadedModel:
    """Return a version that answers in this process.

    Its code is imported from a folder of its own: of two versions with modules of one name, the first counts.

    Args:
        session: the client's.
        reference: NAME@ALIAS or NAME@7.
        trust: whether a program of somebody else may be run.
    Raises:
        NotFoundError: there is no such version. UsageError: it is a command, or somebody else's program.
        FoundationsError: it cannot be loaded here.
    """
    meant = operations.meant(session, reference)
    serving.refuse_strangers(session, meant, trust)
    version = meant.version.version
    if version.flavour == models.COMMAND:
        raise UsageError(f"{meant.words} is a command: serve it, and ask it")
    if version.predict or version.load or version.example_file:
        folder = str(_code(session, meant) / version.subdir)
        if folder not in sys.path:
            sys.path.insert(0, folder)
    told = json.loads(registering.manifest(meant.row.name, meant.version.number, version))
    told.pop("example_file", None)
    path = {DATA_VARIABLE: str(files.local(session, version, SILENT))} if version.data else {}
    try:
        return LoadedModel(meant, loaders.load(Manifest.from_json(json.dumps(told), path)))
    except CannotLoad as error:
        raise FoundationsError(f"{meant.words} cannot be loaded here: {error}") from None


def _code(session: Session, meant: Meant) -> Path:
    """Return the folder with the code of a version, brought here when it is not."""
    version = meant.version.version
    folder = locations.data_folder() / "models" / f"code-{version.snapshot}"
    if not folder.exists():
        temporary = folder.with_name(f"{folder.name}.{os.getpid()}.incoming")
        shutil.rmtree(temporary, ignore_errors=True)
        try:
            code.write(session, queries.job(session.store.conn, version.job), temporary)
            temporary.rename(folder)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
    return folder
