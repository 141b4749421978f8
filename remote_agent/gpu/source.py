"""What a backend asks about GPUs."""

from __future__ import annotations

from typing import Dict, List, Mapping

from remote_agent.gpu.inventory import Gpu


class GpuSource:
    """What the backend asks about GPUs; a host without any has these."""

    gpus: List[Gpu] = []
    problem = ""
    """Why they are not all known, in words."""
    driver = ""
    """Version of their driver."""
    cuda = ""
    """Newest CUDA that the driver can run."""

    def lease(self, leased: Mapping[str, str]) -> None:
        """Take in which GPUs are leased, and to which job."""

    def held(self) -> Dict[str, str]:
        """Return why GPUs may not be leased, in words, by UUID."""
        return {}
