"""What follows from a job that has checked what another one has made: a version, and what an alias means."""

from __future__ import annotations

import json
import os
from typing import Callable, List, Optional

from remote_agent.core.state import HostState
from remote_agent.daemon.ledger import Ledger
from remote_agent.daemon.models import Models
from remote_agent.daemon.requests import Requests
from remote_agent.daemon.services import Services
from remote_agent.protocol import chains, messages, models
from remote_agent.protocol.chains import RESULT, VARIABLE, Chain, CheckResult, Made
from remote_agent.protocol.ends import AttemptEnd
from remote_agent.protocol.errors import AgentError, BadRequest
from remote_agent.protocol.jobs import JobView
from remote_agent.protocol.models import RegistryEvent, Version
from remote_agent.protocol.schedules import TAG
from remote_agent.protocol.states import STATE_OF_REASON, EndReason, JobState
from remote_agent.protocol.wire import JsonTable
from remote_agent.storage import files
from remote_agent.storage.paths import Paths


class Chains:
    """Carries out what the specifications of such jobs say, before their ends are written down.

    A daemon that dies in between does all of it again: the same version is the one that it was.
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
        """Do what follows from the end of a job, if anything does."""
        if not view.spec.chain:
            return
        try:
            words = self._carried_out(view, end)
        except (AgentError, OSError, ValueError) as error:
            words = f"nothing was registered: {getattr(error, 'strerror', None) or error}"
        self.told(str(view.spec.tags.get(TAG, "")), words)

    def _carried_out(self, view: JobView, end: AttemptEnd) -> str:
        spec, first = view.spec, view.spec.after[0]
        result = self._result(view)
        if STATE_OF_REASON[EndReason(end.reason_code)] is not JobState.COMPLETED or result.error:
            why = result.error or end.reason or end.reason_code
            return f"nothing was registered: job {view.spec.job[:6]}, which checks the model: {why}"
        chain = Chain.from_wire(spec.chain, "chain")
        made = self._made(view)
        metrics = chains.metrics_of(made, result)
        of_job = self._state.jobs.get(first)
        more: JsonTable = {"metrics": metrics, "signature": result.signature}
        more.update({"data": made.data, "files": made.files, "bytes": made.bytes} if made.data else {})
        version = chain.of_job(first, of_job.attempt if of_job else 1, more)
        event = self._register(chain, version)
        words = f"job {first[:6]} is {models.words_of(chain.model, event.number)}"
        return words + self._promote(chain, event.number, version, view) if chain.alias else words

    def _made(self, view: JobView) -> Made:
        """Return what its supervisor has found of the first job."""
        told = files.read_json(self._paths.job(view.spec.job).attempt(view.attempt).made)
        return Made.from_wire(told if isinstance(told, dict) else {}, "what was made")

    def _result(self, view: JobView) -> CheckResult:
        """Return what the job has written; what is not there or makes no sense is nothing.

        Raises:
            BadRequest: it is too large.
        """
        path = os.path.join(self._paths.job(view.spec.job).attempt(view.attempt).work, view.spec.subdir, RESULT)
        try:
            with files.open_regular(path) as file:
                data = file.read(chains.MOST_RESULT_BYTES + 1)
        except OSError:
            return CheckResult()
        if len(data) > chains.MOST_RESULT_BYTES:
            raise BadRequest(f"{RESULT} has over {chains.MOST_RESULT_BYTES:,} bytes")
        try:
            told = json.loads(data)
        except (ValueError, RecursionError):
            told = None
        return CheckResult.from_wire(told if isinstance(told, dict) else {}, RESULT)

    def _register(self, chain: Chain, version: Version) -> RegistryEvent:
        """Register a version, whose job is kept from then on."""
        event = self._registry.register(chain.model, version, chain.by).event
        words = models.words_of(chain.model, event.number)
        self._requests.pin(version.job, models.pin_key(chain.model, version), words, version.data)
        return event

    def _promote(self, chain: Chain, number: int, version: Version, view: JobView) -> str:
        """Have the alias mean a version if that is better; return what has become of it, in words."""
        model = self._state.models[chain.model]
        current = model.aliases.get(chain.alias, 0)
        before: Optional[JsonTable] = model.versions[current].version.metrics if current else None
        if current == number:
            return f", {chain.alias} already"
        is_better, why = chains.is_better(chain, version.metrics, before)
        if not is_better:
            return f"; {chain.alias} stays {current or 'nothing'}: {why}"
        self._registry.set_alias(messages.SetAlias(chain.model, chain.alias, number, current, chain.by))
        gone_on = self._go_on(chain, number, version, view)
        words = f", {chain.alias} now" + (f" ({why})" if why else "")
        return words + (f"; {', '.join(gone_on)} goes on to it" if gone_on else "")

    def _go_on(self, chain: Chain, number: int, version: Version, view: JobView) -> List[str]:
        """Have the services that follow the alias go on to a version; return their names."""
        made = self._made(view)
        manifest = json.loads(view.spec.env.get(VARIABLE) or "{}")
        manifest.update(version=number, signature=version.signature, **({"hash": made.data} if made.data else {}))
        data = {models.DATA: {"path": made.path, "at": "", "hash": made.data}} if made.data else {}
        return self._services.follow(chain.model, chain.alias, number, view.spec, manifest, data)
