"""GPUs as the vendors' tools tell of them. Pure: text in, GPUs out; what is no answer gives none, never an error.

NVIDIA: the fields of ``nvidia-smi --help-query-gpu`` and ``--help-query-compute-apps``, the MIG devices of
``nvidia-smi -L``. AMD: the JSON of ``rocm-smi`` and of ``amd-smi list`` and ``metric``, whose keys differ by version.
"""

from __future__ import annotations

import itertools
import json
import re
from dataclasses import dataclass, replace
from typing import Any, Dict, Iterable, List, Mapping, Optional, Sequence, Tuple

from remote_agent.protocol.wire import JsonTable

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
QUERY_VERSIONS = ("nvidia-smi",)
"""Its table for people: no query tells the CUDA version."""
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

    def to_wire(self) -> JsonTable:
        """Return the GPU as JSON can carry it."""
        return dict(self.__dict__)

    @property
    def looks_busy(self) -> bool:
        """Whether its memory says that some process uses it."""
        return self.memory_used is not None and self.memory_used > BUSY_MIB


@dataclass(frozen=True)
class ComputeProcess:
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
    """Our job that it belongs to; empty for somebody else's."""

    def to_wire(self) -> JsonTable:
        """Return the process as JSON can carry it."""
        return dict(self.__dict__)


_UNKNOWN = re.compile(
    r"n/?a\b|not (supported|available|found|active|defined|applicable|permitted|allowed)|no (supported|active)"
    r"|unavailable|unsupported|insufficient permission|deprecated|\A\[?(disabled|enabled|none|-+)\]?\Z",
    re.IGNORECASE,
)
"""What nvidia-smi writes where a GPU that is well has no such value; any other word in place of a number is a fault."""
_FAULT = re.compile(r"ERR!|\berror\b|\blost\b|requires? reset|reset required|fallen off|unable to", re.IGNORECASE)
_SILENT = "the tool tells nothing of it"


def parse(text: str, before: Sequence[Gpu] = ()) -> List[Gpu]:
    """Return the GPUs in the output of QUERY; lines that are no such row are passed over.

    Args:
        text: the output.
        before: as last seen: a row that is all faults is known by its index, unless another row is that GPU.
    """
    rows = [cells for cells in map(_cells, text.splitlines()) if cells]
    unseen = _unseen(before, [cells[1] for cells in rows])
    return [_of_row(place, cells, unseen) for place, cells in enumerate(rows)]


def parse_versions(text: str) -> Tuple[str, str]:
    """Return (version of the driver, newest CUDA that it can run) in the head of NVIDIA's table; "" for unknown."""
    driver = re.search(r"\b(?:Driver|KMD) Version:\s*(\d[\w.]*)", text)
    cuda = re.search(r"\bCUDA (?:UMD )?Version:\s*(\d[\w.]*)", text)
    return driver.group(1) if driver else "", cuda.group(1) if cuda else ""


def _unseen(before: Sequence[Gpu], uuids: Iterable[str]) -> Dict[int, Gpu]:
    there = set(uuids)
    return {gpu.index: gpu for gpu in before if gpu.uuid not in there}


def _cells(line: str) -> List[str]:
    """Return the cells of a row, none for another line; a name may hold commas, and old drivers tell no power."""
    cells = [cell.strip() for cell in line.split(",")]
    if len(cells) == 7:
        cells.append("")
    if len(cells) < 8:
        return []
    cells = [*cells[:2], ", ".join(cells[2:-5]), *cells[-5:]]
    index, uuid = cells[:2]
    is_row = _is_index(index) and (_is_uuid(uuid) or not uuid or _UNKNOWN.search(uuid) or _FAULT.search(line))
    return cells if is_row or _is_uuid(uuid) or (_FAULT.search(index) and _FAULT.search(uuid)) else []


def _is_index(cell: str) -> bool:
    return cell.isascii() and cell.isdigit() and len(cell) <= 4


def _is_uuid(cell: str) -> bool:
    return cell.startswith(("GPU-", "MIG-"))


def _of_row(place: int, cells: List[str], unseen: Mapping[int, Gpu]) -> Gpu:
    index, uuid, name = int(cells[0]) if _is_index(cells[0]) else place, cells[1], cells[2]
    faults = [cell for cell in cells[3:] if _whole(cell) is None and cell and not _UNKNOWN.search(cell)]
    faults += [cell for cell in cells[:3] if _FAULT.search(cell)]
    if not _is_uuid(uuid):
        faults = faults or ["the driver tells no UUID of it"]
        before = unseen.get(index)
        uuid, name = (before.uuid, before.name) if before else (f"{_NAMELESS}{index}", "unknown GPU")
    total, used, load, heat, power = [_whole(cell) for cell in cells[3:]]
    return Gpu(index, uuid, name, total, used, load, heat, power, sick=sick_words(faults[0]) if faults else "")


def sick_words(output: str) -> str:
    """Return what a tool says of a GPU that is not well, in words."""
    return f"not healthy: {output.strip('[] ')[:200]}"


_NAMELESS = "GPU-unknown-"
"""Begins the UUID of a GPU of which the driver tells none."""


def _is_nameless(gpu: Gpu) -> bool:
    return gpu.uuid.startswith(_NAMELESS)


def with_lost(seen: List[Gpu], before: Iterable[Gpu], output: str) -> List[Gpu]:
    """Return the GPUs that were seen, and those that have gone from the tool's list, as sick.

    Args:
        seen: now.
        before: as last seen.
        output: what else the tool wrote, which may name the reason.
    """
    there = {gpu.uuid for gpu in seen}
    reason = next((sick_words(line.strip()) for line in output.splitlines() if _FAULT.search(line)), "")
    gone = sick_words("the driver no longer lists it")
    places = {gpu.index for gpu in seen}
    missing = [gpu for gpu in before if gpu.uuid not in there and not (_is_nameless(gpu) and gpu.index in places)]
    lost = [replace(gpu, sick=reason or gpu.sick or gone) for gpu in missing]
    return sorted([*seen, *lost], key=lambda gpu: gpu.index)


def parse_processes(text: str) -> List[ComputeProcess]:
    """Return the processes in the output of QUERY_PROCESSES."""
    running = []
    for line in text.splitlines():
        cells = [cell.strip() for cell in line.split(",")]
        if len(cells) >= 3 and _is_uuid(cells[0]) and re.match(r"[0-9]{1,10}\Z", cells[1]):
            running.append(ComputeProcess(cells[0], int(cells[1]), _whole(cells[2])))
    return running


def parse_mig(text: str) -> List[Tuple[str, str, str]]:
    """Return (UUID of the GPU, profile, UUID) of each MIG device in the output of QUERY_MIG."""
    devices, parent = [], ""
    for line in text.splitlines():
        whole, part = _PARENT.match(line), _MIG.match(line)
        if whole:
            parent = whole.group(1)
        elif part and parent:
            devices.append((parent, part.group(1), part.group(2)))
    return devices


def with_mig(gpus: Iterable[Gpu], devices: List[Tuple[str, str, str]]) -> List[Gpu]:
    """Return the GPUs, those that are divided replaced by their MIG devices: the whole can then not be leased."""
    all_devices: List[Gpu] = []
    for gpu in gpus:
        parts = [(profile, uuid) for parent, profile, uuid in devices if parent == gpu.uuid]
        for profile, uuid in parts:
            size = _MIG_MEMORY.match(profile)
            total = int(size.group(1)) * 1024 if size else None
            part = replace(gpu, uuid=uuid, name=f"{gpu.name} MIG {profile}", memory_total=total)
            all_devices.append(replace(part, memory_used=None, utilization=None, power=None))
        if not parts:
            all_devices.append(gpu)
    return all_devices


def parse_rocm(text: str, before: Sequence[Gpu] = ()) -> List[Gpu]:
    """Return the GPUs in the output of QUERY_ROCM.

    Args:
        text: the output.
        before: as last seen: a card without an id of its own is known by its index.
    """
    cards = {
        int(card[4:]): facts for card, facts in _json_in(text, dict).items() if re.match(r"card[0-9]{1,4}\Z", card)
    }
    ids = {index: _amd_uuid(_first(facts, "Unique ID")) for index, facts in cards.items()}
    unseen = _unseen(before, ids.values())
    return [_of_card(index, ids[index], cards[index], unseen.get(index)) for index in sorted(cards)]


def _of_card(index: int, uuid: str, facts: Any, before: Optional[Gpu]) -> Gpu:
    names = ("Card series", "Card Series", "Device Name", "Card model", "Card Model")
    numbers = (
        _mib(_first(facts, "VRAM Total Memory (B)")),
        _mib(_first(facts, "VRAM Total Used Memory (B)")),
        _whole(_first(facts, "GPU use (%)")),
        _whole(_first(facts, "Temperature (Sensor junction) (C)", "Temperature (Sensor edge) (C)")),
        _whole(_first(facts, "Current Socket Graphics Package Power (W)", "Average Graphics Package Power (W)")),
    )
    uuid = uuid or (before.uuid if before else f"GPU-amd-{index}")
    return Gpu(
        index, uuid, str(_first(facts, *names) or "AMD GPU"), *numbers, vendor="amd", sick=_amd_sick(facts, numbers)
    )


def parse_amd(listed: str, measured: str, before: Sequence[Gpu] = ()) -> List[Gpu]:
    """Return the GPUs in the outputs of QUERY_AMD_LIST and QUERY_AMD.

    Args:
        listed: the first one.
        measured: the second one.
        before: the GPUs that were last seen.
    """
    ids = {index: _amd_uuid(entry.get("uuid")) for index, entry in _entries(listed).items()}
    parts = _entries(measured)
    unseen = _unseen(before, ids.values())
    return [_of_entry(index, ids.get(index, ""), parts[index], unseen.get(index)) for index in sorted(parts)]


def _of_entry(index: int, uuid: str, entry: JsonTable, before: Optional[Gpu]) -> Gpu:
    memory, heat = _part(entry, "mem_usage"), _part(entry, "temperature")
    temperature = _value(heat.get("hotspot"))
    numbers = (
        _memory(memory.get("total_vram")),
        _memory(memory.get("used_vram")),
        _value(_part(entry, "usage").get("gfx_activity")),
        temperature if temperature is not None else _value(heat.get("edge")),
        _value(_part(entry, "power").get("socket_power")),
    )
    uuid = uuid or (before.uuid if before else f"GPU-amd-{index}")
    return Gpu(index, uuid, "AMD GPU", *numbers, vendor="amd", sick=_amd_sick(entry, numbers))


def _amd_uuid(text: Any) -> str:
    """Return the id of a GPU as we write it; empty for one that the tool does not know."""
    unique = text.strip().replace("0x", "") if isinstance(text, str) else ""
    return f"GPU-{unique}" if unique and not _UNKNOWN.search(unique) and not _FAULT.search(unique) else ""


def _amd_sick(facts: Any, numbers: Sequence[Optional[int]]) -> str:
    """Return what is wrong with an AMD GPU: a fault in place of a value, or no value at all."""
    for text in _texts(facts):
        if _FAULT.search(text):
            return sick_words(text)
    return sick_words(_SILENT) if all(number is None for number in numbers) else ""


def _texts(facts: Any) -> Iterable[str]:
    waiting = [facts]
    while waiting:
        value = waiting.pop()
        if isinstance(value, str):
            yield value
        elif isinstance(value, (dict, list)):
            waiting += value.values() if isinstance(value, dict) else value


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


def _json_in(text: str, kind: type) -> Any:
    """Return the JSON of a kind in a tool's output, empty when there is none; tools write warnings around it."""
    decoder = json.JSONDecoder()
    for start in itertools.islice(re.finditer(r"[\[{]", text), 200):
        try:
            value, _ = decoder.raw_decode(text, start.start())
        except (ValueError, RecursionError):
            continue
        if isinstance(value, kind) and value:
            return value
    return kind()


def _entries(text: str) -> Dict[int, JsonTable]:
    """Return the objects in amd-smi's output by the number of their GPU; newer versions wrap their list."""
    wrapped = _json_in(text, dict).get("gpu_data")
    entries = wrapped if isinstance(wrapped, list) else _json_in(text, list)
    return {entry["gpu"]: entry for entry in entries if isinstance(entry, dict) and type(entry.get("gpu")) is int}


def _part(entry: JsonTable, key: str) -> JsonTable:
    part = entry.get(key)
    return part if isinstance(part, dict) else {}


def _value(cell: Any) -> Optional[int]:
    """Return amd-smi's number, with or without its unit."""
    return _whole(cell.get("value") if isinstance(cell, dict) else cell)


def _memory(cell: Any) -> Optional[int]:
    """Return an amount of memory in MiB; amd-smi tells the unit, MB unless it says another."""
    amount, unit = (cell.get("value"), cell.get("unit")) if isinstance(cell, dict) else (cell, "")
    match = re.match(r"\s*([0-9]{1,15}(?:\.[0-9]*)?)\s*([A-Za-z]*)", str(amount))
    factor = _UNITS.get((str(unit) if unit else match[2]).upper()) if match else None
    return None if match is None or factor is None else int(float(match[1]) * factor + 0.5)


_UNITS = {"": 1.0, "B": 2.0**-20, "KB": 2.0**-10, "KIB": 2.0**-10, "MB": 1.0, "MIB": 1.0, "GB": 1024.0, "GIB": 1024.0}


def _first(facts: Any, *names: str) -> Any:
    if not isinstance(facts, dict):
        return None
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
