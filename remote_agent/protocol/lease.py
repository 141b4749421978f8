"""What a running attempt holds of its host. Pure."""

from __future__ import annotations

from typing import Tuple

from remote_agent.protocol.checks import as_tuple, listing, text, whole
from remote_agent.protocol.wire import JsonTable, Message, field, message


@message
class Lease(Message):
    """What one attempt holds while it is preparing or running."""

    cpus: int = field(whole())
    gpus: Tuple[str, ...] = field(as_tuple(listing(text(100), 1000)), ())
    gpu_indices: Tuple[int, ...] = field(as_tuple(listing(whole(), 1000)), ())
    gpu_memory: int = field(whole(), 0)
    """MiB of each of them; 0 for the whole GPU."""
    ram: int = field(whole(), 0)
    """Bytes."""
    vendor: str = field(text(100), "nvidia")
    """Whose GPUs they are."""

    @property
    def is_empty(self) -> bool:
        """Whether it holds nothing: its attempt does not run the command, it only says why it cannot."""
        return self.cpus == 0

    @classmethod
    def known(cls, wire: JsonTable) -> "Lease":
        """Return the lease of an event.

        Raises:
            KeyError: it has no CPUs: it is no lease.
        """
        lease = super().known(wire)
        lease.__dict__.update(cpus=wire["cpus"], gpus=tuple(lease.gpus), gpu_indices=tuple(lease.gpu_indices))
        return lease
