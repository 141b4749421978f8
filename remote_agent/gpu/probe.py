"""Looking at the GPUs by the vendors' tools, in children that can be killed: a hung driver must not hang the agent.

One look asks everything at once. When a tool does not answer in time, each GPU is asked by itself, and only those that
do not answer are sick.
"""

from __future__ import annotations

import functools
import os
import pwd
import shutil
import subprocess
import tempfile
import time
from dataclasses import replace
from typing import IO, Dict, List, Mapping, Optional, Sequence, Set, Tuple

from remote_agent.gpu import inventory
from remote_agent.gpu.claims import GpuClaims
from remote_agent.gpu.inventory import ComputeProcess, Gpu
from remote_agent.gpu.occupancy import GpuObservation, Occupancy
from remote_agent.gpu.source import GpuSource
from remote_agent.system import processes

DEADLINE = 10.0
"""Seconds that one call of a tool may take."""
CLOSE_INTERVAL, INTERVAL = 5.0, 10.0
"""Seconds between two looks: while somebody watches or a job waits; while jobs only run."""
_RELEASED_INTERVAL = 1.0
"""The same while a GPU that was released has to show that it is free."""
_STALE = 2 * INTERVAL + 2 * DEADLINE
"""A look that is older is taken again before a GPU is leased."""
_CLAIMS_SECONDS = 0.5
_SELDOM_EVERY = 12
"""Looks between two questions about MIG devices and versions, which hardly ever change."""
_MOST_BYTES = 1 << 20


class GpuProbe(GpuSource):
    """The GPUs of this host as last seen, and which of them may be leased."""

    def __init__(self, claims: GpuClaims) -> None:
        """Look once, waiting at most DEADLINE.

        Args:
            claims: what the agents of this machine say of its GPUs.
        """
        self.gpus: List[Gpu] = []
        self.problem = ""
        """Why the GPUs are not known, in words; empty when they are."""
        self.driver = self.cuda = ""
        self.occupancy = Occupancy()
        self.claims = claims
        self._tool = next((tool for tool in _TOOLS if _find(tool)), "")
        self._calls: Dict[str, _Call] = {}
        self._began = self._seen = 0.0
        self._looks = 0
        self._mig: List[Tuple[str, str, str]] = []
        self._whole_gpus: List[Gpu] = []
        """As last seen, before NVIDIA's are divided into MIG devices."""
        self._sick: Dict[str, str] = {}
        self._claims_at = 0.0
        self._others: Dict[str, str] = {}
        self._leased: Dict[str, str] = {}
        self.ignored: Set[str] = set()
        """UUIDs of GPUs whose claims by other agents do not count, because the user says so."""
        if self._tool:
            self._start()
            while self.busy:
                time.sleep(0.01)
                self.tick(INTERVAL)

    @property
    def busy(self) -> bool:
        """Whether a look is under way."""
        return bool(self._calls)

    def due(self, interval: Optional[float]) -> Optional[float]:
        """Return in how many seconds ``tick`` has something to do; None for never."""
        if self._calls:
            return 0.05
        if not self._tool or interval is None:
            return None
        now = time.monotonic()
        pause = _RELEASED_INTERVAL if self.occupancy.awaits_look(now) else interval
        return max(0.0, self._began + pause - now)

    def tick(self, interval: Optional[float]) -> bool:
        """Go on with a look or begin the next; never waits.

        Args:
            interval: seconds between two looks; None when nobody is interested.
        Returns:
            Whether a new look has been taken in.
        """
        if self._calls:
            return self._collect()
        if self.due(interval) == 0.0:
            self._start()
        return False

    @property
    def age(self) -> float:
        """Seconds since the GPUs were last seen; 0 where there are none."""
        return time.monotonic() - self._seen if self._tool else 0.0

    def hurry(self) -> None:
        """Look again at the next tick: somebody wants to see the GPUs as they are now."""
        self._began = -INTERVAL

    def lease(self, leased: Mapping[str, str]) -> None:
        """Take in which GPUs are leased, and to which job; claims follow."""
        if leased == self._leased:
            return
        self._leased = dict(leased)
        self.occupancy.lease(leased, time.monotonic())
        self.claims.hold(leased)

    def heed(self, ignored: Set[str]) -> None:
        """Take in of which GPUs the claims of others do not count."""
        self.ignored = ignored
        self._claims_at = 0.0

    def held(self) -> Dict[str, str]:
        """Return why GPUs may not be leased, in words, by UUID."""
        now = time.monotonic()
        if not self.gpus:
            return {}
        if now - self._claims_at > _CLAIMS_SECONDS:
            self._claims_at = now
            self._others = {uuid: who for uuid, who in self.claims.others().items() if uuid not in self.ignored}
            self.occupancy.look = replace(self.occupancy.look, claims=self._others)
        reasons = self.occupancy.held(now)
        if now - self._seen > _STALE:
            for gpu in self.gpus:
                reasons.setdefault(gpu.uuid, "being looked at")
        return reasons

    def _start(self) -> None:
        self._began = time.monotonic()
        questions = dict(_TOOLS[self._tool])
        if self._looks % _SELDOM_EVERY:
            for name in _SELDOM:
                questions.pop(name, None)
        self._looks += 1
        self._ask(questions)

    def _ask(self, questions: Mapping[str, Sequence[str]]) -> None:
        for name, words in questions.items():
            try:
                self._calls[name] = _Call([_find(words[0]) or words[0], *words[1:]], name in _MAY_FAIL)
            except OSError as error:
                self.problem = f"{words[0]} cannot be run: {error.strerror}"

    def _collect(self) -> bool:
        if [call for call in self._calls.values() if not call.is_over()]:
            return False
        calls, self._calls = self._calls, {}
        if any(name.startswith("one:") for name in calls):
            return self._take_each(calls)
        hung = [call for call in calls.values() if call.hung]
        if hung and self.gpus and self._tool == "nvidia-smi":
            self.problem = f"{self._tool} did not answer within {DEADLINE:.0f} s; each GPU is asked by itself"
            self._ask(
                {f"one:{gpu.uuid}": (*inventory.QUERY, "-i", gpu.uuid) for gpu in self.gpus if gpu.uuid[:3] == "GPU"}
            )
            return not self._calls
        failed = [call for call in calls.values() if call.failed and not call.may_fail]
        if not failed and [name for name in _TOOLS[self._tool] if name not in calls and name not in _MAY_FAIL]:
            return False  # it could not even be called: the next look may
        if hung:
            self._take_none(f"{self._tool} did not answer within {DEADLINE:.0f} s")
            return True
        self._sick = {}
        texts = {name: call.text for name, call in calls.items() if not (call.failed and call.may_fail)}
        if failed and not (self._tool == "nvidia-smi" and inventory.parse(texts["gpus"], self._whole_gpus)):
            self._take_none(f"{self._tool} failed: {_said(failed[0].text)}")
            return True
        # A tool that fails for one GPU still tells of the others.
        self.problem = f"{self._tool}: {_said(_without_rows(failed[0].text))}" if failed else ""
        self._take_all(texts)
        return True

    def _take_none(self, problem: str) -> None:
        """Take in that the tool told of no GPU: those that are known are not leased."""
        self.problem = problem
        self._take(GpuObservation(self._began, tuple(self.gpus), sick={gpu.uuid: problem for gpu in self.gpus}))

    def _take_all(self, texts: Dict[str, str]) -> None:
        if "mig" in texts:
            self._mig = inventory.parse_mig(texts["mig"])
        if "versions" in texts:
            self.driver, self.cuda = inventory.parse_versions(texts["versions"])
        if "rocm" in texts:
            seen, complaints = inventory.parse_rocm(texts["rocm"], self._whole_gpus), ""
        elif "amd" in texts:
            seen, complaints = inventory.parse_amd(texts["amd_list"], texts["amd"], self._whole_gpus), ""
        else:
            seen, complaints = inventory.parse(texts["gpus"], self._whole_gpus), _without_rows(texts["gpus"])
            if not seen and not self._whole_gpus:
                self.problem = f"{self._tool} lists no GPU: {_said(texts['gpus'])}"
        self._whole_gpus = inventory.with_lost(seen, self._whole_gpus, complaints)
        self.gpus = inventory.with_mig(self._whole_gpus, self._mig)
        processes = [_known(process) for process in inventory.parse_processes(texts.get("processes", ""))]
        sick = {gpu.uuid: gpu.sick for gpu in self.gpus if gpu.sick}
        self._take(GpuObservation(self._began, tuple(self.gpus), tuple(processes), sick=sick))

    def _take_each(self, calls: Mapping[str, "_Call"]) -> bool:
        """Take in what the GPUs said one by one: those that said nothing are sick."""
        now = time.strftime("%H:%M")
        silent = f"not healthy: its driver does not answer, since {now}"
        self._sick = {
            name[4:]: self._sick.get(name[4:], silent if call.hung else inventory.sick_words(_said(call.text)))
            for name, call in calls.items()
            if call.hung or call.failed
        }
        fresh = {gpu.uuid: gpu for call in calls.values() for gpu in inventory.parse(call.text)}
        self._sick.update({uuid: gpu.sick for uuid, gpu in fresh.items() if gpu.sick and uuid not in self._sick})
        self.gpus = [fresh.get(gpu.uuid, gpu) for gpu in self.gpus]
        self.problem = f"{len(self._sick)} of {len(self.gpus)} GPUs do not answer" if self._sick else ""
        self._take(GpuObservation(self._began, tuple(self.gpus), self.occupancy.look.processes, sick=self._sick))
        return True

    def _take(self, look: GpuObservation) -> None:
        self._seen = time.monotonic()
        self.occupancy.take(replace(look, claims=self._others))


class _Call:
    """One call of a tool, in a child."""

    def __init__(self, words: Sequence[str], may_fail: bool) -> None:
        self.may_fail = may_fail
        self.hung = self.failed = False
        self.text = ""
        self._began = time.monotonic()
        self._output: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 - read when the child has ended
        self._child = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=self._output, stderr=self._output)

    def is_over(self) -> bool:
        """Return whether it has ended, or its time is up; one that cannot even be killed is waited for no longer."""
        if self.hung or self._output.closed:
            return True
        if self._child.poll() is None:
            if time.monotonic() - self._began < DEADLINE:
                return False
            self._child.kill()
            self._child.poll()
            self.hung = True
        else:
            self.failed = self._child.returncode != 0
            self._output.seek(0)
            self.text = self._output.read(_MOST_BYTES).decode("utf-8", "replace")
        self._output.close()
        return True


_TOOLS: Dict[str, Dict[str, Sequence[str]]] = {
    "nvidia-smi": {
        "gpus": inventory.QUERY,
        "processes": inventory.QUERY_PROCESSES,
        "mig": inventory.QUERY_MIG,
        "versions": inventory.QUERY_VERSIONS,
    },
    "rocm-smi": {"rocm": inventory.QUERY_ROCM},
    "amd-smi": {"amd_list": inventory.QUERY_AMD_LIST, "amd": inventory.QUERY_AMD},
}
"""The vendors' tools, the first that is there, and what each is asked."""
_SELDOM = ("mig", "versions")
_MAY_FAIL = ("processes", *_SELDOM)
"""Old drivers know no MIG, and some GPUs no processes."""
_USUAL_PLACES = ("/usr/bin", "/usr/local/bin", "/usr/local/nvidia/bin", "/usr/lib/wsl/lib", "/opt/rocm/bin")
"""Where the tools are when the PATH of a non-interactive shell does not say so."""


@functools.lru_cache(None)
def _find(tool: str) -> Optional[str]:
    path = os.pathsep.join([os.environ.get("PATH", os.defpath), *_USUAL_PLACES])
    return shutil.which(tool, path=path)


def _said(text: str) -> str:
    """Return what a tool said, as one line."""
    return " ".join(text.split())[:200] or "it says nothing"


def _without_rows(text: str) -> str:
    """Return the lines of nvidia-smi's output that are no row of a GPU."""
    return "\n".join(line for line in text.splitlines() if not inventory.parse(line))


def _known(process: ComputeProcess) -> ComputeProcess:
    """Return a process with what this host knows of it: in a container that may be nothing."""
    uid = processes.owner(process.pid)
    if uid is None:
        return process
    started = processes.started_at(process.pid)
    since = time.strftime("%H:%M", time.localtime(started)) if started is not None else ""
    return replace(process, uid=uid, user=_user(uid), since=since, job=processes.job_of(process.pid))


def _user(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return ""
