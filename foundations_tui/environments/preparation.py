"""What a job's environment will be: chosen, locked for its host, made a recipe; the host builds it."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from packaging.specifiers import SpecifierSet

from foundations_tui.config.hosts import HostConfig
from foundations_tui.config.project import Runtime
from foundations_tui.environments import indexes, locking, pythons, sources, torch_builds, uv_program, wheels
from foundations_tui.environments.indexes import HostIndexes
from foundations_tui.environments.locking import CannotLock, Lock, Target
from foundations_tui.environments.requirements_files import lines_of, option_of
from foundations_tui.environments.sources import AUTO, NONE, Source
from foundations_tui.errors import HostRefused, UsageError
from foundations_tui.snapshot import objects
from foundations_tui.snapshot.freeze import Snapshot
from remote_agent.protocol import recipes
from remote_agent.protocol.recipes import Recipe
from remote_agent.protocol.roles import HostPython, HostTools
from remote_agent.protocol.wire import JsonTable

_ACTIVE = ("VIRTUAL_ENV", "CONDA_PREFIX")
_LOCKED_THERE = ("requirements", "script", "project")
"""What a host can lock, too."""
_DOCKER = "docker is not used: its processes are the daemon's, so that a job there could not be ended; podman is"


@dataclass(frozen=True)
class Wish:
    """What was asked for of an environment: by options, else by [runtime]."""

    runtime: str = ""
    """ "none", "auto", a file, "image:NAME"; "" when nobody said."""
    python: str = ""
    extras: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()
    ship: bool = False
    """Whether the wheels are fetched here."""
    anew: bool = False
    """Whether what was resolved before is resolved again."""
    archive: str = ""
    """A file with a Python for hosts that have none that fits."""
    setup: str = ""
    """Shell lines of the project for its builder to run."""
    packages: tuple[str, ...] = ()
    """What is installed beside what the project asks for."""

    @property
    def is_made(self) -> bool:
        """Whether anything was asked for."""
        return replace(self, archive="", setup="", packages=()) != Wish()


@dataclass(frozen=True)
class Prepared:
    """The environment of a job, as its host will build it."""

    recipe: Recipe | None = None
    """None where the host's own Python has to do."""
    import_path: tuple[str, ...] = ()
    distributions: JsonTable = field(default_factory=dict)
    """As ``JobSpec.distributions``."""
    files: dict[str, bytes | Path] = field(default_factory=dict)
    """What has to be sent, by object id."""
    private: dict[str, str] = field(default_factory=dict)
    """Variables of the build that are written down nowhere."""
    lock: str = ""
    """The text of the lock, as far as it was made here."""
    notes: tuple[str, ...] = ()
    """What the user should know."""

    @property
    def words(self) -> str:
        """Return what it is, in words."""
        if self.recipe is None:
            return "the host's own Python"
        parts = [self.recipe.source]
        parts += [f"Python {self.recipe.python}"] if self.recipe.python else []
        parts += (
            [] if self.recipe.kind != recipes.PACKAGES else ["locked" if self.recipe.lock else "locked on the host"]
        )
        return ", ".join(parts)


def wish_of(runtime: Runtime, given: Wish) -> Wish:
    """Return what counts: options win over [runtime] of the project's file."""
    image = f"{sources.IMAGE_PREFIX}{runtime.image}" if runtime.image else ""
    return Wish(
        given.runtime or runtime.use or image,
        given.python or runtime.python,
        given.extras or runtime.extras,
        given.groups or runtime.groups,
        given.ship or runtime.ship,
        given.anew,
        runtime.python_archive,
        "" if runtime.setup_each_job else "\n".join(filter(None, runtime.setup)),
        given.packages,
    )


def source_of(frozen: Snapshot, command: tuple[str, ...], wish: Wish, host: HostConfig) -> Source | None:
    """Return where a job's environment comes from; None where the host's own Python has to do.

    Args:
        frozen: the code.
        command: what is run.
        wish: what was asked for.
        host: where it goes: its own ``python`` and ``setup`` mean that it is prepared already, and on this machine
            an environment that is active.
    Raises:
        UsageError: what was asked for is not there.
    """
    if wish.runtime == NONE:
        return None
    if wish.runtime not in ("", AUTO):
        return sources.named(frozen, wish.runtime)
    if not wish.is_made and (host.python or host.setup):
        return None
    if not wish.is_made and host.is_local and any(os.environ.get(name) for name in _ACTIVE):
        return None
    return sources.found(frozen, command)


def prepared(
    source: Source,
    tree: str,
    host: HostConfig,
    tools: HostTools,
    wish: Wish,
    needs_gpu: bool,
    kept: Lock | None = None,
) -> Prepared:
    """Return the environment of a job on a host.

    Args:
        source: where it comes from.
        tree: git tree id of the snapshot.
        host: where it goes.
        tools: what that host has.
        wish: what was asked for.
        needs_gpu: whether the job asks for GPUs.
        kept: the lock of an earlier job, which is built from again.
    Raises:
        UsageError: it makes no sense. HostRefused: the host cannot build it.
    """
    if source.how == "image":
        return _of_image(source, host, tools, wish)
    if source.how == "conda":
        return _of_conda(source, host, tools, wish, kept)
    return _of_packages(source, tree, host, tools, wish, needs_gpu, kept)


def _of_packages(
    source: Source, tree: str, host: HostConfig, tools: HostTools, wish: Wish, needs_gpu: bool, kept: Lock | None
) -> Prepared:
    parcel = _Parcel()
    python = _python(source, host, tools, wish, parcel)
    extras = tuple(dict.fromkeys([*wish.extras, *source.extras]))
    target = Target(python.version, tools.machine, tools.libc, extras, wish.groups)
    notes = list(source.warnings)
    lock = kept or _lock(source, target, wish, notes)
    if wish.packages and lock is not None:
        lock = locking.extended(lock, wish.packages, target)
    if lock is not None and needs_gpu:
        lock = _for_driver(lock, source, target, host, tools, is_kept=kept is not None)
    places = indexes.for_host(host.env, host.is_local)
    needs_uv = lock is not None and lock.format == recipes.PYLOCK
    program = _builder(host, tools, python, parcel, notes, needs_uv)
    wanted = _wanted(source) + "".join(f"{name}\n" for name in wish.packages).encode() if lock is None else b""
    if lock is not None:
        parcel.put("lock", lock.text.encode())
    else:
        parcel.put("wanted", wanted)
        if source.constraints:
            parcel.put("constraints", _plain(source, source.constraints))
    if places.certificates is not None:
        parcel.put("certificates", places.certificates.read_bytes())
    ships = wish.ship
    if places.left_out and not ships:
        notes.append(f"{', '.join(places.left_out)} is on this machine: {host.name} does not see it (--ship-wheels)")
    if ships:
        if lock is None:
            raise UsageError("--ship-wheels needs a lock, and none could be made here: " + (notes[-1] if notes else ""))
        for name, path in wheels.fetched(lock, target).items():
            parcel.put(name, path)
    more = lock.indexes if lock is not None else source.indexes
    variables, private = _with_indexes(places, more)
    recipe = Recipe(
        recipes.PACKAGES,
        source=source.words,
        lock=lock.digest if lock is not None else "",
        format=lock.format if lock is not None else recipes.REQUIREMENTS,
        wanted="" if lock is not None else hashlib.sha256(wanted).hexdigest(),
        python=python.version,
        platform=f"{tools.machine}-{tools.libc}",
        indexes=list(dict.fromkeys([*places.names, *more])),
        extras=list(extras),
        groups=list(wish.groups),
        tree=tree if source.builds else "",
        builds=list(source.builds),
        direct=list(source.asked) or sources.direct(source),
        interpreter=python.path,
        program=program,
        objects=parcel.names,
        variables=variables,
        offline=ships,
        setup=_setup(host, wish),
    )
    lock_text = lock.text if lock is not None else ""
    return Prepared(recipe, source.import_path, source.distributions, parcel.files, private, lock_text, tuple(notes))


def _python(source: Source, host: HostConfig, tools: HostTools, wish: Wish, parcel: _Parcel) -> HostPython:
    """Return the Python of a host that fits; where none does, the one of an archive, which is sent along."""
    required = pythons.specifier(source.python, source.words) if source.python else SpecifierSet()
    asked = pythons.specifier(wish.python, "--python") if wish.python else SpecifierSet()
    preferred = pythons.specifier(source.preferred, ".python-version") if source.preferred else SpecifierSet()
    try:
        return pythons.chosen(host.name, tools, required, asked, preferred)
    except HostRefused:
        archived = pythons.of_archive(wish.archive, tools, required, asked) if wish.archive else None
        if archived is None:
            raise
    parcel.put("python", Path(wish.archive))
    return archived


def _lock(source: Source, target: Target, wish: Wish, notes: list[str]) -> Lock | None:
    """Return the lock that is made here; None where the host has to make it."""
    try:
        return locking.locked(source, target, wish.anew)
    except CannotLock as error:
        reason = "" if source.how in _LOCKED_THERE else "what it locks cannot be resolved elsewhere"
        if target.extras or target.groups or sources.has_sources(source):
            reason = "extras, groups and [tool.uv] count only where it is locked here"
        if reason:
            raise UsageError(f"{error}; {reason}", error.hint or "--runtime none runs with the host's Python") from None
        notes.append(f"the host locks what is wanted: {error}")
        return None


def _for_driver(lock: Lock, source: Source, target: Target, host: HostConfig, tools: HostTools, is_kept: bool) -> Lock:
    """Return a lock whose builds the driver of a host runs; of what is not locked, another one may be made.

    Raises:
        HostRefused: they are too new for it.
    """
    words = torch_builds.refusal(lock.text, tools.cuda)
    if not words:
        return lock
    backend = torch_builds.backend_for(tools.cuda)
    if backend and not is_kept and source.how in _LOCKED_THERE:
        try:
            other = locking.locked(source, replace(target, torch_backend=backend))
        except (CannotLock, locking.NoSolution):
            other = lock
        if not torch_builds.refusal(other.text, tools.cuda):
            return other
    raise HostRefused(
        f"{host.name}: {words}",
        "lock an older build (uv: --torch-backend, or PyTorch's own index), or have the driver updated",
    )


def _builder(
    host: HostConfig, tools: HostTools, python: HostPython, parcel: _Parcel, notes: list[str], needs_uv: bool
) -> str:
    """Return the program that builds there: the host's uv; "" for one that is sent, or for pip.

    Raises:
        HostRefused: there is none, or pip does not know that kind of lock.
    """
    least = uv_program.LEAST_FOR_PYLOCK if needs_uv else uv_program.LEAST
    if uv_program.is_new_enough(tools.versions.get("uv", "0"), least):
        return tools.programs["uv"]
    try:
        parcel.put("uv", uv_program.for_machine(tools.machine))
    except uv_program.NoUv as error:
        if needs_uv:
            raise HostRefused(
                f"{host.name}: pylock.toml needs uv {'.'.join(map(str, least))} or newer there, and none can be sent"
                f" ({error})",
                "install it there",
            ) from None
        if not python.has_venv:
            raise HostRefused(
                f"{host.name}: there is no uv, none can be sent ({error}), and {python.path} cannot make environments",
                "install uv there, or python3-venv",
            ) from None
        notes.append(f"pip builds the environment: {error}")
    return ""


def _wanted(source: Source) -> bytes:
    """Return what a host has to lock: requirements in one file."""
    wanted = [path for path in source.files if path not in source.constraints]
    return _plain(source, wanted)


def _plain(source: Source, paths: Iterable[str]) -> bytes:
    """Return files of requirements as one, without the lines that include each other."""
    lines: list[str] = []
    for path in paths:
        content = source.files[path]
        text = sources.dependencies_of(content, path) if path.endswith("pyproject.toml") else content
        names = ("--requirement", "--constraint")
        lines += [line for line in lines_of(text) if line.strip() and option_of(line)[0] not in names]
    return "".join(f"{line}\n" for line in lines).encode()


def _with_indexes(places: HostIndexes, more: Sequence[str]) -> tuple[dict[str, str], dict[str, str]]:
    """Return the variables of a build, and the private ones, with the indexes that a project names itself."""
    variables, private = dict(places.variables), dict(places.private)
    known = variables.get("UV_INDEX", "") + private.get("UV_INDEX", "")
    new = [url for url in more if url not in known]
    if new:
        at = private if "UV_INDEX" in private else variables
        at["UV_INDEX"] = " ".join([*new, *at.get("UV_INDEX", "").split()])
        variables["UV_INDEX_STRATEGY"] = "unsafe-best-match"
    return variables, private


def _of_conda(source: Source, host: HostConfig, tools: HostTools, wish: Wish, kept: Lock | None) -> Prepared:
    program = next((tools.programs[name] for name in ("micromamba", "mamba", "conda") if name in tools.programs), "")
    if not program:
        raise HostRefused(
            f"{host.name}: {source.file} needs conda, mamba or micromamba there, and none is",
            "install micromamba there, or write requirements.txt; --runtime none runs with the host's Python",
        )
    content = source.files[source.file] if kept is None else kept.text.encode()
    parcel = _Parcel()
    parcel.put("wanted" if kept is None else "lock", content)
    digest = hashlib.sha256(content).hexdigest()
    recipe = Recipe(
        recipes.CONDA,
        source=source.words,
        lock=digest if kept is not None else "",
        format=recipes.EXPLICIT if kept is not None else "",
        wanted="" if kept is not None else digest,
        platform=f"{tools.machine}-{tools.libc}",
        program=program,
        objects=parcel.names,
        variables=dict(indexes.for_host(host.env, host.is_local).variables),
        setup=_setup(host, wish),
    )
    notes = (*source.warnings, *_has_to_have(wish, source))
    return Prepared(recipe, source.import_path, source.distributions, parcel.files, notes=notes)


def _setup(host: HostConfig, wish: Wish) -> str:
    """Return the setup lines that the builder runs; none behind those of a host: they may be needed before each job."""
    return "" if host.setup else wish.setup


def _of_image(source: Source, host: HostConfig, tools: HostTools, wish: Wish) -> Prepared:
    program = next(
        (tools.programs[name] for name in ("apptainer", "singularity", "podman") if name in tools.programs), ""
    )
    if not program:
        why = f"; {_DOCKER}" if "docker" in tools.programs else ""
        raise HostRefused(
            f"{host.name}: an image needs apptainer or podman there, and neither is{why}", "install apptainer there"
        )
    recipe = Recipe(
        recipes.IMAGE,
        source=f"image {source.file}",
        image=source.file,
        platform=f"{tools.machine}-{os.path.basename(program)}",
        program=program,
    )
    return Prepared(recipe, source.import_path, source.distributions, notes=_has_to_have(wish, source))


def _has_to_have(wish: Wish, source: Source) -> tuple[str, ...]:
    """Return that an environment which is used as it is has to have some packages itself, in words."""
    return (f"{source.words} has to have {', '.join(wish.packages)} itself",) if wish.packages else ()


class _Parcel:
    """Files that are sent with a recipe, by git's object ids: hosts keep what they have."""

    def __init__(self) -> None:
        self.names: dict[str, str] = {}
        self.files: dict[str, bytes | Path] = {}

    def put(self, name: str, content: bytes | Path) -> None:
        oid = objects.blob_id(content)
        self.names[name] = oid
        self.files[oid] = content
