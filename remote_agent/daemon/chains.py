"""What follows from a job that has checked what another one has made: a version, and what an alias means."""

from __future__ import annotations

import json
import logging
import os
from typing import Callable, List, Optional, Union

from remote_agent.core.state import HostState
from remote_agent.daemon.ledger import Ledger
from remote_agent.daemon.models import Models
from remote_agent.daemon.requests import Requests
from remote_agent.daemon.services import Services
from remote_agent.protocol import chains, messages, models
from remote_agent.protocol.chains import RESULT, VARIABLE, Chain, CheckResult, Made
from remote_agent.protocol.ends import AttemptEnd
from remote_agent.protocol.errors import BadRequest
from remote_agent.protocol.jobs import JobView
from remote_agent.protocol.models import Version
from remote_agent.protocol.states import STATE_OF_REASON, EndReason, JobState
from remote_agent.protocol.wire import JsonTable
from remote_agent.storage import data_sets, files
from remote_agent.storage.paths import Paths
from remote_agent.system import kept_files

log = logging.getLogger(__name__)


class Chains:
    """Carries out what the specifications of such jobs say, before their ends are written down.

    A daemon that dies in between does all of it again: what is so already stays as it is.
    """

    def __init__(self, ledger: Ledger, requests: Requests, registry: Models, services: Services, paths: Paths) -> None:
        """Make them.

        Args:
            ledger: takes what is decided.
            requests: keeps the jobs of versions.
            registry: takes versions and aliases.
            services: go on to what an alias comes to mean.
            paths: the agent's files.
        """
        self.told: Callable[[str, str], None] = lambda schedule, words: None
        """Takes what has come of a chain, in words, with the name of its schedule."""
        self._ledger = ledger
        self._requests = requests
        self._registry = registry
        self._services = services
        self._paths = paths

    @property
    def _state(self) -> HostState:
        return self._ledger.state

    def end(self, view: JobView, end: AttemptEnd) -> None:
        """Do what follows from the end of a job, if anything does; what goes wrong is told, and ends nothing else."""
        if not view.spec.chain:
            return
        done: List[str] = []
        try:
            self._carry_out(view, end, done)
        except Exception as error:  # what the job has written must not end the daemon
            log.warning("the chain of job %s: %s", view.spec.job, error, exc_info=not isinstance(error, OSError))
            done.append(str(getattr(error, "strerror", None) or error))
        self.told(view.spec.schedule, "; ".join(done))

    def _carry_out(self, view: JobView, end: AttemptEnd, done: List[str]) -> None:
        """Register a version, and have its alias mean it; each step adds to what was done, in words.

        Raises:
            AgentError: why the next step could not be done. OSError: the disk is full.
        """
        made = self._made(view)
        why_not = self._why_not(view, end)
        if why_not:
            done.append(f"nothing was registered: job {view.spec.job[:6]}, which checks the model: {why_not}")
            self._let_go(made.data)
            return
        result = self._result(view)
        chain = Chain.from_wire(view.spec.chain, "chain")
        version = self._version(chain, view, made, result)
        self._requests.pin(version.job, models.pin_key(chain.model, version), chain.model, version.data)
        number = self._registry.register(chain.model, version, chain.by).event.number
        words = models.words_of(chain.model, number)
        self._requests.pin(version.job, models.pin_key(chain.model, version), words, version.data)
        done.append(f"job {version.job[:6]} is {words}")
        if chain.alias:
            self._promote(chain, number, version, view, made, done)

    def _why_not(self, view: JobView, end: AttemptEnd) -> str:
        """Return why the model cannot be registered: what the check says itself, else how it ended; "" where it can."""
        has_completed = STATE_OF_REASON[EndReason(end.reason_code)] is JobState.COMPLETED
        try:
            error = self._result(view).error
        except BadRequest as problem:
            error = str(problem) if has_completed else ""
        return error or ("" if has_completed else end.reason or end.reason_code)

    def _let_go(self, digest: str) -> None:
        """Forget files that were kept for a version that there is not, unless another one consists of them."""
        pinned = {pin.data for pins in self._state.pins.values() for pin in pins.values()}
        if digest and digest not in pinned:
            data_sets.drop_name(self._paths, kept_files.name_of(digest))

    def _version(self, chain: Chain, view: JobView, made: Made, result: CheckResult) -> Version:
        more: JsonTable = {"metrics": chains.metrics_of(made, result), "signature": result.signature}
        more.update({"data": made.data, "files": made.files, "bytes": made.bytes} if made.data else {})
        return chain.of_job(view.spec.after[0], made.attempt, more)

    def _made(self, view: JobView) -> Made:
        """Return what its supervisor has found of the first job."""
        told = files.read_json(self._paths.job(view.spec.job).attempt(view.attempt).made)
        return Made.from_wire(told if isinstance(told, dict) else {}, "what was made")

    def _result(self, view: JobView) -> CheckResult:
        """Return what the job has written.

        Raises:
            BadRequest: it has written nothing, or nothing that makes sense.
        """
        path = os.path.join(self._paths.job(view.spec.job).attempt(view.attempt).work, view.spec.subdir, RESULT)
        try:
            with files.open_regular(path) as file:
                data = file.read(chains.MOST_RESULT_BYTES + 1)
        except OSError:
            raise BadRequest(f"the check has written no {RESULT}") from None
        if len(data) > chains.MOST_RESULT_BYTES:
            raise BadRequest(f"{RESULT} has over {chains.MOST_RESULT_BYTES:,} bytes")
        return CheckResult.from_wire(_table(data), RESULT)

    def _promote(self, chain: Chain, number: int, version: Version, view: JobView, made: Made, done: List[str]) -> None:
        """Have the alias mean a version if that is better, and services that follow it go on."""
        model = self._state.models[chain.model]
        current = model.aliases.get(chain.alias, 0)
        if current != number:
            before: Optional[JsonTable] = model.versions[current].version.metrics if current else None
            is_better, why = chains.is_better(chain, version.metrics, before)
            if not is_better:
                done.append(f"{chain.alias} stays {current or 'nothing'}: {why}")
                return
            self._registry.set_alias(messages.SetAlias(chain.model, chain.alias, number, current, chain.by))
            done.append(f"{chain.alias} now" + (f" ({why})" if why else ""))
        manifest = _table(view.spec.env.get(VARIABLE, ""))
        manifest.update(version=number, signature=version.signature, **({"hash": made.data} if made.data else {}))
        data = {models.DATA: {"path": made.path, "at": "", "hash": made.data}} if made.data else {}
        gone_on = self._services.follow(chain.model, chain.alias, number, view.spec, manifest, data)
        if gone_on:
            done.append(f"{', '.join(gone_on)} goes on to it")


def _table(text: Union[str, bytes]) -> JsonTable:
    """Return what a JSON text says; an empty table when it is none."""
    try:
        told = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    return told if isinstance(told, dict) else {}
