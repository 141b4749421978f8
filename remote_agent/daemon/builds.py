"""The environments that waiting jobs need: which are there, which are being built, and what became of it.

A builder is a process in a session of its own, without a lease: jobs of other environments go first. It outlives this
daemon; the next one finds it by its files. It is ended when no job waits for it any more.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, replace
from typing import Dict, List, Mapping, Optional, Set

from remote_agent.core.state import HostState
from remote_agent.environments import places
from remote_agent.environments.places import PRIVATE, Environment, Try
from remote_agent.protocol import checks
from remote_agent.protocol.messages import BuiltEnvironment, EnvironmentsAnswer
from remote_agent.protocol.recipes import Recipe, recipe_of
from remote_agent.protocol.wire import JsonTable
from remote_agent.storage import files
from remote_agent.storage.paths import Paths
from remote_agent.system.clean_environment import scrubbed

LOOK_SECONDS = 0.5
"""Seconds between two looks at builders."""
_MOST_AT_ONCE = 2
_MOST_KILLED = 3
"""How often a builder may be killed before its jobs are ended."""
_PATIENCE = 5.0
"""Seconds from TERM to KILL."""


@dataclass
class _Running:
    """A builder."""

    attempt: Try
    process: Optional["subprocess.Popen[bytes]"]
    """None for one that an earlier daemon started."""
    kill_at: Optional[float] = None
    """When it is killed that nobody waits for, on the monotonic clock."""

    def has_ended(self) -> bool:
        return self.process.poll() is not None if self.process is not None else not self.attempt.is_alive()

    def signal(self, number: int) -> None:
        told = files.read_json(self.attempt.builder)
        pid = self.process.pid if self.process is not None else told.get("pid") if isinstance(told, dict) else None
        if isinstance(pid, int) and pid > 1 and not self.has_ended():
            with contextlib.suppress(OSError):
                os.killpg(pid, number)  # it leads its session


class Builds:
    """The builders of one host."""

    def __init__(self, paths: Paths, agent: str) -> None:
        """Make it.

        Args:
            paths: the agent's files.
            agent: content hash of this agent, whose file builders run.
        """
        self._paths = paths
        self._agent = agent
        self._running: Dict[str, _Running] = {}
        self._killed: Dict[str, int] = {}
        """How often a builder of an environment was killed."""
        self._looked_at = 0.0
        self._is_taken_up = False
        self._given_away: Set[str] = set()
        """Folders that were given to be removed."""
        self.trash: List[str] = []
        """Folders of environments that are to be removed."""
        self.words: Dict[str, str] = {}
        """Why jobs cannot start whose environment is not there, by its hash."""
        self.failed: Set[str] = set()
        """Waiting jobs whose environment could not be built: they are to end with that."""

    @property
    def due(self) -> Optional[float]:
        """Return in how many seconds there is something to look at; None for never."""
        return max(0.0, self._looked_at + LOOK_SECONDS - time.monotonic()) if self._running else None

    def look(self, state: HostState) -> bool:
        """Look at what waiting jobs need, start and end builders, and say whether anything has changed."""
        self._take_up()
        needed = state.queue.by_environment
        if not needed and not self._running:
            self.words, self.failed = {}, set()
            return False
        self._looked_at = time.monotonic()
        before = (dict(self.words), set(self.failed))
        # Who is paused waits for what will be when it goes on: a failure of today says nothing to that.
        self.failed = {job for job in self.failed if job in state.queue and state.may_start(job)}
        for digest in list(self._running):
            self._look_at_builder(digest, needed)
        self.words = {}
        for digest, jobs in list(needed.items()):
            if any(job not in self.failed and state.may_start(job) for job in jobs):
                self._look_at_need(digest, state)
            elif jobs & self.failed:
                self.words[digest] = "environment: could not be built"
        return before != (self.words, self.failed)

    def prune(self, state: HostState, unused_for: Optional[float], preview: bool, now: float) -> EnvironmentsAnswer:
        """List the environments of this host, and move away those that nobody needs.

        Args:
            state: whose jobs need some.
            unused_for: seconds for which no job may have begun in one that goes; None for none.
            preview: move none.
            now: seconds since the epoch.
        """
        needed: Dict[str, int] = {}
        for job in (*state.active, *state.queue.everyone()):
            digest = state.jobs[job].spec.environment_hash
            needed[digest] = needed.get(digest, 0) + 1
        for spec in state.specs_to_come():
            digest = str(spec.get("environment", {}).get("hash", ""))
            needed[digest] = needed.get(digest, 0) + 1
        listed = [_described(environment, needed) for environment in places.built(self._paths)]
        if unused_for is not None:
            listed = [replace(one, going=not one.in_use and now - one.used_at >= unused_for) for one in listed]
        if not preview:
            for one in listed:
                if one.going:
                    self.trash += places.take_away(Environment(self._paths, one.hash))
        return EnvironmentsAnswer(listed)

    def take_trash(self) -> List[str]:
        """Return the folders that may be removed."""
        trash, self.trash = self.trash, []
        return trash

    def _take_up(self) -> None:
        """Once: take over the builders that an earlier daemon has started, and have removed what killed ones left."""
        if self._is_taken_up:
            return
        self._is_taken_up = True
        for attempt in places.all_tries(self._paths):
            if attempt.is_alive() and not os.path.exists(attempt.end):
                self._running[os.path.basename(os.path.dirname(attempt.folder))] = _Running(attempt, None)
        self._give_away(places.remains(self._paths))

    def _give_away(self, folders: List[str]) -> None:
        """Have folders removed, each once: that takes longer than the daemon may."""
        self.trash += [folder for folder in folders if folder not in self._given_away]
        self._given_away.update(folders)

    def _look_at_builder(self, digest: str, needed: Mapping[str, Set[str]]) -> None:
        builder = self._running[digest]
        if builder.has_ended():
            del self._running[digest]
            self._give_away(places.remains(self._paths, digest))
            self._take_end(digest, builder, needed.get(digest, set()))
        elif digest not in needed:
            now = time.monotonic()
            if builder.kill_at is None:
                builder.kill_at = now + _PATIENCE
                builder.signal(signal.SIGTERM)
            elif now > builder.kill_at:
                builder.signal(signal.SIGKILL)

    def _take_end(self, digest: str, builder: _Running, jobs: Set[str]) -> None:
        attempt = builder.attempt
        end = files.read_json(attempt.end)
        if isinstance(end, dict):
            self._killed.pop(digest, None)
            if end.get("words"):
                self.failed |= jobs
            return
        if builder.kill_at is not None:
            return  # we have ended it
        self._killed[digest] = self._killed.get(digest, 0) + 1
        if self._killed[digest] >= _MOST_KILLED and jobs:
            del self._killed[digest]
            with contextlib.suppress(OSError):
                files.write_json(attempt.end, {"words": "its builder was killed again and again", "at": time.time()})
            self.failed |= jobs

    def _look_at_need(self, digest: str, state: HostState) -> None:
        job = next(iter(state.queue.by_environment[digest]))
        recipe = recipe_of(state.jobs[job].spec.environment)
        if recipe is not None and Environment(self._paths, digest).is_built(recipe.kind):
            return
        builder = self._running.get(digest)
        if builder is None and recipe is not None:
            builder = self._begin(digest, recipe, state)
        if builder is None:
            self.words[digest] = "environment: waits for other environments to be built"
            return
        builder.kill_at = None
        percent = builder.attempt.percent()
        self.words[digest] = "environment: is being built" if percent is None else f"environment: {percent} %"

    def _begin(self, digest: str, recipe: Recipe, state: HostState) -> Optional[_Running]:
        """Start a builder; None while too many run or the host has no process."""
        if len(self._running) < _MOST_AT_ONCE:
            try:
                self._running[digest] = self._started(digest, recipe, self._private(digest, state))
            except OSError:
                return None
        return self._running.get(digest)

    def _started(self, digest: str, recipe: Recipe, private: JsonTable) -> _Running:
        os.makedirs(places.folder(self._paths), 0o700, exist_ok=True)
        attempt = places.new_try(self._paths, digest)
        files.write_json(attempt.recipe, recipe.to_wire())
        env = {**scrubbed(dict(os.environ)), PRIVATE: json.dumps(private)}
        with open(attempt.log, "ab") as log:
            process = subprocess.Popen(
                [
                    *(sys.executable, "-I", "-S", "-E", self._paths.agent(self._agent), "build"),
                    *(self._paths.root, digest, os.path.basename(attempt.folder)),
                ],
                env=env,
                cwd=self._paths.root,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        return _Running(attempt, process)

    def _private(self, digest: str, state: HostState) -> JsonTable:
        """Return the private variables of a build: those of the first job that has some."""
        jobs: List[str] = sorted(state.queue.by_environment[digest])
        for job in jobs:
            private = files.read_json(self._paths.job(job).private) if state.jobs[job].spec.private else None
            if isinstance(private, dict) and isinstance(private.get("build"), dict):
                told: JsonTable = private["build"]
                return told
        return {}


def _described(environment: Environment, needed: Mapping[str, int]) -> BuiltEnvironment:
    told = environment.facts()
    recipe = recipe_of(told.get("recipe"))
    built_at, size, names = told.get("built_at"), told.get("bytes"), told.get("packages")
    moment = built_at if isinstance(built_at, float) and 0 <= built_at < checks.END_OF_TIME else 0.0
    try:
        used_at = max(moment, os.stat(environment.used).st_mtime)
    except OSError:
        used_at = moment
    return BuiltEnvironment(
        environment.digest,
        recipe.source if recipe is not None else "",
        recipe.python if recipe is not None else "",
        len(names) if isinstance(names, list) else 0,
        size if isinstance(size, int) and size >= 0 else 0,
        moment,
        used_at,
        needed.get(environment.digest, 0),
    )
