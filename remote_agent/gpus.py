"""GPUs as the vendors' tools tell of them. Pure: text in, GPUs out; what is no answer gives none, never an error.

NVIDIA: the fields of ``nvidia-smi --help-query-gpu`` and ``--help-query-compute-apps``, the MIG devices of
``nvidia-smi -L``. AMD: the JSON of ``rocm-smi`` and of ``amd-smi list`` and ``metric``, whose keys differ by version.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, replace
from typing import Any, Dict, Iterable, List, Mapping, Optional, Sequence, Tuple

QUERY = (
    "nvidia-smi",
    "--query-gpu=index,uuid,name,memory.total,memory.used,utilization.gpu,temperature.gpu,power.draw",
    "--format=csv,noheader,nounits",
)
QUERY_PROCESSES = (
    "nvidia-smi",
    "--query-compute-apps=gpu_uuid,pid,used_memory",
    "--format=csv,noheader,nounits",
)
QUERY_MIG = ("nvidia-smi", "-L")
QUERY_ROCM = (
    "rocm-smi",
    *("--showid", "--showuniqueid", "--showproductname", "--showmeminfo", "vram", "--showuse", "--showtemp"),
    *("--showpower", "--json"),
)
QUERY_AMD_LIST = ("amd-smi", "list", "--json")
QUERY_AMD = ("amd-smi", "metric", "--usage", "--power", "--temperature", "--mem-usage", "--json")
BUSY_MIB = 400
"""A GPU that we have not leased and whose memory in use is above this is taken to be somebody else's.

An idle driver with persistence mode holds up to about 300 MiB of its own."""
_MIG = re.compile(r"\s+MIG\s+(\S+)\s+Device\s+\d+:\s+\(UUID:\s*(MIG-[^)\s]+)\)")
_PARENT = re.compile(r"GPU \d+: .*\(UUID:\s*(GPU-[^)\s]+)\)")
_MIG_MEMORY = re.compile(r"\d+g\.(\d+)gb")


@dataclass(frozen=True)
class Gpu:
    """One GPU, or one MIG device, as last seen."""

    index: int
    """The vendor's number; a MIG device has that of the GPU it is a part of."""
    uuid: str
    name: str
    memory_total: Optional[int]
    """MiB; None when the driver does not say."""
    memory_used: Optional[int]
    """MiB."""
    utilization: Optional[int]
    """Percent."""
    temperature: Optional[int] = None
    """Degrees Celsius."""
    power: Optional[int] = None
    """Watts."""
    vendor: str = "nvidia"
    sick: str = ""
    """What is wrong with it, in the tool's words: it is never leased then."""

    def to_wire(self) -> Dict[str, Any]:
        """Return the GPU as JSON can carry it."""
        return dict(self.__dict__)

    @property
    def looks_busy(self) -> bool:
        """Whether its memory says that some process uses it."""
        return self.memory_used is not None and self.memory_used > BUSY_MIB


@dataclass(frozen=True)
class GpuProcess:
    """A process that computes on a GPU."""

    uuid: str
    """Of the GPU, or of the MIG device."""
    pid: int
    memory: Optional[int] = None
    """MiB."""
    uid: Optional[int] = None
    user: str = ""
    since: str = ""
    """When it was started, in the host's words: "14:02"."""
    job: str = ""
    """The job of ours that it belongs to; empty for somebody else's."""

    def to_wire(self) -> Dict[str, Any]:
        """Return the process as JSON can carry it."""
        return dict(self.__dict__)


_UNKNOWN = re.compile(
    r"\[?(n/?a|(not |function not |no )?(supported|available|found|active)|insufficient permissions?|deprecated.*"
    r"|disabled|enabled)\]?\Z",
    re.IGNORECASE,
)
"""What nvidia-smi writes where a GPU that is well has no such value; any other word in place of a number is a fault."""
_FAULT = re.compile(r"ERR!|\berror\b|\blost\b|requires? reset|reset required|fallen off|unable to", re.IGNORECASE)


def parse(text: str, known: Sequence[Gpu] = ()) -> List[Gpu]:
    """Return the GPUs in the output of QUERY; lines that are no such row are passed over.

    Args:
        text: the output.
        known: as last seen: a row that is all faults is known by its index.
    """
    by_index = {gpu.index: gpu for gpu in known}
    return [gpu for line in text.splitlines() for gpu in [_parse_line(line, by_index)] if gpu is not None]


def _parse_line(line: str, known: Mapping[int, Gpu]) -> Optional[Gpu]:
    cells = [cell.strip() for cell in line.split(",")]
    if len(cells) < 7 or not (cells[0].isascii() and cells[0].isdigit()) or len(cells[0]) > 4:
        return None
    index, uuid, name = int(cells[0]), cells[1], cells[2]
    faults = [cell for cell in cells[3:8] if _whole(cell) is None and cell and not _UNKNOWN.match(cell)]
    faults += [name] if _FAULT.search(name) else []
    if not uuid.startswith(("GPU-", "MIG-")):
        if not (faults or _FAULT.search(uuid)):
            return None
        faults = faults or [uuid]
        before = known.get(index)
        uuid, name = (before.uuid, before.name) if before else (f"GPU-unknown-{index}", "unknown GPU")
    total, used, load, heat, power = ([_whole(cell) for cell in cells[3:8]] + [None])[:5]
    return Gpu(index, uuid, name, total, used, load, heat, power, sick=sick_words(faults[0]) if faults else "")


def sick_words(said: str) -> str:
    """Return what a tool says of a GPU that is not well, in words."""
    return f"not healthy: {said.strip('[] ')[:200]}"


def with_lost(seen: List[Gpu], known: Iterable[Gpu], said: str) -> List[Gpu]:
    """Return the GPUs that were seen, and those that have gone from the tool's list, as sick.

    Args:
        seen: now.
        known: as last seen.
        said: what else the tool wrote, which may name the reason.
    """
    there = {gpu.uuid for gpu in seen}
    reason = next((sick_words(line.strip()) for line in said.splitlines() if _FAULT.search(line)), "")
    gone = sick_words("the driver lists it no more")
    lost = [replace(gpu, sick=reason or gpu.sick or gone) for gpu in known if gpu.uuid not in there]
    return sorted([*seen, *lost], key=lambda gpu: gpu.index)


def parse_processes(text: str) -> List[GpuProcess]:
    """Return the processes in the output of QUERY_PROCESSES."""
    found = []
    for line in text.splitlines():
        cells = [cell.strip() for cell in line.split(",")]
        if len(cells) >= 3 and cells[0].startswith(("GPU-", "MIG-")) and cells[1].isdigit():
            found.append(GpuProcess(cells[0], int(cells[1]), _whole(cells[2])))
    return found


def parse_mig(text: str) -> List[Tuple[str, str, str]]:
    """Return (UUID of the GPU, profile, UUID) of each MIG device in the output of QUERY_MIG."""
    found, parent = [], ""
    for line in text.splitlines():
        whole, part = _PARENT.match(line), _MIG.match(line)
        if whole:
            parent = whole.group(1)
        elif part and parent:
            found.append((parent, part.group(1), part.group(2)))
    return found


def with_mig(gpus: Iterable[Gpu], devices: List[Tuple[str, str, str]]) -> List[Gpu]:
    """Return the GPUs, those that are divided replaced by their MIG devices: the whole can then not be leased."""
    found: List[Gpu] = []
    for gpu in gpus:
        parts = [(profile, uuid) for parent, profile, uuid in devices if parent == gpu.uuid]
        for profile, uuid in parts:
            size = _MIG_MEMORY.match(profile)
            total = int(size.group(1)) * 1024 if size else None
            part = replace(gpu, uuid=uuid, name=f"{gpu.name} MIG {profile}", memory_total=total)
            found.append(replace(part, memory_used=None, utilization=None, power=None))
        if not parts:
            found.append(gpu)
    return found


def parse_rocm(text: str) -> List[Gpu]:
    """Return the GPUs in the output of QUERY_ROCM."""
    found = []
    for card, facts in _objects(text).items():
        if not re.match(r"card\d+\Z", card) or not isinstance(facts, dict):
            continue
        index = int(card[4:])
        unique = str(_first(facts, "Unique ID") or "").replace("0x", "")
        name = _first(facts, "Card series", "Card Series", "Device Name", "Card model", "Card Model") or "AMD GPU"
        found.append(
            Gpu(
                index,
                f"GPU-{unique}" if unique and unique != "N/A" else f"GPU-amd-{index}",
                str(name),
                _mib(_first(facts, "VRAM Total Memory (B)")),
                _mib(_first(facts, "VRAM Total Used Memory (B)")),
                _whole(_first(facts, "GPU use (%)")),
                _whole(_first(facts, "Temperature (Sensor junction) (C)", "Temperature (Sensor edge) (C)")),
                _whole(
                    _first(facts, "Current Socket Graphics Package Power (W)", "Average Graphics Package Power (W)")
                ),
                "amd",
            )
        )
    return sorted(found, key=lambda gpu: gpu.index)


def parse_amd(listed: str, measured: str) -> List[Gpu]:
    """Return the GPUs in the outputs of QUERY_AMD_LIST and QUERY_AMD."""
    uuids = {entry.get("gpu"): str(entry.get("uuid")) for entry in _entries(listed)}
    found = []
    for entry in _entries(measured):
        index = entry.get("gpu")
        if not isinstance(index, int):
            continue
        memory, heat = _part(entry, "mem_usage"), _part(entry, "temperature")
        temperature = _value(heat.get("hotspot"))
        found.append(
            Gpu(
                index,
                f"GPU-{uuids[index]}" if index in uuids else f"GPU-amd-{index}",
                "AMD GPU",
                _value(memory.get("total_vram")),
                _value(memory.get("used_vram")),
                _value(_part(entry, "usage").get("gfx_activity")),
                temperature if temperature is not None else _value(heat.get("edge")),
                _value(_part(entry, "power").get("socket_power")),
                "amd",
            )
        )
    return sorted(found, key=lambda gpu: gpu.index)


def allowed(gpus: List[Gpu], setting: Any) -> List[Gpu]:
    """Return the GPUs that hosts.toml's ``gpus`` lets us use: "auto", a count, or a list of indices."""
    if setting in (None, "auto"):
        return gpus
    if isinstance(setting, int):
        return gpus[:setting]
    return [gpu for gpu in gpus if gpu.index in setting]


def size_words(mib: Optional[int]) -> str:
    """Return an amount of memory in words: "61 GB", "400 MB"."""
    if mib is None:
        return "an unknown amount of memory"
    return f"{mib / 1024:.0f} GB" if mib >= 1024 else f"{mib} MB"


def _objects(text: str) -> Dict[str, Any]:
    """Return the JSON object in a tool's output; rocm-smi writes warnings before it."""
    start = text.find("{")
    try:
        found = json.loads(text[start:]) if start >= 0 else {}
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _entries(text: str) -> List[Dict[str, Any]]:
    """Return the list of objects in amd-smi's output; newer versions wrap it."""
    starts = [at for at in (text.find("["), text.find("{")) if at >= 0]
    try:
        found = json.loads(text[min(starts) :]) if starts else []
    except (ValueError, RecursionError):
        return []
    if isinstance(found, dict):
        found = found.get("gpu_data", [])
    return [entry for entry in found if isinstance(entry, dict)] if isinstance(found, list) else []


def _part(entry: Dict[str, Any], key: str) -> Dict[str, Any]:
    part = entry.get(key)
    return part if isinstance(part, dict) else {}


def _value(cell: Any) -> Optional[int]:
    """Return amd-smi's number, with or without its unit."""
    return _whole(cell.get("value") if isinstance(cell, dict) else cell)


def _first(facts: Dict[str, Any], *names: str) -> Any:
    return next((facts[name] for name in names if facts.get(name) not in (None, "", "N/A")), None)


def _whole(cell: Any) -> Optional[int]:
    """Return a cell's number, rounded; None for ``[N/A]``, ``[Not Supported]`` and the like."""
    try:
        return int(float(cell) + 0.5)
    except (TypeError, ValueError, OverflowError):
        return None


def _mib(cell: Any) -> Optional[int]:
    count = _whole(cell)
    return None if count is None else count >> 20
