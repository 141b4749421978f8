"""Which GPUs a host has, who uses them, and which may be leased."""
