"""The client: CLI, terminal app, snapshot, SSH, sync, store."""

__version__ = "0.1.0"
