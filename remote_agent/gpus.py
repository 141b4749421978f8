"""GPUs as nvidia-smi tells of them. Pure: text in, GPUs out.

The query's fields and the ``[N/A]`` and ``[Not Supported]`` of cells without a value are nvidia-smi's own
(``nvidia-smi --help-query-gpu``).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Dict, List, Optional

QUERY = (
    "nvidia-smi",
    "--query-gpu=index,uuid,name,memory.total,memory.used,utilization.gpu,temperature.gpu",
    "--format=csv,noheader,nounits",
)
BUSY_MIB = 400
"""A GPU that we have not leased and whose memory in use is above this is taken to be somebody else's.

An idle driver with persistence mode holds up to about 300 MiB of its own."""


@dataclass(frozen=True)
class Gpu:
    """One GPU as last seen."""

    index: int
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

    def to_wire(self) -> Dict[str, Any]:
        """Return the GPU as JSON can carry it."""
        return dict(self.__dict__)

    @property
    def looks_busy(self) -> bool:
        """Whether its memory says that some process uses it."""
        return self.memory_used is not None and self.memory_used > BUSY_MIB


def parse(text: str) -> List[Gpu]:
    """Return the GPUs in the output of QUERY; lines that are no such row are passed over."""
    return [gpu for gpu in map(_parse_line, text.splitlines()) if gpu is not None]


def _parse_line(line: str) -> Optional[Gpu]:
    cells = [cell.strip() for cell in line.split(",")]
    if len(cells) != 7 or not cells[0].isdigit() or not cells[1].startswith(("GPU-", "MIG-")):
        return None
    numbers = [int(cell) if cell.isdigit() else None for cell in cells[3:]]
    return Gpu(int(cells[0]), cells[1], cells[2], *numbers)


def allowed(gpus: List[Gpu], setting: Any) -> List[Gpu]:
    """Return the GPUs that hosts.toml's ``gpus`` lets us use: "auto", a count, or a list of indices."""
    if setting in (None, "auto"):
        return gpus
    if isinstance(setting, int):
        return gpus[:setting]
    return [gpu for gpu in gpus if gpu.index in setting]
