"""Building one environment: a process of its own, beside the daemon, that any number of jobs may wait for.

It builds aside and renames. Nothing is repaired: what a killed builder leaves is removed by the next one. Two builders
of one recipe hinder each other only in speed: the first rename counts.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import signal
import time
from typing import Any, Dict

import remote_agent
from remote_agent.environments import conda, images, packages, pip_settings, places, sealing, setup_lines, tools
from remote_agent.environments.packages import PackagesBuild
from remote_agent.environments.places import PRIVATE, Environment, Try
from remote_agent.environments.steps import BuildFailed, Steps
from remote_agent.protocol.recipes import CONDA, IMAGE, Recipe, recipe_of
from remote_agent.storage import files
from remote_agent.storage.paths import Paths
from remote_agent.system import login, processes, spawn_daemon

_FULL = re.compile(r"No space left on device|os error 28|Disk quota exceeded", re.IGNORECASE)


def main(root: str, digest: str, number: str) -> int:
    """Carry out one try, whose folder has the recipe; how it went stands there afterwards.

    Args:
        root: the agent's folder.
        digest: the recipe's hash.
        number: of the try.
    """
    os.umask(0o077)
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    paths = Paths(root)
    attempt = Try(os.path.join(paths.builds, digest, number))
    files.write_bytes(attempt.builder, json.dumps(processes.identity(os.getpid()).to_wire()).encode(), durable=False)
    words = ""
    try:
        recipe = recipe_of(files.read_json(attempt.recipe))
        if recipe is None or recipe.hash != digest:
            raise BuildFailed("its recipe makes no sense")
        build(paths, recipe, attempt)
    except BuildFailed as error:
        words = str(error)
    except OSError as error:
        words = f"{error.strerror or error}" + (f": {error.filename}" if error.filename else "")
    except Exception as error:  # a fault of ours must not leave jobs waiting
        words = f"the builder failed, which is a bug: {type(error).__name__}: {error}"
    if _FULL.search(words):
        words = f"the disk of the host is full; foundations prune frees what ended jobs hold there\n{words}"
    _say_why(attempt, words)
    try:
        files.write_json(attempt.end, {"words": words, "at": time.time()})
    except OSError:
        return 1
    if not os.path.exists(paths.stopped):
        spawn_daemon.start_current_daemon(paths)  # jobs wait for this; where a daemon is, another one ends at once
    return 1 if words else 0


def _say_why(attempt: Try, words: str) -> None:
    """End the log of a build that has failed with the reason: not all of it is a program's output."""
    if words:
        with contextlib.suppress(OSError), open(attempt.log, "a", encoding="utf-8", errors="replace") as log:
            log.write(f"foundations: the environment could not be built: {words.splitlines()[0]}\n")


def build(paths: Paths, recipe: Recipe, attempt: Try) -> None:
    """Build an environment and put it in place; one that is there already is left as it is.

    Raises:
        BuildFailed: why not. OSError: the disk does not take it.
    """
    target = places.of(paths, recipe)
    if target.is_built(recipe.kind):
        return
    began = time.time()
    folder = f"{target.folder}{places.NEW}{os.urandom(6).hex()}"
    scratch = os.path.join(folder, "scratch")
    os.makedirs(scratch, 0o700)
    env, private = _environment(paths, recipe)
    steps = Steps(attempt, {**env, **private}, scratch)
    steps.secrets = packages.secrets_of(private)
    steps.say(f"building the environment {recipe.hash[:12]}: {describe(recipe)}")
    told: Dict[str, Any] = {"lock": None, "image": None, "setup": None}
    try:
        if recipe.setup and recipe.kind != IMAGE:
            told["setup"] = _set_up(paths, recipe, steps, scratch)
        if recipe.kind == IMAGE:
            told["image"] = images.build(recipe, steps, folder)
        elif recipe.kind == CONDA:
            told["lock"] = conda.build(paths, recipe, steps, folder, scratch)
        else:
            build = PackagesBuild(paths, recipe, steps, folder, scratch)
            told["lock"] = build.run()
            build.relocate(target)
        _describe(told, recipe, folder, began)
        count = len(told["packages"])
        steps.say(f"built in {told['seconds']:g} s, {count} package{'' if count == 1 else 's'}")
        shutil.rmtree(scratch)
        shutil.copyfile(attempt.log, os.path.join(folder, os.path.basename(target.log)))
        _give_way(target, recipe)
        if not sealing.seal(folder, target, told):
            files.remove_tree(folder)
    except BaseException:
        files.remove_tree(folder)
        raise


_OF_PYTHON = ("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV", "CONDA_PREFIX")


def _set_up(paths: Paths, recipe: Recipe, steps: Steps, scratch: str) -> Any:
    """Run the setup lines of a recipe; what they leave holds for the build, too, but for what changes its Python."""
    env = {**login.identity(), "PATH": login.path(paths.login_path)}
    left = setup_lines.run_once(recipe.setup, env, steps, scratch)
    if left is not None:
        steps.env.update({name: value for name, value in left.values.items() if name not in _OF_PYTHON})
        steps.env["PATH"] = left.path + steps.env["PATH"]
    return setup_lines.to_told(left)


def describe(recipe: Recipe) -> str:
    """Return what a recipe is, in words."""
    parts = [recipe.source or recipe.image or recipe.kind]
    parts += [f"Python {recipe.python}"] if recipe.python else []
    parts += [f"extras {', '.join(recipe.extras)}"] if recipe.extras else []
    parts += [f"groups {', '.join(recipe.groups)}"] if recipe.groups else []
    return ", ".join(parts)


def _environment(paths: Paths, recipe: Recipe) -> "tuple[Dict[str, str], Dict[str, str]]":
    """Return what the programs of a build find in their environment, and what of it is private."""
    base = {**login.identity(), "PATH": tools.search_path(paths), "LANG": "C.UTF-8"}
    try:
        private = json.loads(os.environ.pop(PRIVATE, "{}"))
    except ValueError:
        private = {}
    host = pip_settings.uv_variables({**base, **recipe.variables})
    if any(name in pip_settings.INDEXES for name in (*recipe.variables, *private)):
        host = {name: value for name, value in host.items() if name not in pip_settings.INDEXES}
    return {**base, **host, **recipe.variables}, {str(name): str(value) for name, value in private.items()}


def _describe(told: Dict[str, Any], recipe: Recipe, folder: str, began: float) -> None:
    """Add what is written down of an environment."""
    prefix = os.path.realpath(os.path.join(folder, "env"))
    records = sealing.records_of(prefix) if recipe.kind != IMAGE else []
    count, size = sealing.size_of(prefix if recipe.kind != IMAGE else folder)
    told.update(
        version=1,
        recipe=recipe.to_wire(),
        packages=sealing.packages_of(records),
        digest=sealing.records_digest(records) if recipe.kind != IMAGE else told["image"],
        files=count,
        bytes=size,
        built_at=time.time(),
        seconds=round(time.time() - began, 1),
        agent=remote_agent.__version__,
    )


def _give_way(target: Environment, recipe: Recipe) -> None:
    """Move what bears the name and cannot be used out of the way: its Python is gone."""
    if os.path.lexists(target.folder) and not target.is_built(recipe.kind):
        for folder in places.take_away(target):
            files.remove_tree(folder)
