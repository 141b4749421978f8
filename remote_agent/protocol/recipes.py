"""Recipes: what an environment is built from, so that the same recipe is built once. Pure.

The client makes a recipe at submit; its hash names the environment on the host, whichever job asks for it.
"""

from __future__ import annotations

import hashlib
import json
import re
from typing import Any, Dict, List, Optional

from remote_agent.protocol.checks import flag, listing, one_of, table, text
from remote_agent.protocol.errors import BadRequest
from remote_agent.protocol.facts import HASH
from remote_agent.protocol.wire import JsonTable, Message, field, message

PACKAGES, CONDA, IMAGE = "packages", "conda", "image"
REQUIREMENTS, PYLOCK, EXPLICIT = "requirements", "pylock", "explicit"
"""Formats of a lock: pip's requirements with hashes, PyPA's pylock.toml, conda's explicit list."""
VERSION = 1
"""Of what is hashed: it changes when the same recipe is to be built anew."""
_OID = re.compile(r"([0-9a-f]{40})?\Z")
_HASH_OR_NONE = re.compile(r"(" + HASH.pattern[:-2] + r")?\Z")
_WORDS = text(1000)
_URL = text(4096)
_OBJECT = text(40, _OID, "an object's id")
_DIGEST = text(64, _HASH_OR_NONE, "a SHA-256 digest")
_PATH = text(4096, as_bytes=True)
_NAMES = listing(_WORDS, 1000)
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+!-]{0,250}\Z")
_FILE = text(251, _NAME, "a file's name")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\Z")


@message
class Recipe(Message):
    """What one environment is built from."""

    kind: str = field(one_of(PACKAGES, CONDA, IMAGE))
    source: str = field(_WORDS, "")
    """Where it was found, in words: "requirements.txt"."""
    lock: str = field(_DIGEST, "")
    """SHA-256 of the lock; "" when the host makes it of ``wanted``."""
    format: str = field(one_of("", REQUIREMENTS, PYLOCK, EXPLICIT), "")
    """Of the lock, or of what is wanted."""
    wanted: str = field(_DIGEST, "")
    """SHA-256 of the requirements that the host has to lock; "" when there is a lock."""
    image: str = field(_WORDS, "")
    """Name of a container image."""
    python: str = field(text(100), "")
    """Version of the host's interpreter: "3.11.7"."""
    platform: str = field(_WORDS, "")
    """Of the host: "x86_64-glibc-2.36"."""
    indexes: List[str] = field(listing(_URL, 100), [])
    """Where packages come from, without credentials; empty for the usual place."""
    extras: List[str] = field(_NAMES, [])
    groups: List[str] = field(_NAMES, [])
    tree: str = field(_OBJECT, "")
    """Git tree id of the project whose own packages are built into it; "" for none."""
    builds: List[str] = field(listing(_PATH, 1000), [])
    """Their folders below the top of the tree."""
    direct: List[str] = field(listing(_WORDS, 10_000), [])
    """Names of the packages that the project asks for itself: differences in those tell most."""
    interpreter: str = field(_PATH, "")
    """The Python of the host that it is built on."""
    program: str = field(_PATH, "")
    """The program of the host that builds it: uv, conda, apptainer, podman; "" for pip, or for the one that is sent."""
    setup: str = field(text(131_071, as_bytes=True), "")
    """Shell lines of the project that are run while it is built, and not before each job."""
    objects: Dict[str, str] = field(table(text(40, _OID, "an object's id"), 10_000, _FILE), {})
    """Files that came with it, by name: "lock", "uv", "certificates", wheels."""
    variables: Dict[str, str] = field(table(text(131_071), 1000, text(1000, _VARIABLE, "a variable's name")), {})
    """What the builder finds in its environment; no secrets."""
    offline: bool = field(flag, False)
    """Whether every wheel came with it."""

    @property
    def hash(self) -> str:
        """Return the name of the environment: all that decides what will be in it."""
        told = {name: value for name, value in self.to_wire().items() if name in _DECIDE and value}
        canonical = json.dumps({"version": VERSION, **told}, sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(canonical.encode("utf-8", "surrogatepass")).hexdigest()


_DECIDE = (
    *("kind", "lock", "format", "wanted", "image", "python", "platform"),
    *("indexes", "extras", "groups", "tree", "builds", "setup"),
)


def recipe_of(wire: Any) -> Optional[Recipe]:
    """Return the recipe in a job's specification; None for none, or for one that makes no sense."""
    if not wire:
        return None
    try:
        return Recipe.from_wire({name: value for name, value in wire.items() if name != "hash"})
    except (BadRequest, AttributeError):
        return None


def in_specification(recipe: Recipe) -> JsonTable:
    """Return a recipe as a specification has it, with its hash: that is asked for very often."""
    told = {name: value for name, value in recipe.to_wire().items() if value}
    return {**told, "hash": recipe.hash}


def check(value: Any, where: str) -> Any:
    """Check the recipe of a specification; an empty table is none."""
    if value == {}:
        return value
    if not isinstance(value, dict):
        raise BadRequest(f"{where} must be a recipe")
    recipe = Recipe.from_wire({name: part for name, part in value.items() if name != "hash"}, where)
    if value.get("hash") != recipe.hash:
        raise BadRequest(f"{where}: its hash is not that of the recipe")
    if recipe.kind == PACKAGES and not (recipe.lock or recipe.wanted):
        raise BadRequest(f"{where}: neither a lock nor what is wanted")
    if any(folder.startswith("/") or ".." in folder.split("/") for folder in recipe.builds):
        raise BadRequest(f"{where}: a folder to be built leads out of the snapshot")
    return value
