"""A version in this process: its files and its code are brought here, and loaded as the model server does."""

from __future__ import annotations

import contextlib
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from foundations_serve import loaders
from foundations_serve.errors import CannotLoad
from foundations_serve.manifest import DATA_VARIABLE, Manifest
from foundations_tui.config.hosts import owner_name
from foundations_tui.errors import FoundationsError, UsageError
from foundations_tui.services.models import files, operations, registering
from foundations_tui.session import Session
from foundations_tui.store import queries
from foundations_tui.store.models import Meant
from foundations_tui.submit.progress import SILENT
from remote_agent.protocol import models
from remote_agent.protocol.models import Version


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

    Its code is imported from a folder of its own.

    Args:
        session: the client's.
        reference: NAME@ALIAS or NAME@7.
        trust: whether a program of somebody else may be run.
    Raises:
        NotFoundError: there is no such version. UsageError: it is a command, or somebody else's program.
        FoundationsError: it cannot be loaded here.
    """
    meant = operations.meant(session, reference)
    version = meant.version.version
    _refuse_strangers(session, meant, trust)
    if version.flavour == models.COMMAND:
        raise UsageError(f"{meant.words} is a command: serve it, and ask it")
    told = json.loads(registering.manifest(meant.row.name, meant.version.number, version))
    told.pop("example_file", None)
    path = {DATA_VARIABLE: str(files.local(session, version, SILENT))} if version.data else {}
    manifest = Manifest.from_json(json.dumps(told), path)
    try:
        if version.predict or version.load:
            with _importing(files.code(session, version) / version.subdir, version):
                return LoadedModel(meant, loaders.load(manifest))
        return LoadedModel(meant, loaders.load(manifest))
    except CannotLoad as error:
        raise FoundationsError(
            f"{meant.words} cannot be loaded here: {error}", "the libraries of the model have to be installed here"
        ) from None


def _refuse_strangers(session: Session, meant: Meant, trust: bool) -> None:
    """Refuse to run what somebody else has written in this process, unless that was asked for.

    Raises:
        UsageError: it is somebody else's.
    """
    version = meant.version.version
    me = owner_name(session.hosts)
    has_code = version.flavour in models.PROGRAMS or version.predict or version.load
    owners = {version.owner, queries.job(session.store.conn, version.job).owner}
    if has_code and owners != {me} and not trust:
        who = ", ".join(sorted(owners - {me})) or "somebody else"
        raise UsageError(f"{meant.words} has code of {who}: loading it runs it here", "trust=True does")


@contextlib.contextmanager
def _importing(folder: Path, version: Version) -> Iterator[None]:
    """Have a version's code found first while it is loaded, and last afterwards: what is imported later may need it.

    Raises:
        FoundationsError: a module of its name was imported from somewhere else.
    """
    for reference in filter(None, (version.load, version.predict)):
        name = reference.partition(":")[0].partition(".")[0]
        module = sys.modules.get(name)
        origin = str(getattr(module, "__file__", None) or "")
        is_ours = (folder / f"{name}.py").exists() or (folder / name).exists()
        if module is not None and is_ours and not Path(origin).is_relative_to(folder):
            raise FoundationsError(
                f"module {name} is imported already, from {origin or 'elsewhere'}: two of one name do not go into one"
                " process",
                "load this version in a process of its own",
            )
    sys.path.insert(0, str(folder))
    try:
        yield
    finally:
        sys.path.remove(str(folder))
        if str(folder) not in sys.path:
            sys.path.append(str(folder))
